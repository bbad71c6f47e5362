//! Which ids may have rows in a table of few rows, so that who finds an id ruled out need not look into the table. Plain Rust;
//! `tests/memory_model` runs it in every order.
//!
//! Contract:
//!
//! - Two sets of bits; an id has one bit in each. A writer sets the bit in the current set after its row is in the table and before
//!   its transaction commits. An id is ruled out where its bit is in neither set.
//! - Bits are taken back by renewal alone: the other set is emptied and becomes the current one; then the whole table is walked, and the
//!   bit of each row is set that is not deleted for good; then the former set is emptied. A row that is written behind the walk was
//!   written after the sets had changed places, so its writer sets a bit that stays. Of two writers, and of a walk and a writer, who
//!   looks at a page later sees what the other had done before: the page's lock orders them.
//! - `state` is a number that rises before bits are taken back, and above it the table whose rows the sets know of; 0 while they do not
//!   know of all. Who reads notes it before a snapshot is taken, and believes the bits afterwards only if it is the same: then a row whose
//!   bit is gone was deleted before the snapshot, which does not see it.
//! - A renewal that was not finished goes on with the sets as they are: the current one has all that was written since it began.
//! - Who changes rows past all writers has everything forgotten before it commits; a renewal under way then is void.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// The bits and what they are worth, wherever they are. All begins with zeros.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    pub state: &'a AtomicU64,
    pub current: &'a AtomicU32,
    pub is_under_way: &'a AtomicU32,
    /// Of the same length.
    pub sets: [&'a [AtomicU64]; 2],
}

/// What a reader notes before it takes its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted(u64);

/// A renewal under way.
#[derive(Debug)]
pub struct Renewal(u64);

fn table_of(state: u64) -> u32 {
    (state >> 32) as u32
}

/// The next state, with this table.
fn next(state: u64, table: u32) -> u64 {
    u64::from(table) << 32 | u64::from((state as u32).wrapping_add(1))
}

impl Filter<'_> {
    /// Where an id's bit is.
    fn place(self, hash: u64) -> (usize, u64) {
        (hash as usize / 64 % self.sets[0].len(), 1 << (hash % 64))
    }

    /// `None` where not all rows of the table are known of.
    pub fn note(self, table: u32) -> Option<Noted> {
        let state = self.state.load(Ordering::SeqCst);
        (table_of(state) == table).then_some(Noted(state))
    }

    /// Whether a snapshot that was taken after `noted` sees no row of the id.
    pub fn rules_out(self, noted: Noted, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.sets.iter().all(|set| set[word].load(Ordering::SeqCst) & bit == 0)
            && self.state.load(Ordering::SeqCst) == noted.0
    }

    /// A row of the id is in the table.
    pub fn add(self, hash: u64) {
        let (word, bit) = self.place(hash);
        let set = self.sets[self.current.load(Ordering::SeqCst) as usize & 1];
        if set[word].load(Ordering::SeqCst) & bit == 0 {
            set[word].fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Rows are in the table that nobody has told of.
    pub fn forget(self) {
        self.advance(|_| 0);
    }

    /// Whether a renewal would take nothing back.
    pub fn is_empty(self, table: u32) -> bool {
        table_of(self.state.load(Ordering::SeqCst)) == table
            && self.is_under_way.load(Ordering::SeqCst) == 0
            && self.sets.into_iter().flatten().all(|word| word.load(Ordering::SeqCst) == 0)
    }

    /// Begins a renewal, or goes on with one; one at a time. The table is walked after this.
    pub fn begin(self, table: u32) -> Renewal {
        if self.is_under_way.swap(1, Ordering::SeqCst) == 0 {
            self.advance(|known| if known == table { table } else { 0 });
            let other = self.current.load(Ordering::SeqCst) as usize & 1 ^ 1;
            self.empty(other);
            self.current.store(other as u32, Ordering::SeqCst);
        }
        Renewal(self.state.load(Ordering::SeqCst))
    }

    /// The table was walked. False where it has to be walked again.
    pub fn end(self, renewal: Renewal, table: u32) -> bool {
        let replace = |before: u64, after: u64| {
            self.state.compare_exchange(before, after, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let emptying = next(renewal.0, table_of(renewal.0));
        if !replace(renewal.0, emptying) {
            return false;
        }
        self.empty(self.current.load(Ordering::SeqCst) as usize & 1 ^ 1);
        self.is_under_way.store(0, Ordering::SeqCst);
        replace(emptying, next(emptying, table))
    }

    fn advance(self, table: impl Fn(u32) -> u32) {
        let advanced = |state| Some(next(state, table(table_of(state))));
        let _ = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, advanced);
    }

    fn empty(self, set: usize) {
        self.sets[set].iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }
}
