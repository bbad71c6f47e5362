//! Open tables with the primary keys that scans and inserts by hand rely on.

use super::access::{Tables, lock_slot_for_writing};
use crate::errors::CounterError;
use crate::pg::table::{Access, Index, Table};

/// An open table with its primary key. The transaction holds the tables' locks.
pub struct Keyed {
    pub table: Table,
    pub key: Index,
}

impl Keyed {
    /// Any table with its primary key over its first columns, which SQL lists so. Errors: 55000 it has another one, or none.
    pub fn of(
        table: Table,
        name: &'static str,
        key: &'static str,
        access: Access,
    ) -> Result<Keyed, CounterError> {
        Ok(Keyed { key: first_columns_key(&table, name, key, access)?, table })
    }

    /// As `of`, where the key's columns are these, numbered from 0.
    pub fn over(
        table: Table,
        columns: &[usize],
        name: &'static str,
        key: &'static str,
        access: Access,
    ) -> Result<Keyed, CounterError> {
        Ok(Keyed { key: primary_key(&table, columns.iter().copied(), name, key, access)?, table })
    }

    pub fn total(tables: Tables, access: Access) -> Result<Keyed, CounterError> {
        Keyed::of(Table::open(tables.total), "total", "id, node", access)
    }

    pub fn slot(tables: Tables, access: Access) -> Result<Keyed, CounterError> {
        if access == Access::Write {
            lock_slot_for_writing(tables);
        }
        let table = Table::open(tables.slot);
        Ok(Keyed { key: slot_key(&table, access)?, table })
    }
}

/// The slot table's primary key.
pub fn slot_key(table: &Table, access: Access) -> Result<Index, CounterError> {
    first_columns_key(table, "slot", "id, slot", access)
}

fn first_columns_key(
    table: &Table,
    name: &'static str,
    key: &'static str,
    access: Access,
) -> Result<Index, CounterError> {
    primary_key(table, 0..key.split(',').count(), name, key, access)
}

/// Opens the primary key. Scans and inserts by hand rely on its shape, so it is looked at each time: whoever owns the table may
/// have put another one there.
fn primary_key(
    table: &Table,
    columns: impl ExactSizeIterator<Item = usize>,
    name: &'static str,
    key: &'static str,
    access: Access,
) -> Result<Index, CounterError> {
    let oid = table.primary_key();
    if u32::from(oid) == 0 {
        return Err(CounterError::NoPrimaryKey { table: name, key });
    }
    let index = Index::open(oid, access);
    if index.is_key_over(table, columns) {
        Ok(index)
    } else {
        Err(CounterError::OtherPrimaryKey { table: name, key })
    }
}
