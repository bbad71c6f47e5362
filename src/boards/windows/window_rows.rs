//! Boards by windows, and how far each is built: rows of counter_ext.board_window and board_state, kept by each backend until PostgreSQL
//! says that they changed. When they change says `boards::board_rows`: the same as of other boards.
//!
//! BOUND: as many boards as there are rows, of a prefix and a zone of at most 255 bytes each.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::length::{self, Length};
use crate::boards::board_rows::{self, STATES, State};
use crate::boards::errors::BoardError;
use crate::counting::reserved::is_reserved;
use crate::errors::CounterError;
use crate::family::followed;
use crate::pg::catalog::Watch;
use crate::pg::id_scan::Range;
use crate::pg::page::Columns;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact, zone};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::latest::{self, Latest};
use crate::rows::sum::for_each_visible;

/// counter_ext.board_window
pub const WINDOWS: FamilyTable = FamilyTable {
    name: "board_window",
    relation: c"board_window",
    columns: &[TEXT, TEXT, TIMESTAMPTZ, INT8, TEXT],
    key: "prefix, length",
    hint: "GRANT it on counter_ext.board_window: to declare a board by windows takes INSERT, to end it DELETE.",
};

const PREFIX: usize = 0;
const LENGTH: usize = 1;
const SINCE: usize = 2;
const KEEP: usize = 3;
const ZONE: usize = 4;

/// A board by windows, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub prefix: Vec<u8>,
    pub length: Length,
    pub since_us: i64,
    /// How long after its end a window is kept.
    pub keep_us: i64,
    pub zone: Vec<u8>,
    /// The zone in which its windows begin here: UTC on a server that lacks `zone`.
    pub reckoned_in: Vec<u8>,
    pub is_declared: bool,
    /// `None` where it was restored, and nothing is built.
    pub state: Option<State>,
}

impl Window {
    /// The member that an id stands for, if it is one of this board.
    pub fn member<'i>(&self, id: &'i [u8]) -> Option<&'i [u8]> {
        id.strip_prefix(&self.prefix[..]).filter(|member| !member.is_empty() && !is_reserved(id))
    }

    /// What the names of its windows begin with.
    pub fn head(&self) -> Vec<u8> {
        length::head(&self.prefix, self.length)
    }

    /// The name of the window that began then.
    pub fn name(&self, began_us: i64) -> Vec<u8> {
        length::name(&self.prefix, self.length, began_us)
    }

    /// When the window of an instant began.
    pub fn began(&self, at_us: i64) -> i64 {
        xact::in_scratch_memory(|| zone::begin_of(self.length.name(), at_us, &self.reckoned_in))
    }

    /// When the oldest window began that is still kept. Those before it ended longer ago than they are kept.
    pub fn oldest(&self, now_us: i64) -> i64 {
        self.began(now_us.saturating_sub(self.keep_us.max(0)).max(EARLIEST_US))
    }
}

/// 4000 BC or so: PostgreSQL has no instants from long before that.
const EARLIEST_US: i64 = -189_000_000_000_000_000;

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    static ALL: RefCell<Rc<[Window]>> = RefCell::new(Rc::new([]));
}

/// All boards by windows, in the order of their prefixes and lengths. The caller has locked counter_ext.total.
pub fn all() -> Result<Rc<[Window]>, CounterError> {
    if KNOWN_VERSION.get() != WATCH.with(|watch| watch.version()) {
        load()?;
    }
    Ok(ALL.with_borrow(Rc::clone))
}

/// The board of a prefix and a length. The caller has locked counter_ext.total.
pub fn find(prefix: &[u8], length: Length) -> Result<Option<Window>, CounterError> {
    let windows = all()?;
    Ok(windows.iter().find(|window| window.prefix == prefix && window.length == length).cloned())
}

fn load() -> Result<(), CounterError> {
    // The version is read before the look-up: a change in between makes the next call look again.
    let version = WATCH.with(|watch| watch.version());
    let mut windows: Vec<Window> = Vec::new();
    if let (Some(table), Some(states)) = (WINDOWS.find(), STATES.find()) {
        WATCH.with(|watch| watch.set(&[table, states]));
        WINDOWS.lock_in_time(Access::Read)?;
        STATES.lock_in_time(Access::Read)?;
        xact::in_scratch_memory(|| {
            let keyed = WINDOWS.open(table, Access::Read)?;
            let mut snapshot = Snapshot::fresh();
            // The empty prefix is a board too.
            for range in [Range::Id(b""), Range::After(b"")] {
                for_each_visible(&keyed, range, &mut snapshot, |columns| {
                    windows.extend(read(columns));
                    ControlFlow::Continue(())
                });
            }
            board_rows::each_state_of_windows(states, &mut snapshot, |head, state| {
                match windows.iter_mut().find(|window| window.head() == head) {
                    Some(window) => window.state = Some(state),
                    None => windows.extend(left_over(head, state)),
                }
            })
        })?;
    } else {
        WATCH.with(|watch| watch.set(&[]));
    }
    for window in windows.iter().filter(|window| window.zone != window.reckoned_in) {
        let (prefix, zone) = (window.prefix.clone(), window.zone.clone());
        CounterError::from(BoardError::UnknownZone { prefix, length: window.length.name(), zone }).warn();
    }
    windows.sort_by(|a, b| (&a.prefix, a.length).cmp(&(&b.prefix, b.length)));
    ALL.set(windows.into());
    KNOWN_VERSION.set(version);
    Ok(())
}

fn read(columns: &Columns<'_>) -> Option<Window> {
    Some(Window {
        prefix: columns.text(PREFIX).to_vec(),
        length: Length::named(columns.text(LENGTH))?,
        since_us: columns.bigint(SINCE),
        keep_us: columns.bigint(KEEP),
        reckoned_in: zone::known_or_utc(columns.text(ZONE)).to_vec(),
        zone: columns.text(ZONE).to_vec(),
        is_declared: true,
        state: None,
    })
}

/// A board that was ended and whose rows are still there.
fn left_over(head: &[u8], state: State) -> Option<Window> {
    let is_it = |length: &Length| length::head(head.get(4..).unwrap_or_default(), *length) == head;
    let length = length::LENGTHS.into_iter().find(is_it)?;
    Some(Window {
        prefix: head.get(4..)?.to_vec(),
        length,
        since_us: 0,
        keep_us: 0,
        zone: b"UTC".to_vec(),
        reckoned_in: b"UTC".to_vec(),
        is_declared: false,
        state: Some(state),
    })
}

/// Puts a board in the place of that of the same prefix and length. The caller keeps writers out.
pub fn write(table: Oid, window: &Window) -> Result<(), CounterError> {
    take(table, &window.prefix, window.length)?;
    let row = [
        Value::Text(&window.prefix),
        Value::Text(window.length.name().as_bytes()),
        Value::Bigint(window.since_us),
        Value::Bigint(window.keep_us),
        Value::Text(&window.zone),
    ];
    write::insert(&WINDOWS.open(table, Access::Write)?.table, &row);
    followed::announce(table);
    Ok(())
}

/// Takes a board away. Returns whether it was there. The caller keeps writers out.
pub fn remove(table: Oid, prefix: &[u8], length: Length) -> Result<bool, CounterError> {
    let was_there = take(table, prefix, length)?;
    if was_there {
        followed::announce(table);
    }
    Ok(was_there)
}

fn take(table: Oid, prefix: &[u8], length: Length) -> Result<bool, CounterError> {
    let keyed = WINDOWS.open(table, Access::Write)?;
    let held = || CounterError::from(BoardError::Held { prefix: prefix.to_vec() });
    match latest::find(&keyed, Range::Pair(prefix, length.name().as_bytes()), |_| true, |_| ()) {
        Latest::Free(candidate, ()) => {
            candidate.delete().map_err(|_| held())?;
            xact::see_own_changes();
            Ok(true)
        }
        Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Err(held()),
        Latest::Absent => Ok(false),
    }
}
