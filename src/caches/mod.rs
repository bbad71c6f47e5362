//! Counter caches: counters of how many rows of a table have each key.
//!
//! Triggers count in the writer's own transaction, and always into slot rows (`transaction::enter_to_count_in_rows`). So any
//! one snapshot sees rows and counts of the same transactions, and what they differ by under it is drift: rows from before
//! the triggers, or changed past them. `drift` finds it under one snapshot and adds it, which is right whatever commits
//! meanwhile: increments commute, and compaction moves whole amounts. Only two repairs at once would add the same drift
//! twice, so they take a lock on the prefix before they look.
//!
//! Locks, in order: the table (AccessShare; CREATE TRIGGER's in `install`), counter_ext.total and slot, the prefix; where all caches
//! are verified, the next table comes after those. Only a table is locked that its cache's owner, or the caller, may read. A crash
//! leaves nothing: all is rows of one transaction.

pub mod arguments;
pub mod arriving;
mod changes;
mod definition;
pub mod drift;
mod emptied;
mod errors;
mod install;
pub mod join;
pub mod key_id;
mod moving;
mod names;
mod opened;
mod overlay;
mod pairs;
mod referenced;
mod registry;
mod replicas;
mod rows;
mod so_far;
mod sweeping;
mod tally;
mod through;

pub use crate::pg::lock::lock_against_ddl;
pub use arguments::Definition;
pub use definition::{all, check_created, lock_prefixes, of_table};
pub use drift::{Difference, backfill, empty_prefix, recount, verify};
pub use install::{install, remake};
pub use referenced::through;
pub use registry::{follow_owners, guard_partitions, is_restored, uncache};
pub use rows::fired;

use crate::errors::CounterError;
use crate::family::Family;
use crate::pg::Oid;
use crate::pg::source::Source;

pub static FAMILY: Family = Family {
    counter_moved: moving::refuse_cached,
    transaction: Some(&so_far::HOOKS),
    steps: &[registry::RECOUNT_CACHES],
    ..Family::NONE
};

/// A cached table's name as SQL writes it.
pub fn source_name(table: Oid) -> Result<Vec<u8>, CounterError> {
    Ok(Source::open(table)?.qualified_name())
}
