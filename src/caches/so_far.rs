//! What a transaction has counted of each cache through a middle table, beside what snapshots show; to its end. In the memory of one
//! process: a crash ends the transaction.
//!
//! BOUND: what grows with rows is asked for.

use std::cell::RefCell;

use super::overlay::Overlay;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::session::session_local;
use crate::pg::truncation::Truncation;
use crate::pg::xact::{self, Hooks, Participant};

const WHAT: &str = "changes of a cache through another table";

/// What has been counted of both tables.
#[derive(Default)]
pub struct SoFar {
    pub rows: Overlay,
    pub middles: Overlay,
    /// What snapshots show, and is gone once the TRUNCATE of a partition has ended.
    going: Vec<Going>,
    /// Keys that were locked.
    pub locked: Vec<u32>,
}

struct Going {
    truncation: Truncation,
    rows: Overlay,
    middles: Overlay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Rows,
    Middles,
}

session_local! {
    static CACHES: RefCell<Vec<(Vec<u8>, SoFar)>> = const { RefCell::new(Vec::new()) };
}

pub const HOOKS: Hooks = Hooks {
    participant: Participant::Caches,
    is_idle: || CACHES.with_borrow(Vec::is_empty),
    pre_commit: || (),
    commit: forget,
    abort: forget,
    pre_prepare: || (),
    prepared: forget,
    savepoint_released: |level| each_overlay(|overlay| overlay.released(level)),
    savepoint_rolled_back: |level| each_overlay(|overlay| overlay.rolled_back(level)),
};

fn forget() {
    CACHES.with_borrow_mut(|caches| *caches = Vec::new());
}

fn each_overlay(mut end: impl FnMut(&mut Overlay)) {
    CACHES.with_borrow_mut(|caches| {
        for (_, so_far) in caches {
            end(&mut so_far.rows);
            end(&mut so_far.middles);
        }
    });
}

/// Works with what was counted of the cache of a prefix.
pub fn with<T>(
    prefix: &[u8],
    work: impl FnOnce(&mut SoFar) -> Result<T, CounterError>,
) -> Result<T, CounterError> {
    xact::join(Participant::Caches);
    CACHES.with_borrow_mut(|caches| {
        let at = match caches.iter().position(|(other, _)| other == prefix) {
            Some(at) => at,
            None => {
                fallible::push(caches, (fallible::copy(prefix, WHAT)?, SoFar::default()), WHAT)?;
                caches.len() - 1
            }
        };
        let so_far = &mut caches[at].1;
        so_far.going.retain(|going| going.truncation.is_running());
        work(so_far)
    })
}

impl SoFar {
    pub fn side(&mut self, side: Side) -> &mut Overlay {
        match side {
            Side::Rows => &mut self.rows,
            Side::Middles => &mut self.middles,
        }
    }

    /// What counted rows of a key count for, beside what a snapshot shows.
    pub fn rows_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = i128> {
        let going = self.going.iter().flat_map(move |going| going.rows.of(key));
        self.rows.of(key).chain(going).map(|(_, amount)| amount)
    }

    /// What middle rows of a key name, and how many, beside what a snapshot shows.
    pub fn middles_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (&'a [u8], i128)> {
        let going = self.going.iter().flat_map(move |going| going.middles.of(key));
        self.middles.of(key).chain(going)
    }

    /// Snapshots show it until the TRUNCATE has ended, and then no more.
    pub fn add_going(
        &mut self,
        (truncation, side): (Truncation, Side),
        key: &[u8],
        other: &[u8],
        shown: i128,
    ) -> Result<(), CounterError> {
        let at = match self.going.iter().position(|going| going.truncation == truncation) {
            Some(at) => at,
            None => {
                let (rows, middles) = (Overlay::default(), Overlay::default());
                fallible::push(&mut self.going, Going { truncation, rows, middles }, WHAT)?;
                self.going.len() - 1
            }
        };
        let overlay = match side {
            Side::Rows => &mut self.going[at].rows,
            Side::Middles => &mut self.going[at].middles,
        };
        Ok(overlay.add(1, key, other, -shown)?)
    }
}

/// The counters are about to be made what both tables say now, with this transaction's own changes, of which all are counted.
pub fn restart(prefix: &[u8]) -> Result<(), CounterError> {
    xact::see_own_changes();
    let (level, base) = (xact::nest_level(), xact::current_command());
    with(prefix, |so_far| {
        so_far.rows.restart(level, base)?;
        Ok(so_far.middles.restart(level, base)?)
    })
}

/// One table's rows are all gone, and so are the counters.
pub fn restart_emptied(prefix: &[u8], side: Side) -> Result<(), CounterError> {
    with(prefix, |so_far| Ok(so_far.side(side).restart(xact::nest_level(), 0)?))
}
