//! Counters that families follow: what of them goes into totals is told, in the transaction in which it goes there.
//!
//! A follower keeps a table of prefixes. An increment of an id under one of them goes to slot rows, never to the total at once, so
//! all of it comes by a fold, from slot rows or from what is buffered; the follower is told in the transaction that folds, and what it
//! writes there is exactly once, crash or not. What takes a total away without a fold (`counter_drop`, TRUNCATE of counted rows) is booked by
//! its own transaction.
//!
//! Contract: rows of those tables change only under a lock on counter_ext.total that keeps writers out (`counting::following`), or by
//! a restore; other backends are told, as of DDL, at that commit. A writer takes in such messages as it takes its own lock on
//! counter_ext.total. So what it finds here holds to the end of its transaction, and an increment is either part of the totals
//! that the one who began to follow saw, or is told.
//!
//! BOUND: as many followers as there are families that follow; a prefix of at most 255 bytes.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use super::prefixes::Prefixes;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::memory::generations;
use crate::pg::catalog::{self, Watch};
use crate::pg::id_scan::Range;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{Oid, lock, xact};
use crate::rows::access::{self, Tables};
use crate::rows::family_table::FamilyTable;
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "followed prefixes";
const AMOUNTS: &str = "amounts of followed counters";

/// Amounts that followers are told of at once, a megabyte or two. What boards count by ranges of scores is written once for all of them.
const BATCH: usize = 16_384;

/// A family that is told what goes into totals.
pub struct Follower {
    /// Whose first column, its primary key, is a prefix of ids.
    pub table: FamilyTable,
    /// It looks at totals itself. So it is told of each counter that is folded, also where nothing has gone into its total, and not of what is
    /// booked without a fold, which `Family::totals_changed` tells it of.
    pub looks_at_totals: bool,
    /// Amounts have gone into totals of counters under its prefixes, in the running transaction, which holds the compaction lock or has the
    /// ids for itself: the flag says that it is a fold, with the lock. Waits for nobody. A counter may come several times.
    pub folded: fn(Tables, &[&Amount], bool) -> Result<(), CounterError>,
}

/// What has gone into a counter's total; 0 only for those who look at totals themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    pub id: Id,
    pub delta: i128,
    /// When it was counted, in microseconds since 2000-01-01.
    pub at_us: i64,
}

/// What is followed: by anybody, and by each.
#[derive(Default)]
struct Lists {
    any: Prefixes,
    /// The generation of each of them.
    generations: Vec<u16>,
    of_each: Vec<Prefixes>,
}

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    static ANY: Cell<bool> = const { Cell::new(false) };
    static LISTS: RefCell<Lists> = RefCell::new(Lists::default());
}

fn followers() -> impl Iterator<Item = &'static Follower> {
    super::all().iter().filter_map(|family| family.follower.as_ref())
}

/// Whether an increment of the id goes to slot rows, since somebody follows it; or since that cannot be known without waiting. The caller
/// has locked counter_ext.total for writing.
#[inline]
pub fn goes_to_slots(id: &[u8]) -> bool {
    if KNOWN_VERSION.get() == WATCH.with(|watch| watch.version()) {
        return ANY.get() && covers(id);
    }
    match load(|table| lock::try_lock_table(table, Access::Read)) {
        Ok(()) => covers(id),
        Err(_) => true,
    }
}

fn covers(id: &[u8]) -> bool {
    LISTS.with_borrow(|lists| lists.any.cover(id))
}

/// Knows what is followed, to the end of the transaction. Errors: 55P03 a table of prefixes is locked by somebody, and stays so.
fn know() -> Result<(), CounterError> {
    if KNOWN_VERSION.get() == WATCH.with(|watch| watch.version()) {
        return Ok(());
    }
    load(|table| access::try_lock_in_time(table, Access::Read))
}

#[cold]
fn load(lock: impl Fn(Oid) -> bool) -> Result<(), CounterError> {
    // The version is read before the look-up: a change in between makes the next call look again.
    let version = WATCH.with(|watch| watch.version());
    let mut watched = Vec::new();
    let mut any = Vec::new();
    let mut of_each = Vec::new();
    for follower in followers() {
        let mut own = Vec::new();
        if let Some(table) = follower.table.find() {
            watched.push(table);
            if !lock(table) {
                return Err(CounterError::TableLocked { table: follower.table.name });
            }
            if follower.table.find() != Some(table) {
                return Err(CounterError::NotInstalled);
            }
            read(&follower.table, table, &mut own)?;
        }
        for prefix in &own {
            fallible::push(&mut any, fallible::copy(prefix, WHAT)?, WHAT)?;
        }
        of_each.push(Prefixes::new(own));
    }
    WATCH.with(|watch| watch.set(&watched));
    let any = Prefixes::new(any);
    ANY.set(!any.is_empty());
    let database = u32::from(catalog::my_database());
    let numbers = any.each().map(|prefix| generations::number_of(database, prefix));
    let generations = fallible::collect(numbers, WHAT)?;
    LISTS.set(Lists { any, generations, of_each });
    KNOWN_VERSION.set(version);
    Ok(())
}

/// This transaction changes what a counter's rows and memory come to, or how: who remembers something of the followed counters that it
/// is among reads anew, from when that can be seen. The caller has locked counter_ext.total. Waits for nobody.
pub fn note_change(id: &[u8]) {
    if KNOWN_VERSION.get() == WATCH.with(|watch| watch.version()) {
        if ANY.get() {
            note_known(id);
        }
    } else if load(|table| lock::try_lock_table(table, Access::Read)).is_ok() {
        note_known(id);
    } else {
        generations::note_all();
    }
}

fn note_known(id: &[u8]) {
    LISTS.with_borrow(|lists| {
        if let Some(number) = lists.any.place_of(id).and_then(|place| lists.generations.get(place)) {
            generations::note(*number);
        }
    });
}

/// The generation of what changes under a prefix that is followed, as of now; `None` where that is not known without a look.
pub fn generation_under(prefix: &[u8]) -> Option<Followed> {
    // A transaction may be open for long, and take no lock by which it would hear of changes.
    catalog::hear_changes();
    let version = WATCH.with(|watch| watch.version());
    if KNOWN_VERSION.get() != version {
        return None;
    }
    known_generation_under(prefix, version)
}

/// As `generation_under`, after a look. The caller has locked counter_ext.total. `None` where it is not followed, or cannot be known without waiting.
pub fn find_generation_under(prefix: &[u8]) -> Option<Followed> {
    if let Some(followed) = generation_under(prefix) {
        return Some(followed);
    }
    load(|table| lock::try_lock_table(table, Access::Read)).ok()?;
    known_generation_under(prefix, KNOWN_VERSION.get())
}

fn known_generation_under(prefix: &[u8], version: u64) -> Option<Followed> {
    let number = LISTS.with_borrow(|lists| {
        let place = lists.any.place_of_beginning(prefix)?;
        lists.generations.get(place).copied()
    })?;
    Some(Followed { number, version })
}

/// What is known of a followed prefix; another one where it is followed otherwise by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    pub number: u16,
    version: u64,
}

fn read(follows: &FamilyTable, table: Oid, prefixes: &mut Vec<Vec<u8>>) -> Result<(), CounterError> {
    xact::in_scratch_memory(|| {
        let keyed = follows.open(table, Access::Read)?;
        let mut snapshot = Snapshot::fresh();
        for range in [Range::Id(b""), Range::After(b"")] {
            for_each_visible(&keyed, range, &mut snapshot, |columns| {
                let prefix = fallible::copy(columns.text(0), WHAT).or_raise();
                fallible::push(prefixes, prefix, WHAT).or_raise();
                ControlFlow::Continue(())
            });
        }
        Ok(())
    })
}

/// Rows of a table that backends remember change: they are to look again, this one now, others when that commits.
pub fn announce(table: Oid) {
    catalog::announce_change(table);
    xact::see_own_changes();
}

/// What goes into totals in this transaction, until the followers are told.
pub struct Booking {
    tables: Tables,
    is_fold: bool,
    amounts: Vec<Amount>,
}

impl Booking {
    /// The caller has locked counter_ext.total for writing. Errors: 55P03.
    pub fn begin(tables: Tables) -> Result<Booking, CounterError> {
        Booking::of(tables, true)
    }

    fn of(tables: Tables, is_fold: bool) -> Result<Booking, CounterError> {
        know()?;
        Ok(Booking { tables, is_fold, amounts: Vec::new() })
    }

    /// Whether somebody follows the counter.
    pub fn concerns(&self, id: &[u8]) -> bool {
        ANY.get() && covers(id)
    }

    /// An amount has gone into the counter's total; or nothing, by a fold.
    pub fn add(&mut self, id: &[u8], delta: i128, at_us: i64) -> Result<(), CounterError> {
        if (delta == 0 && !self.is_fold) || !self.concerns(id) {
            return Ok(());
        }
        let amount = Amount { id: fallible::boxed(id, AMOUNTS)?, delta, at_us };
        fallible::push(&mut self.amounts, amount, AMOUNTS)?;
        if self.amounts.len() >= BATCH { self.tell() } else { Ok(()) }
    }

    /// Tells the followers of the rest.
    pub fn finish(mut self) -> Result<(), CounterError> {
        self.tell()
    }

    fn tell(&mut self) -> Result<(), CounterError> {
        if self.amounts.is_empty() {
            return Ok(());
        }
        for (number, follower) in followers().enumerate() {
            if follower.looks_at_totals && !self.is_fold {
                continue;
            }
            let concerned = LISTS.with_borrow(|lists| {
                let list = lists.of_each.get(number);
                let own = |amount: &&Amount| {
                    (amount.delta != 0 || follower.looks_at_totals)
                        && list.is_some_and(|list| list.cover(&amount.id))
                };
                fallible::collect(self.amounts.iter().filter(own), AMOUNTS)
            })?;
            if !concerned.is_empty() {
                (follower.folded)(self.tables, &concerned, self.is_fold)?;
            }
        }
        self.amounts.clear();
        Ok(())
    }
}

/// Books one amount that has gone into a counter's total without a fold.
pub fn book(tables: Tables, id: &[u8], delta: i128, at_us: i64) -> Result<(), CounterError> {
    let mut booking = Booking::of(tables, false)?;
    booking.add(id, delta, at_us)?;
    booking.finish()
}
