//! A counter's value from its rows, under a snapshot.

use std::cell::OnceCell;
use std::ops::ControlFlow;

use super::access::{self, Tables};
use super::fold::Part;
use super::keyed::Keyed;
use super::node::{self, Whose};
use super::{slot_columns, total_columns};
use crate::errors::CounterError;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::process;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::{Access, Table};
use crate::settings;

/// What the rows of one counter say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSum {
    /// Wider than bigint: single rows fit, their sum need not.
    pub value: i128,
    pub slots: u32,
    pub totals: u32,
    /// When it last changed, in microseconds since 2000-01-01.
    pub updated_at_us: i64,
}

impl RowSum {
    pub fn exists(&self) -> bool {
        self.slots > 0 || self.totals > 0
    }

    pub fn add_total(&mut self, columns: &Columns<'_>) {
        self.value += i128::from(columns.bigint(total_columns::VALUE));
        self.totals += 1;
        self.updated_at_us = self.updated_at_us.max(columns.bigint(total_columns::UPDATED_AT));
    }

    pub fn add_slot(&mut self, columns: &Columns<'_>) {
        self.value += i128::from(columns.bigint(slot_columns::DELTA));
        self.slots += 1;
        self.updated_at_us = self.updated_at_us.max(columns.bigint(slot_columns::AT));
    }
}

/// The counters' tables, open for reading.
pub struct Reader {
    tables: Tables,
    total: Keyed,
    /// Locked and opened where counters may have slot rows.
    slot_table: OnceCell<Table>,
    /// Opened where there is anything in it.
    slot: OnceCell<Keyed>,
}

impl Reader {
    pub fn open(tables: Tables) -> Result<Reader, CounterError> {
        let reader = Reader::open_totals(tables)?;
        reader.open_slots();
        Ok(reader)
    }

    /// Without the table of slot rows.
    pub fn open_totals(tables: Tables) -> Result<Reader, CounterError> {
        access::lock_total_for_reading(tables);
        Ok(Reader {
            tables,
            total: Keyed::total(tables, Access::Read)?,
            slot_table: OnceCell::new(),
            slot: OnceCell::new(),
        })
    }

    /// Before the snapshot is taken that slot rows are read under: a lock is waited for here.
    pub fn open_slots(&self) {
        self.slot_table();
    }

    pub fn has_slots_open(&self) -> bool {
        self.slot_table.get().is_some()
    }

    fn slot_table(&self) -> &Table {
        self.slot_table.get_or_init(|| {
            access::lock_slot_for_reading(self.tables);
            Table::open(self.tables.slot)
        })
    }

    /// Sums one counter's rows as the snapshot sees them. Errors: 55000 the slot table's primary key is not ours.
    pub fn sum(&self, id: &[u8], snapshot: &mut Snapshot) -> Result<RowSum, CounterError> {
        self.scans().sum(id, snapshot, Slots::LookedInto)
    }

    /// The same of this node's own rows, which are all where no other node counts. Errors: as `sum`.
    pub fn sum_of_own(&self, id: &[u8], snapshot: &mut Snapshot) -> Result<RowSum, CounterError> {
        let mut sum = self.own_total_rows(id, snapshot);
        self.add_slots(id, snapshot, &mut sum)?;
        Ok(sum)
    }

    fn add_slots(&self, id: &[u8], snapshot: &mut Snapshot, sum: &mut RowSum) -> Result<(), CounterError> {
        if self.has_slot_rows() {
            for_each_visible(self.slot()?, Range::Id(id), snapshot, |columns| {
                sum.add_slot(columns);
                ControlFlow::Continue(())
            });
        }
        Ok(())
    }

    /// For the sums of several counters, one after the other.
    pub fn scans(&self) -> Scans<'_> {
        Scans { reader: self, total: None, slot: None }
    }

    /// Sums one counter's totals as the snapshot sees them, without those of other nodes: what they count is not booked here.
    pub fn own_totals(&self, id: &[u8], snapshot: &mut Snapshot) -> i128 {
        self.own_total_rows(id, snapshot).value
    }

    fn own_total_rows(&self, id: &[u8], snapshot: &mut Snapshot) -> RowSum {
        let mut sum = RowSum::default();
        let own = settings::node();
        for_each_visible(&self.total, Range::Id(id), snapshot, |columns| {
            if node::whose(columns.int(total_columns::NODE), own) != Whose::Theirs {
                sum.add_total(columns);
            }
            ControlFlow::Continue(())
        });
        sum
    }

    /// False where no snapshot that was taken before now sees any slot row: what one sees vacuum does not truncate, and who empties the table
    /// by TRUNCATE takes its rows from all.
    fn has_slot_rows(&self) -> bool {
        self.slot_table().blocks() > 0
    }

    /// Shows the amounts of one counter's slot rows that the snapshot sees. Errors: as `sum`.
    pub fn each_slot(
        &self,
        id: &[u8],
        snapshot: &mut Snapshot,
        mut see: impl FnMut(Part),
    ) -> Result<(), CounterError> {
        if self.has_slot_rows() {
            for_each_visible(self.slot()?, Range::Id(id), snapshot, |columns| {
                see(Part::of_slot(columns));
                ControlFlow::Continue(())
            });
        }
        Ok(())
    }

    pub(super) fn total(&self) -> &Keyed {
        &self.total
    }

    pub(super) fn slot(&self) -> Result<&Keyed, CounterError> {
        if let Some(slot) = self.slot.get() {
            return Ok(slot);
        }
        let slot = Keyed::slot(self.tables, Access::Read)?;
        Ok(self.slot.get_or_init(|| slot))
    }
}

/// Whether a counter's slot rows are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    LookedInto,
    /// The snapshot sees none of this counter: see `memory/slotted`.
    RuledOut,
}

/// Scans of both tables, used again for one counter after the other. Counters in the order of their ids share pages.
pub struct Scans<'r> {
    reader: &'r Reader,
    total: Option<IdScan<'r>>,
    slot: Option<IdScan<'r>>,
}

impl<'r> Scans<'r> {
    /// As `Reader::sum`. The keys of all counters take memory until the context ends.
    pub fn sum(&mut self, id: &[u8], snapshot: &mut Snapshot, slots: Slots) -> Result<RowSum, CounterError> {
        let mut sum = RowSum::default();
        let scan = restarted(&mut self.total, self.reader.total(), id);
        each_visible_of(scan, snapshot, |columns| {
            sum.add_total(columns);
            ControlFlow::Continue(())
        });
        if slots == Slots::LookedInto && self.reader.has_slot_rows() {
            let scan = restarted(&mut self.slot, self.reader.slot()?, id);
            each_visible_of(scan, snapshot, |columns| {
                sum.add_slot(columns);
                ControlFlow::Continue(())
            });
        }
        Ok(sum)
    }
}

fn restarted<'s, 'r>(scan: &'s mut Option<IdScan<'r>>, keyed: &'r Keyed, id: &[u8]) -> &'s mut IdScan<'r> {
    let range = Range::Id(id);
    if let Some(scan) = scan.as_mut() {
        scan.restart(range);
    }
    scan.get_or_insert_with(|| IdScan::begin(&keyed.table, &keyed.key, range))
}

/// Shows each row that the snapshot sees, once, in key order, until told to stop.
pub fn for_each_visible(
    keyed: &Keyed,
    range: Range<'_>,
    snapshot: &mut Snapshot,
    see: impl FnMut(&Columns<'_>) -> ControlFlow<()>,
) {
    each_visible_of(&mut IdScan::begin(&keyed.table, &keyed.key, range), snapshot, see);
}

fn each_visible_of(
    scan: &mut IdScan<'_>,
    snapshot: &mut Snapshot,
    mut see: impl FnMut(&Columns<'_>) -> ControlFlow<()>,
) {
    let mut stop = false;
    while !stop {
        // Behind a held snapshot a counter can have very many dead entries: such a read can be cancelled.
        process::check_for_interrupts();
        let entry = scan.next_entry(|version| {
            if version.visible(snapshot) {
                stop = see(&version.columns()).is_break();
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if entry.is_none() {
            return;
        }
    }
}
