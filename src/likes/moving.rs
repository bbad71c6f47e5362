//! Likes move to another item. Who likes both likes one, once.
//!
//! The rows move by SQL, so the triggers on counter_ext.liked count them, as any change by hand. A like that is just being made stays with
//! the old item; one that is just being taken back is waited for.
//!
//! BOUND: what is copied here without asking is an id of at most 255 bytes.

use super::rows::LIKED;
use crate::counting::change_errors::ChangeError;
use crate::counting::reserved::{self, Kind};
use crate::errors::CounterError;
use crate::family::Move;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::{confined, table, xact};
use crate::rows::access::Tables;

const ANY: &str = "SELECT 1 FROM counter_ext.liked l WHERE l.item OPERATOR(pg_catalog.=) $1 COLLATE pg_catalog.\"C\" LIMIT 1";
const MOVE: &str = "WITH gone AS (DELETE FROM counter_ext.liked l \
        WHERE l.item OPERATOR(pg_catalog.=) $1 COLLATE pg_catalog.\"C\" RETURNING l.actor, l.at) \
    INSERT INTO counter_ext.liked (item, actor, at) SELECT $2, g.actor, g.at FROM gone g ON CONFLICT DO NOTHING";

/// Moves an item's likes. Returns whether there were any. Errors: 42501 INSERT or DELETE on counter_ext.liked is missing.
pub fn move_likes(tables: Tables, moved: Move<'_>) -> Result<bool, CounterError> {
    let Move { from, to, merges } = moved;
    if !merges && has_likes(tables, to)? {
        return Err(ChangeError::IsTaken { id: to.to_vec() }.into());
    }
    if !has_likes(tables, from)? {
        return Ok(false);
    }
    // One byte too long for an item, which a counter may be.
    reserved::id(Kind::Likes, to)?;
    LIKED.enter_to_write(Rights::INSERT.and(Rights::DELETE), "INSERT and DELETE")?;
    let active = ActiveSnapshot::push_latest();
    confined::as_owner(table::owner(tables.total), |confined| {
        Spi::connect(confined)?.run_with(MOVE.as_bytes(), &[Parameter::Text(from), Parameter::Text(to)])
    })?;
    drop(active);
    xact::see_own_changes();
    Ok(true)
}

fn has_likes(tables: Tables, item: &[u8]) -> Result<bool, CounterError> {
    let active = ActiveSnapshot::push_latest();
    let rows = confined::as_owner(table::owner(tables.total), |confined| {
        Spi::connect(confined)?.rows_with(ANY.as_bytes(), &[Parameter::Text(item)])
    })?;
    drop(active);
    Ok(!rows.is_empty())
}
