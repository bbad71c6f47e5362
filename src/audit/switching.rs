//! Auditing begins and ends.
//!
//! Where it begins, whoever changes counters is kept out: nobody is half way, so a counter's total, with what is buffered and
//! what this transaction has done itself, is exact, and the log is made to agree with it. From the commit on every change is
//! logged (see `rows::audited`).

use super::audited_rows::{self, AUDITED};
use super::entry::LoggedOperation;
use super::log_rows::{self, ANCHOR, HEAD, LOG};
use super::pending_rows::{self, PENDING};
use crate::counting::{draining, folding, read, reserved, transaction};
use crate::errors::{CounterError, check_prefix};
use crate::fallible;
use crate::family::prefixes::Prefixes;
use crate::memory::buffer;
use crate::pg::lock;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{Oid, catalog, process, xact};
use crate::rows::access::{self, Tables};
use crate::rows::list::{self, Id};
use crate::rows::sum::Reader;

/// Ids looked up at once.
const BATCH: usize = 1000;

/// Begins or ends auditing of the ids that begin with a prefix. Returns whether that changed anything.
pub fn switch(prefix: &[u8], on: bool) -> Result<bool, CounterError> {
    transaction::check_may_change("counter_audit")?;
    check_prefix(prefix)?;
    let (rights, needed) = if on { (Rights::INSERT, "INSERT") } else { (Rights::DELETE, "DELETE") };
    let tables = access::tables()?;
    // Before the lock, which keeps everybody out, and after it.
    AUDITED.check_rights(AUDITED.find().ok_or(CounterError::NotInstalled)?, rights, needed)?;
    if on {
        folding::ensure_recovered_before(tables, Access::AgainstWriters)?;
    }
    lock::lock_table(tables.total, if on { Access::AgainstWriters } else { Access::Write });
    if access::find_tables() != Some(tables) {
        return Err(CounterError::NotInstalled);
    }
    let table = AUDITED.enter_to_write(rights, needed)?;
    if !on {
        return xact::in_scratch_memory(|| audited_rows::remove(table, prefix));
    }
    let before = audited_rows::prefixes()?;
    if !xact::in_scratch_memory(|| audited_rows::add(table, prefix))? {
        return Ok(false);
    }
    transaction::note_rows_agree();
    // What others committed asynchronously is durable when the log that includes it is.
    if crate::memory::is_attached() {
        draining::drain(u32::from(catalog::my_database()), true)?;
    }
    Opening::open(tables, prefix, before)?.all()?;
    Ok(true)
}

/// Makes the log agree with the totals of counters whose auditing begins.
struct Opening<'a> {
    tables: Tables,
    prefix: &'a [u8],
    /// What is audited already.
    before: Prefixes,
    counters: Reader,
    log: log_rows::LogReader,
    pending: Oid,
}

impl<'a> Opening<'a> {
    fn open(tables: Tables, prefix: &'a [u8], before: Prefixes) -> Result<Opening<'a>, CounterError> {
        let (log, heads, anchor) =
            (LOG.lock(Access::Read)?, HEAD.lock(Access::Read)?, ANCHOR.lock(Access::Read)?);
        Ok(Opening {
            tables,
            prefix,
            before,
            counters: Reader::open(tables)?,
            log: log_rows::LogReader::open(log, heads, anchor)?,
            pending: PENDING.lock(Access::Read)?,
        })
    }

    /// Every id that has a total, or a log. One that comes twice is opened once.
    fn all(&self) -> Result<(), CounterError> {
        let database = u32::from(catalog::my_database());
        let buffered = (0..2).flat_map(|parity| {
            buffer::of_epoch(database, u32::from(self.tables.total), parity)
                .into_iter()
                .map(|amount| amount.id)
        });
        let itself = (!self.prefix.is_empty()).then(|| Id::from(self.prefix));
        let own = transaction::own_ids(self.tables)?;
        let known = itself.into_iter().chain(own).chain(buffered);
        self.each(fallible::collect(known, "ids to audit")?)?;
        self.walk(|after, snapshot| {
            let found = list::counters_after(&self.counters, after, BATCH, snapshot);
            Ok(fallible::collect(found.into_iter().map(|(id, _)| id), "ids to audit")?)
        })?;
        self.walk(|after, snapshot| Ok(self.log.ids_after(after, BATCH, snapshot)))?;
        self.walk(|after, snapshot| pending_rows::ids_after(self.pending, after, BATCH, snapshot))
    }

    /// Ids after the prefix, in order, as long as they begin with it.
    fn walk(
        &self,
        batch: impl Fn(&[u8], &mut Snapshot) -> Result<Vec<Id>, CounterError>,
    ) -> Result<(), CounterError> {
        let mut after: Id =
            if self.prefix.is_empty() { Id::from(reserved::LAST) } else { self.prefix.into() };
        loop {
            let mut ids = xact::in_scratch_memory(|| batch(&after, &mut Snapshot::fresh()))?;
            let Some(last) = ids.last().cloned() else { return Ok(()) };
            ids.retain(|id| id.starts_with(self.prefix));
            self.each(ids)?;
            if !last.starts_with(self.prefix) {
                return Ok(());
            }
            after = last;
        }
    }

    fn each(&self, ids: Vec<Id>) -> Result<(), CounterError> {
        for id in ids {
            process::check_for_interrupts();
            let begins =
                id.starts_with(self.prefix) && !reserved::is_reserved(&id) && !self.before.cover(&id);
            if begins && let Some(delta) = xact::in_scratch_memory(|| self.missing(&id))? {
                pending_rows::append(&id, delta, LoggedOperation::Open, None)?;
                xact::see_own_changes();
            }
        }
        Ok(())
    }

    /// What the log lacks to agree with the total; `None` where it does. A counter that was never logged lacks its total.
    fn missing(&self, id: &[u8]) -> Result<Option<i128>, CounterError> {
        let (mut snapshot, unfolded) = buffer::snapshot_with_unfolded(read::key(self.tables, id));
        let rows = self.counters.sum_of_own(id, &mut snapshot)?.value;
        let total = rows + i128::from(unfolded) + i128::from(transaction::own(self.tables, id));
        let (mut entries, mut logged) = pending_rows::sum(self.pending, id, &mut snapshot)?;
        self.log.for_each(id, &mut snapshot, |sealed| {
            entries += 1;
            logged += i128::from(sealed.entry.delta);
        });
        // The prefix itself may be no counter.
        let is_known = entries > 0 || total != 0 || self.exists(id, &mut snapshot)?;
        Ok((is_known && (entries == 0 || logged != total)).then_some(total - logged))
    }

    fn exists(&self, id: &[u8], snapshot: &mut Snapshot) -> Result<bool, CounterError> {
        Ok(self.counters.sum_of_own(id, snapshot)?.exists()
            || transaction::has_own(self.tables, id)
            || buffer::has_unfolded(read::key(self.tables, id)))
    }
}
