//! Totals of cached counters that a restore brings: they are not taken where the rows are counted as they arrive.
//!
//! A dump holds the rows of a cached table and the totals of its counters. Restored together with the table's definition, the
//! totals are right and the rows are not counted, since triggers come last. With `--data-only` the triggers are there
//! already, and the rows are counted: then the totals must stay out, in whatever order they and the rows come. A session
//! whose triggers would not fire (`session_replication_role`, `--disable-triggers`) counts no rows, and needs the totals.

use std::cell::{Cell, RefCell};
use std::ffi::CString;

use super::definition;
use super::key_id;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::catalog;
use crate::pg::key_text::KeyText;

/// A cache whose rows are counted as they arrive in this session.
struct Arriving {
    prefix: Vec<u8>,
    key: KeyText,
}

thread_local! {
    /// As the running INSERT found it when it began.
    static ARRIVING: RefCell<Vec<Arriving>> = const { RefCell::new(Vec::new()) };
    static LEAVES_OUT: Cell<bool> = const { Cell::new(false) };
}

/// An INSERT, or COPY, into the counters' tables begins.
pub fn begin_insert() -> Result<(), CounterError> {
    let mut arriving = Vec::new();
    for (table, prefix, column) in definition::counting_inserts()? {
        // Without a prefix the id could be anybody's.
        if prefix.is_empty() {
            continue;
        }
        let Ok(column) = CString::new(column) else { continue };
        if let Some(key) = catalog::column_type(table, &column).and_then(|oid| KeyText::of_type(oid).ok()) {
            fallible::push(&mut arriving, Arriving { prefix, key }, "counter caches")?;
        }
    }
    ARRIVING.set(arriving);
    LEAVES_OUT.set(false);
    Ok(())
}

/// Whether the counter's rows are counted as they arrive.
pub fn is_counted(id: &[u8]) -> bool {
    ARRIVING.with_borrow(|arriving| {
        arriving
            .iter()
            .any(|cache| id.strip_prefix(&*cache.prefix).is_some_and(|key| key_id::can_be_of(cache.key, key)))
    })
}

/// A row is left out. Returns whether it is the first of the running INSERT.
pub fn note_left_out() -> bool {
    !LEAVES_OUT.replace(true)
}
