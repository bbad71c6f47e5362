//! Folding slot rows into totals: compaction of one counter.
//!
//! It moves, never changes: the sum of a counter's rows is the same before and after, and as it all happens in one
//! transaction a snapshot sees it whole or not at all. A crash at any step leaves an aborted transaction, that is,
//! the rows as they were. What somebody else holds is left for the next pass; nothing waits.

use std::ops::ControlFlow;

use super::access::Tables;
use super::keyed::Keyed;
use super::latest::{self, Latest};
use super::{bigint_parts, slot_columns, slots, total_columns, totals};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::memory::restore_guard::NewRows;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::{Columns, Status};
use crate::pg::random;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Taken, Value};

/// Which of a counter's slot rows one transaction takes, by slot number. A hot counter's rows are folded in
/// several transactions, so that its writers always find most of them free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub index: u64,
    pub of: u64,
}

impl Share {
    pub const ALL: Share = Share { index: 0, of: 1 };

    fn takes(self, slot: i64) -> bool {
        slot as u64 % self.of == self.index
    }
}

/// What folding one counter came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Slot rows folded.
    pub rows: u64,
    /// What moved into the total.
    pub amount: i64,
    /// The total is 0 now.
    pub is_zero: bool,
    /// Slot rows alive before, also those held by others.
    pub width: usize,
    /// The total would leave bigint: some rows stay unfolded.
    pub overflowed: bool,
    /// The total row is held by somebody: the counter waits for the next try.
    pub is_held: bool,
}

/// An amount, and when it last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Total {
    value: i64,
    updated_at_us: i64,
}

/// What a slot row holds.
#[derive(Clone, Copy, Debug)]
struct SlotAmount {
    delta: i64,
    at_us: i64,
    /// When it happened, where that is not when it was counted.
    booked_at_us: Option<i64>,
}

impl SlotAmount {
    fn read(columns: &Columns<'_>) -> SlotAmount {
        SlotAmount {
            delta: columns.bigint(slot_columns::DELTA),
            at_us: columns.bigint(slot_columns::AT),
            booked_at_us: (!columns.is_null(slot_columns::BOOKED_AT))
                .then(|| columns.bigint(slot_columns::BOOKED_AT)),
        }
    }
}

impl Total {
    /// As changes of a total row.
    fn changes(self) -> [(usize, Value<'static>); 2] {
        [
            (total_columns::VALUE, Value::Bigint(self.value)),
            (total_columns::UPDATED_AT, Value::Bigint(self.updated_at_us)),
        ]
    }
}

/// An amount that went into a total, and when it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub delta: i64,
    pub at_us: i64,
}

impl Part {
    pub fn of_slot(columns: &Columns<'_>) -> Part {
        let SlotAmount { delta, at_us, booked_at_us } = SlotAmount::read(columns);
        Part { delta, at_us: booked_at_us.unwrap_or(at_us) }
    }
}

/// A slot row that nobody holds.
type FreeRow<'t> = (Candidate<'t>, SlotAmount);

const WHAT: &str = "amounts of slot rows";

/// Both tables, open for folding.
pub struct Folder {
    total: Keyed,
    slot: Keyed,
    node: i32,
    max_slots: usize,
    /// Whether a counter that has no total yet gets one, or is left as it is.
    pub totals: NewRows,
}

impl Folder {
    pub fn open(tables: Tables, node: i32, max_slots: usize) -> Result<Folder, CounterError> {
        Ok(Folder {
            total: Keyed::total(tables, Access::Write)?,
            slot: Keyed::slot(tables, Access::Write)?,
            node,
            max_slots,
            totals: NewRows::Made,
        })
    }

    /// Folds the share of a counter's slot rows that nobody holds. `parts`, where somebody wants them, are what went into the total. Raises
    /// 53200.
    pub fn fold(&self, id: &[u8], share: Share, mut parts: Option<&mut Vec<Part>>) -> Folded {
        let (width, only) = self.width(id);
        let mut folded = Folded { width, ..Folded::default() };
        // One row is taken whole, also where earlier shares have taken the others away: a pass leaves nothing that was there before it.
        let share = match width {
            0 => return folded,
            1 => Share::ALL,
            _ => share,
        };

        match self.total_of(id) {
            Latest::Free(candidate, before) => {
                let taken = self.take(id, share, only, before.value, &mut folded, parts.as_deref_mut());
                let after = Total {
                    value: before.value + taken.value,
                    updated_at_us: before.updated_at_us.max(taken.updated_at_us),
                };
                folded.is_zero = folded.rows > 0 && after.value == 0;
                // Rows that add up to nothing may still be younger than the total says.
                if after != before && candidate.update(&after.changes()).is_err() {
                    // An administrator changed the total this moment: what was taken goes back into a slot.
                    self.give_back(id, taken);
                    folded.is_held = true;
                    parts.iter_mut().for_each(|parts| parts.clear());
                }
            }
            Latest::Absent if self.totals.are_made() => {
                let taken = self.take(id, share, only, 0, &mut folded, parts.as_deref_mut());
                if folded.rows > 0 {
                    folded.is_zero = taken.value == 0;
                    if self.insert_total(id, taken).is_err() {
                        // An increment is making it this moment.
                        self.give_back(id, taken);
                        folded.is_held = true;
                        parts.iter_mut().for_each(|parts| parts.clear());
                    }
                }
            }
            Latest::InDoubt(_) | Latest::Locked(_) => folded.is_held = true,
            // While totals are not made; or folded in this command already.
            Latest::Absent | Latest::Mine => {}
        }
        folded
    }

    /// This node's total of a counter.
    fn total_of(&self, id: &[u8]) -> Latest<'_, Total> {
        latest::find(
            &self.total,
            Range::Id(id),
            |columns| columns.int(total_columns::NODE) == self.node,
            |columns| Total {
                value: columns.bigint(total_columns::VALUE),
                updated_at_us: columns.bigint(total_columns::UPDATED_AT),
            },
        )
    }

    fn insert_total(&self, id: &[u8], total: Total) -> Result<(), Taken> {
        let values = totals::values(id, self.node, total.value, total.updated_at_us);
        write::insert_unless_taken(&self.total.table, &values, || self.totals.are_made()).map(drop)
    }

    /// Adds an amount that is in no row yet, and changed last at `at_us`, to a counter's total, making it if there is none. What the total cannot
    /// take, since it would leave bigint or somebody holds it, goes to fresh slot rows, and so does everything while totals are not made.
    /// Returns what went into the total.
    pub fn add(&self, id: &[u8], amount: i128, at_us: i64) -> i128 {
        match self.total_of(id) {
            Latest::Free(candidate, before) => {
                let Ok(value) = i64::try_from(i128::from(before.value) + amount) else {
                    self.add_to_slots(id, amount, at_us);
                    return 0;
                };
                let after = Total { value, updated_at_us: before.updated_at_us.max(at_us) };
                if candidate.update(&after.changes()).is_err() {
                    self.add_to_slots(id, amount, at_us);
                    return 0;
                }
                return amount;
            }
            Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => {
                self.add_to_slots(id, amount, at_us);
                return 0;
            }
            Latest::Absent => {}
        }
        if !self.totals.are_made() {
            // A restore may be about to insert it.
            self.add_to_slots(id, amount, at_us);
            return 0;
        }
        let first = amount.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        let is_made = self.insert_total(id, Total { value: first as i64, updated_at_us: at_us }).is_ok();
        let added = if is_made { first } else { 0 };
        self.add_to_slots(id, amount - added, at_us);
        added
    }

    fn add_to_slots(&self, id: &[u8], amount: i128, at_us: i64) {
        bigint_parts(amount).for_each(|value| self.give_back(id, Total { value, updated_at_us: at_us }));
    }

    /// Takes slot rows as long as `before` and what was taken fit bigint; returns what was taken. `only` is the one row that there is, if it
    /// was found.
    fn take(
        &self,
        id: &[u8],
        share: Share,
        only: Option<FreeRow<'_>>,
        before: i64,
        folded: &mut Folded,
        mut parts: Option<&mut Vec<Part>>,
    ) -> Total {
        let mut amount = 0i64;
        let mut updated_at_us = i64::MIN;
        let mut left = folded.width;
        let mut take_row = |(candidate, row): FreeRow<'_>| {
            let SlotAmount { delta, at_us, booked_at_us } = row;
            let fits = amount.checked_add(delta).is_some_and(|sum| before.checked_add(sum).is_some());
            if !fits {
                folded.overflowed = true;
                return;
            }
            // A row that gained nothing since the last pass goes, and so do rows past the limit: a cold counter
            // shrinks to none. A busy counter keeps its rows, emptied in place.
            let goes = delta == 0 || folded.width == 1 || left > self.max_slots || booked_at_us.is_some();
            let done = if goes {
                candidate.delete().is_ok()
            } else {
                let is_updated = candidate.update(&[(slot_columns::DELTA, Value::Bigint(0))]).is_ok();
                slots::note_written(id);
                is_updated
            };
            if done {
                amount += delta;
                updated_at_us = updated_at_us.max(at_us);
                folded.amount = amount;
                folded.rows += 1;
                if delta != 0
                    && let Some(parts) = &mut parts
                {
                    let part = Part { delta, at_us: booked_at_us.unwrap_or(at_us) };
                    fallible::push(parts, part, WHAT).or_raise();
                }
                // Rows that came since they were counted go too.
                left = left.saturating_sub(usize::from(goes));
            }
        };
        if let Some(only) = only {
            take_row(only);
        } else {
            let mut scan = IdScan::begin(&self.slot.table, &self.slot.key, Range::Id(id));
            while let Some(row) = latest::next_free(&mut scan, |columns| {
                let is_taken = share.takes(columns.bigint(slot_columns::SLOT));
                is_taken.then(|| SlotAmount::read(columns))
            }) {
                take_row(row);
            }
        }
        Total { value: amount, updated_at_us }
    }

    fn give_back(&self, id: &[u8], amount: Total) {
        let slot = random::bits() as i64;
        slots::insert(&self.slot.table, id, slot, amount.value, amount.updated_at_us);
    }

    /// How many slot rows there are; the row, where there is one that nobody holds: most have one, which need not be looked for again.
    fn width(&self, id: &[u8]) -> (usize, Option<FreeRow<'_>>) {
        let mut width = 0;
        let mut only = None;
        let mut scan = IdScan::begin(&self.slot.table, &self.slot.key, Range::Id(id));
        while scan
            .next_entry(|version| {
                let status = version.status();
                if !matches!(status, Status::Free | Status::Changing(_) | Status::Locked(_)) {
                    return ControlFlow::Continue(());
                }
                width += 1;
                only = (width == 1 && status == Status::Free)
                    .then(|| (Candidate::new(version), SlotAmount::read(&version.columns())));
                ControlFlow::Break(())
            })
            .is_some()
        {}
        (width, only)
    }
}
