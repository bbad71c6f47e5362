//! What fuzzing starts from.

use std::path::Path;

use counter_ext_sketches::hll::Sketch;

#[test]
fn seeds_are_sketches_of_every_stage() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/decode");
    let mut first_bytes = Vec::new();
    let mut bytes_of_all = 0;
    for entry in std::fs::read_dir(directory).expect("the directory of seeds") {
        let path = entry.expect("a seed").path();
        let seed = std::fs::read(&path).expect("a readable seed");
        let sketch = Sketch::decode(&seed).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert_eq!(sketch.encode().unwrap(), seed, "{}", path.display());
        bytes_of_all += seed.len();
        first_bytes.push(seed[0]);
    }
    first_bytes.sort_unstable();
    first_bytes.dedup();
    assert_eq!(first_bytes, [0x11, 0x12, 0x13, 0x14]);
    assert!(bytes_of_all < 20_000, "{bytes_of_all} bytes");
}
