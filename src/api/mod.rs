//! The SQL surface: checks, then one call inwards.

mod changes;
mod counter_type;
mod increments;
mod operations;
mod reads;
mod triggers;
