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
    NoPartition {
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
    /// An argument that must not be below 0.
    NegativeArgument {
        argument: &'static str,
        value: i64,
    },
    /// An interval that must be longer than nothing.
    NotPositive {
        argument: &'static str,
    },
    /// An interval longer than a clock can say.
    TooLong {
        argument: &'static str,
    },
    /// Rate limits need shared memory.
    LimitsNotPreloaded {
        function: &'static str,
    },
    /// All windows that a key may have are in use.
    NoRoomForLimit,
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
    /// counter_rows as a trigger that cannot count.
    TriggerMisuse {
        why: &'static str,
    },
    /// A counter under a new cache's prefix that has counted something else.
    CountsElse {
        id: Vec<u8>,
        counted: i128,
        rows: i64,
    },
    NoColumn {
        column: Vec<u8>,
        table: Vec<u8>,
    },
    /// A column of a type whose text is not the same in every session.
    KeyType {
        type_name: String,
    },
    NoTable {
        oid: u32,
    },
    /// A table of the extension's own.
    OurTable {
        table: Vec<u8>,
    },
    NotATable {
        table: Vec<u8>,
    },
    /// Rows that the caller may not see cannot be counted.
    SourceRowSecurity {
        table: Vec<u8>,
    },
    /// A backfill of counters that no trigger keeps.
    NotCached {
        table: Vec<u8>,
        prefix: Vec<u8>,
    },
    /// Triggers that count some changes twice, or only some of them.
    CountedOtherwise {
        table: Vec<u8>,
        prefix: Vec<u8>,
    },
    /// Another table, or column, is counted into the same counters.
    SharedPrefix {
        prefix: Vec<u8>,
        table: Vec<u8>,
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
            | Self::NegativeArgument { .. }
            | Self::NotPositive { .. }
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
            | Self::NoPartition { .. }
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
            Self::TooLong { .. } => ERRCODE_DATETIME_FIELD_OVERFLOW,
            Self::LimitsNotPreloaded { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::NoRoomForLimit => ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Self::TriggerMisuse { .. } => ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            Self::NoColumn { .. } => ERRCODE_UNDEFINED_COLUMN,
            Self::KeyType { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::NoTable { .. } => ERRCODE_UNDEFINED_TABLE,
            Self::NotATable { .. } | Self::OurTable { .. } => ERRCODE_WRONG_OBJECT_TYPE,
            Self::SourceRowSecurity { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::NotCached { .. }
            | Self::CountsElse { .. }
            | Self::CountedOtherwise { .. }
            | Self::SharedPrefix { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
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
            Self::NoPrivilege { table: "liked", .. } => Some(
                "GRANT it on counter_ext.liked: liking needs INSERT, taking a like back DELETE, reading SELECT.",
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
            Self::LimitsNotPreloaded { .. } => {
                Some("Add counter_ext to shared_preload_libraries and restart the server.")
            }
            Self::NoRoomForLimit => Some(
                "Raise counter_ext.max_limits and restart the server, or use fewer keys or shorter periods.",
            ),
            Self::SketchFull => Some("Use a larger regwidth."),
            Self::TriggerMisuse { .. } => Some(
                "CREATE TRIGGER name AFTER INSERT ON table REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION \
                 counter_rows('prefix', 'column'); for DELETE: REFERENCING OLD TABLE AS o; for UPDATE: both; for TRUNCATE: \
                 BEFORE, and neither. Or call counter_cache, which makes them all.",
            ),
            Self::NoColumn { .. } => Some(
                "Give the column's name as it is stored, without quotes. Was it renamed or dropped? Drop the triggers that \
                 call counter_rows, and call counter_cache anew.",
            ),
            Self::CountsElse { .. } => Some(
                "Give the rows a prefix of their own; or call counter_cache(…, take_over => true), which makes every \
                 counter under the prefix what the rows say.",
            ),
            Self::KeyType { .. } => Some(
                "Use a column of type text, an integer type or uuid; a generated column can hold the text.",
            ),
            Self::NotATable { .. } => Some("Rows of tables and partitioned tables can be counted."),
            Self::SourceRowSecurity { .. } => {
                Some("Call it as the table's owner, or as a role with BYPASSRLS.")
            }
            Self::NotCached { .. } => Some(
                "Call counter_cache, which makes the triggers for INSERT, UPDATE and DELETE and fills the counters.",
            ),
            Self::CountedOtherwise { .. } => {
                Some("Drop all triggers of counter_rows with this prefix and column, and call counter_cache.")
            }
            Self::SharedPrefix { .. } => Some("Give each table and column a prefix of its own."),
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
            Self::NegativeArgument { argument, value } => {
                write!(f, "argument \"{argument}\" is negative: {value}")
            }
            Self::NotPositive { argument } => {
                write!(f, "argument \"{argument}\" is not a positive interval")
            }
            Self::TooLong { argument } => write!(f, "argument \"{argument}\" is too long an interval"),
            Self::LimitsNotPreloaded { function } => {
                write!(f, "{function}() needs counter_ext to be preloaded to keep a limit")
            }
            Self::NoRoomForLimit => {
                f.write_str("shared memory has no room for another rate limit: counter_ext.max_limits")
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
            Self::NoPartition { table } => {
                write!(f, "table counter_ext.{table} has no hash partition for this key that can be written")
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
            Self::TriggerMisuse { why } => write!(f, "counter_rows cannot count here: {why}"),
            Self::CountsElse { id, counted, rows } => {
                write!(f, "counter \"{}\" has counted {counted} already, and its rows are {rows}", text(id))
            }
            Self::NoColumn { column, table } => {
                write!(f, "column \"{}\" of table \"{}\" does not exist", text(column), text(table))
            }
            Self::KeyType { type_name } => {
                write!(f, "cannot name counters by a column of type {type_name}")
            }
            Self::OurTable { table } => {
                write!(f, "\"{}\" is a table of the extension's own, written past its triggers", text(table))
            }
            Self::NoTable { oid } => write!(f, "there is no table with OID {oid}"),
            Self::NotATable { table } => write!(f, "\"{}\" is not a table", text(table)),
            Self::SourceRowSecurity { table } => {
                write!(f, "row security hides rows of table \"{}\" from being counted", text(table))
            }
            Self::NotCached { table, prefix } => write!(
                f,
                "no triggers count the rows of table \"{}\" into counters \"{}\"",
                text(table),
                text(prefix)
            ),
            Self::CountedOtherwise { table, prefix } => write!(
                f,
                "triggers on table \"{}\" count its rows into counters \"{}\" twice, are disabled, or count some changes only",
                text(table),
                text(prefix)
            ),
            Self::SharedPrefix { prefix, table } => {
                write!(f, "counters \"{}\" also count rows of table \"{}\"", text(prefix), text(table))
            }
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
