//! Reads any bytes as a sketch. What passes must obey the laws of sketches.

#![no_main]

use std::sync::LazyLock;

use counter_ext_sketches::hll::{Sketch, murmur};
use libfuzzer_sys::fuzz_target;

/// A sketch of more takes the time of a thousand small ones, and obeys the same laws: few of them are looked at.
const CHEAP_REGISTERS: usize = 1 << 14;
const ONE_IN: u64 = 64;

/// Of how many sketches one is held against the laws, which takes a hundred times as long as to read it, and of how many with many registers one
/// is read: all of them, unless COUNTER_EXT_FUZZ_LAWS_ONE_IN says less. A run of millions of inputs is about the reading.
static LAWS_ONE_IN: LazyLock<u64> = LazyLock::new(|| {
    std::env::var("COUNTER_EXT_FUZZ_LAWS_ONE_IN").map_or(1, |text| text.parse().expect("a number from 1"))
});

fuzz_target!(|bytes: &[u8]| check(bytes));

fn check(bytes: &[u8]) {
    let hash = murmur::hash(bytes);
    let parameters = Sketch::parameters_of(bytes);
    let is_dear = parameters.is_ok_and(|parameters| parameters.registers() > CHEAP_REGISTERS);
    if is_dear && !hash.is_multiple_of(*LAWS_ONE_IN) {
        return;
    }
    let Ok(sketch) = Sketch::decode(bytes) else {
        return;
    };
    assert!(parameters == Ok(sketch.parameters()), "other parameters");
    if !(hash >> 32).is_multiple_of(*LAWS_ONE_IN) {
        return;
    }
    if sketch.parameters().registers() <= CHEAP_REGISTERS || hash.is_multiple_of(ONE_IN) {
        check_encoding(&sketch);
        check_laws(&sketch, bytes, hash);
    }
}

fn check_encoding(sketch: &Sketch) {
    assert_eq!(sketch.count().is_nan(), sketch.is_undefined(), "no count");
    let encoded = sketch.encode().expect("memory");
    let again = Sketch::decode(&encoded).expect("what was written is a sketch");
    assert!(again == *sketch, "what was written reads differently");
    assert!(again.encode() == Ok(encoded), "the same sketch is written differently");
}

fn check_laws(sketch: &Sketch, bytes: &[u8], hash: u64) {
    let nothing = Sketch::new(sketch.parameters());
    assert!(united(sketch, sketch) == *sketch, "uniting with itself changes it");
    assert!(united(sketch, &nothing) == *sketch, "uniting with nothing changes it");
    assert!(united(&nothing, sketch) == *sketch, "nothing, united with it, is something else");
    for before in [sketch, &nothing] {
        let mut union = before.clone();
        union.unite_encoded(bytes).expect("the bytes are a sketch");
        assert!(union == *sketch, "uniting with the bytes is not uniting with the sketch");
    }

    let mut more = sketch.clone();
    let covered = more.covers(hash);
    assert!(
        more.add(hash) == Ok(!covered),
        "adding a hash that is covered changes something, or else nothing"
    );
    assert!((more == *sketch) == covered, "covered, but the sketch changed, or else not");
    assert!(united(sketch, &more) == more && united(&more, sketch) == more, "not what was added to it");
}

fn united(left: &Sketch, right: &Sketch) -> Sketch {
    let mut union = left.clone();
    union.unite(right).expect("equal parameters");
    union
}
