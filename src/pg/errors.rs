//! Errors about tables, columns and types of the user's.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    NoTable {
        oid: u32,
    },
    NotATable {
        table: Vec<u8>,
    },
    NoColumn {
        column: Vec<u8>,
        table: Vec<u8>,
    },
    /// A column of a type whose text is not the same in every session.
    KeyType {
        type_name: Vec<u8>,
    },
    /// A column of a type that calls values equal whose texts differ, as far as is known.
    KeyEquality {
        type_name: Vec<u8>,
    },
    /// A column of a type whose values cannot be told to be equal.
    NoEquality {
        type_name: Vec<u8>,
    },
    /// A column of a collation that calls texts equal whose bytes differ.
    KeyCollation {
        collation: Vec<u8>,
    },
    /// A generated column that is not stored.
    VirtualKey {
        column: Vec<u8>,
    },
    /// A column to sum that is not of whole numbers.
    AmountType {
        column: Vec<u8>,
    },
    /// A condition that is not true or false.
    ConditionType {
        column: Vec<u8>,
    },
    NotHashable {
        type_name: Vec<u8>,
    },
    /// Names in a query of a table were given to something else as it was about to run.
    Renamed,
    /// An argument that is to name somebody or something, of a type whose values do not.
    NoName {
        argument: &'static str,
        type_name: Vec<u8>,
    },
}

impl Explain for SourceError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Renamed => Explanation::new(
                ERRCODE_T_R_SERIALIZATION_FAILURE,
                "the schema of a table whose rows are counted was renamed meanwhile",
            )
            .hint("Try the transaction again."),
            Self::NoTable { oid } => {
                Explanation::new(ERRCODE_UNDEFINED_TABLE, format!("there is no table with OID {oid}"))
            }
            Self::NotATable { table } => {
                Explanation::new(ERRCODE_WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", text(table)))
                    .hint("Rows of tables and partitioned tables can be counted.")
            }
            Self::NoColumn { column, table } => Explanation::new(
                ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{}\" of table \"{}\" does not exist", text(column), text(table)),
            )
            .hint(
                "Give the name of one column, as it is stored, without quotes; a key of several is an array, ARRAY['a', 'b']. Name the \
                 arguments behind the key: amount => 'words', take_over => true. Was the column renamed or dropped? Drop the \
                 triggers that call counter_rows, and call counter_cache anew.",
            ),
            Self::KeyType { type_name } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot name counters by a column of type {}", text(type_name)),
            )
            .hint("Use a column of type text, an integer type or uuid; a generated column can hold the text."),
            Self::KeyEquality { type_name } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "cannot name counters by a column of type {}: equal values of it can have different texts",
                    text(type_name)
                ),
            )
            .hint(
                "Count by a generated column that has one text for them, for example ALTER TABLE ... ADD key text \
                 GENERATED ALWAYS AS (lower(name::text)) STORED for a citext.",
            ),
            Self::NoEquality { type_name } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "cannot name counters by a column of type {}, which has no equality",
                    text(type_name)
                ),
            )
            .hint("Use a column of type text, an integer type or uuid; a generated column can hold the text."),
            Self::KeyCollation { collation } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "cannot name counters by a column of collation {}: it calls different texts equal",
                    text(collation)
                ),
            )
            .hint(
                "Count by a generated column that has one text for them, for example ALTER TABLE ... ADD key text \
                 GENERATED ALWAYS AS (lower(name COLLATE \"und-x-icu\")) STORED where the case does not matter.",
            ),
            Self::VirtualKey { column } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot count by column \"{}\": it is generated, and not stored", text(column)),
            )
            .hint("Triggers do not see virtual columns. Declare it GENERATED ALWAYS AS (...) STORED."),
            Self::AmountType { column } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot sum column \"{}\": it is not smallint, integer or bigint", text(column)),
            )
            .hint("Sum whole numbers, cents for example; a generated column can hold them."),
            Self::ConditionType { column } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("column \"{}\" is no condition: it is not boolean", text(column)),
            )
            .hint("A generated column can hold an expression: live boolean GENERATED ALWAYS AS (state = 'live') STORED."),
            Self::NotHashable { type_name } => Explanation::new(
                ERRCODE_UNDEFINED_FUNCTION,
                format!("could not identify a hash function for type {}", text(type_name)),
            )
            .hint("Cast it to a type that has one, text for example."),
            Self::NoName { argument, type_name } => Explanation::new(
                ERRCODE_DATATYPE_MISMATCH,
                format!("argument \"{argument}\" is of type {}, which names nothing", text(type_name)),
            )
            .hint("Give it as text, an integer or a uuid."),
        }
    }
}
