//! Sketches: who looks without a lock meets whoever adds, turns hashes into registers, or gives the entry to another id.

use counter_ext_memory_model::contents::{Contents, Rank, Table, WordsOf};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;

/// The entry itself has one word, a body two: a table of two hashes, or sixteen registers.
const BODY_WORDS: usize = 2;

/// Hashes that are themselves the register (lower byte) and the rank (next byte).
const fn hash(register: u8, rank: u8) -> u64 {
    rank as u64 * 256 + register as u64
}

const A: u64 = hash(1, 5);
const B: u64 = hash(9, 3);
const NEVER: u64 = hash(4, 2);

struct Entry {
    generation: AtomicU64,
    table: AtomicU64,
    own: [AtomicU64; 1],
    bodies: [[AtomicU64; BODY_WORDS]; 2],
}

/// One of the two bodies.
fn body(number: u32) -> Table {
    Table::in_body(number, 0)
}

impl Entry {
    /// With A in it, generation 7.
    fn with_a() -> Arc<Entry> {
        let zero = |_| AtomicU64::new(0);
        let entry = Entry {
            generation: AtomicU64::new(7),
            table: AtomicU64::new(0),
            own: std::array::from_fn(zero),
            bodies: std::array::from_fn(|_| std::array::from_fn(zero)),
        };
        assert!(entry.contents().add(A));
        Arc::new(entry)
    }

    /// The same in a body.
    fn with_a_in_body() -> Arc<Entry> {
        let entry = Entry::with_a();
        entry.contents().move_to(body(0), || 7);
        entry
    }

    fn contents<'s>(&'s self) -> Contents<'s, impl WordsOf<'s>, impl Fn(u64) -> Rank> {
        Contents {
            generation: &self.generation,
            table: &self.table,
            words: |table: Table| match table.body() {
                Some((number, _)) => self.bodies[number as usize].as_slice(),
                None => self.own.as_slice(),
            },
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
    // One look at a time: two of them take hours together, and know nothing of each other.
    for (generation, look) in [(7, A), (8, A), (7, NEVER), (8, NEVER)] {
        loom::model(move || {
            let entry = Entry::with_a_in_body();
            let adder = beside(&entry, |entry| {
                let contents = entry.contents();
                contents.turn_into_registers(|| 8);
                assert!(contents.add(B));
            });
            if let Some(held) = entry.contents().holds_if(generation, look) {
                assert_eq!(held, look == A, "A was there all the while");
            }
            adder.join().expect("no panic");
            assert!(entry.contents().are_registers());
            assert_eq!(entry.contents().holds_if(7, A), None);
            assert_eq!(entry.contents().holds_if(8, A), Some(true));
            assert_eq!(entry.held(), [true, true, false]);
        });
    }
}

/// What grows gives its body back, and somebody else writes to that.
fn look_beside_growth(begins: fn() -> Arc<Entry>, generation: u64, look: u64, was_there: bool) {
    // All orders with up to three turns forced: more of them take hours.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let entry = begins();
        let adder = beside(&entry, move |entry| {
            let contents = entry.contents();
            contents.move_to(body(1), || 8);
            // The next owner of the body, behind a lock and the fence that every allocation has.
            fence(Ordering::SeqCst);
            entry.bodies[0][look as usize % BODY_WORDS].store(NEVER, Ordering::Relaxed);
        });
        if let Some(held) = entry.contents().holds_if(generation, look) {
            assert_eq!(held, was_there);
        }
        adder.join().expect("no panic");
        assert_eq!(entry.contents().holds_if(7, look), None);
        assert_eq!(entry.contents().holds_if(8, look), Some(was_there));
    });
}

#[test]
fn a_reader_without_a_lock_is_right_while_an_entry_gets_its_first_body() {
    look_beside_growth(Entry::with_a, 7, A, true);
    look_beside_growth(Entry::with_a, 7, NEVER, false);
}

#[test]
fn a_reader_without_a_lock_is_right_while_a_body_is_given_to_another_entry() {
    look_beside_growth(Entry::with_a_in_body, 7, A, true);
    look_beside_growth(Entry::with_a_in_body, 7, NEVER, false);
    look_beside_growth(Entry::with_a_in_body, 8, A, true);
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
            assert!(contents.add(B));
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
        let entry = Entry::with_a_in_body();
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
