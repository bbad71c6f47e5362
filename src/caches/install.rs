//! Makes the triggers that keep a table's counters, and fills these.
//!
//! BOUND: eight triggers.

use std::ffi::CString;

use super::arguments::Definition;
use super::definition::{self, Function};
use super::drift;
use super::errors::CacheError;
use super::opened::Opened;
use super::registry;
use super::replicas;
use crate::counting::change;
use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::errors::SourceError;
use crate::pg::source::{Event, Source};
use crate::pg::spi::Spi;
use crate::pg::{catalog, confined, privilege, xact};

const EVENTS: [Event; 4] = [Event::Insert, Event::Delete, Event::Update, Event::Truncate];

/// Makes what triggers are missing, and fills the counters in the same transaction: while it lasts nobody else writes the tables.
/// Returns how many counters were changed. Counters that are there before the first trigger is count something else, and
/// are changed only where the caller says so.
pub fn install(table: Oid, definition: &Definition, takes_over: bool) -> Result<i64, CounterError> {
    let is_new = make_triggers(table, definition, "counter_cache")?;
    drift::backfill(table, definition, "counter_cache", takes_over || !is_new)
}

/// Makes what triggers are missing, and reads no row: the counters are the next recount's. For an update of the extension, whose superuser runs no
/// code of a table's owner, and waits for none.
pub fn remake(table: Oid, definition: &Definition) -> Result<(), CounterError> {
    make_triggers(table, definition, "ALTER EXTENSION").map(|_| ())
}

/// Makes what triggers are missing. Returns whether there was none.
fn make_triggers(
    table: Oid,
    definition: &Definition,
    function_name: &'static str,
) -> Result<bool, CounterError> {
    let opened = Opened::of(Source::open(table)?, definition)?;
    opened.check_keys(definition)?;
    let owner = opened.source.owner();
    let middle = opened.middle.as_ref().map(|middle| &middle.source);
    for source in std::iter::once(&opened.source).chain(middle) {
        if catalog::is_member(source.oid(), c"counter_ext") {
            // Our own code writes these by hand, past triggers.
            return Err(CacheError::OurTable { table: source.name() }.into());
        }
        source.check_may_create_triggers(privilege::current_user());
        source.check_not_in_use(c"counter_cache");
        source.lock_against_writers();
    }
    if let Some(middle) = &opened.middle {
        middle.check_is_read_by(owner)?;
    }
    // Better now than at the next write.
    change::enter_to_count_in_rows(owner, function_name)?;
    let function = definition::function()?;
    definition.check_alone(&opened.source, &function)?;
    let (mut missing, is_new) = missing_triggers(&definition.arguments(), &opened.source, &function)?;
    if let (Some(middle), Some(said)) = (middle, definition.middle(opened.source.qualified_name())?) {
        missing.extend(missing_triggers(&said.arguments(), middle, &function)?.0);
    }
    let middle = middle.map(Source::oid);
    drop(opened);
    if !missing.is_empty() {
        confined::as_caller(|confined| {
            let spi = Spi::connect(confined)?;
            missing.iter().try_for_each(|sql| spi.run(sql))
        })?;
        xact::see_own_changes();
        check_are_made(table, definition, &function)?;
    }
    for source in std::iter::once(table).chain(middle) {
        replicas::complete(source, definition.prefix(), &function)?;
        registry::guard_partitions(source)?;
    }
    Ok(is_new)
}

/// The commands name the tables. Errors: 40001 a name was another table's.
fn check_are_made(table: Oid, definition: &Definition, function: &Function) -> Result<(), CounterError> {
    let opened = Opened::of(Source::open(table)?, definition)?;
    let (source, middle) = (&opened.source, opened.middle.as_ref());
    let mut missing = definition::uncounted(&definition.arguments(), source, function, &EVENTS)?;
    if let (Some(middle), Some(said)) = (middle, definition.middle(source.qualified_name())?) {
        missing.extend(definition::uncounted(&said.arguments(), &middle.source, function, &EVENTS)?);
    }
    if missing.is_empty() { Ok(()) } else { Err(SourceError::Renamed.into()) }
}

/// Commands that make a table's missing triggers, and whether all are missing.
fn missing_triggers(
    arguments: &[CString],
    source: &Source,
    function: &Function,
) -> Result<(Vec<Vec<u8>>, bool), CounterError> {
    // Row triggers go to the partitions there are and will be, and are fired by rows that are written there directly. So are
    // a table's that others inherit from, or that inherits, whichever table a statement names.
    let for_each_row = source.is_partitioned() || definition::is_in_a_tree(source)?;
    let uncounted = definition::uncounted(arguments, source, function, &EVENTS)?;
    let are_all = EVENTS.iter().all(|event| uncounted.contains(event));
    let create = |event| definition::create_trigger(arguments, source, function, event, for_each_row);
    Ok((uncounted.into_iter().map(create).collect(), are_all))
}
