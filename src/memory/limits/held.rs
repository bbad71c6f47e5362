//! A partition of limits: what its entries allow, and which of them goes for a newcomer. Plain Rust; the time is a parameter.
//!
//! An entry whose time has come limits nobody, and anybody may take its place; each newcomer looks at a few places for such.
//! Where no place is to be had, the one of those looked at goes that has used least of its limit. One that is **over** its limit (it
//! was refused, and has not become free of that since) stays. So a flood of keys that are seen once neither locks out newcomers nor
//! lets anybody off.
//!
//! A database may take a free place only while it holds fewer than `PLACES_A_FREE_ONE` for each one that is free, and the place of
//! another database only if that holds no less. Where a database holds more than `MOST_OF_ONE` quarters, newcomers of the others take
//! even places of those that are over: so nobody shuts out another database.
//!
//! Contract: `Held` is used by who holds the partition's lock exclusively. Between `seek` and `settle` an entry is pinned, and stays.

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::room::bodies::CLASS_BYTES;
use super::super::room::places::{Head, Places};
use super::super::room::pool::Pool;
use super::super::window::{Outlook, Window, words_for};
use super::entry::{LimitHead, OVER, use_level};
use super::key::{Fingerprint, Request};

/// How many places a database may hold for each one that is free.
pub const PLACES_A_FREE_ONE: u32 = 16;
/// Quarters of a partition.
const MOST_OF_ONE: u32 = 3;
/// Places that a newcomer looks at for such whose time has come, and where it must find a place or a victim.
const FEW_STEPS: u32 = 2;
const MAX_STEPS: u32 = 32;
/// How often it looks so far, until it has found one.
const MAX_ROUNDS: u32 = 8;

/// A window of one instant is opened in so many words.
const SCRATCH_WORDS: usize = words_for(2);
/// Number of the largest size of bodies that windows have.
const LARGEST: usize = 5;

const _: () = {
    assert!(SCRATCH_WORDS * 8 == CLASS_BYTES[0]);
    assert!(CLASS_BYTES[LARGEST] >= words_for(super::super::window::INSTANTS) * 8);
};

type Scratch = [AtomicU64; SCRATCH_WORDS];

/// A window that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    At(u32),
    /// There is none, and none is needed to answer.
    Nowhere,
    NoRoom,
}

/// What came of taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    Yes,
    No,
    NoRoom,
}

/// A partition under its lock.
pub struct Held<'a, P> {
    pub places: Places<'a, LimitHead>,
    pub pool: &'a P,
    pub now_us: i64,
    /// Entries that went for others before their time.
    pub evictions: &'a AtomicU64,
}

impl<P: Pool> Held<'_, P> {
    pub fn find(&self, wanted: Fingerprint) -> Option<u32> {
        self.places.chain(wanted.low).find(|index| self.places.head(*index).is_of(wanted))
    }

    /// A key's window, which one that takes something is given if it has none. It is pinned.
    pub fn seek(&self, request: &Request<'_>, fingerprint: Fingerprint) -> Sought {
        if let Some(index) = self.find(fingerprint) {
            self.places.head(index).pin();
            return Sought::At(index);
        }
        if request.asked() > request.max {
            return Sought::Nowhere;
        }
        if request.cost == 0 {
            let could_be_made =
                self.may_claim(fingerprint.database) || self.victim(fingerprint.database).is_some();
            return if could_be_made { Sought::Nowhere } else { Sought::NoRoom };
        }
        self.make(fingerprint).map_or(Sought::NoRoom, Sought::At)
    }

    /// Takes from a window, or asks it.
    pub fn take(&self, index: u32, request: &Request<'_>) -> Took {
        let scratch = scratch();
        let per_us = request.key.per_us;
        let mut window = self.open(index, per_us, &scratch);
        window.forget_before(self.now_us, per_us);
        let fits = window.fits(request.max, request.asked());
        let took = if !fits {
            Took::No
        } else if request.cost == 0 || self.note(index, &mut window, per_us, request.cost) {
            Took::Yes
        } else {
            Took::NoRoom
        };
        self.close(index, &window, per_us);
        self.places.head(index).set_level(if fits { use_level(window.used(), request.max) } else { OVER });
        took
    }

    /// Whether so much fits into a window now.
    pub fn has_room(&self, index: u32, request: &Request<'_>, asked: u64) -> bool {
        let scratch = scratch();
        self.open(index, request.key.per_us, &scratch).has_room(
            self.now_us,
            request.key.per_us,
            request.max,
            asked,
        )
    }

    /// What there is to tell of a window.
    pub fn outlook(&self, index: u32, request: &Request<'_>, asked: u64) -> Outlook {
        let scratch = scratch();
        let window = self.open(index, request.key.per_us, &scratch);
        window.forget_before(self.now_us, request.key.per_us);
        window.outlook(self.now_us, request.key.per_us, request.max, asked)
    }

    /// Gives back what was taken from a window, as far as it is still remembered.
    pub fn give_back(&self, index: u32, request: &Request<'_>) {
        let scratch = scratch();
        let window = self.open(index, request.key.per_us, &scratch);
        window.give_back(self.now_us, request.key.per_us, request.cost);
        self.close(index, &window, request.key.per_us);
        self.places.head(index).set_level(use_level(window.used(), request.max));
    }

    /// Who sought an entry is done with it. One that nothing is taken from is free.
    pub fn settle(&self, fingerprint: Fingerprint) {
        if let Some(index) = self.find(fingerprint) {
            self.settle_at(index);
        }
    }

    /// As `settle`, for who has sought one entry only, and has not let go of the lock since.
    pub fn settle_at(&self, index: u32) {
        let head = self.places.head(index);
        head.unpin();
        if head.until_us() <= self.now_us {
            self.release(index);
        }
    }

    /// Begins an interval in which a key cannot begin again; until when. `Took::No` where one is under way.
    pub fn begin_interval(&self, fingerprint: Fingerprint, per_us: i64) -> Result<i64, Took> {
        let index = match self.find(fingerprint) {
            Some(index) if self.places.head(index).until_us() > self.now_us => {
                self.places.head(index).set_level(OVER);
                return Err(Took::No);
            }
            Some(index) => index,
            None => self.make(fingerprint).ok_or(Took::NoRoom)?,
        };
        let head = self.places.head(index);
        let until_us = self.now_us + per_us;
        head.note_interval();
        head.set_cost(1);
        head.set_until_us(until_us);
        head.set_level(use_level(1, 1));
        head.unpin();
        Ok(until_us)
    }

    /// As if the interval that ends then had not begun.
    pub fn give_back_interval(&self, fingerprint: Fingerprint, until_us: i64) {
        if let Some(index) = self.find(fingerprint)
            && self.places.head(index).until_us() == until_us
        {
            self.release(index);
        }
    }

    /// Forgets a subject, in windows of whatever length. Whether anything was taken.
    pub fn forget(&self, low: u64, database: u32) -> bool {
        let mut was_in_use = false;
        let next =
            || self.places.chain(low).find(|index| self.places.head(*index).is_of_subject(low, database));
        while let Some(index) = next() {
            was_in_use |= self.places.head(index).until_us() > self.now_us;
            self.release(index);
        }
        was_in_use
    }

    /// Forgets a database's limits among the places from `first` up to `end`.
    pub fn purge(&self, database: u32, first: u32, end: u32) {
        for index in first..end.min(self.places.touched()) {
            if self.places.head(index).database() == database && database != 0 {
                self.release(index);
            }
        }
    }

    /// Windows and intervals among the places from `first` up to `end` that limit anybody now.
    pub fn in_use(&self, first: u32, end: u32) -> (u64, u64) {
        let held = (first..end.min(self.places.touched())).map(|index| self.places.head(index));
        let (mut windows, mut intervals) = (0, 0);
        for head in held.filter(|head| !head.is_free() && head.until_us() > self.now_us) {
            *(if head.is_interval() { &mut intervals } else { &mut windows }) += 1;
        }
        (windows, intervals)
    }

    // --- windows ---

    fn open<'s>(&'s self, index: u32, per_us: i64, scratch: &'s Scratch) -> Window<'s> {
        let head = self.places.head(index);
        if let Some(body) = head.body() {
            return Window::new(self.pool.words(body));
        }
        let window = Window::new(scratch);
        if head.cost() > 0 {
            window.begin_with(head.until_us() - per_us, u64::from(head.cost()));
        }
        window
    }

    /// Notes a grant that fits; false where it cannot be remembered.
    fn note<'s>(&'s self, index: u32, window: &mut Window<'s>, per_us: i64, cost: u64) -> bool {
        let head = self.places.head(index);
        let is_one_instant = window.last().is_none_or(|last| last.at_us == self.now_us);
        let is_small = window.used() + cost <= u64::from(u32::MAX);
        let needs_more = match head.body() {
            Some(_) => window.is_full_at(self.now_us),
            None => !is_one_instant || !is_small,
        };
        if needs_more && let Some(larger) = self.grown(index, window) {
            *window = larger;
        }
        let has_body = head.body().is_some();
        if !has_body && !is_small {
            return false;
        }
        window.note(self.now_us, per_us, cost);
        if !has_body && window.instants() > 1 {
            // Remembered at the later instant: nobody gets more for it.
            window.unite_closest(per_us);
        }
        true
    }

    /// The same window in a larger body.
    fn grown<'s>(&'s self, index: u32, window: &Window<'s>) -> Option<Window<'s>> {
        let head = self.places.head(index);
        let class = head.body().map_or(0, |body| self.pool.class(body) + 1);
        if class > LARGEST {
            return None;
        }
        let body = self.pool.allocate(class).or_else(|| {
            self.sweep(MAX_STEPS);
            self.pool.allocate(class)
        })?;
        let larger = Window::new(self.pool.words(body));
        window.copy_to(&larger);
        if let Some(smaller) = head.body() {
            self.pool.give_back(smaller);
        }
        head.set_body(body);
        Some(larger)
    }

    fn close(&self, index: u32, window: &Window<'_>, per_us: i64) {
        let head = self.places.head(index);
        head.set_until_us(window.empty_at_us(per_us));
        if window.instants() > 1 {
            return;
        }
        if let Ok(cost) = u32::try_from(window.used()) {
            if let Some(body) = head.body() {
                self.pool.give_back(body);
            }
            head.set_cost(cost);
        }
    }

    // --- places ---

    /// A place for a key that has none, pinned.
    fn make(&self, fingerprint: Fingerprint) -> Option<u32> {
        let database = fingerprint.database;
        self.sweep(FEW_STEPS);
        if !self.may_claim(database) {
            let victim = self.victim(database);
            if !self.may_claim(database) {
                self.release(victim?);
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
        let index = self.places.take()?;
        self.places.head(index).begin(fingerprint);
        self.places.link(index);
        Some(index)
    }

    fn may_claim(&self, database: u32) -> bool {
        self.places.held_by(database) < PLACES_A_FREE_ONE.saturating_mul(self.places.free())
    }

    /// Frees those of the next places whose time has come.
    fn sweep(&self, steps: u32) {
        self.look_at(steps, |_| {});
    }

    /// Of the next places, the one that has used least of its limit among those that the database may have. Looks further where
    /// there is none of those, and then takes anybody's unless the database holds most.
    fn victim(&self, database: u32) -> Option<u32> {
        let mut least: Option<(u8, i64, u32)> = None;
        let mut least_of_all: Option<(u8, i64, u32)> = None;
        for _ in 0..MAX_ROUNDS {
            self.look_at(MAX_STEPS, |index| {
                let head = self.places.head(index);
                let rank = (head.level(), head.until_us(), index);
                if self.may_take_from(head, database) && least.is_none_or(|least| rank < least) {
                    least = Some(rank);
                }
                if head.level() != OVER && least_of_all.is_none_or(|least| rank < least) {
                    least_of_all = Some(rank);
                }
            });
            if least.is_some() || self.may_claim(database) {
                break;
            }
        }
        let holds_most = self.places.held_by(database) > self.places.capacity() / 2;
        least.or(least_of_all.filter(|_| !holds_most)).map(|(_, _, index)| index)
    }

    /// Whether a newcomer of a database may have the place of an entry.
    fn may_take_from(&self, head: &LimitHead, database: u32) -> bool {
        let (ours, theirs) = (self.places.held_by(database), self.places.held_by(head.database()));
        if head.level() == OVER {
            theirs > ours && theirs > self.places.capacity() / 4 * MOST_OF_ONE
        } else {
            theirs >= ours
        }
    }

    /// Looks at the next places that are held and not pinned; frees those whose time has come, and shows the others.
    fn look_at(&self, steps: u32, mut see: impl FnMut(u32)) {
        let touched = self.places.touched();
        let mut hand = self.places.hand();
        for _ in 0..steps.min(touched) {
            let index = if hand < touched { hand } else { 0 };
            hand = index + 1;
            let head = self.places.head(index);
            if head.is_free() || head.is_pinned() {
                continue;
            }
            if head.until_us() <= self.now_us { self.release(index) } else { see(index) }
        }
        self.places.set_hand(hand);
    }

    fn release(&self, index: u32) {
        let head = self.places.head(index);
        if let Some(body) = head.body() {
            self.pool.give_back(body);
        }
        self.places.unlink(index);
        head.end();
        self.places.put_back(index);
    }
}

fn scratch() -> Scratch {
    [const { AtomicU64::new(0) }; SCRATCH_WORDS]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::{BTreeMap, VecDeque};
    use std::sync::atomic::AtomicU32;

    use proptest::prelude::*;

    use super::super::super::room::bodies::{Bodies, Body, Page, PoolHead, WORDS_A_PAGE};
    use super::super::super::room::places::PartitionHead;
    use super::super::super::window::INSTANTS;
    use super::super::key::{LimitKey, LimitSubject};
    use super::*;

    const SEEDS: [u64; 4] = [1, 2, 3, 4];

    /// A partition and a pool in this process's own memory.
    struct Simulated {
        head: PartitionHead,
        buckets: Vec<AtomicU32>,
        heads: Vec<LimitHead>,
        pool_head: PoolHead,
        pages: Vec<Page>,
        words: Vec<AtomicU64>,
        now_us: Cell<i64>,
        evictions: AtomicU64,
    }

    impl Simulated {
        fn new(places: usize, pages: usize) -> Simulated {
            Simulated {
                head: PartitionHead::default(),
                buckets: (0..places.next_power_of_two()).map(|_| AtomicU32::default()).collect(),
                heads: (0..places).map(|_| LimitHead::default()).collect(),
                pool_head: PoolHead::default(),
                pages: (0..pages).map(|_| Page::default()).collect(),
                words: (0..pages * WORDS_A_PAGE).map(|_| AtomicU64::default()).collect(),
                now_us: Cell::new(0),
                evictions: AtomicU64::new(0),
            }
        }

        fn bodies(&self) -> Bodies<'_> {
            Bodies::new(&self.pool_head, &self.pages, &self.words)
        }

        fn held(&self) -> Held<'_, Simulated> {
            let places = Places::new(&self.head, &self.buckets, &self.heads);
            let now_us = places.now_us(self.now_us.get());
            Held { places, pool: self, now_us, evictions: &self.evictions }
        }

        fn take(&self, request: &Request<'_>) -> Took {
            let (held, fingerprint) = (self.held(), Fingerprint::new(&request.key, SEEDS));
            match held.seek(request, fingerprint) {
                Sought::At(index) => {
                    let took = held.take(index, request);
                    held.settle(fingerprint);
                    took
                }
                Sought::Nowhere if request.asked() > request.max => Took::No,
                Sought::Nowhere => Took::Yes,
                Sought::NoRoom => Took::NoRoom,
            }
        }

        /// Counts and bytes are what the entries add up to.
        fn check(&self) {
            let held = self.held();
            let heads = || self.heads.iter().filter(|head| !head.is_free());
            assert_eq!(held.places.held() as usize, heads().count());
            for database in 0..4 {
                let of_it = heads().filter(|head| head.database() == database).count();
                assert_eq!(held.places.held_by(database) as usize, of_it, "database {database}");
            }
            let classes = heads().filter_map(|head| head.body()).map(|body| self.bodies().class(body));
            let bytes: usize = classes.map(|class| CLASS_BYTES[class]).sum();
            assert_eq!(self.bodies().bytes_in_use(), bytes as u64);
            assert!(heads().all(|head| !head.is_pinned()));
        }
    }

    impl Pool for Simulated {
        fn allocate(&self, class: usize) -> Option<Body> {
            self.bodies().allocate(class)
        }

        fn give_back(&self, body: Body) {
            self.bodies().give_back(body);
        }

        fn words(&self, body: Body) -> &[AtomicU64] {
            self.bodies().words(body)
        }

        fn class(&self, body: Body) -> usize {
            self.bodies().class(body)
        }
    }

    fn request(key: &[u8], database: u32, max: u64, cost: u64) -> Request<'_> {
        let key = LimitKey { database, subject: LimitSubject::Key(key), per_us: 1_000_000 };
        Request { key, max, cost }
    }

    const HOUR_US: i64 = 3_600_000_000;

    #[test]
    fn a_flood_of_keys_seen_once_locks_nobody_out_and_lets_nobody_off() {
        let limits = Simulated::new(1000, 4);
        let over = request(b"over", 1, 5, 1);
        let taken: Vec<Took> = (0..6).map(|_| limits.take(&over)).collect();
        assert_eq!(taken, [Took::Yes, Took::Yes, Took::Yes, Took::Yes, Took::Yes, Took::No]);
        let half_used = request(b"half", 1, 100, 50);
        assert_eq!(limits.take(&half_used), Took::Yes);
        let flood = |from: u32, maxes: [u64; 3]| {
            for number in from..from + 100_000 {
                limits.now_us.set(i64::from(number) / 1000);
                let max = maxes[number as usize % 3];
                assert_eq!(
                    limits.take(&request(&number.to_le_bytes(), 1, max, 1)),
                    Took::Yes,
                    "newcomer {number}"
                );
            }
        };
        flood(0, [2, 5, 1000]);
        assert_eq!(
            limits.evictions.load(Ordering::Relaxed),
            100_002 - u64::from(limits.held().places.held())
        );
        assert_eq!(limits.take(&over), Took::No);
        assert_eq!(
            limits.take(&request(b"half", 1, 100, 51)),
            Took::No,
            "who used half goes after who used less"
        );
        // Who used all of a maximum of one at once was not refused, and goes in the end.
        flood(100_000, [1; 3]);
        assert_eq!(limits.take(&over), Took::No);
        limits.check();
    }

    #[test]
    fn keys_that_are_all_over_their_limit_stay_until_their_time() {
        let limits = Simulated::new(170, 4);
        let key = |number: u32| number.to_le_bytes();
        let mut held = 0;
        for number in 0..300 {
            let key = key(number);
            match limits.take(&request(&key, 1, 1, 1)) {
                Took::Yes => held += 1,
                took => assert_eq!(took, Took::NoRoom),
            }
            limits.take(&request(&key, 1, 1, 1));
        }
        assert_eq!(held, 160, "of {} places", limits.heads.len());
        let peek = Request { cost: 0, ..request(b"new", 1, 1, 1) };
        assert_eq!(limits.take(&peek), Took::NoRoom);
        // Newcomers of other databases have the rest, and then take from whoever holds most.
        for number in 1000..1040 {
            let key = key(number);
            assert_eq!(limits.take(&request(&key, 2, 1, 1)), Took::Yes, "of the other database, {number}");
            assert_eq!(limits.take(&request(&key, 2, 1, 1)), Took::No);
        }
        limits.check();
        limits.now_us.set(1_000_000);
        assert_eq!(limits.take(&request(b"new", 1, 1, 1)), Took::Yes);
        limits.check();
    }

    #[test]
    fn a_database_with_few_of_the_places_finds_one_of_its_own() {
        let limits = Simulated::new(2000, 4);
        let mut number = 0u32;
        let mut newcomer = |database| {
            number += 1;
            assert_eq!(limits.take(&request(&number.to_le_bytes(), database, 9, 1)), Took::Yes, "{number}");
        };
        // One holds a tenth, eleven others less each, and nothing is free.
        (0..200).for_each(|_| newcomer(1));
        (0..1800).for_each(|turn| newcomer(2 + turn % 11));
        (0..20_000).for_each(|_| newcomer(1));
        assert!((200..260).contains(&limits.held().places.held_by(1)), "{}", limits.held().places.held_by(1));
        (2..13).for_each(|database| assert!(limits.held().places.held_by(database) > 100, "{database}"));
        limits.check();
    }

    #[test]
    fn a_key_is_forgotten_with_all_its_periods_and_a_database_with_all_its_keys() {
        let limits = Simulated::new(64, 4);
        for per_us in [10, 20, 30] {
            for (key, database) in [(b"a", 1), (b"b", 1), (b"a", 2)] {
                let key = LimitKey { per_us, ..request(key, database, 1, 1).key };
                assert_eq!(limits.take(&Request { key, max: 9, cost: 3 }), Took::Yes);
            }
        }
        let low = |key, database| Fingerprint::new(&request(key, database, 1, 1).key, SEEDS).low;
        assert_eq!(limits.held().in_use(0, 64), (9, 0));
        assert!(limits.held().forget(low(b"a", 1), 1));
        assert!(!limits.held().forget(low(b"a", 1), 1));
        assert_eq!(limits.held().in_use(0, 64), (6, 0));
        limits.held().purge(2, 0, 64);
        assert_eq!(limits.held().in_use(0, 64), (3, 0));
        limits.now_us.set(15);
        assert_eq!(limits.held().in_use(0, 64), (2, 0));
        limits.now_us.set(30);
        assert!(!limits.held().forget(low(b"b", 1), 1), "its time has passed");
        limits.check();
    }

    #[test]
    fn an_interval_begins_again_when_it_is_over_or_given_back() {
        let limits = Simulated::new(8, 0);
        let at_item = LimitKey {
            database: 1,
            subject: LimitSubject::ActorAtItem { id: b"i", actor: b"a" },
            per_us: HOUR_US,
        };
        let fingerprint = Fingerprint::new(&at_item, SEEDS);
        assert_eq!(limits.held().begin_interval(fingerprint, HOUR_US), Ok(HOUR_US));
        assert_eq!(limits.held().begin_interval(fingerprint, HOUR_US), Err(Took::No));
        assert_eq!(limits.held().in_use(0, 8), (0, 1));
        limits.held().give_back_interval(fingerprint, 7);
        assert_eq!(limits.held().begin_interval(fingerprint, HOUR_US), Err(Took::No));
        limits.held().give_back_interval(fingerprint, HOUR_US);
        limits.now_us.set(5);
        assert_eq!(limits.held().begin_interval(fingerprint, HOUR_US), Ok(HOUR_US + 5));
        limits.now_us.set(HOUR_US + 5);
        assert_eq!(limits.held().begin_interval(fingerprint, HOUR_US), Ok(2 * HOUR_US + 5));
        limits.check();
    }

    /// What was granted, by key, in what time is kept.
    type Log = BTreeMap<(u32, u8), VecDeque<(i64, u64)>>;

    proptest! {
        /// While there are places and bodies enough, every window is the exact log of its grants, however it grows and shrinks. Where
        /// there are not, a window that stays still never lets too much through.
        #[test]
        fn windows_are_exact_where_there_is_room_and_strict_where_there_is_not(
            places in prop_oneof![Just(6usize), Just(400)],
            pages in prop_oneof![Just(0usize), Just(1), Just(60)],
            steps in prop::collection::vec((0u32..4, 1u32..3, 0u8..12, 0i64..300_000, 0u64..70, prop_oneof![9 => 1u64..4, 1 => Just(1 << 33)]), 1..900),
        ) {
            const PER_US: i64 = 1_000_000;
            let limits = Simulated::new(places, pages);
            let mut log = Log::new();
            let is_exact = places == 400 && pages == 60;
            for (kind, database, key, pause, max, cost) in steps {
                limits.now_us.set(limits.now_us.get() + pause * i64::from(kind == 0));
                let now_us = limits.now_us.get();
                let key_bytes = [key];
                let max = if cost > 1000 { max << 33 } else { max };
                let request = request(&key_bytes, database, max, cost);
                let fingerprint = Fingerprint::new(&request.key, SEEDS);
                // Whoever was evicted begins anew.
                if limits.held().find(fingerprint).is_none() {
                    if is_exact && let Some(old) = log.get(&(database, key)) {
                        prop_assert!(old.iter().all(|(at, _)| now_us - at >= PER_US), "evicted without need");
                    }
                    log.remove(&(database, key));
                }
                let grants = log.entry((database, key)).or_default();
                grants.retain(|(at, _)| now_us - at < PER_US);
                let used: u64 = grants.iter().map(|(_, cost)| cost).sum();
                let mut instants: Vec<i64> = grants.iter().map(|(at, _)| *at).collect();
                instants.dedup();
                let took = limits.take(&request);
                if took == Took::Yes {
                    prop_assert!(used + cost <= max, "{used} + {cost} > {max}");
                    grants.push_back((now_us, cost));
                }
                if is_exact && instants.len() < INSTANTS {
                    prop_assert_eq!(took == Took::Yes, used + cost <= max);
                }
                prop_assert!(took != Took::NoRoom || !is_exact);
                limits.check();
            }
        }
    }
}
