//! The plain parts of `src/memory`, compiled without PostgreSQL and with loom's atomics in place of the machine's: `tests/` runs
//! their protocols in every order in which a few processes can take their steps, and under every view of memory that the
//! Rust memory model allows, which is more than this machine's processor ever shows.

/// Stands for `src/memory/sync.rs`.
mod sync {
    pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
}

#[path = "../../../src/memory/sketches/contents.rs"]
pub mod contents;
#[path = "../../../src/memory/room/dirt.rs"]
pub mod dirt;
#[path = "../../../src/memory/lifecycle.rs"]
pub mod lifecycle;
#[path = "../../../src/memory/visibility.rs"]
pub mod visibility;
#[path = "../../../src/memory/window.rs"]
pub mod window;

/// What runs under locks alone has nothing for loom to interleave: the machine's atomics will do.
#[path = "../../../src/memory/room"]
pub mod room {
    pub mod bodies;
    pub mod clock;
    pub mod places;
    pub mod pool;
    pub mod shape;
}

#[path = "../../../src/memory/limits"]
pub mod limits {
    pub mod entry;
    pub mod held;
    pub mod key;
}
