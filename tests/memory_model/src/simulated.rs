//! A pool and partitions in this process's own memory.

use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::plain::room::bodies::{Bodies, Body, Page, PoolHead, WORDS_A_PAGE};
use crate::plain::room::dirt::Dirt;
use crate::plain::room::places::{Head, PartitionHead, Places};
use crate::plain::room::pool::Pool;

/// A pool that several tenants may have bodies from.
pub struct SimulatedPool {
    head: PoolHead,
    pages: Vec<Page>,
    words: Vec<AtomicU64>,
}

impl SimulatedPool {
    /// Of so many pages, of which some are for bodies of a whole one.
    pub fn new(pages: usize, reserved: usize) -> SimulatedPool {
        let head = PoolHead::default();
        head.keep_for_whole(reserved);
        SimulatedPool {
            head,
            pages: (0..pages).map(|_| Page::default()).collect(),
            words: (0..pages * WORDS_A_PAGE).map(|_| AtomicU64::default()).collect(),
        }
    }

    pub fn bodies(&self) -> Bodies<'_> {
        Bodies::new(&self.head, &self.pages, &self.words)
    }
}

impl Pool for &SimulatedPool {
    fn allocate(&self, class: usize) -> Option<Body> {
        self.bodies().allocate(class)
    }

    fn give_back(&self, body: Body) {
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

/// A partition's places. Heads may hold any bytes before they are first used.
pub struct Partition<H> {
    head: PartitionHead,
    buckets: Vec<AtomicU32>,
    pub heads: Vec<H>,
    dirty: Vec<AtomicU64>,
    full: Vec<AtomicU64>,
}

impl<H: Head + Default> Partition<H> {
    pub fn new(places: usize) -> Partition<H> {
        let zeros = |count| (0..count).map(|_| AtomicU64::default()).collect();
        Partition {
            head: PartitionHead::default(),
            buckets: (0..places.next_power_of_two()).map(|_| AtomicU32::default()).collect(),
            dirty: zeros(places.div_ceil(64)),
            full: zeros(places.div_ceil(4096)),
            heads: (0..places).map(|_| H::default()).collect(),
        }
    }

    pub fn places(&self) -> Places<'_, H> {
        Places::new(&self.head, &self.buckets, &self.heads)
    }

    pub fn dirt(&self) -> Dirt<'_> {
        Dirt { dirty: &self.dirty, full: &self.full, count: self.places().dirty() }
    }
}
