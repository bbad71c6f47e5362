//! The journal's record: the text of a logical message.
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | format version × 2, plus 1 when the record counts only if the transaction that wrote it commits |
//! | 4 | oid of counter_ext.total, little-endian: which installation of the extension it is for |
//! | 8 | the journal's key: anybody may write logical messages, but only counter_ext.journal's owner knows the key |
//! | varint | epoch |
//! | then, to the end | length of an id (1 byte), the id, zigzag varint of its delta |
//!
//! Varints are LEB128: seven bits a byte, lowest first. The database is in the message's own header, the transaction
//! in the WAL record's.
//!
//! BOUND: whoever writes a record has made room for `ROOM_BYTES`.

/// What this library writes. One that is not known is not guessed at.
pub const FORMAT_VERSION: u8 = 1;

/// A record is closed at this size; what does not fit goes into the next one.
pub const TARGET_BYTES: usize = 128 * 1024;
/// Room for a record that grows to `TARGET_BYTES`, with the header and the delta that makes it full.
pub const ROOM_BYTES: usize = TARGET_BYTES + 512;

/// Far beyond what a database can count to; a record that says more is not one of ours.
pub const MAX_EPOCH: u64 = 1 << 60;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub relation: u32,
    pub key: u64,
    pub epoch: u64,
    /// It counts only if the transaction that wrote it commits.
    pub needs_commit: bool,
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    UnknownVersion(u8),
    EndsEarly,
    EmptyId,
    NumberTooLarge,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::UnknownVersion(version) => write!(f, "format version {version} is not known"),
            Malformed::EndsEarly => f.write_str("the record ends early"),
            Malformed::EmptyId => f.write_str("an id is empty"),
            Malformed::NumberTooLarge => f.write_str("a number is too large"),
        }
    }
}

/// Begins a record in an empty buffer.
pub fn begin(record: &mut Vec<u8>, header: Header) {
    record.clear();
    record.push(FORMAT_VERSION << 1 | u8::from(header.needs_commit));
    record.extend_from_slice(&header.relation.to_le_bytes());
    record.extend_from_slice(&header.key.to_le_bytes());
    put_varint(record, header.epoch);
}

/// Adds a delta. `id` is 1 to 255 bytes long.
pub fn push(record: &mut Vec<u8>, id: &[u8], delta: i64) {
    debug_assert!((1..=255).contains(&id.len()));
    record.push(id.len() as u8);
    record.extend_from_slice(id);
    put_varint(record, zigzag(delta));
}

/// Reads a record, giving each delta to `see`; on an error some may have been given.
pub fn read(record: &[u8], mut see: impl FnMut(&[u8], i64)) -> Result<Header, Malformed> {
    let (header, mut rest) = read_header(record)?;
    while !rest.is_empty() {
        let length = usize::from(take(&mut rest, 1)?[0]);
        if length == 0 {
            return Err(Malformed::EmptyId);
        }
        let id = take(&mut rest, length)?;
        see(id, unzigzag(take_varint(&mut rest)?));
    }
    Ok(header)
}

/// A record's header, and what follows it.
pub fn read_header(record: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let mut rest = record;
    let first = take(&mut rest, 1)?[0];
    if first >> 1 != FORMAT_VERSION {
        return Err(Malformed::UnknownVersion(first >> 1));
    }
    let relation = take(&mut rest, 4)?.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let key = take(&mut rest, 8)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let epoch = take_varint(&mut rest)?;
    if epoch > MAX_EPOCH {
        return Err(Malformed::NumberTooLarge);
    }
    Ok((Header { relation, key, epoch, needs_commit: first & 1 != 0 }, rest))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(bytes).ok_or(Malformed::EndsEarly)?;
    *rest = left;
    Ok(taken)
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put_varint(record: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        record.push(number as u8 | 0x80);
        number >>= 7;
    }
    record.push(number as u8);
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return Err(Malformed::NumberTooLarge);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed::NumberTooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(header: Header, deltas: &[(Vec<u8>, i64)]) -> Vec<u8> {
        let mut record = vec![0xFF; 3];
        begin(&mut record, header);
        for (id, delta) in deltas {
            push(&mut record, id, *delta);
        }
        record
    }

    fn deltas() -> impl Strategy<Value = Vec<(Vec<u8>, i64)>> {
        let id = proptest::collection::vec(any::<u8>(), 1..=255);
        proptest::collection::vec((id, any::<i64>()), 0..20)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            relation: u32, key: u64, epoch in 0..=MAX_EPOCH, needs_commit: bool, deltas in deltas(),
        ) {
            let header = Header { relation, key, epoch, needs_commit };
            let record = write(header, &deltas);
            let mut found = Vec::new();
            let read_header = read(&record, |id, delta| found.push((id.to_vec(), delta)));
            prop_assert_eq!(read_header, Ok(header));
            prop_assert_eq!(found, deltas);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, |id, _| assert!(!id.is_empty()));
        }

        #[test]
        fn a_cut_record_is_refused_or_ends_between_deltas(deltas in deltas(), cut in 0usize..5000) {
            let header = Header { relation: 16_400, key: 5, epoch: 77, needs_commit: false };
            let record = write(header, &deltas);
            let mut found = Vec::new();
            let cut = cut.min(record.len());
            if read(&record[..cut], |id, delta| found.push((id.to_vec(), delta))).is_ok() {
                prop_assert_eq!(&found[..], &deltas[..found.len()]);
            }
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let header =
            Header { relation: 0x0102_0304, key: 0x0908_0706_0504_0302, epoch: 300, needs_commit: true };
        let record = write(header, &[(b"ab".to_vec(), 1), (b"c".to_vec(), -65)]);
        assert_eq!(
            record,
            [3, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xAC, 2, 2, b'a', b'b', 2, 1, b'c', 0x81, 1]
        );
    }

    #[test]
    fn another_version_is_refused() {
        assert_eq!(read(&[4, 0, 0, 0, 0, 1], |_, _| ()), Err(Malformed::UnknownVersion(2)));
    }
}
