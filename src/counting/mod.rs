//! An increment's way: pending in backend memory; at commit settled into slot rows or buffered and journaled; added to
//! shared memory after it; and the reads and changes that see all three.

pub mod amount;
pub mod buffered;
pub mod bulk;
pub mod change;
pub mod change_errors;
mod cold;
pub mod column_guard;
pub mod compaction;
pub mod draining;
pub mod dropping;
pub mod emptied;
pub mod errors;
mod fold_end;
pub mod folding;
pub mod following;
pub mod forgetting;
mod id_locks;
pub mod idling;
pub mod leaving;
pub mod listing;
pub mod moving;
mod pending;
pub mod prepared;
pub mod read;
pub mod reserved;
mod settle;
mod share;
mod slot_choice;
mod state;
pub mod transaction;
pub mod zeroes;

use crate::family::Family;

/// Last among the families: what others write gives a transaction an id, and how increments are written depends on that.
pub static FAMILY: Family = Family {
    transaction: Some(&transaction::HOOKS),
    forget_all: forgetting::forget_counters,
    steps: &[compaction::FOLD_SLOTS],
    ..Family::NONE
};
