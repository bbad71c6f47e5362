//! What the trigger function does: the keys of the rows that a statement changed, counted in the writer's transaction.
//!
//! The counters are kept with the rights of the table's owner, as a foreign key's trigger works with theirs: who may write the
//! table need not be allowed to count.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use super::definition::Definition;
use super::drift;
use super::errors::CacheError;
use super::key_id;
use super::tally::Tally;
use crate::counting::change;
use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::confined::{self, Confined};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::{Column, Event, Source};
use crate::pg::spi::Spi;
use crate::pg::trigger::{Fired, Key, Side, Timing, TriggerCall};
use crate::rows::access::Tables;

/// A trigger has fired. Errors: 39P01 it is not one that can count; 42703 no such column; and those of `counter_incr`.
pub fn fired(call: TriggerCall<'_>) -> Result<(), CounterError> {
    let misuse = |why| Err(CounterError::from(CacheError::TriggerMisuse { why }));
    let Some(fired) = call.fired() else {
        return misuse("it was not called as a trigger");
    };
    let Some([prefix, column]) = fired.two_arguments() else {
        return misuse("it takes two arguments, a prefix of counters and a column");
    };
    match (fired.event(), fired.timing()) {
        (Event::Truncate, Timing::Before)
        | (Event::Insert | Event::Delete | Event::Update, Timing::After) => {}
        (Event::Truncate, _) => return misuse("a trigger for TRUNCATE must be BEFORE it"),
        _ => return misuse("the trigger must be AFTER the event"),
    }
    if fired.is_left_to_another() {
        return Ok(());
    }
    let table = fired.table();
    let counter = Counter { prefix: prefix.to_bytes(), column: table.column(column)? };
    if fired.event() == Event::Truncate {
        if table.is_partition() {
            return misuse("a partition's rows are counted by triggers of the partitioned table");
        }
        return truncated(&table, &Definition::new(counter.prefix, column.to_bytes())?, counter.column);
    }
    let mut changes = Changes { owner: table.owner(), tally: Tally::default() };
    if fired.is_for_each_row() {
        counter.row(&fired, &mut changes)?;
    } else {
        counter.statement(&fired, &mut changes)?;
    }
    changes.count()
}

/// What is counted, and where.
struct Counter<'a> {
    prefix: &'a [u8],
    column: Column,
}

impl Counter<'_> {
    fn row(&self, fired: &Fired<'_>, changes: &mut Changes) -> Result<(), CounterError> {
        let prefix_bytes = self.prefix.len();
        let key = |side| {
            let mut id = self.prefix.to_vec();
            fired.row_key(side, self.column, &mut id).then_some(id)
        };
        match fired.event() {
            Event::Insert => changes.add(key(Side::New), prefix_bytes, 1),
            Event::Delete => changes.add(key(Side::Old), prefix_bytes, -1),
            _ => {
                let (old, new) = (key(Side::Old), key(Side::New));
                if old == new {
                    return Ok(());
                }
                changes.add(old, prefix_bytes, -1)?;
                changes.add(new, prefix_bytes, 1)
            }
        }
    }

    fn statement(&self, fired: &Fired<'_>, changes: &mut Changes) -> Result<(), CounterError> {
        let (needs_old, needs_new) = match fired.event() {
            Event::Insert => (false, true),
            Event::Delete => (true, false),
            _ => (true, true),
        };
        let is_missing = |needed, side| needed && !fired.has_transition_table(side);
        if is_missing(needs_new, Side::New) {
            return Err(CacheError::TriggerMisuse { why: "it has no NEW TABLE" }.into());
        }
        if is_missing(needs_old, Side::Old) {
            return Err(CacheError::TriggerMisuse { why: "it has no OLD TABLE" }.into());
        }
        match fired.event() {
            Event::Insert => self.one_side(fired, Side::New, 1, changes),
            Event::Delete => self.one_side(fired, Side::Old, -1, changes),
            // The columns that the statement sets say nothing: one trigger may stand for several statements.
            _ => self.both_sides(fired, changes),
        }
    }

    fn one_side(
        &self,
        fired: &Fired<'_>,
        side: Side,
        delta: i64,
        changes: &mut Changes,
    ) -> Result<(), CounterError> {
        let mut rows = fired.rows(side, self.column);
        let mut id = self.prefix.to_vec();
        while let Some(key) = rows.next_key(&mut id) {
            if key == Key::There {
                changes.add_key(&mut id, self.prefix.len(), delta)?;
                id.truncate(self.prefix.len());
            }
        }
        Ok(())
    }

    /// Old and new rows come in the same order, so a row that keeps its key costs a comparison. Where the order should differ, the
    /// sums are right still.
    fn both_sides(&self, fired: &Fired<'_>, changes: &mut Changes) -> Result<(), CounterError> {
        let mut old_rows = fired.rows(Side::Old, self.column);
        let mut new_rows = fired.rows(Side::New, self.column);
        let (mut old_id, mut new_id) = (self.prefix.to_vec(), self.prefix.to_vec());
        loop {
            old_id.truncate(self.prefix.len());
            new_id.truncate(self.prefix.len());
            let old = old_rows.next_key(&mut old_id);
            let new = new_rows.next_key(&mut new_id);
            if old.is_none() && new.is_none() {
                return Ok(());
            }
            if old == new && old_id == new_id {
                continue;
            }
            if old == Some(Key::There) {
                changes.add_key(&mut old_id, self.prefix.len(), -1)?;
            }
            if new == Some(Key::There) {
                changes.add_key(&mut new_id, self.prefix.len(), 1)?;
            }
        }
    }
}

/// Changes on their way to the transaction.
struct Changes {
    owner: Oid,
    tally: Tally,
}

impl Changes {
    fn add(&mut self, key: Option<Vec<u8>>, prefix_bytes: usize, delta: i64) -> Result<(), CounterError> {
        key.map_or(Ok(()), |mut key| self.add_key(&mut key, prefix_bytes, delta))
    }

    /// `key` is a key's text behind the prefix, and becomes its counter's id.
    fn add_key(&mut self, key: &mut Vec<u8>, prefix_bytes: usize, delta: i64) -> Result<(), CounterError> {
        key_id::complete(key, prefix_bytes)?;
        self.tally.add(key, delta)?;
        if self.tally.is_full() { self.count() } else { Ok(()) }
    }

    fn count(&mut self) -> Result<(), CounterError> {
        if self.tally.is_nothing() {
            return Ok(());
        }
        let nets = self.tally.drain();
        let entered = change::enter_to_count_in_rows(self.owner, "counter_rows")?;
        for (id, net) in nets {
            change::increment(entered, &id, net)?;
        }
        Ok(())
    }
}

/// Before TRUNCATE: nobody else can change the table any more, and it will have no rows. So its counters are brought to nothing,
/// whatever they are now: they may have been emptied already, by the same statement or before.
fn truncated(table: &Source, definition: &Definition, column: Column) -> Result<(), CounterError> {
    let owner = table.owner();
    let entered = change::enter_to_count_in_rows(owner, "counter_rows")?;
    confined::as_owner_of_all_rows(owner, |confined| {
        // Everything committed by now, at any isolation level.
        let active = ActiveSnapshot::push_latest();
        if definition.prefix().is_empty() {
            empty_keys_of_rows(confined, entered, table, definition, column)?;
        } else {
            drift::empty(entered, table, definition, column)?;
        }
        drop(active);
        Ok(())
    })
}

/// Without a prefix a counter that no row belongs to could be anybody's.
fn empty_keys_of_rows(
    confined: &Confined<'_>,
    entered: (Tables, u32),
    table: &Source,
    definition: &Definition,
    column: Column,
) -> Result<(), CounterError> {
    const BATCH: usize = 1000;
    let spi = Spi::connect(confined)?;
    let mut keys = spi.pairs(&key_id::count_query(table, &definition.column, column, 0))?;
    loop {
        let batch: Vec<_> = std::iter::from_fn(|| keys.next_pair()).map(|(key, _)| key).take(BATCH).collect();
        if batch.is_empty() {
            return Ok(());
        }
        change::empty(entered, batch.iter())?;
    }
}
