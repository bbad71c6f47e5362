//! Reading totals: from memory where it has them, else loading them, else from rows.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use crate::errors::CounterError;
use crate::fallible;
use crate::journal::position;
use crate::memory::epochs;
use crate::memory::table::{self, Found, Key};
use crate::memory::{admission, buffer, load};
use crate::owners;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{catalog, process, xact};
use crate::rows::access::{self, Purpose, Tables};
use crate::rows::bigint_parts;
use crate::rows::fold::Part;
use crate::rows::list::{self, Id};
use crate::rows::sum::{Reader, RowSum};
use crate::settings;

use super::cold::{self, OpenedOnce};
use super::{prepared, reserved, transaction};

/// Checks that the caller may read counters, and that they are read here.
pub fn enter() -> Result<Tables, CounterError> {
    owners::check_serves()?;
    access::enter(Purpose::Read, xact::nest_level(), false)
}

/// The fresh total: everything committed by now, and the caller's own uncommitted increments.
pub fn current(tables: Tables, id: &[u8]) -> Result<i64, CounterError> {
    i64::try_from(current_wide(tables, id)?).map_err(|_| CounterError::TotalOutOfRange { id: id.to_vec() })
}

/// The fresh total, also where it is outside bigint.
pub fn current_wide(tables: Tables, id: &[u8]) -> Result<i128, CounterError> {
    let rows = OpenedOnce::new(tables);
    let committed = match from_memory(&rows, id, Admission::WhenAskedAgain)? {
        InMemory::Value(value) => i128::from(value),
        InMemory::Nothing => match cold::total(&rows, id)? {
            Some(total) => total,
            None => from_rows(tables, id)?,
        },
        InMemory::Unusable => from_rows(tables, id)?,
    };
    Ok(committed + i128::from(transaction::own(tables, id)))
}

/// The fresh totals of many counters, in their order, also outside bigint. Those that memory has not are read in the order of their
/// ids under one snapshot. Of an id that comes again no total is below one before it.
pub fn current_of_each<'a>(
    tables: Tables,
    ids: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Result<Vec<i128>, CounterError> {
    const WHAT: &str = "totals";
    let rows = OpenedOnce::new(tables);
    let mut totals = fallible::with_room(ids.len(), WHAT)?;
    let mut absent = Vec::new();
    for id in ids.clone() {
        process::check_for_interrupts();
        let committed = match from_memory(&rows, id, Admission::WhenAskedAgain)? {
            InMemory::Value(value) => i128::from(value),
            InMemory::Nothing => {
                fallible::push(&mut absent, id, WHAT)?;
                0
            }
            InMemory::Unusable => from_rows(tables, id)?,
        };
        totals.push(committed);
    }
    if !absent.is_empty() {
        absent.sort_unstable();
        absent.dedup();
        let mut read = cold::totals(&rows, &absent)?;
        for (id, total) in absent.iter().zip(&mut read).filter(|(_, total)| total.is_none()) {
            *total = Some(from_rows(tables, id)?);
        }
        for (id, total) in ids.clone().zip(&mut totals) {
            if let Ok(at) = absent.binary_search(&id) {
                *total = read[at].unwrap_or_default();
            }
        }
    }
    for (id, total) in ids.zip(&mut totals) {
        *total += i128::from(transaction::own(tables, id));
    }
    Ok(totals)
}

/// Whether this transaction can be served from shared memory at all.
fn memory_serves(id: &[u8]) -> bool {
    crate::memory::is_attached() && !xact::in_recovery() && !transaction::is_touched(id)
}

/// Which counters that memory has not are brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    Always,
    /// While there is room, or when it was asked for before.
    WhenAskedAgain,
}

impl Admission {
    fn lets_in(self, key: Key<'_>) -> bool {
        // Whoever stretches loads is to make some.
        self == Admission::Always || settings::debug_load_window_ms() > 0 || admission::admits(key)
    }
}

/// What memory has for this transaction to read.
enum InMemory {
    Value(i64),
    /// Nothing at all of a counter that is not to be brought in.
    Nothing,
    /// What it has does not serve: rows answer, with what is not in rows yet.
    Unusable,
}

fn from_memory(rows: &OpenedOnce, id: &[u8], admission: Admission) -> Result<InMemory, CounterError> {
    if !memory_serves(id) || !is_recovered(rows.tables) {
        return Ok(InMemory::Unusable);
    }
    let key = key(rows.tables, id);
    let found = match table::read(key) {
        Found::Loading { generation, cell } => load::await_load(key, generation, cell),
        found => found,
    };
    match found {
        Found::Value(value) => Ok(InMemory::Value(value)),
        Found::Loading { .. } => Ok(InMemory::Unusable),
        Found::Cold | Found::Absent if admission.lets_in(key) => {
            let loaded = load_counter(rows, key)?;
            Ok(loaded.map_or(InMemory::Unusable, InMemory::Value))
        }
        Found::Cold => Ok(InMemory::Unusable),
        Found::Absent => Ok(InMemory::Nothing),
    }
}

/// As rows, memory and journal have it.
fn from_rows(tables: Tables, id: &[u8]) -> Result<i128, CounterError> {
    match fresh_rows(tables, id)? {
        Fresh { is_exact: true, sum, .. } => Ok(sum.value),
        Fresh { is_exact: false, .. } => Err(CounterError::NotRecovered),
    }
}

/// Loads a counter into memory if it is not there, so that its increments are measured even if nobody reads it.
pub fn warm(tables: Tables, id: &[u8]) -> Result<(), CounterError> {
    from_memory(&OpenedOnce::new(tables), id, Admission::Always).map(drop)
}

/// `None` when the counter cannot be cached exactly now: rows answer then.
fn load_counter(rows: &OpenedOnce, key: Key<'_>) -> Result<Option<i64>, CounterError> {
    crate::memory::databases::register(key.database);
    let slots = rows.look_for_slots(std::iter::once(key.id))?;
    let Some(ticket) = load::begin(key) else {
        // Another backend may have begun this moment; its load serves us too.
        return Ok(match table::read(key) {
            Found::Value(value) => Some(value),
            Found::Loading { generation, cell } => match load::await_load(key, generation, cell) {
                Found::Value(value) => Some(value),
                _ => None,
            },
            Found::Cold | Found::Absent => None,
        });
    };
    if prepared::is_prepared(rows.tables, key.id) {
        return Ok(None);
    }
    let Some(mut snapshot) = ticket.take_snapshot() else {
        return Ok(None);
    };
    let window_ms = settings::debug_load_window_ms();
    if window_ms > 0 {
        process::sleep_whole_ms(window_ms, process::check_for_interrupts);
    }
    // Where slot rows have come meanwhile, and their table is not open, the next read loads it.
    let Some(slots) = slots.of(key.id) else { return Ok(None) };
    let sum = xact::in_scratch_memory(|| rows.reader()?.scans().sum(key.id, &mut snapshot, slots))?;
    Ok(ticket.finish(&snapshot, sum.value))
}

/// A counter's total as rows, memory and journal have it now.
struct Fresh {
    sum: RowSum,
    /// Something of it is in no row yet.
    has_unfolded: bool,
    is_exact: bool,
}

/// What the rows say now, and what is not in rows yet.
fn fresh_rows(tables: Tables, id: &[u8]) -> Result<Fresh, CounterError> {
    let reader = Reader::open(tables)?;
    if xact::in_recovery() || !is_recovered(tables) {
        return rows_and_journal(tables, &reader, id);
    }
    let key = key(tables, id);
    let has_unfolded = buffer::has_unfolded(key);
    let (mut snapshot, unfolded) = buffer::snapshot_with_unfolded(key);
    let mut sum = xact::in_scratch_memory(|| reader.sum(id, &mut snapshot))?;
    sum.value += i128::from(unfolded);
    if has_unfolded {
        sum.updated_at_us = sum.updated_at_us.max(buffer::changed_at_us(key));
    }
    keep_memory_from_undercutting(tables, &snapshot, std::iter::once(id));
    Ok(Fresh { sum, has_unfolded, is_exact: true })
}

/// What was read from rows is about to be shown: no read from memory may show less afterwards. The snapshot may have seen commits
/// that have not added their deltas to memory yet; where waiting for them takes too long, memory forgets these counters.
pub fn keep_memory_from_undercutting(
    tables: Tables,
    snapshot: &Snapshot,
    shown: impl Iterator<Item: AsRef<[u8]>>,
) {
    if crate::memory::is_attached()
        && !xact::in_recovery()
        && !load::settle_after_rows(u32::from(catalog::my_database()), snapshot)
    {
        shown.for_each(|id| table::invalidate(key(tables, id.as_ref())));
    }
}

/// A counter's key in memory.
pub fn key(tables: Tables, id: &[u8]) -> Key<'_> {
    transaction::key(u32::from(tables.total), id)
}

/// Whether rows and memory hold everything. Where they do not yet, a worker is asked for.
pub fn is_recovered(tables: Tables) -> bool {
    let database = u32::from(catalog::my_database());
    if epochs::recovered(database, u32::from(tables.total)).is_some() {
        return true;
    }
    if crate::memory::is_attached() && !xact::in_recovery() {
        epochs::want_journal(database);
    }
    false
}

/// Folds meanwhile that a read from rows and journal bears: each takes less than the read does.
const MAX_FOLDS_MET: u32 = 20;

/// What rows and journal say now, where memory has not got everything: after a start until the journal is read back, on a standby, in a
/// server without preload. Not exact where folds came in between each time.
///
/// Whoever folds moves amounts from the journal to rows in one transaction, of which the snapshot sees all or nothing. Only after it has
/// committed are the journal's pages used again. So when a later snapshot still sees the same epochs folded, the journal was
/// complete for the first one.
fn rows_and_journal(tables: Tables, reader: &Reader, id: &[u8]) -> Result<Fresh, CounterError> {
    let journal = position::lock(Access::Read)?;
    let mut fresh = Fresh { sum: RowSum::default(), has_unfolded: false, is_exact: false };
    for _ in 0..MAX_FOLDS_MET {
        let mut snapshot = Snapshot::fresh();
        let folded = position::read(journal, &mut snapshot)?;
        fresh.sum = xact::in_scratch_memory(|| reader.sum(id, &mut snapshot))?;
        position::for_each_delta(journal, folded, &mut snapshot, |other, delta| {
            if other == id {
                fresh.sum.value += i128::from(delta);
                fresh.has_unfolded = true;
            }
            Ok::<(), CounterError>(())
        })?;
        keep_memory_from_undercutting(tables, &snapshot, std::iter::once(id));
        if position::read(journal, &mut Snapshot::fresh())? == folded {
            fresh.is_exact = true;
            break;
        }
    }
    Ok(fresh)
}

/// Amounts of a counter that are in no total yet, each with when it was counted or happened, and the snapshot that says so.
pub struct Unfolded {
    pub snapshot: Snapshot,
    pub parts: Vec<Part>,
}

/// What of a counter is in no total yet: in slot rows, buffered, in the journal, pending in this transaction. Errors: 55000 the journal
/// could not be read whole.
pub fn unfolded(tables: Tables, id: &[u8]) -> Result<Unfolded, CounterError> {
    const WHAT: &str = "amounts of a counter";
    let reader = Reader::open(tables)?;
    let (mut snapshot, amount, at_us) = if xact::in_recovery() || !is_recovered(tables) {
        let (snapshot, amount) = snapshot_with_journal(id)?;
        (snapshot, amount, process::now_us())
    } else {
        let key = key(tables, id);
        let changed_at_us = buffer::changed_at_us(key);
        let (snapshot, amount) = buffer::snapshot_with_unfolded(key);
        (snapshot, i128::from(amount), if changed_at_us > 0 { changed_at_us } else { process::now_us() })
    };
    keep_memory_from_undercutting(tables, &snapshot, std::iter::once(id));
    let mut parts = Vec::new();
    let mut refused = Ok(());
    xact::in_scratch_memory(|| {
        reader.each_slot(id, &mut snapshot, |part| {
            if refused.is_ok() {
                refused = fallible::push(&mut parts, part, WHAT);
            }
        })
    })?;
    refused?;
    for delta in bigint_parts(amount) {
        fallible::push(&mut parts, Part { delta, at_us }, WHAT)?;
    }
    let own = Part { delta: transaction::own(tables, id), at_us: process::statement_started_us() };
    fallible::push(&mut parts, own, WHAT)?;
    Ok(Unfolded { snapshot, parts })
}

/// A snapshot, and what the journal has of a counter that rows under it do not include: see `rows_and_journal`.
fn snapshot_with_journal(id: &[u8]) -> Result<(Snapshot, i128), CounterError> {
    let journal = position::lock(Access::Read)?;
    for _ in 0..MAX_FOLDS_MET {
        let mut snapshot = Snapshot::fresh();
        let folded = position::read(journal, &mut snapshot)?;
        let mut amount = 0;
        position::for_each_delta(journal, folded, &mut snapshot, |other, delta| {
            if other == id {
                amount += i128::from(delta);
            }
            Ok::<(), CounterError>(())
        })?;
        if position::read(journal, &mut Snapshot::fresh())? == folded {
            return Ok((snapshot, amount));
        }
    }
    Err(CounterError::NotRecovered)
}

/// The total from rows as the caller's query sees them, and the caller's own uncommitted increments.
pub fn exact(tables: Tables, id: &[u8]) -> Result<i64, CounterError> {
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::of_query();
    let sum = xact::in_scratch_memory(|| reader.sum(id, &mut snapshot))?;
    keep_memory_from_undercutting(tables, &snapshot, std::iter::once(id));
    i64::try_from(sum.value + i128::from(transaction::own(tables, id)))
        .map_err(|_| CounterError::TotalOutOfRange { id: id.to_vec() })
}

/// What `counter_info` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    pub value: i64,
    /// False on a standby, which lags behind its primary, and where the journal could not be read whole.
    pub exact: bool,
    pub slots: u32,
    pub updated_at_us: i64,
}

/// A counter's total and where it stands; `None` when there is no such counter.
pub fn info(tables: Tables, id: &[u8]) -> Result<Option<Info>, CounterError> {
    let Some(standing) = standing(tables, id)? else { return Ok(None) };
    let value =
        i64::try_from(standing.value).map_err(|_| CounterError::TotalOutOfRange { id: id.to_vec() })?;
    Ok(Some(Info {
        value,
        exact: standing.exact,
        slots: standing.slots,
        updated_at_us: standing.updated_at_us,
    }))
}

/// As `Info`, wider than bigint: one counter past it does not hide the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub value: i128,
    pub exact: bool,
    pub slots: u32,
    pub updated_at_us: i64,
}

/// As `info`, also where the total is outside bigint.
pub fn standing(tables: Tables, id: &[u8]) -> Result<Option<Standing>, CounterError> {
    let Fresh { sum, has_unfolded, is_exact } = fresh_rows(tables, id)?;
    if !sum.exists() && !has_unfolded && !transaction::has_own(tables, id) {
        return Ok(None);
    }
    let own_at_us = if transaction::has_own(tables, id) { process::statement_started_us() } else { 0 };
    Ok(Some(Standing {
        value: sum.value + i128::from(transaction::own(tables, id)),
        exact: is_exact && !xact::in_recovery(),
        slots: sum.slots,
        updated_at_us: sum.updated_at_us.max(own_at_us),
    }))
}

/// Counters a batch of the listing holds.
const BATCH: usize = 1000;

/// The next batch of committed counters after an id, as the caller's query sees them; empty at the end.
pub fn list_after(tables: Tables, after: &[u8]) -> Result<Vec<(Id, RowSum)>, CounterError> {
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::of_query();
    let after = if after.is_empty() { &reserved::LAST } else { after };
    let counters = xact::in_scratch_memory(|| list::counters_after(&reader, after, BATCH, &mut snapshot));
    keep_memory_from_undercutting(tables, &snapshot, counters.iter().map(|(id, _)| &**id));
    Ok(counters)
}

const HOTTEST: &str = "the hottest counters";

/// A counter that is being incremented.
#[derive(Clone, Debug, PartialEq)]
pub struct Hottest {
    pub id: Vec<u8>,
    /// Wider than bigint: one counter past it does not hide the others.
    pub value: i128,
    /// `None` where there is no shared memory to measure in.
    pub increments_per_s: Option<f64>,
}

/// The counters with the most increments a second; without shared memory, those with the most slot rows.
pub fn hottest(tables: Tables, limit: usize) -> Result<Vec<Hottest>, CounterError> {
    if crate::memory::is_attached() && !xact::in_recovery() {
        let database = u32::from(catalog::my_database());
        let mut hot = table::rates(database, u32::from(tables.total));
        hot.retain(|hot| !reserved::is_reserved(&hot.id));
        hot.sort_by(|a, b| b.increments_per_s.total_cmp(&a.increments_per_s).then_with(|| a.id.cmp(&b.id)));
        hot.truncate(limit);
        let shown = hot.into_iter().map(|hot| {
            let value = current_wide(tables, &hot.id)?;
            Ok::<_, CounterError>(Hottest { id: hot.id, value, increments_per_s: Some(hot.increments_per_s) })
        });
        return fallible::try_collect(shown, HOTTEST);
    }
    let mut widest: Vec<(Id, RowSum)> = Vec::new();
    let mut after = Id::default();
    loop {
        let batch = list_after(tables, &after)?;
        let Some((last, _)) = batch.last() else { break };
        after = last.clone();
        fallible::reserve(&mut widest, batch.len(), HOTTEST)?;
        widest.extend(batch.into_iter().filter(|(_, sum)| sum.slots > 0));
        widest.sort_by(|(a, x), (b, y)| y.slots.cmp(&x.slots).then_with(|| a.cmp(b)));
        widest.truncate(limit);
    }
    let shown =
        |(id, sum): (Id, RowSum)| Hottest { id: id.into_vec(), value: sum.value, increments_per_s: None };
    Ok(fallible::collect(widest.into_iter().map(shown), HOTTEST)?)
}
