//! Names as SQL writes them, in parts.
//!
//! BOUND: a name, as it was given.

use std::ffi::CString;

/// The parts of a name with dots, without their quotes; what is not quoted is in lower case. `None` where it is no name.
pub fn parts(name: &[u8]) -> Option<Vec<CString>> {
    let mut parts = Vec::new();
    let mut rest = name.trim_ascii();
    loop {
        let (part, length) = first(rest)?;
        parts.push(CString::new(part).ok().filter(|part| !part.is_empty())?);
        rest = rest[length..].trim_ascii_start();
        match rest {
            [] => return Some(parts),
            [b'.', more @ ..] => rest = more.trim_ascii_start(),
            _ => return None,
        }
    }
}

/// The first part, and how long it is as it stands.
fn first(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut part = Vec::new();
    if text.first() != Some(&b'"') {
        let ends = |byte: &u8| matches!(byte, b'.' | b'"') || byte.is_ascii_whitespace();
        let length = text.iter().position(ends).unwrap_or(text.len());
        part.extend(text[..length].iter().map(u8::to_ascii_lowercase));
        return Some((part, length));
    }
    let mut at = 1;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'"', Some(b'"')) => {
                part.push(b'"');
                at += 2;
            }
            (b'"', _) => return Some((part, at + 1)),
            (byte, _) => {
                part.push(*byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_sql_does() {
        let read = |name: &str| parts(name.as_bytes());
        let parts =
            |parts: &[&str]| Some(parts.iter().map(|part| CString::new(*part).unwrap()).collect::<Vec<_>>());
        assert_eq!(read("books.author"), parts(&["books", "author"]));
        assert_eq!(read(" Public . \"Odd \"\"Name\".c"), parts(&["public", "Odd \"Name", "c"]));
        for name in ["", ".", "a.", "a..b", "a b", "\"a", "\"\"", "a\"b\""] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(names in proptest::collection::vec("[a-zA-Z.\" ]{1,5}", 1..4)) {
            let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
            let expected = names.iter().map(|name| CString::new(name.as_str()).unwrap()).collect::<Vec<_>>();
            prop_assert_eq!(parts(quoted.join(".").as_bytes()), Some(expected));
        }
    }
}
