//! Everything of this database is forgotten, for test suites: as if the extension had just been installed, but for what is configured.
//!
//! All of it is TRUNCATE, in the caller's transaction, and undone with it. Whoever counts is kept out first, by a lock on
//! counter_ext.total that waits for open transactions; then what is buffered is folded into rows, so that it goes with them. What
//! only memory knows, windows of limits, goes when the transaction has committed.

use super::{emptied, folding, state, transaction};
use crate::errors::CounterError;
use crate::family;
use crate::memory::is_attached;
use crate::pg::privilege::{self, Rights};
use crate::pg::spi::Spi;
use crate::pg::table::{self, Access};
use crate::pg::{confined, xact};
use crate::rows::access::{self, Tables};
use crate::rows::claims::CLAIMS;
use crate::rows::{emptying, node};

const HINT: &str = "GRANT TRUNCATE ON ALL TABLES IN SCHEMA counter_ext, or call it as their owner.";

/// Forgets everything of every family. Errors: 42501 TRUNCATE on one of the tables is missing.
pub fn forget_all() -> Result<(), CounterError> {
    transaction::check_may_change("counter_forget_all")?;
    node::check_alone("counter_forget_all", node::DROP_INSTEAD)?;
    let tables = access::tables()?;
    family::forget_all(tables)?;
    let level = xact::nest_level();
    state::change(|state| state.forgets_all = level);
    Ok(())
}

/// Counting's own part, which is the first: nobody counts from here on.
pub fn forget_counters(tables: Tables) -> Result<(), CounterError> {
    let user = privilege::current_user();
    for (oid, table) in [(tables.total, "total"), (tables.slot, "slot")] {
        if !privilege::has_all(oid, user, Rights::TRUNCATE) {
            return Err(CounterError::NoPrivilege { needed: "TRUNCATE", table, hint: HINT });
        }
    }
    // With a worker this waits for it, which could not come past the lock.
    folding::ensure_recovered_before(tables, Access::Alone)?;
    let owner = table::owner(tables.total);
    confined::as_owner(owner, |confined| {
        Spi::connect(confined)?
            .run(b"LOCK TABLE counter_ext.total, counter_ext.slot IN ACCESS EXCLUSIVE MODE")
    })?;
    if is_attached() {
        folding::fold_here(tables)?;
        xact::see_own_changes();
    }
    confined::as_owner(owner, |confined| Spi::connect(confined)?.run(b"TRUNCATE counter_ext.total"))?;
    transaction::note_all_touched();
    emptied::forget_own(tables)?;
    emptying::truncate(&[CLAIMS])
}
