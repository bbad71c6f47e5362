//! Likes with dedup: `counter_like`, `counter_unlike`, `counter_liked`, `counter_likes`.

use pgrx::prelude::*;

use crate::counting::reserved::{self, Kind};
use crate::errors::{CounterError, OrRaise, check_id, check_key};
use crate::likes;
use crate::pg::args::{CounterArg, RelationArg, TextArg};

fn check(item: &[u8], actor: &[u8]) -> Result<(), CounterError> {
    check_item(item)?;
    check_key("actor", actor)
}

fn check_item(item: &[u8]) -> Result<(), CounterError> {
    check_id(item)?;
    reserved::id(Kind::Likes, item).map(drop)
}

/// Makes `actor` (1 to 255 bytes) like `item` (1 to 254 bytes); returns whether this call made the like. One that another
/// transaction is just making, or taking back, is waited for. Number and rows of likes are always equal, in every
/// transaction's eyes.
///
/// Errors: 22023 item or actor empty or too long; 25006 read-only transaction, standby; 42501 INSERT on counter_ext.liked is
/// missing; 22003 as `counter_incr`.
#[pg_extern(strict)]
fn counter_like(item: CounterArg<'_>, actor: TextArg<'_>) -> bool {
    check(item.0, actor.0).and_then(|()| likes::like(item.0, actor.0)).or_raise()
}

/// Takes a like back; returns whether this call did. One that another transaction is just making, or taking back, is
/// waited for.
///
/// Errors: those of `counter_like`, with DELETE on counter_ext.liked.
#[pg_extern(strict)]
fn counter_unlike(item: CounterArg<'_>, actor: TextArg<'_>) -> bool {
    check(item.0, actor.0).and_then(|()| likes::unlike(item.0, actor.0)).or_raise()
}

/// Whether `actor` likes `item`: what is committed by now, and what the caller's transaction did.
///
/// Errors: 22023 item or actor empty or too long; 42501 SELECT on counter_ext.liked is missing.
#[pg_extern(strict, parallel_restricted)]
fn counter_liked(item: CounterArg<'_>, actor: TextArg<'_>) -> bool {
    check(item.0, actor.0).and_then(|()| likes::is_liked(item.0, actor.0)).or_raise()
}

/// How many likes an item has: what is committed by now, and what the caller's transaction did. One look in memory.
///
/// Errors: 22023 item empty or too long; 42501 SELECT on counter_ext.liked is missing.
#[pg_extern(strict, parallel_restricted)]
fn counter_likes(item: CounterArg<'_>) -> i64 {
    check_item(item.0).and_then(|()| likes::number(item.0)).or_raise()
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// For the triggers on counter_ext.liked alone: counts likes that came or went by hand.
    #[pg_extern(strict)]
    fn count_likes(item: TextArg<'_>, change: i64) {
        check_item(item.0).and_then(|()| likes::count(item.0, change)).or_raise()
    }

    /// For the triggers before TRUNCATE of counter_ext.liked alone: the items of a partition have no likes any more.
    #[pg_extern(strict)]
    fn empty_likes(partition: RelationArg<'_>) {
        likes::empty_all(partition.0).or_raise()
    }
}

extension_sql_file!(
    "../../sql/likes.sql",
    name = "counter_likes_tables",
    requires = [
        "counter_ext_type",
        counter_like,
        counter_unlike,
        counter_liked,
        counter_likes,
        counter_ext::count_likes,
        counter_ext::empty_likes
    ]
);
