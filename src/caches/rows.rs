//! What the trigger function does: the keys of the rows that a statement changed, counted in the writer's transaction.
//!
//! The counters are kept with the rights of the table's owner, as a foreign key's trigger works with theirs: who may write the
//! table need not be allowed to count.
//!
//! BOUND: what is copied here without asking is an id, a prefix, or what is at hand already.

use super::arguments::{Definition, Middle, Role};
use super::changes::Changes;
use super::errors::CacheError;
use super::opened::{self, Opened, OpenedMiddle};
use super::pairs::{Pairs, Read};
use super::tally::Tally;
use super::through::{self, Cache, Moved};
use super::{emptied, names};
use crate::counting::change;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::counted::Counted;
use crate::pg::source::{Event, Source};
use crate::pg::trigger::{Fired, Rows, Side, Timing, TriggerCall};
use crate::pg::truncation::Truncation;
use crate::pg::{Oid, catalog};

/// A trigger has fired. Errors: 39P01 it is not one that can count; 42703 no such column; and those of `counter_incr`.
pub fn fired(call: TriggerCall<'_>) -> Result<(), CounterError> {
    let Some(fired) = call.fired() else {
        return misuse("it was not called as a trigger");
    };
    let truncation = (fired.event() == Event::Truncate).then(|| fired.truncation()).transpose()?;
    let role = Role::of(&fired.arguments())?;
    match (fired.event(), fired.timing()) {
        (Event::Truncate, Timing::Before)
        | (Event::Insert | Event::Delete | Event::Update, Timing::After) => {}
        (Event::Truncate, _) => return misuse("a trigger for TRUNCATE must be BEFORE it"),
        _ => return misuse("the trigger must be AFTER the event"),
    }
    if fired.is_left_to_another() {
        return Ok(());
    }
    if truncation.is_some() && fired.table().is_partition() && fired.table().is_partitioned() {
        return misuse(
            "TRUNCATE is counted by triggers of the partitioned table and of partitions that have rows",
        );
    }
    match role {
        Role::Counted(definition) => counted_changed(&fired, truncation, &definition),
        Role::Middle(middle) => middle_changed(&fired, truncation, &middle),
    }
}

fn misuse<T>(why: &'static str) -> Result<T, CounterError> {
    Err(CacheError::TriggerMisuse { why }.into())
}

/// Rows of the counted table have changed.
fn counted_changed(
    fired: &Fired<'_>,
    truncation: Option<Truncation>,
    definition: &Definition,
) -> Result<(), CounterError> {
    let opened = Opened::of(fired.table(), definition)?;
    let owner = opened.source.owner();
    if let Some(truncation) = truncation {
        return emptied::rows_emptied(fired, truncation, &opened, definition);
    }
    let mut changes = Changes::new(owner, definition.prefix());
    match &opened.middle {
        None => {
            each_change(fired, &opened.counted, definition.prefix(), &mut |key, delta| {
                changes.add(key, delta)
            })?;
        }
        Some(middle) => {
            let mut keys = Tally::default();
            let mut hand_on = |keys: &mut Tally| {
                let nets = fallible::collect(keys.drain(), "changes of cached counters")?;
                through_rows(owner, definition, &opened, middle, &nets, &mut changes)
            };
            each_change(fired, &opened.counted, b"", &mut |key, delta| {
                keys.add(key, delta)?;
                if keys.is_full() { hand_on(&mut keys) } else { Ok(()) }
            })?;
            if !keys.is_nothing() {
                hand_on(&mut keys)?;
            }
        }
    }
    changes.count()
}

fn through_rows(
    owner: Oid,
    definition: &Definition,
    opened: &Opened,
    middle: &OpenedMiddle,
    nets: &[(Box<[u8]>, i128)],
    changes: &mut Changes<'_>,
) -> Result<(), CounterError> {
    let (tables, _) = change::enter_to_count_in_rows(owner, "counter_rows")?;
    let cache = Cache { tables, prefix: definition.prefix(), owner };
    through::rows_changed(&cache, opened, middle, nets, &mut |to, delta| changes.add_key(to, delta))
}

/// Rows of a middle table have changed. What is counted is what the counted table's triggers say, and they must say the same.
fn middle_changed(
    fired: &Fired<'_>,
    truncation: Option<Truncation>,
    said: &Middle,
) -> Result<(), CounterError> {
    let table = fired.table();
    let source = opened::open_by_name(said.of.to_bytes())?;
    let root = catalog::partition_root(table.oid());
    let Some(definition) = definition_through(&source, fired.function(), said, root) else {
        return misuse("no trigger of the table that it names counts through this one");
    };
    let opened = Opened::of(source, &definition)?;
    let Some(middle) = &opened.middle else {
        return misuse("no trigger of the table that it names counts through this one");
    };
    let owner = opened.source.owner();
    if let Some(truncation) = truncation {
        return emptied::middles_emptied(fired, truncation, (&opened, middle), &definition, said);
    }
    let pairs = Pairs { by: Counted::by(&table, &said.by)?, to: Counted::by(&table, &said.to)? };
    let mut nets = Tally::default();
    let mut changes = Changes::new(owner, definition.prefix());
    let mut hand_on = |nets: &mut Tally| {
        let moved = nets.drain().map(|(pair, net)| {
            let (by, to) = Pairs::apart(&pair);
            Moved { by: by.to_vec(), to: to.to_vec(), net }
        });
        let moved = fallible::collect(moved, "changes of cached counters")?;
        let (tables, _) = change::enter_to_count_in_rows(owner, "counter_rows")?;
        let cache = Cache { tables, prefix: definition.prefix(), owner };
        let moved = (moved.as_slice(), fired.event() == Event::Insert);
        through::middles_changed(&cache, &opened, middle, moved, &mut |to, delta| changes.add_key(to, delta))
    };
    each_change(fired, &pairs, b"", &mut |pair, delta| {
        nets.add(pair, delta)?;
        if nets.is_full() { hand_on(&mut nets) } else { Ok(()) }
    })?;
    if !nets.is_nothing() {
        hand_on(&mut nets)?;
    }
    changes.count()
}

/// What the counted table's triggers say of a cache through the middle table.
fn definition_through(source: &Source, function: Oid, said: &Middle, middle: Oid) -> Option<Definition> {
    let triggers = source.triggers().into_iter().filter(|trigger| trigger.function == function);
    triggers.filter_map(|trigger| Role::of(&trigger.arguments).ok()).find_map(|role| {
        let Role::Counted(definition) = role else { return None };
        let through = definition.through.as_ref()?;
        let table = match names::parts(through.table.to_bytes()).as_deref() {
            Some([schema, table]) => catalog::relation(schema, table)?,
            _ => return None,
        };
        let is_same = definition.prefix == said.prefix && through.by == said.by && through.to == said.to;
        (is_same && table == middle).then_some(definition)
    })
}

/// Takes a change of what a key counts for.
type Add<'a> = dyn FnMut(&mut Vec<u8>, i128) -> Result<(), CounterError> + 'a;

/// Shows each change, by a text that begins with `start` and goes on with the key.
fn each_change(
    fired: &Fired<'_>,
    what: &impl Read,
    start: &[u8],
    add: &mut Add<'_>,
) -> Result<(), CounterError> {
    let (has_old, has_new) = match fired.event() {
        Event::Insert => (false, true),
        Event::Delete => (true, false),
        // The columns that the statement sets say nothing: one trigger may stand for several statements.
        _ => (true, true),
    };
    let (mut old_key, mut new_key) = (start.to_vec(), start.to_vec());
    if fired.is_for_each_row() {
        let old = if has_old { what.row(fired, Side::Old, &mut old_key) } else { None };
        let new = if has_new { what.row(fired, Side::New, &mut new_key) } else { None };
        return one_change((old, &mut old_key), (new, &mut new_key), add);
    }
    let is_missing = |needed, side| needed && !fired.has_transition_table(side);
    if is_missing(has_new, Side::New) {
        return misuse("it has no NEW TABLE");
    }
    if is_missing(has_old, Side::Old) {
        return misuse("it has no OLD TABLE");
    }
    // Old and new rows come in the same order, so a row that keeps its key costs a comparison. Where the order should differ, the
    // sums are right still.
    let mut old_rows = has_old.then(|| fired.rows(Side::Old));
    let mut new_rows = has_new.then(|| fired.rows(Side::New));
    loop {
        old_key.truncate(start.len());
        new_key.truncate(start.len());
        let is_old = old_rows.as_mut().is_some_and(Rows::advance);
        let is_new = new_rows.as_mut().is_some_and(Rows::advance);
        if !is_old && !is_new {
            return Ok(());
        }
        let read = |rows: &Option<Rows<'_>>, key: &mut Vec<u8>| what.row_of(rows.as_ref()?, key);
        let old = if is_old { read(&old_rows, &mut old_key) } else { None };
        let new = if is_new { read(&new_rows, &mut new_key) } else { None };
        one_change((old, &mut old_key), (new, &mut new_key), add)?;
    }
}

/// What a row counted for, and counts for.
fn one_change(
    (old, old_key): (Option<i64>, &mut Vec<u8>),
    (new, new_key): (Option<i64>, &mut Vec<u8>),
    add: &mut Add<'_>,
) -> Result<(), CounterError> {
    if old == new && old_key == new_key {
        return Ok(());
    }
    if let Some(amount) = old.filter(|amount| *amount != 0) {
        add(old_key, -i128::from(amount))?;
    }
    if let Some(amount) = new.filter(|amount| *amount != 0) {
        add(new_key, i128::from(amount))?;
    }
    Ok(())
}
