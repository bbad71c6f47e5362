//! A set of places for limits: whose they are, and until when. Plain Rust; the time is a parameter.

use super::Window;
use super::key::{Fingerprint, Request};

/// Places of a set that one database may hold when it is alone. A set overflows before the table is full; with 64 hardly so
/// while half of it is in use.
pub const WAYS_OF_ONE: usize = 64;
/// Places of a set.
const WAYS: usize = 80;
/// How many places a database may hold in a set for each one that is free there.
const PLACES_A_FREE_ONE: usize = 4;

/// Whose the places of a set are, and until when. All zeros: free.
#[repr(C, align(64))]
pub struct Tags {
    low: [u64; WAYS],
    high: [u64; WAYS],
    pub busy_until_us: [i64; WAYS],
    database: [u32; WAYS],
}

#[repr(C, align(64))]
pub struct WindowSet {
    pub tags: Tags,
    /// A free place's window holds whatever it held before: whoever takes the place clears it first.
    pub windows: [Window; WAYS],
}

const _: () = {
    assert!(std::mem::size_of::<Tags>() == 28 * WAYS);
    assert!(std::mem::size_of::<WindowSet>() == 28 * WAYS + 1304 * WAYS);
    // Alone, a database is at its share when it has `WAYS_OF_ONE`.
    assert!(
        may_claim(WAYS_OF_ONE - 1, WAYS - WAYS_OF_ONE + 1) && !may_claim(WAYS_OF_ONE, WAYS - WAYS_OF_ONE)
    );
};

/// Whether a database that holds so many places of a set may take one more, when so many are free.
const fn may_claim(held: usize, free: usize) -> bool {
    held < PLACES_A_FREE_ONE * free
}

impl Tags {
    pub fn find(&self, wanted: Fingerprint) -> Option<usize> {
        let mut low = self.low.iter().enumerate();
        low.find(|(way, low)| {
            **low == wanted.low && self.high[*way] == wanted.high && self.database[*way] == wanted.database
        })
        .map(|(way, _)| way)
    }

    /// A free place for a database that has not got its share.
    pub fn find_free(&self, database: u32, now_us: i64) -> Option<usize> {
        let (mut held, mut free, mut first) = (0, 0, None);
        for way in 0..WAYS {
            if self.busy_until_us[way] <= now_us {
                free += 1;
                first = first.or(Some(way));
            } else if self.database[way] == database {
                held += 1;
            }
        }
        first.filter(|_| may_claim(held, free))
    }

    pub fn claim(&mut self, way: usize, by: Fingerprint) {
        self.low[way] = by.low;
        self.high[way] = by.high;
        self.database[way] = by.database;
    }

    /// Frees all that a database holds.
    pub fn purge(&mut self, database: u32) {
        for way in 0..WAYS {
            if self.database[way] == database {
                self.free(way);
            }
        }
    }

    /// Frees the places of a key, of whatever periods. Whether one of them was in use.
    pub fn forget(&mut self, low: u64, database: u32, now_us: i64) -> bool {
        let mut was_in_use = false;
        for way in 0..WAYS {
            if self.low[way] == low && self.database[way] == database {
                was_in_use |= self.busy_until_us[way] > now_us;
                self.free(way);
            }
        }
        was_in_use
    }

    fn free(&mut self, way: usize) {
        self.busy_until_us[way] = 0;
        self.claim(way, Fingerprint::default());
    }

    pub fn in_use(&self, now_us: i64) -> u64 {
        self.busy_until_us.iter().filter(|until| **until > now_us).count() as u64
    }
}

/// A window that was asked for.
pub enum Sought {
    At(usize),
    /// There is none, and none is needed to answer.
    Nowhere,
    NoRoom,
}

impl WindowSet {
    /// A key's window, which one that takes something is given if it has none.
    pub fn seek(&mut self, request: &Request<'_>, fingerprint: Fingerprint, now_us: i64) -> Sought {
        if let Some(way) = self.tags.find(fingerprint) {
            return Sought::At(way);
        }
        if request.asked() > request.max {
            return Sought::Nowhere;
        }
        match self.tags.find_free(fingerprint.database, now_us) {
            None => Sought::NoRoom,
            Some(_) if request.cost == 0 => Sought::Nowhere,
            Some(way) => {
                self.tags.claim(way, fingerprint);
                self.windows[way].clear();
                Sought::At(way)
            }
        }
    }

    /// Takes from a window, or asks it. A place that nothing is taken from stays free, or is in use no longer than it was.
    pub fn take(&mut self, way: usize, request: &Request<'_>, now_us: i64) -> bool {
        let (window, per_us) = (&mut self.windows[way], request.key.per_us);
        let taken = if request.cost == 0 {
            window.has_room(now_us, per_us, request.max, 1)
        } else {
            window.take(now_us, per_us, request.max, request.cost)
        };
        self.note_use(way, per_us);
        taken
    }

    pub fn note_use(&mut self, way: usize, per_us: i64) {
        self.tags.busy_until_us[way] = self.windows[way].empty_at_us(per_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Tags {
        Tags { low: [0; WAYS], high: [0; WAYS], busy_until_us: [0; WAYS], database: [0; WAYS] }
    }

    #[test]
    fn a_place_is_free_when_its_time_has_come() {
        let mut tags = empty();
        let wanted = Fingerprint { low: 7, high: 8, database: 5 };
        assert_eq!((tags.find(wanted), tags.find_free(5, 0), tags.in_use(0)), (None, Some(0), 0));
        tags.busy_until_us = std::array::from_fn(|way| 100 + way as i64);
        assert_eq!((tags.find_free(5, 99), tags.in_use(99)), (None, WAYS as u64));
        assert_eq!((tags.find_free(5, 100), tags.in_use(100)), (Some(0), WAYS as u64 - 1));
        tags.claim(3, wanted);
        assert_eq!(tags.find(wanted), Some(3));
        assert_eq!(tags.find(Fingerprint { high: 9, ..wanted }), None);
        assert_eq!(tags.find(Fingerprint { database: 6, ..wanted }), None);
    }

    #[test]
    fn a_key_is_forgotten_with_all_its_periods_and_no_other_key() {
        let mut tags = empty();
        let of_key = |low, high, database| Fingerprint { low, high, database };
        for (way, fingerprint) in
            [of_key(7, 1, 5), of_key(7, 2, 5), of_key(7, 1, 6), of_key(8, 1, 5)].into_iter().enumerate()
        {
            tags.claim(way, fingerprint);
            tags.busy_until_us[way] = 100;
        }
        assert!(tags.forget(7, 5, 99));
        assert_eq!(tags.find(of_key(7, 1, 5)), None);
        assert_eq!(tags.find(of_key(7, 2, 5)), None);
        assert_eq!((tags.find(of_key(7, 1, 6)), tags.find(of_key(8, 1, 5))), (Some(2), Some(3)));
        assert!(!tags.forget(7, 5, 99));
        assert!(!tags.forget(8, 5, 100), "its time has passed");
    }

    /// Takes places for new keys until there are none to be had; how many.
    fn flood(tags: &mut Tags, database: u32) -> usize {
        let mut taken = 0;
        while let Some(way) = tags.find_free(database, 0) {
            tags.claim(way, Fingerprint { low: taken as u64, high: 1, database });
            tags.busy_until_us[way] = 100;
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_flood_leaves_room_for_other_databases() {
        let mut tags = empty();
        assert_eq!(flood(&mut tags, 1), WAYS_OF_ONE);
        assert_eq!([2, 3].map(|database| flood(&mut tags, database)), [13, 3]);
        assert_eq!(tags.in_use(0), WAYS as u64);
        // The flooder goes; the others may have more, and its number begins with nothing.
        tags.purge(1);
        assert_eq!(tags.in_use(0), 16);
        assert_eq!(tags.find(Fingerprint { low: 0, high: 1, database: 1 }), None);
        assert!(tags.find(Fingerprint { low: 0, high: 1, database: 2 }).is_some());
        assert!(flood(&mut tags, 2) > 30);
    }
}
