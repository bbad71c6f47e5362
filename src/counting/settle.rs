//! Writing a transaction's deltas to slot rows, once a counter, waiting for nobody.

use std::time::{Duration, Instant};

use super::pending::Delta;
use super::slot_choice::{SlotChoice, Step};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::{process, random, xact};
use crate::rows::access::Tables;
use crate::rows::slots::{Known, Outcome, Writer};
use crate::settings;

/// How often a backend looks for rows that others added, before it adds one itself.
const SEARCH_INTERVAL: Duration = Duration::from_millis(250);

/// Adds each delta to a slot row.
pub fn settle(tables: Tables, deltas: &[Delta]) -> Result<(), CounterError> {
    xact::in_scratch_memory(|| {
        let active = ActiveSnapshot::push();
        let writer = Writer::open(tables)?;
        for delta in deltas {
            add(&writer, delta)?;
            process::check_for_interrupts();
        }
        drop(active);
        Ok(())
    })
}

/// Inserts a fresh slot row for each delta: what a spill does, inside the transaction.
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

fn add(writer: &Writer, delta: &Delta) -> Result<(), CounterError> {
    let limit = settings::slots();
    let mut known = writer.recall(&delta.id);
    if known.rows.is_empty() {
        search(writer, &delta.id, limit, &mut known)?;
    }
    if !try_known(writer, delta, limit, &mut known) {
        let stale = known.searched_at.is_none_or(|at| at.elapsed() >= SEARCH_INTERVAL);
        let added = stale && {
            search(writer, &delta.id, limit, &mut known)?;
            try_known(writer, delta, limit, &mut known)
        };
        if !added {
            fallible::reserve(&mut known.rows, 1, "places of slot rows")?;
            known.rows.push(writer.insert(&delta.id, random::bits() as i64, delta.net));
        }
    }
    writer.remember(&delta.id, known);
    Ok(())
}

fn search(writer: &Writer, id: &[u8], limit: usize, known: &mut Known) -> Result<(), CounterError> {
    known.rows = writer.search(id, limit)?;
    known.searched_at = Some(Instant::now());
    Ok(())
}

fn try_known(writer: &Writer, delta: &Delta, limit: usize, known: &mut Known) -> bool {
    let mut choice = SlotChoice::new(random::bits());
    while let Step::Try(at) = choice.next(known.rows.len(), limit) {
        match writer.try_add(&delta.id, &mut known.rows[at], delta.net) {
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
