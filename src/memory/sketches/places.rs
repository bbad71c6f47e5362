//! Where this backend last found sketches' entries.
//!
//! Contract: memory of this process alone. A place is a hint: whoever uses it compares the entry's generation before and
//! after. Remembering allocates, so it is never done under a lock.

use std::cell::RefCell;

use super::room::{Hashed, SketchKey};
use crate::fallible;
use crate::pg::session::session_local;

const WHAT: &str = "places of sketches";

/// Entries a backend remembers; two that fall on one place take turns.
const PLACES: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub index: u32,
    pub generation: u64,
}

#[derive(Clone)]
struct Remembered {
    hash: u64,
    id: Box<[u8]>,
    day: i32,
    database: u32,
    relation: u32,
    place: Place,
}

session_local! {
    static REMEMBERED: RefCell<Vec<Option<Remembered>>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn recall(hashed: &Hashed<'_>) -> Option<Place> {
    REMEMBERED.with_borrow(|all| {
        let remembered = all.get(hashed.hash as usize % PLACES)?.as_ref()?;
        let key = &hashed.key;
        (remembered.hash == hashed.hash
            && remembered.day == key.day
            && remembered.database == key.database
            && remembered.relation == key.relation
            && *remembered.id == *key.id)
            .then_some(remembered.place)
    })
}

pub(super) fn remember(hashed: &Hashed<'_>, place: Place) {
    REMEMBERED.with_borrow_mut(|all| {
        if all.is_empty() {
            // COMMIT callbacks come here: without memory nothing is remembered.
            if fallible::reserve_exact(all, PLACES, WHAT).is_err() {
                return;
            }
            all.resize(PLACES, None);
        }
        let SketchKey { database, relation, id, day } = hashed.key;
        let Ok(id) = fallible::boxed(id, WHAT) else { return };
        let remembered = Remembered { hash: hashed.hash, id, day, database, relation, place };
        all[hashed.hash as usize % PLACES] = Some(remembered);
    });
}
