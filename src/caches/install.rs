//! Makes the triggers that keep a table's counters, and fills these.
//!
//! BOUND: three triggers.

use super::definition::{self, Definition};
use super::drift;
use super::errors::CacheError;
use super::replicas;
use crate::counting::change;
use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::lock::key_hash;
use crate::pg::source::{Event, Source};
use crate::pg::spi::Spi;
use crate::pg::{catalog, confined, privilege, xact};

const EVENTS: [Event; 4] = [Event::Insert, Event::Delete, Event::Update, Event::Truncate];

/// Makes what triggers are missing, and fills the counters in the same transaction: while it lasts nobody else writes the table.
/// Returns how many counters were changed. Counters that are there before the first trigger is count something else, and
/// are changed only where the caller says so.
pub fn install(table: Oid, definition: &Definition, takes_over: bool) -> Result<i64, CounterError> {
    let source = Source::open(table)?;
    if catalog::is_member(table, c"counter_ext") {
        // Our own code writes these by hand, past triggers.
        return Err(CacheError::OurTable { table: source.name() }.into());
    }
    source.check_may_create_triggers(privilege::current_user());
    source.key_column(&definition.column)?;
    source.check_not_in_use(c"counter_cache");
    source.lock_against_writers();
    let owner = source.owner();
    // Better now than at the next write.
    change::enter_to_count_in_rows(owner, "counter_cache")?;
    let function = definition::function()?;
    definition.check_alone(&source, &function)?;
    // Row triggers go to the partitions there are and will be, and are fired by rows that are written there directly. So are
    // a table's that others inherit from, or that inherits, whichever table a statement names.
    let for_each_row = source.is_partitioned() || definition::is_in_a_tree(&source)?;
    let number = key_hash(definition.prefix.to_bytes_with_nul().iter().chain(definition.column.to_bytes()));
    let uncounted = definition.uncounted(&source, &function, &EVENTS)?;
    let is_new = EVENTS.iter().all(|event| uncounted.contains(event));
    let missing: Vec<Vec<u8>> = uncounted
        .into_iter()
        .map(|event| definition::create_trigger(definition, &source, &function, event, for_each_row, number))
        .collect();
    drop(source);
    if !missing.is_empty() {
        confined::as_caller(|confined| {
            let spi = Spi::connect(confined)?;
            missing.iter().try_for_each(|sql| spi.run(sql))
        })?;
        xact::see_own_changes();
    }
    replicas::complete(table, definition.prefix(), &function)?;
    drift::backfill(table, definition, "counter_cache", takes_over || !is_new)
}
