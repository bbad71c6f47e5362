//! The room of counters: its size, and what it holds.
//!
//! Contract: that of `room/mapped.rs`. Lock order: a partition's, then the pool's.

use super::doorkeeper::words_for;
use super::entry::Entry;
use super::layout::BITMAPS;
use super::room::mapped::{Mapped, Room};
use super::room::shape::Shape;

pub(super) type Counters = Mapped<Entry>;

static ROOM: Room<Entry> = Room::new(c"counter_ext counters", c"counter_ext_counters");

/// Enough to choose a victim from, and partitions enough that loads do not meet.
const LEAST_A_PARTITION: usize = 16;
/// Of bodies, for each counter: long ids are served from rows where they find none.
const POOL_BYTES_A_COUNTER: usize = 24;
/// Of bodies: a page of each size.
const LEAST_POOL_BYTES: usize = 64 << 10;

fn shape() -> Shape {
    let counters = crate::settings::max_counters();
    let pool_bytes = (counters * POOL_BYTES_A_COUNTER).max(LEAST_POOL_BYTES);
    Shape::new(counters, LEAST_A_PARTITION, size_of::<Entry>(), pool_bytes)
        .with_marks(BITMAPS)
        .with_sightings(words_for(counters))
}

pub(super) fn request() {
    ROOM.request(shape());
}

pub(super) fn start() {
    ROOM.start(shape(), 0);
}

pub(super) fn counters() -> Option<Counters> {
    ROOM.mapped()
}

/// Bytes of the room; what those take that are held; counters that it has room for.
pub(super) fn sizes() -> (usize, u64, usize) {
    let Some(counters) = counters() else { return (0, 0, 0) };
    let shape = counters.shape();
    let held: u64 =
        (0..counters.partitions()).map(|partition| u64::from(counters.places(partition).held())).sum();
    (shape.bytes(), held * shape.bytes_an_entry() as u64 + counters.body_bytes(), shape.entries())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_with_a_short_id_takes_160_bytes_at_most() {
        for counters in (4096..100_000).step_by(777).chain([65_536, 131_072, 1_000_000, 16_777_216]) {
            let pool_bytes = counters * POOL_BYTES_A_COUNTER;
            let shape = Shape::new(counters, LEAST_A_PARTITION, size_of::<Entry>(), pool_bytes);
            let bytes = shape.with_marks(BITMAPS).bytes();
            assert!(bytes <= 160 * counters + (40 << 10), "{counters}: {bytes}");
        }
    }
}
