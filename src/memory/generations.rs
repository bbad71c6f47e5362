//! Generations of what families follow: whether anything under a prefix has changed since a backend read it.
//!
//! Contract: that of `generation.rs`. There are `GENERATIONS` of them for all databases; a prefix has the one that its hash names, so two
//! may share one: then each takes the other's changes for its own, which costs a look and no more. A transaction notes what it changes, in
//! its own memory; before it can be seen it counts all of that as begun, and as ended after all of it is in rows and in memory, or when it
//! is rolled back, which a terminated process comes through too. After a crash they begin anew, and nobody who has read before lives on.
//! COMMIT PREPARED tells nobody: where transactions can be prepared, who reads looks at what else has ended as well.

use std::cell::Cell;

use super::layout::GENERATIONS;
use super::segment::segment;
use crate::pg::session::session_local;
use crate::pg::xact;

const WORDS: usize = GENERATIONS / 64;

#[derive(Clone, Copy)]
struct Noted {
    bits: [u64; WORDS],
    /// Those of them that are counted as begun.
    begun: [u64; WORDS],
}

const NOTHING: Noted = Noted { bits: [0; WORDS], begun: [0; WORDS] };

session_local! {
    static ANY: Cell<bool> = const { Cell::new(false) };
    static NOTED: Cell<Noted> = const { Cell::new(NOTHING) };
}

/// Which generation a prefix of a database has.
pub fn number_of(database: u32, prefix: &[u8]) -> u16 {
    // FNV-1a: a generation that two prefixes share does no harm.
    let hash = database.to_ne_bytes().iter().chain(prefix).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    ((hash ^ (hash >> 32)) % GENERATIONS as u64) as u16
}

/// The running transaction changes something of a generation.
pub fn note(number: u16) {
    let mut noted = NOTED.get();
    noted.bits[usize::from(number) / 64] |= 1 << (number % 64);
    NOTED.set(noted);
    ANY.set(true);
    xact::join(xact::Participant::Counting);
}

/// It changes something of any.
pub fn note_all() {
    NOTED.set(Noted { bits: [u64::MAX; WORDS], ..NOTED.get() });
    ANY.set(true);
    xact::join(xact::Participant::Counting);
}

/// Whether the running transaction has noted anything: what it reads itself is nobody else's.
pub fn is_any_noted() -> bool {
    ANY.get()
}

/// PRE_COMMIT, after all of it is noted. Where it is called again, what was noted since is counted.
pub fn begin() {
    if ANY.get() && segment().is_some() {
        let noted = NOTED.get();
        NOTED.set(Noted { begun: noted.bits, ..noted });
        let mut new = noted.bits;
        new.iter_mut().zip(noted.begun).for_each(|(bits, begun)| *bits &= !begun);
        each(&new, super::generation::Generation::begin);
    }
}

/// COMMIT, after rows and memory have all of it; ABORT; and after PREPARE. Cannot fail.
pub fn end() {
    if ANY.replace(false) {
        // None is ended that was not begun: it would hide another one's.
        each(&NOTED.replace(NOTHING).begun, super::generation::Generation::end);
    }
}

fn each(bits: &[u64; WORDS], tell: impl Fn(&super::generation::Generation)) {
    let Some(segment) = segment() else { return };
    for (word, bits) in bits.iter().enumerate() {
        let mut left = *bits;
        while left != 0 {
            tell(segment.generation(word * 64 + left.trailing_zeros() as usize));
            left &= left - 1;
        }
    }
}

/// A number for what is read from now on; `None` while a change is under way, and without shared memory.
pub fn at_rest(number: u16) -> Option<u64> {
    segment()?.generation(usize::from(number)).at_rest()
}

/// Whether nothing that was read then can be seen otherwise by now.
pub fn is_still(number: u16, at: u64) -> bool {
    segment().is_some_and(|segment| segment.generation(usize::from(number)).is_still(at))
}
