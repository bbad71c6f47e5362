//! Bytes that are not a sketch, and what is said of them.

use counter_ext_sketches::hll::parameters::MAX_EXPLICIT;
use counter_ext_sketches::hll::{Malformed, Parameters, Refused, Sketch, Stored};

/// log2m 4, regwidth 5, expthresh -1, sparseon 1: an index and a value take 9 bits, all registers 10 bytes.
const PARAMETERS: [u8; 2] = [0x84, 0x7f];

fn read_sketch(bytes: &[u8]) -> Result<Sketch, Malformed> {
    Sketch::decode(bytes).map_err(|refused| match refused {
        Refused::Malformed(malformed) => malformed,
        other => panic!("{other:?}"),
    })
}

fn decode(first: u8, body: &[u8]) -> Result<Sketch, Malformed> {
    read_sketch(&[&[first], &PARAMETERS[..], body].concat())
}

fn explicit(hashes: &[i64]) -> Result<Sketch, Malformed> {
    decode(0x12, &hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect::<Vec<u8>>())
}

/// SPARSE entries of 9 bits, then the last byte filled with `padding`.
fn sparse(entries: &[(u32, u32)], padding: &str) -> Result<Sketch, Malformed> {
    let bits: String = entries.iter().map(|(index, value)| format!("{index:04b}{value:05b}")).collect();
    let bits = bits + padding;
    let bytes: Vec<u8> = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| u8::from_str_radix(str::from_utf8(byte).expect("digits"), 2).expect("digits"))
        .collect();
    assert_eq!(bits.len() % 8, 0, "whole bytes");
    decode(0x13, &bytes)
}

#[test]
fn the_helpers_make_sketches() {
    let parameters = Parameters::new(4, 5, -1, 1).expect("within the ranges");
    assert_eq!(decode(0x11, &[]), Ok(Sketch::new(parameters)));
    assert_eq!(explicit(&[-7, 3]).map(|sketch| sketch.count()), Ok(2.0));
    let registers = |sketch: Sketch| sketch.registers().map(<[u8]>::to_vec);
    let read = sparse(&[(1, 31), (14, 1)], "000000").map(registers);
    assert_eq!(read, Ok(Some(vec![0, 31, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])));
    assert_eq!(decode(0x14, &[0x08; 10]).map(|sketch| sketch.registers().map(|r| r[0])), Ok(Some(1)));
}

#[test]
fn too_short() {
    for length in 0..3 {
        assert_eq!(read_sketch(&[0x11, 0x84, 0x7f][..length]), Err(Malformed::TooShort));
    }
}

#[test]
fn version() {
    assert_eq!(decode(0x01, &[]), Err(Malformed::Version(0)));
    assert_eq!(decode(0x21, &[]), Err(Malformed::Version(2)));
}

#[test]
fn undefined() {
    assert_eq!(decode(0x10, &[1, 2, 3]), Err(Malformed::Length { bytes: 6 }));
    assert_eq!(read_sketch(&[0x10]), Err(Malformed::TooShort), "only where parameters are known");
    for wrong in [&[0x10, 0x84][..], &[0x11]] {
        let read = Sketch::decode_foreign(wrong);
        assert_eq!(read, Err(Refused::Malformed(Malformed::TooShort)));
    }
}

#[test]
fn what_is_undefined_stays_so() {
    let undefined = decode(0x10, &[]).expect("a sketch");
    assert!(undefined.is_undefined() && undefined.count().is_nan() && !undefined.is_empty());
    assert_eq!(undefined.encode().as_deref(), Ok(&[0x10, 0x84, 0x7f][..]));
    assert_eq!(undefined, Sketch::undefined(undefined.parameters()));
    assert_eq!(Sketch::decode_foreign(&[0x10]), Ok(Sketch::undefined(Parameters::default())));
    assert_eq!(Sketch::stored_as(&[0x10, 0x84, 0x7f]), Ok(Stored::Undefined));
    let some = explicit(&[-7, 3]).expect("a sketch");
    assert_ne!(undefined, some);
    assert_ne!(undefined, Sketch::new(some.parameters()));
    for (mut left, right) in [(undefined.clone(), &some), (some.clone(), &undefined)] {
        let mut encoded = left.clone();
        left.unite(right).expect("equal parameters");
        assert_eq!(left, undefined);
        encoded.unite_encoded(&right.encode().expect("memory")).expect("equal parameters");
        assert_eq!(encoded, undefined);
    }
    let mut added = undefined.clone();
    assert_eq!(added.add(5), Ok(false));
    assert!(added.covers(5) && !added.add_to_registers(5));
    assert_eq!(added, undefined);
    let malformed = Malformed::Length { bytes: 4 };
    assert_eq!(added.unite_encoded(&[0x11, 0x84, 0x7f, 0]), Err(Refused::Malformed(malformed)));
    assert_eq!(undefined.fold(undefined.parameters()).as_ref(), Ok(&undefined));
}

#[test]
fn stage() {
    for stage in 5..16 {
        assert_eq!(decode(0x10 | stage, &[]), Err(Malformed::Stage(stage)));
    }
}

#[test]
fn parameters() {
    for [registers, rest] in
        [[0x83, 0x7f], [0x99, 0x7f], [0x80, 0x7f], [0x84, 0xff], [0x84, 0x60], [0x84, 62]]
    {
        let refused = Malformed::Parameters([registers, rest]);
        assert_eq!(read_sketch(&[0x11, registers, rest]), Err(refused));
        assert_eq!(Sketch::parameters_of(&[0x11, registers, rest]), Err(refused));
    }
    for [registers, rest] in [[0x84, 31], [0x98, 0x00], [0x04, 0x40]] {
        assert!(read_sketch(&[0x11, registers, rest]).is_ok());
    }
}

#[test]
fn length() {
    assert_eq!(decode(0x11, &[0]), Err(Malformed::Length { bytes: 4 }), "EMPTY with a body");
    for body in [1, 7, 9, 15] {
        let refused = Err(Malformed::Length { bytes: 3 + body });
        assert_eq!(decode(0x12, &vec![0; body]), refused, "EXPLICIT with half a hash");
    }
    for body in [0, 9, 11, 20] {
        let refused = Err(Malformed::Length { bytes: 3 + body });
        assert_eq!(decode(0x14, &vec![0; body]), refused, "FULL with too few or too many registers");
    }
    assert_eq!(decode(0x13, &[0xff]), Err(Malformed::Length { bytes: 4 }), "SPARSE with half an entry");
    let after = sparse(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1)], "00000000");
    assert_eq!(after, Err(Malformed::Length { bytes: 13 }), "a byte more than entries take");
}

#[test]
fn too_many_hashes() {
    let hashes: Vec<i64> = (0..=MAX_EXPLICIT as i64).collect();
    assert!(explicit(&hashes[1..]).is_ok());
    assert_eq!(explicit(&hashes), Err(Malformed::TooManyHashes { hashes: MAX_EXPLICIT + 1 }));
}

#[test]
fn order() {
    assert!(explicit(&[i64::MIN, -1, 0, i64::MAX]).is_ok(), "signed");
    assert_eq!(explicit(&[0, -1]), Err(Malformed::Order));
    assert_eq!(explicit(&[5, 5]), Err(Malformed::Order));
    assert_eq!(sparse(&[(3, 1), (2, 1)], "000000"), Err(Malformed::Order));
    assert_eq!(sparse(&[(3, 1), (3, 2)], "000000"), Err(Malformed::Order));
}

#[test]
fn not_canonical() {
    assert_eq!(sparse(&[(0, 0)], "0000000"), Err(Malformed::NotCanonical), "a zero register alone");
    assert_eq!(sparse(&[(3, 0)], "0000000"), Err(Malformed::NotCanonical));
    assert_eq!(sparse(&[(3, 1), (4, 0)], "000000"), Err(Malformed::NotCanonical));
    assert_eq!(sparse(&[(3, 1)], "0000001"), Err(Malformed::NotCanonical), "padding");
    assert_eq!(sparse(&[(3, 1)], "1000000"), Err(Malformed::NotCanonical), "padding");
}

/// log2m 4 and regwidth 1: entries of 5 bits, so that padding can be longer than an entry.
#[test]
fn padding_longer_than_an_entry() {
    let header = [0x13, 0x04, 0x7f];
    let read = |body: &[u8]| read_sketch(&[&header[..], body].concat());
    // Entries (0,1) and (1,1): 00001 00011, then six bits of padding.
    assert!(read(&[0b0000_1000, 0b1100_0000]).is_ok());
    assert_eq!(read(&[0b0000_1000, 0b1100_0001]), Err(Malformed::NotCanonical));
    assert_eq!(read(&[0b0000_1000, 0b1100_0000, 0]), Err(Malformed::NotCanonical), "a byte of padding");
    assert_eq!(read(&[0]), Err(Malformed::NotCanonical), "a zero register alone");
}

#[test]
fn bytes_that_are_not_a_sketch_are_not_united() {
    let mut sketch = explicit(&[1, 2, 3]).expect("a sketch");
    let before = sketch.clone();
    for (bytes, malformed) in [
        (&[0x11, 0x84][..], Malformed::TooShort),
        (&[0x12, 0x84, 0x7f, 0], Malformed::Length { bytes: 4 }),
        (&[0x14, 0x84, 0x7f, 0], Malformed::Length { bytes: 4 }),
    ] {
        assert_eq!(sketch.unite_encoded(bytes), Err(Refused::Malformed(malformed)));
    }
    assert_eq!(sketch, before);
}

#[test]
fn every_reason_reads_as_a_sentence() {
    for (malformed, text) in [
        (Malformed::TooShort, "it is shorter than its header of 3 bytes"),
        (Malformed::Version(2), "its version is 2, not 1"),
        (Malformed::Stage(9), "there is no stage 9"),
        (
            Malformed::Parameters([0x83, 0x7f]),
            "its parameters are out of range: log2m 3, regwidth 5, third byte 7f",
        ),
        (Malformed::Length { bytes: 4 }, "4 bytes are not what its stage and parameters take"),
        (Malformed::TooManyHashes { hashes: 16_384 }, "16384 hashes are more than 16383"),
        (Malformed::Order, "its entries are not in ascending order"),
        (Malformed::NotCanonical, "it stores a zero register, or its padding is not zero"),
    ] {
        assert_eq!(malformed.to_string(), text);
    }
}
