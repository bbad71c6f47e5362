//! A column of numbers must not become a column of counters unasked.
//!
//! An integer can be assigned to a column of type `counter`: it is an id then, so `INSERT INTO videos VALUES ('a', 42)` works.
//! ALTER TABLE … TYPE counter goes by the same rule, and would make ids of totals. No cast can tell the two apart, since
//! PostgreSQL asks for both by assignment. An event trigger can, and needs no preload. Whoever says how, in USING, is believed.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{CounterError, Explain, Explanation, text};
use crate::pg::ddl::{self, Command};

#[derive(Clone, Debug, PartialEq, Eq)]
struct NumbersToIds {
    table: Vec<u8>,
    column: Vec<u8>,
}

impl Explain for NumbersToIds {
    fn explain(&self) -> Explanation {
        let (table, column) = (text(&self.table), text(&self.column));
        Explanation::new(
            ERRCODE_DATATYPE_MISMATCH,
            format!(
                "column \"{column}\" of table \"{table}\" cannot become a counter: its numbers would be ids, not totals"
            ),
        )
        .hint(format!(
            "Add a column of type counter, and call counter_set(id, {column}) for each row. If the numbers are ids, say so: \
             ALTER TABLE ... TYPE counter USING {column}::text::counter."
        ))
    }
}

/// Before a command of DDL. Errors: 42804 it would turn a column of numbers into ids without saying so.
pub fn check(command: Command<'_>) -> Result<(), CounterError> {
    let turned = command
        .retyped_columns()
        .into_iter()
        .find(|column| ddl::is_numeric(column.from) && ddl::is_type_of(column.to, c"counter_ext"));
    match turned {
        Some(ddl::Retyped { table, column, .. }) => Err(NumbersToIds { table, column }.into()),
        None => Ok(()),
    }
}
