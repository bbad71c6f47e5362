//! Compaction passes: many counters, in bounded transactions, or all in the caller's.

use crate::errors::CounterError;
use crate::memory::databases::Pass;
use crate::memory::restore_guard::NewRows;
use crate::pg::lock::{self, Subject};
use crate::pg::table::Table;
use crate::pg::{process, xact};
use crate::rows::access::{self, Tables};
use crate::rows::fold::{Folder, Share};
use crate::rows::list::{self, Id};
use crate::settings;

/// Counters one transaction folds.
const BATCH: usize = 512;
/// Transactions over which the worker spreads the rows of a counter that has several.
pub const SHARES: u64 = 4;

/// Counters of a batch that are reported as its busiest.
const BUSIEST: usize = 8;

/// What folding a batch came to.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub pass: Pass,
    /// Where the next batch starts; `None` at the end.
    pub last: Option<Id>,
    /// Counters with several slot rows, of which one share was taken.
    pub wide: Vec<Id>,
    /// Counters that gained most, and how much.
    pub busiest: Vec<(u64, Id)>,
}

/// Folds the next counters after an id: a share of their rows. Runs inside a transaction, with the tables locked.
pub fn fold_after(
    tables: Tables,
    after: &[u8],
    share: Share,
    totals: NewRows,
) -> Result<Batch, CounterError> {
    as_owner(tables, || {
        let ids = xact::in_scratch_memory(|| list::ids_to_fold(tables, after, BATCH))?;
        let mut batch = fold_each(tables, &ids, share, totals)?;
        batch.last = ids.last().cloned();
        Ok(batch)
    })
}

/// Folds a further share of counters that have several rows.
pub fn fold_share(tables: Tables, ids: &[Id], share: Share, totals: NewRows) -> Result<Pass, CounterError> {
    as_owner(tables, || Ok(fold_each(tables, ids, share, totals)?.pass))
}

fn fold_each(tables: Tables, ids: &[Id], share: Share, totals: NewRows) -> Result<Batch, CounterError> {
    let mut folder = Folder::open(tables, settings::node(), settings::slots())?;
    folder.totals = totals;
    let mut batch = Batch::default();
    for id in ids {
        process::check_for_interrupts();
        let folded = xact::in_scratch_memory(|| folder.fold(id, share));
        batch.pass.rows += folded.rows;
        batch.pass.overflowed += u64::from(folded.overflowed);
        batch.busiest.push((folded.amount.unsigned_abs(), id.clone()));
        if folded.width > 1 {
            batch.wide.push(id.clone());
        }
    }
    batch.busiest.sort_unstable_by(|a, b| b.cmp(a));
    batch.busiest.truncate(BUSIEST);
    Ok(batch)
}

/// Index expressions and such run with the rights of the tables' owner, whoever asked for the pass.
pub fn as_owner<T>(tables: Tables, work: impl FnOnce() -> T) -> T {
    let owner = Table::open(tables.total).owner();
    xact::as_owner(owner, work)
}

/// A whole pass in the caller's transaction, for servers without a worker. Waits for other passes; the rows it takes
/// stay held until the transaction ends, and writers go round them.
pub fn run_here(tables: Tables) -> Result<Pass, CounterError> {
    access::lock_slot_for_writing(tables);
    lock::lock_exclusive(tables.total, Subject::Compaction);
    let mut pass = Pass::default();
    let mut after = Id::default();
    loop {
        let batch = fold_after(tables, &after, Share::ALL, NewRows::Made)?;
        pass.rows += batch.pass.rows;
        pass.overflowed += batch.pass.overflowed;
        match batch.last {
            Some(last) => after = last,
            None => break,
        }
    }
    xact::see_own_changes();
    Ok(pass)
}
