//! Rows that are written in a replica's role, by an apply worker of logical replication or under `session_replication_role`, are counted
//! as well.
//!
//! An apply worker fires no statement triggers. So a cache by statement triggers has a row trigger beside them, with the same
//! arguments, that PostgreSQL fires in replicas only. Where both fire, since somebody has enabled them ALWAYS, one of
//! them counts: the row trigger in replicas, the others elsewhere (`Fired::is_left_to_another`). A cache by row triggers
//! has them enabled ALWAYS, and so is what counts TRUNCATE.
//!
//! BOUND: triggers of one table.

use std::ffi::CString;

use super::definition::Function;
use crate::errors::CounterError;
use crate::pg::errors::SourceError;
use crate::pg::lock::key_hash;
use crate::pg::source::{Declared, Event, Source};
use crate::pg::spi::{self, Spi};
use crate::pg::{Oid, confined, xact};

/// Makes what is missing for replicas beside the triggers that count into a prefix, and enables it.
pub fn complete(table: Oid, prefix: &[u8], function: &Function) -> Result<(), CounterError> {
    let commands = missing(table, prefix, function)?;
    if commands.is_empty() {
        return Ok(());
    }
    confined::as_caller(|confined| {
        let spi = Spi::connect(confined)?;
        commands.iter().try_for_each(|sql| spi.run(sql))
    })?;
    xact::see_own_changes();
    // They name the table, and the name could be another's by then.
    if missing(table, prefix, function)?.is_empty() { Ok(()) } else { Err(SourceError::Renamed.into()) }
}

/// The commands that do it.
fn missing(table: Oid, prefix: &[u8], function: &Function) -> Result<Vec<Vec<u8>>, CounterError> {
    let source = Source::open(table)?;
    let mut triggers = source.triggers();
    triggers.retain(|trigger| {
        trigger.function == function.oid && trigger.arguments.first().is_some_and(|first| first == prefix)
    });
    let table = source.qualified_name();
    let mut commands = Vec::new();
    for trigger in &triggers {
        let is_first_of_its_kind = || {
            let first = triggers
                .iter()
                .find(|other| !other.for_each_row && counts_rows(other) && is_alike(other, trigger));
            first == Some(trigger)
        };
        let is_ours = trigger.name.starts_with(b"counter_rows_");
        let enables_always = is_ours && !trigger.fires(true) && trigger.fires(false);
        if counts_rows(trigger) && !trigger.for_each_row {
            if is_first_of_its_kind()
                && !triggers.iter().any(|other| other.for_each_row && is_alike(other, trigger))
            {
                commands.extend(make(trigger, &table, function));
            }
        } else if enables_always && !is_paired(trigger, &triggers) {
            commands.push(enable(&table, b"ALWAYS", &trigger.name));
        }
    }
    Ok(commands)
}

const ROW_EVENTS: [Event; 3] = [Event::Insert, Event::Delete, Event::Update];

fn counts_rows(trigger: &Declared) -> bool {
    ROW_EVENTS.iter().any(|event| trigger.is_for(*event))
}

fn is_alike(one: &Declared, other: &Declared) -> bool {
    one.arguments == other.arguments
}

fn is_paired(trigger: &Declared, all: &[Declared]) -> bool {
    ROW_EVENTS.iter().any(|event| trigger.is_for(*event) && trigger.is_for_replicas(*event, all))
}

/// The row trigger beside statement triggers, for what any of them is for.
fn make(trigger: &Declared, table: &[u8], function: &Function) -> [Vec<u8>; 2] {
    let number = key_hash(&trigger.arguments.join(&0));
    let name = format!("counter_rows_replica_{number:08x}").into_bytes();
    let literals: Vec<Vec<u8>> =
        trigger.arguments.iter().map(|argument| spi::literal(&without_nul(argument))).collect();
    let create = [
        b"CREATE TRIGGER ".as_slice(),
        &name,
        b" AFTER INSERT OR DELETE OR UPDATE ON ",
        table,
        b" FOR EACH ROW EXECUTE FUNCTION ",
        &function.qualified_name,
        b"(",
        &literals.join(b", ".as_slice()),
        b")",
    ]
    .concat();
    [create, enable(table, b"REPLICA", &name)]
}

/// What the catalogs hold has none.
fn without_nul(text: &[u8]) -> CString {
    CString::new(text).unwrap_or_default()
}

fn enable(table: &[u8], when: &[u8], name: &[u8]) -> Vec<u8> {
    [b"ALTER TABLE ", table, b" ENABLE ", when, b" TRIGGER ", &spi::identifier(&without_nul(name))].concat()
}
