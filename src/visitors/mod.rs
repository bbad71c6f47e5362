//! Unique visitors of an id, by day and ever: one call a visit, answered from a sketch in shared memory.
//!
//! A visit that changes no sketch writes nothing. Any other is kept pending, by savepoint, and written as one small row an
//! id and day at PRE_COMMIT (`rows/visitors.rs`), which meets nobody; at COMMIT it is added to shared memory
//! (`memory/sketches/`). Compaction unites the rows. Rows are the truth; union is idempotent, so nothing here can
//! count twice.

pub mod access;
pub mod compaction;
mod errors;
mod pending;
pub mod read;
pub mod rows;
mod settings;
pub mod transaction;
pub mod visit;
pub mod visitor;

use crate::family::Family;
use crate::memory::sketches;

pub static FAMILY: Family = Family {
    define_settings: settings::define,
    transaction: Some(&transaction::HOOKS),
    counter_dropped: visit::drop_all,
    check_may_drop: || access::enter(access::Purpose::Drop).map(|_| ()),
    try_lock_to_drop: |_| access::find().is_some_and(access::try_lock_for_writing),
    ids_after: read::ids_after,
    counter_moved: visit::move_all,
    forget_all: visit::forget_all,
    ids_invalidated: |database, concerns| sketches::invalidate(database, concerns),
    steps: &[compaction::UNITE_VISITS],
    ..Family::NONE
};
