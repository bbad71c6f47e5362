//! `src/hll` of the extension, compiled without PostgreSQL: for its unit tests, for accuracy, for fuzzing.

// What sketches do not use of it is used in the extension.
#[allow(dead_code)]
#[path = "../../../src/fallible.rs"]
mod fallible;
#[path = "../../../src/hll/mod.rs"]
pub mod hll;

pub mod simulation;

/// The extension copies sketches in ways that can be refused only.
impl Clone for hll::Sketch {
    fn clone(&self) -> hll::Sketch {
        self.copy_in(allocator_api2::alloc::Global).expect("memory")
    }
}
