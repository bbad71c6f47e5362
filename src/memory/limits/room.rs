//! The room of limits, and what is known of all of them.
//!
//! Contract: that of the folder.

use std::sync::atomic::Ordering;

use super::super::room::mapped::{Mapped, Room};
use super::super::room::shape::Shape;
use super::entry::{LimitHead, MOST_PLACES};
use super::held::{Held, PLACES_A_FREE_ONE};
use super::key::{Fingerprint, LimitKey, LimitSubject, Taken, hash_of_subject};
use crate::pg::process;

static ROOM: Room<LimitHead> = Room::new(c"counter_ext limits", c"counter_ext_limits");

/// Fewer would fill unevenly.
const LEAST_A_PARTITION: usize = 4096;
/// Of bodies, for each place: windows of several instants are few among many keys.
const POOL_BYTES_A_PLACE: usize = 8;
/// Of bodies: some windows of all instants.
const LEAST_POOL_BYTES: usize = 256 << 10;
/// Places that are looked at under one lock by who looks at all.
const PLACES_AT_ONCE: u32 = 1024;

const _: () = assert!(crate::settings::MOST_LIMITS as usize / 100 < MOST_PLACES);

fn shape() -> Shape {
    let of_one = crate::settings::max_limits();
    let places = of_one + of_one.div_ceil(PLACES_A_FREE_ONE as usize);
    let pool_bytes = (places * POOL_BYTES_A_PLACE).max(LEAST_POOL_BYTES);
    Shape::new(places, LEAST_A_PARTITION, size_of::<LimitHead>(), pool_bytes)
}

/// Asks for memory and locks; called from the request hook.
pub fn request() {
    ROOM.request(shape());
}

/// Makes the room, or finds it made.
pub fn start() {
    process::start_clock();
    ROOM.start(shape(), 0);
}

#[derive(Clone, Copy)]
pub(super) struct Limits(pub Mapped<LimitHead>);

pub(super) fn limits() -> Option<Limits> {
    ROOM.mapped().map(Limits)
}

impl Limits {
    pub fn with<T>(&self, partition: usize, work: impl FnOnce(&Held<'_, Mapped<LimitHead>>) -> T) -> T {
        let _lock = self.0.lock_partition(partition);
        work(&self.held(partition, process::clock_us()))
    }

    /// For who holds the partition's lock exclusively.
    pub fn held(&self, partition: usize, clock_us: i64) -> Held<'_, Mapped<LimitHead>> {
        let places = self.0.places(partition);
        Held { places, pool: &self.0, now_us: places.now_us(clock_us), evictions: self.0.evictions() }
    }

    pub fn fingerprint(&self, key: &LimitKey<'_>) -> Fingerprint {
        Fingerprint::new(key, self.0.seeds())
    }

    pub fn hash_of_subject(&self, database: u32, subject: LimitSubject<'_>) -> u64 {
        hash_of_subject(database, subject, self.0.seeds())
    }

    pub fn refuse(&self) -> Taken {
        self.0.refused().fetch_add(1, Ordering::Relaxed);
        Taken::NoRoom
    }

    /// Looks at all places, some of a partition under each lock.
    fn each(&self, mut see: impl FnMut(&Held<'_, Mapped<LimitHead>>, u32, u32)) {
        for partition in 0..self.0.partitions() {
            let mut first = 0;
            loop {
                let touched = self.with(partition, |held| {
                    see(held, first, first + PLACES_AT_ONCE);
                    held.places.touched()
                });
                first += PLACES_AT_ONCE;
                if first >= touched {
                    break;
                }
            }
        }
    }
}

/// Forgets all limits of a database that is gone: another one may get its number.
pub fn purge_database(database: u32) {
    if let Some(limits) = limits() {
        limits.each(|held, first, end| held.purge(database, first, end));
    }
}

/// Shared memory that limits take.
pub fn size_bytes() -> u64 {
    limits().map_or(0, |limits| limits.0.shape().bytes() as u64)
}

/// Of the whole server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    pub windows_in_use: u64,
    /// What one database can have, intervals included.
    pub max_windows: u64,
    pub intervals_in_use: u64,
    /// Calls that found no place.
    pub refused: u64,
    /// Limits that were forgotten before their time, for newcomers.
    pub evictions: u64,
    /// What those that are held take, without what is free.
    pub bytes: u64,
}

pub fn statistics() -> Option<Statistics> {
    let limits = limits()?;
    let (mut windows_in_use, mut intervals_in_use, mut places) = (0, 0, 0);
    limits.each(|held, first, end| {
        // Of a partition, once.
        places += if first == 0 { u64::from(held.places.held()) } else { 0 };
        let (windows, intervals) = held.in_use(first, end);
        windows_in_use += windows;
        intervals_in_use += intervals;
    });
    Some(Statistics {
        windows_in_use,
        max_windows: crate::settings::max_limits() as u64,
        intervals_in_use,
        refused: limits.0.refused().load(Ordering::Relaxed),
        evictions: limits.0.evictions().load(Ordering::Relaxed),
        bytes: places * limits.0.shape().bytes_an_entry() as u64 + limits.0.body_bytes(),
    })
}
