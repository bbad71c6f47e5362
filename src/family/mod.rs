//! What a family is to the rest of the extension.
//!
//! A family (counting, visitors, likes, audit, …) fills in one `Family` in its own folder, and `lib.rs` lists them. The
//! transaction callbacks, the worker's passes and `counter_compact()`, counter_drop and the settings go through that list;
//! nothing else names a family. A family's errors implement `errors::Explain`, its tables are `rows::family_table::FamilyTable`s.
//!
//! BOUND: as many as there are families, once, when the library is loaded.

pub mod followed;
pub mod pass;
pub mod prefixes;

use std::sync::OnceLock;

use crate::errors::CounterError;
use crate::fallible;
use crate::pg::xact;
use crate::rows::access::Tables;
use crate::rows::list::Id;

/// Which kind of change a counter has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Increment,
    Reset,
    Set,
    Drop,
}

/// A change of a counter in the running transaction.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    pub id: &'a [u8],
    pub delta: i128,
    pub operation: Operation,
    /// Who the caller says has made it.
    pub actor: Option<&'a [u8]>,
}

/// Whether an id is meant.
pub type IdTest<'a> = dyn Fn(&[u8]) -> bool + 'a;

/// An id becomes another one.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    pub from: &'a [u8],
    pub to: &'a [u8],
    /// There may be something of the other id, which stays and is added to.
    pub merges: bool,
}

/// Which ids are asked for.
#[derive(Clone, Copy, Debug)]
pub struct IdsAfter<'a> {
    pub prefix: &'a [u8],
    pub after: &'a [u8],
    pub limit: usize,
}

/// Sees a change of a counter.
pub type ChangeObserver = fn(Change<'_>) -> Result<(), CounterError>;

/// Sees that total rows of an id change without a fold.
pub type TotalsObserver = fn(Tables, &[u8]) -> Result<(), CounterError>;

/// Says whether what happened to an id at a time is booked, now.
pub type TimeTest = fn(&[u8], i64, i64) -> Result<Option<bool>, CounterError>;

/// What a family fills in; `NONE` has nothing of it.
pub struct Family {
    /// Defines the family's settings. True while libraries are preloaded: some can only be set then.
    pub define_settings: fn(bool),
    /// The pending part of a transaction, and what becomes of it when that ends.
    pub transaction: Option<&'static xact::Hooks>,
    /// Sees each change of a counter before it is pending. Errors are the caller's.
    pub counter_changed: Option<ChangeObserver>,
    /// Drops what the family has of an id that counter_drop drops; returns whether there was anything.
    pub counter_dropped: fn(Tables, &[u8]) -> Result<bool, CounterError>,
    /// Ids are to be dropped later, when nobody asks any more. Errors: 42501 the caller may not drop what the family has of some.
    pub check_may_drop: fn() -> Result<(), CounterError>,
    /// Somebody asks for an id to be dropped, whether or not there is anything of it here.
    pub drop_asked_for: fn(Tables, &[u8]) -> Result<(), CounterError>,
    /// Rows of counter_ext.total of an id are changed, or taken away, by others than compaction, in the running transaction.
    pub totals_changed: Option<TotalsObserver>,
    /// Tries to lock what `counter_dropped`, `counter_changed` and `totals_changed` write, for who waits for nobody. Returns whether it could.
    pub try_lock_to_drop: fn(Tables) -> bool,
    /// A cache is about to keep the counters under a prefix. Errors: the family does not have it.
    pub cache_made: fn(Tables, &[u8]) -> Result<(), CounterError>,
    /// The next ids after one that begin with a prefix and that the family has something of which `counter_dropped` drops, in
    /// order, at most so many.
    pub ids_after: fn(Tables, IdsAfter<'_>) -> Result<Vec<Id>, CounterError>,
    /// Moves what the family has of an id to another one; returns whether there was anything. Errors: the family does not have it
    /// moved; 42710 there is something of the other id, where nothing is to be merged.
    pub counter_moved: fn(Tables, Move<'_>) -> Result<bool, CounterError>,
    /// The same, of what goes with totals: those are moved already, and had come to this. Compaction is kept out, if it could be. Returns whether
    /// there was anything.
    pub totals_moved: fn(Tables, Move<'_>, i128) -> Result<bool, CounterError>,
    /// Whether the family books what happened to a counter at a time, now: microseconds since 2000-01-01, both. `None` where it books nothing
    /// of the counter by time. The caller has locked counter_ext.total.
    pub books_at: TimeTest,
    /// Empties the family's tables, and forgets what of it is pending in this transaction. Nobody else counts meanwhile.
    pub forget_all: fn(Tables) -> Result<(), CounterError>,
    /// counter_ext.total has been emptied by hand: all counters are nothing.
    pub totals_emptied: fn(Tables) -> Result<(), CounterError>,
    /// That is committed: forgets what only memory knows. Runs in COMMIT callbacks: it cannot fail.
    pub all_forgotten: fn(u32),
    /// Forgets what memory holds of ids whose rows were changed by others: all of them, or those for which the test is
    /// true. Runs in COMMIT callbacks: it cannot fail.
    pub ids_invalidated: fn(u32, &IdTest<'_>),
    /// Sees what goes into the totals of counters under prefixes of its own.
    pub follower: Option<followed::Follower>,
    /// The family's part in a compaction pass.
    pub steps: &'static [pass::Step],
    /// The same, of what comes of folds: once all families have done their `steps`.
    pub later_steps: &'static [pass::Step],
}

impl Family {
    pub const NONE: Family = Family {
        define_settings: |_| (),
        transaction: None,
        counter_changed: None,
        counter_dropped: |_, _| Ok(false),
        check_may_drop: || Ok(()),
        drop_asked_for: |_, _| Ok(()),
        totals_changed: None,
        try_lock_to_drop: |_| true,
        cache_made: |_, _| Ok(()),
        ids_after: |_, _| Ok(Vec::new()),
        counter_moved: |_, _| Ok(false),
        totals_moved: |_, _, _| Ok(false),
        books_at: |_, _, _| Ok(None),
        forget_all: |_| Ok(()),
        totals_emptied: |_| Ok(()),
        all_forgotten: |_| (),
        ids_invalidated: |_, _| (),
        follower: None,
        steps: &[],
        later_steps: &[],
    };
}

/// The families, and those among them that want to be told of something: told on the way of each increment.
struct Registered {
    families: &'static [&'static Family],
    counter_changed: Vec<ChangeObserver>,
    transaction: Vec<&'static xact::Hooks>,
}

static REGISTERED: OnceLock<Registered> = OnceLock::new();

/// Registers the families; their transaction hooks are called in this order. Called once, when the library is loaded.
pub fn register(families: &'static [&'static Family]) {
    let registered = REGISTERED.get_or_init(|| Registered {
        families,
        counter_changed: families.iter().filter_map(|family| family.counter_changed).collect(),
        transaction: families.iter().filter_map(|family| family.transaction).collect(),
    });
    xact::register(&registered.transaction);
}

/// All families, in the order of `lib.rs`.
pub fn all() -> &'static [&'static Family] {
    REGISTERED.get().map_or(&[], |registered| registered.families)
}

/// Tells the families of a change.
pub fn counter_changed(change: Change<'_>) -> Result<(), CounterError> {
    let Some(registered) = REGISTERED.get() else { return Ok(()) };
    registered.counter_changed.iter().try_for_each(|see| see(change))
}

/// Has the families drop what they have of an id. Returns whether there was anything.
pub fn counter_dropped(tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    let mut had_any = false;
    for family in all() {
        had_any |= (family.counter_dropped)(tables, id)?;
    }
    Ok(had_any)
}

/// Checks that the caller may drop whatever the families have of ids.
pub fn check_may_drop() -> Result<(), CounterError> {
    all().iter().try_for_each(|family| (family.check_may_drop)())
}

/// Tells the families that somebody asks for an id to be dropped.
pub fn drop_asked_for(tables: Tables, id: &[u8]) -> Result<(), CounterError> {
    all().iter().try_for_each(|family| (family.drop_asked_for)(tables, id))
}

/// Tells the families that total rows of an id change without a fold.
pub fn totals_changed(tables: Tables, id: &[u8]) -> Result<(), CounterError> {
    all().iter().filter_map(|family| family.totals_changed).try_for_each(|see| see(tables, id))
}

/// Locks what `counter_dropped`, `counter_changed` and `totals_changed` write, without waiting. Returns whether it could.
pub fn try_lock_to_drop(tables: Tables) -> bool {
    all().iter().all(|family| (family.try_lock_to_drop)(tables))
}

/// Asks the families whether a cache may keep the counters under a prefix.
pub fn cache_made(tables: Tables, prefix: &[u8]) -> Result<(), CounterError> {
    all().iter().try_for_each(|family| (family.cache_made)(tables, prefix))
}

/// The next ids that any family has something of, at most so many of each, in no order.
pub fn ids_after(tables: Tables, which: IdsAfter<'_>) -> Result<Vec<Id>, CounterError> {
    let mut ids = Vec::new();
    for family in all() {
        let more = (family.ids_after)(tables, which)?;
        fallible::reserve(&mut ids, more.len(), "ids to drop")?;
        ids.extend(more);
    }
    Ok(ids)
}

/// Has the families move what they have of an id to another one. Returns whether there was anything.
pub fn counter_moved(tables: Tables, moved: Move<'_>) -> Result<bool, CounterError> {
    let mut had_any = false;
    for family in all() {
        had_any |= (family.counter_moved)(tables, moved)?;
    }
    Ok(had_any)
}

/// Has the families move what goes with totals, which are moved already. Returns whether there was anything.
pub fn totals_moved(tables: Tables, moved: Move<'_>, came_to: i128) -> Result<bool, CounterError> {
    let mut had_any = false;
    for family in all() {
        had_any |= (family.totals_moved)(tables, moved, came_to)?;
    }
    Ok(had_any)
}

/// Whether any family books what happened to a counter at a time; `None` where none books anything of it by time.
pub fn books_at(id: &[u8], at_us: i64, now_us: i64) -> Result<Option<bool>, CounterError> {
    let mut books = None;
    for family in all() {
        if let Some(own) = (family.books_at)(id, at_us, now_us)? {
            books = Some(own || books == Some(true));
        }
    }
    Ok(books)
}

/// Has the families empty their tables. Counting, the last of the list, comes first: it keeps everybody out.
pub fn forget_all(tables: Tables) -> Result<(), CounterError> {
    all().iter().rev().try_for_each(|family| (family.forget_all)(tables))
}

/// Tells the families that all counters are nothing.
pub fn totals_emptied(tables: Tables) -> Result<(), CounterError> {
    all().iter().try_for_each(|family| (family.totals_emptied)(tables))
}

/// Tells the families that everything is forgotten.
pub fn all_forgotten(database: u32) {
    for family in all() {
        (family.all_forgotten)(database);
    }
}

/// Has the families forget what memory holds of these ids.
pub fn ids_invalidated(database: u32, concerns: &IdTest<'_>) {
    for family in all() {
        (family.ids_invalidated)(database, concerns);
    }
}
