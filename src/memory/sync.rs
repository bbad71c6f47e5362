//! The atomics of this room's plain parts. `tests/memory_model` compiles the same files with loom's atomics in their place.

pub(super) use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
