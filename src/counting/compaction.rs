//! Counting's step of a compaction pass: slot rows are folded into totals, many counters in a piece.

use std::time::{Duration, Instant};

use super::errors::CountingError;
use super::{read, zeroes};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::followed::Booking;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::restore_guard::NewRows;
use crate::pg::{process, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::fold::{Folded, Folder, Share};
use crate::rows::list::{self, Id};
use crate::rows::slots;
use crate::settings;

const WHAT: &str = "counters to fold";

/// Counters one transaction folds, and how long the worker takes for that: of counters with very many slot rows it folds fewer. What followers
/// write they write once a transaction.
const BATCH: usize = 2048;
const BATCH_TIME: Duration = Duration::from_millis(100);
/// Transactions over which the worker spreads the rows of a counter that has several.
const SHARES: u64 = 4;

/// How often a batch tries again at totals that are held, and after how long each time.
const TRIES_AT_HELD: u32 = 16;
const HELD_INTERVAL_US: i64 = 500;

/// Counters of a batch that are reported as its busiest.
const BUSIEST: usize = 8;

pub const FOLD_SLOTS: Step = Step {
    name: "folding slots",
    every: Duration::ZERO,
    is_essential: true,
    begin: || Box::new(FoldSlots::default()),
};

/// Folds batch after batch. Of a counter with several slot rows, a transaction of the worker takes a share only, so that
/// writers find others free.
#[derive(Default)]
struct FoldSlots {
    after: Id,
    /// The batch that further shares are taken of, and the next one's number.
    batch: Option<(FoldedBatch, u64)>,
    /// All are folded.
    is_folded: bool,
}

impl Work for FoldSlots {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        if self.is_folded {
            // In a transaction that has folded nothing: it takes what is deleted for gone.
            slots::renew_slotted(tables);
            return Ok(Progress { is_done: true, ..Progress::default() });
        }
        let shares = if how.waits { 1 } else { SHARES };
        match self.batch.take() {
            None => {
                let first = Share { index: 0, of: shares };
                let time = if how.waits { Duration::MAX } else { BATCH_TIME };
                let batch = fold_after(tables, &self.after, first, how.new_rows, time)?;
                let progress = batch.progress;
                self.batch = Some((batch, 1));
                Ok(progress)
            }
            Some((batch, index)) if index < shares && !batch.wide.is_empty() => {
                let share = Share { index, of: shares };
                let Progress { rows, .. } = fold_share(tables, &batch.wide, share, how.new_rows)?;
                self.batch = Some((batch, index + 1));
                Ok(Progress { rows, ..Progress::default() })
            }
            Some((batch, _)) => {
                if !how.waits {
                    batch.busiest.iter().try_for_each(|(_, id)| read::warm(tables, id))?;
                }
                self.is_folded = batch.last.is_none();
                self.after = batch.last.unwrap_or_default();
                // In a caller's own transaction that is all.
                Ok(Progress { is_done: self.is_folded && how.waits, ..Progress::default() })
            }
        }
    }
}

/// What folding a batch came to.
#[derive(Clone, Debug, Default)]
struct FoldedBatch {
    progress: Progress,
    /// Where the next batch starts; `None` at the end.
    last: Option<Id>,
    /// Counters with several slot rows, of which one share was taken.
    wide: Vec<Id>,
    /// Counters that gained most, and how much.
    busiest: Vec<(u64, Id)>,
    /// Counters whose totals somebody holds.
    held: Vec<Id>,
}

impl FoldedBatch {
    fn fold(
        &mut self,
        folder: &Folder,
        booking: &mut Booking,
        id: &Id,
        share: Share,
    ) -> Result<Folded, CounterError> {
        let mut parts = booking.concerns(id).then(Vec::new);
        let folded = xact::in_scratch_memory(|| folder.fold(id, share, parts.as_mut()));
        if folded.rows > 0 {
            booking.add(id, 0, process::now_us())?;
        }
        for part in parts.into_iter().flatten() {
            booking.add(id, i128::from(part.delta), part.at_us)?;
        }
        self.progress.rows += folded.rows;
        self.progress.overflowed += u64::from(folded.overflowed);
        // Of several nodes' totals another one may be below 0.
        if folded.is_zero || folded.amount < 0 {
            zeroes::note(id);
        }
        if folded.amount != 0 {
            let busy = (folded.amount.unsigned_abs(), fallible::boxed(id, WHAT)?);
            fallible::push(&mut self.busiest, busy, WHAT)?;
        }
        Ok(folded)
    }
}

/// Folds all slot rows of the counters under a prefix, while nobody writes any: none is left with an amount that its total can take. What would leave
/// bigint stays for later passes, without an error: whoever counts may not be one who may read, and would learn the total by it. Runs as `fold_after`.
/// Errors: 55006 somebody holds a counter's total.
pub(super) fn fold_under(tables: Tables, prefix: &[u8]) -> Result<(), CounterError> {
    as_owner(tables, |_| {
        let mut after = Id::default();
        // The prefix itself may be an id.
        let mut ids =
            fallible::try_collect((!prefix.is_empty()).then(|| fallible::boxed(prefix, WHAT)), WHAT)?;
        if !prefix.is_empty() {
            after = fallible::boxed(prefix, WHAT)?;
        }
        loop {
            let batch = fold_each(tables, &ids, Share::ALL, NewRows::Made, Duration::MAX)?;
            if let Some(id) = batch.held.first() {
                // BOUND: an id.
                return Err(CountingError::TotalHeld { id: id.to_vec() }.into());
            }
            ids = xact::in_scratch_memory(|| list::ids_to_fold(tables, &after, BATCH))?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = fallible::boxed(last, WHAT)?;
            ids.retain(|id| id.starts_with(prefix));
            if ids.is_empty() {
                return Ok(());
            }
        }
    })
}

/// Folds the next counters after an id: a share of their rows. Begins none once the time is over. Runs inside a transaction, with the
/// tables locked.
fn fold_after(
    tables: Tables,
    after: &[u8],
    share: Share,
    totals: NewRows,
    time: Duration,
) -> Result<FoldedBatch, CounterError> {
    as_owner(tables, |_| {
        let ids = xact::in_scratch_memory(|| list::ids_to_fold(tables, after, BATCH))?;
        fold_each(tables, &ids, share, totals, time)
    })
}

/// Folds a further share of counters that have several rows.
fn fold_share(tables: Tables, ids: &[Id], share: Share, totals: NewRows) -> Result<Progress, CounterError> {
    as_owner(tables, |_| Ok(fold_each(tables, ids, share, totals, Duration::MAX)?.progress))
}

fn fold_each(
    tables: Tables,
    ids: &[Id],
    share: Share,
    totals: NewRows,
    time: Duration,
) -> Result<FoldedBatch, CounterError> {
    let started = Instant::now();
    let mut folder = Folder::open(tables, settings::node(), settings::slots())?;
    folder.totals = totals;
    let mut booking = Booking::begin(tables)?;
    let mut batch = FoldedBatch::default();
    let mut held: Vec<&Id> = Vec::new();
    for id in ids {
        process::check_for_interrupts();
        let folded = batch.fold(&folder, &mut booking, id, share)?;
        if folded.is_held {
            fallible::push(&mut held, id, WHAT)?;
        }
        if folded.width > 1 {
            fallible::push(&mut batch.wide, fallible::boxed(id, WHAT)?, WHAT)?;
        }
        batch.last = Some(fallible::boxed(id, WHAT)?);
        if started.elapsed() >= time {
            break;
        }
    }
    // Increments hold a total while they commit. One that many short sessions write to is free now and then.
    for _ in 0..TRIES_AT_HELD {
        if held.is_empty() {
            break;
        }
        process::sleep_us(HELD_INTERVAL_US);
        let mut still_held: Vec<&Id> = Vec::new();
        for id in held {
            if batch.fold(&folder, &mut booking, id, share)?.is_held {
                fallible::push(&mut still_held, id, WHAT)?;
            }
        }
        held = still_held;
    }
    booking.finish()?;
    for id in held {
        fallible::push(&mut batch.held, fallible::boxed(id, WHAT)?, WHAT)?;
    }
    batch.busiest.sort_unstable_by(|a, b| b.cmp(a));
    batch.busiest.truncate(BUSIEST);
    Ok(batch)
}
