//! Series: what counters came to, by the minute, the hour and the day.
//!
//! A series follows the counters under a prefix (`family::followed`): what goes into their totals is booked in buckets, in the transaction in
//! which it goes there. So a counter's buckets add up to what its total has gained since tracking began, at any time and crash or not. What is counted
//! and not folded yet is read from where it is, under the same snapshot.

mod booking;
pub mod bucket_rows;
pub mod errors;
pub mod late;
pub mod level;
mod moving;
mod old_partitions;
mod partitions;
mod placing;
pub mod reading;
mod rolling;
pub mod tracked_rows;
pub mod tracking;

use crate::family::Family;
use crate::family::followed::Follower;
use crate::rows::emptying;

use self::bucket_rows::ROLLED;
use self::partitions::BUCKET;
use self::tracked_rows::TRACKED;

pub static FAMILY: Family = Family {
    counter_dropped: moving::forget,
    try_lock_to_drop: |_| bucket_rows::try_lock_to_take(),
    ids_after: |_, which| moving::ids_after(which),
    totals_moved: moving::move_buckets,
    // What is tracked stays so.
    forget_all: |_| emptying::truncate(&[BUCKET, ROLLED]),
    totals_emptied: |tables| emptying::empty(tables, &[BUCKET, ROLLED]),
    follower: Some(Follower {
        table: TRACKED,
        looks_at_totals: false,
        folded: |_, amounts, _| booking::book(amounts),
    }),
    steps: &[rolling::ROLL_UP],
    ..Family::NONE
};
