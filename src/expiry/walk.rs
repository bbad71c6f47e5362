//! The worker's step: walks over the totals under each prefix and drops what is idle, a bounded number in a piece.
//!
//! A piece holds the lock of declarations (`declared_rows::subject`) and reads them anew: what has been declared otherwise is not dropped any
//! more. A piece that fails leaves out, next time, the counter that it failed at.
//!
//! Contract: the process keeps when each prefix is due, and what it failed at. A crash loses that: all are due then.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::declared_rows::{self, Declared, EXPIRY};
use super::schedule;
use crate::caches;
use crate::counting::{folding, idling};
use crate::errors::CounterError;
use crate::fallible;
use crate::family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::epochs::{self, Recovered};
use crate::memory::restore_guard::NewRows;
use crate::pg::session::session_local;
use crate::pg::table::Access;
use crate::pg::{Oid, catalog, lock, process};
use crate::rows::access::{Tables, as_owner};
use crate::rows::idle::{self, Bounds};
use crate::rows::list::Id;
use crate::settings;

const WHAT: &str = "prefixes under which counters expire";

/// What one transaction looks at, and drops: it takes a lock on each id that it drops.
const PIECE: Bounds = Bounds { found: 60, versions: 10_000, time: Duration::from_millis(50) };

pub const DROP_IDLE: Step = Step {
    name: "dropping idle counters",
    every: Duration::ZERO,
    is_essential: false,
    begin: || Box::new(DropIdle::default()),
};

#[derive(Default)]
struct DropIdle {
    /// Prefixes up to this one have had their turn.
    done: Id,
    walk: Option<Walk>,
}

/// One prefix under way.
struct Walk {
    prefix: Id,
    after: Option<Id>,
    began_at: Instant,
    /// When the counter was changed that will be of age first, of those that stay.
    oldest_us: Option<i64>,
    /// Dropped, and not in the prefix's row yet.
    unnoted: u64,
}

/// When a prefix is to be looked at again.
struct Due {
    prefix: Id,
    at: Option<Instant>,
}

#[derive(Default)]
struct Known {
    due: Vec<Due>,
    /// What is being dropped. Found there by a later piece, it has failed.
    dropping: Option<Id>,
    /// What a piece has failed at, until the next walk over its prefix.
    failed: Vec<Id>,
}

session_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known::default());
}

/// Counters that one may fail at before walks over them stop for a while.
const MOST_FAILED: usize = 1000;

impl Work for DropIdle {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        const NOTHING: Progress = Progress { rows: 0, overflowed: 0, is_done: true };
        // What a restore has brought may be about to be counted.
        let Some(table) = EXPIRY.find().filter(|_| how.new_rows.are_made()) else { return Ok(NOTHING) };
        let locked = EXPIRY.try_lock(Access::Write)
            && EXPIRY.find() == Some(table)
            && lock::try_lock_exclusive(tables.total, declared_rows::subject());
        if !locked {
            return Ok(NOTHING);
        }
        let declared = declared_rows::all(table)?;
        keep_known(&declared)?;
        let walk = match self.walk.take().filter(|walk| find(&declared, &walk.prefix).is_some()) {
            Some(walk) => walk,
            None => match self.next_walk(&declared, how)? {
                Some(walk) => walk,
                None => return Ok(NOTHING),
            },
        };
        let Some(proof) = recovered(tables, how)? else { return Ok(NOTHING) };
        self.piece(&proof, tables, (table, &declared), walk)
    }
}

impl DropIdle {
    /// The next prefix that is due. All are where somebody waits for the pass.
    fn next_walk(&mut self, declared: &[Declared], how: How) -> Result<Option<Walk>, CounterError> {
        let is_wanted = how.waits || matches!(how.new_rows, NewRows::Made);
        let is_next =
            |declared: &&Declared| declared.prefix > self.done && (is_wanted || is_due(&declared.prefix));
        let Some(next) = declared.iter().find(is_next) else { return Ok(None) };
        self.done = fallible::boxed(&next.prefix, WHAT)?;
        KNOWN.with_borrow_mut(|known| known.failed.retain(|id| !id.starts_with(&next.prefix)));
        Ok(Some(Walk {
            prefix: fallible::boxed(&next.prefix, WHAT)?,
            after: None,
            began_at: Instant::now(),
            oldest_us: None,
            unnoted: 0,
        }))
    }

    fn piece(
        &mut self,
        proof: &Recovered,
        tables: Tables,
        (table, declared): (Oid, &[Declared]),
        mut walk: Walk,
    ) -> Result<Progress, CounterError> {
        let Some(own) = find(declared, &walk.prefix) else { return Ok(Progress::default()) };
        let before_us = process::now_us().saturating_sub(own.idle_us);
        let node = settings::node();
        let place = (&*walk.prefix, walk.after.as_deref());
        let found = as_owner(tables, |_| {
            idle::find(tables, node, place, |total| total.updated_at_us < before_us, PIECE)
        })?;
        walk.note_oldest(found.oldest_other_us);
        let mut dropped = 0;
        let caches = if found.ids.is_empty() { Vec::new() } else { caches::all()? };
        let may_go = |id: &Id| {
            // A longer prefix holds, and a cache keeps its own.
            let is_longer =
                |other: &Declared| other.prefix.len() > own.prefix.len() && id.starts_with(&other.prefix);
            !declared.iter().any(is_longer) && !caches.iter().any(|(_, cache)| id.starts_with(cache.prefix()))
        };
        if !found.ids.is_empty() && !family::try_lock_to_drop(tables) {
            walk.note_oldest(Some(before_us));
        } else {
            for id in found.ids.iter().filter(|id| may_go(id)) {
                process::check_for_interrupts();
                if drop_unless_failed(proof, tables, id, before_us)? {
                    dropped += 1;
                } else {
                    walk.note_oldest(Some(before_us));
                }
            }
        }
        walk.unnoted += dropped;
        if walk.unnoted > 0
            && as_owner(tables, |_| declared_rows::note_dropped(table, &walk.prefix, walk.unnoted))?
        {
            walk.unnoted = 0;
        }
        if found.is_end {
            walk.end(own.idle_us);
        } else {
            walk.after = found.last.or(walk.after);
            self.walk = Some(walk);
        }
        Ok(Progress { rows: dropped, ..Progress::default() })
    }
}

impl Walk {
    fn note_oldest(&mut self, at_us: Option<i64>) {
        self.oldest_us = match (self.oldest_us, at_us) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn end(self, idle_us: i64) {
        let until = |us: i64| Duration::from_micros(us.max(0) as u64);
        let until_next = self
            .oldest_us
            .map(|oldest_us| until(oldest_us.saturating_add(idle_us).saturating_sub(process::now_us())));
        let rest = schedule::rest(until(idle_us), self.began_at.elapsed(), until_next);
        let at = Instant::now().checked_add(rest);
        KNOWN.with_borrow_mut(|known| {
            if let Some(due) = known.due.iter_mut().find(|due| due.prefix == self.prefix) {
                due.at = at;
            }
        });
    }
}

fn find<'a>(declared: &'a [Declared], prefix: &[u8]) -> Option<&'a Declared> {
    declared.iter().find(|declared| *declared.prefix == *prefix)
}

/// Rows and memory hold everything; `None` where that takes waiting.
fn recovered(tables: Tables, how: How) -> Result<Option<Recovered>, CounterError> {
    if how.waits {
        return folding::ensure_recovered(tables).map(Some);
    }
    Ok(epochs::recovered(u32::from(catalog::my_database()), u32::from(tables.total)))
}

/// Knows of those that are declared, and of no others.
fn keep_known(declared: &[Declared]) -> Result<(), CounterError> {
    KNOWN.with_borrow_mut(|known| {
        known.due.retain(|due| find(declared, &due.prefix).is_some());
        for Declared { prefix, .. } in declared {
            if !known.due.iter().any(|due| due.prefix == *prefix) {
                let due = Due { prefix: fallible::boxed(prefix, WHAT)?, at: None };
                fallible::push(&mut known.due, due, WHAT)?;
            }
        }
        if let Some(id) = known.dropping.take() {
            if known.failed.len() >= MOST_FAILED {
                known.failed.clear();
            }
            fallible::push(&mut known.failed, id, WHAT)?;
        }
        Ok(())
    })
}

fn is_due(prefix: &[u8]) -> bool {
    KNOWN.with_borrow(|known| {
        let due = known.due.iter().find(|due| *due.prefix == *prefix);
        due.and_then(|due| due.at).is_none_or(|at| Instant::now() >= at)
    })
}

fn drop_unless_failed(
    proof: &Recovered,
    tables: Tables,
    id: &Id,
    before_us: i64,
) -> Result<bool, CounterError> {
    let dropping = fallible::boxed(id, WHAT)?;
    let has_failed = KNOWN.with_borrow_mut(|known| {
        let has_failed = known.failed.contains(id);
        known.dropping = (!has_failed).then_some(dropping);
        has_failed
    });
    if has_failed {
        return Ok(false);
    }
    let dropped = as_owner(tables, |_| idling::drop_if_idle(proof, tables, id, before_us))?;
    KNOWN.with_borrow_mut(|known| known.dropping = None);
    Ok(dropped)
}
