//! Reading counters of which memory has nothing: from their totals, and from slot rows where they may have some.
//!
//! Memory had nothing after such a read had begun, so all that was committed by then is in rows, and no fold of it was under way. What
//! is buffered meanwhile need not be seen. Memory has nothing after the snapshot was taken either, so whoever loads the counter takes a
//! later one, and shows no less.

use std::cell::OnceCell;

use super::transaction;
use crate::errors::CounterError;
use crate::fallible;
use crate::memory::slotted::{self, Known};
use crate::memory::table;
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, process, xact};
use crate::rows::access::Tables;
use crate::rows::sum::{Reader, Scans, Slots};

/// Counters whose keys take memory at the same time.
const AT_ONCE: usize = 256;

/// The counters' tables, opened where rows are read, once; that of slot rows only where it is needed.
pub struct OpenedOnce {
    pub tables: Tables,
    reader: OnceCell<Reader>,
}

impl OpenedOnce {
    pub fn new(tables: Tables) -> OpenedOnce {
        OpenedOnce { tables, reader: OnceCell::new() }
    }

    pub fn reader(&self) -> Result<&Reader, CounterError> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let reader = Reader::open_totals(self.tables)?;
        Ok(self.reader.get_or_init(|| reader))
    }

    /// What is known of slot rows, before a snapshot is taken. Where one of the counters may have some their table is opened, which may
    /// wait for a lock.
    pub fn look_for_slots<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a [u8]>,
    ) -> Result<KnownSlots<'_>, CounterError> {
        let reader = self.reader()?;
        let known = slotted::known(u32::from(catalog::my_database()), u32::from(self.tables.total));
        if !reader.has_slots_open() && !ids.all(|id| known.rules_out(id)) {
            reader.open_slots();
        }
        Ok(KnownSlots { reader, known })
    }
}

/// What is known of slot rows under snapshots that were taken after it was asked for.
#[derive(Clone, Copy)]
pub struct KnownSlots<'r> {
    reader: &'r Reader,
    known: Known,
}

impl KnownSlots<'_> {
    /// Whether a counter's slot rows are looked into; `None` where they must be, and their table is not open: some may have come since.
    pub fn of(&self, id: &[u8]) -> Option<Slots> {
        if self.known.rules_out(id) {
            return Some(Slots::RuledOut);
        }
        self.reader.has_slots_open().then_some(Slots::LookedInto)
    }
}

/// What rows say of a counter.
enum Seen {
    Total(i128),
    /// Memory has something of it now: what it is to show later has to be looked after.
    InMemory,
    /// It has slot rows now, perhaps, and their table is not open.
    Slots,
}

fn look(
    tables: Tables,
    scans: &mut Scans<'_>,
    slots: KnownSlots<'_>,
    snapshot: &mut Snapshot,
    id: &[u8],
) -> Result<Seen, CounterError> {
    if table::holds(transaction::key(u32::from(tables.total), id)) {
        return Ok(Seen::InMemory);
    }
    let Some(slots) = slots.of(id) else { return Ok(Seen::Slots) };
    Ok(Seen::Total(scans.sum(id, snapshot, slots)?.value))
}

/// The sum of a counter's rows; `None` where memory has something of it by now.
pub fn total(rows: &OpenedOnce, id: &[u8]) -> Result<Option<i128>, CounterError> {
    loop {
        let slots = rows.look_for_slots(std::iter::once(id))?;
        let mut snapshot = Snapshot::fresh();
        let seen = xact::in_scratch_memory(|| {
            look(rows.tables, &mut slots.reader.scans(), slots, &mut snapshot, id)
        })?;
        match seen {
            Seen::Total(total) => return Ok(Some(total)),
            Seen::InMemory => return Ok(None),
            Seen::Slots => slots.reader.open_slots(),
        }
    }
}

/// The sums of the rows of counters under one snapshot, which are in the order of their ids; `None` for those of which memory has something
/// by now.
pub fn totals(rows: &OpenedOnce, ids: &[&[u8]]) -> Result<Vec<Option<i128>>, CounterError> {
    loop {
        let slots = rows.look_for_slots(ids.iter().copied())?;
        let mut snapshot = Snapshot::fresh();
        if let Some(totals) = under_one_snapshot(rows.tables, slots, &mut snapshot, ids)? {
            return Ok(totals);
        }
        slots.reader.open_slots();
    }
}

/// `None` where the table of slot rows is needed and is not open.
fn under_one_snapshot(
    tables: Tables,
    slots: KnownSlots<'_>,
    snapshot: &mut Snapshot,
    ids: &[&[u8]],
) -> Result<Option<Vec<Option<i128>>>, CounterError> {
    let mut totals = fallible::with_room(ids.len(), "totals")?;
    for ids in ids.chunks(AT_ONCE) {
        let is_done = xact::in_scratch_memory(|| {
            let mut scans = slots.reader.scans();
            for id in ids {
                process::check_for_interrupts();
                let total = match look(tables, &mut scans, slots, snapshot, id)? {
                    Seen::Total(total) => Some(total),
                    Seen::InMemory => None,
                    Seen::Slots => return Ok(false),
                };
                // BOUND: room for as many as there are ids.
                totals.push(total);
            }
            Ok::<_, CounterError>(true)
        })?;
        if !is_done {
            return Ok(None);
        }
    }
    Ok(Some(totals))
}
