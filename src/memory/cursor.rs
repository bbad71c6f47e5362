//! Where the next record of the journal goes: pages of its table, given out without a lock.
//!
//! Contract:
//!
//! - An epoch's records lie on the blocks of the epoch's parity: even epochs on even blocks, odd ones on odd blocks. At most two
//!   epochs hold records that are not folded, so their pages never meet, and an epoch starts again from the first block.
//! - A page holds records of one kind: those that everybody sees at once, or those that count when their transaction commits.
//! - One word a parity and kind says on which block there is room, and how much. Whoever wants room takes it off that word
//!   by compare-and-swap. Where the word has not enough, he claims the next block for himself (another word, one a parity), makes that page
//!   empty, takes what he needs, and offers the rest by putting it into the first word. Nobody waits: two who come at the same moment
//!   get a page each.
//! - Whoever leaves a page less than half empty prepares the next one: claims it, makes it empty, and puts it into a word of its own (`spare`), so
//!   that those who find the page full need not claim a page each. A spare is taken out by one of them, who takes what he needs and offers the rest.
//! - What was taken belongs to the taker until his transaction ends. He may give it back, or what of it he has not used, while he is still
//!   inside its epoch.
//! - Whoever begins an epoch first clears the words of its parity (`begin_epoch`). Nobody is inside the epoch of that parity before it then, and
//!   nobody inside the new one yet. So the words need not say which epoch they are about, and no number of epochs can wrap.
//! - A rewrite of the table (VACUUM FULL) puts what is not folded anywhere. It excludes everybody who has taken room. The first who
//!   then finds another file begins behind its end (`move_to`), under the journal lock; the first blocks are used again once every epoch that
//!   the rewrite met is folded.
//! - A crash between any two steps loses the words, and recovery makes them anew. What had been taken is unused space.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The words of one database, in shared memory.
#[repr(C)]
pub(super) struct Cursors {
    /// The file of the table that the words are about; 0 while nothing may be written.
    file: AtomicU32,
    /// The first blocks that may be used while an epoch up to `floor_epoch` is not folded.
    floor: AtomicU32,
    floor_epoch: AtomicU64,
    /// By parity and kind.
    open: [[AtomicU64; 2]; 2],
    /// By parity and kind: an empty page that is ready to be the next.
    spare: [[AtomicU64; 2]; 2],
    /// By parity: the last block that was claimed.
    claims: [AtomicU32; 2],
}

const _: () = assert!(std::mem::size_of::<Cursors>() == 88);

/// In `spare`: no page is ready. What `Open::NONE` is packed to.
const NO_SPARE: u64 = 0;
/// In `claims`: no block has been claimed.
const NO_CLAIM: u32 = u32::MAX;

/// When a record counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// As soon as it is written.
    AtOnce = 0,
    /// When its transaction has committed.
    WithCommit = 1,
}

/// Room on a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    block: u32,
    room_bytes: u16,
}

impl Open {
    /// Without room, so that everybody claims a block.
    const NONE: Open = Open { block: 0, room_bytes: 0 };

    fn unpack(word: u64) -> Open {
        Open { block: (word >> 32) as u32, room_bytes: word as u16 }
    }

    fn pack(self) -> u64 {
        u64::from(self.block) << 32 | u64::from(self.room_bytes)
    }
}

/// Room that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub block: u32,
    /// The page is half full since, and whoever took the room prepares the next page.
    pub wants_spare: bool,
}

/// Where less is left on a page the next one is prepared. About half a page.
const LOW_ROOM_BYTES: u16 = 4096;

fn parity(epoch: u64) -> usize {
    (epoch & 1) as usize
}

impl Cursors {
    #[cfg(test)]
    fn new() -> Cursors {
        let cursors = Cursors {
            file: AtomicU32::new(0),
            floor: AtomicU32::new(0),
            floor_epoch: AtomicU64::new(0),
            open: Default::default(),
            spare: Default::default(),
            claims: Default::default(),
        };
        cursors.begin(0);
        cursors
    }

    pub fn file(&self) -> u32 {
        self.file.load(Ordering::SeqCst)
    }

    /// Everything in the table is folded: all its blocks may be used. Nobody else takes room now.
    pub fn begin(&self, file: u32) {
        self.start_at(file, 0, 0);
    }

    /// The table has been rewritten, into so many blocks, while epochs up to `epoch` may not be folded. Nobody else has taken room, and
    /// the caller holds the journal lock.
    pub fn move_to(&self, file: u32, blocks: u32, epoch: u64) {
        self.start_at(file, blocks.next_multiple_of(2), epoch);
    }

    fn start_at(&self, file: u32, floor: u32, floor_epoch: u64) {
        self.begin_epoch(0);
        self.begin_epoch(1);
        self.floor.store(floor, Ordering::SeqCst);
        self.floor_epoch.store(floor_epoch, Ordering::SeqCst);
        self.file.store(file, Ordering::SeqCst);
    }

    /// An epoch is about to begin. Nobody is inside the one two before it, nor inside it.
    pub fn begin_epoch(&self, epoch: u64) {
        let parity = parity(epoch);
        for words in [&self.open[parity], &self.spare[parity]] {
            words.iter().for_each(|word| word.store(Open::NONE.pack(), Ordering::SeqCst));
        }
        self.claims[parity].store(NO_CLAIM, Ordering::SeqCst);
    }

    /// Takes room for an epoch's record: where it is. `None` where a block must be claimed.
    pub fn take(&self, epoch: u64, kind: RecordKind, bytes: u16) -> Option<Taken> {
        let less =
            |open: Open| open.room_bytes.checked_sub(bytes).map(|room_bytes| Open { room_bytes, ..open });
        if let Some(before) = self.change(epoch, kind, less) {
            let is_half_full_now =
                before.room_bytes >= LOW_ROOM_BYTES && before.room_bytes - bytes < LOW_ROOM_BYTES;
            let wants_spare = is_half_full_now && self.spare(epoch, kind).load(Ordering::SeqCst) == NO_SPARE;
            return Some(Taken { block: before.block, wants_spare });
        }
        let spare = self.spare(epoch, kind).swap(NO_SPARE, Ordering::SeqCst);
        let after = less(Open::unpack(spare))?;
        self.offer(epoch, kind, after.block, after.room_bytes);
        Some(Taken { block: after.block, wants_spare: false })
    }

    /// Puts an empty page that was claimed where those find it who find the current one full. One that was there is lost to the epoch.
    pub fn offer_spare(&self, epoch: u64, kind: RecordKind, block: u32, room_bytes: u16) {
        self.spare(epoch, kind).store(Open { block, room_bytes }.pack(), Ordering::SeqCst);
    }

    fn spare(&self, epoch: u64, kind: RecordKind) -> &AtomicU64 {
        &self.spare[parity(epoch)][kind as usize]
    }

    /// Claims the epoch's next block; nobody else gets the same one. Epochs up to `folded` are folded.
    pub fn claim(&self, epoch: u64, folded: u64) -> u32 {
        let floor = match folded >= self.floor_epoch.load(Ordering::SeqCst) {
            true => 0,
            false => self.floor.load(Ordering::SeqCst),
        };
        let next = |last| if last == NO_CLAIM { floor + parity(epoch) as u32 } else { last + 2 };
        let claim = self.claims[parity(epoch)]
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(next(last)));
        next(claim.unwrap_or(NO_CLAIM))
    }

    /// Offers what room is left on a claimed block, unless another one has more.
    pub fn offer(&self, epoch: u64, kind: RecordKind, block: u32, room_bytes: u16) {
        self.change(epoch, kind, |open| (open.room_bytes < room_bytes).then_some(Open { block, room_bytes }));
    }

    /// Gives no more room on a block that is not there any more (VACUUM has cut the table's end off).
    pub fn retire(&self, epoch: u64, kind: RecordKind, block: u32) {
        self.change(epoch, kind, |open| (open.block == block).then_some(Open { room_bytes: 0, ..open }));
    }

    /// Gives room back that was taken on a block, if others still take theirs there.
    pub fn give_back(&self, epoch: u64, kind: RecordKind, block: u32, bytes: u16) {
        self.change(epoch, kind, |open| {
            (open.block == block).then(|| Open { room_bytes: open.room_bytes + bytes, ..open })
        });
    }

    /// What the word was before the change; `None` where nothing was changed. `change` is asked again where somebody else came between, so
    /// it may leave nothing behind (`Fn`): what an earlier attempt answered does not count.
    fn change(&self, epoch: u64, kind: RecordKind, change: impl Fn(Open) -> Option<Open>) -> Option<Open> {
        let word = &self.open[parity(epoch)][kind as usize];
        word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| {
            change(Open::unpack(word)).map(Open::pack)
        })
        .ok()
        .map(Open::unpack)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const PAGE: u16 = 8168;
    const KIND: RecordKind = RecordKind::AtOnce;

    /// Takes room as a writer does.
    fn write(cursors: &Cursors, epoch: u64, folded: u64, bytes: u16) -> u32 {
        let Some(taken) = cursors.take(epoch, KIND, bytes) else {
            let block = cursors.claim(epoch, folded);
            cursors.offer(epoch, KIND, block, PAGE - bytes);
            return block;
        };
        if taken.wants_spare {
            cursors.offer_spare(epoch, KIND, cursors.claim(epoch, folded), PAGE);
        }
        taken.block
    }

    fn take_block(cursors: &Cursors, epoch: u64, kind: RecordKind, bytes: u16) -> Option<u32> {
        cursors.take(epoch, kind, bytes).map(|taken| taken.block)
    }

    proptest! {
        #[test]
        fn no_page_is_given_out_beyond_its_room(sizes in proptest::collection::vec(48..=PAGE, 1..300)) {
            let cursors = Cursors::new();
            let mut used: HashMap<u32, u32> = HashMap::new();
            for (n, bytes) in sizes.iter().enumerate() {
                let block = write(&cursors, 7, 6, *bytes);
                prop_assert_eq!(block % 2, 1);
                if n % 5 == 0 {
                    cursors.give_back(7, KIND, block, *bytes);
                } else {
                    *used.entry(block).or_default() += u32::from(*bytes);
                }
            }
            prop_assert!(used.values().all(|bytes| *bytes <= u32::from(PAGE)), "{:?}", used);
        }

        #[test]
        fn packing_loses_nothing(block: u32, room_bytes: u16) {
            let open = Open { block, room_bytes };
            prop_assert_eq!(Open::unpack(open.pack()), open);
        }
    }

    #[test]
    fn epochs_of_one_parity_start_from_the_first_block_again() {
        let cursors = Cursors::new();
        for epoch in 1..=6 {
            cursors.begin_epoch(epoch);
            let first = (epoch % 2) as u32;
            assert_eq!(write(&cursors, epoch, epoch - 1, 8000), first);
            assert_eq!(write(&cursors, epoch, epoch - 1, 8000), first + 2);
        }
    }

    #[test]
    fn after_a_rewrite_no_block_is_used_that_may_hold_what_is_not_folded() {
        let cursors = Cursors::new();
        write(&cursors, 4, 3, 8000);
        cursors.move_to(99, 5, 5);
        assert_eq!(cursors.file(), 99);
        assert_eq!(write(&cursors, 4, 3, 100), 6);
        assert_eq!(write(&cursors, 5, 3, 100), 7);
        cursors.begin_epoch(6);
        assert_eq!(write(&cursors, 6, 4, 100), 6, "epoch 5 is not folded yet");
        cursors.begin_epoch(7);
        assert_eq!(write(&cursors, 7, 5, 100), 1);
        cursors.begin_epoch(8);
        assert_eq!(write(&cursors, 8, 6, 100), 0);
    }

    /// A page has room for a record of epoch 9, and other epochs of its parity write none of that kind for very long.
    #[test]
    fn room_of_an_old_epoch_is_never_given_out_again() {
        for later in [11, 9 + (1 << 16), 9 + (1 << 32), 9 + (1 << 33)] {
            let cursors = Cursors::new();
            cursors.begin_epoch(9);
            cursors.offer(9, RecordKind::WithCommit, cursors.claim(9, 8), 5000);
            cursors.begin_epoch(later);
            // The page is used for another kind meanwhile.
            assert_eq!(write(&cursors, later, later - 1, 4000), 1);
            assert_eq!(take_block(&cursors, later, RecordKind::WithCommit, 4000), None, "epoch {later}");
            assert_eq!(cursors.claim(later, later - 1), 3);
        }
    }

    #[test]
    fn whoever_finds_a_page_full_goes_on_the_one_that_was_prepared() {
        let cursors = Cursors::new();
        cursors.begin_epoch(9);
        let blocks: Vec<u32> = (0..40).map(|_| write(&cursors, 9, 8, 1000)).collect();
        // Eight records fill a page.
        let expected: Vec<u32> = (0..40).map(|n| 1 + n / 8 * 2).collect();
        assert_eq!(blocks, expected);
        cursors.offer_spare(9, KIND, 99, PAGE);
        cursors.begin_epoch(11);
        assert_eq!(write(&cursors, 11, 10, 1000), 1, "a spare page ends with its epoch");
    }

    #[test]
    fn kinds_share_no_page() {
        let cursors = Cursors::new();
        cursors.begin_epoch(9);
        assert_eq!(write(&cursors, 9, 8, 100), 1);
        assert_eq!(take_block(&cursors, 9, RecordKind::WithCommit, 100), None);
        cursors.offer(9, RecordKind::WithCommit, cursors.claim(9, 8), 5000);
        assert_eq!(take_block(&cursors, 9, RecordKind::WithCommit, 100), Some(3));
        assert_eq!(take_block(&cursors, 9, RecordKind::AtOnce, 100), Some(1));
    }

    #[test]
    fn many_threads_get_room_that_does_not_overlap() {
        let cursors = Cursors::new();
        let used = std::sync::Mutex::new(HashMap::<u32, u32>::new());
        std::thread::scope(|scope| {
            for thread in 0..4u16 {
                let (cursors, used) = (&cursors, &used);
                scope.spawn(move || {
                    for n in 0..2000u16 {
                        let bytes = 48 + (n * 7 + thread * 13) % 400;
                        let block = write(cursors, 9, 8, bytes);
                        *used.lock().expect("no panic").entry(block).or_default() += u32::from(bytes);
                    }
                });
            }
        });
        let used = used.into_inner().expect("no panic");
        assert!(used.values().all(|bytes| *bytes <= u32::from(PAGE)), "{used:?}");
    }

    /// Whoever loses a race for the last room on a page and looks again finds none, whatever he found at first.
    #[test]
    fn the_last_room_is_taken_once() {
        const ROUNDS: usize = 20_000;
        const TAKERS: usize = 4;
        let cursors = Cursors::new();
        let round = AtomicU64::new(0);
        let taken = AtomicU64::new(0);
        let ready = AtomicU64::new(0);
        let mut wrong_rounds = 0;
        std::thread::scope(|scope| {
            for _ in 0..TAKERS {
                scope.spawn(|| {
                    for at in 1..=ROUNDS as u64 {
                        while round.load(Ordering::SeqCst) < at {
                            std::thread::yield_now();
                        }
                        let mine = (0..8).filter(|_| cursors.take(9, KIND, 100).is_some()).count();
                        taken.fetch_add(mine as u64, Ordering::SeqCst);
                        ready.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for at in 1..=ROUNDS as u64 {
                cursors.begin_epoch(9);
                cursors.offer(9, KIND, 3, 1650);
                round.store(at, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) < at * TAKERS as u64 {
                    std::thread::yield_now();
                }
                wrong_rounds += usize::from(taken.swap(0, Ordering::SeqCst) != 16);
            }
        });
        assert_eq!(wrong_rounds, 0);
    }
}
