//! Sketches: who looks without a lock meets whoever adds, turns hashes into registers, or gives the entry to another id.

use counter_ext_memory_model::contents::{Contents, IS_REGISTERS, Rank};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

/// Two words: a table of one hash, or sixteen registers.
const WORDS: usize = 2;

/// Hashes that are themselves the register (lower byte) and the rank (next byte).
const fn hash(register: u8, rank: u8) -> u64 {
    rank as u64 * 256 + register as u64
}

const A: u64 = hash(1, 5);
const B: u64 = hash(9, 3);
const NEVER: u64 = hash(4, 2);

struct Entry {
    generation: AtomicU64,
    hashes: AtomicU32,
    has_zero: AtomicU32,
    words: [AtomicU64; WORDS],
}

impl Entry {
    /// With A in it, generation 7.
    fn with_a() -> Arc<Entry> {
        let entry = Entry {
            generation: AtomicU64::new(7),
            hashes: AtomicU32::new(0),
            has_zero: AtomicU32::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        entry.contents().add(A, || unreachable!());
        Arc::new(entry)
    }

    fn contents(&self) -> Contents<'_, impl Fn(u64) -> Rank> {
        Contents {
            generation: &self.generation,
            hashes: &self.hashes,
            has_zero: &self.has_zero,
            words: &self.words,
            rank: |hash| Rank { register: hash as usize & 15, rank: (hash >> 8) as u8 },
        }
    }

    /// Nobody else about.
    fn held(&self) -> [bool; 3] {
        [A, B, NEVER].map(|hash| self.contents().holds(hash))
    }
}

fn beside(entry: &Arc<Entry>, work: impl FnOnce(&Entry) + 'static) -> thread::JoinHandle<()> {
    let entry = entry.clone();
    thread::spawn(move || work(&entry))
}

#[test]
fn a_reader_without_a_lock_is_right_while_hashes_turn_into_registers() {
    loom::model(|| {
        let entry = Entry::with_a();
        // The second hash does not fit the table.
        let adder = beside(&entry, |entry| entry.contents().add(B, || 8));
        for generation in [7, 8] {
            assert_ne!(entry.contents().holds_if(generation, A), Some(false), "A was there all the while");
            assert_ne!(entry.contents().holds_if(generation, NEVER), Some(true));
        }
        adder.join().expect("no panic");
        assert_eq!(entry.hashes.load(Ordering::SeqCst), IS_REGISTERS);
        assert_eq!(entry.contents().holds_if(7, A), None);
        assert_eq!(entry.contents().holds_if(8, A), Some(true));
        assert_eq!(entry.held(), [true, true, false]);
    });
}

#[test]
fn a_reader_without_a_lock_never_sees_another_ids_visitors() {
    loom::model(|| {
        let entry = Entry::with_a();
        let evictor = beside(&entry, |entry| {
            let contents = entry.contents();
            contents.close();
            contents.clear();
            contents.open(8);
            contents.add(B, || unreachable!());
        });
        if let Some(held) = entry.contents().holds_if(7, A) {
            assert!(held);
        }
        if let Some(held) = entry.contents().holds_if(7, B) {
            assert!(!held);
        }
        evictor.join().expect("no panic");
        assert_eq!(entry.contents().holds_if(7, A), None);
        assert_eq!(entry.held(), [false, true, false]);
    });
}

#[test]
fn registers_of_one_word_rise_together() {
    loom::model(|| {
        let entry = Entry::with_a();
        entry.contents().turn_into_registers(|| 8);
        let raisers = [
            beside(&entry, |entry| entry.contents().raise(hash(2, 9))),
            beside(&entry, |entry| {
                let mut registers = [0; 16];
                (registers[1], registers[2], registers[9]) = (4, 7, 3);
                entry.contents().raise_all(&registers);
            }),
        ];
        assert_eq!(entry.contents().holds_if(8, A), Some(true), "registers only rise");
        for raiser in raisers {
            raiser.join().expect("no panic");
        }
        assert_eq!(entry.held(), [true, true, false]);
        assert!(entry.contents().holds(hash(2, 9)) && !entry.contents().holds(hash(2, 10)));
    });
}
