//! What can go wrong, with SQLSTATE, message and HINT.

use std::fmt;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use crate::hll::codec::NotUnited;
use crate::hll::{BadParameter, Differ, Malformed};

/// Longest id in bytes.
pub const MAX_ID_BYTES: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterError {
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
    NegativeLimit {
        value: i64,
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
    },
    RowSecurity {
        table: &'static str,
    },
    ParallelMode {
        function: &'static str,
    },
    NotInstalled,
    /// Counted, then dropped the extension, then counted again, all in one transaction.
    CountedBeforeDrop,
    AfterSettling,
    /// PREPARE TRANSACTION of one that drops the extension.
    PreparesDrop,
    /// A database is to be copied whose buffered increments cannot be folded now.
    CannotCopy,
    NoPrimaryKey {
        table: &'static str,
    },
    /// Buffered mode in a server that does not preload the library.
    NotPreloaded,
    /// Buffered mode in a server whose WAL cannot be kept for recovery.
    WalLevel,
    /// Buffered mode, and no replication slot to be had.
    NoReplicationSlot,
    /// A token or source that is empty or too long.
    BadKey {
        what: &'static str,
        bytes: usize,
    },
    /// A source's row that another transaction changes by hand.
    SourceHeld {
        source: Vec<u8>,
    },
    /// A prefix's row that another transaction changes by hand.
    AuditedHeld {
        prefix: Vec<u8>,
    },
    /// A prefix that no id has.
    LongPrefix {
        bytes: usize,
    },
    /// After a start: increments are still to be read back from WAL.
    NotRecovered,
    /// Rows of visitors that somebody else holds cannot be dropped.
    VisitorsHeld {
        id: Vec<u8>,
    },
    /// PostgreSQL refused something of the extension's own.
    Internal(String),
    /// Bytes that are not a HyperLogLog sketch.
    MalformedSketch(Malformed),
    SketchesDiffer(Differ),
    SketchParameter(BadParameter),
    SketchModifiers,
    /// A sketch of other parameters than its column's.
    SketchColumn(Differ),
    /// Every register is full: there is no telling how many there were.
    SketchFull,
    NotHashable {
        type_name: String,
    },
}

impl From<Malformed> for CounterError {
    fn from(malformed: Malformed) -> CounterError {
        CounterError::MalformedSketch(malformed)
    }
}

impl From<Differ> for CounterError {
    fn from(differ: Differ) -> CounterError {
        CounterError::SketchesDiffer(differ)
    }
}

impl From<BadParameter> for CounterError {
    fn from(parameter: BadParameter) -> CounterError {
        CounterError::SketchParameter(parameter)
    }
}

impl From<NotUnited> for CounterError {
    fn from(not_united: NotUnited) -> CounterError {
        match not_united {
            NotUnited::Malformed(malformed) => malformed.into(),
            NotUnited::Differ(differ) => differ.into(),
        }
    }
}

impl CounterError {
    fn code(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            Self::EmptyId
            | Self::LongId { .. }
            | Self::LongItem
            | Self::NegativeLimit { .. }
            | Self::LongPrefix { .. }
            | Self::BadKey { .. } => ERRCODE_INVALID_PARAMETER_VALUE,
            Self::ReservedId => ERRCODE_RESERVED_NAME,
            Self::NullArgument { .. } | Self::NullElement { .. } => ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::NotOneDimensional { .. } | Self::LengthsDiffer { .. } => ERRCODE_ARRAY_ELEMENT_ERROR,
            Self::TotalOutOfRange { .. } | Self::PendingOutOfRange { .. } => {
                ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
            }
            Self::ReadOnly { .. } | Self::InRecovery { .. } => ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::ParallelMode { .. } => ERRCODE_INVALID_TRANSACTION_STATE,
            Self::NoPrivilege { .. } | Self::RowSecurity { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NotInstalled
            | Self::CountedBeforeDrop
            | Self::AfterSettling
            | Self::NotPreloaded
            | Self::WalLevel
            | Self::NoReplicationSlot
            | Self::NotRecovered
            | Self::NoPrimaryKey { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::PreparesDrop => ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::CannotCopy
            | Self::VisitorsHeld { .. }
            | Self::SourceHeld { .. }
            | Self::AuditedHeld { .. } => ERRCODE_OBJECT_IN_USE,
            Self::MalformedSketch(_) => ERRCODE_INVALID_BINARY_REPRESENTATION,
            Self::SketchesDiffer(_)
            | Self::SketchParameter(_)
            | Self::SketchModifiers
            | Self::SketchColumn(_) => ERRCODE_INVALID_PARAMETER_VALUE,
            Self::SketchFull => ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            Self::NotHashable { .. } => ERRCODE_UNDEFINED_FUNCTION,
            Self::Internal(_) => ERRCODE_INTERNAL_ERROR,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::EmptyId | Self::LongId { .. } => Some("A counter's id is text of 1 to 255 bytes."),
            Self::LongItem => Some("It is text of 1 to 254 bytes."),
            Self::ReservedId => Some("Begin it with another character."),
            Self::TotalOutOfRange { .. } => {
                Some("Increment it back into range, or call counter_set or counter_drop.")
            }
            Self::PendingOutOfRange { .. } => Some("Commit in between, or use smaller deltas."),
            Self::NoPrivilege { table: "visitors", .. } => Some(
                "GRANT it on counter_ext.visitors: visiting needs INSERT and UPDATE, reading SELECT, \
                 dropping DELETE.",
            ),
            Self::NoPrivilege { table: "token", .. } => Some("GRANT it on counter_ext.token."),
            Self::NoPrivilege { table: "audited", .. } => {
                Some("GRANT it on counter_ext.audited: to begin auditing takes INSERT, to end it DELETE.")
            }
            Self::NoPrivilege { table: "audit_log", .. } => Some("GRANT it on counter_ext.audit_log."),
            Self::NoPrivilege { table: "source_offset", .. } => {
                Some("GRANT it on counter_ext.source_offset.")
            }
            Self::NoPrivilege { .. } => Some(
                "GRANT it on counter_ext.total: counting needs INSERT and UPDATE, reading SELECT, \
                 dropping DELETE.",
            ),
            Self::NoPrimaryKey { table: "audit_log" } => {
                Some("Each of its partitions needs PRIMARY KEY (id, seq).")
            }
            Self::RowSecurity { .. } => Some("Disable row security on the tables of counter_ext."),
            Self::NotInstalled => Some("Run CREATE EXTENSION counter_ext in this database."),
            Self::AfterSettling => {
                Some("Call it before the transaction commits, for example in a deferred trigger.")
            }
            Self::NotPreloaded => Some(
                "Add counter_ext to shared_preload_libraries and restart the server, or SET counter_ext.mode = 'slotted'.",
            ),
            Self::WalLevel => Some(
                "Set wal_level to replica or logical and restart the server, or SET counter_ext.mode = 'slotted'.",
            ),
            Self::NoReplicationSlot => Some(
                "Raise max_replication_slots, or drop a replication slot that is not used, or SET counter_ext.mode = 'slotted'.",
            ),
            Self::VisitorsHeld { .. }
            | Self::SourceHeld { .. }
            | Self::AuditedHeld { .. }
            | Self::NotRecovered => Some("Try again."),
            Self::SketchesDiffer(_) => {
                Some("Make both with the same log2m, regwidth, expthresh and sparseon.")
            }
            Self::MalformedSketch(_) => Some(
                "A sketch is read from hexadecimal behind \\x. To add a value call counter_hll_add, \
                 to make a sketch of values counter_hll_agg.",
            ),
            Self::SketchColumn(_) => {
                Some("Make it with these parameters: counter_hll_empty, or counter_hll_agg(value, log2m).")
            }
            Self::SketchFull => Some("Use a larger regwidth."),
            Self::NotHashable { .. } => Some("Cast it to a type that has one, text for example."),
            _ => None,
        }
    }

    /// Raises the error to the caller.
    pub fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.code(), self.to_string(), "counter_ext");
        if let Some(hint) = self.hint() {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }
}

impl fmt::Display for CounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyId => f.write_str("counter id is empty"),
            Self::ReservedId => f.write_str("counter ids that begin with this control character are reserved"),
            Self::LongItem => write!(f, "item is {MAX_ID_BYTES} bytes long or longer"),
            Self::LongId { bytes } => {
                write!(f, "counter id is {bytes} bytes long, at most {MAX_ID_BYTES} are allowed")
            }
            Self::NullArgument { argument } => write!(f, "argument \"{argument}\" is NULL"),
            Self::NullElement { argument, position } => {
                write!(f, "element {position} of argument \"{argument}\" is NULL")
            }
            Self::NotOneDimensional { argument } => {
                write!(f, "argument \"{argument}\" is not a one-dimensional array")
            }
            Self::LengthsDiffer { ids, deltas } => {
                write!(f, "arrays differ in length: {ids} ids, {deltas} deltas")
            }
            Self::NegativeLimit { value } => write!(f, "limit {value} is negative"),
            Self::TotalOutOfRange { id } => {
                write!(f, "total of counter \"{}\" is out of range for bigint", text(id))
            }
            Self::PendingOutOfRange { id } => write!(
                f,
                "increments of counter \"{}\" in this transaction are out of range for bigint",
                text(id)
            ),
            Self::ReadOnly { function } => {
                write!(f, "cannot execute {function}() in a read-only transaction")
            }
            Self::InRecovery { function } => {
                write!(f, "cannot execute {function}() during recovery")
            }
            Self::NoPrivilege { needed, table } => {
                write!(f, "permission denied for counters: {needed} on table counter_ext.{table} is missing")
            }
            Self::RowSecurity { table } => {
                write!(f, "row security on table counter_ext.{table} is not supported")
            }
            Self::ParallelMode { function } => {
                write!(f, "cannot execute {function}() during a parallel operation")
            }
            Self::CountedBeforeDrop => f.write_str(
                "this transaction has counted with tables of extension counter_ext that are not there any more",
            ),
            Self::NotInstalled => f.write_str("extension counter_ext is not installed in this database"),
            Self::AfterSettling => f.write_str(
                "counters cannot change any more: this transaction's increments are already written",
            ),
            Self::PreparesDrop => {
                f.write_str("cannot PREPARE a transaction that has dropped extension counter_ext")
            }
            Self::CannotCopy => f.write_str(
                "the source database has buffered increments of counters that could not be folded into its tables",
            ),
            Self::BadKey { what, bytes: 0 } => write!(f, "{what} is empty"),
            Self::BadKey { what, bytes } => {
                write!(f, "{what} is {bytes} bytes long, at most {MAX_ID_BYTES} are allowed")
            }
            Self::SourceHeld { source } => {
                write!(f, "offset of source \"{}\" is being changed by another transaction", text(source))
            }
            Self::AuditedHeld { prefix } => {
                write!(f, "prefix \"{}\" is being changed by another transaction", text(prefix))
            }
            Self::LongPrefix { bytes } => {
                write!(f, "prefix is {bytes} bytes long, at most {MAX_ID_BYTES} are allowed")
            }
            Self::NotRecovered => {
                f.write_str("buffered increments of counters have not been read back from WAL yet")
            }
            Self::VisitorsHeld { id } => {
                write!(f, "visitors of \"{}\" are being changed by another transaction", text(id))
            }
            Self::Internal(message) => f.write_str(message),
            Self::NotPreloaded => f.write_str("counter_ext.mode \"buffered\" needs counter_ext to be preloaded"),
            Self::WalLevel => {
                f.write_str("counter_ext.mode \"buffered\" cannot work with wal_level \"minimal\"")
            }
            Self::NoReplicationSlot => f.write_str(
                "counter_ext.mode \"buffered\" needs a replication slot, and all replication slots are in use",
            ),
            Self::NoPrimaryKey { table } => {
                write!(f, "table counter_ext.{table} has lost its primary key")
            }
            Self::MalformedSketch(malformed) => write!(f, "invalid counter_hll: {malformed}"),
            Self::SketchesDiffer(differ) => differ.fmt(f),
            Self::SketchParameter(parameter) => write!(f, "counter_hll parameter {parameter}"),
            Self::SketchModifiers => {
                f.write_str("type counter_hll takes up to four integers: log2m, regwidth, expthresh, sparseon")
            }
            Self::SketchColumn(Differ { left, right }) => {
                write!(f, "counter_hll has parameters {right} where {left} are asked for")
            }
            Self::SketchFull => f.write_str("every register of the counter_hll is full: it has no estimate"),
            Self::NotHashable { type_name } => {
                write!(f, "could not identify a hash function for type {type_name}")
            }
        }
    }
}

fn text(id: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(id)
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

/// Tokens and sources are checked where they come in, as ids are.
pub fn check_key(what: &'static str, key: &[u8]) -> Result<(), CounterError> {
    match key.len() {
        1..=MAX_ID_BYTES => Ok(()),
        bytes => Err(CounterError::BadKey { what, bytes }),
    }
}

/// Turns an error into PostgreSQL's at the SQL boundary.
pub trait OrRaise<T> {
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T, CounterError> {
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => error.raise(),
        }
    }
}
