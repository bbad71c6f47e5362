//! TRUNCATE of the counters' own tables: all counters are nothing then, in whatever form their amounts were.
//!
//! | where an amount was | what becomes of it |
//! | --- | --- |
//! | in `total` or `slot` | gone with the table; TRUNCATE of `total` takes `slot` along |
//! | pending in this transaction | forgotten; a rollback to a savepoint before the TRUNCATE brings it back |
//! | buffered, and in no row yet | taken back by as much, pending in this transaction |
//!
//! Whoever counts holds a lock on `total`, which TRUNCATE waits for, from before the first delta until memory has it. So nothing
//! is on its way meanwhile. Nor is an epoch being folded: a fold locks both tables. This runs after the tables are empty, so that
//! nothing it writes is emptied with them. It gives the same again when it runs twice in a transaction.

use super::{change, folding, transaction};
use crate::errors::CounterError;
use crate::family;
use crate::memory::{buffer, epochs};
use crate::pg::snapshot::Snapshot;
use crate::pg::spi::Spi;
use crate::pg::{Oid, catalog, confined, table, xact};
use crate::rows::access::{self, Tables};
use crate::rows::list;
use crate::rows::sum::Reader;

/// `total` or `slot` has just been emptied by TRUNCATE. Errors: 55000 what is buffered is not known yet, after a start.
pub fn after_truncate(emptied: Oid) -> Result<(), CounterError> {
    let Some(tables) = access::find_tables() else { return Ok(()) };
    transaction::note_all_touched();
    if emptied == tables.total && has_slots(tables)? {
        // Its own triggers come here too.
        confined::as_owner(table::owner(tables.total), |confined| {
            Spi::connect(confined)?.run(b"TRUNCATE counter_ext.slot")
        })?;
    }
    forget_own(tables)?;
    if emptied == tables.total {
        family::totals_emptied(tables)?;
    }
    take_back_buffered(tables)
}

/// Forgets what is pending in this transaction.
pub(super) fn forget_own(tables: Tables) -> Result<(), CounterError> {
    Ok(transaction::forget_all_own(tables, xact::nest_level())?)
}

/// Read under a snapshot of its own, and closed before anything is done about them.
fn has_slots(tables: Tables) -> Result<bool, CounterError> {
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::fresh();
    Ok(xact::in_scratch_memory(|| list::slot_rows(&reader, &mut snapshot))? > 0)
}

fn take_back_buffered(tables: Tables) -> Result<(), CounterError> {
    if xact::in_recovery() {
        return Ok(());
    }
    let database = u32::from(catalog::my_database());
    let is_recovered = epochs::recovered(database, u32::from(tables.total)).is_some();
    if !is_recovered && folding::is_recovery_needed()? {
        return Err(CounterError::NotRecovered);
    }
    let amounts = buffer::unfolded(database, u32::from(tables.total));
    if amounts.is_empty() {
        return Ok(());
    }
    // Whoever may empty the tables need not be allowed to count.
    let (tables, level) = change::enter_for(table::owner(tables.total), "TRUNCATE")?;
    for amount in amounts {
        transaction::add_wide(tables, &amount.id, -i128::from(amount.amount), level)?;
    }
    Ok(())
}
