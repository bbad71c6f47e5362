//! Laws of sketches: what holds for all parameters, all stages and all bytes.

use counter_ext_sketches::hll::parameters::MAX_EXPLICIT;
use counter_ext_sketches::hll::{Look, Parameters, Refused, Sketch, TooCoarse};
use counter_ext_sketches::simulation::Randomness;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const EXPTHRESHES: [i64; 8] = [-1, 0, 1, 2, 4, 16, 128, 4096];

/// Stages as the lower half of a sketch's first byte.
const EMPTY: u8 = 1;
const EXPLICIT: u8 = 2;
const SPARSE: u8 = 3;
const FULL: u8 = 4;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::with_cases(cases)
    }
}

fn parameters() -> impl Strategy<Value = Parameters> {
    (4i64..=12, 1i64..=8, proptest::sample::select(&EXPTHRESHES), 0i64..=1).prop_map(
        |(log2m, regwidth, expthresh, sparseon)| {
            Parameters::new(log2m, regwidth, expthresh, sparseon).expect("within the ranges")
        },
    )
}

/// Hashes by the thousand from a seed: a vector of arbitrary numbers would take proptest far longer to make.
fn hashes() -> impl Strategy<Value = Vec<u64>> {
    let number = prop_oneof![0usize..10, 0usize..200, 0usize..5000];
    (any::<u64>(), number, 0u32..52, 0u32..20).prop_map(|(seed, number, zeros, repeated)| {
        let mut randomness = Randomness::new(seed);
        let made: Vec<u64> = (0..number)
            .map(|at| match at % 4 {
                // Far up in a register, up to bits that are all zero.
                0 => randomness.bits() << zeros,
                // Few registers, one of them up to the end of the hash.
                1 => randomness.bits() & 0x8000_0000_0000_000f,
                _ => randomness.bits(),
            })
            .collect();
        let again = made.iter().take(repeated as usize).copied().collect::<Vec<u64>>();
        [made, again].concat()
    })
}

fn sketch_of(parameters: Parameters, hashes: &[u64]) -> Sketch {
    let mut sketch = Sketch::new(parameters);
    for hash in hashes {
        sketch.add(*hash).unwrap();
    }
    sketch
}

fn united(left: &Sketch, right: &Sketch) -> Sketch {
    let mut both = left.clone();
    both.unite(right).expect("equal parameters");
    both
}

fn stage(encoded: &[u8]) -> u8 {
    encoded[0] & 0x0f
}

/// Reads bytes that may be anything. What is a sketch must read the same after it was written again.
fn check_any_bytes(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(sketch) = Sketch::decode(bytes) else {
        return Ok(());
    };
    let encoded = sketch.encode().unwrap();
    let again = Sketch::decode(&encoded);
    prop_assert_eq!(again.as_ref(), Ok(&sketch));
    prop_assert_eq!(again.expect("a sketch").encode().unwrap(), encoded);
    prop_assert_eq!(Sketch::parameters_of(bytes), Ok(sketch.parameters()));
    prop_assert_eq!(sketch.count().is_nan(), sketch.is_undefined());
    Ok(())
}

proptest! {
    #![proptest_config(config(2000))]

    /// What is said of one hash by stored sketches, none of which is read as a whole, is what their union says.
    #[test]
    fn looks_at_stored_sketches_say_what_their_union_says(
        parameters in parameters(),
        parts in proptest::collection::vec(hashes(), 0..4),
        other: u64,
    ) {
        let mut union = Sketch::new(parameters);
        let mut stored = Vec::new();
        for part in &parts {
            let mut sketch = Sketch::new(parameters);
            for hash in part {
                sketch.add(*hash).unwrap();
            }
            union.unite(&sketch).unwrap();
            stored.push(sketch.encode().unwrap());
        }
        let some = parts.iter().flat_map(|part| part.iter().copied().take(3));
        for hash in some.chain([other, 0, other >> 50]) {
            let mut look = Look::default();
            for bytes in &stored {
                look.unite(Sketch::look(bytes, parameters, hash).unwrap().expect("defined"));
            }
            match look.covers(parameters, hash) {
                Some(covers) => prop_assert_eq!(covers, union.covers(hash)),
                None => prop_assert!(look.hashes > parameters.max_explicit()),
            }
        }
    }

    #[test]
    fn what_is_written_reads_the_same(parameters in parameters(), hashes in hashes()) {
        let sketch = sketch_of(parameters, &hashes);
        let encoded = sketch.encode().unwrap();
        let read = Sketch::decode(&encoded);
        prop_assert_eq!(read.as_ref(), Ok(&sketch));
        prop_assert_eq!(read.expect("a sketch").count(), sketch.count());
        prop_assert!(encoded.len() <= 3 + parameters.packed_bytes().max(8 * parameters.max_explicit()));
    }

    #[test]
    fn the_order_of_adding_does_not_matter(parameters in parameters(), hashes in hashes(), seed in any::<u64>()) {
        let mut shuffled = hashes.clone();
        let mut randomness = Randomness::new(seed);
        for at in (1..shuffled.len()).rev() {
            shuffled.swap(at, randomness.below(at as u64 + 1) as usize);
        }
        prop_assert_eq!(sketch_of(parameters, &shuffled).encode().unwrap(), sketch_of(parameters, &hashes).encode().unwrap());
    }

    #[test]
    fn hashes_at_once_are_hashes_one_by_one(parameters in parameters(), hashes in hashes()) {
        let at_once = Sketch::from_hashes(parameters, hashes.iter().map(|hash| *hash as i64)).unwrap();
        prop_assert_eq!(at_once, sketch_of(parameters, &hashes));
    }

    #[test]
    fn a_hash_is_covered_where_adding_it_changes_nothing(
        parameters in parameters(), hashes in hashes(), more in hashes(),
    ) {
        let mut sketch = sketch_of(parameters, &hashes);
        for hash in hashes.iter().take(100) {
            prop_assert!(sketch.covers(*hash));
        }
        for hash in more.iter().take(100) {
            let covered = sketch.covers(*hash);
            let before = sketch.clone();
            prop_assert_eq!(sketch.add(*hash), Ok(!covered));
            prop_assert_eq!(sketch == before, covered);
            prop_assert!(sketch.covers(*hash));
        }
    }

    #[test]
    fn the_count_is_exact_while_hashes_are_kept(parameters in parameters(), hashes in hashes()) {
        let mut distinct = hashes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let sketch = sketch_of(parameters, &hashes);
        let exact = distinct.len() <= parameters.max_explicit();
        prop_assert_eq!(sketch.explicit().is_some(), exact);
        prop_assert_eq!(sketch.registers().is_some(), !exact);
        prop_assert_eq!(sketch.is_empty(), distinct.is_empty());
        if exact {
            prop_assert_eq!(sketch.count(), distinct.len() as f64);
        }
    }

    #[test]
    fn union_does_not_ask_who_comes_first(
        parameters in parameters(), a in hashes(), b in hashes(), c in hashes(),
    ) {
        let [a, b, c] = [a, b, c].map(|hashes| sketch_of(parameters, &hashes));
        prop_assert_eq!(united(&a, &b), united(&b, &a));
        prop_assert_eq!(united(&united(&a, &b), &c), united(&a, &united(&b, &c)));
        prop_assert_eq!(united(&a, &a), a);
    }

    #[test]
    fn union_is_the_sketch_of_all_hashes(parameters in parameters(), a in hashes(), b in hashes()) {
        let both = sketch_of(parameters, &[a.as_slice(), &b].concat());
        let union = united(&sketch_of(parameters, &a), &sketch_of(parameters, &b));
        prop_assert_eq!(union.encode().unwrap(), both.encode().unwrap());
        prop_assert_eq!(union, both);
    }

    /// As many hashes as the threshold allows, give or take a few, split between the two.
    #[test]
    fn union_crosses_the_threshold_where_adding_does(
        parameters in parameters(), seed in any::<u64>(), around in -10i64..=10, split in 0.0..=1.0, shared in 0usize..20,
    ) {
        let number = (parameters.max_explicit() as i64 + around).max(0) as usize;
        let mut randomness = Randomness::new(seed);
        let hashes: Vec<u64> = (0..number).map(|_| randomness.bits()).collect();
        let split = (split * number as f64) as usize;
        let (a, b) = (&hashes[..split], &hashes[split.saturating_sub(shared)..]);
        let union = united(&sketch_of(parameters, a), &sketch_of(parameters, b));
        prop_assert_eq!(union, sketch_of(parameters, &hashes));
    }

    #[test]
    fn uniting_with_bytes_is_uniting_with_their_sketch(parameters in parameters(), a in hashes(), b in hashes()) {
        let (a, b) = (sketch_of(parameters, &a), sketch_of(parameters, &b));
        let mut union = a.clone();
        prop_assert_eq!(union.unite_encoded(&b.encode().unwrap()), Ok(()));
        prop_assert_eq!(union, united(&a, &b));
    }

    #[test]
    fn other_parameters_are_refused(
        left in parameters(), right in parameters(), a in hashes(), b in hashes(),
    ) {
        prop_assume!(left != right);
        let (mut a, b) = (sketch_of(left, &a), sketch_of(right, &b));
        let before = a.clone();
        let refused = a.unite(&b).expect_err("other parameters");
        let Refused::Differ(differ) = refused else { panic!("{refused:?}") };
        prop_assert_eq!((differ.left, differ.right), (left, right));
        prop_assert_eq!(a.unite_encoded(&b.encode().unwrap()), Err(refused));
        prop_assert_eq!(a, before);
    }

    /// A folded sketch is the one that the same hashes make with the smaller parameters.
    #[test]
    fn folding_is_making_it_anew(parameters in parameters(), log2m in 4i64..=12, regwidth in 1i64..=8, hashes in hashes()) {
        // What leaves no trace in many registers may leave one in few.
        let hashes: Vec<u64> = hashes.into_iter().filter(|hash| hash >> parameters.log2m() != 0).collect();
        let sketch = sketch_of(parameters, &hashes);
        // An expthresh of -1 keeps fewer hashes where registers are fewer, so what is folded was never past them too early.
        let to = Parameters::new(log2m, regwidth, parameters.expthresh(), i64::from(parameters.sparseon())).expect("within the ranges");
        if to.log2m() <= parameters.log2m() && to.regwidth() <= parameters.regwidth() {
            prop_assert_eq!(sketch.fold(to), Ok(sketch_of(to, &hashes)));
        } else {
            prop_assert_eq!(sketch.fold(to), Err(Refused::TooCoarse(TooCoarse { from: parameters, to })));
        }
    }

    /// So it does not matter whether sketches are folded first or united first.
    #[test]
    fn unions_fold_to_the_union(parameters in parameters(), smaller in 0i64..4, a in hashes(), b in hashes()) {
        let log2m = (i64::from(parameters.log2m()) - smaller).max(4);
        let to = Parameters::new(log2m, i64::from(parameters.regwidth()), parameters.expthresh(), 1).expect("within the ranges");
        let (a, b) = (sketch_of(parameters, &a), sketch_of(parameters, &b));
        let fold = |sketch: &Sketch| sketch.fold(to).expect("smaller");
        let (first, later) = (united(&fold(&a), &fold(&b)), fold(&united(&a, &b)));
        prop_assert_eq!(first.registers().is_some(), later.registers().is_some());
        // Of hashes that are still kept one by one on one side, those without a trace are seen in fewer registers.
        if let (Some(first), Some(later)) = (first.registers(), later.registers()) {
            prop_assert!(first.iter().zip(later).all(|(first, later)| first >= later));
        } else {
            prop_assert_eq!(first, later);
        }
    }

    /// Hashes beyond the threshold, which another maker may have written, are kept as they are; a union of such must
    /// not depend on who comes first either.
    #[test]
    fn hashes_beyond_the_threshold_stay(parameters in parameters(), a in hashes(), b in hashes()) {
        let explicit = |hashes: &[u64]| {
            let mut sorted: Vec<i64> = hashes.iter().map(|hash| *hash as i64).collect();
            sorted.sort_unstable();
            sorted.dedup();
            let mut bytes = Sketch::new(parameters).encode().unwrap();
            bytes[0] = bytes[0] & 0xf0 | if sorted.is_empty() { EMPTY } else { EXPLICIT };
            bytes.extend(sorted.iter().flat_map(|hash| hash.to_be_bytes()));
            bytes
        };
        let (bytes_a, bytes_b) = (explicit(&a), explicit(&b));
        let (a, b) = (Sketch::decode(&bytes_a).expect("a sketch"), Sketch::decode(&bytes_b).expect("a sketch"));
        prop_assert_eq!(a.encode().unwrap(), bytes_a);
        prop_assert_eq!(united(&a, &b), united(&b, &a));
        prop_assert_eq!(&united(&a, &a), &a);
        for left in [&a, &Sketch::new(parameters)] {
            let mut union = left.clone();
            prop_assert_eq!(union.unite_encoded(&bytes_b), Ok(()));
            prop_assert_eq!(union, united(left, &b));
        }
    }
}

proptest! {
    #![proptest_config(config(20_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        check_any_bytes(&bytes)?;
    }

    /// Past the header, where bytes without one hardly come.
    #[test]
    fn any_body_is_read_or_refused(
        parameters in parameters(), stage in EMPTY..=FULL, body in proptest::collection::vec(any::<u8>(), 0..48),
    ) {
        let mut bytes = Sketch::new(parameters).encode().unwrap();
        bytes[0] = bytes[0] & 0xf0 | stage;
        bytes.extend(body);
        check_any_bytes(&bytes)?;
    }

    /// The same with bodies that have the right length and mostly zero bits, as SPARSE ones and padding do.
    #[test]
    fn any_registers_are_read_or_refused(
        parameters in parameters(), stage in SPARSE..=FULL, seed in any::<u64>(), bytes in 0usize..10_000,
    ) {
        let mut encoded = Sketch::new(parameters).encode().unwrap();
        encoded[0] = encoded[0] & 0xf0 | stage;
        let mut randomness = Randomness::new(seed);
        let body = if stage == FULL { parameters.packed_bytes() } else { bytes % 6 };
        encoded.extend((0..body).map(|_| (randomness.bits() & randomness.bits() & randomness.bits()) as u8));
        check_any_bytes(&encoded)?;
    }
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn a_changed_byte_is_read_or_refused(
        parameters in parameters(), hashes in hashes(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut encoded = sketch_of(parameters, &hashes).encode().unwrap();
        let at = at.index(encoded.len());
        encoded[at] = byte;
        check_any_bytes(&encoded)?;
    }

    #[test]
    fn a_piece_is_read_or_refused(
        parameters in parameters(), hashes in hashes(), length in any::<proptest::sample::Index>(),
    ) {
        let encoded = sketch_of(parameters, &hashes).encode().unwrap();
        let piece = &encoded[..length.index(encoded.len())];
        check_any_bytes(piece)?;
        // Half of a sketch must not pass for a whole one where its length is known.
        if stage(&encoded) == FULL {
            prop_assert!(Sketch::decode(piece).is_err());
        }
    }
}

/// A threshold of 2^30 is a promise that nobody keeps.
#[test]
fn no_more_hashes_are_kept_than_can_be_read() {
    let parameters = Parameters::new(14, 5, 1 << 30, 1).expect("within the ranges");
    let mut sketch = Sketch::new(parameters);
    let mut randomness = Randomness::new(4);
    for kept in 1..=MAX_EXPLICIT {
        sketch.add(randomness.bits()).unwrap();
        assert_eq!(sketch.explicit().map(<[i64]>::len), Some(kept));
    }
    assert_eq!(Sketch::decode(&sketch.encode().unwrap()).as_ref(), Ok(&sketch));
    sketch.add(randomness.bits()).unwrap();
    assert_eq!(sketch.explicit(), None);
}

/// More registers than random parameters have: entries of up to 32 bits.
#[test]
fn many_registers_read_the_same() {
    let mut randomness = Randomness::new(2);
    for (log2m, regwidth) in (13..=24).flat_map(|log2m| [1, 5, 8].map(|regwidth| (log2m, regwidth))) {
        for sparseon in 0..=1 {
            let parameters = Parameters::new(log2m, regwidth, 0, sparseon).expect("within the ranges");
            let last = parameters.registers() as u64 - 1;
            let mut hashes = vec![0, last, u64::MAX, 1 << 63 | last];
            hashes.extend((0..300).map(|_| randomness.bits()));
            let sketch = sketch_of(parameters, &hashes);
            let encoded = sketch.encode().unwrap();
            assert_eq!(stage(&encoded), if sparseon == 1 { SPARSE } else { FULL });
            assert!(Sketch::decode(&encoded) == Ok(sketch), "{parameters}");
        }
    }
}

/// The whole grid of parameters, from nothing to far more hashes than registers.
#[test]
fn every_stage_of_every_parameter_reads_the_same() {
    let mut stages = [0u32; 5];
    let mut randomness = Randomness::new(1);
    for log2m in 4..=12 {
        for regwidth in 1..=8 {
            for expthresh in EXPTHRESHES {
                for sparseon in 0..=1 {
                    let parameters =
                        Parameters::new(log2m, regwidth, expthresh, sparseon).expect("within the ranges");
                    for number in
                        [0, 1, 2, 5, 17, 130, parameters.registers() / 3, parameters.registers() * 4]
                    {
                        let hashes: Vec<u64> = (0..number).map(|_| randomness.bits()).collect();
                        let sketch = sketch_of(parameters, &hashes);
                        let encoded = sketch.encode().unwrap();
                        assert_eq!(
                            Sketch::decode(&encoded).as_ref(),
                            Ok(&sketch),
                            "{parameters} of {number}"
                        );
                        stages[usize::from(stage(&encoded))] += 1;
                        assert!(sparseon == 1 || stage(&encoded) != SPARSE, "{parameters} of {number}");
                    }
                }
            }
        }
    }
    assert_eq!(stages[0], 0);
    assert!(stages[1..].iter().all(|seen| *seen > 500), "{stages:?}");
}
