//! The text of an integer or of a uuid, where it needs no allocation; and texts that say a uuid in another spelling. Plain Rust.

/// Bytes of a uuid's text, longer than any integer's.
const UUID_BYTES: usize = 36;
/// What PostgreSQL reads as a uuid is as short as this, without dashes, and as long, in braces and with a dash behind every four digits.
const UUID_TEXT_BYTES: std::ops::RangeInclusive<usize> = 32..=41;

/// The text of an integer or of a uuid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortName {
    bytes: [u8; UUID_BYTES],
    length: u8,
}

impl ShortName {
    pub fn of_integer(number: i64) -> ShortName {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(number).as_bytes();
        let mut bytes = [0; UUID_BYTES];
        bytes[..digits.len()].copy_from_slice(digits);
        ShortName { bytes, length: digits.len() as u8 }
    }

    /// As PostgreSQL writes it: in lower case, with four dashes.
    pub fn of_uuid(uuid: &[u8; 16]) -> ShortName {
        let mut digits = [0; 32];
        // Two digits a byte always fit.
        let _ = hex::encode_to_slice(uuid, &mut digits);
        let mut bytes = [b'-'; UUID_BYTES];
        for (place, group) in [(0, 0..8), (9, 8..12), (14, 12..16), (19, 16..20), (24, 20..32)] {
            bytes[place..place + group.len()].copy_from_slice(&digits[group]);
        }
        ShortName { bytes, length: UUID_BYTES as u8 }
    }

    /// The usual spelling of a uuid that a text says in another one, as PostgreSQL's input takes it: capitals, braces, no dashes or more
    /// of them. `None` where the text is spelled so already, or is no uuid.
    #[inline]
    pub fn of_uuid_text(text: &[u8]) -> Option<ShortName> {
        if !UUID_TEXT_BYTES.contains(&text.len()) || !(text[0] == b'{' || text[0].is_ascii_hexdigit()) {
            return None;
        }
        ShortName::respelled(text)
    }

    fn respelled(text: &[u8]) -> Option<ShortName> {
        let is_usual = text.len() == UUID_BYTES
            && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-')
            && !text.iter().any(|byte| (b'A'..=b'F').contains(byte));
        if is_usual { None } else { Some(ShortName::of_uuid(&read_uuid(text)?)) }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// As PostgreSQL's uuid_in.
fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        _ => text,
    };
    let mut uuid = [0; 16];
    for (at, byte) in uuid.iter_mut().enumerate() {
        let (digits, after) = rest.split_first_chunk::<2>()?;
        hex::decode_to_slice(digits, std::slice::from_mut(byte)).ok()?;
        rest = match after {
            [b'-', behind @ ..] if at % 2 == 1 && at < 15 => behind,
            _ => after,
        };
    }
    rest.is_empty().then_some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USUAL: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

    #[test]
    fn a_uuid_has_one_spelling() {
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{A0eeBC99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "{a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11}",
        ] {
            let name = ShortName::of_uuid_text(text.as_bytes()).expect(text);
            assert_eq!(name.bytes(), USUAL.as_bytes(), "{text}");
        }
        assert_eq!(ShortName::of_uuid_text(USUAL.as_bytes()), None, "nothing to do");
    }

    #[test]
    fn what_is_no_uuid_stays_as_it_is() {
        for text in [
            "",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc999c0b4ef8bb6d6bb9bd380a111",
            "g0eebc999c0b4ef8bb6d6bb9bd380a11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a1-1",
            "a0eebc99--9c0b4ef8bb6d6bb9bd380a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
            "-a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380é",
        ] {
            assert_eq!(ShortName::of_uuid_text(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn integers_are_their_decimals(number: i64) {
            let name = ShortName::of_integer(number);
            let text = number.to_string();
            prop_assert_eq!(name.bytes(), text.as_bytes());
        }

        #[test]
        fn every_spelling_is_read(uuid: [u8; 16], capitals: bool, braces: bool, dashes in 0u8..128) {
            let digits = if capitals { hex::encode_upper(uuid) } else { hex::encode(uuid) };
            let mut text = String::new();
            for (at, group) in digits.as_bytes().chunks(4).enumerate() {
                text += std::str::from_utf8(group).expect("digits");
                if at < 7 && dashes >> at & 1 == 1 {
                    text.push('-');
                }
            }
            if braces {
                text = format!("{{{text}}}");
            }
            let usual = ShortName::of_uuid(&uuid);
            let read = ShortName::of_uuid_text(text.as_bytes());
            prop_assert_eq!(read.map_or(text.into_bytes(), |name| name.bytes().to_vec()), usual.bytes().to_vec());
        }

        #[test]
        fn any_text_is_taken(text in "[0-9a-fA-F{}-]{30,43}") {
            let _ = ShortName::of_uuid_text(text.as_bytes());
        }
    }
}
