//! Which id a key's counter has: the prefix and the key's text. A key that no id can have is kept as its digest, so that no row is
//! refused for its key's sake:
//!
//! - one that is too long behind its prefix;
//! - without a prefix, the empty one, and one that begins as ids of the extension's own do;
//! - one that reads like a digest itself: so no two keys have one counter.
//!
//! The digest is `~sha256:` and the SHA-256 of the key's bytes, in hexadecimal. `counter_id` gives it to users.
//!
//! BOUND: a query.

use sha2::{Digest, Sha256};

use super::errors::CacheError;
use crate::errors::{CounterError, FIRST_FREE_BYTE, MAX_ID_BYTES, check_id};
use crate::fallible;
use crate::pg::key_form::KeyForm;

const MARK: &[u8] = b"~sha256:";
const DIGEST_BYTES: usize = MARK.len() + 64;

/// Longest prefix that leaves room for a digest.
pub const MAX_PREFIX_BYTES: usize = MAX_ID_BYTES - DIGEST_BYTES;

/// Errors: 22023 a digest has no room behind the prefix.
pub fn check_prefix(prefix: &[u8]) -> Result<(), CounterError> {
    match prefix.len() {
        0..=MAX_PREFIX_BYTES => Ok(()),
        bytes => Err(CacheError::LongPrefix { bytes, most: MAX_PREFIX_BYTES }.into()),
    }
}

/// The id of a key's counter. Errors: 22023 as `check_prefix`; 42939 no id can begin like the prefix.
pub fn of_key(prefix: &[u8], key: &[u8]) -> Result<Vec<u8>, CounterError> {
    if !prefix.is_empty() {
        check_id(prefix)?;
    }
    check_prefix(prefix)?;
    let mut id = fallible::copy(prefix, "an id")?;
    fallible::append(&mut id, key, "an id")?;
    complete(&mut id, prefix.len())?;
    Ok(id)
}

/// Makes the id of a prefix, of so many bytes, and a key's text behind it.
pub fn complete(id: &mut Vec<u8>, prefix_bytes: usize) -> Result<(), CounterError> {
    let key = &id[prefix_bytes..];
    let has_no_id = id.len() > MAX_ID_BYTES
        || is_digest(key)
        || prefix_bytes == 0 && key.first().is_none_or(|first| *first < FIRST_FREE_BYTE);
    if has_no_id {
        let digest = Sha256::digest(key);
        let mut digits = [0; 64];
        // Two digits a byte always fit.
        let _ = hex::encode_to_slice(digest, &mut digits);
        id.truncate(prefix_bytes);
        fallible::append(id, MARK, "an id")?;
        fallible::append(id, &digits, "an id")?;
    }
    Ok(())
}

fn is_digest(key: &[u8]) -> bool {
    key.len() == DIGEST_BYTES
        && key.strip_prefix(MARK).is_some_and(|digits| {
            digits.iter().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit))
        })
}

/// Whether what an id has behind the prefix can be a key's.
pub fn can_be_of(form: &KeyForm, key: &[u8]) -> bool {
    form.can_say(key) || is_digest_of(form, key)
}

/// Whether it can be the digest of a key.
pub fn is_digest_of(form: &KeyForm, key: &[u8]) -> bool {
    !form.is_short() && is_digest(key)
}

/// The query for what the rows of each key count for, as `complete` makes keys, in the order of their bytes. `unordered` has keys' texts
/// in column `key`, and what they count for in column `count`.
pub fn count_query(unordered: &[u8], form: &KeyForm, prefix_bytes: usize) -> Vec<u8> {
    if form.is_short() {
        return [unordered, b" ORDER BY 1"].concat();
    }
    let most = MAX_ID_BYTES - prefix_bytes.min(MAX_PREFIX_BYTES);
    let cannot_begin = if prefix_bytes == 0 { " OR k.key OPERATOR(pg_catalog.<) E'\\x03'" } else { "" };
    [
        format!(
            "SELECT (CASE WHEN pg_catalog.octet_length(k.key) OPERATOR(pg_catalog.>) {most}
                    OR k.key OPERATOR(pg_catalog.~) '^~sha256:[0-9a-f]{{64}}$'{cannot_begin}
                THEN pg_catalog.concat('~sha256:', pg_catalog.encode(pg_catalog.sha256(
                    pg_catalog.convert_to(k.key, pg_catalog.getdatabaseencoding())), 'hex'))
                ELSE k.key END) COLLATE pg_catalog.\"C\", k.count FROM ("
        )
        .as_bytes(),
        unordered,
        b") AS k ORDER BY 1",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::key_text::KeyText;
    use proptest::prelude::*;

    fn id(prefix: &[u8], key: &[u8]) -> Vec<u8> {
        let mut id = [prefix, key].concat();
        complete(&mut id, prefix.len()).expect("memory");
        id
    }

    #[test]
    fn a_key_that_fits_is_its_own() {
        assert_eq!(id(b"p:", b"42"), b"p:42");
        assert_eq!(id(b"p:", b""), b"p:");
        assert_eq!(id(b"p:", &[b'x'; 253]).len(), 255);
        assert_eq!(id(b"p:", b"~sha256:short"), b"p:~sha256:short");
    }

    #[test]
    fn a_key_that_does_not_is_a_digest() {
        let empty = b"~sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(id(b"", b""), empty);
        assert!(is_digest(&id(b"", b"\x01likes")));
        assert!(is_digest(&id(b"p:", &[b'x'; 254])[2..]));
        assert_ne!(id(b"", empty), empty);
        assert!(can_be_of(&KeyForm::new(vec![KeyText::Numeric]), empty));
        assert!(!can_be_of(&KeyForm::new(vec![KeyText::Int8]), empty));
    }

    proptest! {
        #[test]
        fn every_key_has_an_id_of_its_own(
            prefix in proptest::collection::vec(3..=254u8, 0..=MAX_PREFIX_BYTES),
            one in proptest::collection::vec(1..=254u8, 0..300),
            other in proptest::collection::vec(1..=254u8, 0..300),
        ) {
            let first = id(&prefix, &one);
            prop_assert!(crate::errors::check_id(&first).is_ok());
            prop_assert!(first.starts_with(&prefix));
            prop_assert_eq!(first == id(&prefix, &other), one == other);
            // Nor does it share the one of another key's digest.
            prop_assert_ne!(id(&prefix, &first[prefix.len()..]) == first, is_digest(&first[prefix.len()..]));
        }
    }
}
