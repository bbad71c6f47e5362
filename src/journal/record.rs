//! The journal's record: the bytes of one row of counter_ext.journal_tail.
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | format version |
//! | then, to the end | length of an id (1 byte), the id, zigzag varint of its delta |
//!
//! Varints are LEB128: seven bits a byte, lowest first. The epoch is a column of its own, and whose a record is, is its row's.
//!
//! BOUND: whoever writes a record has made room for it.

use unsigned_varint::{decode, encode};

/// What this library writes. One that is not known is not guessed at.
pub const FORMAT_VERSION: u8 = 1;

/// Bytes before the first delta.
pub const HEADER_BYTES: usize = 1;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Empty,
    UnknownVersion(u8),
    EndsEarly,
    EmptyId,
    BadNumber,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Empty => f.write_str("it is empty"),
            Malformed::UnknownVersion(version) => write!(f, "its format version {version} is not known"),
            Malformed::EndsEarly => f.write_str("it ends early"),
            Malformed::EmptyId => f.write_str("an id is empty"),
            Malformed::BadNumber => f.write_str("a number is not one"),
        }
    }
}

/// Begins a record in a buffer.
pub fn begin(record: &mut Vec<u8>) {
    record.clear();
    record.push(FORMAT_VERSION);
}

/// Adds a delta. `id` is 1 to 255 bytes long.
pub fn push(record: &mut Vec<u8>, id: &[u8], delta: i64) {
    debug_assert!((1..=255).contains(&id.len()));
    record.push(id.len() as u8);
    record.extend_from_slice(id);
    record.extend_from_slice(encode::u64(zigzag(delta), &mut encode::u64_buffer()));
}

/// What a delta takes up.
pub fn delta_bytes(id: &[u8], delta: i64) -> usize {
    1 + id.len() + encode::u64(zigzag(delta), &mut encode::u64_buffer()).len()
}

/// The most that a delta of an id of this length can take up.
pub const fn most_delta_bytes(id_bytes: usize) -> usize {
    1 + id_bytes + 10
}

/// A record's deltas as they are written, to be put into another record.
pub fn deltas(record: &[u8]) -> &[u8] {
    record.get(HEADER_BYTES..).unwrap_or_default()
}

/// Reads a record, giving each delta to `see`; on an error some may have been given.
pub fn read(record: &[u8], mut see: impl FnMut(&[u8], i64)) -> Result<(), Malformed> {
    let (version, mut rest) = record.split_first().ok_or(Malformed::Empty)?;
    if *version != FORMAT_VERSION {
        return Err(Malformed::UnknownVersion(*version));
    }
    while let Some((length, after)) = rest.split_first() {
        if *length == 0 {
            return Err(Malformed::EmptyId);
        }
        let (id, after) = after.split_at_checked(usize::from(*length)).ok_or(Malformed::EndsEarly)?;
        let (number, after) = decode::u64(after).map_err(|error| match error {
            decode::Error::Insufficient => Malformed::EndsEarly,
            _ => Malformed::BadNumber,
        })?;
        see(id, unzigzag(number));
        rest = after;
    }
    Ok(())
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(deltas: &[(Vec<u8>, i64)]) -> Vec<u8> {
        let mut record = vec![0xFF; 3];
        begin(&mut record);
        for (id, delta) in deltas {
            push(&mut record, id, *delta);
        }
        record
    }

    fn some_deltas() -> impl Strategy<Value = Vec<(Vec<u8>, i64)>> {
        let id = proptest::collection::vec(any::<u8>(), 1..=255);
        proptest::collection::vec((id, any::<i64>()), 0..20)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(deltas in some_deltas()) {
            let record = write(&deltas);
            let mut found = Vec::new();
            prop_assert_eq!(read(&record, |id, delta| found.push((id.to_vec(), delta))), Ok(()));
            prop_assert_eq!(&found, &deltas);
            let bytes: usize = deltas.iter().map(|(id, delta)| delta_bytes(id, *delta)).sum();
            prop_assert_eq!(record.len(), HEADER_BYTES + bytes);
            prop_assert!(deltas.iter().all(|(id, delta)| delta_bytes(id, *delta) <= most_delta_bytes(id.len())));
        }

        #[test]
        fn records_are_joined_by_their_deltas(one in some_deltas(), two in some_deltas()) {
            let mut joined = write(&one);
            joined.extend_from_slice(super::deltas(&write(&two)));
            prop_assert_eq!(joined, write(&[one, two].concat()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, |id, _| assert!(!id.is_empty()));
        }

        #[test]
        fn a_cut_record_is_refused_or_ends_between_deltas(deltas in some_deltas(), cut in 0usize..5000) {
            let record = write(&deltas);
            let mut found = Vec::new();
            let cut = cut.min(record.len());
            if read(&record[..cut], |id, delta| found.push((id.to_vec(), delta))).is_ok() {
                prop_assert_eq!(&found[..], &deltas[..found.len()]);
            }
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let record = write(&[(b"ab".to_vec(), 1), (b"c".to_vec(), -65)]);
        assert_eq!(record, [1, 2, b'a', b'b', 2, 1, b'c', 0x81, 1]);
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(read(&[2, 1, b'a', 2], |_, _| ()), Err(Malformed::UnknownVersion(2)));
        assert_eq!(read(&[], |_, _| ()), Err(Malformed::Empty));
    }
}
