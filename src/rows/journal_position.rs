//! How far the journal is folded into rows: one row of counter_ext.journal a cluster and database.
//!
//! The worker writes it in the transaction that folds, so that both are there or neither is. Readers look at it after
//! a start only. Everything runs as the table's owner; the caller has no rights on this table.

use pgrx::Spi;

use super::access::{self, Tables};
use crate::pg::table::{self, Access};
use crate::pg::wal::{self, Lsn};
use crate::pg::{catalog, lock, xact};

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
    access::lock_for_reading(tables);
    xact::as_owner(table::owner(tables.total), || {
        // A select assigns no transaction id: this also runs on a standby.
        Spi::connect(|client| {
            let found = client.select(
                "SELECT key, epoch, (lsn - '0/0')::bigint FROM counter_ext.journal \
                 WHERE system_identifier = $1 AND database = $2",
                Some(1),
                &[(wal::system_identifier() as i64).into(), catalog::my_database().into()],
            );
            match found.map(|rows| rows.first().get_three::<i64, i64, i64>()) {
                Ok(Ok((Some(key), Some(epoch), Some(lsn)))) => {
                    Some(Position { key: key as u64, epoch: epoch as u64, lsn: lsn as u64 })
                }
                _ => None,
            }
        })
    })
}

/// Locks the table for writing, unless somebody holds a conflicting lock: the worker waits for nobody.
pub fn try_lock() -> bool {
    catalog::relation(c"counter_ext", c"journal")
        .is_some_and(|journal| lock::try_lock_table(journal, Access::Write))
}

/// Writes the position. Runs in the worker, as the tables' owner.
pub fn write(position: Position, node: i32) -> Result<(), String> {
    Spi::run_with_args(
        "INSERT INTO counter_ext.journal AS j (system_identifier, database, node, epoch, lsn, key) \
         VALUES ($1, $2, $3, $4, '0/0'::pg_lsn + $5::numeric, $6) \
         ON CONFLICT (system_identifier, database) \
         DO UPDATE SET node = excluded.node, epoch = excluded.epoch, lsn = excluded.lsn, key = excluded.key",
        &[
            (wal::system_identifier() as i64).into(),
            catalog::my_database().into(),
            node.into(),
            (position.epoch as i64).into(),
            (position.lsn as i64).into(),
            (position.key as i64).into(),
        ],
    )
    .map_err(|error| error.to_string())
}

/// Forgets rows that came with a physical or template copy from elsewhere. Runs in the worker, as the tables' owner.
pub fn remove_others() -> Result<(), String> {
    Spi::run_with_args(
        "DELETE FROM counter_ext.journal WHERE system_identifier <> $1 OR database <> $2",
        &[(wal::system_identifier() as i64).into(), catalog::my_database().into()],
    )
    .map_err(|error| error.to_string())
}
