//! Buckets that are kept no longer are rolled up: summed up in longer ones, partition by partition, and then the partition is dropped.
//!
//! A piece does some ids, and notes in counter_ext.rolled how far it has come, in the same transaction; so whoever reads finds an amount in
//! one place. Who takes a counter's buckets away locks that table for writing, which keeps this out to the end of his transaction.
//!
//! A partition goes when no series keeps its buckets any more; some may have theirs longer than they asked for.

use std::time::Duration;

use super::bucket_rows::{Bucket, Writer};
use super::level::{Keep, LEVELS, Level};
use super::old_partitions::{self, Due, OldRow};
use super::placing;
use super::tracked_rows::{self, Tracked};
use crate::errors::CounterError;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::{process, xact};
use crate::rows::access::{Tables, as_owner};

/// Rows that a piece reads, or a few more, to the end of an id.
const BATCH: usize = 20_000;

pub const ROLL_UP: Step = Step {
    name: "rolling up series",
    every: Duration::from_secs(2),
    is_essential: false,
    begin: || Box::new(RollUp),
};

struct RollUp;

impl Work for RollUp {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        let done = Progress { is_done: true, ..Progress::default() };
        // A dump's partitions come before their rows, and what is tracked at some time.
        let series = tracked_rows::all()?;
        if series.is_empty() || !how.new_rows.are_made() {
            return Ok(done);
        }
        as_owner(tables, |_| match next_due(&series)? {
            Some(due) => roll(&series, &due, how),
            None => Ok(done),
        })
    }
}

/// The next partition whose buckets nobody keeps.
fn next_due(series: &[Tracked]) -> Result<Option<Due>, CounterError> {
    let now_us = process::now_us();
    for level in LEVELS {
        let longest = series.iter().filter_map(|tracked| tracked.keeps.of(level)).max().unwrap_or(Keep(0));
        if let Some(due) = old_partitions::due(level, |of| !longest.covers(of.to_us, now_us))? {
            return Ok(Some(due));
        }
    }
    Ok(None)
}

/// Does a piece of a partition.
fn roll(series: &[Tracked], due: &Due, how: How) -> Result<Progress, CounterError> {
    let done = Progress { is_done: true, ..Progress::default() };
    if !old_partitions::keep_takers_out(how.waits)? {
        return Ok(done);
    }
    let Some(rows) = xact::in_scratch_memory(|| due.next_rows(BATCH, how.waits))? else {
        let is_dropped = due.drop_partition(how.waits)?;
        return Ok(Progress { is_done: !is_dropped, ..done });
    };
    let mut writer = Writer::open()?;
    // Rows of an id come in the order of their times: those of a longer bucket one after the other.
    let mut sum: Option<(Bucket, i32)> = None;
    for row in &rows {
        process::check_for_interrupts();
        let Some(next) = longer(&mut writer, series, due.of.level, row)? else { continue };
        match &mut sum {
            Some((bucket, node)) if is_same(bucket, &next) && *node == row.node => bucket.value += next.value,
            _ => add(&mut writer, sum.replace((next, row.node)))?,
        }
    }
    add(&mut writer, sum)?;
    drop(writer);
    xact::see_own_changes();
    if let Some(last) = rows.last() {
        due.note_rolled(&last.id)?;
    }
    Ok(Progress { rows: rows.len() as u64, ..Progress::default() })
}

fn add(writer: &mut Writer, sum: Option<(Bucket, i32)>) -> Result<(), CounterError> {
    if let Some((bucket, node)) = sum {
        xact::in_scratch_memory(|| writer.add_of_node(&bucket, node))?;
        // A node's rows may come between those of another one.
        xact::see_own_changes();
    }
    Ok(())
}

fn is_same(one: &Bucket, other: &Bucket) -> bool {
    (&one.id, one.level, one.at_us) == (&other.id, other.level, other.at_us)
}

/// The bucket that a row goes to; `None` where its series ends here.
fn longer(
    writer: &mut Writer,
    series: &[Tracked],
    level: Level,
    row: &OldRow,
) -> Result<Option<Bucket>, CounterError> {
    let Some(tracked) = tracked_rows::of(series, &row.id) else { return Ok(None) };
    let Some(longer) = tracked.keeps.after(level) else { return Ok(None) };
    placing::place(writer, tracked, (&row.id, longer, row.at_us), i128::from(row.value)).map(Some)
}
