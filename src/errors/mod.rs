//! What can go wrong, with SQLSTATE, message and HINT.
//!
//! `CounterError` holds what several families share. What only one family can raise is an enum in that family's own folder,
//! which implements `Explain` and turns into a `CounterError` by `into()` or `?`. `pg::report` raises them.

mod sketches;
pub mod user_text;

use std::borrow::Cow;
use std::fmt;

use pgrx::PgSqlErrorCode;

pub use sketches::SketchError;

use crate::fallible::OutOfMemory;

/// Longest id in bytes.
pub const MAX_ID_BYTES: usize = 255;

/// What PostgreSQL is told of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub code: PgSqlErrorCode,
    /// What users have named in it is there as `text` gives it; all else is ASCII.
    pub message: String,
    pub hint: Option<Cow<'static, str>>,
}

impl Explanation {
    pub fn new(code: PgSqlErrorCode, message: impl Into<String>) -> Explanation {
        Explanation { code, message: message.into(), hint: None }
    }

    /// What the user can do about it, where that is one thing.
    pub fn hint(self, hint: impl Into<Cow<'static, str>>) -> Explanation {
        Explanation { hint: Some(hint.into()), ..self }
    }
}

/// An error of one family.
pub trait Explain: fmt::Debug {
    fn explain(&self) -> Explanation;
}

#[derive(Debug)]
pub enum CounterError {
    /// An error that one family explains in its own folder.
    OfFamily(Box<dyn Explain>),
    EmptyId,
    /// An id of those that families keep for themselves.
    ReservedId,
    /// An item whose counter's id would be too long.
    LongItem,
    LongId {
        bytes: usize,
    },
    NullArgument {
        argument: &'static str,
    },
    NullElement {
        argument: &'static str,
        position: usize,
    },
    NotOneDimensional {
        argument: &'static str,
    },
    LengthsDiffer {
        ids: usize,
        deltas: usize,
    },
    /// The committed total, or that and the caller's own pending delta, is outside bigint.
    TotalOutOfRange {
        id: Vec<u8>,
    },
    /// The caller's own deltas alone add up past bigint.
    PendingOutOfRange {
        id: Vec<u8>,
    },
    ReadOnly {
        function: &'static str,
    },
    InRecovery {
        function: &'static str,
    },
    NoPrivilege {
        needed: &'static str,
        table: &'static str,
        /// What to GRANT.
        hint: &'static str,
    },
    RowSecurity {
        table: &'static str,
    },
    ParallelMode {
        function: &'static str,
    },
    NotInstalled,
    /// The SQL of the extension is not that of the library which is loaded.
    OtherVersion {
        installed: String,
    },
    /// The extension is installed, but its tables are not where they were put.
    TablesMoved,
    /// DDL holds the table, and is not waited for any longer.
    TableLocked {
        table: &'static str,
    },
    /// Counted, then dropped the extension, then counted again, all in one transaction.
    CountedBeforeDrop,
    AfterSettling,
    /// PREPARE TRANSACTION of one that drops the extension.
    PreparesDrop,
    /// A database is to be copied whose buffered increments cannot be folded now.
    CannotCopy,
    /// There is none, or one that is checked at the end of a statement or transaction.
    NoPrimaryKey {
        table: &'static str,
        key: &'static str,
    },
    OtherPrimaryKey {
        table: &'static str,
        key: &'static str,
    },
    NoPartition {
        table: &'static str,
    },
    /// Buffered mode in a server that does not preload the library.
    NotPreloaded,
    /// Statistics of a database that has none, and what would change that.
    NotMeasured {
        remedy: &'static str,
    },
    /// A token or source that is empty or too long.
    BadKey {
        what: &'static str,
        bytes: usize,
    },
    /// An argument that must not be below 0.
    NegativeArgument {
        argument: &'static str,
        value: i64,
    },
    /// An interval that must be longer than nothing.
    NotPositive {
        argument: &'static str,
    },
    /// A prefix that no id has.
    LongPrefix {
        bytes: usize,
    },
    /// After a start: increments are still to be read back from the journal.
    NotRecovered,
    /// PostgreSQL refused something of the extension's own.
    Internal(String),
}

impl<E: Explain + 'static> From<E> for CounterError {
    fn from(error: E) -> CounterError {
        CounterError::OfFamily(Box::new(error))
    }
}

impl Explain for OutOfMemory {
    fn explain(&self) -> Explanation {
        Explanation::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, self.to_string())
    }
}

/// Two errors are the same when PostgreSQL is told the same of them.
impl PartialEq for CounterError {
    fn eq(&self, other: &CounterError) -> bool {
        self.explain() == other.explain()
    }
}

fn key_needed(table: &str, key: &str) -> String {
    let whose = if table == "audit_log" { "Each of its partitions" } else { "It" };
    format!("{whose} needs PRIMARY KEY ({key}), not deferrable, with the collation \"C\" for text.")
}

impl CounterError {
    pub fn explain(&self) -> Explanation {
        use PgSqlErrorCode::*;
        let invalid = |message: String| Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, message);
        let not_in_state =
            |message: &str| Explanation::new(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        match self {
            Self::OfFamily(error) => error.explain(),
            Self::EmptyId => invalid("counter id is empty".to_owned()).hint(ID_HINT),
            Self::LongId { bytes } => {
                invalid(format!("counter id is {bytes} bytes long, at most {MAX_ID_BYTES} are allowed"))
                    .hint(ID_HINT)
            }
            Self::ReservedId => Explanation::new(
                ERRCODE_RESERVED_NAME,
                "counter ids that begin with this control character are reserved",
            )
            .hint("Begin it with another character."),
            Self::LongItem => invalid(format!("item is {MAX_ID_BYTES} bytes long or longer"))
                .hint("It is text of 1 to 254 bytes."),
            Self::LongPrefix { bytes } => {
                invalid(format!("prefix is {bytes} bytes long, at most {MAX_ID_BYTES} are allowed"))
            }
            Self::BadKey { what, bytes: 0 } => invalid(format!("{what} is empty")),
            Self::BadKey { what, bytes } => {
                invalid(format!("{what} is {bytes} bytes long, at most {MAX_ID_BYTES} are allowed"))
            }
            Self::NegativeArgument { argument, value } => {
                invalid(format!("argument \"{argument}\" is negative: {value}"))
            }
            Self::NotPositive { argument } => {
                invalid(format!("argument \"{argument}\" is not a positive interval"))
            }
            Self::NullArgument { argument } => {
                let explanation = Explanation::new(
                    ERRCODE_NULL_VALUE_NOT_ALLOWED,
                    format!("argument \"{argument}\" is NULL"),
                );
                match *argument {
                    "ids" => explanation.hint(EMPTY_AGGREGATE),
                    _ => explanation,
                }
            }
            Self::NullElement { argument, position } => Explanation::new(
                ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("element {position} of argument \"{argument}\" is NULL"),
            ),
            Self::NotOneDimensional { argument } => Explanation::new(
                ERRCODE_ARRAY_ELEMENT_ERROR,
                format!("argument \"{argument}\" is not a one-dimensional array"),
            ),
            Self::LengthsDiffer { ids, deltas } => Explanation::new(
                ERRCODE_ARRAY_ELEMENT_ERROR,
                format!("arrays differ in length: {ids} ids, {deltas} deltas"),
            ),
            Self::TotalOutOfRange { id } => Explanation::new(
                ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("total of counter \"{}\" is out of range for bigint", text(id)),
            )
            .hint("Increment it back into range, or call counter_set or counter_drop."),
            Self::PendingOutOfRange { id } => Explanation::new(
                ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!(
                    "increments of counter \"{}\" in this transaction are out of range for bigint",
                    text(id)
                ),
            )
            .hint("Commit in between, or use smaller deltas."),
            Self::ReadOnly { function } => Explanation::new(
                ERRCODE_READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {function}() in a read-only transaction"),
            ),
            Self::InRecovery { function } => Explanation::new(
                ERRCODE_READ_ONLY_SQL_TRANSACTION,
                format!("cannot execute {function}() during recovery"),
            ),
            Self::ParallelMode { function } => Explanation::new(
                ERRCODE_INVALID_TRANSACTION_STATE,
                format!("cannot execute {function}() during a parallel operation"),
            ),
            Self::NoPrivilege { needed, table, hint } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied for counters: {needed} on table counter_ext.{table} is missing"),
            )
            .hint(*hint),
            Self::RowSecurity { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("row security on table counter_ext.{table} is not supported"),
            )
            .hint("Disable row security on the tables of counter_ext."),
            Self::NotInstalled => not_in_state("extension counter_ext is not installed in this database")
                .hint("Run CREATE EXTENSION counter_ext in this database."),
            Self::OtherVersion { installed } => not_in_state(&format!(
                "extension counter_ext is version {installed} in this database, but the library that is loaded is version {LIBRARY_VERSION}"
            ))
            .hint(if is_earlier(installed, LIBRARY_VERSION) { UPDATE } else { RESTART }),
            Self::TablesMoved => not_in_state(
                "tables of extension counter_ext are not in schema \"counter_ext\" any more, or not as they were made",
            )
            .hint(
                "Undo what was done to them, for example with ALTER SCHEMA ... RENAME TO counter_ext; after an upgrade of the \
                 library run ALTER EXTENSION counter_ext UPDATE.",
            ),
            Self::TableLocked { table } => Explanation::new(
                ERRCODE_LOCK_NOT_AVAILABLE,
                format!("table counter_ext.{table} is locked by another command"),
            )
            .hint(TRY_AGAIN),
            Self::CountedBeforeDrop => not_in_state(
                "this transaction has counted with tables of extension counter_ext that are not there any more",
            ),
            Self::AfterSettling => not_in_state(
                "counters cannot change any more: this transaction's increments are already written",
            )
            .hint("Call it before the transaction commits, for example in a deferred trigger."),
            Self::PreparesDrop => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot PREPARE a transaction that has dropped extension counter_ext",
            ),
            Self::CannotCopy => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                "the source database has buffered increments of counters that could not be folded into its tables",
            )
            .hint("Call counter_compact() in the source database, and try again."),
            Self::NoPrimaryKey { table, key } => {
                not_in_state(&format!("table counter_ext.{table} has lost its primary key"))
                    .hint(key_needed(table, key))
            }
            Self::OtherPrimaryKey { table, key } => {
                not_in_state(&format!("table counter_ext.{table} has another primary key than ({key})"))
                    .hint(key_needed(table, key))
            }
            Self::NoPartition { table } => not_in_state(&format!(
                "table counter_ext.{table} has no hash partition for this key that can be written"
            )),
            Self::NotPreloaded => {
                not_in_state("counter_ext.mode \"buffered\" needs counter_ext to be preloaded").hint(
                    "Add counter_ext to shared_preload_libraries and restart the server, or SET counter_ext.mode = 'slotted'.",
                )
            }
            Self::NotMeasured { remedy } => {
                not_in_state("counter_ext has no statistics of this database").hint(*remedy)
            }
            Self::NotRecovered => {
                not_in_state("buffered increments of counters have not been read back yet")
                    .hint(TRY_AGAIN)
            }
            Self::Internal(message) => Explanation::new(ERRCODE_INTERNAL_ERROR, message.as_str()),
        }
    }
}

const LIBRARY_VERSION: &str = env!("CARGO_PKG_VERSION");
const UPDATE: &str = "Run ALTER EXTENSION counter_ext UPDATE in this database.";
const RESTART: &str = "Install the library of that version, and restart the server, so that it is loaded.";

/// Whether a version, numbers between dots, comes before another.
fn is_earlier(version: &str, than: &str) -> bool {
    fn numbers(text: &str) -> impl Iterator<Item = u32> {
        text.split('.').map(|part| part.parse().unwrap_or(0))
    }
    numbers(version).lt(numbers(than))
}

/// Batches are rolled up in SQL.
const EMPTY_AGGREGATE: &str =
    "array_agg over no rows is NULL: leave the call out there, with HAVING count(*) > 0.";
const ID_HINT: &str = "A counter's id is text of 1 to 255 bytes.";
/// Where what is in the way goes away by itself.
pub const TRY_AGAIN: &str = "Try again.";

/// An id or a name as part of a message, whatever the server's encoding is.
pub fn text(id: &[u8]) -> String {
    user_text::in_message(id)
}

/// Ids that start with a lower byte are those of families: see `counting::reserved`.
pub const FIRST_FREE_BYTE: u8 = 3;

/// Ids are checked where they come in.
pub fn check_id(id: &[u8]) -> Result<(), CounterError> {
    match id {
        [] => Err(CounterError::EmptyId),
        [..FIRST_FREE_BYTE, ..] => Err(CounterError::ReservedId),
        _ if id.len() > MAX_ID_BYTES => Err(CounterError::LongId { bytes: id.len() }),
        _ => Ok(()),
    }
}

/// Prefixes of ids that may be declared, or meant, by users. The empty one begins them all.
pub fn check_prefix(prefix: &[u8]) -> Result<(), CounterError> {
    match prefix {
        [..FIRST_FREE_BYTE, ..] => Err(CounterError::ReservedId),
        _ if prefix.len() > MAX_ID_BYTES => Err(CounterError::LongPrefix { bytes: prefix.len() }),
        _ => Ok(()),
    }
}

/// Tokens and sources are checked where they come in, as ids are.
pub fn check_key(what: &'static str, key: &[u8]) -> Result<(), CounterError> {
    match key.len() {
        1..=MAX_ID_BYTES => Ok(()),
        bytes => Err(CounterError::BadKey { what, bytes }),
    }
}

/// An argument of a function that is not STRICT and takes no NULL here. Errors: 22004 it is NULL.
pub fn given<T>(argument: &'static str, value: Option<T>) -> Result<T, CounterError> {
    value.ok_or(CounterError::NullArgument { argument })
}

/// Turns an error into PostgreSQL's at the SQL boundary.
pub trait OrRaise<T> {
    fn or_raise(self) -> T;
}

impl<T, E: Into<CounterError>> OrRaise<T> for Result<T, E> {
    #[inline]
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => error.into().raise(),
        }
    }
}
