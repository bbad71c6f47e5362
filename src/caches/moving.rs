//! Counters that a cache keeps are counted from rows: they have the ids that the rows say.

use pgrx::PgSqlErrorCode::*;

use super::{definition, source_name};
use crate::errors::{CounterError, Explain, Explanation, text};
use crate::family::Move;
use crate::rows::access::Tables;

#[derive(Clone, Debug, PartialEq, Eq)]
struct IsCached {
    id: Vec<u8>,
    table: Vec<u8>,
}

impl Explain for IsCached {
    fn explain(&self) -> Explanation {
        Explanation::new(
            ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("counter \"{}\" is kept by a cache of table {}", text(&self.id), text(&self.table)),
        )
        .hint("Change the rows of that table instead: their counters follow.")
    }
}

/// Errors: 55000 a cache keeps one of the counters.
pub fn refuse_cached(_tables: Tables, moved: Move<'_>) -> Result<bool, CounterError> {
    for (table, definition) in definition::all()? {
        if let Some(id) = [moved.from, moved.to].into_iter().find(|id| id.starts_with(definition.prefix())) {
            // BOUND: an id.
            return Err(IsCached { id: id.to_vec(), table: source_name(table)? }.into());
        }
    }
    Ok(false)
}
