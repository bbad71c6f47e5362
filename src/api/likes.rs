//! Likes with dedup: `counter_like`, `counter_unlike`, `counter_liked`, `counter_likes`; pages of likes in `sql/likes.sql`.
//!
//! Items and actors are text, or of any type that names something (`pg/naming`): sql/likes.sql declares the functions for those
//! types, each as the C function `…_of`, which asks PostgreSQL what it was called with.

use pgrx::AnyElement;
use pgrx::prelude::*;

use crate::counting::reserved::{self, Kind};
use crate::errors::{CounterError, OrRaise, check_id, check_key};
use crate::likes;
use crate::likes::cursor::Cursor;
use crate::owners;
use crate::pg::args::{RelationArg, TextArg, TextBytes};
use crate::pg::naming::name_of;
use crate::pg::process;

fn check(item: &[u8], actor: &[u8]) -> Result<(), CounterError> {
    check_item(item)?;
    check_key("actor", actor)
}

fn check_item(item: &[u8]) -> Result<(), CounterError> {
    check_item_anywhere(item)?;
    owners::check(item)
}

/// As above, where it may be another node's: rows of it come and go when that node has it from now on.
fn check_item_anywhere(item: &[u8]) -> Result<(), CounterError> {
    if item.is_empty() {
        return Err(CounterError::BadKey { what: "item", bytes: 0 });
    }
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
fn counter_like(item: TextArg<'_>, actor: TextArg<'_>) -> bool {
    like(item.0, actor.0).or_raise()
}

/// As above, for items and actors of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_like_of(item: AnyElement, actor: AnyElement) -> bool {
    of_any_type(item, actor, like).or_raise()
}

fn like(item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    check(item, actor)?;
    likes::like(item, actor)
}

/// Takes a like back; returns whether this call did. One that another transaction is just making, or taking back, is
/// waited for.
///
/// Errors: those of `counter_like`, with DELETE on counter_ext.liked.
#[pg_extern(strict)]
fn counter_unlike(item: TextArg<'_>, actor: TextArg<'_>) -> bool {
    unlike(item.0, actor.0).or_raise()
}

/// As above, for items and actors of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_unlike_of(item: AnyElement, actor: AnyElement) -> bool {
    of_any_type(item, actor, unlike).or_raise()
}

fn unlike(item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    check(item, actor)?;
    likes::unlike(item, actor)
}

/// Whether `actor` likes `item`: what is committed by now, and what the caller's transaction did.
///
/// Errors: 22023 item or actor empty or too long; 42501 SELECT on counter_ext.liked is missing.
#[pg_extern(strict, parallel_restricted)]
fn counter_liked(item: TextArg<'_>, actor: TextArg<'_>) -> bool {
    is_liked(item.0, actor.0).or_raise()
}

/// As above, for items and actors of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_liked_of(item: AnyElement, actor: AnyElement) -> bool {
    of_any_type(item, actor, is_liked).or_raise()
}

fn is_liked(item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    check(item, actor)?;
    likes::is_liked(item, actor)
}

/// How many likes an item has: what is committed by now, and what the caller's transaction did. One look in memory.
///
/// Errors: 22023 item empty or too long; 42501 SELECT on counter_ext.liked is missing.
#[pg_extern(strict, parallel_restricted)]
fn counter_likes(item: TextArg<'_>) -> i64 {
    number(item.0).or_raise()
}

/// As above, for items of other types.
#[pg_extern(sql = false)]
fn counter_likes_of(item: AnyElement) -> i64 {
    name_of("item", &item).and_then(|item| number(&item)).or_raise()
}

fn number(item: &[u8]) -> Result<i64, CounterError> {
    check_item(item)?;
    likes::number(item)
}

fn of_any_type(
    item: AnyElement,
    actor: AnyElement,
    call: fn(&[u8], &[u8]) -> Result<bool, CounterError>,
) -> Result<bool, CounterError> {
    call(&name_of("item", &item)?, &name_of("actor", &actor)?)
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// For the triggers on counter_ext.liked alone: counts likes that came or went by hand.
    #[pg_extern(strict)]
    fn count_likes(item: TextArg<'_>, change: i64) {
        check_item_anywhere(item.0).and_then(|()| likes::count(item.0, change)).or_raise()
    }

    /// For the triggers before TRUNCATE of counter_ext.liked alone: the items of a partition have no likes any more.
    #[pg_extern(strict)]
    fn empty_likes(partition: RelationArg<'_>) {
        likes::empty_all(partition.0).or_raise()
    }

    /// As many rows as are asked for of an item's likes, which are here.
    ///
    /// Errors: 55000 they are on another node.
    #[pg_extern(stable, parallel_safe)]
    fn likers_here(item: Option<TextArg<'_>>, max_rows: Option<i32>) -> Option<i32> {
        item.map_or(Ok(()), |item| owners::check(item.0)).or_raise();
        max_rows
    }

    /// As many rows as are asked for of an actor's likes, which are here.
    ///
    /// Errors: 55000 items are spread over nodes, and so is what an actor likes.
    #[pg_extern(stable, parallel_safe)]
    fn liked_items_here(max_rows: Option<i32>) -> Option<i32> {
        owners::check_all_here("what an actor likes").or_raise();
        max_rows
    }

    /// Where a page of likes ends: behind the like of this time and name.
    #[pg_extern(strict, immutable, parallel_safe)]
    fn like_cursor(at: TimestampWithTimeZone, name: TextArg<'_>) -> TextBytes {
        TextBytes(Cursor { at_us: process::timestamp_us(at), name: name.0 }.text())
    }

    /// The time in a cursor; without one that of the first page, later than all.
    ///
    /// Errors: 22023 it is no cursor.
    #[pg_extern(immutable, parallel_safe)]
    fn like_cursor_at(cursor: Option<TextArg<'_>>) -> Option<TimestampWithTimeZone> {
        let cursor = cursor.map_or(Ok(Cursor::FIRST), |cursor| Cursor::read(cursor.0)).or_raise();
        process::any_timestamp(cursor.at_us)
    }

    /// The name in a cursor.
    ///
    /// Errors: as above.
    /// BOUND: a name of at most 255 bytes.
    #[pg_extern(immutable, parallel_safe)]
    fn like_cursor_name(cursor: Option<TextArg<'_>>) -> TextBytes {
        let cursor = cursor.as_ref().map_or(Ok(Cursor::FIRST), |cursor| Cursor::read(cursor.0)).or_raise();
        TextBytes(cursor.name.to_vec())
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
        counter_like_of,
        counter_unlike_of,
        counter_liked_of,
        counter_likes_of,
        counter_ext::count_likes,
        counter_ext::empty_likes,
        counter_ext::like_cursor,
        counter_ext::likers_here,
        counter_ext::liked_items_here,
        counter_ext::like_cursor_at,
        counter_ext::like_cursor_name
    ]
);
