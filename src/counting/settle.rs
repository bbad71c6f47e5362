//! Writing a transaction's deltas to rows, once a counter, waiting for nobody.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use super::pending::Delta;
use super::slot_choice::{SlotChoice, Step};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::followed;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::{process, random, xact};
use crate::rows::access::Tables;
use crate::rows::slots::{self, Known, Minutes, Outcome, Writer};
use crate::rows::totals;
use crate::settings;

/// How often a backend looks for rows that others added, before it adds one itself.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);

/// Which rows a transaction's deltas may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A prepared transaction may hold its rows for days: others must find the total.
    Slots,
    TotalsToo,
}

/// Adds each delta to a row: to the counter's total where nobody holds it and no slot rows are known, else to a slot row.
pub fn settle(tables: Tables, deltas: &[Delta], rows: Rows) -> Result<(), CounterError> {
    // Mostly without a snapshot: taking one costs much where many commit, rows are looked at as they are now, and an index of somebody's own
    // that takes one to compute gets it (`pg/write`).
    xact::in_scratch_memory(|| {
        let recent = ActiveSnapshot::ensure_recent();
        let targets = Targets::new(tables, rows);
        for delta in deltas {
            targets.add(delta)?;
            process::check_for_interrupts();
        }
        drop(recent);
        Ok(())
    })
}

/// What is written while the transaction goes on: adds each delta, which are in the order of their ids, to the counter's total where nobody
/// holds it, and else inserts a fresh slot row.
pub fn spill(tables: Tables, deltas: &[Delta], rows: Rows) -> Result<(), CounterError> {
    /// Deltas whose rows take up memory at the same time.
    const AT_ONCE: usize = 256;
    xact::in_scratch_memory(|| {
        let active = ActiveSnapshot::push();
        let targets = Targets::new(tables, rows);
        for deltas in deltas.chunks(AT_ONCE) {
            xact::in_scratch_memory(|| deltas.iter().try_for_each(|delta| targets.add_fresh(delta)))?;
        }
        drop(active);
        Ok(())
    })
}

/// Inserts a fresh slot row for each delta.
pub fn insert_fresh(tables: Tables, deltas: &[Delta]) -> Result<(), CounterError> {
    xact::in_scratch_memory(|| {
        let active = ActiveSnapshot::push();
        let writer = Writer::open(tables)?;
        for delta in deltas {
            writer.insert(&delta.id, random::bits() as i64, delta.net);
            process::check_for_interrupts();
        }
        drop(active);
        Ok(())
    })
}

/// Inserts a slot row of what happened at a time.
pub fn insert_booked(tables: Tables, id: &[u8], delta: i64, at_us: i64) -> Result<(), CounterError> {
    xact::in_scratch_memory(|| {
        let active = ActiveSnapshot::push();
        Writer::open(tables)?.insert_booked(id, delta, at_us);
        drop(active);
        Ok(())
    })
}

/// Both tables, each opened where it is needed.
struct Targets {
    tables: Tables,
    rows: Rows,
    slots: OnceCell<Writer>,
    /// `None` inside where totals are not to be written to.
    totals: OnceCell<Option<totals::Writer>>,
}

impl Targets {
    fn new(tables: Tables, rows: Rows) -> Targets {
        Targets { tables, rows, slots: OnceCell::new(), totals: OnceCell::new() }
    }

    fn add(&self, delta: &Delta) -> Result<(), CounterError> {
        let known = slots::recall(self.tables, &delta.id);
        let is_followed = followed::goes_to_slots(&delta.id);
        // A counter with slot rows is one that many write to.
        if !is_followed && known.rows.is_empty() && self.add_to_total(delta)? {
            return Ok(());
        }
        let minutes = if is_followed { Minutes::Apart } else { Minutes::Together };
        add_to_slots(self.slots()?, delta, known, minutes)
    }

    fn add_fresh(&self, delta: &Delta) -> Result<(), CounterError> {
        process::check_for_interrupts();
        let goes_to_slots = followed::goes_to_slots(&delta.id) || slots::are_known(self.tables, &delta.id);
        if goes_to_slots || !self.add_to_total(delta)? {
            self.slots()?.insert(&delta.id, random::bits() as i64, delta.net);
        }
        Ok(())
    }

    fn add_to_total(&self, delta: &Delta) -> Result<bool, CounterError> {
        match self.totals() {
            Some(totals) => Ok(totals.try_add(&delta.id, delta.net)? == totals::Outcome::Added),
            None => Ok(false),
        }
    }

    fn slots(&self) -> Result<&Writer, CounterError> {
        if let Some(writer) = self.slots.get() {
            return Ok(writer);
        }
        let writer = Writer::open(self.tables)?;
        Ok(self.slots.get_or_init(|| writer))
    }

    fn totals(&self) -> Option<&totals::Writer> {
        let open = || match self.rows {
            Rows::Slots => None,
            Rows::TotalsToo => Some(totals::Writer::open(self.tables)),
        };
        self.totals.get_or_init(open).as_ref()
    }
}

fn add_to_slots(
    writer: &Writer,
    delta: &Delta,
    mut known: Known,
    minutes: Minutes,
) -> Result<(), CounterError> {
    let limit = settings::slots();
    if known.rows.is_empty() {
        search(writer, &delta.id, limit, &mut known)?;
    }
    if !try_known(writer, delta, limit, &mut known, minutes) {
        let stale = known.searched_at.is_none_or(|at| at.elapsed() >= SEARCH_INTERVAL);
        let added = stale && {
            search(writer, &delta.id, limit, &mut known)?;
            try_known(writer, delta, limit, &mut known, minutes)
        };
        if !added {
            fallible::reserve(&mut known.rows, 1, "places of slot rows")?;
            known.rows.push(writer.insert(&delta.id, random::bits() as i64, delta.net));
        }
    }
    slots::remember(&delta.id, known);
    Ok(())
}

fn search(writer: &Writer, id: &[u8], limit: usize, known: &mut Known) -> Result<(), CounterError> {
    known.rows = writer.search(id, limit)?;
    known.searched_at = Some(Instant::now());
    Ok(())
}

fn try_known(writer: &Writer, delta: &Delta, limit: usize, known: &mut Known, minutes: Minutes) -> bool {
    let mut choice = SlotChoice::new(random::bits());
    while let Step::Try(at) = choice.next(known.rows.len(), limit) {
        match writer.try_add(&delta.id, &mut known.rows[at], delta.net, minutes) {
            Outcome::Added => return true,
            Outcome::Held => {}
            Outcome::Gone => {
                known.rows.swap_remove(at);
                choice.forget_tried();
            }
        }
    }
    false
}
