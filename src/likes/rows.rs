//! Rows of likes, hash-partitioned by item.

use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::table::Access;
use crate::pg::write::Value;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::pairs::{self, Pair};

/// counter_ext.liked
pub const LIKED: FamilyTable = FamilyTable {
    name: "liked",
    relation: c"liked",
    columns: &[TEXT, TEXT, TIMESTAMPTZ],
    key: "actor, item",
    hint: "GRANT it on counter_ext.liked: liking needs INSERT, taking a like back DELETE, reading SELECT.",
};

/// Places of the primary key's columns among the table's.
const KEY_COLUMNS: [usize; 2] = [1, 0];

/// The partition of an item's likes.
fn open(table: Oid, item: &[u8], access: Access) -> Result<Keyed, CounterError> {
    LIKED.open_partition(table, item, &KEY_COLUMNS, access)
}

/// Inserts a like of this time unless it is there. Returns whether it was inserted. The table is locked.
pub fn insert(table: Oid, item: &[u8], actor: &[u8], at: Value<'_>) -> Result<bool, CounterError> {
    let partition = open(table, item, Access::Write)?;
    let row = [Value::Text(item), Value::Text(actor), at];
    Ok(pairs::insert_once(table, &partition, Pair(actor, item), &row, |_| ()).is_none())
}

/// Deletes a like if it is there. Returns whether it was. The table is locked.
pub fn remove(table: Oid, item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let partition = open(table, item, Access::Write)?;
    Ok(pairs::remove_once(&partition, Pair(actor, item)))
}

/// Keeps a like to the end of the transaction, if it is there: nobody else takes it back. Returns whether it is. The table is locked.
pub fn hold(table: Oid, item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let partition = open(table, item, Access::Write)?;
    Ok(pairs::hold_once(&partition, Pair(actor, item)))
}

/// Whether a like is there. The table is locked.
pub fn is_there(table: Oid, item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let partition = open(table, item, Access::Read)?;
    Ok(pairs::is_there(&partition, Pair(actor, item)))
}
