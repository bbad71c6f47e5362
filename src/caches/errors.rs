//! Errors of counter caches.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheError {
    /// counter_rows as a trigger that cannot count.
    TriggerMisuse { why: &'static str },
    /// A counter under a new cache's prefix that has counted something else.
    CountsElse { id: Vec<u8>, counted: i128, rows: i128 },
    /// The same, for a caller who may not read counters.
    CountsElseUnseen { prefix: Vec<u8> },
    /// A prefix that leaves no room for a long key's digest.
    LongPrefix { bytes: usize, most: usize },
    /// A table of the extension's own.
    OurTable { table: Vec<u8> },
    /// Rows that the caller may not see cannot be counted.
    RowSecurity { table: Vec<u8> },
    /// The caller has no right to read the rows.
    MayNotRead { table: Vec<u8> },
    /// Who makes a trigger of `counter_rows` has not the rights of the table's owner.
    NotOwner { table: Vec<u8> },
    /// Triggers of the table cannot count: its owner has no right to.
    OwnerMayNotCount { table: Vec<u8> },
    /// A backfill of counters that no trigger keeps.
    NotCached { table: Vec<u8>, prefix: Vec<u8> },
    /// Triggers that count some changes twice, or only some of them.
    CountedOtherwise { table: Vec<u8>, prefix: Vec<u8> },
    /// Another table, named with its schema, or another column of it, is counted into the same counters.
    SharedPrefix { prefix: Vec<u8>, table: Vec<u8> },
    /// A key of no column.
    NoKey,
    /// A middle table, by its name with its schema, that is not there.
    NoSuchTable { table: Vec<u8> },
    /// What `through` says is no column of a table.
    NoColumnOfATable { through: Vec<u8> },
    /// A middle table that the key does not lead to.
    NoWay { table: Vec<u8>, middle: Vec<u8> },
    /// A middle table that is the table itself.
    ThroughItself { table: Vec<u8> },
    /// A middle table whose column cannot be compared with the key.
    MiddleKeyType { table: Vec<u8> },
    /// A middle table, or a partition, of another owner than the counted table's, with expressions that are worked out where queries are planned.
    RunsCodeOfAnother { table: Vec<u8> },
    /// A key of several columns that is to lead to a middle table.
    ManyKeysThrough,
    /// One of two caches' prefixes begins with the other's, so that both could mean the same counter.
    NestedPrefix { prefix: Vec<u8>, other: Vec<u8>, table: Vec<u8> },
}

impl Explain for CacheError {
    fn explain(&self) -> Explanation {
        let not_in_state =
            |message: String| Explanation::new(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        match self {
            Self::TriggerMisuse { why } => Explanation::new(
                ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                format!("counter_rows cannot count here: {why}"),
            )
            .hint(
                "CREATE TRIGGER name AFTER INSERT ON table REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION \
                 counter_rows('prefix', 'column'); for DELETE: REFERENCING OLD TABLE AS o; for UPDATE: both; for TRUNCATE: \
                 BEFORE, and neither. Or call counter_cache, which makes them all.",
            ),
            Self::CountsElse { id, counted, rows } => not_in_state(format!(
                "counter \"{}\" has counted {counted} already, and its rows are {rows}",
                text(id)
            ))
            .hint(
                "Give the rows a prefix of their own; or call counter_cache(..., take_over => true), which makes every \
                 counter under the prefix what the rows say.",
            ),
            Self::CountsElseUnseen { prefix } => not_in_state(format!(
                "a counter under \"{}\" has counted something else already",
                text(prefix)
            ))
            .hint(
                "Give the rows a prefix of their own; or call counter_cache(..., take_over => true), which makes every \
                 counter under the prefix what the rows say. GRANT SELECT ON counter_ext.total has the counter named.",
            ),
            Self::LongPrefix { bytes, most } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("prefix is {bytes} bytes long, a cache's has {most} at most"),
            )
            .hint("Behind it there must be room for the digest of a long key."),
            Self::OurTable { table } => Explanation::new(
                ERRCODE_WRONG_OBJECT_TYPE,
                format!("\"{}\" is a table of the extension's own, written past its triggers", text(table)),
            ),
            Self::RowSecurity { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("row security hides rows of table \"{}\" from being counted", text(table)),
            )
            .hint("Call it as the table's owner, or as a role with BYPASSRLS."),
            Self::MayNotRead { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied for table {}", text(table)),
            ),
            Self::RunsCodeOfAnother { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!(
                    "rows of table \"{}\" cannot be compared: what the owner of another table has written would run with the rights of its \
                     owner",
                    text(table)
                ),
            )
            .hint(
                "Give the tables and their partitions one owner; or drop indexes and statistics on expressions, partial indexes, checks, \
                 partition keys that are expressions, and partitions on other servers. On a standby only tables of one owner are \
                 compared: ask the primary.",
            ),
            Self::NotOwner { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("must be owner of table {} to have counter_rows count its rows", text(table)),
            )
            .hint("It counts with the rights of the table's owner: ask for it there."),
            Self::OwnerMayNotCount { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("the owner of table \"{}\" may not count its rows", text(table)),
            )
            .hint("GRANT SELECT, INSERT, UPDATE ON counter_ext.total to the table's owner."),
            Self::NotCached { table, prefix } => not_in_state(format!(
                "no triggers count the rows of table \"{}\" into counters \"{}\"",
                text(table),
                text(prefix)
            ))
            .hint(
                "View counter_caches lists the caches there are, with prefix and key. counter_cache makes one: it makes the triggers for \
                 INSERT, UPDATE and DELETE and fills the counters.",
            ),
            Self::CountedOtherwise { table, prefix } => not_in_state(format!(
                "triggers on table \"{}\" count its rows into counters \"{}\" twice, are disabled, or count some changes only",
                text(table),
                text(prefix)
            ))
            .hint("Drop all triggers of counter_rows with this prefix and column, and call counter_cache."),
            Self::SharedPrefix { prefix, table } => not_in_state(format!(
                "counters \"{}\" also count rows of table {}",
                text(prefix),
                text(table)
            ))
            .hint(
                "Give each cache a prefix of its own. To give this prefix another key, amount or condition, end its cache with \
                 counter_uncache first.",
            ),
            Self::NoKey => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "rows cannot be counted by a key of no column".to_owned(),
            ),
            Self::NoSuchTable { table } => Explanation::new(
                ERRCODE_UNDEFINED_TABLE,
                format!("table {} does not exist, which rows are counted through", text(table)),
            )
            .hint("If it was dropped, end the cache with counter_uncache."),
            Self::NoColumnOfATable { through } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{}\" is not a column of a table", text(through)),
            )
            .hint("Give the middle table and its column that names counters: through => 'books.author_id'."),
            Self::NoWay { table, middle } => Explanation::new(
                ERRCODE_INVALID_FOREIGN_KEY,
                format!(
                    "the key column of table \"{}\" does not refer to a row of table \"{}\"",
                    text(table),
                    text(middle)
                ),
            )
            .hint("Make it a foreign key to that table, or give the table a primary key of one column."),
            Self::ThroughItself { table } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("rows of table \"{}\" cannot be counted through the table itself", text(table)),
            )
            .hint("Keep what names the counter in a column of each row, and count by that column."),
            Self::MiddleKeyType { table } => Explanation::new(
                ERRCODE_DATATYPE_MISMATCH,
                format!("the key and the column of table \"{}\" that it refers to are of different types", text(table)),
            )
            .hint("Give both columns the same type; the integer types match each other."),
            Self::ManyKeysThrough => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "rows are counted through another table by a key of one column only".to_owned(),
            ),
            Self::NestedPrefix { prefix, other, table } => Explanation::new(
                ERRCODE_DUPLICATE_OBJECT,
                format!(
                    "prefix \"{}\" overlaps prefix \"{}\", under which rows of table {} are counted",
                    text(prefix),
                    text(other),
                    text(table)
                ),
            )
            .hint("Take a prefix that begins none of the others and that none of the others begins: end each with a separator."),
        }
    }
}
