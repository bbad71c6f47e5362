//! Rows that another server writes here by logical replication.
//!
//! They are that server's: it will change them again, and expects to find them as it left them. So nothing here is folded into
//! them, and nothing of theirs into anything else. Slots and visits are not taken in at all: their server folds them, and the rows
//! of counter_ext.total and counter_ext.visitors that it folds them into follow. A row of those is told from ours by its
//! node. One of our own number is refused, since each server would overwrite what the other has counted; so is one of no number,
//! which any server may have been, and any at all where we have no number ourselves. The error stops whoever applies it, before anything is written.

use std::cell::Cell;
use std::ffi::CString;

use super::access::Tables;
use super::members;
use super::node::{self, NodeError, Whose};
use crate::errors::CounterError;
use crate::pg::session::session_local;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::{catalog, confined, table};
use crate::settings;

session_local! {
    static HAS_WARNED: Cell<bool> = const { Cell::new(false) };
}

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What its server folds into totals and sketches.
    Unfolded,
    Totals,
    Sketches,
}

/// What becomes of a row that comes by replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    TakenIn,
    LeftOut,
}

/// Errors: 55000 rows of this node do not come from elsewhere, nor does a node send any that has no number.
pub fn check_node(number: i32) -> Result<(), CounterError> {
    let own = settings::node();
    let error = match number {
        _ if own == node::NONE => NodeError::NoNumber,
        node::NONE => NodeError::FromNoNumber,
        _ if number == own => NodeError::SameNumber { node: own },
        _ => return Ok(()),
    };
    Err(error.into())
}

/// The subscription that counter_node_setup makes to a node.
pub fn subscription(number: i32) -> CString {
    CString::new(format!("counter_node_{number}")).unwrap_or_default()
}

/// Errors: 55000 a row of this number is another node's, which a subscription goes on changing. Rows of a node that has left are this server's to
/// delete: it does not go on from them.
pub fn check_not_fed(number: i32) -> Result<(), CounterError> {
    if node::whose(number, settings::node()) == Whose::Theirs
        && catalog::has_subscription(&subscription(number))
        && !members::has_left(number)?
    {
        return Err(NodeError::NotOurs { node: number }.into());
    }
    Ok(())
}

/// A row of one of our tables comes by replication, or is changed or deleted so; `old` and `new` are the rows' keys, as far as there are
/// such rows.
pub fn receive(
    tables: Tables,
    kind: Kind,
    old: Option<RowKey<'_>>,
    new: Option<RowKey<'_>>,
) -> Result<Fate, CounterError> {
    if kind == Kind::Unfolded {
        if !HAS_WARNED.replace(true) {
            pgrx::warning!(
                "rows of counter_ext.slot and counter_ext.visit that come by replication are left out; \
                 replicate counter_ext.total and counter_ext.visitors"
            );
        }
        return Ok(Fate::LeftOut);
    }
    [old, new].into_iter().flatten().try_for_each(|key| check_node(key.node))?;
    let (None, Some(key)) = (old, new) else { return Ok(Fate::TakenIn) };
    // What an earlier subscription has left is replaced.
    confined::as_owner(table::owner(tables.total), |confined| {
        let spi = Spi::connect(confined)?;
        let (id, node) = (Parameter::Text(key.id), Parameter::Int(key.node));
        match key.day {
            None => spi.run_with(CLEAR_TOTAL.as_bytes(), &[id, node]),
            Some(day) => spi.run_with(CLEAR_VISITORS.as_bytes(), &[id, node, Parameter::Date(day)]),
        }
    })?;
    Ok(Fate::TakenIn)
}

/// What a row of counter_ext.total or counter_ext.visitors is found by.
#[derive(Clone, Copy, Debug)]
pub struct RowKey<'a> {
    pub id: &'a [u8],
    pub node: i32,
    /// Days since 2000-01-01, of visitors.
    pub day: Option<i32>,
}

const CLEAR_TOTAL: &str = "DELETE FROM counter_ext.total t \
    WHERE t.id OPERATOR(pg_catalog.=) $1 AND t.node OPERATOR(pg_catalog.=) $2";
const CLEAR_VISITORS: &str = "DELETE FROM counter_ext.visitors v \
    WHERE v.id OPERATOR(pg_catalog.=) $1 AND v.node OPERATOR(pg_catalog.=) $2 \
    AND v.day OPERATOR(pg_catalog.=) $3";
