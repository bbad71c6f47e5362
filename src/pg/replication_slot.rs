//! A physical replication slot that keeps WAL for recovery.
//!
//! Contract: one process (the launcher) calls this; each call acquires the slot and gives it back, so that an
//! administrator, or PostgreSQL when `max_slot_wal_keep_size` is passed, can take it away in between. A crash between
//! two checkpoints brings back an older position, which only keeps more than is needed.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::wal::Lsn;

/// The slot's name, one a cluster.
pub const NAME: &CStr = c"counter_ext";

/// What was found on acquiring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It keeps WAL from here on.
    Keeps(Lsn),
    /// PostgreSQL has taken its WAL away.
    Invalidated,
    /// Somebody else's: a logical one of the same name.
    Foreign,
}

/// Whether the slot is there.
pub fn exists() -> bool {
    // SAFETY: looks in shared memory under its own lock.
    unsafe { !pg_sys::SearchNamedReplicationSlot(NAME.as_ptr(), true).is_null() }
}

/// Makes the slot, keeping WAL from the last checkpoint on. Raises where there is no place for it.
pub fn create() {
    // SAFETY: inside a transaction of the launcher, which holds no slot.
    unsafe {
        pg_sys::CheckSlotRequirements();
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        pg_sys::ReplicationSlotCreate(
            NAME.as_ptr(),
            false,
            pg_sys::ReplicationSlotPersistency::RS_PERSISTENT,
            false,
        );
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        pg_sys::ReplicationSlotCreate(
            NAME.as_ptr(),
            false,
            pg_sys::ReplicationSlotPersistency::RS_PERSISTENT,
            false,
            false,
            false,
        );
        pg_sys::ReplicationSlotReserveWal();
        pg_sys::ReplicationSlotMarkDirty();
        pg_sys::ReplicationSlotSave();
        pg_sys::ReplicationSlotRelease();
    }
}

/// Moves the slot forward to `lsn` (never back), and says where it is. Raises where somebody else has acquired it.
pub fn advance(lsn: Lsn) -> State {
    // SAFETY: inside a transaction of the launcher; between acquiring and release the slot is ours, and only its
    // owner changes the position, an aligned word that others read whole.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::ReplicationSlotAcquire(NAME.as_ptr(), true);
        #[cfg(feature = "pg18")]
        pg_sys::ReplicationSlotAcquire(NAME.as_ptr(), true, false);
        let slot = pg_sys::MyReplicationSlot;
        let position = &raw mut (*slot).data.restart_lsn;
        let state = if (*slot).data.database != pg_sys::InvalidOid {
            State::Foreign
        } else if position.read_volatile() == 0 {
            State::Invalidated
        } else {
            if lsn > position.read_volatile() {
                position.write_volatile(lsn);
                pg_sys::ReplicationSlotMarkDirty();
                pg_sys::ReplicationSlotsComputeRequiredLSN();
            }
            State::Keeps(position.read_volatile())
        };
        pg_sys::ReplicationSlotRelease();
        state
    }
}

/// Removes the slot. Raises where somebody else has acquired it.
pub fn remove() {
    // SAFETY: inside a transaction of the launcher, which holds no slot.
    unsafe { pg_sys::ReplicationSlotDrop(NAME.as_ptr(), true) }
}
