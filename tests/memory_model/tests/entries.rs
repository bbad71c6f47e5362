//! Entries of totals: who reads or pins one without a lock meets whoever frees it and gives it to another counter.

use counter_ext_memory_model::lifecycle::{COLD, FREE, LOADED, LOADING, Lifecycle, SEIZED};
use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

const FIRST: u64 = 7;
const SECOND: u64 = 8;
const THIRD: u64 = 9;

/// An entry, and the lock of its partition.
struct Entry {
    value: AtomicI64,
    state: AtomicU32,
    pins: AtomicU32,
    generation: AtomicU64,
    lock: Mutex<()>,
    /// Marked: it holds a delta that rows do not have.
    mark: AtomicU32,
}

impl Entry {
    /// That of a counter whose total is 100.
    fn loaded() -> Arc<Entry> {
        Arc::new(Entry {
            value: AtomicI64::new(100),
            state: AtomicU32::new(LOADED),
            pins: AtomicU32::new(0),
            generation: AtomicU64::new(FIRST),
            lock: Mutex::new(()),
            mark: AtomicU32::new(0),
        })
    }

    fn life(&self) -> Lifecycle<'_> {
        Lifecycle { value: &self.value, state: &self.state, pins: &self.pins, generation: &self.generation }
    }

    /// Evicts the entry if it is clean, and gives it to another counter, whose total is -1.
    fn evict_and_reuse(&self) -> bool {
        let _lock = self.lock.lock().expect("not poisoned");
        if self.mark.load(Ordering::SeqCst) != 0 || !self.life().seize() {
            return false;
        }
        self.life().end();
        self.life().begin(LOADING, SECOND);
        self.life().load_ends(-1);
        true
    }
}

#[test]
fn a_reader_without_a_lock_never_gets_another_counters_total() {
    loom::model(|| {
        let entry = Entry::loaded();
        let evictor = thread::spawn({
            let entry = entry.clone();
            move || entry.evict_and_reuse()
        });
        if let Some(value) = entry.life().read(FIRST) {
            assert_eq!(value, 100);
        }
        assert!(evictor.join().expect("no panic"));
        assert_eq!(entry.life().read(FIRST), None);
        assert_eq!(entry.life().read(SECOND), Some(-1));
    });
}

#[test]
fn a_reader_without_a_lock_never_gets_part_of_a_total() {
    loom::model(|| {
        let entry = Entry::loaded();
        // Invalidated while somebody has it pinned, then loaded anew.
        entry.life().pin();
        let loader = thread::spawn({
            let entry = entry.clone();
            move || {
                let _lock = entry.lock.lock().expect("not poisoned");
                entry.life().cool(SECOND);
                entry.life().load_begins(THIRD);
                // What is buffered, before the sum of rows is there.
                entry.value.store(3, Ordering::SeqCst);
                entry.life().load_ends(103);
            }
        });
        for generation in [FIRST, THIRD] {
            if let Some(value) = entry.life().read(generation) {
                assert_eq!(value, if generation == FIRST { 100 } else { 103 });
            }
        }
        loader.join().expect("no panic");
    });
}

#[test]
fn what_is_pinned_is_not_given_away() {
    loom::model(|| {
        let entry = Entry::loaded();
        let evictor = thread::spawn({
            let entry = entry.clone();
            move || entry.evict_and_reuse()
        });
        // A committer: pins without the lock, adds its delta, marks it, gives the pin back.
        let pinned = entry.life().try_pin(FIRST);
        if pinned {
            let _lock = entry.lock.lock().expect("not poisoned");
            assert_eq!(entry.generation.load(Ordering::SeqCst), FIRST);
            entry.value.fetch_add(1, Ordering::SeqCst);
            entry.mark.store(1, Ordering::SeqCst);
            entry.life().unpin();
        }
        let evicted = evictor.join().expect("no panic");
        assert!(!(pinned && evicted), "a delta went to an entry that was given away");
        // A pin that is tried while it is given away may keep it, and may fail: then the delta looks under the lock.
        assert_eq!(entry.pins.load(Ordering::SeqCst), 0);
        assert_eq!(
            entry.value.load(Ordering::SeqCst),
            if pinned {
                101
            } else if evicted {
                -1
            } else {
                100
            }
        );
    });
}

#[test]
fn a_pin_of_the_wrong_counter_is_taken_back() {
    loom::model(|| {
        let entry = Entry::loaded();
        let evictor = thread::spawn({
            let entry = entry.clone();
            move || {
                let _lock = entry.lock.lock().expect("not poisoned");
                if entry.life().seize() {
                    entry.life().end();
                }
            }
        });
        assert!(!entry.life().try_pin(SECOND));
        evictor.join().expect("no panic");
        let is_free = entry.state.load(Ordering::SeqCst) == FREE;
        assert_eq!(entry.pins.load(Ordering::SeqCst), if is_free { SEIZED } else { 0 });
    });
}

#[test]
fn an_entry_that_only_waits_for_its_fold_is_not_read() {
    loom::model(|| {
        let entry = Entry::loaded();
        let invalidator = thread::spawn({
            let entry = entry.clone();
            move || {
                let _lock = entry.lock.lock().expect("not poisoned");
                entry.life().cool(SECOND);
            }
        });
        let before = entry.life().read(FIRST);
        assert!(before.is_none_or(|value| value == 100));
        invalidator.join().expect("no panic");
        assert_eq!((entry.life().read(FIRST), entry.life().read(SECOND)), (None, None));
        assert_eq!(entry.state.load(Ordering::SeqCst), COLD);
    });
}
