//! The room that tenants of shared memory live in: keys and places (`places.rs`), bodies by size (`bodies.rs`), which entries are dirty
//! (`dirt.rs`) and which clean one goes (`clock.rs`), sizes and offsets (`shape.rs`), the memory itself with its locks (`mapped.rs`). Written once; what an entry holds, and which entry may go
//! for another, is its tenant's.
//!
//! Contract: see `mapped.rs`. All but that file is plain Rust, which `tests/memory_model` compiles without PostgreSQL.

pub mod bodies;
pub mod clock;
pub mod dirt;
pub mod mapped;
pub mod places;
pub mod pool;
pub mod shape;

use super::sync;
