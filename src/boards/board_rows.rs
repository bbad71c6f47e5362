//! Boards and how far each is built: rows of counter_ext.board and board_state, kept by each backend until PostgreSQL says that they
//! changed.
//!
//! Boards are declared while writers are kept out of counter_ext.total, and the change is announced as DDL is: a writer takes in such
//! messages as it takes its own lock on that table, so from then on it follows the board. The state of a board is written by who
//! holds the compaction lock, or keeps writers, the worker among them, out.
//!
//! BOUND: as many boards as there are rows, of a prefix each of at most 255 bytes.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::errors::BoardError;
use super::tree::Counted;
use super::windows::length;
use crate::counting::reserved::is_reserved;
use crate::errors::CounterError;
use crate::fallible;
use crate::family::followed;
use crate::pg::catalog::Watch;
use crate::pg::id_scan::Range;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::sum::for_each_visible;

const PREFIX: usize = 0;
const STATE: usize = 1;
const UPTO: usize = 2;

/// counter_ext.board
pub const BOARD: FamilyTable = FamilyTable {
    name: "board",
    relation: c"board",
    columns: &[TEXT, TIMESTAMPTZ],
    key: "prefix",
    hint: "GRANT it on counter_ext.board: to declare a board takes INSERT, to end it DELETE.",
};

/// counter_ext.board_state
pub const STATES: FamilyTable = FamilyTable {
    name: "board_state",
    relation: c"board_state",
    columns: &[TEXT, INT4, TEXT],
    key: "prefix",
    hint: "GRANT it on counter_ext.board_state.",
};

/// How far a board is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Members up to this id are there.
    Building(Vec<u8>),
    /// All members are there, and those up to this one are counted.
    Counting(i64, Vec<u8>),
    Ready,
    /// It was ended: its rows are being removed. Declared anew meanwhile, it is built after that.
    Going,
}

impl State {
    fn read(number: i32, upto: &[u8]) -> State {
        match number {
            0 => State::Building(upto.to_vec()),
            1 => State::Ready,
            // What nobody can have written is built anew.
            3 => read_place(upto).unwrap_or(State::Going),
            _ => State::Going,
        }
    }

    fn values(&self) -> (i32, Cow<'_, [u8]>) {
        match self {
            State::Building(upto) => (0, upto.into()),
            State::Ready => (1, b"".into()),
            State::Going => (2, b"".into()),
            // BOUND: an id and a number.
            State::Counting(score, member) => {
                (3, [score.to_string().as_bytes(), b"/", member].concat().into())
            }
        }
    }
}

/// A state that says up to where members are counted: the score, and the member behind it.
fn read_place(upto: &[u8]) -> Option<State> {
    let at = upto.iter().position(|byte| *byte == b'/')?;
    let score = str::from_utf8(&upto[..at]).ok()?.parse().ok()?;
    Some(State::Counting(score, upto[at + 1..].to_vec()))
}

/// A board, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    pub prefix: Vec<u8>,
    pub is_declared: bool,
    /// `None` before anything is built.
    pub state: Option<State>,
}

impl Board {
    /// The member that an id stands for, if it is one of this board.
    pub fn member<'i>(&self, id: &'i [u8]) -> Option<&'i [u8]> {
        id.strip_prefix(&self.prefix[..]).filter(|member| !member.is_empty() && !is_reserved(id))
    }

    /// Whether its members are kept up to date.
    pub fn is_kept(&self) -> bool {
        self.is_declared && self.state != Some(State::Going)
    }

    /// Which of its members are counted, and so are their changes.
    pub fn counted(&self) -> Counted<'_> {
        match &self.state {
            None | Some(State::Building(_) | State::Going) => Counted::None,
            Some(State::Counting(score, member)) => Counted::Upto(*score, member),
            Some(State::Ready) => Counted::All,
        }
    }
}

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    static BOARDS: RefCell<Rc<[Board]>> = RefCell::new(Rc::new([]));
}

/// What is known of boards, as a number that is another one when any of it changes; `None` where nobody has looked since.
pub fn known_version() -> Option<u64> {
    let version = WATCH.with(|watch| watch.version());
    (KNOWN_VERSION.get() == version).then_some(version)
}

/// All boards, in the order of their prefixes. The caller has locked counter_ext.total.
pub fn all() -> Result<Rc<[Board]>, CounterError> {
    if KNOWN_VERSION.get() != WATCH.with(|watch| watch.version()) {
        load()?;
    }
    Ok(BOARDS.with_borrow(Rc::clone))
}

/// The board of a prefix. Errors: 42704 there is none; 55000 it is not built yet.
pub fn ready(prefix: &[u8]) -> Result<(), CounterError> {
    let boards = all()?;
    let board = boards.iter().find(|board| board.prefix == prefix && board.is_declared);
    // BOUND: a prefix that the caller has.
    let prefix = || fallible::copy(prefix, WHAT);
    match board {
        None => Err(BoardError::NoBoard { prefix: prefix()? }.into()),
        Some(board) if board.state == Some(State::Ready) => Ok(()),
        Some(_) => Err(BoardError::BeingBuilt { prefix: prefix()? }.into()),
    }
}

const WHAT: &str = "boards";

fn load() -> Result<(), CounterError> {
    // The version is read before the look-up: a change in between makes the next call look again.
    let version = WATCH.with(|watch| watch.version());
    let mut boards: Vec<Board> = Vec::new();
    if let (Some(board), Some(states)) = (BOARD.find(), STATES.find()) {
        WATCH.with(|watch| watch.set(&[board, states]));
        BOARD.lock_in_time(Access::Read)?;
        STATES.lock_in_time(Access::Read)?;
        xact::in_scratch_memory(|| {
            let mut snapshot = Snapshot::fresh();
            each_row(&BOARD.open(board, Access::Read)?, &mut snapshot, |prefix, _, _| {
                // Windows are named so, and their states are theirs.
                if !length::is_name(prefix) {
                    boards.push(Board { prefix: prefix.to_vec(), is_declared: true, state: None });
                }
            });
            each_row(&STATES.open(states, Access::Read)?, &mut snapshot, |prefix, state, upto| {
                if length::is_name(prefix) {
                    return;
                }
                let state = Some(State::read(state, upto));
                match boards.iter_mut().find(|board| board.prefix == prefix) {
                    Some(board) => board.state = state,
                    None => boards.push(Board { prefix: prefix.to_vec(), is_declared: false, state }),
                }
            });
            Ok::<(), CounterError>(())
        })?;
    } else {
        WATCH.with(|watch| watch.set(&[]));
    }
    boards.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    BOARDS.set(boards.into());
    KNOWN_VERSION.set(version);
    Ok(())
}

/// Shows how far boards by windows are built, by what their names begin with. The table is locked.
pub fn each_state_of_windows(
    states: Oid,
    snapshot: &mut Snapshot,
    mut see: impl FnMut(&[u8], State),
) -> Result<(), CounterError> {
    each_row(&STATES.open(states, Access::Read)?, snapshot, |head, state, upto| {
        if length::is_name(head) {
            see(head, State::read(state, upto));
        }
    });
    Ok(())
}

fn each_row(keyed: &Keyed, snapshot: &mut Snapshot, mut see: impl FnMut(&[u8], i32, &[u8])) {
    // The empty prefix is a board too.
    for range in [Range::Id(b""), Range::After(b"")] {
        for_each_visible(keyed, range, snapshot, |columns| {
            let is_state = !columns.is_null(UPTO);
            let (state, upto) =
                if is_state { (columns.int(STATE), columns.text(UPTO)) } else { (0, &b""[..]) };
            see(columns.text(PREFIX), state, upto);
            ControlFlow::Continue(())
        });
    }
}

/// Adds a board. Returns whether it was not there. The caller keeps writers out.
pub fn add(table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let board = BOARD.open(table, Access::Write)?;
    match latest::find(&board, Range::Id(prefix), |_| true, |_| ()) {
        Latest::Free(..) | Latest::Mine => Ok(false),
        Latest::InDoubt(_) | Latest::Locked(_) => Err(held(prefix)),
        Latest::Absent => {
            write::insert(&board.table, &[Value::Text(prefix), Value::Now]);
            followed::announce(table);
            Ok(true)
        }
    }
}

/// Takes a board away. Returns whether it was there.
pub fn remove(table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let board = BOARD.open(table, Access::Write)?;
    match latest::find(&board, Range::Id(prefix), |_| true, |_| ()) {
        Latest::Free(candidate, ()) => {
            candidate.delete().map_err(|_| held(prefix))?;
            followed::announce(table);
            Ok(true)
        }
        Latest::InDoubt(_) | Latest::Locked(_) => Err(held(prefix)),
        Latest::Mine | Latest::Absent => Ok(false),
    }
}

/// Writes how far a board is built; `None` where nothing is left of it.
pub fn set_state(table: Oid, prefix: &[u8], state: Option<&State>) -> Result<(), CounterError> {
    let states = STATES.open(table, Access::Write)?;
    let found = latest::find(&states, Range::Id(prefix), |_| true, |_| ());
    match (found, state) {
        (Latest::Free(candidate, ()), Some(state)) => {
            let (number, upto) = state.values();
            let changes = [(STATE, Value::Int(number)), (UPTO, Value::Text(&upto))];
            candidate.update(&changes).map_err(|_| held(prefix))?;
        }
        (Latest::Free(candidate, ()), None) => candidate.delete().map_err(|_| held(prefix))?,
        (Latest::Absent, Some(state)) => {
            let (number, upto) = state.values();
            write::insert(&states.table, &[Value::Text(prefix), Value::Int(number), Value::Text(&upto)]);
        }
        (Latest::Absent, None) => {}
        (Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine, _) => return Err(held(prefix)),
    }
    followed::announce(table);
    Ok(())
}

fn held(prefix: &[u8]) -> CounterError {
    BoardError::Held { prefix: prefix.to_vec() }.into()
}
