//! Memory whose size a user or the data decides, asked for in ways that can be refused.
//!
//! A plain allocation that fails ends the process, and the postmaster then restarts every session. So whatever has no small
//! bound grows through the functions of this file, which return `OutOfMemory`, SQLSTATE 53200. What does have a bound says so
//! in a comment that begins with `BOUND:`; `tests/house` looks for it. Plain Rust.
//!
//! Behind the allocator is a small spare (`pg/allocator`) for what must not fail: an error's message, what a COMMIT callback
//! notes. Memory that a user decides the size of may not use it up: a request here that was met from the spare counts as
//! refused.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicBool, Ordering};

use allocator_api2::alloc::Allocator;
use indexmap::IndexMap;

/// There is no memory for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    pub what: &'static str,
    pub bytes: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory: {} bytes more for {}", self.bytes, self.what)
    }
}

/// Whether the allocator has used its spare since this was last set to false. It orders nothing.
static USED_SPARE: AtomicBool = AtomicBool::new(false);

/// The allocator had to use its spare.
pub fn note_spare_used() {
    USED_SPARE.store(true, Ordering::Relaxed);
}

/// Something that can make room for more elements, or say that it cannot.
pub trait Growing {
    /// Bytes of one element.
    const ELEMENT_BYTES: usize;
    /// How many more elements there is room for already.
    fn room(&self) -> usize;
    /// Makes that room; false when it cannot.
    fn try_grow(&mut self, additional: usize) -> bool;
    /// As `try_grow`, with no more room than that where the type can do so.
    fn try_grow_exactly(&mut self, additional: usize) -> bool;
}

macro_rules! growing {
    ([$($generics:tt)*] $type:ty, $element:ty, $exactly:ident) => {
        impl<$($generics)*> Growing for $type {
            const ELEMENT_BYTES: usize = size_of::<$element>();

            #[inline]
            fn room(&self) -> usize {
                self.capacity() - self.len()
            }

            fn try_grow(&mut self, additional: usize) -> bool {
                self.try_reserve(additional).is_ok()
            }

            fn try_grow_exactly(&mut self, additional: usize) -> bool {
                self.$exactly(additional).is_ok()
            }
        }
    };
}

growing!([T] Vec<T>, T, try_reserve_exact);
growing!([T, A: Allocator] allocator_api2::vec::Vec<T, A>, T, try_reserve_exact);
growing!([K: Eq + Hash, V, S: BuildHasher] HashMap<K, V, S>, (K, V), try_reserve);
growing!([K: Eq + Hash, S: BuildHasher] HashSet<K, S>, K, try_reserve);
growing!([K: Eq + Hash, V, S: BuildHasher] IndexMap<K, V, S>, (K, V), try_reserve_exact);

/// Makes room for more elements, so that adding them cannot fail.
#[inline]
pub fn reserve<G: Growing>(to: &mut G, additional: usize, what: &'static str) -> Result<(), OutOfMemory> {
    if additional <= to.room() { Ok(()) } else { grow(to, additional, what) }
}

#[cold]
fn grow<G: Growing>(to: &mut G, additional: usize, what: &'static str) -> Result<(), OutOfMemory> {
    let refused = OutOfMemory { what, bytes: additional.saturating_mul(G::ELEMENT_BYTES) };
    not_from_the_spare(refused, || to.try_grow(additional).then_some(()).ok_or(refused))
}

/// As `reserve`, for all that there will ever be.
pub fn reserve_exact<G: Growing>(
    to: &mut G,
    additional: usize,
    what: &'static str,
) -> Result<(), OutOfMemory> {
    let refused = OutOfMemory { what, bytes: additional.saturating_mul(G::ELEMENT_BYTES) };
    not_from_the_spare(refused, || to.try_grow_exactly(additional).then_some(()).ok_or(refused))
}

/// Runs what allocates; what was met from the spare counts as refused.
pub fn not_from_the_spare<T>(
    refused: OutOfMemory,
    allocate: impl FnOnce() -> Result<T, OutOfMemory>,
) -> Result<T, OutOfMemory> {
    USED_SPARE.store(false, Ordering::Relaxed);
    let made = allocate()?;
    if USED_SPARE.load(Ordering::Relaxed) { Err(refused) } else { Ok(made) }
}

/// Appends an element.
#[inline]
pub fn push<T>(to: &mut Vec<T>, element: T, what: &'static str) -> Result<(), OutOfMemory> {
    reserve(to, 1, what)?;
    to.push(element);
    Ok(())
}

/// Appends copies of elements.
#[inline]
pub fn append<T: Clone>(to: &mut Vec<T>, elements: &[T], what: &'static str) -> Result<(), OutOfMemory> {
    reserve(to, elements.len(), what)?;
    to.extend_from_slice(elements);
    Ok(())
}

/// An empty vector with room for as many elements as will come.
pub fn with_room<T>(elements: usize, what: &'static str) -> Result<Vec<T>, OutOfMemory> {
    let mut made = Vec::new();
    reserve_exact(&mut made, elements, what)?;
    Ok(made)
}

/// A copy of elements.
pub fn copy<T: Clone>(elements: &[T], what: &'static str) -> Result<Vec<T>, OutOfMemory> {
    let mut copied = with_room(elements.len(), what)?;
    copied.extend_from_slice(elements);
    Ok(copied)
}

/// A copy of elements, for good.
pub fn boxed<T: Clone>(elements: &[T], what: &'static str) -> Result<Box<[T]>, OutOfMemory> {
    // As long as its room, so that it is not allocated anew.
    copy(elements, what).map(Vec::into_boxed_slice)
}

/// All that an iterator gives.
pub fn collect<T>(from: impl IntoIterator<Item = T>, what: &'static str) -> Result<Vec<T>, OutOfMemory> {
    try_collect(from.into_iter().map(Ok), what)
}

/// All that an iterator gives, up to its first error.
pub fn try_collect<T, E: From<OutOfMemory>>(
    from: impl IntoIterator<Item = Result<T, E>>,
    what: &'static str,
) -> Result<Vec<T>, E> {
    let from = from.into_iter();
    let mut collected = with_room(from.size_hint().0, what)?;
    for element in from {
        push(&mut collected, element?, what)?;
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_memory_for_is_refused() {
        let refused =
            with_room::<u64>(usize::MAX / 16, "a test").expect_err("half of all memory there can be");
        assert_eq!(
            refused.to_string(),
            format!("out of memory: {} bytes more for a test", usize::MAX / 16 * 8)
        );
        let mut map: IndexMap<u64, u64> = IndexMap::new();
        assert!(reserve(&mut map, usize::MAX / 32, "a test").is_err());
        map.insert(1, 2);
        assert!(reserve(&mut map, 10, "a test").is_ok());
        assert!(map.capacity() >= 11);
        assert!(reserve(&mut Vec::<u8>::new(), usize::MAX, "a test").is_err());
        assert!(reserve(&mut HashMap::<u8, u8>::new(), usize::MAX / 4, "a test").is_err());
    }

    #[test]
    fn what_the_spare_gave_is_refused() {
        let refused = OutOfMemory { what: "a test", bytes: 1 };
        let met_from_the_spare = || {
            note_spare_used();
            Ok(1)
        };
        // Tests beside this one allocate too, and take the mark back; a server's process has one thread.
        let is_refused = || not_from_the_spare(refused, met_from_the_spare) == Err(refused);
        assert!((0..1000).any(|_| is_refused()));
        assert_eq!(not_from_the_spare(refused, || Ok(1)), Ok(1));
    }

    #[test]
    fn collecting_keeps_order_and_stops_at_an_error() {
        assert_eq!(collect(0..1000, "a test"), Ok((0..1000).collect::<Vec<_>>()));
        let odd = |n: i32| if n == 3 { Err(OutOfMemory { what: "three", bytes: 3 }) } else { Ok(n) };
        assert_eq!(try_collect((0..9).map(odd), "a test"), Err(OutOfMemory { what: "three", bytes: 3 }));
        assert_eq!(*boxed(b"abc", "a test").expect("room"), *b"abc");
        let mut bytes = vec![1];
        append(&mut bytes, &[2, 3], "a test").expect("room");
        push(&mut bytes, 4, "a test").expect("room");
        assert_eq!(bytes, [1, 2, 3, 4]);
    }
}
