//! By how much counters differ from the rows they count, and mending it. What makes it right is in `caches`.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use super::arguments::Definition;
use super::errors::CacheError;
use super::opened::Opened;
use super::{definition, join, key_id, registry, so_far};
use crate::counting::{change, dropping, read, reserved, transaction};
use crate::errors::{CounterError, MAX_ID_BYTES, check_id};
use crate::fallible;
use crate::memory::epochs::{self, JournalState};
use crate::memory::{buffer, workers};
use crate::pg::key_form::KeyForm;
use crate::pg::lock::{self, Subject};
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::{Event, Source};
use crate::pg::spi::Spi;
use crate::pg::{Oid, catalog, confined, privilege, process, xact};
use crate::rows::access::Tables;

/// A counter that differs from its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub id: Vec<u8>,
    pub counted: i128,
    pub rows: i128,
}

/// Counters mended in one go.
const BATCH: usize = 1000;

/// Makes each counter what its rows say; how many differed. Errors: 55000 no triggers keep them, or one that has counted
/// something would be changed, unless it may be.
pub fn backfill(
    table: Oid,
    definition: &Definition,
    function: &'static str,
    takes_over: bool,
) -> Result<i64, CounterError> {
    let tables =
        transaction::enter_to_count_in_rows(privilege::current_user(), function, xact::nest_level())?;
    let source = Comparison::of(table, definition)?;
    let mut mended = 0;
    source.mend(tables, definition, |difference| {
        if difference.counted != 0 && !takes_over {
            if !privilege::has_all(tables.total, privilege::current_user(), Rights::SELECT) {
                return Err(CacheError::CountsElseUnseen { prefix: definition.prefix().to_vec() }.into());
            }
            let (counted, rows) = (difference.counted, difference.rows);
            return Err(CacheError::CountsElse { id: difference.id.clone(), counted, rows }.into());
        }
        mended += 1;
        Ok(())
    })?;
    registry::note_verified(table, definition)?;
    Ok(mended)
}

/// The counters that differ from their rows, or one of them, by the rest of its id; with `repair`, also mends them. Errors: 55000 no
/// triggers keep what is to be mended.
pub fn verify(
    table: Oid,
    definition: &Definition,
    repair: bool,
    key: Option<&[u8]>,
) -> Result<Vec<Difference>, CounterError> {
    let tables = read::enter()?;
    let repaired = || {
        transaction::enter_to_count_in_rows(privilege::current_user(), "counter_verify", xact::nest_level())
    };
    let repaired = repair.then(repaired).transpose()?;
    let mut source = Comparison::of(table, definition)?;
    source.key = key.map(<[u8]>::to_vec);
    let mut differences = Vec::new();
    let mut keep = |difference: &Difference| {
        Ok(fallible::push(&mut differences, difference.clone(), "what differs from the rows")?)
    };
    if let Some(tables) = repaired {
        source.mend(tables, definition, keep)?;
        if key.is_none() {
            registry::note_verified(table, definition)?;
        }
    } else {
        fold_buffered(tables);
        source.others = definition.longer_prefixes(&source.opened.source, &definition::function()?)?;
        source.compare(tables, definition, |difference| keep(&difference))?;
    }
    Ok(differences)
}

/// Makes the counters what the rows say; where the cache's key has changed its type, also those whose keys no row could have any
/// more. Does not wait for the worker, whose step it is. How many differed.
pub fn recount(table: Oid, definition: &Definition, is_rekeyed: bool) -> Result<i64, CounterError> {
    let mut source = Comparison::of(table, definition)?;
    source.is_recount = true;
    source.is_rekeyed = is_rekeyed;
    let tables = transaction::enter_to_count_in_rows(
        privilege::current_user(),
        "counter_compact",
        xact::nest_level(),
    )?;
    let mut mended = 0;
    source.mend(tables, definition, |_| {
        mended += 1;
        Ok(())
    })?;
    Ok(mended)
}

/// A table and the counters of its rows.
struct Comparison {
    opened: Opened,
    /// Only this one, of all keys.
    key: Option<Vec<u8>>,
    /// Prefixes of other caches that begin with this one's.
    others: Vec<Vec<u8>>,
    /// It does not wait for the worker.
    is_recount: bool,
    /// Whatever is under the prefix is the cache's.
    is_rekeyed: bool,
}

impl Comparison {
    fn of(table: Oid, definition: &Definition) -> Result<Comparison, CounterError> {
        let opened = Opened::for_reader(table, definition, privilege::current_user())?;
        let middle = opened.middle.as_ref().map(|middle| &middle.source);
        for source in std::iter::once(&opened.source).chain(middle) {
            if privilege::row_security_applies(source.oid(), privilege::current_user()) {
                return Err(CacheError::RowSecurity { table: source.name() }.into());
            }
        }
        Ok(Comparison { opened, key: None, others: Vec::new(), is_recount: false, is_rekeyed: false })
    }

    fn mend(
        mut self,
        tables: Tables,
        definition: &Definition,
        mut see: impl FnMut(&Difference) -> Result<(), CounterError>,
    ) -> Result<(), CounterError> {
        let source = &self.opened.source;
        source.check_not_in_use(c"counter_backfill");
        if let Some(middle) = &self.opened.middle {
            middle.source.check_not_in_use(c"counter_backfill");
        }
        if !definition::may_count(tables, source.owner()) {
            // Whoever may not count decides over no counter by what he puts into a table of his own.
            return Err(CacheError::OwnerMayNotCount { table: source.name() }.into());
        }
        let function = definition::function()?;
        let events = [Event::Insert, Event::Delete, Event::Update];
        let is_counted = |arguments: &[std::ffi::CString], source: &Source| {
            if definition::uncounted(arguments, source, &function, &events)?.is_empty() {
                return Ok(());
            }
            let (table, prefix) = (source.name(), definition.prefix().to_vec());
            Err(CounterError::from(CacheError::NotCached { table, prefix }))
        };
        is_counted(&definition.arguments(), source)?;
        if let (Some(middle), Some(said)) = (&self.opened.middle, definition.middle(source.qualified_name())?)
        {
            is_counted(&said.arguments(), &middle.source)?;
        }
        if !self.is_recount {
            fold_buffered(tables);
        }
        // After this, and not before, comes the snapshot: it sees what the one before has mended.
        lock::lock_exclusive(tables.total, Subject::Key(lock::id_hash(definition.prefix())));
        // Also what committed while the lock was waited for, at any isolation level.
        let latest = ActiveSnapshot::push_latest();
        definition.check_alone(source, &function)?;
        self.others = definition.longer_prefixes(source, &function)?;
        drop(latest);
        if self.opened.middle.is_some() {
            so_far::restart(definition.prefix())?;
        }
        let mut batch = fallible::with_room(BATCH, "what is to be mended")?;
        self.compare(tables, definition, |difference| {
            see(&difference)?;
            let drift = difference.rows - difference.counted;
            batch.push((difference.id, drift));
            if batch.len() >= BATCH {
                change::mend(tables, std::mem::take(&mut batch))?;
                fallible::reserve(&mut batch, BATCH, "what is to be mended")?;
            }
            Ok(())
        })?;
        change::mend(tables, batch)?;
        xact::see_own_changes();
        Ok(())
    }

    /// Shows what differs under one snapshot, taken now, in the order of ids.
    fn compare(
        &self,
        tables: Tables,
        definition: &Definition,
        mut see: impl FnMut(Difference) -> Result<(), CounterError>,
    ) -> Result<(), CounterError> {
        let source = &self.opened.source;
        // The rows are read with the owner's rights, so that what the owner has put into an index or a policy runs with no others. The
        // caller needs the right all the same.
        if !self.opened.may_be_read(privilege::current_user()) {
            return Err(CacheError::MayNotRead { table: source.name() }.into());
        }
        registry::check_may_read_all(tables, &self.opened)?;
        let prefix = definition.prefix();
        let query = match &self.key {
            None => Some(self.opened.count_query(prefix.len())),
            Some(key) => self.opened.count_query_of(key, prefix.len()),
        };
        let asked = [prefix, self.key.as_deref().unwrap_or(b"")].concat();
        let is_asked = |id: &[u8]| self.key.is_none() || id == asked;
        confined::as_owner_of_all_rows(source.owner(), |confined| {
            let active = ActiveSnapshot::push_latest();
            let spi = Spi::connect(confined)?;
            let mut keys = query.map(|query| spi.pairs(&query)).transpose()?;
            let rows = || {
                process::check_for_interrupts();
                let next = keys.as_mut().and_then(|keys| {
                    std::iter::from_fn(|| keys.next_pair())
                        .find(|(key, _)| self.key.as_ref().is_none_or(|asked| asked == key))
                });
                let Some((key, rows)) = next else { return Ok(None) };
                let id = [prefix, &key].concat();
                check_id(&id)?;
                Ok(Some((id, rows)))
            };
            // What this transaction has counted and not written yet is in no row; what it mends goes past that.
            let mut own = transaction::own_after_prefix(tables, &asked)?;
            own.retain(|(id, _)| is_asked(id));
            let mut committed = committed(tables, &asked);
            let committed = || Ok::<_, CounterError>(committed()?.filter(|(id, _)| is_asked(id)));
            let counted = join::sum(committed, own);
            join::full_outer(rows, counted, |id, rows, counted| {
                let difference = Difference { rows: rows.unwrap_or(0), counted: counted.unwrap_or(0), id };
                let differs = difference.rows != difference.counted;
                if differs && (rows.is_some() || self.is_ours(prefix, &difference.id)) {
                    see(difference)?;
                }
                Ok(())
            })?;
            drop(keys);
            drop(spi);
            drop(active);
            Ok(())
        })
    }

    fn is_ours(&self, prefix: &[u8], id: &[u8]) -> bool {
        let is_ours = if self.is_rekeyed { is_under } else { is_of };
        is_ours(prefix, self.opened.key_form(), &self.others, id)
    }
}

/// Whether a counter that no row belongs to is one of a cache's. Where there is no prefix it could be anybody's.
fn is_of(prefix: &[u8], key: &KeyForm, others: &[Vec<u8>], id: &[u8]) -> bool {
    !prefix.is_empty()
        && key_id::can_be_of(key, &id[prefix.len()..])
        && !others.iter().any(|other| id.starts_with(other))
}

/// Whether a counter is under a prefix, and under no longer one of another cache.
fn is_under(prefix: &[u8], _: &KeyForm, others: &[Vec<u8>], id: &[u8]) -> bool {
    !prefix.is_empty() && !others.iter().any(|other| id.starts_with(other))
}

/// Brings all of a cache's counters to nothing, under the active snapshot. It has a prefix.
pub fn empty(entered: (Tables, u32), opened: &Opened, definition: &Definition) -> Result<(), CounterError> {
    let (tables, _) = entered;
    let prefix = definition.prefix();
    let others = definition.longer_prefixes(&opened.source, &definition::function()?)?;
    let is_ours = |id: &[u8]| is_of(prefix, opened.key_form(), &others, id);
    // Those that are in no row: buffered by hand, or pending in this transaction.
    let buffered = buffer::unfolded(u32::from(catalog::my_database()), u32::from(tables.total));
    let buffered = buffered.into_iter().map(|amount| amount.id);
    let own = transaction::own_after_prefix(tables, prefix)?.into_iter().map(|(id, _)| id);
    change::empty(entered, buffered.chain(own).filter(|id| id.starts_with(prefix) && is_ours(id)))?;
    let mut after = before(prefix);
    loop {
        let listed = read::list_after(tables, &after)?;
        let Some((last, _)) = listed.last() else { return Ok(()) };
        let is_past = !last.starts_with(prefix);
        after = last.to_vec();
        let ids = listed.into_iter().map(|(id, _)| id).take_while(|id| id.starts_with(prefix));
        change::empty(entered, ids.filter(|id| is_ours(id)))?;
        if is_past {
            return Ok(());
        }
    }
}

/// Brings all counters under the prefix of a cache that has ended to nothing; how many there were.
pub fn empty_prefix(prefix: &[u8]) -> Result<u64, CounterError> {
    let entered = change::enter_to_count_in_rows(privilege::current_user(), "counter_uncache")?;
    dropping::empty_prefix(entered, prefix)
}

/// The counters that begin with a prefix, as the active snapshot sees their rows, in the order of ids.
pub fn committed(
    tables: Tables,
    prefix: &[u8],
) -> impl FnMut() -> Result<Option<(Vec<u8>, i128)>, CounterError> + use<> {
    let prefix = prefix.to_vec();
    let mut after = before(&prefix);
    let mut batch = Vec::new().into_iter();
    let mut is_done = false;
    move || {
        if batch.as_slice().is_empty() && !is_done {
            let listed = read::list_after(tables, &after)?;
            is_done = listed.is_empty();
            if let Some((last, _)) = listed.last() {
                after = last.to_vec();
            }
            batch = listed.into_iter();
        }
        let next = batch.next().filter(|(id, _)| id.starts_with(&prefix));
        if next.is_none() {
            batch = Vec::new().into_iter();
            is_done = true;
        }
        Ok(next.map(|(id, sum)| (id.into_vec(), sum.value)))
    }
}

/// Greater than every id that is less than the prefix, and less than every id that begins with it.
fn before(prefix: &[u8]) -> Vec<u8> {
    let Some((last, rest)) = prefix.split_last() else {
        return reserved::LAST.to_vec();
    };
    let mut before = rest.to_vec();
    before.push(last.saturating_sub(1));
    before.resize(MAX_ID_BYTES.max(before.len()), u8::MAX);
    before
}

/// Counters of rows are never buffered. What somebody has buffered into them by hand is drift, which rows show once it is folded.
fn fold_buffered(tables: Tables) {
    let (database, relation) = (u32::from(catalog::my_database()), u32::from(tables.total));
    if xact::in_recovery() || epochs::state(database) != JournalState::Ready || !workers::has_worker(database)
    {
        return;
    }
    // Of two epochs at most, which their parity tells apart.
    if [0, 1].into_iter().any(|epoch| buffer::has_deltas(database, relation, epoch)) {
        workers::request_pass(database);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn before_a_prefix_is_nothing_of_it(
            prefix in proptest::collection::vec(1..=254u8, 1..20),
            id in proptest::collection::vec(1..=254u8, 1..20),
        ) {
            let before = before(&prefix);
            prop_assert!(before < prefix);
            prop_assert_eq!(id > before, id >= prefix);
        }
    }
}
