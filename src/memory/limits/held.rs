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
