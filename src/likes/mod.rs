//! Likes: a row for each actor and item, and a counter for each item, changed in the same transaction.
//!
//! The counter is one of the reserved ones, so it takes a viral load as any other does. Privileges on counter_ext.liked decide
//! who may like; the counter is changed in the name of the tables' owner.

pub mod by_node;
pub mod cursor;
pub mod drift;
mod errors;
mod moving;
mod rows;

use self::rows::LIKED;
use crate::counting::reserved::{self, Kind};
use crate::counting::{change, read, transaction};
use crate::errors::CounterError;
use crate::family::Family;
use crate::owners;
use crate::pg::counted::Counted;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::Source;
use crate::pg::spi::Spi;
use crate::pg::table::Access;
use crate::pg::write::Value;
use crate::pg::{Oid, confined, lock, table, xact};
use crate::rows::access::{self, Tables};
use crate::rows::emptying;

pub static FAMILY: Family = Family {
    counter_moved: moving::move_likes,
    forget_all: |_| emptying::truncate(&[LIKED]),
    ..Family::NONE
};

/// Makes a like. Returns whether this call made it. Item and actor are checked.
pub fn like(item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let (entered, table) = enter("counter_like", Rights::INSERT, "INSERT")?;
    owners::check_all_arrived(item)?;
    let is_new = xact::in_scratch_memory(|| rows::insert(table, item, actor, Value::Now))?;
    if is_new {
        add(entered, item, 1)?;
        by_node::say(entered.0, item, actor, true)?;
    }
    Ok(is_new)
}

/// Takes a like back. Returns whether this call did.
pub fn unlike(item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let (entered, table) = enter("counter_unlike", Rights::DELETE, "DELETE")?;
    owners::check_all_arrived(item)?;
    let was_there = xact::in_scratch_memory(|| rows::remove(table, item, actor))?;
    if was_there {
        add(entered, item, -1)?;
        by_node::say(entered.0, item, actor, false)?;
    }
    Ok(was_there)
}

fn enter(
    function: &'static str,
    rights: Rights,
    needed: &'static str,
) -> Result<((Tables, u32), Oid), CounterError> {
    // Before the likes, as everything that counts does: the other way round could be a deadlock with DROP EXTENSION.
    let entered = enter_to_count(function)?;
    Ok((entered, LIKED.enter_to_write(rights, needed)?))
}

/// Enters for counting in the name of the tables' owner.
fn enter_to_count(function: &'static str) -> Result<(Tables, u32), CounterError> {
    transaction::check_may_change(function)?;
    lock::lock_table(access::tables()?.total, Access::Write);
    let tables = access::tables()?;
    change::enter_for(table::owner(tables.total), function)
}

/// Adds to the number of an item's likes.
fn add(entered: (Tables, u32), item: &[u8], delta: i64) -> Result<(), CounterError> {
    change::increment(entered, &reserved::id(Kind::Likes, item)?, delta)
}

/// Another node's word has arrived: the like is there, or not, as the word says that holds. The row is held from before that is looked at
/// (`by_node`), so that nobody here has another word meanwhile. `at_us` is when the like was made, in microseconds since 2000-01-01.
pub fn receive(item: &[u8], actor: &[u8], at_us: i64) -> Result<(), CounterError> {
    let entered = enter_to_count("counter_like")?;
    let table = LIKED.lock(Access::Write)?;
    let is_new = xact::in_scratch_memory(|| {
        loop {
            if rows::insert(table, item, actor, Value::Bigint(at_us))? {
                return Ok::<_, CounterError>(true);
            }
            if rows::hold(table, item, actor)? {
                return Ok(false);
            }
        }
    })?;
    let is_liked = by_node::is_liked(entered.0, item, actor)?;
    if !is_liked {
        xact::in_scratch_memory(|| rows::remove(table, item, actor))?;
    }
    match (is_new, is_liked) {
        (true, true) => add(entered, item, 1),
        (false, false) => add(entered, item, -1),
        _ => Ok(()),
    }
}

/// Counts likes of an item that came, or went, by hand.
pub fn count(item: &[u8], delta: i64) -> Result<(), CounterError> {
    add(enter_to_count("counter_like")?, item, delta)
}

/// Before TRUNCATE of a partition: nobody else can change it any more, and its items will have no likes. So their counters are
/// brought to nothing, whatever they are now: they may have been emptied already, by the same statement or before.
pub fn empty_all(table: Oid) -> Result<(), CounterError> {
    const BATCH: usize = 1000;
    let source = Source::open(table)?;
    let query = Counted::by(&source, c"item")?.ordered_count_query(&source);
    drop(source);
    let owner = table::owner(access::tables()?.total);
    let entered = change::enter_to_count_in_rows(owner, "counter_like")?;
    confined::as_caller(|confined| {
        // Everything committed by now, at any isolation level.
        let active = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let mut items = spi.pairs(&query)?;
        loop {
            let ids = std::iter::from_fn(|| items.next_pair());
            // BOUND: as many as a batch has.
            let ids: Vec<_> = ids
                .take(BATCH)
                .map(|(item, _)| reserved::id(Kind::Likes, &item))
                .collect::<Result<_, _>>()?;
            if ids.is_empty() {
                break;
            }
            change::empty(entered, ids)?;
        }
        drop(items);
        drop(spi);
        drop(active);
        Ok(())
    })
}

/// Whether an actor likes an item: what is committed by now, and what this transaction did.
pub fn is_liked(item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let table = LIKED.enter_to_read()?;
    xact::in_scratch_memory(|| rows::is_there(table, item, actor))
}

/// How many likes an item has: what is committed by now, and what this transaction did.
pub fn number(item: &[u8]) -> Result<i64, CounterError> {
    let table = LIKED.find().ok_or(CounterError::NotInstalled)?;
    LIKED.check_rights(table, Rights::SELECT, "SELECT")?;
    let tables = access::tables()?;
    let id = reserved::id(Kind::Likes, item)?;
    read::current(tables, &id)
}
