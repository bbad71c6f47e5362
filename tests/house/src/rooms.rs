//! The rooms of `src/`, layer above layer.

pub const LAYERS: [&[&str]; 6] = [
    &["pg", "settings", "errors", "fallible", "hll"],
    &["rows", "memory", "journal", "owners"],
    &["family"],
    &[
        "counting",
        "visitors",
        "idempotency",
        "caches",
        "likes",
        "limits",
        "audit",
        "series",
        "boards",
        "live",
        "expiry",
        "nodes",
        "sharding",
    ],
    &["api"],
    // Tests that run inside a server look at everything.
    &["tests"],
];
/// Stands for tests that run inside a server.
pub const TESTS: &str = "tests";
pub const WORKER: &str = "worker";
/// Stands for `lib.rs`, which may use everything and is where nothing else lives.
pub const LIB: &str = "lib";

/// The layer a room is in; the worker is in none.
pub fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Whether `src/` has such a room.
pub fn is_room(name: &str) -> bool {
    name == WORKER || layer(name).is_some()
}
