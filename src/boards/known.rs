//! What this backend remembers of boards that it has read: their tops, and parts of their order by score, as long as nothing on them changes.
//!
//! What is remembered was read whole and exact, under a snapshot that was taken after nothing was under way (`memory/generations`). While the
//! generation of the board stays, whoever reads anew would read the same: so it may be shown, without a lock or a look at rows. A change of
//! any member, a fold, and what changes the board itself make another generation before any of it can be seen.
//!
//! BOUND: `MOST_BOARDS` boards, of each a top of `MOST_OF_TOP` members, `MOST_PARTS` parts of as many scores as one is counted by and as many
//! nodes of counts, and the members that are hot, which a rank
//! counts up to a hundred of; of tops, the hot members that were shown, a thousand each.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::board_rows;
use super::ranges::{Counts, Node};
use super::ranked::{Moved, Ranked};
use super::ranking;
use crate::counting::{read, transaction};
use crate::errors::CounterError;
use crate::fallible::{self, OutOfMemory};
use crate::family::followed::{self, Followed};
use crate::memory::{generations, is_attached};
use crate::pg::session::session_local;
use crate::pg::snapshot::Taken;
use crate::pg::{lock, xact};
use crate::rows::access::Tables;
use crate::rows::list::Id;

const WHAT: &str = "boards that were read";

const MOST_BOARDS: usize = 4;
const MOST_OF_TOP: usize = 256;
const MOST_PARTS: usize = 2048;
/// Scores of a part that is remembered; there are more where an earlier release has left larger ones.
pub const MOST_OF_PART: usize = 128;

/// What has to stay as it was for something that was read to be shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    followed: Followed,
    generation: u64,
    boards_version: u64,
    /// How many transactions had ended, where some may be prepared: COMMIT PREPARED tells nobody.
    ended: Option<u64>,
}

impl Stamp {
    /// For what is read under a snapshot that is taken from now on. `None` where it must not be remembered: something is under way, the
    /// running transaction has changed something itself, or there is no shared memory to tell of changes. The caller has entered for
    /// reading the board.
    pub fn take(prefix: &[u8]) -> Option<Stamp> {
        if !may_remember() {
            return None;
        }
        let followed = followed::find_generation_under(prefix)?;
        let generation = generations::at_rest(followed.number)?;
        Some(Stamp { followed, generation, boards_version: board_rows::known_version()?, ended: ended() })
    }

    /// Whether what was read then would be read now.
    pub fn holds(&self, prefix: &[u8]) -> bool {
        may_remember()
            && followed::generation_under(prefix) == Some(self.followed)
            && board_rows::known_version() == Some(self.boards_version)
            && self.ended == ended()
            && self.is_still()
    }

    fn is_still(&self) -> bool {
        generations::is_still(self.followed.number, self.generation)
    }
}

fn may_remember() -> bool {
    is_attached() && !transaction::has_changed_any() && !generations::is_any_noted() && !xact::in_recovery()
}

fn ended() -> Option<u64> {
    (lock::max_prepared_transactions() > 0).then(|| Taken::now().ended())
}

/// A part of a board's order.
struct Part {
    highest: i64,
    /// Members in rows with scores above all of it.
    above: i64,
    /// Those of the members in it, the highest first.
    scores: Vec<i64>,
}

struct Known {
    prefix: Vec<u8>,
    stamp: Stamp,
    top: Vec<Ranked>,
    /// There are no more.
    is_all: bool,
    /// Members whose scores in rows are not what they are; `None` where nobody has asked for a rank yet.
    moved: Option<Vec<Moved>>,
    /// By their lowest scores.
    parts: BTreeMap<i64, Part>,
    /// `None` for nodes that are not there.
    nodes: BTreeMap<Node, Option<Counts>>,
}

/// The top of a board as it was read last.
struct Read {
    prefix: Vec<u8>,
    most: usize,
    /// How far down it went.
    last: i64,
    /// Members that it showed with scores that were not in rows.
    hot: Vec<Id>,
}

session_local! {
    /// The one that was read last comes first.
    static LAST_READ: RefCell<Vec<Read>> = const { RefCell::new(Vec::new()) };
    /// The one that was read last comes first.
    static KNOWN: RefCell<Vec<Known>> = const { RefCell::new(Vec::new()) };
}

/// What is remembered of a board and still so.
fn look<T>(prefix: &[u8], look: impl FnOnce(&Known) -> Option<T>) -> Option<T> {
    KNOWN.with_borrow_mut(|boards| {
        let at = boards.iter().position(|known| known.prefix == prefix)?;
        if !boards[at].stamp.holds(prefix) {
            return None;
        }
        boards[..=at].rotate_right(1);
        look(&boards[0])
    })
}

/// Remembers more of a board, as of a stamp.
fn remember(prefix: &[u8], stamp: Stamp, remember: impl FnOnce(&mut Known)) {
    KNOWN.with_borrow_mut(|boards| {
        match boards.iter().position(|known| known.prefix == prefix) {
            Some(at) => boards[..=at].rotate_right(1),
            None => {
                boards.truncate(MOST_BOARDS - 1);
                boards.insert(0, Known::new(prefix, stamp));
            }
        }
        if boards[0].stamp != stamp {
            boards[0] = Known::new(prefix, stamp);
        }
        remember(&mut boards[0]);
    });
}

impl Known {
    fn new(prefix: &[u8], stamp: Stamp) -> Known {
        let prefix = prefix.to_vec();
        Known {
            prefix,
            stamp,
            top: Vec::new(),
            is_all: false,
            moved: None,
            parts: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }
}

/// About how far down the first members of a board go: as far as when they were read last. It need not be so.
pub fn about(prefix: &[u8], most: usize) -> Option<i64> {
    LAST_READ.with_borrow(|read| {
        read.iter().find(|read| read.prefix == prefix && read.most >= most).map(|read| read.last)
    })
}

/// So many first members of a board were read. What is shown next is not to fall behind those that were hot.
pub fn note_read(
    prefix: &[u8],
    most: usize,
    top: &[Ranked],
    is_hot: impl Fn(&[u8]) -> bool,
) -> Result<(), OutOfMemory> {
    let hot = top.iter().filter(|shown| is_hot(&shown.member));
    let hot = fallible::try_collect(hot.map(|shown| fallible::boxed(&shown.member, WHAT)), WHAT)?;
    LAST_READ.with_borrow_mut(|read| {
        read.retain(|read| read.prefix != prefix);
        if let Some(last) = top.last() {
            read.truncate(MOST_BOARDS - 1);
            read.insert(0, Read { prefix: prefix.to_vec(), most, last: last.score, hot });
        }
    });
    Ok(())
}

/// Members that this session was shown as the first ones of a board, when it read them last, with scores that were not in rows.
pub fn shown_hot(prefix: &[u8]) -> Result<Vec<Id>, OutOfMemory> {
    LAST_READ.with_borrow(|read| {
        let hot = read.iter().find(|read| read.prefix == prefix).map_or(&[][..], |read| &read.hot);
        fallible::try_collect(hot.iter().map(|member| fallible::boxed(member, WHAT)), WHAT)
    })
}

/// The first members of a board, where they are known.
pub fn top(prefix: &[u8], most: usize) -> Option<Result<Vec<Ranked>, CounterError>> {
    look(prefix, |known| {
        let is_enough = known.is_all || known.top.len() >= most.max(1);
        is_enough.then(|| Ok(fallible::collect(known.top.iter().take(most).cloned(), WHAT)?))
    })
}

/// These are the first members of a board; all, where there were fewer than were asked for.
pub fn remember_top(prefix: &[u8], stamp: Stamp, top: &[Ranked], asked: usize) {
    if top.len() > MOST_OF_TOP {
        return;
    }
    remember(prefix, stamp, |known| {
        if top.len() >= known.top.len() {
            known.top = top.to_vec();
            known.is_all = top.len() < asked;
        }
    });
}

/// What is known of a member's rank.
pub enum Rank {
    Known(i64),
    /// Its score, and what would have to be looked up under a snapshot that is taken from now on.
    Apart {
        score: i64,
        stamp: Stamp,
        moved: Vec<Moved>,
    },
    Unknown,
}

/// The rank of a member, as far as it is known. Its score is read from memory, as `counter_get` does.
pub fn rank(tables: Tables, prefix: &[u8], id: &[u8]) -> Result<Rank, CounterError> {
    if look(prefix, |known| known.moved.is_some().then_some(())).is_none() {
        return Ok(Rank::Unknown);
    }
    let total = read::current_wide(tables, id)?;
    if total == 0 {
        // Perhaps there is no such counter.
        return Ok(Rank::Unknown);
    }
    let score = ranking::score(total);
    let rank = look(prefix, |known| {
        let moved = known.moved.as_ref()?;
        let part = known.parts.range(..=score).next_back().filter(|(_, part)| score <= part.highest);
        Some(match part {
            Some((_, part)) => {
                let in_part = part.scores.partition_point(|other| *other > score) as i64;
                let moved = moved.iter().map(|moved| moved.difference_above(score)).sum::<i64>();
                Rank::Known(1 + part.above + in_part + moved)
            }
            None => Rank::Apart { score, stamp: known.stamp, moved: moved.clone() },
        })
    });
    Ok(rank.unwrap_or(Rank::Unknown))
}

/// A node's counts, from what is known of them as of a stamp, else read.
pub fn counts(
    prefix: &[u8],
    stamp: Option<Stamp>,
    node: Node,
    read: impl FnOnce() -> Result<Option<Counts>, CounterError>,
) -> Result<Option<Counts>, CounterError> {
    let Some(stamp) = stamp else { return read() };
    let found = KNOWN.with_borrow(|boards| {
        let known = boards.iter().find(|known| known.prefix == prefix && known.stamp == stamp)?;
        known.nodes.get(&node).cloned()
    });
    if let Some(counts) = found {
        return Ok(counts);
    }
    let counts = read()?;
    remember(prefix, stamp, |known| {
        if known.nodes.len() >= MOST_PARTS {
            known.nodes.clear();
        }
        known.nodes.insert(node, counts.clone());
    });
    Ok(counts)
}

/// Members of a board whose scores in rows are not what they are.
pub fn remember_moved(prefix: &[u8], stamp: Stamp, moved: &[Moved]) {
    remember(prefix, stamp, |known| {
        if known.moved.is_none() {
            known.moved = Some(moved.to_vec());
        }
    });
}

/// A part of its order: from its lowest to its highest score, with those in rows, the highest first, and how many are above.
pub fn remember_part(
    prefix: &[u8],
    stamp: Stamp,
    (lowest, highest): (i64, i64),
    above: i64,
    scores: Vec<i64>,
) {
    remember(prefix, stamp, |known| {
        if known.parts.len() >= MOST_PARTS {
            known.parts.clear();
        }
        known.parts.insert(lowest, Part { highest, above, scores });
    });
}
