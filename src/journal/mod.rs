//! The journal of buffered deltas: records in the WAL, and reading them back after a start.

pub mod record;
pub mod recovery;

use crate::pg::wal::{self, Lsn};

/// Writes a record; its end in the log. Nothing is flushed.
pub fn write(record: &[u8]) -> Lsn {
    wal::write_message(record)
}
