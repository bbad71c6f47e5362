//! Shared memory. A room (`room/`: keys, places, bodies by size, partitions, locks, which entries are dirty and which one goes) has
//! three tenants: counters (`counters.rs`, `entry.rs`, `entries.rs`), whose totals make `counter_get` one read, together with the deltas of
//! buffered mode that are not in rows yet (`table.rs`, `buffer.rs`); sketches of visitors (`sketches/`); and the sliding windows of rate
//! limits (`limits/`). Each tenant has memory of its own, so that none takes another's. What processes and databases say of themselves is
//! in `segment.rs`.
//!
//! Contract of the whole room:
//!
//! - The segments are made once by the postmaster and made anew after a crash restart; nothing in them survives.
//! - Lock order: heavyweight locks → one journal lock → one partition lock → its pool's lock, or ProcArrayLock (inside
//!   GetSnapshotData). Never two partition locks, but for limits that are taken together; never a partition lock while a heavyweight
//!   lock is waited for. The database lock is taken alone.
//! - Structure (which entry holds which key, chains, free lists, bodies, entry state, load cells) changes under the
//!   partition's exclusive lock. Values and statistics are atomics, changed under at least the shared lock, which
//!   keeps the entry from being given to another key meanwhile.
//! - What a lock guards is reached through a type that holds the lock (`partition.rs`, `limits/room.rs`, `sketches/room.rs`). What is
//!   read without a lock is an atomic of one size. `guarded.rs` alone makes references for writing.
//! - Protocols that do without a lock are files of plain Rust (`lifecycle.rs`, `visibility.rs`, `generation.rs`, `sketches/contents.rs`, `room/dirt.rs`),
//!   which `tests/memory_model` runs in every interleaving; what is done under locks alone it runs in a simulated segment.
//! - A process that dies inside a locked section dies in PostgreSQL's eyes by crash (everything is made anew) or by
//!   `ERROR`/`FATAL`, where PostgreSQL releases the lock; no section calls anything that can raise between two
//!   dependent steps.

pub mod admission;
pub mod buffer;
pub mod cells;
mod counters;
mod cursor;
pub mod databases;
mod doorkeeper;
mod entries;
mod entry;
pub mod epochs;
mod filter;
mod generation;
pub mod generations;
pub mod group;
mod guarded;
mod key;
mod layout;
mod lifecycle;
pub mod limits;
pub mod load;
mod lwlock;
mod marks;
mod partition;
mod places;
mod queue;
pub mod restore_guard;
mod room;
mod segment;
pub mod sketches;
pub mod slotted;
pub mod statistics;
mod sync;
pub mod table;
mod visibility;
mod window;
pub mod workers;

pub use segment::is_attached;

/// Asks for shared memory and locks; called from the request hook.
pub fn request() {
    segment::request();
    counters::request();
    sketches::request();
    limits::request();
}

/// Makes the segments, or finds them made; called from the startup hook.
pub fn start() {
    counters::start();
    segment::start();
    sketches::start();
    limits::start();
}

/// Forgets every total and sketch of a database, which the next read loads from rows. Buffered deltas stay.
pub fn invalidate_database(database: u32) {
    sketches::purge_database(database);
    table::invalidate_database(database);
}

/// Frees what memory holds for the tables of an extension that was dropped, buffered deltas too.
pub fn purge_extension(database: u32) {
    sketches::purge_database(database);
    table::purge_database(database);
}

/// Frees all that memory holds for a database that is gone, so that a new one that gets its number begins with nothing. Cannot fail.
pub fn purge_database(database: u32) {
    purge_extension(database);
    limits::purge_database(database);
}
