//! What all Rust code of this library allocates from: malloc, and a small spare behind it.
//!
//! Rust ends the process where a plain allocation fails, and the postmaster then restarts every session. What a user can make
//! large is asked for in ways that can be refused (`fallible`). What is left is small: an error's message, a name, a box that
//! pgrx makes to carry an error outwards. When malloc has nothing, these come from the spare, so that the error reaches the
//! client; PostgreSQL keeps its ErrorContext for the same purpose. The spare lies in the library's zeroed data, which takes
//! no page before it is used.
//!
//! Contract: a block of the spare belongs to whoever set its bit, from the atomic `fetch_or` that found it clear to the
//! `fetch_and` that clears it. Nothing else guards it. It is the process's own: a crash leaves nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fallible;

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Sizes of blocks, in bytes, and how many there are of each.
const CLASSES: [(usize, usize); 4] = [(64, 512), (256, 256), (1024, 64), (4096, 64)];
/// Every block is aligned to this.
const ALIGN: usize = 64;
const LARGEST_BYTES: usize = CLASSES[CLASSES.len() - 1].0;
const AREA_BYTES: usize = start_of(CLASSES.len());

/// Where the blocks of a class begin.
const fn start_of(class: usize) -> usize {
    let mut start = 0;
    let mut before = 0;
    while before < class {
        start += CLASSES[before].0 * CLASSES[before].1;
        before += 1;
    }
    start
}

#[repr(C, align(64))]
struct Area(UnsafeCell<[u8; AREA_BYTES]>);

// SAFETY: each block is used by whoever holds its bit, and by nobody else.
unsafe impl Sync for Area {}

static AREA: Area = Area(UnsafeCell::new([0; AREA_BYTES]));
static TAKEN: [Taken<8>; CLASSES.len()] = [const { Taken::new() }; CLASSES.len()];

/// Which blocks of a class are in use.
struct Taken<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Taken<WORDS> {
    const fn new() -> Taken<WORDS> {
        Taken([const { AtomicU64::new(0) }; WORDS])
    }

    /// A free one of the first `blocks`, taken.
    fn take(&self, blocks: usize) -> Option<usize> {
        for (number, word) in self.0.iter().enumerate().take(blocks.div_ceil(64)) {
            let mut seen = word.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = (!seen).trailing_zeros() as usize;
                let block = number * 64 + bit;
                if block >= blocks {
                    break;
                }
                seen = word.fetch_or(1 << bit, Ordering::Acquire);
                if seen & 1 << bit == 0 {
                    return Some(block);
                }
            }
        }
        None
    }

    fn give_back(&self, block: usize) {
        self.0[block / 64].fetch_and(!(1 << (block % 64)), Ordering::Release);
    }
}

/// Which block a byte of the area is in: its class, and its number there.
fn block_at(offset: usize) -> (usize, usize) {
    let class = (1..CLASSES.len()).rev().find(|class| start_of(*class) <= offset).unwrap_or(0);
    (class, (offset - start_of(class)) / CLASSES[class].0)
}

fn area_start() -> *mut u8 {
    AREA.0.get().cast()
}

/// The byte of the area that a pointer points to; `None` when it points elsewhere.
#[inline]
fn offset_of(pointer: *mut u8) -> Option<usize> {
    let offset = (pointer as usize).wrapping_sub(area_start() as usize);
    (offset < AREA_BYTES).then_some(offset)
}

/// A block of the spare; null when there is none.
#[cold]
fn take_spare(layout: Layout) -> *mut u8 {
    if layout.size() > LARGEST_BYTES || layout.align() > ALIGN {
        return std::ptr::null_mut();
    }
    for (class, (bytes, blocks)) in CLASSES.into_iter().enumerate() {
        if layout.size() <= bytes
            && let Some(block) = TAKEN[class].take(blocks)
        {
            fallible::note_spare_used();
            // SAFETY: within the area, by the classes' sizes.
            return unsafe { area_start().add(start_of(class) + block * bytes) };
        }
    }
    std::ptr::null_mut()
}

// SAFETY: memory is malloc's, or a block of the spare of at least the size and alignment asked for, which is nobody else's
// until it is given back. Nothing here unwinds.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() { take_spare(layout) } else { memory }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's promise.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            return memory;
        }
        let spare = take_spare(layout);
        if !spare.is_null() {
            // SAFETY: a block of at least that size.
            unsafe { spare.write_bytes(0, layout.size()) };
        }
        spare
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match offset_of(memory) {
            Some(offset) => {
                let (class, block) = block_at(offset);
                TAKEN[class].give_back(block);
            }
            // SAFETY: by the caller's promise, and not of the spare.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let is_spare = offset_of(memory).is_some();
        if !is_spare {
            // SAFETY: by the caller's promise, and not of the spare.
            let grown = unsafe { System.realloc(memory, layout, new_size) };
            if !grown.is_null() {
                return grown;
            }
        }
        // SAFETY: the caller's alignment with a size that the caller promises to be valid; both blocks are as long as what is
        // copied, and they are not the same.
        unsafe {
            let new = Layout::from_size_align_unchecked(new_size, layout.align());
            let moved = if is_spare { self.alloc(new) } else { take_spare(new) };
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(memory, moved, layout.size().min(new_size));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

/// What glibc is asked to run when a thread ends, in place of `__cxa_thread_atexit_impl`: nothing.
///
/// Each thread-local that has something to drop asks for it at its first use, and glibc ends the process where it has no memory
/// to note that. A backend is one thread, and all it has goes with its process.
#[cfg(not(target_os = "macos"))]
#[unsafe(no_mangle)]
extern "C" fn __wrap___cxa_thread_atexit_impl(
    _destructor: *mut std::ffi::c_void,
    _object: *mut std::ffi::c_void,
    _library: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_taken_once_and_given_back() {
        let taken = Taken::<2>::new();
        let all: Vec<_> = std::iter::from_fn(|| taken.take(70)).collect();
        assert_eq!(all, (0..70).collect::<Vec<_>>());
        taken.give_back(65);
        taken.give_back(3);
        assert_eq!([taken.take(70), taken.take(70), taken.take(70)], [Some(3), Some(65), None]);
    }

    #[test]
    fn a_block_is_found_by_any_of_its_bytes() {
        for (class, (bytes, blocks)) in CLASSES.into_iter().enumerate() {
            for block in [0, 1, blocks - 1] {
                let start = start_of(class) + block * bytes;
                assert_eq!(block_at(start), (class, block));
                assert_eq!(block_at(start + bytes - 1), (class, block));
                assert_eq!(start % ALIGN, 0);
            }
            assert!(blocks <= 8 * 64, "more than there are bits");
        }
    }

    #[test]
    fn what_the_spare_gives_can_be_used_grown_and_given_back() {
        let layout = Layout::from_size_align(100, 16).expect("valid");
        let memory = take_spare(layout);
        assert!(offset_of(memory).is_some());
        // SAFETY: a block of 256 bytes, used by nobody else until it is given back.
        unsafe {
            memory.write_bytes(7, 100);
            let grown = ALLOCATOR.realloc(memory, layout, 10_000);
            assert!(offset_of(grown).is_none(), "malloc has memory again");
            assert_eq!(*grown.add(99), 7);
            ALLOCATOR.dealloc(grown, Layout::from_size_align(10_000, 16).expect("valid"));
        }
        assert!(take_spare(Layout::from_size_align(LARGEST_BYTES + 1, 8).expect("valid")).is_null());
    }
}
