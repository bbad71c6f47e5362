//! Draining: what asynchronous commits added to memory goes to the journal, summed by id.
//!
//! See `memory/buffer.rs` and `memory/epochs.rs` for the locks. Between the write of a record and the move of its
//! amounts nothing can fail, so no amount is written twice.

use crate::errors::OrRaise;
use crate::fallible;
use crate::journal;
use crate::journal::record::{self, Header};
use crate::memory::{buffer, epochs};
use crate::pg::process;
use crate::pg::wal::{self, Lsn};

/// Writes everything that waits to be journaled, and returns the end of what was written, `None` when that was
/// nothing. With `wait` false it leaves the work to whoever is at it already.
pub fn drain(database: u32, wait: bool) -> Option<Lsn> {
    // Raised here, before anything is written.
    let mut text = fallible::with_room(record::ROOM_BYTES, "a record of buffered increments").or_raise();
    let lock = epochs::lock_journal(database, wait)?;
    lock.drain_begins();
    let mut written = None;
    let key = epochs::key(database);
    if let Some((relation, open)) = lock.open_epochs() {
        for epoch in open {
            let amounts = buffer::unjournaled(database, relation, epoch);
            let mut rest = &amounts[..];
            while !rest.is_empty() {
                record::begin(&mut text, Header { relation, key, epoch, needs_commit: false });
                let mut count = 0;
                while count < rest.len() && text.len() < record::TARGET_BYTES {
                    record::push(&mut text, &rest[count].id, rest[count].amount);
                    count += 1;
                }
                let (batch, left) = rest.split_at(count);
                written = Some(journal::write(&text));
                buffer::note_journaled(epoch, batch);
                epochs::count_journaled(database, text.len() as u64);
                rest = left;
            }
        }
    }
    lock.drain_ends(process::now_us());
    drop(lock);
    if let Some(lsn) = written {
        wal::flush_soon(lsn);
    }
    written
}
