//! The plain parts of `src/memory`, compiled without PostgreSQL and with loom's atomics in place of the machine's: `tests/` runs
//! their protocols in every order in which a few processes can take their steps, and under every view of memory that the
//! Rust memory model allows, which is more than this machine's processor ever shows.

// Two files are here twice: with loom's atomics, and with the machine's.
#![allow(clippy::duplicate_mod)]

/// Stands for `src/memory/sync.rs`.
mod sync {
    pub use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
}

#[path = "../../../src/memory/sketches/contents.rs"]
pub mod contents;
#[path = "../../../src/memory/room/dirt.rs"]
pub mod dirt;
#[path = "../../../src/memory/filter.rs"]
pub mod filter;
#[path = "../../../src/memory/generation.rs"]
pub mod generation;
#[path = "../../../src/memory/lifecycle.rs"]
pub mod lifecycle;
#[path = "../../../src/memory/queue.rs"]
pub mod queue;
pub mod simulated;
#[path = "../../../src/memory/visibility.rs"]
pub mod visibility;

/// What runs under locks alone has nothing for loom to interleave, and is too much for it: the machine's atomics will do.
#[path = "../../../src/memory"]
pub mod plain {
    pub mod doorkeeper;
    pub mod entries;
    pub mod entry;
    pub mod lifecycle;
    pub mod limits {
        pub mod entry;
        pub mod held;
        pub mod key;
    }
    pub mod room {
        pub mod bodies;
        pub mod clock;
        pub mod dirt;
        pub mod places;
        pub mod pool;
        pub mod shape;

        use super::sync;
    }
    pub mod sketches {
        pub mod contents;
        pub mod entry;
        pub mod held;

        use super::sync;
    }
    mod sync;
    pub mod window;
}
