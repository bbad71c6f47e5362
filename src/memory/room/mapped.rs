//! A tenant's part of shared memory: how it is asked for, made by the postmaster, and found by every other process; and its
//! locks.
//!
//! Contract:
//!
//! - `start` runs in the postmaster (and again after a crash restart) under AddinShmemInitLock; every other process inherits
//!   the base address by fork. The shape is constant from then on.
//! - Each partition has a lock. What places, buckets and heads say of who holds what changes under it exclusively. The pool of
//!   bodies has one more. Lock order: a partition's, or several of limits in the order of their numbers, then the pool's.
//! - Nobody waits, allocates, raises or reads rows while holding one of them.
//! - A tenant's heads are atomics, so that a reference to them may exist whatever other processes do, and any bytes will do
//!   for one that nobody had yet.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::super::doorkeeper::Doorkeeper;
use super::super::lwlock::{self, LockGuard, lock_for_start};
use super::bodies::{Bodies, Body, PoolHead, WORDS_A_PAGE};
use super::places::{Head, Places};
use super::pool::Pool;
use super::shape::{CACHE_LINE, HEADER_BYTES, Shape};
use crate::pg::random;

#[repr(C, align(64))]
struct RoomHeader {
    partitions: u32,
    buckets: u32,
    heads: u32,
    pages: u32,
    mark_kinds: u32,
    /// Words of the doorkeeper.
    sightings: u32,
    /// Drawn at start, so that nobody outside can aim at a bucket or at a fingerprint.
    seeds: [u64; 4],
    locks: *mut pg_sys::LWLockPadded,
    refused: AtomicU64,
    evictions: AtomicU64,
    next_generation: AtomicU64,
    seen: AtomicU64,
}

const _: () = assert!(size_of::<RoomHeader>() == HEADER_BYTES);

/// A tenant's room, of which there is one.
pub struct Room<H> {
    base: AtomicPtr<RoomHeader>,
    name: &'static std::ffi::CStr,
    tranche: &'static std::ffi::CStr,
    heads: PhantomData<fn() -> H>,
}

impl<H: Head + 'static> Room<H> {
    pub const fn new(name: &'static std::ffi::CStr, tranche: &'static std::ffi::CStr) -> Room<H> {
        Room { base: AtomicPtr::new(std::ptr::null_mut()), name, tranche, heads: PhantomData }
    }

    /// Asks for memory and locks; called from the request hook.
    pub fn request(&self, shape: Shape) {
        // SAFETY: called from shmem_request_hook, where this is allowed.
        unsafe {
            pg_sys::RequestAddinShmemSpace(shape.bytes());
            pg_sys::RequestNamedLWLockTranche(self.tranche.as_ptr(), shape.partitions as i32 + 1);
        }
    }

    /// Makes the room, or finds it made.
    /// `reserved_pages` are for bodies of a whole one.
    pub fn start(&self, shape: Shape, reserved_pages: usize) {
        assert_eq!(shape.head_bytes, size_of::<H>());
        let mut found = false;
        // SAFETY: called from shmem_startup_hook. The memory is as large as the shape says, zeroed or not; what has to be zero is
        // made so, and the header written, before anybody else can see the base address.
        unsafe {
            let _lock = lock_for_start();
            let raw = pg_sys::ShmemInitStruct(self.name.as_ptr(), shape.bytes(), &mut found) as usize;
            let base = raw.next_multiple_of(CACHE_LINE) as *mut RoomHeader;
            if !found {
                for (from, to) in shape.zeroed() {
                    std::ptr::write_bytes((base as *mut u8).add(from), 0, to - from);
                }
                (*base).partitions = shape.partitions as u32;
                (*base).buckets = shape.buckets as u32;
                (*base).heads = shape.heads as u32;
                (*base).pages = shape.pages as u32;
                (*base).mark_kinds = shape.mark_kinds as u32;
                (*base).sightings = shape.sightings as u32;
                (*base).seeds = std::array::from_fn(|_| random::bits());
                (*base).locks = pg_sys::GetNamedLWLockTranche(self.tranche.as_ptr());
                (*base).next_generation.store(1, Ordering::Relaxed);
                (*((base as *const u8).add(shape.pool_head_at()) as *const PoolHead))
                    .keep_for_whole(reserved_pages);
            }
            self.base.store(base, Ordering::Release);
        }
    }

    /// The room, where the library is preloaded.
    pub fn mapped(&self) -> Option<Mapped<H>> {
        let base = self.base.load(Ordering::Relaxed);
        (!base.is_null()).then_some(Mapped { base, heads: PhantomData })
    }
}

pub struct Mapped<H> {
    base: *mut RoomHeader,
    heads: PhantomData<fn() -> H>,
}

impl<H> Clone for Mapped<H> {
    fn clone(&self) -> Mapped<H> {
        *self
    }
}

impl<H> Copy for Mapped<H> {}

impl<H: Head + 'static> Mapped<H> {
    fn header(&self) -> &'static RoomHeader {
        // SAFETY: mapped for the life of the process; fields are constants or atomics.
        unsafe { &*self.base }
    }

    pub fn shape(&self) -> Shape {
        let header = self.header();
        Shape {
            partitions: header.partitions as usize,
            buckets: header.buckets as usize,
            heads: header.heads as usize,
            pages: header.pages as usize,
            head_bytes: size_of::<H>(),
            mark_kinds: header.mark_kinds as usize,
            sightings: header.sightings as usize,
        }
    }

    /// `count` of something that begins so many bytes behind the base.
    fn slice<T>(&self, offset: usize, count: usize) -> &'static [T] {
        debug_assert!(offset + count * size_of::<T>() <= self.shape().bytes());
        // SAFETY: offset and count come from the shape that the memory was sized by, which aligns all parts; mapped for the life of
        // the process; atomics.
        unsafe { std::slice::from_raw_parts((self.base as *const u8).add(offset) as *const T, count) }
    }

    pub fn seeds(&self) -> [u64; 4] {
        self.header().seeds
    }

    /// Calls that found no room.
    pub fn refused(&self) -> &'static AtomicU64 {
        &self.header().refused
    }

    /// Entries that made room for others.
    pub fn evictions(&self) -> &'static AtomicU64 {
        &self.header().evictions
    }

    /// What generations are drawn from: each but once, and never 0.
    pub fn next_generation(&self) -> &'static AtomicU64 {
        &self.header().next_generation
    }

    /// Whether a key that the tenant has not is to be brought in: at once while it has room and no more than so many, else when it is
    /// asked for again. Needs no lock: nothing depends on it but how often keys are brought in.
    pub fn admits(&self, hash: u64, at_once: usize) -> bool {
        let shape = self.shape();
        let places = self.places(self.partition_of(hash));
        if places.free() > 0 && (places.held() as usize) < at_once.div_ceil(shape.partitions) {
            return true;
        }
        let words = self.slice(shape.sightings_at(), shape.sightings);
        Doorkeeper::new(words, &self.header().seen).see(hash)
    }

    pub fn partitions(&self) -> usize {
        self.header().partitions as usize
    }

    /// The partition of a hash: by its upper bits, as the lower ones choose the bucket.
    pub fn partition_of(&self, hash: u64) -> usize {
        (hash >> 48) as usize & (self.partitions() - 1)
    }

    /// A partition's places, for who holds its lock.
    pub fn places(&self, partition: usize) -> Places<'static, H> {
        assert!(partition < self.partitions());
        let shape = self.shape();
        let part = |at, each: usize, bytes: usize| at + partition * each * bytes;
        let head = &self.slice(shape.partitions_at(), shape.partitions)[partition];
        let buckets: &[AtomicU32] = self.slice(part(shape.buckets_at(), shape.buckets, 4), shape.buckets);
        let heads = self.slice(part(shape.heads_at(), shape.heads, size_of::<H>()), shape.heads);
        Places::new(head, buckets, heads)
    }

    /// One of a partition's heads. Without its lock by who remembers what it was, and looks whether it still is.
    pub fn head(&self, partition: usize, index: u32) -> &'static H {
        let shape = self.shape();
        assert!(partition < shape.partitions && (index as usize) < shape.heads);
        let number = partition * shape.heads + index as usize;
        &self.slice::<H>(shape.heads_at(), shape.entries())[number]
    }

    /// A partition's marks of one kind, a bit an entry.
    pub fn marks(&self, partition: usize, kind: usize) -> &'static [AtomicU64] {
        let shape = self.shape();
        assert!(partition < shape.partitions && kind < shape.mark_kinds);
        let at = shape.marks_at() + partition * shape.mark_bytes() + kind * shape.mark_words() * 8;
        self.slice(at, shape.mark_words())
    }

    fn bodies(&self) -> Bodies<'static> {
        let shape = self.shape();
        let head = &self.slice(shape.pool_head_at(), 1)[0];
        let pages = self.slice(shape.pages_at(), shape.pages);
        Bodies::new(head, pages, self.slice(shape.words_at(), shape.pages * WORDS_A_PAGE))
    }

    /// Bytes that bodies take.
    pub fn body_bytes(&self) -> u64 {
        self.bodies().bytes_in_use()
    }

    fn lock(&self, number: usize) -> *mut pg_sys::LWLock {
        assert!(number <= self.partitions());
        // SAFETY: the tranche has one lock a partition, and one for the pool.
        unsafe { &raw mut (*self.header().locks.add(number)).lock }
    }

    pub fn lock_partition(&self, partition: usize) -> LockGuard {
        assert!(partition < self.partitions());
        // SAFETY: a lock of the room that no caller holds already.
        unsafe { lwlock::exclusive(self.lock(partition)) }
    }

    pub fn lock_partition_shared(&self, partition: usize) -> LockGuard {
        assert!(partition < self.partitions());
        // SAFETY: as above.
        unsafe { lwlock::shared(self.lock(partition)) }
    }

    fn lock_pool(&self) -> LockGuard {
        // SAFETY: a lock of the room, taken last and given back at once.
        unsafe { lwlock::exclusive(self.lock(self.partitions())) }
    }
}

impl<H: Head + 'static> Pool for Mapped<H> {
    fn allocate(&self, class: usize) -> Option<Body> {
        let _lock = self.lock_pool();
        self.bodies().allocate(class)
    }

    fn give_back(&self, body: Body) {
        let _lock = self.lock_pool();
        self.bodies().give_back(body);
    }

    fn words(&self, body: Body) -> &[AtomicU64] {
        self.bodies().words(body)
    }

    fn class(&self, body: Body) -> usize {
        self.bodies().class(body)
    }

    fn words_of_class(&self, body: Body, class: usize) -> &[AtomicU64] {
        self.bodies().words_of_class(body, class)
    }
}
