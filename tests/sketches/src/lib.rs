//! `src/hll` of the extension, compiled without PostgreSQL: for its unit tests, for accuracy, for fuzzing.

#[path = "../../../src/hll/mod.rs"]
pub mod hll;

pub mod simulation;
