//! How the texts of a key's columns make up one text, and what they were.
//!
//! A colon comes between two columns. Where two of them or more could have one in their own text, it is written `\:` there, and a
//! backslash `\\`, so that no two keys have the same text. Elsewhere texts are as they are: a type's name and a number need no more.
//!
//! BOUND: columns of one table, and a text that is at hand already.

use super::key_text::KeyText;
use crate::fallible::{self, OutOfMemory};

/// How the columns of a key become text, each in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyForm {
    texts: Vec<KeyText>,
}

impl KeyForm {
    pub fn new(texts: Vec<KeyText>) -> KeyForm {
        KeyForm { texts }
    }

    /// Whether all texts are short, and none can be taken for something else.
    pub fn is_short(&self) -> bool {
        matches!(self.texts.as_slice(), [text] if text.is_short())
    }

    /// Whether a column's colons and backslashes are escaped.
    pub fn escapes(&self, at: usize) -> bool {
        self.texts.len() > 1
            && self.texts.get(at).is_some_and(|text| text.may_hold_colon())
            && self.texts.iter().filter(|text| text.may_hold_colon()).count() > 1
    }

    /// Whether a text can be that of a key.
    pub fn can_say(&self, text: &[u8]) -> bool {
        self.split(text)
            .is_some_and(|parts| parts.iter().zip(&self.texts).all(|(part, kind)| kind.can_say(part)))
    }

    /// The columns' own texts, if it is the text of a key.
    pub fn split(&self, text: &[u8]) -> Option<Vec<Vec<u8>>> {
        let last = self.texts.len().checked_sub(1)?;
        let mut parts = Vec::new();
        let mut rest = text;
        for at in 0..=last {
            let part = if self.escapes(at) {
                let (part, length) = unescaped(rest)?;
                rest = &rest[length..];
                part
            } else if self.texts[at].may_hold_colon() {
                // The only one, so it goes on to where the columns after it begin.
                let colons: Vec<usize> =
                    rest.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at).collect();
                let length = match last - at {
                    0 => rest.len(),
                    after => *colons.get(colons.len().checked_sub(after)?)?,
                };
                let part = rest[..length].to_vec();
                rest = &rest[length..];
                part
            } else {
                let length = rest.iter().position(|byte| *byte == b':').unwrap_or(rest.len());
                let part = rest[..length].to_vec();
                rest = &rest[length..];
                part
            };
            parts.push(part);
            if at < last {
                rest = rest.strip_prefix(b":")?;
            }
        }
        rest.is_empty().then_some(parts)
    }
}

/// A text up to the first colon that is not escaped, as it was before, and how long it is now.
fn unescaped(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut part = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b':' => break,
            b'\\' => {
                at += 1;
                part.push(*text.get(at).filter(|byte| matches!(byte, b':' | b'\\'))?);
            }
            _ => part.push(byte),
        }
        at += 1;
    }
    Some((part, at))
}

/// Escapes what follows a position.
pub fn escape_after(text: &mut Vec<u8>, from: usize) -> Result<(), OutOfMemory> {
    let is_special = |byte: &u8| matches!(byte, b':' | b'\\');
    let special = text[from..].iter().filter(|byte| is_special(byte)).count();
    if special == 0 {
        return Ok(());
    }
    let part = fallible::copy(&text[from..], "a key's text")?;
    fallible::reserve(text, special, "a key's text")?;
    text.truncate(from);
    for byte in part {
        if is_special(&byte) {
            text.push(b'\\');
        }
        text.push(byte);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn join(form: &KeyForm, parts: &[Vec<u8>]) -> Vec<u8> {
        let mut text = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                text.push(b':');
            }
            let from = text.len();
            text.extend_from_slice(part);
            if form.escapes(at) {
                escape_after(&mut text, from).expect("memory");
            }
        }
        text
    }

    #[test]
    fn a_type_and_a_number_are_written_as_they_are() {
        let form = KeyForm::new(vec![KeyText::Text, KeyText::Int8]);
        assert_eq!(join(&form, &[b"Admin::Invoice".to_vec(), b"7".to_vec()]), b"Admin::Invoice:7");
        assert!(form.can_say(b"Admin::Invoice:7"));
        assert!(form.can_say(b":7"));
        assert!(!form.can_say(b"Invoice"));
        assert!(!form.can_say(b"Invoice:x"));
        let form = KeyForm::new(vec![KeyText::Int4]);
        assert!(form.can_say(b"7"));
        assert!(!form.can_say(b"7:1"));
    }

    #[test]
    fn two_texts_never_meet() {
        let form = KeyForm::new(vec![KeyText::Text, KeyText::Text]);
        let one = join(&form, &[b"a:b".to_vec(), b"c".to_vec()]);
        let other = join(&form, &[b"a".to_vec(), b"b:c".to_vec()]);
        assert_eq!(one, br"a\:b:c");
        assert_eq!(other, br"a:b\:c");
        assert!(!form.can_say(br"a:b:c"));
        assert!(!form.can_say(br"a\x:c"));
    }

    proptest! {
        #[test]
        fn what_is_joined_can_be_split(
            columns in proptest::collection::vec((any::<bool>(), "[a:\\\\]{0,4}", any::<i16>()), 1..4),
        ) {
            let kind = |is_text: bool| if is_text { KeyText::Text } else { KeyText::Int2 };
            let form = KeyForm::new(columns.iter().map(|(is_text, ..)| kind(*is_text)).collect());
            let parts: Vec<Vec<u8>> = columns
                .iter()
                .map(|(is_text, text, number)| {
                    if *is_text { text.as_bytes().to_vec() } else { number.to_string().into_bytes() }
                })
                .collect();
            let text = join(&form, &parts);
            prop_assert_eq!(form.split(&text), Some(parts));
            prop_assert!(form.can_say(&text));
        }
    }
}
