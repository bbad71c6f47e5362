//! What the running transaction has counted and changed so far: one struct, empty between transactions.
//!
//! A transaction that only reads never touches it: `look` says so from one flag. Nothing here raises, takes locks or looks into
//! catalogs, so COMMIT and ABORT callbacks may use it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::pending::{Delta, Pending};
use crate::fallible;
use crate::memory::epochs::{Cut, Opening};
use crate::pg::session::session_local;
use crate::pg::xact;

const WHAT: &str = "ids changed in rows";

/// Ids remembered as changed in rows; past it, everything of the database is invalidated.
const MAX_TOUCHED: usize = 65_536;

pub type Ids = HashSet<Box<[u8]>, foldhash::fast::RandomState>;

/// Ids whose rows this transaction changed itself. It reads them from rows, and forgets them in memory at commit.
#[derive(Default)]
pub struct Touched {
    /// The total table the ids belong to: a COMMIT callback may not look into the catalogs.
    pub relation: u32,
    pub ids: Ids,
    pub all: bool,
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && !self.all
    }

    pub fn contains(&self, id: &[u8]) -> bool {
        self.all || self.ids.contains(id)
    }

    pub fn note(&mut self, id: &[u8]) {
        if self.all || self.ids.contains(id) {
            return;
        }
        let kept = fallible::boxed(id, WHAT).ok().filter(|_| self.ids.len() < MAX_TOUCHED);
        match kept.filter(|_| fallible::reserve(&mut self.ids, 1, WHAT).is_ok()) {
            Some(id) => drop(self.ids.insert(id)),
            // Too many, or no memory for them: then it is all of them.
            None => {
                self.all = true;
                self.ids = Ids::default();
            }
        }
    }
}

/// Settled deltas on their way from rows to memory.
pub struct Settled {
    pub xid: u32,
    pub relation: u32,
    pub deltas: Vec<Delta>,
}

#[derive(Default)]
pub struct State {
    pub pending: Pending,
    /// The total table that pending deltas are meant for: the extension may be dropped and made anew meanwhile. 0: none yet.
    pub pending_for: u32,
    pub touched: Touched,
    pub settled: Option<Settled>,
    /// Increments this transaction spilled, for statistics.
    pub spilled: u64,
    /// All that this transaction counts must be in rows, in whatever mode it is.
    pub needs_rows: bool,
    /// The total table that this transaction drops, if it is not rolled back to a savepoint before that. 0: none.
    pub drops_extension: u32,
    pub creates_extension: bool,
    /// Savepoint level at which this transaction has forgotten everything; 0: it has not.
    pub forgets_all: u32,
    /// Somebody inserted rows for compaction by hand.
    pub restores: bool,
    /// Of the touched rows some were written by others than our own functions.
    pub writes_by_hand: bool,
    /// The epoch that this transaction folds into rows.
    pub folds: Option<Cut>,
    /// Buffered mode opens when this transaction commits.
    pub opens: Option<Opening>,
}

/// What few transactions have done besides counting a little, and the COMMIT callback has still to tell shared memory.
pub struct Rest {
    pub touched: Option<Touched>,
    pub drops_extension: u32,
    pub creates_extension: bool,
    pub forgets_all: u32,
    pub restores: bool,
    pub folds: Option<Cut>,
    pub opens: Option<Opening>,
}

impl State {
    fn has_rest(&self) -> bool {
        // Each field is named, so that none is forgotten.
        let State {
            touched,
            drops_extension,
            creates_extension,
            forgets_all,
            restores,
            folds,
            opens,
            pending: _,
            pending_for: _,
            settled: _,
            spilled: _,
            needs_rows: _,
            writes_by_hand: _,
        } = self;
        !touched.is_empty()
            || *drops_extension != 0
            || *creates_extension
            || *forgets_all != 0
            || *restores
            || folds.is_some()
            || opens.is_some()
    }

    fn take_rest(&mut self) -> Rest {
        Rest {
            touched: (!self.touched.is_empty()).then(|| std::mem::take(&mut self.touched)),
            drops_extension: self.drops_extension,
            creates_extension: self.creates_extension,
            forgets_all: self.forgets_all,
            restores: self.restores,
            folds: self.folds.take(),
            opens: self.opens.take(),
        }
    }

    fn reset(&mut self) {
        // Each field is named, so that none is forgotten.
        let State {
            pending,
            pending_for,
            touched,
            settled,
            spilled,
            needs_rows,
            drops_extension,
            creates_extension,
            forgets_all,
            restores,
            writes_by_hand,
            folds,
            opens,
        } = self;
        pending.clear();
        *pending_for = 0;
        if !touched.is_empty() {
            *touched = Touched::default();
        }
        *settled = None;
        *spilled = 0;
        *needs_rows = false;
        *drops_extension = 0;
        *creates_extension = false;
        *forgets_all = 0;
        *restores = false;
        *writes_by_hand = false;
        *folds = None;
        *opens = None;
    }
}

session_local! {
    static STATE: RefCell<State> = RefCell::new(State::default());
    /// The transaction has changed `STATE`.
    static IS_DIRTY: Cell<bool> = const { Cell::new(false) };
}

pub fn is_dirty() -> bool {
    IS_DIRTY.get()
}

/// Looks at what the transaction has done; `None` where it has done nothing.
pub fn look<T>(look: impl FnOnce(&State) -> T) -> Option<T> {
    IS_DIRTY.get().then(|| STATE.with_borrow(look))
}

/// Changes what the transaction has done. `change` calls nothing that comes back here.
pub fn change<T>(change: impl FnOnce(&mut State) -> T) -> T {
    IS_DIRTY.set(true);
    xact::join(xact::Participant::Counting);
    STATE.with_borrow_mut(change)
}

/// Changes what the transaction has done, if it has done anything.
pub fn change_if_dirty<T>(change: impl FnOnce(&mut State) -> T) -> Option<T> {
    IS_DIRTY.get().then(|| STATE.with_borrow_mut(change))
}

/// Takes out the deltas that went to rows, for a COMMIT callback.
pub fn take_settled() -> Option<Settled> {
    change_if_dirty(|state| state.settled.take()).flatten()
}

/// Takes out what else a COMMIT callback has to tell, if there is anything.
pub fn take_rest() -> Option<Rest> {
    change_if_dirty(|state| state.has_rest().then(|| state.take_rest())).flatten()
}

/// Keeps the memory of deltas that were taken out for those of the next transaction.
pub fn keep_memory(taken: Vec<Delta>) {
    STATE.with_borrow_mut(|state| state.pending.keep_memory(taken));
}

/// The transaction is over. The pending map keeps its memory, as far as it is small.
pub fn reset() {
    if IS_DIRTY.replace(false) {
        STATE.with_borrow_mut(State::reset);
    }
}
