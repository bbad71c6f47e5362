//! This transaction's visits by id and day, with savepoints.
//!
//! Each open savepoint level that visited, or dropped an id, has a layer of its own; a rollback drops it, a release unites it
//! with the parent's. Union only grows, so nothing has to be undone.

use std::collections::{HashMap, HashSet};

use crate::hll::{Parameters, Sketch};

/// An id and a day.
pub type Key = (Box<[u8]>, i32);
type Days = Vec<(i32, Sketch)>;

/// Sketches of one level, by id: nearly always one of each, of today.
#[derive(Debug, Default)]
struct Sketches {
    by_id: HashMap<Box<[u8]>, Days, foldhash::fast::RandomState>,
    len: usize,
}

impl Sketches {
    fn of(&self, id: &[u8]) -> &[(i32, Sketch)] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// The sketch of an id and day, made if there is none.
    fn entry(&mut self, id: &[u8], day: i32, make: impl FnOnce() -> Sketch) -> &mut Sketch {
        // Nearly always there: its key need not be made anew to look for it.
        if !self.by_id.contains_key(id) {
            self.by_id.insert(id.into(), Days::new());
        }
        let Some(days) = self.by_id.get_mut(id) else { unreachable!("just made") };
        let at = match days.iter().position(|(of, _)| *of == day) {
            Some(at) => at,
            None => {
                self.len += 1;
                days.push((day, make()));
                days.len() - 1
            }
        };
        &mut days[at].1
    }

    fn into_sorted(self) -> Vec<(Key, Sketch)> {
        let mut sorted: Vec<(Key, Sketch)> = self
            .by_id
            .into_iter()
            .flat_map(|(id, days)| days.into_iter().map(move |(day, sketch)| ((id.clone(), day), sketch)))
            .collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        sorted
    }

    fn remove(&mut self, id: &[u8]) {
        self.len -= self.by_id.remove(id).map_or(0, |days| days.len());
    }
}

#[derive(Debug)]
struct Layer {
    level: u32,
    /// Ids dropped at this level: what outer layers hold of them is hidden. Later visits are in `sketches`.
    dropped: HashSet<Box<[u8]>>,
    sketches: Sketches,
}

#[derive(Debug, Default)]
pub struct Pending {
    /// Shallow to deep.
    layers: Vec<Layer>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sketches held, one an id, day and level.
    pub fn len(&self) -> usize {
        self.layers.iter().map(|layer| layer.sketches.len).sum()
    }

    /// Whether the transaction has visited the id on one of some days, seen by this hash.
    pub fn covers(&self, id: &[u8], takes: impl Fn(i32) -> bool, hash: u64) -> bool {
        self.of(id, takes).any(|sketch| sketch.covers(hash))
    }

    /// The transaction's own visits of an id on some days.
    pub fn of(&self, id: &[u8], takes: impl Fn(i32) -> bool) -> impl Iterator<Item = &Sketch> {
        let hidden = self.layers.iter().rposition(|layer| layer.dropped.contains(id)).unwrap_or(0);
        self.layers[hidden..]
            .iter()
            .flat_map(move |layer| layer.sketches.of(id))
            .filter(move |(day, _)| takes(*day))
            .map(|(_, sketch)| sketch)
    }

    /// Sketches held at one level.
    pub fn len_of_level(&self, level: u32) -> usize {
        self.layers.last().filter(|layer| layer.level == level).map_or(0, |layer| layer.sketches.len)
    }

    /// Takes out what one level visited, to be written at once.
    pub fn take_level(&mut self, level: u32) -> Vec<(Key, Sketch)> {
        self.layers
            .last_mut()
            .filter(|layer| layer.level == level)
            .map_or_else(Vec::new, |layer| std::mem::take(&mut layer.sketches).into_sorted())
    }

    fn layer(&mut self, level: u32) -> &mut Layer {
        if self.layers.last().is_none_or(|layer| layer.level < level) {
            self.layers.push(Layer { level, dropped: HashSet::new(), sketches: Sketches::default() });
        }
        let last = self.layers.len() - 1;
        &mut self.layers[last]
    }

    /// Adds a visit at a savepoint level (1 is the top transaction).
    pub fn add(&mut self, parameters: Parameters, id: &[u8], day: i32, hash: u64, level: u32) {
        self.layer(level).sketches.entry(id, day, || Sketch::new(parameters)).add(hash);
    }

    /// Forgets an id's visits; a savepoint's rollback brings them back. Returns whether there were any.
    pub fn forget(&mut self, id: &[u8], level: u32) -> bool {
        let had = self.of(id, |_| true).next().is_some();
        if had {
            drop_id(self.layer(level), id.into());
        }
        had
    }

    /// A savepoint is gone, its visits are the parent's.
    pub fn release(&mut self, level: u32) {
        let Some(layer) = self.layers.pop_if(|layer| layer.level >= level) else {
            return;
        };
        let parent = self.layer(level - 1);
        for id in layer.dropped {
            drop_id(parent, id);
        }
        for (id, days) in layer.sketches.by_id {
            for (day, sketch) in days {
                // All of one kind: made in `add`.
                let _ = parent.sketches.entry(&id, day, || Sketch::new(sketch.parameters())).unite(&sketch);
            }
        }
    }

    /// A savepoint and all deeper ones are rolled back.
    pub fn roll_back(&mut self, level: u32) {
        while self.layers.pop_if(|layer| layer.level >= level).is_some() {}
    }

    /// Takes everything out, one sketch an id and day, in order of id.
    pub fn take(&mut self) -> Vec<(Key, Sketch)> {
        while let Some(level) = self.layers.last().map(|layer| layer.level).filter(|level| *level > 1) {
            self.release(level);
        }
        let all = self.layers.pop().map_or_else(Sketches::default, |layer| layer.sketches);
        all.into_sorted()
    }

    pub fn clear(&mut self) {
        self.layers.clear();
    }
}

fn drop_id(layer: &mut Layer, id: Box<[u8]>) {
    layer.sketches.remove(&id);
    layer.dropped.insert(id);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Visit(u8, u8),
        Drop(u8),
        Savepoint,
        Release,
        RollBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..3, any::<u8>()).prop_map(|(id, visitor)| Step::Visit(id, visitor)),
            1 => (0u8..3).prop_map(Step::Drop),
            2 => Just(Step::Savepoint),
            1 => Just(Step::Release),
            1 => Just(Step::RollBack),
        ]
    }

    proptest! {
        /// Against a stack of whole copies.
        #[test]
        fn savepoints(steps in proptest::collection::vec(step(), 0..60)) {
            let mut pending = Pending::default();
            let mut stack: Vec<BTreeSet<(u8, u8)>> = vec![BTreeSet::new()];
            for step in steps {
                let level = stack.len() as u32;
                match step {
                    Step::Visit(id, visitor) => {
                        pending.add(Parameters::default(), &[id], 7, u64::from(visitor), level);
                        stack.last_mut().expect("top").insert((id, visitor));
                    }
                    Step::Drop(id) => {
                        pending.forget(&[id], level);
                        stack.last_mut().expect("top").retain(|(of, _)| *of != id);
                    }
                    Step::Savepoint => stack.push(stack.last().expect("top").clone()),
                    Step::Release if level > 1 => {
                        pending.release(level);
                        let released = stack.pop().expect("savepoint");
                        *stack.last_mut().expect("parent") = released;
                    }
                    Step::RollBack if level > 1 => {
                        pending.roll_back(level);
                        stack.pop();
                    }
                    Step::Release | Step::RollBack => {}
                }
                let seen = stack.last().expect("top");
                for id in 0..3 {
                    for visitor in [0, 1, 17, 255] {
                        let expected = seen.contains(&(id, visitor));
                        prop_assert_eq!(pending.covers(&[id], |day| day == 7, u64::from(visitor)), expected);
                        prop_assert!(!pending.covers(&[id], |day| day == 8, u64::from(visitor)));
                    }
                }
            }
            let taken: BTreeSet<(u8, u8)> = pending
                .take()
                .iter()
                .flat_map(|((id, _), sketch)| {
                    let id = id[0];
                    sketch.explicit().expect("few").iter().map(move |hash| (id, *hash as u8)).collect::<Vec<_>>()
                })
                .collect();
            prop_assert_eq!(&taken, stack.last().expect("top"));
            prop_assert!(pending.is_empty());
        }
    }
}
