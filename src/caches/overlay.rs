//! What a transaction has counted of a table's rows so far, beside what a snapshot from before it shows: by key, and by savepoint.
//!
//! A middle table's rows have what they name as `other`; counted rows have none, and their amounts.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::fallible::{self, OutOfMemory};

const WHAT: &str = "changes of a cache through another table";

/// Net changes by what they belong to.
type Nets = Vec<(Box<[u8]>, i128)>;

#[derive(Debug, Default)]
pub struct Overlay {
    /// By level of savepoint, the lowest first. Two of one level are left by a release, until something is added.
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    level: u32,
    /// What is below does not matter any more: a snapshot before this command shows all of it.
    restart: Option<u32>,
    changes: IndexMap<Box<[u8]>, Nets, RandomState>,
}

impl Overlay {
    /// The command before which a snapshot shows what the changes are beside.
    pub fn base(&self) -> u32 {
        self.layers.iter().rev().find_map(|layer| layer.restart).unwrap_or(0)
    }

    fn that_matter(&self) -> impl Iterator<Item = &Layer> {
        let above = self.layers.iter().rposition(|layer| layer.restart.is_some()).unwrap_or(0);
        self.layers[above..].iter()
    }

    /// The changes of a key; one `other` may come several times.
    pub fn of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (&'a [u8], i128)> {
        self.that_matter()
            .filter_map(|layer| layer.changes.get(key))
            .flatten()
            .map(|(other, net)| (&**other, *net))
    }

    /// The keys that may have changes.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.that_matter().flat_map(|layer| layer.changes.keys()).map(|key| &**key)
    }

    pub fn add(&mut self, level: u32, key: &[u8], other: &[u8], delta: i128) -> Result<(), OutOfMemory> {
        self.merge_equal()?;
        let layer = self.top(level, None)?;
        if !layer.changes.contains_key(key) {
            fallible::reserve(&mut layer.changes, 1, WHAT)?;
            layer.changes.insert(fallible::boxed(key, WHAT)?, Nets::new());
        }
        let Some(nets) = layer.changes.get_mut(key) else { return Ok(()) };
        add_to(nets, other, delta)
    }

    /// From now on the changes are beside what a snapshot before this command shows.
    pub fn restart(&mut self, level: u32, base: u32) -> Result<(), OutOfMemory> {
        self.merge_equal()?;
        let layer = self.top(level, Some(base))?;
        layer.restart = Some(base);
        layer.changes = IndexMap::default();
        Ok(())
    }

    fn top(&mut self, level: u32, restart: Option<u32>) -> Result<&mut Layer, OutOfMemory> {
        if self.layers.last().is_none_or(|layer| layer.level < level) {
            fallible::push(&mut self.layers, Layer { level, restart, changes: IndexMap::default() }, WHAT)?;
        }
        let last = self.layers.len() - 1;
        Ok(&mut self.layers[last])
    }

    fn merge_equal(&mut self) -> Result<(), OutOfMemory> {
        while let [.., below, above] = self.layers.as_mut_slice()
            && below.level == above.level
        {
            if above.restart.is_none() {
                for (key, nets) in &above.changes {
                    if !below.changes.contains_key(key) {
                        fallible::reserve(&mut below.changes, 1, WHAT)?;
                        below.changes.insert(fallible::boxed(key, WHAT)?, Nets::new());
                    }
                    let Some(sum) = below.changes.get_mut(key) else { continue };
                    for (other, net) in nets {
                        add_to(sum, other, *net)?;
                    }
                }
                // What is merged stays so where memory has run out in between: the transaction, or the savepoint, is over then.
            } else {
                std::mem::swap(below, above);
            }
            self.layers.pop();
        }
        Ok(())
    }

    /// A savepoint was released: its changes are those of what is around it.
    pub fn released(&mut self, level: u32) {
        self.layers.iter_mut().filter(|layer| layer.level >= level).for_each(|layer| layer.level = level - 1);
    }

    /// A savepoint was rolled back.
    pub fn rolled_back(&mut self, level: u32) {
        self.layers.retain(|layer| layer.level < level);
    }
}

fn add_to(nets: &mut Nets, other: &[u8], delta: i128) -> Result<(), OutOfMemory> {
    match nets.iter_mut().find(|(there, _)| **there == *other) {
        Some((_, net)) => *net += delta,
        None => fallible::push(nets, (fallible::boxed(other, WHAT)?, delta), WHAT)?,
    }
    nets.retain(|(_, net)| *net != 0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8, u8, i128),
        Restart(u32),
        Savepoint,
        Release,
        RollBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3u8, 0..2u8, -2..3i128).prop_map(|(key, other, delta)| Step::Add(key, other, delta)),
            1 => (1..9u32).prop_map(Step::Restart),
            3 => Just(Step::Savepoint),
            2 => Just(Step::Release),
            2 => Just(Step::RollBack),
        ]
    }

    type Model = (u32, BTreeMap<(u8, u8), i128>);

    proptest! {
        #[test]
        fn as_copies_of_the_whole_would(steps in proptest::collection::vec(step(), 0..60)) {
            let mut overlay = Overlay::default();
            let mut models: Vec<Model> = vec![(0, BTreeMap::new())];
            for step in steps {
                let level = models.len() as u32;
                let model = models.last_mut().expect("a level");
                match step {
                    Step::Add(key, other, delta) => {
                        overlay.add(level, &[key], &[other], delta).expect("memory");
                        *model.1.entry((key, other)).or_default() += delta;
                    }
                    Step::Restart(base) => {
                        overlay.restart(level, base).expect("memory");
                        *model = (base, BTreeMap::new());
                    }
                    Step::Savepoint => {
                        let copy = model.clone();
                        models.push(copy);
                    }
                    Step::Release if level > 1 => {
                        let released = models.pop().expect("a level");
                        *models.last_mut().expect("a level") = released;
                        overlay.released(level);
                    }
                    Step::RollBack if level > 1 => {
                        models.pop();
                        overlay.rolled_back(level);
                    }
                    Step::Release | Step::RollBack => {}
                }
                let (base, changes) = models.last().expect("a level");
                prop_assert_eq!(overlay.base(), *base);
                for key in 0..3u8 {
                    prop_assert!(overlay.of(&[key]).next().is_none() || overlay.keys().any(|known| known == [key]));
                    let mut sums = BTreeMap::<u8, i128>::new();
                    for (other, net) in overlay.of(&[key]) {
                        *sums.entry(other[0]).or_default() += net;
                    }
                    for other in 0..2u8 {
                        let expected = changes.get(&(key, other)).copied().unwrap_or(0);
                        prop_assert_eq!(sums.get(&other).copied().unwrap_or(0), expected);
                    }
                }
            }
        }
    }
}
