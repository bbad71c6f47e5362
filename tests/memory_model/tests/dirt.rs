//! Dirty entries: committers that make entries dirty meet each other, and who evicts finds what they left.

use counter_ext_memory_model::dirt::Dirt;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;

struct Partition {
    dirty: Vec<AtomicU64>,
    full: Vec<AtomicU64>,
    count: AtomicU32,
}

impl Partition {
    fn of(words: usize) -> Partition {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Partition { dirty: zeros(words), full: zeros(words.div_ceil(64)), count: AtomicU32::new(0) }
    }

    fn dirt(&self) -> Dirt<'_> {
        Dirt { dirty: &self.dirty, full: &self.full, count: &self.count }
    }
}

#[test]
fn entries_that_become_dirty_together_are_counted_once_each() {
    loom::model(|| {
        let partition = Arc::new(Partition::of(1));
        // All of the word but two.
        (0..62).for_each(|index| assert!(partition.dirt().set(index).is_some()));
        let committers: Vec<_> = [[62, 63], [63, 62]]
            .map(|entries| {
                let partition = partition.clone();
                thread::spawn(move || {
                    entries.map(|index| partition.dirt().set(index)).iter().flatten().count()
                })
            })
            .into_iter()
            .collect();
        let became: usize = committers.into_iter().map(|committer| committer.join().expect("no panic")).sum();
        assert_eq!((became, partition.dirt().count()), (2, 64));
        assert_eq!(partition.dirt().next_clean(0, 64), None);
        partition.dirt().clear(63);
        assert_eq!(partition.dirt().next_clean(5, 64), Some(63));
    });
}

/// Beside a list of booleans, one thread.
#[test]
fn the_next_clean_entry_is_found_wherever_it_is() {
    let steps: Vec<(u32, u32)> =
        (0..3000u32).map(|step| (step.wrapping_mul(2_654_435_761) >> 8, step)).collect();
    for entries in [1u32, 63, 64, 65, 300, 9000] {
        let mut model = loom::model::Builder::new();
        model.max_branches = 10_000_000;
        let steps = steps.clone();
        model.check(move || {
            let partition = Partition::of(entries.div_ceil(64) as usize);
            let mut plain = vec![false; entries as usize];
            // Nearly all are dirty; then random ones change.
            for index in (0..entries).filter(|index| index % 97 != 5) {
                plain[index as usize] = true;
                assert!(partition.dirt().set(index).is_some());
            }
            for (random, step) in &steps[..60] {
                let index = random % entries;
                if step.is_multiple_of(2) {
                    partition.dirt().clear(index);
                } else {
                    partition.dirt().set(index);
                }
                plain[index as usize] = !step.is_multiple_of(2);
                let from = random / 7 % entries;
                let mut round = (0..entries).map(|step| (from + step) % entries);
                let expected = round.find(|index| !plain[*index as usize]);
                assert_eq!(partition.dirt().next_clean(from, entries), expected, "{entries} from {from}");
                assert_eq!(partition.dirt().count() as usize, plain.iter().filter(|dirty| **dirty).count());
            }
        });
    }
}
