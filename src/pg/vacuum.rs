//! VACUUM of one of our tables, by a background worker between two of its transactions.

use pgrx::pg_sys;

use super::xact;
use super::{Oid, lock};

/// Vacuums a table unless somebody holds a lock that stands in the way. `truncates` says whether empty pages at its end are given back, which
/// PostgreSQL may try for up to five seconds where others use the table. Fails with the message of an error.
pub fn in_worker(table: Oid, truncates: bool) -> Result<(), String> {
    // SAFETY: a context of our own, which outlives the transactions and is deleted once, at the end.
    unsafe {
        let context = pg_sys::AllocSetContextCreateExtended(
            pg_sys::TopMemoryContext,
            c"counter_ext vacuum".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        );
        let result = xact::run_bare_in_worker(|| vacuum(context, table, truncates));
        pg_sys::MemoryContextDelete(context);
        result
    }
}

/// # Safety
/// In a transaction of a background worker, and no block of one. The context outlives it.
unsafe fn vacuum(context: pg_sys::MemoryContext, table: Oid, truncates: bool) {
    let mut params = pg_sys::VacuumParams {
        options: pg_sys::VACOPT_VACUUM | pg_sys::VACOPT_SKIP_LOCKED,
        freeze_min_age: -1,
        freeze_table_age: -1,
        multixact_freeze_min_age: -1,
        multixact_freeze_table_age: -1,
        log_min_duration: -1,
        index_cleanup: pg_sys::VacOptValue::VACOPTVALUE_AUTO,
        truncate: if truncates {
            pg_sys::VacOptValue::VACOPTVALUE_ENABLED
        } else {
            pg_sys::VacOptValue::VACOPTVALUE_DISABLED
        },
        // No parallel workers: they are left to others.
        nworkers: -1,
        ..Default::default()
    };
    #[cfg(not(feature = "pg15"))]
    {
        params.options |= pg_sys::VACOPT_SKIP_DATABASE_STATS | pg_sys::VACOPT_PROCESS_MAIN;
    }
    // SAFETY: as an autovacuum worker calls it, but that it skips what is locked. `vacuum` ends the transaction for one of its own and begins
    // another at the end; what it is given lies in the context.
    unsafe {
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        let relation = pg_sys::makeVacuumRelation(std::ptr::null_mut(), table, std::ptr::null_mut());
        let relations = pg_sys::lappend(std::ptr::null_mut(), relation.cast());
        pg_sys::CurrentMemoryContext = before;
        pg_sys::vacuum(
            relations,
            &mut params,
            std::ptr::null_mut(),
            #[cfg(not(feature = "pg15"))]
            context,
            true,
        );
    }
}

/// Whether nobody uses a table this moment. The caller's transaction may.
pub fn is_unused(table: Oid) -> bool {
    lock::try_lock_briefly(table)
}
