//! Users' bytes (ids, names) inside messages.
//!
//! A message is put together as a Rust string, which is UTF-8. An id is bytes in the server's encoding, which need not be UTF-8.
//! So each byte beyond ASCII stands in the string as one character of a private range, `in_message`, and becomes that byte again
//! where the message is handed to PostgreSQL, `to_bytes`. What the extension itself says is ASCII, which is the same
//! in every encoding that a server can have.
//!
//! BOUND: a message and the ids and names in it: some hundred bytes, or a few times that where they are escaped.

/// The byte 0x80 + n is the character FIRST + n: the last 128 characters of the private plane 16.
const FIRST: u32 = 0x0010_FF80;

/// An id or a name as part of a message. Control characters are shown by their number, so that no id can begin a new line
/// in the server's log.
pub fn in_message(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            0x80.. => text.extend(char::from_u32(FIRST + u32::from(byte - 0x80))),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&escaped(byte)),
        }
    }
    text
}

/// A message in the server's encoding. `is_presentable` is asked about each run of a user's bytes beyond ASCII: whether it is
/// whole characters that the reader can be shown. A run that is not is shown by its bytes' numbers.
pub fn to_bytes(message: &str, mut is_presentable: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len());
    let mut run = Vec::new();
    let mut end_run = |run: &mut Vec<u8>, bytes: &mut Vec<u8>| {
        if is_presentable(run) {
            bytes.append(run);
        } else {
            bytes.extend(run.drain(..).flat_map(|byte| escaped(byte).into_bytes()));
        }
    };
    for character in message.chars() {
        match byte_of(character) {
            Some(byte) => run.push(byte),
            None => {
                if !run.is_empty() {
                    end_run(&mut run, &mut bytes);
                }
                // What is not ASCII here is a foreign message that came as UTF-8.
                bytes.push(u8::try_from(character).ok().filter(u8::is_ascii).unwrap_or(b'?'));
            }
        }
    }
    if !run.is_empty() {
        end_run(&mut run, &mut bytes);
    }
    bytes
}

fn byte_of(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(FIRST)?).ok().map(|number| 0x80 + number)
}

fn escaped(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_latin1_id_is_the_bytes_it_was() {
        let message = format!("total of counter \"{}\" is out of range", in_message(b"caf\xe9"));
        assert_eq!(to_bytes(&message, |_| true), b"total of counter \"caf\xe9\" is out of range");
    }

    #[test]
    fn what_cannot_be_shown_is_shown_by_number() {
        let message = in_message("a日\u{e9}b".as_bytes());
        let mut asked = Vec::new();
        let shown = to_bytes(&message, |run| {
            asked.push(run.to_vec());
            false
        });
        assert_eq!(shown, br"a\xe6\x97\xa5\xc3\xa9b");
        assert_eq!(asked, ["日\u{e9}".as_bytes()]);
    }

    #[test]
    fn control_characters_begin_no_line() {
        assert_eq!(in_message(b"a\n\x7f\0b"), r"a\x0a\x7f\x00b");
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes in proptest::collection::vec(0x20u8.., 0..300)) {
            prop_assume!(!bytes.contains(&0x7f));
            prop_assert_eq!(to_bytes(&in_message(&bytes), |_| true), bytes);
        }

        #[test]
        fn runs_are_never_empty_and_all_beyond_ascii(bytes: Vec<u8>) {
            to_bytes(&in_message(&bytes), |run| {
                assert!(!run.is_empty() && !run.iter().any(u8::is_ascii));
                true
            });
        }
    }
}
