//! Writing records into counter_ext.journal_tail.
//!
//! Room is reserved where an error only aborts the transaction (`take_room`), and written to where nothing may fail any more
//! (`Place::write`). See `memory/cursor.rs` for which page, and `pg/append.rs` for how.

use super::position::{self, JournalTables};
use crate::errors::CounterError;
use crate::memory::epochs::{self, RecordKind};
use crate::pg::append::{self, Heap, Pinned};
use crate::pg::table::Access;
use crate::pg::wal::Lsn;
use crate::pg::{lock, process};

/// The longest record.
pub const MAX_RECORD_BYTES: usize = append::MAX_PAYLOAD_BYTES;

/// Pages somebody looks at that a writer passes over, before he waits a little.
const TRIES: u32 = 100;

/// The table, open for writing. Those who rewrite it are kept out to the end of the transaction.
pub struct Tail {
    heap: Heap,
    database: u32,
}

impl Tail {
    /// Waits for DDL on the table. `None` where nothing in it would be durable.
    pub fn open(database: u32) -> Result<Option<Tail>, CounterError> {
        let table = position::find().ok_or(CounterError::NotInstalled)?.tail;
        lock::lock_table(table, Access::Write);
        if position::find().map(|tables| tables.tail) != Some(table) {
            return Err(CounterError::NotInstalled);
        }
        Ok(Tail { heap: Heap::open(table), database }.checked())
    }

    /// As `open`; `None` instead of a wait or an error.
    pub fn try_open(database: u32) -> Option<Tail> {
        let table = position::find()?.tail;
        let is_locked = lock::try_lock_table(table, Access::Write);
        if !is_locked || position::find()?.tail != table {
            return None;
        }
        Tail { heap: Heap::open(table), database }.checked()
    }

    fn checked(self) -> Option<Tail> {
        if !self.heap.is_logged() {
            return None;
        }
        let file = self.heap.file();
        if epochs::file(self.database) != file {
            let blocks = self.heap.table().blocks();
            epochs::lock_journal(self.database, true)?.table_moved(file, blocks);
        }
        Some(self)
    }

    /// The file that records are in, of a table that the transaction has locked; `None` where nothing may be written to it.
    pub fn file_of(tables: JournalTables) -> Option<u32> {
        let heap = Heap::open(tables.tail);
        heap.is_logged().then(|| heap.file())
    }

    /// Reserves room for a record that counts at once on the pages of an epoch that the caller is inside of. May raise: the table may have to grow.
    pub fn take_room(&self, epoch: u64, record_bytes: usize) -> Place {
        self.take_room_for(epoch, RecordKind::AtOnce, record_bytes)
    }

    fn take_room_for(&self, epoch: u64, kind: RecordKind, record_bytes: usize) -> Place {
        let bytes = room_bytes(record_bytes);
        let place = |pinned| Place { pinned, database: self.database, epoch, bytes };
        while let Some(taken) = epochs::take_room(self.database, epoch, kind, bytes) {
            if taken.wants_spare {
                self.prepare_spare(epoch, kind);
            }
            match self.heap.pin(taken.block) {
                Some(pinned) => return place(pinned),
                None => epochs::retire_block(self.database, epoch, kind, taken.block),
            }
        }
        let mut tries = 0;
        loop {
            let block = epochs::claim_block(self.database, epoch).unwrap_or(0);
            if let Some(pinned) = self.heap.turn(block) {
                let left = append::PAGE_ROOM_BYTES as u16 - bytes;
                epochs::offer_room(self.database, epoch, kind, block, left);
                return place(pinned);
            }
            tries += 1;
            if tries % TRIES == 0 {
                process::check_for_interrupts();
                process::sleep_us(1000);
            }
        }
    }

    /// Makes a page ready for those who find the current one full, if nobody looks at it.
    fn prepare_spare(&self, epoch: u64, kind: RecordKind) {
        let block = epochs::claim_block(self.database, epoch).unwrap_or(0);
        if let Some(pinned) = self.heap.turn(block) {
            pinned.release();
            epochs::offer_spare(self.database, epoch, kind, block, append::PAGE_ROOM_BYTES as u16);
        }
    }

    /// Writes a record that counts when this transaction commits. It has an id, and is inside the epoch. May raise.
    pub fn write_own(&self, epoch: u64, record: &[u8]) -> Lsn {
        let place = self.take_room_for(epoch, RecordKind::WithCommit, record.len());
        let lsn = place.pinned.append_own(&self.heap, epoch as i64, record);
        place.release();
        lsn
    }
}

/// What a record of this length takes up.
pub fn room_bytes(record_bytes: usize) -> u16 {
    append::room_bytes(record_bytes) as u16
}

/// Room for one record that counts at once.
#[derive(Debug)]
pub struct Place {
    pinned: Pinned,
    database: u32,
    epoch: u64,
    bytes: u16,
}

impl Place {
    pub fn block(&self) -> u32 {
        self.pinned.block()
    }

    /// Writes a record that counts as soon as it is written; its end. Nothing is flushed. Cannot fail.
    pub fn write(&self, record: &[u8]) -> Lsn {
        self.write_of(self.epoch, record)
    }

    /// As `write`, a record of that epoch or of the one before.
    pub fn write_of(&self, epoch: u64, record: &[u8]) -> Lsn {
        self.pinned.append_frozen(epoch as i64, record)
    }

    /// Others have written into this record too, and need the room no more that they had on this page: so many bytes. The caller is still
    /// inside the epoch. Cannot fail.
    pub fn give_others_room_back(&self, bytes: u16) {
        epochs::give_room_back(self.database, self.epoch, RecordKind::AtOnce, self.block(), bytes);
    }

    /// The room was used. Cannot fail.
    pub fn release(self) {
        self.pinned.release();
    }

    /// The room was not used; the caller is still inside the epoch. Cannot fail.
    pub fn give_back(self) {
        epochs::give_room_back(self.database, self.epoch, RecordKind::AtOnce, self.block(), self.bytes);
        self.pinned.release();
    }

    /// As `give_back`, in an aborting transaction, which gives the page back itself. Cannot fail.
    pub fn abandon(self) {
        epochs::give_room_back(self.database, self.epoch, RecordKind::AtOnce, self.block(), self.bytes);
    }
}
