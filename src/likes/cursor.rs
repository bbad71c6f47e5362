//! Where a page of likes ends, as one text: the like's time in microseconds since 2000-01-01, a colon, and who or what was liked.
//! One text since a client that took the time as a value of its own might round it (JavaScript has milliseconds), and then pass
//! over likes, or show them twice. Plain Rust.
//!
//! BOUND: a name of at most 255 bytes, behind a number; the beginning of what is none.

use super::errors::LikesError;

/// A place between two likes, newest first: behind the one of this time and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor<'a> {
    /// Microseconds since 2000-01-01; the infinities are the ends of the range.
    pub at_us: i64,
    pub name: &'a [u8],
}

impl Cursor<'_> {
    /// Before all likes.
    pub const FIRST: Cursor<'static> = Cursor { at_us: i64::MAX, name: &[] };

    /// Errors: 22023 the text is not what `Display` of the time, a colon and the name say.
    pub fn read(text: &[u8]) -> Result<Cursor<'_>, LikesError> {
        let bad = || LikesError::BadCursor { cursor: text[..text.len().min(300)].to_vec() };
        let colon = text.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
        let (at, name) = (&text[..colon], &text[colon + 1..]);
        let at_us = str::from_utf8(at).ok().and_then(|at| at.parse::<i64>().ok()).ok_or_else(bad)?;
        if name.is_empty() || at_us.to_string().as_bytes() != at {
            return Err(bad());
        }
        Ok(Cursor { at_us, name })
    }

    /// What `read` reads.
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.at_us.to_string().into_bytes();
        text.push(b':');
        text.extend_from_slice(self.name);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            &b""[..],
            b"user:7",
            b"7",
            b":7",
            b"7:",
            b"+7:a",
            b"07:a",
            b" 7:a",
            b"9223372036854775808:a",
            b"\xff:a",
        ] {
            assert!(Cursor::read(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(at_us: i64, name in prop::collection::vec(any::<u8>(), 1..255)) {
            let cursor = Cursor { at_us, name: &name };
            let text = cursor.text();
            prop_assert_eq!(Cursor::read(&text), Ok(cursor.clone()));
        }
    }
}
