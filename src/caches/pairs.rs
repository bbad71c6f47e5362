//! What is read of a row that has changed: a key, or two columns of a middle table as one.
//!
//! BOUND: a key's text.

use crate::pg::counted::Counted;
use crate::pg::source::Source;
use crate::pg::table_query::TableQuery;
use crate::pg::trigger::{Fired, Rows, Side};

/// What is read of a row.
pub trait Read {
    /// Appends what the row that a row trigger fired for is counted by, and returns what it counts for.
    fn row(&self, fired: &Fired<'_>, side: Side, key: &mut Vec<u8>) -> Option<i64>;
    /// The same of a row of a transition table.
    fn row_of(&self, rows: &Rows<'_>, key: &mut Vec<u8>) -> Option<i64>;
}

impl Read for Counted {
    fn row(&self, fired: &Fired<'_>, side: Side, key: &mut Vec<u8>) -> Option<i64> {
        fired.row(side, self, key)
    }

    fn row_of(&self, rows: &Rows<'_>, key: &mut Vec<u8>) -> Option<i64> {
        rows.row(self, key)
    }
}

/// Two columns of a middle table, as one key.
pub struct Pairs {
    pub by: Counted,
    pub to: Counted,
}

impl Pairs {
    fn both(key: &mut Vec<u8>, mut read: impl FnMut(bool, &mut Vec<u8>) -> Option<i64>) -> Option<i64> {
        let from = key.len();
        read(true, key)?;
        let length = (key.len() - from) as u32;
        if read(false, key).is_none() {
            key.truncate(from);
            return None;
        }
        key.extend_from_slice(&length.to_le_bytes());
        Some(1)
    }

    /// The query for all pairs of a table's rows: both texts as one, and the bytes of the first.
    pub fn query(&self, source: &Source) -> TableQuery {
        let by = self.by.key_sql(source, "m");
        let sql = [
            b"SELECT ".as_slice(),
            &by,
            b" OPERATOR(pg_catalog.||) ",
            &self.to.key_sql(source, "m"),
            b", pg_catalog.octet_length(",
            &by,
            b")::pg_catalog.int8 FROM ",
            &source.what_triggers_see(),
            b" AS m WHERE ",
            &self.by.condition_sql(source, "m"),
            b" AND ",
            &self.to.condition_sql(source, "m"),
        ]
        .concat();
        TableQuery::of(sql, &[source.oid()])
    }

    pub fn apart(pair: &[u8]) -> (&[u8], &[u8]) {
        let Some((texts, length)) = pair.split_last_chunk::<4>() else { return (pair, &[]) };
        texts.split_at_checked(u32::from_le_bytes(*length) as usize).unwrap_or((texts, &[]))
    }
}

impl Read for Pairs {
    fn row(&self, fired: &Fired<'_>, side: Side, key: &mut Vec<u8>) -> Option<i64> {
        Pairs::both(key, |is_by, key| fired.row(side, if is_by { &self.by } else { &self.to }, key))
    }

    fn row_of(&self, rows: &Rows<'_>, key: &mut Vec<u8>) -> Option<i64> {
        Pairs::both(key, |is_by, key| rows.row(if is_by { &self.by } else { &self.to }, key))
    }
}
