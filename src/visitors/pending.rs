//! This transaction's visits by id and day, with savepoints.
//!
//! Each open savepoint level that visited, or dropped an id, has a layer of its own; a rollback drops it, a release unites it
//! with the parent's. Union only grows, so nothing has to be undone.
//!
//! Memory: a sketch an id, day and layer. Adding may be refused. A release must not fail: where there is no memory to unite
//! two layers, both stay, as two of one level.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::fallible::{self, OutOfMemory};
use crate::hll::{Parameters, Refused, Sketch};

/// An id and a day.
pub type Key = (Box<[u8]>, i32);
type Days = Vec<(i32, Sketch)>;

const WHAT: &str = "pending visits";

/// Sketches of one level, by id: nearly always one of each, of today.
#[derive(Debug, Default)]
struct Sketches {
    by_id: HashMap<Box<[u8]>, Days, RandomState>,
    len: usize,
}

impl Sketches {
    fn of(&self, id: &[u8]) -> &[(i32, Sketch)] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// The sketch of an id and day, made if there is none.
    fn entry(&mut self, id: &[u8], day: i32, parameters: Parameters) -> Result<&mut Sketch, OutOfMemory> {
        // Nearly always there: its key need not be made anew to look for it.
        if !self.by_id.contains_key(id) {
            fallible::reserve(&mut self.by_id, 1, WHAT)?;
            self.by_id.insert(fallible::boxed(id, WHAT)?, Days::new());
        }
        let Some(days) = self.by_id.get_mut(id) else { unreachable!("just made") };
        let at = match days.iter().position(|(of, _)| *of == day) {
            Some(at) => at,
            None => {
                fallible::push(days, (day, Sketch::new(parameters)), WHAT)?;
                self.len += 1;
                days.len() - 1
            }
        };
        Ok(&mut days[at].1)
    }

    /// Adds all of another's.
    fn unite(&mut self, other: &Sketches) -> Result<(), Refused> {
        for (id, days) in &other.by_id {
            for (day, sketch) in days {
                self.entry(id, *day, sketch.parameters())?.unite(sketch)?;
            }
        }
        Ok(())
    }

    /// Takes everything out, in order of id.
    fn take_sorted(&mut self) -> Result<Vec<(Key, Sketch)>, OutOfMemory> {
        let mut sorted = fallible::with_room(self.len, WHAT)?;
        for (id, days) in &mut self.by_id {
            for (day, sketch) in days.drain(..) {
                sorted.push(((fallible::boxed(id, WHAT)?, day), sketch));
            }
        }
        *self = Sketches::default();
        sorted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(sorted)
    }

    fn remove(&mut self, id: &[u8]) {
        self.len -= self.by_id.remove(id).map_or(0, |days| days.len());
    }
}

#[derive(Debug)]
struct Layer {
    level: u32,
    /// Ids dropped at this level: what outer layers hold of them is hidden. Later visits are in `sketches`.
    dropped: HashSet<Box<[u8]>, RandomState>,
    sketches: Sketches,
}

impl Layer {
    fn new(level: u32) -> Layer {
        Layer { level, dropped: HashSet::default(), sketches: Sketches::default() }
    }

    /// Takes in a later layer. Refused, it may have taken in a part, which does no harm while the later one stays.
    fn unite(&mut self, later: &Layer, outer: &[Layer]) -> Result<(), Refused> {
        for id in &later.dropped {
            self.sketches.remove(id);
            if is_in(outer, id) && !self.dropped.contains(id) {
                fallible::reserve(&mut self.dropped, 1, WHAT)?;
                self.dropped.insert(fallible::boxed(id, WHAT)?);
            }
        }
        self.sketches.unite(&later.sketches)
    }
}

/// Whether outer layers have visits of an id: only then a drop has something to hide.
fn is_in(outer: &[Layer], id: &[u8]) -> bool {
    outer.iter().any(|layer| layer.sketches.by_id.contains_key(id))
}

#[derive(Debug, Default)]
pub struct Pending {
    /// Shallow to deep; several of one level only where there was no memory to unite them.
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
        self.by_day(id).filter(move |(day, _)| takes(*day)).map(|(_, sketch)| sketch)
    }

    /// The same, with the day of each; a day may come several times.
    pub fn by_day(&self, id: &[u8]) -> impl Iterator<Item = (i32, &Sketch)> {
        let hidden = self.layers.iter().rposition(|layer| layer.dropped.contains(id)).unwrap_or(0);
        self.layers[hidden..]
            .iter()
            .flat_map(move |layer| layer.sketches.of(id))
            .map(|(day, sketch)| (*day, sketch))
    }

    /// Ids that the transaction has visits of; one may come several times.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.layers.iter().flat_map(|layer| layer.sketches.by_id.keys());
        all.map(|id| &**id).filter(|id| self.of(id, |_| true).next().is_some())
    }

    /// Sketches held at one level.
    pub fn len_of_level(&self, level: u32) -> usize {
        let of_level = self.layers.iter().rev().take_while(|layer| layer.level == level);
        of_level.map(|layer| layer.sketches.len).sum()
    }

    /// Takes out what one level visited, to be written at once. Refused, it leaves nothing that a rollback of the level does
    /// not drop.
    pub fn take_level(&mut self, level: u32) -> Result<Vec<(Key, Sketch)>, Refused> {
        self.unite_layers(level)?;
        match self.layers.last_mut().filter(|layer| layer.level == level) {
            Some(layer) => Ok(layer.sketches.take_sorted()?),
            None => Ok(Vec::new()),
        }
    }

    /// Makes one layer of those of a level.
    fn unite_layers(&mut self, level: u32) -> Result<(), Refused> {
        while let [outer @ .., before, last] = self.layers.as_mut_slice()
            && before.level == level
            && last.level == level
        {
            before.unite(last, outer)?;
            self.layers.pop();
        }
        Ok(())
    }

    fn layer(&mut self, level: u32) -> Result<&mut Layer, OutOfMemory> {
        if self.layers.last().is_none_or(|layer| layer.level < level) {
            fallible::push(&mut self.layers, Layer::new(level), WHAT)?;
        }
        let last = self.layers.len() - 1;
        Ok(&mut self.layers[last])
    }

    /// Adds a visit at a savepoint level (1 is the top transaction).
    pub fn add(
        &mut self,
        parameters: Parameters,
        id: &[u8],
        day: i32,
        hash: u64,
        level: u32,
    ) -> Result<(), OutOfMemory> {
        self.layer(level)?.sketches.entry(id, day, parameters)?.add(hash).map(drop)
    }

    /// Adds all visits of a sketch.
    pub fn add_all(&mut self, id: &[u8], day: i32, visits: &Sketch, level: u32) -> Result<(), Refused> {
        self.layer(level)?.sketches.entry(id, day, visits.parameters())?.unite(visits)
    }

    /// Forgets an id's visits; a savepoint's rollback brings them back. Returns whether there were any.
    pub fn forget(&mut self, id: &[u8], level: u32) -> Result<bool, OutOfMemory> {
        let had = self.of(id, |_| true).next().is_some();
        if had {
            let layer = self.layer(level)?;
            layer.sketches.remove(id);
            let outer = self.layers.len() - 1;
            if is_in(&self.layers[..outer], id) {
                let kept = fallible::boxed(id, WHAT)?;
                let layer = self.layer(level)?;
                fallible::reserve(&mut layer.dropped, 1, WHAT)?;
                layer.dropped.insert(kept);
            }
        }
        Ok(had)
    }

    /// A savepoint is gone, its visits are the parent's.
    pub fn release(&mut self, level: u32) {
        let parent = level - 1;
        for layer in self.layers.iter_mut().rev().take_while(|layer| layer.level >= level) {
            layer.level = parent;
        }
        // Refused, it is tried again when the layers are taken out.
        let _ = self.unite_layers(parent);
    }

    /// A savepoint and all deeper ones are rolled back.
    pub fn roll_back(&mut self, level: u32) {
        while self.layers.pop_if(|layer| layer.level >= level).is_some() {}
    }

    /// Takes everything out, one sketch an id and day, in order of id.
    pub fn take(&mut self) -> Result<Vec<(Key, Sketch)>, Refused> {
        self.layers.iter_mut().for_each(|layer| layer.level = 1);
        let taken = self.take_level(1)?;
        self.clear();
        Ok(taken)
    }

    pub fn clear(&mut self) {
        self.layers.clear();
    }
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
        /// As a release without memory to unite.
        ReleaseApart,
        RollBack,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..3, any::<u8>()).prop_map(|(id, visitor)| Step::Visit(id, visitor)),
            1 => (0u8..3).prop_map(Step::Drop),
            2 => Just(Step::Savepoint),
            1 => Just(Step::Release),
            1 => Just(Step::ReleaseApart),
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
                        pending.add(Parameters::default(), &[id], 7, u64::from(visitor), level).unwrap();
                        stack.last_mut().expect("top").insert((id, visitor));
                    }
                    Step::Drop(id) => {
                        pending.forget(&[id], level).unwrap();
                        stack.last_mut().expect("top").retain(|(of, _)| *of != id);
                    }
                    Step::Savepoint => stack.push(stack.last().expect("top").clone()),
                    Step::Release if level > 1 => {
                        pending.release(level);
                        let released = stack.pop().expect("savepoint");
                        *stack.last_mut().expect("parent") = released;
                    }
                    Step::ReleaseApart if level > 1 => {
                        let own = pending.layers.iter_mut().rev().take_while(|layer| layer.level >= level);
                        own.for_each(|layer| layer.level = level - 1);
                        let released = stack.pop().expect("savepoint");
                        *stack.last_mut().expect("parent") = released;
                    }
                    Step::RollBack if level > 1 => {
                        pending.roll_back(level);
                        stack.pop();
                    }
                    Step::Release | Step::ReleaseApart | Step::RollBack => {}
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
                .unwrap()
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

    #[test]
    fn ids_that_come_and_go_leave_nothing() {
        let mut pending = Pending::default();
        for number in 0u32..100_000 {
            let id = number.to_be_bytes();
            pending.add(Parameters::default(), &id, 7, 1, 2).unwrap();
            pending.release(2);
            assert!(pending.forget(&id, 1).unwrap());
        }
        assert!(pending.is_empty());
        assert!(pending.layers[0].dropped.is_empty());
        assert!(pending.layers[0].sketches.by_id.capacity() < 100);
    }
}
