//! Where a tenant's bodies come from: the mapped pool, which takes its lock, or a simulated one in tests. Plain Rust.

use std::sync::atomic::AtomicU64;

use super::bodies::Body;

pub trait Pool {
    fn allocate(&self, class: usize) -> Option<Body>;
    fn give_back(&self, body: Body);
    fn words(&self, body: Body) -> &[AtomicU64];
    fn class(&self, body: Body) -> usize;
    /// The words of a body that had this size when somebody saw it: see `Bodies::words_of_class`.
    fn words_of_class(&self, body: Body, class: usize) -> &[AtomicU64];
}
