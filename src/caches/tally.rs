//! Net changes by counter, of one statement.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::fallible::{self, OutOfMemory};

const WHAT: &str = "changes of cached counters";

/// Counters a tally holds before it has to be handed on.
const MAX: usize = 65_536;

#[derive(Debug, Default)]
pub struct Tally {
    nets: IndexMap<Box<[u8]>, i128, RandomState>,
    /// Where the last change went: rows of one key often come together.
    last: usize,
}

impl Tally {
    pub fn add(&mut self, id: &[u8], delta: i128) -> Result<(), OutOfMemory> {
        if let Some((last, net)) = self.nets.get_index_mut(self.last)
            && **last == *id
        {
            *net += delta;
            return Ok(());
        }
        self.last = match self.nets.get_index_of(id) {
            Some(at) => {
                self.nets[at] += delta;
                at
            }
            None => {
                fallible::reserve(&mut self.nets, 1, WHAT)?;
                self.nets.insert_full(fallible::boxed(id, WHAT)?, delta).0
            }
        };
        Ok(())
    }

    pub fn is_full(&self) -> bool {
        self.nets.len() >= MAX
    }

    /// Takes out what is not nothing.
    pub fn drain(&mut self) -> impl Iterator<Item = (Box<[u8]>, i128)> {
        self.last = 0;
        self.nets.drain(..).filter(|(_, net)| *net != 0)
    }

    pub fn is_nothing(&self) -> bool {
        self.nets.values().all(|net| *net == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn sums_as_a_map_does(changes in proptest::collection::vec((0..6u8, -2..3i128), 0..60)) {
            let mut tally = Tally::default();
            let mut model = BTreeMap::<u8, i128>::new();
            for (id, delta) in changes {
                tally.add(&[id], delta).expect("memory");
                *model.entry(id).or_default() += delta;
            }
            model.retain(|_, net| *net != 0);
            prop_assert_eq!(tally.is_nothing(), model.is_empty());
            let drained: BTreeMap<u8, i128> = tally.drain().map(|(id, net)| (id[0], net)).collect();
            prop_assert_eq!(drained, model);
            prop_assert!(tally.is_nothing());
        }
    }
}
