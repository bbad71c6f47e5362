//! Where this backend last found counters' entries.
//!
//! Contract: memory of this process alone. A place is a hint: whoever uses it compares the entry's generation, before and
//! after reading, or after pinning (`lifecycle.rs`). Remembering allocates, so it is never done under a lock.

use std::cell::RefCell;

const WHAT: &str = "places of counters";

use super::key::Hashed;
use crate::fallible;
use crate::pg::session::session_local;

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

session_local! {
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
            // COMMIT callbacks come here: without memory nothing is remembered.
            if fallible::reserve_exact(remembered, PLACES, WHAT).is_err() {
                return;
            }
            remembered.resize_with(PLACES, || None);
        }
        let Ok(id) = fallible::boxed(hashed.key.id, WHAT) else { return };
        remembered[hashed.hash as usize % PLACES] = Some(Remembered {
            hash: hashed.hash,
            database: hashed.key.database,
            relation: hashed.key.relation,
            id,
            place,
        });
    });
}
