//! Marks of prepared transactions: locks on ids that a prepared transaction keeps, over a restart too.
//!
//! Who loads a counter into memory makes its entry, then looks for a mark, and only then takes its snapshot; who prepares marks
//! first and invalidates the entry then. So whichever comes first, the counter's rows are not loaded while a transaction that
//! runs no COMMIT callback holds some of them.

use super::state::Touched;
use crate::pg::lock::{self, Subject};
use crate::rows::access::Tables;

/// Ids a prepared transaction marks one by one; past it, one mark stands for all.
const MAX_MARKS: usize = 64;
/// Stands for every id among prepared transactions' marks: no id's hash is 0.
const ALL_IDS: u32 = 0;

/// Marks the ids, to the end of the prepared transaction.
pub fn mark(tables: Tables, touched: &Touched) {
    if touched.all || touched.ids.len() > MAX_MARKS {
        lock::mark(tables.total, Subject::Prepared(ALL_IDS));
        return;
    }
    for id in &touched.ids {
        lock::mark(tables.total, Subject::Prepared(lock::id_hash(id)));
    }
}

/// Whether a prepared transaction holds rows of the id.
pub fn is_prepared(tables: Tables, id: &[u8]) -> bool {
    lock::max_prepared_transactions() > 0
        && (lock::is_marked(tables.total, Subject::Prepared(lock::id_hash(id)))
            || lock::is_marked(tables.total, Subject::Prepared(ALL_IDS)))
}
