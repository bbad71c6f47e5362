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
        self.place_of(id).is_some()
    }

    /// Which of them the id begins with, by its place.
    pub fn place_of(&self, id: &[u8]) -> Option<usize> {
        if id.first().is_none_or(|byte| *byte < FIRST_FREE_BYTE) {
            return None;
        }
        self.place_of_beginning(id)
    }

    /// Which of them a text that need not be an id begins with: another prefix, for one.
    pub fn place_of_beginning(&self, text: &[u8]) -> Option<usize> {
        // A prefix sorts before all that begins with it, and nothing else of ours in between.
        let after = self.0.partition_point(|prefix| prefix[..] <= *text);
        after.checked_sub(1).filter(|place| text.starts_with(&self.0[*place]))
    }

    /// In their order.
    pub fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|prefix| &prefix[..])
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
            let prefixes = Prefixes::new(prefixes);
            prop_assert_eq!(prefixes.cover(&id), covered);
            let beginning = prefixes.place_of(&id).and_then(|place| prefixes.each().nth(place));
            prop_assert_eq!(beginning.is_some_and(|prefix| id.starts_with(prefix)), covered);
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
