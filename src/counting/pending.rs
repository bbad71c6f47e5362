//! This transaction's deltas by id, with savepoints.
//!
//! The map always holds the net delta of the whole transaction so far. What a savepoint changed is kept in an undo log: a
//! rollback replays its part, a release hands it down. So adding and reading are one look-up whatever the number of
//! savepoints, and a million increments of one id in a savepoint log once.
//!
//! Memory: one entry an id, one step of undo an id and open savepoint that changed it. Adding may be refused, and has then
//! changed nothing; release and rollback allocate nothing, since they must not fail. An id that was only counted in savepoints
//! that are rolled back leaves nothing behind.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::fallible::{self, OutOfMemory};

/// Why a delta was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// The sum would leave bigint.
    Overflow,
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for NotAdded {
    fn from(refused: OutOfMemory) -> NotAdded {
        NotAdded::OutOfMemory(refused)
    }
}

const WHAT: &str = "pending increments";

#[derive(Clone, Copy, Debug)]
struct PendingDelta {
    net: i64,
    /// Calls behind it, for statistics.
    increments: u64,
    /// Deepest savepoint level that changed it and is still open; 0: none that is not rolled back, as if it had never been
    /// there. No step of undo is about such an entry.
    level: u32,
    /// It has a delta. False before the first one, after it was forgotten, and after the rollback of what made it.
    live: bool,
}

#[derive(Clone, Copy, Debug)]
struct Undo {
    position: usize,
    before: PendingDelta,
}

/// An open savepoint level that changed something: its part of the undo log ends where the next one's begins.
#[derive(Clone, Copy, Debug)]
struct Layer {
    level: u32,
    start: usize,
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
    entries: IndexMap<Box<[u8]>, PendingDelta, RandomState>,
    undo: Vec<Undo>,
    /// Shallow to deep; levels without changes have none.
    layers: Vec<Layer>,
    /// Where the last increment went: the next one is often of the same id.
    last: usize,
    live: usize,
    /// As many entries as this, and it is worth looking for dead ones.
    look_for_dead_at: usize,
    /// Empty: memory for what is taken out next.
    spare: Vec<Delta>,
}

/// Fewer entries are not worth looking through, and their memory is kept for the next transaction.
const FEW: usize = 4096;

impl Pending {
    /// Adds a delta at a savepoint level (1 is the top transaction).
    pub fn add(&mut self, id: &[u8], delta: i64, level: u32) -> Result<(), NotAdded> {
        let position = self.position(id, level)?;
        let entry = self.entries[position];
        let net = entry.net.checked_add(delta).ok_or(NotAdded::Overflow)?;
        if entry.level < level {
            self.log(Undo { position, before: entry }, level)?;
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

    fn position(&mut self, id: &[u8], level: u32) -> Result<usize, OutOfMemory> {
        if let Some((last, _)) = self.entries.get_index(self.last)
            && **last == *id
        {
            return Ok(self.last);
        }
        let position = match self.entries.get_index_of(id) {
            Some(position) => position,
            None => {
                if self.entries.len() >= self.look_for_dead_at.max(FEW) {
                    self.drop_dead();
                }
                let id = fallible::boxed(id, WHAT)?;
                fallible::reserve(&mut self.entries, 1, WHAT)?;
                self.make_room_to_log(level)?;
                // Dead until its first delta is in; below every level, so that a savepoint logs it.
                let entry = PendingDelta { net: 0, increments: 0, level: 0, live: false };
                self.entries.insert_full(id, entry).0
            }
        };
        self.last = position;
        Ok(position)
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
        self.each().map(|(id, _)| id)
    }

    /// Forgets a counter's delta; a savepoint's rollback brings it back.
    pub fn forget(&mut self, id: &[u8], level: u32) -> Result<(), OutOfMemory> {
        match self.entries.get_index_of(id) {
            Some(position) => self.forget_at(position, level),
            None => Ok(()),
        }
    }

    /// Forgets all deltas; a savepoint's rollback brings them back.
    pub fn forget_all(&mut self, level: u32) -> Result<(), OutOfMemory> {
        (0..self.entries.len()).try_for_each(|position| self.forget_at(position, level))
    }

    fn forget_at(&mut self, position: usize, level: u32) -> Result<(), OutOfMemory> {
        let entry = self.entries[position];
        if !entry.live {
            return Ok(());
        }
        if entry.level < level {
            self.log(Undo { position, before: entry }, level)?;
        }
        self.entries[position] = PendingDelta { net: 0, increments: 0, level, live: false };
        self.live -= 1;
        Ok(())
    }

    /// Entries held, with those that have no delta now and may get it back by a rollback.
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    /// No counter has a delta.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    fn make_room_to_log(&mut self, level: u32) -> Result<(), OutOfMemory> {
        if level > 1 {
            fallible::reserve(&mut self.undo, 1, WHAT)?;
            fallible::reserve(&mut self.layers, 1, WHAT)?;
        }
        Ok(())
    }

    fn log(&mut self, undo: Undo, level: u32) -> Result<(), OutOfMemory> {
        if level <= 1 {
            return Ok(());
        }
        self.make_room_to_log(level)?;
        if self.layers.last().is_none_or(|layer| layer.level < level) {
            // BOUND: room was made above.
            self.layers.push(Layer { level, start: self.undo.len() });
        }
        self.undo.push(undo);
        Ok(())
    }

    /// A savepoint is gone, its changes are the parent's.
    pub fn release(&mut self, level: u32) {
        let mut released = None;
        while let Some(layer) = self.layers.pop_if(|layer| layer.level >= level) {
            released = Some(layer.start);
        }
        let Some(start) = released else { return };
        let parent = level - 1;
        for undo in &self.undo[start..] {
            self.entries[undo.position].level = parent;
        }
        if parent <= 1 {
            // Nobody undoes what the top transaction did.
            self.undo.truncate(start);
            return;
        }
        // The parent must be able to undo it too, unless it had its own change before.
        let mut end = start;
        for at in start..self.undo.len() {
            if self.undo[at].before.level < parent {
                self.undo[end] = self.undo[at];
                end += 1;
            }
        }
        self.undo.truncate(end);
        if end > start && self.layers.last().is_none_or(|layer| layer.level < parent) {
            // BOUND: the room of the layer that was taken out above.
            self.layers.push(Layer { level: parent, start });
        }
    }

    /// A savepoint and all deeper ones are rolled back.
    pub fn roll_back(&mut self, level: u32) {
        while let Some(layer) = self.layers.pop_if(|layer| layer.level >= level) {
            while self.undo.len() > layer.start
                && let Some(undo) = self.undo.pop()
            {
                self.put_back(undo);
            }
        }
        self.drop_dead_tail();
    }

    fn put_back(&mut self, undo: Undo) {
        let entry = &mut self.entries[undo.position];
        match (entry.live, undo.before.live) {
            (true, false) => self.live -= 1,
            (false, true) => self.live += 1,
            _ => {}
        }
        *entry = undo.before;
    }

    /// Takes out what the current savepoint level (or, at level 1, the transaction) added, to be written at once. When it is
    /// refused, a rollback of the level still restores what was before it.
    pub fn take_level(&mut self, level: u32) -> Result<Vec<Delta>, OutOfMemory> {
        if level <= 1 {
            return self.take();
        }
        let Some(start) = self.layers.last().filter(|layer| layer.level == level).map(|layer| layer.start)
        else {
            return Ok(Vec::new());
        };
        let mut taken = fallible::with_room(self.undo.len() - start, WHAT)?;
        // What stays moves to the end.
        let mut stays = self.undo.len();
        for at in (start..self.undo.len()).rev() {
            let undo = self.undo[at];
            let Some((id, entry)) = self.entries.get_index(undo.position) else { continue };
            if entry.live
                && let Some(net) = entry.net.checked_sub(undo.before.net)
            {
                // Fewer than before when the counter was forgotten in between.
                let increments = entry.increments.saturating_sub(undo.before.increments);
                taken.push(Delta { id: fallible::boxed(id, WHAT)?, net, increments });
                self.put_back(undo);
            } else {
                // Forgotten at this level, or a difference that no bigint holds: stays pending.
                stays -= 1;
                self.undo[stays] = undo;
            }
        }
        self.undo.drain(start..stays);
        if self.undo.len() == start {
            self.layers.pop();
        }
        self.drop_dead_tail();
        Ok(taken)
    }

    /// Frees the last entries, as long as they are as if they had never been there. Those of a savepoint that is rolled back
    /// are the last.
    fn drop_dead_tail(&mut self) {
        while self.entries.last().is_some_and(|(_, entry)| entry.level == 0 && !entry.live) {
            self.entries.pop();
        }
        self.last = 0;
    }

    /// Frees the entries that neither have a delta nor can get one by a rollback, wherever they are. Refused, it leaves all as
    /// it was.
    fn drop_dead(&mut self) {
        const GONE: u32 = u32::MAX;
        self.look_for_dead_at = self.entries.len() * 2;
        if self.entries.len() == self.live {
            return;
        }
        // Where each entry goes; at first, whether it stays.
        let stay = self.entries.values().map(|entry| if entry.live { 0 } else { GONE });
        let Ok(mut places) = fallible::collect(stay, WHAT) else { return };
        for undo in self.undo.iter().filter(|undo| undo.before.live) {
            places[undo.position] = 0;
        }
        for (next, place) in places.iter_mut().filter(|place| **place != GONE).enumerate() {
            *place = next as u32;
        }
        let mut at = 0;
        self.entries.retain(|_, _| {
            at += 1;
            places[at - 1] != GONE
        });
        let mut end = 0;
        for number in 0..self.layers.len() {
            let next_start = self.layers.get(number + 1).map_or(self.undo.len(), |next| next.start);
            let start = std::mem::replace(&mut self.layers[number].start, end);
            for at in start..next_start {
                let undo = self.undo[at];
                let position = places[undo.position];
                if position != GONE {
                    self.undo[end] = Undo { position: position as usize, ..undo };
                    end += 1;
                }
            }
        }
        self.undo.truncate(end);
        while self.layers.pop_if(|layer| layer.start == end).is_some() {}
        self.last = 0;
        self.look_for_dead_at = self.entries.len() * 2;
    }

    /// Takes everything out; the map is empty afterwards.
    pub fn take(&mut self) -> Result<Vec<Delta>, OutOfMemory> {
        let mut taken = std::mem::take(&mut self.spare);
        fallible::reserve_exact(&mut taken, self.live, WHAT)?;
        let live = self.entries.drain(..).filter(|(_, entry)| entry.live);
        taken.extend(live.map(|(id, entry)| Delta { id, net: entry.net, increments: entry.increments }));
        self.clear();
        Ok(taken)
    }

    /// Keeps the memory of what was taken out, as far as it is small.
    pub fn keep_memory(&mut self, mut taken: Vec<Delta>) {
        taken.clear();
        if taken.capacity() <= FEW {
            self.spare = taken;
        }
    }

    pub fn clear(&mut self) {
        self.layers.clear();
        self.entries.clear();
        self.undo.clear();
        if self.entries.capacity() > FEW || self.undo.capacity() > FEW {
            // A large transaction's memory is not kept for the next small one.
            *self = Pending::default();
        }
        self.last = 0;
        self.live = 0;
        self.look_for_dead_at = 0;
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
        DropDead,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0u8..5, -100i64..100).prop_map(|(id, delta)| Step::Add(id, delta)),
            1 => (0u8..5).prop_map(Step::Forget),
            3 => Just(Step::Savepoint),
            2 => Just(Step::Release),
            2 => Just(Step::RollBack),
            1 => Just(Step::Spill),
            1 => Just(Step::DropDead),
        ]
    }

    /// A stack of whole maps: what savepoints mean, without being clever. The second map is what was spilled.
    type Model = Vec<(BTreeMap<u8, i64>, BTreeMap<u8, i64>)>;

    /// What the rest of the file takes for granted.
    fn check(pending: &Pending) {
        assert!(pending.layers.is_sorted_by(|a, b| a.level < b.level && a.start <= b.start));
        assert_eq!(pending.layers.first().map_or(pending.undo.len(), |layer| layer.start), 0);
        for undo in &pending.undo {
            let entry = pending.entries[undo.position];
            assert!(entry.level > undo.before.level && entry.level > 1);
        }
        if pending.layers.is_empty() {
            assert!(pending.entries.values().all(|entry| entry.level <= 1));
        }
    }

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
                        pending.forget(&[id], level).unwrap();
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
                        for delta in pending.take_level(level).unwrap() {
                            *spilled[top].entry(delta.id[0]).or_default() += delta.net;
                        }
                    }
                    Step::DropDead => pending.drop_dead(),
                    Step::Release | Step::RollBack => {}
                }
                check(&pending);
                let top = model.len() - 1;
                for id in 0..5 {
                    let rows: i64 = spilled.iter().map(|s| s.get(&id).copied().unwrap_or(0)).sum();
                    prop_assert_eq!(
                        pending_of(&pending, id) + rows,
                        model[top].0.get(&id).copied().unwrap_or(0)
                    );
                }
                let live = (0..5u8).filter(|id| pending.net(&[*id]).is_some()).count();
                prop_assert_eq!(live, pending.live);
            }
            let last = model.last().expect("top").0.clone();
            let taken: BTreeMap<u8, i64> = pending.take().unwrap().into_iter().map(|d| (d.id[0], d.net)).collect();
            for id in 0..5 {
                let rows: i64 = spilled.iter().map(|s| s.get(&id).copied().unwrap_or(0)).sum();
                prop_assert_eq!(taken.get(&id).copied().unwrap_or(0) + rows, last.get(&id).copied().unwrap_or(0));
            }
            prop_assert_eq!((pending.held(), pending.undo.len(), pending.layers.len()), (0, 0, 0));
        }
    }

    #[test]
    fn a_counter_made_in_a_rolled_back_savepoint_never_was() {
        let mut pending = Pending::default();
        pending.add(b"a", 1, 2).unwrap();
        pending.roll_back(2);
        assert_eq!(pending.net(b"a"), None);
        assert!(pending.is_empty());
        assert!(pending.take().unwrap().is_empty());
    }

    #[test]
    fn overflow_changes_nothing() {
        let mut pending = Pending::default();
        pending.add(b"a", i64::MAX, 1).unwrap();
        assert_eq!(pending.add(b"a", 1, 1), Err(NotAdded::Overflow));
        assert_eq!(pending.add(b"a", 1, 2), Err(NotAdded::Overflow));
        assert_eq!(pending.net(b"a"), Some(i64::MAX));
        pending.roll_back(2);
        assert_eq!(pending.net(b"a"), Some(i64::MAX));
        assert_eq!(pending.held(), 1);
    }

    #[test]
    fn a_zero_delta_makes_the_counter() {
        let mut pending = Pending::default();
        pending.add(b"a", 0, 1).unwrap();
        assert_eq!(pending.take(), Ok(vec![Delta { id: (*b"a").into(), net: 0, increments: 1 }]));
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

    #[test]
    fn savepoints_that_are_rolled_back_leave_nothing() {
        let mut pending = Pending::default();
        pending.add(b"kept", 1, 1).unwrap();
        for number in 0u32..200_000 {
            pending.add(&number.to_be_bytes(), 1, 3).unwrap();
            pending.release(3);
            pending.add(b"kept", 1, 2).unwrap();
            pending.roll_back(2);
        }
        assert_eq!(pending.net(b"kept"), Some(1));
        assert_eq!(pending.held(), 1);
        assert!(pending.entries.capacity() < 100 && pending.undo.capacity() < 100);
    }

    #[test]
    fn savepoints_that_are_released_log_once() {
        let mut pending = Pending::default();
        for number in 0u32..200_000 {
            pending.add(&(number % 7).to_be_bytes(), 1, 3).unwrap();
            pending.release(3);
        }
        assert_eq!((pending.held(), pending.undo.len(), pending.layers.len()), (7, 7, 1));
        pending.release(2);
        assert_eq!((pending.undo.len(), pending.layers.len()), (0, 0));
        assert!(pending.undo.capacity() < 100);
    }

    #[test]
    fn ids_that_come_and_go_in_a_savepoint_are_dropped() {
        let mut pending = Pending::default();
        pending.add(b"outer", 5, 1).unwrap();
        pending.forget(b"outer", 2).unwrap();
        for number in 0u32..200_000 {
            pending.add(&number.to_be_bytes(), 1, 3).unwrap();
            pending.release(3);
            pending.forget(&number.to_be_bytes(), 2).unwrap();
        }
        assert!(pending.held() <= 2 * FEW, "{}", pending.held());
        check(&pending);
        pending.roll_back(2);
        assert_eq!(pending.net(b"outer"), Some(5));
        assert_eq!(pending.held(), 1);
    }
}
