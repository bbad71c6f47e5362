//! What compaction has not taken in yet of a board: slot rows, buffered deltas, this transaction's own, changes by others.
//!
//! All of it is read as of one snapshot, and what is in memory as of that or later. A member it names has the score that it says, and
//! not the one in the board's rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::board_rows::Board;
use super::changed_rows::{self, CHANGED};
use super::ranking;
use crate::counting::{read, reserved, transaction};
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::journal::position;
use crate::memory::{buffer, epochs, is_attached};
use crate::pg::id_scan::Range;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{catalog, xact};
use crate::rows::access::{self, Tables};
use crate::rows::keyed::Keyed;
use crate::rows::list::Id;
use crate::rows::slot_columns;
use crate::rows::sum::{RowSum, for_each_visible};

const WHAT: &str = "members of boards";

/// Slot rows, and counters, that the top of a board has put in at most. What is hot beyond that shows when it is compacted.
pub const MOST_OF_TOP: usize = 1000;
/// The same for a rank. Where more are hot it goes by what is compacted.
pub const MOST_OF_RANK: usize = 100;
/// How long after a board was found too hot nobody looks whether it still is.
const TOO_HOT: Duration = Duration::from_secs(1);
/// How often a fold that comes in between is met: each takes less than the look does.
const MOST_FOLDS_MET: usize = 20;

/// What a member that is hot has not got in its total rows.
#[derive(Clone, Copy, Default)]
struct Rest {
    delta: i128,
    /// It is a counter even without total rows.
    exists: bool,
}

type Rests = HashMap<Id, Rest, foldhash::fast::RandomState>;

/// Scores of hot members; `None` for those that are not on the board any more.
pub type Scores = HashMap<Id, Option<i64>, foldhash::fast::RandomState>;

/// A snapshot, and the hot members as of then.
pub struct Hot {
    pub snapshot: Snapshot,
    pub scores: Scores,
    /// There is no more that is hot.
    pub is_whole: bool,
    /// There is more than was asked for, and not all of it is here.
    pub is_too_hot: bool,
}

/// A board that more was hot on than this.
struct TooHot {
    prefix: Id,
    most: usize,
    at: Instant,
}

session_local! {
    static TOO_HOT_BOARD: RefCell<Option<TooHot>> = const { RefCell::new(None) };
}

/// As `gather`; of a board that was too hot a moment ago, what this transaction has done itself only.
pub fn gather_unless_too_hot(tables: Tables, prefix: &[u8], most: usize) -> Result<Hot, CounterError> {
    let is_too_hot =
        |board: &TooHot| *board.prefix == *prefix && board.most >= most && board.at.elapsed() < TOO_HOT;
    if TOO_HOT_BOARD.with_borrow(|board| board.as_ref().is_some_and(is_too_hot)) {
        return gather(tables, prefix, 0);
    }
    let hot = gather(tables, prefix, most)?;
    if hot.is_too_hot && most > 0 {
        let prefix = fallible::boxed(prefix, WHAT)?;
        TOO_HOT_BOARD.set(Some(TooHot { prefix, most, at: Instant::now() }));
    }
    Ok(hot)
}

/// Gathers what is hot on a board: what this transaction has done itself, and about as much of others' at most. Its tables are locked.
pub fn gather(tables: Tables, prefix: &[u8], most: usize) -> Result<Hot, CounterError> {
    access::lock_for_reading(tables);
    let (slots, totals) = (Keyed::slot(tables, Access::Read)?, Keyed::total(tables, Access::Read)?);
    // BOUND: a prefix.
    let board = Board { prefix: prefix.to_vec(), is_declared: true, state: None };
    let (mut snapshot, found, is_between) =
        between_folds(|snapshot| find(tables, &slots, &board, most, snapshot))?;
    let Found { rests, is_whole, is_too_hot } = found;
    let is_whole = is_whole && is_between;
    let mut scores = Scores::default();
    fallible::reserve(&mut scores, rests.len(), WHAT)?;
    for (id, rest) in &rests {
        let Some(member) = board.member(id) else { continue };
        let score = xact::in_scratch_memory(|| score(&totals, id, *rest, &mut snapshot));
        // BOUND: room was made above.
        scores.insert(fallible::boxed(member, WHAT)?, score);
    }
    read::keep_memory_from_undercutting(tables, &snapshot, rests.keys().map(|id| &**id));
    Ok(Hot { snapshot, scores, is_whole, is_too_hot })
}

/// Looks under a fresh snapshot, and again while a fold has ended meanwhile, which takes out of memory what the snapshot does not see in rows.
/// Returns the snapshot, what was found, and whether no fold came in between at last.
pub fn between_folds<T>(
    mut look: impl FnMut(&mut Snapshot) -> Result<T, CounterError>,
) -> Result<(Snapshot, T, bool), CounterError> {
    let database = u32::from(catalog::my_database());
    let mut met = 0;
    loop {
        let folds = epochs::folds_ended(database);
        let mut snapshot = Snapshot::fresh();
        let found = xact::in_scratch_memory(|| look(&mut snapshot))?;
        let is_between = folds == epochs::folds_ended(database);
        met += 1;
        if is_between || met == MOST_FOLDS_MET {
            return Ok((snapshot, found, is_between));
        }
    }
}

fn score(totals: &Keyed, id: &[u8], rest: Rest, snapshot: &mut Snapshot) -> Option<i64> {
    let mut sum = RowSum::default();
    for_each_visible(totals, Range::Id(id), snapshot, |columns| {
        sum.add_total(columns);
        ControlFlow::Continue(())
    });
    (rest.exists || sum.exists()).then(|| ranking::score(sum.value + rest.delta))
}

/// What was found that is hot.
struct Found {
    rests: Rests,
    is_whole: bool,
    is_too_hot: bool,
}

fn find(
    tables: Tables,
    slots: &Keyed,
    board: &Board,
    most: usize,
    snapshot: &mut Snapshot,
) -> Result<Found, CounterError> {
    let mut rests = Rests::default();
    // This transaction's own come first: they show whatever else is hot.
    for (id, delta) in transaction::own_after_prefix(tables, &board.prefix)? {
        add(&mut rests, board, &id, Rest { delta: i128::from(delta), exists: true })?;
    }
    if most == 0 {
        return Ok(Found { rests, is_whole: false, is_too_hot: true });
    }
    let most = most.saturating_add(rests.len());
    let changed = CHANGED.lock(Access::Read)?;
    changed_rows::each(changed, &board.prefix, snapshot, |id| {
        add(&mut rests, board, id, Rest::default()).or_raise();
        if rests.len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let knows_journal = match (xact::in_recovery(), is_attached()) {
        (true, _) => false,
        (false, true) => read::is_recovered(tables),
        (false, false) => add_journal(&mut rests, board, most, snapshot)?,
    };
    if knows_journal {
        let database = u32::from(catalog::my_database());
        let relation = u32::from(tables.total);
        buffer::each_unfolded(database, relation, snapshot, |id, delta| {
            if rests.len() > most && !rests.contains_key(id) {
                return Ok(());
            }
            add(&mut rests, board, id, Rest { delta: i128::from(delta), exists: true })
        })?;
    }
    let mut left = most;
    // Ids of families sort before all others.
    let from = board.prefix.as_slice().max(&reserved::LAST);
    for_each_visible(slots, Range::From(from), snapshot, |columns| {
        let id = columns.text(slot_columns::ID);
        if !id.starts_with(&board.prefix) || left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        let delta = i128::from(columns.bigint(slot_columns::DELTA));
        add(&mut rests, board, id, Rest { delta, exists: true }).or_raise();
        ControlFlow::Continue(())
    });
    let is_too_hot = left == 0 || rests.len() > most;
    Ok(Found { rests, is_whole: knows_journal && !is_too_hot, is_too_hot })
}

/// Without preload what is buffered is in the journal: deltas of when the server was preloaded. Returns whether it is all there: no fold came
/// in between.
fn add_journal(
    rests: &mut Rests,
    board: &Board,
    most: usize,
    snapshot: &mut Snapshot,
) -> Result<bool, CounterError> {
    let journal = position::lock(Access::Read)?;
    let folded = position::read(journal, snapshot)?;
    position::for_each_delta(journal, folded, snapshot, |id, delta| {
        let has_room = rests.len() <= most || rests.contains_key(id);
        let more = Rest { delta: i128::from(delta), exists: true };
        if has_room { add(rests, board, id, more) } else { Ok(()) }
    })?;
    Ok(position::read(journal, &mut Snapshot::fresh())? == folded)
}

fn add(rests: &mut Rests, board: &Board, id: &[u8], more: Rest) -> Result<(), OutOfMemory> {
    if board.member(id).is_none() || reserved::is_reserved(id) {
        return Ok(());
    }
    if !rests.contains_key(id) {
        fallible::reserve(rests, 1, WHAT)?;
        rests.insert(fallible::boxed(id, WHAT)?, Rest::default());
    }
    if let Some(rest) = rests.get_mut(id) {
        rest.delta += more.delta;
        rest.exists |= more.exists;
    }
    Ok(())
}
