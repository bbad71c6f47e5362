//! What compaction has not taken in yet of a window: slot rows, buffered deltas, this transaction's own, changes by others.
//!
//! All of it is read as of one snapshot, and what is in memory as of that or later, as of other boards (`boards::hot`), and goes to the window
//! that it will be booked in.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::score_rows::Scores;
use super::scoring::{Began, sound};
use super::window_rows::Window;
use crate::boards::changed_rows::{self, CHANGED};
use crate::boards::hot::between_folds;
use crate::boards::member_rows::Members;
use crate::boards::{ranked, ranking};
use crate::counting::{read, reserved, transaction};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::journal::position;
use crate::memory::{buffer, is_attached};
use crate::pg::id_scan::Range;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{catalog, process, xact};
use crate::rows::access::{self, Tables};
use crate::rows::fold::Part;
use crate::rows::keyed::Keyed;
use crate::rows::list::Id;
use crate::rows::slot_columns;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "members of boards";

/// A window of a board.
pub struct Sighted<'w> {
    pub board: &'w Window,
    pub began_us: i64,
    /// What rows call it.
    pub name: Vec<u8>,
}

impl<'w> Sighted<'w> {
    /// The window that an instant is in.
    pub fn at(board: &'w Window, at_us: i64) -> Sighted<'w> {
        let began_us = board.began(at_us);
        Sighted { board, began_us, name: board.name(began_us) }
    }
}

/// A member whose score in rows is not what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    pub member: Id,
    pub scores: ranked::Moved,
}

/// A snapshot, and the members as of then that rows do not say it of.
pub struct Gathered {
    pub snapshot: Snapshot,
    pub moved: Vec<Moved>,
    /// There are no more.
    pub is_whole: bool,
    /// There are more than were asked for.
    pub is_too_hot: bool,
}

/// What a member has gained and its rows have not; `None` where it may be that its rows are not made up yet.
type Gains = HashMap<Id, Option<i128>, foldhash::fast::RandomState>;

/// Gathers what is hot in a window: what this transaction has done itself, and about as much of others' at most. Its tables are locked.
pub fn gather(
    tables: Tables,
    window: &Sighted<'_>,
    (scores, members): (&Scores, &Members),
    most: usize,
) -> Result<Gathered, CounterError> {
    access::lock_for_reading(tables);
    let slots = Keyed::slot(tables, Access::Read)?;
    let (mut snapshot, found, is_between) =
        between_folds(|snapshot| find(tables, &slots, window, most, snapshot))?;
    let Found { gains, is_whole, is_too_hot } = found;
    let is_whole = is_whole && is_between;
    let mut moved = fallible::with_room(gains.len(), WHAT)?;
    for (member, gain) in gains {
        let before = scores.score(&window.name, &member, &mut snapshot);
        let in_rows = members.score(&window.name, &member, &mut snapshot);
        let is_there = before.is_some() || gain.is_some();
        let now = is_there.then(|| ranking::score(before.unwrap_or(0) + gain.unwrap_or(0)));
        // BOUND: room was made above.
        moved.push(Moved { member, scores: ranked::Moved { in_rows, now } });
    }
    // BOUND: an id each, one at a time.
    let ids = moved.iter().map(|moved| [&window.board.prefix[..], &moved.member].concat());
    read::keep_memory_from_undercutting(tables, &snapshot, ids);
    Ok(Gathered { snapshot, moved, is_whole, is_too_hot })
}

/// The score of one member as it is now, whatever else is hot. Errors: 55000 the journal could not be read whole.
pub fn own_score(
    tables: Tables,
    window: &Sighted<'_>,
    scores: &Scores,
    member: &[u8],
) -> Result<Option<i64>, CounterError> {
    // BOUND: an id.
    let id = [&window.board.prefix[..], member].concat();
    let mut unfolded = read::unfolded(tables, &id)?;
    let mut began = Began::of(window.board);
    let now_us = process::now_us();
    let mut gain = None;
    for part in unfolded.parts.iter().filter(|part| part.delta != 0) {
        if began.at(sound(part.at_us, now_us)) == window.began_us {
            *gain.get_or_insert(0) += i128::from(part.delta);
        }
    }
    let before = xact::in_scratch_memory(|| scores.score(&window.name, member, &mut unfolded.snapshot));
    let is_there = before.is_some() || gain.is_some();
    Ok(is_there.then(|| ranking::score(before.unwrap_or(0) + gain.unwrap_or(0))))
}

/// Adds up what belongs to the window.
struct Adding<'a, 'w> {
    window: &'a Sighted<'w>,
    began: Began<'w>,
    now_us: i64,
    gains: Gains,
}

impl Adding<'_, '_> {
    fn add(&mut self, id: &[u8], delta: i128, at_us: i64) -> Result<(), CounterError> {
        let Some(member) = self.window.board.member(id) else { return Ok(()) };
        if delta == 0 || self.began.at(sound(at_us, self.now_us)) != self.window.began_us {
            return Ok(());
        }
        *self.gain(member)?.get_or_insert(0) += delta;
        Ok(())
    }

    fn gain(&mut self, member: &[u8]) -> Result<&mut Option<i128>, CounterError> {
        fallible::reserve(&mut self.gains, 1, WHAT)?;
        Ok(self.gains.entry(fallible::boxed(member, WHAT)?).or_default())
    }
}

/// What is hot, and whether that is all.
struct Found {
    gains: Gains,
    is_whole: bool,
    is_too_hot: bool,
}

fn find(
    tables: Tables,
    slots: &Keyed,
    window: &Sighted<'_>,
    most: usize,
    snapshot: &mut Snapshot,
) -> Result<Found, CounterError> {
    let prefix = &window.board.prefix[..];
    let now_us = process::now_us();
    let mut adding = Adding { window, began: Began::of(window.board), now_us, gains: Gains::default() };
    // This transaction's own come first: they show whatever else is hot.
    for (id, delta) in transaction::own_after_prefix(tables, prefix)? {
        adding.add(&id, i128::from(delta), process::statement_started_us())?;
    }
    let most = most.saturating_add(adding.gains.len());
    let changed = CHANGED.lock(Access::Read)?;
    changed_rows::each(changed, &window.name, snapshot, |noted| {
        adding.gain(&noted[window.name.len()..]).map(drop).or_raise();
        if adding.gains.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let mut buffered: Vec<(Id, i128)> = Vec::new();
    let knows_journal = match (xact::in_recovery(), is_attached()) {
        (true, _) => false,
        (false, true) => read::is_recovered(tables),
        (false, false) => {
            let journal = position::lock(Access::Read)?;
            let folded = position::read(journal, snapshot)?;
            position::for_each_delta(journal, folded, snapshot, |id, delta| {
                if buffered.len() <= most && id.starts_with(prefix) {
                    fallible::push(&mut buffered, (fallible::boxed(id, WHAT)?, i128::from(delta)), WHAT)?;
                }
                Ok::<(), CounterError>(())
            })?;
            position::read(journal, &mut Snapshot::fresh())? == folded
        }
    };
    if knows_journal && is_attached() {
        let (database, relation) = (u32::from(catalog::my_database()), u32::from(tables.total));
        buffer::each_unfolded(database, relation, snapshot, |id, delta| {
            if delta != 0 && buffered.len() <= most && id.starts_with(prefix) {
                fallible::push(&mut buffered, (fallible::boxed(id, WHAT)?, i128::from(delta)), WHAT)?;
            }
            Ok(())
        })?;
    }
    let is_buffered_whole = buffered.len() <= most;
    for (id, delta) in buffered {
        let changed_at_us = if is_attached() { buffer::changed_at_us(read::key(tables, &id)) } else { 0 };
        adding.add(&id, delta, if changed_at_us > 0 { changed_at_us } else { now_us })?;
    }
    let mut left = most;
    // Ids of families sort before all others.
    let from = prefix.max(&reserved::LAST);
    for_each_visible(slots, Range::From(from), snapshot, |columns| {
        let id = columns.text(slot_columns::ID);
        if !id.starts_with(prefix) || left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        let part = Part::of_slot(columns);
        adding.add(id, i128::from(part.delta), part.at_us).or_raise();
        ControlFlow::Continue(())
    });
    let is_too_hot = !is_buffered_whole || left == 0 || adding.gains.len() > most;
    Ok(Found { gains: adding.gains, is_whole: knows_journal && !is_too_hot, is_too_hot })
}
