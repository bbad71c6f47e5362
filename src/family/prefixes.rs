//! Prefixes of ids, and whether an id begins with one of them. Plain Rust.

use crate::errors::FIRST_FREE_BYTE;

/// Prefixes of ids, none of which is a prefix of another, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(Vec<Vec<u8>>);

impl Prefixes {
    pub fn new(mut prefixes: Vec<Vec<u8>>) -> Prefixes {
        prefixes.sort_unstable();
        prefixes.dedup_by(|longer, shorter| longer.starts_with(shorter));
        Prefixes(prefixes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the id begins with one of them. Ids that families keep for themselves never do.
    pub fn cover(&self, id: &[u8]) -> bool {
        if id.first().is_none_or(|byte| *byte < FIRST_FREE_BYTE) {
            return false;
        }
        // A prefix sorts before all that begins with it, and nothing else of ours in between.
        let after = self.0.partition_point(|prefix| prefix[..] <= *id);
        after > 0 && id.starts_with(&self.0[after - 1])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Prefixes;

    proptest! {
        #[test]
        fn an_id_is_covered_by_any_of_its_beginnings(
            prefixes in prop::collection::vec(prop::collection::vec(97u8..100, 0..4), 0..6),
            id in prop::collection::vec(97u8..100, 1..6),
        ) {
            let covered = prefixes.iter().any(|prefix| id.starts_with(prefix));
            prop_assert_eq!(Prefixes::new(prefixes).cover(&id), covered);
        }
    }

    #[test]
    fn ids_of_families_are_never_covered() {
        let all = Prefixes::new(vec![Vec::new()]);
        assert!(
            all.cover(b"a") && !all.cover(b"\x01a") && !all.cover(b"") && !Prefixes::default().cover(b"a")
        );
    }
}
