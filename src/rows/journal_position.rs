//! How far the journal is folded into rows: one row of counter_ext.journal a cluster and database.
//!
//! The worker writes it in the transaction that folds, so that both are there or neither is. Readers look at it after
//! a start only. Everything runs as the table's owner; the caller has no rights on this table.

use super::access::{self, Tables};
use crate::errors::CounterError;
use crate::pg::confined::{self, Confined};
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::{self, Access};
use crate::pg::wal::{self, Lsn};
use crate::pg::{catalog, lock};

/// Epochs up to `epoch` are in rows; WAL from `lsn` on is needed to recover the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// What records carry to show that they are ours.
    pub key: u64,
    pub epoch: u64,
    pub lsn: Lsn,
}

/// The position of this database in this cluster; `None` when buffered mode was never used here.
pub fn read(tables: Tables) -> Option<Position> {
    const SELECT: &str = "SELECT j.key, j.epoch, (j.lsn OPERATOR(pg_catalog.-) '0/0'::pg_catalog.pg_lsn)::pg_catalog.int8 \
        FROM counter_ext.journal j WHERE j.system_identifier OPERATOR(pg_catalog.=) $1 AND j.database OPERATOR(pg_catalog.=) $2";
    access::lock_for_reading(tables);
    // A select assigns no transaction id: this also runs on a standby.
    let rows = confined::as_owner(table::owner(tables.total), |confined| {
        Spi::connect(confined)?.rows_with(SELECT.as_bytes(), &here())
    });
    let row = rows.ok()?.into_iter().next()?;
    let mut numbers = row.into_iter().map(|column| str::from_utf8(&column?).ok()?.parse::<i64>().ok());
    let (key, epoch, lsn) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Position { key: key as u64, epoch: epoch as u64, lsn: lsn as u64 })
}

/// This cluster and database.
fn here() -> [Parameter<'static>; 2] {
    [Parameter::Bigint(wal::system_identifier() as i64), Parameter::Oid(catalog::my_database())]
}

/// Locks the table for writing, unless somebody holds a conflicting lock: the worker waits for nobody.
pub fn try_lock() -> bool {
    catalog::relation(c"counter_ext", c"journal")
        .is_some_and(|journal| lock::try_lock_table(journal, Access::Write))
}

/// Writes the position. Runs in the worker, as the tables' owner.
pub fn write(confined: &Confined<'_>, position: Position, node: i32) -> Result<(), CounterError> {
    const UPSERT: &str = "INSERT INTO counter_ext.journal (system_identifier, database, node, epoch, lsn, key) \
        VALUES ($1, $2, $3, $4, '0/0'::pg_catalog.pg_lsn OPERATOR(pg_catalog.+) $5::pg_catalog.numeric, $6) \
        ON CONFLICT (system_identifier, database) \
        DO UPDATE SET (node, epoch, lsn, key) = ROW (excluded.node, excluded.epoch, excluded.lsn, excluded.key)";
    let [system, database] = here();
    let values = [
        system,
        database,
        Parameter::Int(node),
        Parameter::Bigint(position.epoch as i64),
        Parameter::Bigint(position.lsn as i64),
        Parameter::Bigint(position.key as i64),
    ];
    Spi::connect(confined)?.run_with(UPSERT.as_bytes(), &values)
}

/// Forgets rows that came with a physical or template copy from elsewhere. Runs in the worker, as the tables' owner.
pub fn remove_others(confined: &Confined<'_>) -> Result<(), CounterError> {
    const DELETE: &str = "DELETE FROM counter_ext.journal j \
        WHERE j.system_identifier OPERATOR(pg_catalog.<>) $1 OR j.database OPERATOR(pg_catalog.<>) $2";
    Spi::connect(confined)?.run_with(DELETE.as_bytes(), &here())
}
