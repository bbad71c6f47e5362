//! Rows one at a time, by hand: a row's latest version and whether this transaction can have it; the next that nobody holds; the
//! next that a snapshot sees.
//!
//! No snapshot rule comes into play, so this holds at any isolation level. Nothing here waits: who may wait does so with what
//! `Latest` says, holds no page meanwhile, and looks again.

use std::ops::ControlFlow;

use super::keyed::Keyed;
use crate::errors::OrRaise;
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::lock::{Lockers, Xid};
use crate::pg::page::{Columns, Status};
use crate::pg::snapshot::Snapshot;
use crate::pg::write::Candidate;

/// What memory is asked for.
const WHAT: &str = "transactions that replaced versions of a row";

/// A row, as far as this transaction can have it.
pub enum Latest<'t, T> {
    /// Committed, or made by this transaction before; no other transaction holds it.
    Free(Candidate<'t>, T),
    /// Another transaction inserts, changes or deletes it: how that one ends decides whether there is a row.
    InDoubt(Xid),
    /// It is there. Other transactions lock it, and nobody changes it.
    Locked(Lockers),
    /// The running command itself made or changed it.
    Mine,
    Absent,
}

/// Finds the one row of the range that `is_it` accepts, and reads it if it is free.
pub fn find<'t, T>(
    keyed: &'t Keyed,
    range: Range<'_>,
    is_it: impl Fn(&Columns<'_>) -> bool,
    read: impl Fn(&Columns<'_>) -> T,
) -> Latest<'t, T> {
    find_within(keyed, range, usize::MAX, is_it, read).unwrap_or(Latest::Absent)
}

/// As `find`; `None` where it would take a look at more than `most` index entries and versions.
pub fn find_within<'t, T>(
    keyed: &'t Keyed,
    range: Range<'_>,
    most: usize,
    is_it: impl Fn(&Columns<'_>) -> bool,
    read: impl Fn(&Columns<'_>) -> T,
) -> Option<Latest<'t, T>> {
    let mut seen = 0usize;
    // A version that somebody has just replaced may have a successor whose index entry came behind the scan. One more scan finds
    // it, unless another transaction has replaced that one meanwhile.
    let mut seen_before: Vec<Xid> = Vec::new();
    loop {
        let mut replaced_by: Vec<Xid> = Vec::new();
        let mut latest = Latest::Absent;
        let mut scan = IdScan::begin(&keyed.table, &keyed.key, range);
        while matches!(latest, Latest::Absent) {
            seen += 1;
            let entry = scan.next_entry(|version| {
                seen += 1;
                let columns = version.columns();
                if !is_it(&columns) {
                    return ControlFlow::Continue(());
                }
                latest = match version.status() {
                    Status::Free => Latest::Free(Candidate::new(version), read(&columns)),
                    Status::Changing(xid) | Status::Unborn(xid) => Latest::InDoubt(xid),
                    Status::Locked(lockers) => Latest::Locked(lockers),
                    Status::Mine => Latest::Mine,
                    Status::Updated => {
                        if let Some(xid) = version.just_replaced_by().filter(|xid| !seen_before.contains(xid))
                        {
                            fallible::push(&mut replaced_by, xid, WHAT).or_raise();
                        }
                        return ControlFlow::Continue(());
                    }
                    Status::Deleted => return ControlFlow::Continue(()),
                };
                ControlFlow::Break(())
            });
            if entry.is_none() {
                break;
            }
            if seen > most && matches!(latest, Latest::Absent) {
                return None;
            }
        }
        drop(scan);
        if replaced_by.is_empty() || !matches!(latest, Latest::Absent) {
            return Some(latest);
        }
        for xid in replaced_by {
            fallible::push(&mut seen_before, xid, WHAT).or_raise();
        }
    }
}

/// The next row of a scan that no other transaction holds, and that `read` accepts.
pub fn next_free<'t, T>(
    scan: &mut IdScan<'t>,
    read: impl Fn(&Columns<'_>) -> Option<T>,
) -> Option<(Candidate<'t>, T)> {
    loop {
        let found = next_if_free(scan, |columns, is_free| if is_free { read(columns) } else { None })?;
        if found.is_some() {
            return found;
        }
    }
}

/// The next entry's row, if no other transaction holds it, and `read` accepts it; `read` is shown every version, and whether it is free.
/// `None` at the end: for those who count what they go past.
pub fn next_if_free<'t, T>(
    scan: &mut IdScan<'t>,
    mut read: impl FnMut(&Columns<'_>, bool) -> Option<T>,
) -> Option<Option<(Candidate<'t>, T)>> {
    let mut found = None;
    scan.next_entry(|version| {
        let is_free = version.status() == Status::Free;
        let value = read(&version.columns(), is_free);
        if is_free {
            found = value.map(|value| (Candidate::new(version), value));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Some(found)
}

/// The next row of a scan that the snapshot sees.
pub fn next_visible<'t, T>(
    scan: &mut IdScan<'t>,
    snapshot: &mut Snapshot,
    read: impl Fn(&Columns<'_>) -> T,
) -> Option<(Candidate<'t>, T)> {
    loop {
        let mut found = None;
        scan.next_entry(|version| {
            if version.visible(snapshot) {
                found = Some((Candidate::new(version), read(&version.columns())));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if found.is_some() {
            return found;
        }
    }
}
