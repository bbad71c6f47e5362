//! A family begins or ends to follow the counters under a prefix.
//!
//! Whoever counts is kept out meanwhile, by a lock on counter_ext.total that waits for open transactions and stays to this one's end: nobody is half
//! way. Then all there is of these counters is folded into their totals. So what commits later is told to the family, and nothing else is
//! (`family::followed`).

use super::{compaction, draining, folding};
use crate::errors::CounterError;
use crate::memory::is_attached;
use crate::pg::lock;
use crate::pg::table::Access;
use crate::pg::{catalog, xact};
use crate::rows::access::{self, Tables};

/// Keeps out who counts, to the end of the transaction. The caller has checked that it may change something, and rights.
pub fn keep_writers_out() -> Result<Tables, CounterError> {
    let tables = access::tables()?;
    lock::lock_table(tables.total, Access::AgainstWriters);
    if access::find_tables() == Some(tables) { Ok(tables) } else { Err(CounterError::NotInstalled) }
}

/// As `keep_writers_out`, where what is followed is about to be changed by hand, by a restore for one, and there may be no counters' tables.
pub fn change_by_hand() -> Result<(), CounterError> {
    if access::find_tables().is_some() {
        keep_writers_out()?;
    }
    Ok(())
}

/// As `keep_writers_out`; then all that is counted under the prefix is in totals, but for what one of them cannot take: of that the family is told when
/// it can. Waits for open transactions, and for a compaction pass under way. Errors: 55006 somebody holds such a total; 55000 after a start, what is
/// buffered could not be read back.
pub fn gather(prefix: &[u8]) -> Result<Tables, CounterError> {
    folding::ensure_recovered_before(access::tables()?, Access::AgainstWriters)?;
    let tables = keep_writers_out()?;
    if is_attached() {
        let database = u32::from(catalog::my_database());
        // What others committed asynchronously is durable when what is made of it is. Where this transaction has made the journal's table, it
        // is as durable as this commit.
        if draining::is_durable(database)? {
            draining::drain(database, true)?;
        }
        folding::fold_here(tables)?;
    }
    lock::lock_exclusive(tables.total, lock::Subject::Compaction);
    access::lock_slot_for_writing(tables);
    xact::see_own_changes();
    compaction::fold_under(tables, prefix)?;
    xact::see_own_changes();
    Ok(tables)
}
