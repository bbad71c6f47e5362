//! The house rules of `counter_ext`, as checks over its source text.
//!
//! Each module holds one rule and takes text, so that `tests/` can show both that
//! the repository keeps it and that a text that breaks it is found out.

pub mod dependencies;
pub mod growth;
pub mod layers;
pub mod links;
pub mod log_lines;
mod paths;
pub mod repository;
pub mod rights;
mod rooms;
pub mod script;
pub mod shared_memory;
pub mod threads;
pub mod tokens;
pub mod traces;
pub mod unsafety;

/// Versions that were released before this one. Their SQL is in `sql/` as it was, for tests of updates; `make install` leaves it out.
pub const RELEASED: [&str; 1] = ["0.1.0"];
