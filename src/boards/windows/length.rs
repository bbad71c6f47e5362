//! Lengths of windows, and what the board of one window is called in rows. Plain Rust; instants are microseconds since 2000-01-01, UTC.
//!
//! When a window begins is PostgreSQL's to say, as `date_trunc` does in a time zone. A window is named after its prefix, its length and when
//! it began, so that the windows of a board follow each other in the order of their bytes. No user's id or prefix begins as a name does.
//!
//! BOUND: a prefix of at most 255 bytes, and what is put before and behind it.

/// What names begin with: the first byte of ids that families keep for themselves.
pub const LEAD: u8 = 1;
/// Digits of an instant, base 16.
const INSTANT: usize = 16;
/// Bytes before the prefix: `LEAD`, the length's letter, and the prefix's length, base 16.
const BEFORE_PREFIX: usize = 4;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Length {
    Hour,
    Day,
    Week,
    Month,
}

/// From the shortest on.
pub const LENGTHS: [Length; 4] = [Length::Hour, Length::Day, Length::Week, Length::Month];

impl Length {
    pub fn named(name: &[u8]) -> Option<Length> {
        LENGTHS.into_iter().find(|length| length.name().as_bytes() == name)
    }

    /// As users and PostgreSQL call it.
    pub fn name(self) -> &'static str {
        match self {
            Length::Hour => "hour",
            Length::Day => "day",
            Length::Week => "week",
            Length::Month => "month",
        }
    }

    fn letter(self) -> u8 {
        self.name().as_bytes()[0]
    }
}

/// Whether this begins as names of windows do, and as no prefix of a user's.
pub fn is_name(bytes: &[u8]) -> bool {
    bytes.first() == Some(&LEAD)
}

/// What the names of a board's windows begin with.
pub fn head(prefix: &[u8], length: Length) -> Vec<u8> {
    let mut head = vec![LEAD, length.letter()];
    head.extend(format!("{:02x}", prefix.len()).bytes());
    head.extend(prefix);
    head
}

/// The name of the window that began then.
pub fn name(prefix: &[u8], length: Length, began_us: i64) -> Vec<u8> {
    let mut name = head(prefix, length);
    // As an unsigned number it is in order.
    name.extend(format!("{:0INSTANT$x}", began_us as u64 ^ (1 << 63)).bytes());
    name
}

/// The name of a window and what is behind it, a member for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub head: &'a [u8],
    pub name: &'a [u8],
    pub prefix: &'a [u8],
    pub began_us: i64,
    pub rest: &'a [u8],
}

/// Takes a name apart. `None` where it is none.
pub fn read(bytes: &[u8]) -> Option<Named<'_>> {
    let [LEAD, _, _, _, behind @ ..] = bytes else { return None };
    let hex = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let prefix_bytes = usize::try_from(hex(&bytes[2..BEFORE_PREFIX])?).ok()?;
    let (prefix, instant) = (behind.get(..prefix_bytes)?, behind.get(prefix_bytes..prefix_bytes + INSTANT)?);
    let (head, name) = (BEFORE_PREFIX + prefix_bytes, BEFORE_PREFIX + prefix_bytes + INSTANT);
    Some(Named {
        head: &bytes[..head],
        name: &bytes[..name],
        prefix,
        began_us: (hex(instant)? ^ (1 << 63)) as i64,
        rest: &bytes[name..],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(3u8..=255, 0..256)
    }

    proptest! {
        #[test]
        fn a_name_says_what_it_was_made_of(
            prefix in prefix(), length in prop::sample::select(&LENGTHS[..]), began_us: i64, member in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let name = name(&prefix, length, began_us);
            let with_member = [&name[..], &member].concat();
            let read = read(&with_member).unwrap();
            prop_assert_eq!(read.head, &head(&prefix, length)[..]);
            prop_assert_eq!((read.name, read.prefix, read.began_us, read.rest), (&name[..], &prefix[..], began_us, &member[..]));
            prop_assert_eq!(read.name.iter().position(|byte| *byte == 0), None);
        }

        #[test]
        fn windows_of_a_board_are_in_order_and_with_each_other(
            (one, other) in (prefix(), prefix()), (a, b) in any::<(i64, i64)>(), lengths in prop::sample::select(&[(0usize, 1usize), (1, 2), (2, 2), (3, 0)][..]),
        ) {
            let (first, second) = (LENGTHS[lengths.0], LENGTHS[lengths.1]);
            prop_assert_eq!(a.cmp(&b), name(&one, first, a).cmp(&name(&one, first, b)));
            let is_same = (first, &one) == (second, &other);
            prop_assert_eq!(name(&one, first, a).starts_with(&head(&other, second)), is_same);
        }

        #[test]
        fn nothing_is_read_past_the_end(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            read(&bytes);
            read(&[&[LEAD][..], &bytes].concat());
        }
    }

    #[test]
    fn lengths_have_names_and_letters_of_their_own() {
        for length in LENGTHS {
            assert_eq!(Length::named(length.name().as_bytes()), Some(length));
            assert_eq!(LENGTHS.iter().filter(|other| other.letter() == length.letter()).count(), 1);
        }
        assert_eq!(Length::named(b"year"), None);
    }
}
