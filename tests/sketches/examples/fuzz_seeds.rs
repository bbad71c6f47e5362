//! Writes what `tests/fuzz` starts from: a few small sketches of every stage.
//!
//! `cargo run --locked -p counter_ext_sketches --example fuzz_seeds`

use std::path::Path;

use counter_ext_sketches::hll::{Parameters, Sketch};
use counter_ext_sketches::simulation::Randomness;

/// A name, then log2m, regwidth, expthresh, sparseon and the number of hashes.
const SEEDS: [(&str, [i64; 4], u32); 10] = [
    ("empty", [14, 5, -1, 1], 0),
    ("explicit_one", [11, 5, -1, 1], 1),
    ("explicit_full", [11, 5, 16, 0], 16),
    ("sparse_none", [4, 1, 0, 1], 0),
    ("sparse_one", [14, 5, 0, 1], 1),
    ("sparse_short_entries", [4, 2, 0, 1], 3),
    ("sparse_many", [11, 5, 4, 1], 200),
    ("full_small", [4, 5, 0, 0], 40),
    ("full_narrow", [8, 1, 0, 0], 60),
    ("full_wide", [8, 8, 2, 1], 1000),
];

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/decode");
    std::fs::create_dir_all(&directory).expect("tests/fuzz/seeds can be made");
    for (name, [log2m, regwidth, expthresh, sparseon], hashes) in SEEDS {
        let parameters = Parameters::new(log2m, regwidth, expthresh, sparseon).expect("within the ranges");
        let mut sketch = Sketch::new(parameters);
        let mut randomness = Randomness::new(u64::from(hashes));
        for _ in 0..hashes {
            sketch.add(randomness.bits()).unwrap();
        }
        if name == "sparse_none" {
            // A hash of nothing but zeros sets no bit of a register.
            sketch.add(0).unwrap();
        }
        std::fs::write(directory.join(name), sketch.encode().unwrap()).expect("a seed can be written");
    }
}
