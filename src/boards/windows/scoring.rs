//! What goes into totals is booked in windows, by the transaction in which it goes there, and members are brought up to date with their scores.
//!
//! A score is read anew from its rows each time, so it does not matter how often that is done. Whoever does it holds the compaction lock,
//! or keeps writers, the worker among them, out.
//!
//! BOUND: the name of a window.

use super::length;
use super::score_rows::{SCORES, Scores};
use super::window_rows::{self, Window};
use crate::boards::changed_rows;
use crate::boards::count_rows::{NODES, Nodes};
use crate::boards::member_rows::{MEMBERS, Members};
use crate::boards::ranking::score;
use crate::boards::tree::{self, Change};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::followed::Amount;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::Tables;
use crate::rows::list::Id;

const WHAT: &str = "amounts of boards";

/// How far ahead of the clock an event may be, as in series.
const MOST_AHEAD_US: i64 = 3_600_000_000;
const US_PER_MINUTE: i64 = 60_000_000;

/// When an amount is booked that is said to be of then: what is as far ahead as no clock that agrees with ours can be was counted now.
pub fn sound(at_us: i64, now_us: i64) -> i64 {
    if at_us <= now_us.saturating_add(MOST_AHEAD_US) { at_us } else { now_us }
}

/// Remembers which window the last minute was in that was asked for: all of a minute is in one.
pub struct Began<'w> {
    window: &'w Window,
    last: Option<(i64, i64)>,
}

impl<'w> Began<'w> {
    pub fn of(window: &'w Window) -> Began<'w> {
        Began { window, last: None }
    }

    pub fn at(&mut self, at_us: i64) -> i64 {
        let minute = at_us.div_euclid(US_PER_MINUTE);
        match self.last {
            Some((known, began_us)) if known == minute => began_us,
            _ => {
                let began_us = self.window.began(at_us);
                self.last = Some((minute, began_us));
                began_us
            }
        }
    }
}

/// An amount of a member in the window that began then.
struct Booked<'a> {
    began_us: i64,
    member: &'a [u8],
    delta: i128,
}

/// Books amounts in the windows that their times are in. What is in a window that is no longer kept is left out. Where it is no fold, the members
/// are brought up to date by the next pass.
pub fn book(_: Tables, amounts: &[&Amount], is_fold: bool) -> Result<(), CounterError> {
    let now_us = process::now_us();
    // One board after the other: a counter can be on very many.
    for window in window_rows::all()?.iter().filter(|window| window.is_declared) {
        book_on(window, &booked_on(window, amounts, now_us)?, is_fold)?;
    }
    Ok(())
}

/// What a board has of these amounts, by window and member.
fn booked_on<'a>(
    window: &Window,
    amounts: &[&'a Amount],
    now_us: i64,
) -> Result<Vec<Booked<'a>>, CounterError> {
    let mut booked = Vec::new();
    let oldest_us = window.oldest(now_us);
    let mut began = Began::of(window);
    for amount in amounts {
        let Some(member) = window.member(&amount.id) else { continue };
        let began_us = began.at(sound(amount.at_us, now_us));
        if began_us >= oldest_us && amount.delta != 0 {
            fallible::push(&mut booked, Booked { began_us, member, delta: amount.delta }, WHAT)?;
        }
    }
    booked.sort_unstable_by_key(|booked| (booked.began_us, booked.member));
    Ok(booked)
}

fn book_on(window: &Window, booked: &[Booked<'_>], is_fold: bool) -> Result<(), CounterError> {
    if booked.is_empty() {
        return Ok(());
    }
    let scores = Scores::open(SCORES.lock_in_time(Access::Write)?, Access::Write)?;
    // What this transaction has booked before is to be found.
    xact::see_own_changes();
    for of_window in booked.chunk_by(|a, b| a.began_us == b.began_us) {
        let Some(first) = of_window.first() else { continue };
        let name = window.name(first.began_us);
        let mut members = fallible::with_room(of_window.len(), WHAT)?;
        for same in of_window.chunk_by(|a, b| a.member == b.member) {
            process::check_for_interrupts();
            let delta = same.iter().map(|booked| booked.delta).sum();
            if let Some(first) = same.first() {
                xact::in_scratch_memory(|| scores.add(&name, first.member, delta));
                // BOUND: room was made above.
                members.push(first.member);
            }
        }
        xact::see_own_changes();
        if is_fold {
            refresh(&scores, &name, &members)?;
        } else {
            members.iter().try_for_each(|member| changed_rows::note_member(&name, member))?;
        }
    }
    Ok(())
}

/// Brings members of a window, each once and in order, up to date with their scores.
pub fn refresh(scores: &Scores, window: &[u8], members_: &[&[u8]]) -> Result<(), CounterError> {
    let (members, nodes) = (MEMBERS.lock_in_time(Access::Write)?, NODES.lock_in_time(Access::Write)?);
    let members = Members::open(members, Access::Write)?;
    let mut changes: Vec<Change> = fallible::with_room(members_.len(), WHAT)?;
    let mut snapshot = Snapshot::fresh();
    for member in members_ {
        process::check_for_interrupts();
        xact::in_scratch_memory(|| {
            let after = scores.score(window, member, &mut snapshot).map(score);
            let before = members.set(window, member, after)?;
            if before != after {
                // BOUND: room was made above.
                changes.push(Change { before, after });
            }
            Ok::<(), CounterError>(())
        })?;
    }
    drop(snapshot);
    if changes.is_empty() {
        return Ok(());
    }
    xact::see_own_changes();
    xact::in_scratch_memory(|| {
        let mut nodes = Nodes::open(nodes, window, &members, Snapshot::fresh(), Access::Write)?;
        tree::apply(&mut nodes, &changes)
    })?;
    xact::see_own_changes();
    Ok(())
}

/// The same of members that were noted as names of windows with a member behind each, in order.
pub fn refresh_noted(noted: &[Id]) -> Result<(), CounterError> {
    let read: Vec<_> = noted.iter().filter_map(|noted| length::read(noted)).collect();
    if read.is_empty() {
        return Ok(());
    }
    let scores = Scores::open(SCORES.lock_in_time(Access::Write)?, Access::Write)?;
    for of_window in read.chunk_by(|a, b| a.name == b.name) {
        let mut members = fallible::collect(of_window.iter().map(|named| named.rest), WHAT)?;
        members.sort_unstable();
        members.dedup();
        refresh(&scores, of_window[0].name, &members)?;
    }
    Ok(())
}
