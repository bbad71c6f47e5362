//! Counter caches: counters of how many rows of a table have each key.
//!
//! Triggers count in the writer's own transaction, and always into slot rows (`transaction::enter_to_count_in_rows`). So any
//! one snapshot sees rows and counts of the same transactions, and what they differ by under it is drift: rows from before
//! the triggers, or changed past them. `drift` finds it under one snapshot and adds it, which is right whatever commits
//! meanwhile: increments commute, and compaction moves whole amounts. Only two repairs at once would add the same drift
//! twice, so they take a lock on the prefix before they look.
//!
//! Locks, in order: the table (AccessShare; CREATE TRIGGER's in `install`), counter_ext.total and slot, the prefix. A crash
//! leaves nothing: all is rows of one transaction.

mod definition;
mod drift;
mod errors;
mod install;
mod join;
mod rows;
mod tally;

pub use definition::Definition;
pub use drift::{backfill, verify};
pub use install::install;
pub use rows::fired;
