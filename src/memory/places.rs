//! Where this backend last found counters' entries.
//!
//! A remembered place is a hint that costs no lock: an entry's generation is drawn anew, never twice, whenever the
//! entry is made, freed or loses its total, so one that has not changed says that the entry is still that counter's.
//! A reader looks at the generation before and after it reads the value; a committer pins first and looks then: a
//! pin and the freeing of an entry exclude each other (`buffer.rs`).

use std::cell::RefCell;

use super::table::Hashed;

/// Counters a backend remembers; two that fall on one place take turns.
const PLACES: usize = 128;

/// An entry and its generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub index: u32,
    pub generation: u64,
}

struct Remembered {
    hash: u64,
    database: u32,
    relation: u32,
    id: Box<[u8]>,
    place: Place,
}

thread_local! {
    static REMEMBERED: RefCell<Vec<Option<Remembered>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn recall(hashed: &Hashed<'_>) -> Option<Place> {
    REMEMBERED.with_borrow(|remembered| {
        let found = remembered.get(hashed.hash as usize % PLACES)?.as_ref()?;
        (found.hash == hashed.hash
            && found.database == hashed.key.database
            && found.relation == hashed.key.relation
            && *found.id == *hashed.key.id)
            .then_some(found.place)
    })
}

pub(super) fn remember(hashed: &Hashed<'_>, place: Place) {
    REMEMBERED.with_borrow_mut(|remembered| {
        if remembered.is_empty() {
            remembered.resize_with(PLACES, || None);
        }
        remembered[hashed.hash as usize % PLACES] = Some(Remembered {
            hash: hashed.hash,
            database: hashed.key.database,
            relation: hashed.key.relation,
            id: hashed.key.id.into(),
            place,
        });
    });
}
