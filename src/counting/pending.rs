//! This transaction's deltas by id, with savepoints.
//!
//! The map always holds the net delta of the whole transaction so far. What a savepoint changed is kept in an undo
//! log of its level: a rollback replays it, a release hands it down. So adding and reading are one look-up whatever
//! the number of savepoints, and a million increments of one id in a savepoint log once.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

/// The sum would leave bigint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

#[derive(Clone, Copy, Debug)]
struct Entry {
    net: i64,
    /// Calls behind it, for statistics.
    increments: u64,
    /// Deepest savepoint level that changed it and is still open.
    level: u32,
    /// False after the rollback of what made it: as if it had never been there.
    live: bool,
}

#[derive(Clone, Copy, Debug)]
struct Undo {
    position: usize,
    before: Entry,
}

#[derive(Debug, Default)]
struct Layer {
    level: u32,
    undo: Vec<Undo>,
}

/// A counter's part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub id: Box<[u8]>,
    pub net: i64,
    pub increments: u64,
}

#[derive(Debug, Default)]
pub struct Pending {
    entries: IndexMap<Box<[u8]>, Entry, RandomState>,
    /// Undo logs of open savepoints, shallow to deep; levels without changes have none.
    layers: Vec<Layer>,
    /// Where the last increment went: the next one is often of the same id.
    last: usize,
    live: usize,
}

impl Pending {
    /// Adds a delta at a savepoint level (1 is the top transaction).
    pub fn add(&mut self, id: &[u8], delta: i64, level: u32) -> Result<(), Overflow> {
        let position = self.position(id);
        let entry = &mut self.entries[position];
        let net = entry.net.checked_add(delta).ok_or(Overflow)?;
        if entry.level < level {
            let undo = Undo { position, before: *entry };
            log(&mut self.layers, level, undo);
        }
        let entry = &mut self.entries[position];
        if !entry.live {
            entry.live = true;
            self.live += 1;
        }
        entry.level = level;
        entry.net = net;
        entry.increments += 1;
        Ok(())
    }

    fn position(&mut self, id: &[u8]) -> usize {
        if let Some((last, _)) = self.entries.get_index(self.last)
            && **last == *id
        {
            return self.last;
        }
        let position = match self.entries.get_index_of(id) {
            Some(position) => position,
            None => {
                // Dead until its first delta is in; below every level, so that a savepoint logs it.
                let entry = Entry { net: 0, increments: 0, level: 0, live: false };
                self.entries.insert_full(id.into(), entry).0
            }
        };
        self.last = position;
        position
    }

    /// The transaction's own delta of a counter, `None` when it has none.
    pub fn net(&self, id: &[u8]) -> Option<i64> {
        self.entries.get(id).filter(|entry| entry.live).map(|entry| entry.net)
    }

    /// All of the transaction's own deltas, in no order that means anything.
    pub fn each(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.entries.iter().filter(|(_, entry)| entry.live).map(|(id, entry)| (&**id, entry.net))
    }

    /// Counters with a delta.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(|(_, entry)| entry.live).map(|(id, _)| &**id)
    }

    /// Forgets a counter's delta; a savepoint's rollback brings it back.
    pub fn forget(&mut self, id: &[u8], level: u32) {
        let Some(position) = self.entries.get_index_of(id) else {
            return;
        };
        let entry = self.entries[position];
        if !entry.live {
            return;
        }
        if entry.level < level {
            log(&mut self.layers, level, Undo { position, before: entry });
        }
        self.entries[position] = Entry { net: 0, increments: 0, level, live: false };
        self.live -= 1;
    }

    /// Counters with a delta.
    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// A savepoint is gone, its changes are the parent's.
    pub fn release(&mut self, level: u32) {
        let Some(layer) = self.layers.pop_if(|layer| layer.level >= level) else {
            return;
        };
        let parent = level - 1;
        for undo in layer.undo {
            self.entries[undo.position].level = parent;
            // The parent must be able to undo it too, unless it had its own change before.
            if undo.before.level < parent {
                log(&mut self.layers, parent, undo);
            }
        }
    }

    /// A savepoint and all deeper ones are rolled back.
    pub fn roll_back(&mut self, level: u32) {
        while let Some(layer) = self.layers.pop_if(|layer| layer.level >= level) {
            for undo in layer.undo.into_iter().rev() {
                let entry = &mut self.entries[undo.position];
                match (entry.live, undo.before.live) {
                    (true, false) => self.live -= 1,
                    (false, true) => self.live += 1,
                    _ => {}
                }
                *entry = undo.before;
            }
        }
    }

    /// Takes out what the current savepoint level (or, at level 1, the transaction) added, to be written at once.
    pub fn take_level(&mut self, level: u32) -> Vec<Delta> {
        if level <= 1 {
            return self.take();
        }
        let Some(layer) = self.layers.pop_if(|layer| layer.level == level) else {
            return Vec::new();
        };
        let mut taken = Vec::with_capacity(layer.undo.len());
        for undo in layer.undo.into_iter().rev() {
            let (id, entry) = match self.entries.get_index_mut(undo.position) {
                Some(found) => found,
                None => continue,
            };
            if entry.live
                && let Some(net) = entry.net.checked_sub(undo.before.net)
            {
                // Fewer than before when the counter was forgotten in between.
                let increments = entry.increments.saturating_sub(undo.before.increments);
                taken.push(Delta { id: id.clone(), net, increments });
                if !undo.before.live {
                    self.live -= 1;
                }
                *entry = undo.before;
            } else {
                // Forgotten at this level, or a difference that no bigint holds: stays pending.
                log(&mut self.layers, level, undo);
            }
        }
        self.drop_dead_tail();
        taken
    }

    /// Frees entries that nothing refers to any more.
    fn drop_dead_tail(&mut self) {
        let needed =
            self.layers.iter().flat_map(|layer| &layer.undo).map(|undo| undo.position + 1).max().unwrap_or(0);
        while self.entries.len() > needed && self.entries.last().is_some_and(|(_, entry)| !entry.live) {
            self.entries.pop();
        }
        self.last = 0;
    }

    /// Takes everything out; the map is empty afterwards.
    pub fn take(&mut self) -> Vec<Delta> {
        self.layers.clear();
        self.last = 0;
        self.live = 0;
        let taken = self
            .entries
            .drain(..)
            .filter(|(_, entry)| entry.live)
            .map(|(id, entry)| Delta { id, net: entry.net, increments: entry.increments })
            .collect();
        if self.entries.capacity() > 4096 {
            // A large transaction's memory is not kept for the next small one.
            self.entries = IndexMap::default();
        }
        taken
    }

    pub fn clear(&mut self) {
        if !self.entries.is_empty() {
            self.take();
        }
    }
}

fn log(layers: &mut Vec<Layer>, level: u32, undo: Undo) {
    if level <= 1 {
        return;
    }
    match layers.iter().rposition(|layer| layer.level <= level) {
        Some(at) if layers[at].level == level => layers[at].undo.push(undo),
        Some(at) => layers.insert(at + 1, Layer { level, undo: vec![undo] }),
        None => layers.insert(0, Layer { level, undo: vec![undo] }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Add(u8, i64),
        Forget(u8),
        Savepoint,
        Release,
        RollBack,
        /// Write the level's deltas out, as a spill does.
        Spill,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0u8..5, -100i64..100).prop_map(|(id, delta)| Step::Add(id, delta)),
            1 => (0u8..5).prop_map(Step::Forget),
            3 => Just(Step::Savepoint),
            2 => Just(Step::Release),
            2 => Just(Step::RollBack),
            1 => Just(Step::Spill),
        ]
    }

    /// A stack of whole maps: what savepoints mean, without being clever. The second map is what was spilled.
    type Model = Vec<(BTreeMap<u8, i64>, BTreeMap<u8, i64>)>;

    fn pending_of(pending: &Pending, id: u8) -> i64 {
        pending.net(&[id]).unwrap_or(0)
    }

    proptest! {
        #[test]
        fn behaves_as_a_stack_of_copies(steps in proptest::collection::vec(step(), 0..80)) {
            let mut pending = Pending::default();
            let mut spilled: Vec<BTreeMap<u8, i64>> = vec![BTreeMap::new()];
            let mut model: Model = vec![(BTreeMap::new(), BTreeMap::new())];
            for step in steps {
                let level = model.len() as u32;
                let top = model.len() - 1;
                match step {
                    Step::Add(id, delta) => {
                        pending.add(&[id], delta, level).unwrap();
                        *model[top].0.entry(id).or_default() += delta;
                    }
                    Step::Forget(id) => {
                        pending.forget(&[id], level);
                        // What was spilled is in rows, and stays.
                        let kept = spilled.iter().map(|s| s.get(&id).copied().unwrap_or(0)).sum();
                        model[top].0.insert(id, kept);
                    }
                    Step::Savepoint => {
                        let copy = model[top].clone();
                        model.push(copy);
                        spilled.push(BTreeMap::new());
                    }
                    Step::Release if top > 0 => {
                        pending.release(level);
                        let released = model.pop().unwrap();
                        model[top - 1] = released;
                        let rows = spilled.pop().unwrap();
                        for (id, amount) in rows {
                            *spilled[top - 1].entry(id).or_default() += amount;
                        }
                    }
                    Step::RollBack if top > 0 => {
                        pending.roll_back(level);
                        model.pop();
                        spilled.pop();
                    }
                    Step::Spill => {
                        for delta in pending.take_level(level) {
                            *spilled[top].entry(delta.id[0]).or_default() += delta.net;
                        }
                    }
                    Step::Release | Step::RollBack => {}
                }
                let top = model.len() - 1;
                for id in 0..5 {
                    let rows: i64 = spilled.iter().map(|s| s.get(&id).copied().unwrap_or(0)).sum();
                    prop_assert_eq!(
                        pending_of(&pending, id) + rows,
                        model[top].0.get(&id).copied().unwrap_or(0)
                    );
                }
                let live = (0..5u8).filter(|id| pending.net(&[*id]).is_some()).count();
                prop_assert_eq!(live, pending.len());
            }
        }
    }

    #[test]
    fn a_counter_made_in_a_rolled_back_savepoint_never_was() {
        let mut pending = Pending::default();
        pending.add(b"a", 1, 2).unwrap();
        pending.roll_back(2);
        assert_eq!(pending.net(b"a"), None);
        assert!(pending.is_empty());
        assert!(pending.take().is_empty());
    }

    #[test]
    fn overflow_changes_nothing() {
        let mut pending = Pending::default();
        pending.add(b"a", i64::MAX, 1).unwrap();
        assert_eq!(pending.add(b"a", 1, 1), Err(Overflow));
        assert_eq!(pending.add(b"a", 1, 2), Err(Overflow));
        assert_eq!(pending.net(b"a"), Some(i64::MAX));
        pending.roll_back(2);
        assert_eq!(pending.net(b"a"), Some(i64::MAX));
        assert_eq!(pending.len(), 1);
    }

    #[test]
    fn a_zero_delta_makes_the_counter() {
        let mut pending = Pending::default();
        pending.add(b"a", 0, 1).unwrap();
        assert_eq!(pending.take(), vec![Delta { id: (*b"a").into(), net: 0, increments: 1 }]);
    }

    #[test]
    fn levels_may_be_skipped() {
        let mut pending = Pending::default();
        pending.add(b"a", 1, 1).unwrap();
        pending.add(b"a", 2, 5).unwrap();
        pending.release(5);
        pending.add(b"a", 4, 4).unwrap();
        pending.release(4);
        pending.roll_back(3);
        assert_eq!(pending.net(b"a"), Some(1));
    }
}
