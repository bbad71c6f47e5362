//! Counters at 0 of caches, and of likes, that folding had no room to remember, or that a process forgot when it was killed, are looked for among the
//! totals: once a while after the process has started, and whenever it has forgotten some. A bounded number in a piece.
//!
//! Contract: the process keeps whether it has swept. A crash loses that: it sweeps again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::definition;
use crate::counting::reserved::Kind;
use crate::counting::zeroes;
use crate::errors::CounterError;
use crate::fallible;
use crate::family::pass::How;
use crate::pg::session::session_local;
use crate::pg::{process, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::idle::{self, Bounds};
use crate::rows::list::Id;
use crate::settings;

/// Numbers of likes, of items that nobody likes any more.
const LIKES: [u8; 1] = [Kind::Likes as u8];

const WHAT: &str = "prefixes of counter caches";

/// What one transaction looks at, and removes.
const PIECE: Bounds = Bounds { found: 256, versions: 10_000, time: Duration::from_millis(50) };

/// How long after its start a worker sweeps: those that have a turn among many databases do not live that long.
const AFTER_START: Duration = Duration::from_secs(10);

session_local! {
    static STARTED: Instant = Instant::now();
    static HAS_SWEPT: Cell<bool> = const { Cell::new(false) };
}

/// A sweep under way.
#[derive(Default)]
pub struct Sweep {
    /// Prefixes up to this one are done.
    done: Id,
    /// Where the next one's look goes on.
    after: Option<Id>,
}

/// Begins one if it is time.
pub fn begin(how: How) -> Option<Sweep> {
    let is_of_age =
        STARTED.with(|started| started.elapsed() >= AFTER_START) && !HAS_SWEPT.get() && !how.waits;
    // What a restore has brought may still be about to be counted.
    if !how.new_rows.are_made() || !(is_of_age || zeroes::has_forgotten()) {
        return None;
    }
    HAS_SWEPT.set(true);
    Some(Sweep::default())
}

impl Sweep {
    /// Removes some. Returns how many; `None` at the end.
    pub fn piece(&mut self, tables: Tables) -> Result<Option<u64>, CounterError> {
        let caches = definition::all()?;
        let cached = caches.iter().map(|(_, cache)| cache.prefix()).filter(|prefix| !prefix.is_empty());
        let prefixes = cached.chain(std::iter::once(&LIKES[..]));
        let Some(prefix) = prefixes.filter(|prefix| **prefix > *self.done).min() else { return Ok(None) };
        let node = settings::node();
        let place = (prefix, self.after.as_deref());
        let found = as_owner(tables, |_| idle::find(tables, node, place, |total| total.value == 0, PIECE))?;
        let mut removed = 0;
        for id in &found.ids {
            process::check_for_interrupts();
            removed += u64::from(xact::in_scratch_memory(|| zeroes::remove_if_zero(tables, id))?);
        }
        if found.is_end {
            self.done = fallible::boxed(prefix, WHAT)?;
            self.after = None;
        } else {
            self.after = found.last.or_else(|| self.after.take());
        }
        Ok(Some(removed))
    }
}
