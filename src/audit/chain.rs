//! The chain of hashes over the log of one counter. Plain Rust.
//!
//! A link is SHA-256 (FIPS 180-4) of the link before it and the entry's columns, each behind its length, so that no two
//! different entries are written alike. The chain begins at 32 zero bytes. Where it ends, the head says; without that
//! a log cut off at its end would look whole. Who can write log and head, and knows this file, can make a new chain: a
//! head that was copied elsewhere proves that too.

use std::fmt;

use sha2::{Digest, Sha256};

use super::entry::{Head, LogEntry, Sealed};

pub type Hash = [u8; 32];

/// What the first link follows.
pub const START: Hash = [0; 32];
/// Says what is hashed, and in which way, should there ever be another.
const DOMAIN: &[u8] = b"counter_ext audit 1";

/// The hash of an entry at a place behind another.
pub fn link(previous: &[u8], seq: i64, entry: &LogEntry) -> Hash {
    let mut hash = Sha256::new();
    let fields: [&[u8]; 11] = [
        DOMAIN,
        previous,
        &entry.id,
        &seq.to_be_bytes(),
        &entry.delta.to_be_bytes(),
        &entry.operation,
        &entry.actor,
        &entry.role,
        &entry.at_us.to_be_bytes(),
        &entry.xid.to_be_bytes(),
        &entry.node.to_be_bytes(),
    ];
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

/// What is wrong with a chain, at the first place where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub seq: i64,
    pub fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Missing,
    /// There twice, or at a place before the first.
    Misplaced,
    /// Its hash is not that of its columns and the hash before it.
    Changed,
    /// Behind the last that the head knows of.
    BehindHead,
    /// The head is another than its hash.
    HeadDiffers,
    /// The log has entries, and there is no head.
    NoHead,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match self.fault {
            Fault::Missing => write!(f, "entry {seq} is missing"),
            Fault::Misplaced => write!(f, "entry {seq} is where none may be"),
            Fault::Changed => write!(f, "the hash of entry {seq} does not follow from it and the one before"),
            Fault::BehindHead => write!(f, "entry {seq} is behind the last one that audit_head knows"),
            Fault::HeadDiffers => write!(f, "audit_head has another hash than entry {seq}"),
            Fault::NoHead => {
                write!(f, "audit_head has no row for the log's entries, the last of which is {seq}")
            }
        }
    }
}

/// Follows a chain from its beginning, an entry at a time.
pub struct Verifier {
    seq: i64,
    hash: Hash,
    broken: Option<Broken>,
}

impl Verifier {
    pub fn new() -> Verifier {
        Verifier { seq: 0, hash: START, broken: None }
    }

    /// The next entry, in the order of `seq`.
    pub fn see(&mut self, sealed: &Sealed) {
        if self.broken.is_some() {
            return;
        }
        let expected = self.seq.saturating_add(1);
        let found = sealed.seq;
        let hash = link(&self.hash, found, &sealed.entry);
        self.broken = if found > expected {
            Some(Broken { seq: expected, fault: Fault::Missing })
        } else if found < expected {
            Some(Broken { seq: found, fault: Fault::Misplaced })
        } else if hash[..] != sealed.hash[..] {
            Some(Broken { seq: found, fault: Fault::Changed })
        } else {
            None
        };
        self.seq = found;
        self.hash = hash;
    }

    /// The first fault, now that there are no more entries.
    pub fn finish(self, head: Option<&Head>) -> Option<Broken> {
        let at = |seq, fault| Some(Broken { seq, fault });
        self.broken.or_else(|| match head {
            None if self.seq == 0 => None,
            None => at(self.seq, Fault::NoHead),
            Some(head) if head.seq > self.seq => at(self.seq + 1, Fault::Missing),
            Some(head) if head.seq < self.seq => at(head.seq.saturating_add(1), Fault::BehindHead),
            Some(head) if head.hash[..] != self.hash[..] => at(self.seq, Fault::HeadDiffers),
            Some(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = LogEntry> {
        let text = || prop::collection::vec(any::<u8>(), 0..6);
        (text(), any::<i64>(), text(), text(), text(), any::<i64>(), any::<u64>(), any::<i32>()).prop_map(
            |(id, delta, operation, actor, role, at_us, xid, node)| LogEntry {
                id,
                delta,
                operation,
                actor,
                role,
                at_us,
                xid,
                node,
            },
        )
    }

    fn seal(entries: Vec<LogEntry>) -> (Vec<Sealed>, Head) {
        let mut head = Head { seq: 0, hash: START.to_vec() };
        let log = entries
            .into_iter()
            .map(|entry| {
                let seq = head.seq + 1;
                head = Head { seq, hash: link(&head.hash, seq, &entry).to_vec() };
                Sealed { seq, entry, hash: head.hash.clone() }
            })
            .collect();
        (log, head)
    }

    /// What a reader that goes by `seq` finds.
    fn verify(mut log: Vec<Sealed>, head: Option<&Head>) -> Option<Broken> {
        log.sort_by_key(|sealed| sealed.seq);
        let mut verifier = Verifier::new();
        log.iter().for_each(|sealed| verifier.see(sealed));
        verifier.finish(head)
    }

    fn logs() -> impl Strategy<Value = (Vec<Sealed>, Head)> {
        prop::collection::vec(entry(), 1..8).prop_map(seal)
    }

    /// Another value in one of the entry's columns.
    fn change(entry: &mut LogEntry, column: usize, by: u8) {
        let by = by.max(1);
        let flip = |bytes: &mut Vec<u8>| match bytes.first_mut() {
            Some(byte) => *byte ^= by,
            None => bytes.push(by),
        };
        match column {
            0 => flip(&mut entry.id),
            1 => entry.delta ^= i64::from(by),
            2 => flip(&mut entry.operation),
            3 => flip(&mut entry.actor),
            4 => flip(&mut entry.role),
            5 => entry.at_us ^= i64::from(by) << 20,
            6 => entry.xid ^= u64::from(by) << 40,
            _ => entry.node ^= i32::from(by),
        }
    }

    proptest! {
        #[test]
        fn an_untouched_chain_is_whole((log, head) in logs()) {
            prop_assert_eq!(verify(log, Some(&head)), None);
        }

        #[test]
        fn a_changed_column_is_found((mut log, head) in logs(), at in any::<prop::sample::Index>(), column in 0usize..8, by: u8) {
            let at = at.index(log.len());
            change(&mut log[at].entry, column, by);
            prop_assert_eq!(verify(log, Some(&head)), Some(Broken { seq: at as i64 + 1, fault: Fault::Changed }));
        }

        #[test]
        fn a_changed_hash_is_found((mut log, head) in logs(), at in any::<prop::sample::Index>(), byte in 0usize..32, by in 1u8..) {
            let at = at.index(log.len());
            log[at].hash[byte] ^= by;
            prop_assert_eq!(verify(log, Some(&head)), Some(Broken { seq: at as i64 + 1, fault: Fault::Changed }));
        }

        /// Who makes the hash fit is found at the next link.
        #[test]
        fn a_changed_entry_with_its_own_hash_is_found((mut log, head) in logs(), at in any::<prop::sample::Index>(), column in 0usize..8, by: u8) {
            let at = at.index(log.len());
            let previous = if at == 0 { START.to_vec() } else { log[at - 1].hash.clone() };
            change(&mut log[at].entry, column, by);
            log[at].hash = link(&previous, log[at].seq, &log[at].entry).to_vec();
            let next = (at as i64 + 2).min(log.len() as i64);
            prop_assert_eq!(verify(log, Some(&head)).map(|broken| broken.seq), Some(next));
        }

        #[test]
        fn a_deleted_entry_is_found((mut log, head) in logs(), at in any::<prop::sample::Index>()) {
            let at = at.index(log.len());
            log.remove(at);
            prop_assert_eq!(verify(log, Some(&head)), Some(Broken { seq: at as i64 + 1, fault: Fault::Missing }));
        }

        #[test]
        fn a_cut_tail_is_found((mut log, head) in logs(), keep in any::<prop::sample::Index>()) {
            let keep = keep.index(log.len());
            log.truncate(keep);
            prop_assert_eq!(verify(log, Some(&head)), Some(Broken { seq: keep as i64 + 1, fault: Fault::Missing }));
        }

        #[test]
        fn an_added_entry_is_found((mut log, head) in logs(), seq in -2i64..12, entry in entry()) {
            let previous = log.iter().rfind(|sealed| sealed.seq < seq).map_or(START.to_vec(), |sealed| sealed.hash.clone());
            let hash = link(&previous, seq, &entry).to_vec();
            log.push(Sealed { seq, entry, hash });
            prop_assert!(verify(log, Some(&head)).is_some());
        }

        #[test]
        fn swapped_entries_are_found((mut log, head) in logs(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
            let (a, b) = (a.index(log.len()), b.index(log.len()));
            prop_assume!(log[a].entry != log[b].entry);
            let (x, y) = (log[a].entry.clone(), log[b].entry.clone());
            (log[a].entry, log[b].entry) = (y, x);
            prop_assert_eq!(verify(log, Some(&head)), Some(Broken { seq: a.min(b) as i64 + 1, fault: Fault::Changed }));
        }

        /// Bytes that move from one column to the next make another entry.
        #[test]
        fn columns_have_bounds(entry in entry(), seq: i64) {
            let mut moved = entry.clone();
            moved.role = [&moved.actor[..], &moved.role].concat();
            moved.actor.clear();
            prop_assume!(moved != entry);
            prop_assert_ne!(link(&START, seq, &moved), link(&START, seq, &entry));
        }
    }

    #[test]
    fn heads_are_compared() {
        let (log, head) = seal(vec![LogEntry::default(), LogEntry { delta: 5, ..LogEntry::default() }]);
        let found = |head: Option<Head>| verify(log.clone(), head.as_ref());
        assert_eq!(found(None), Some(Broken { seq: 2, fault: Fault::NoHead }));
        assert_eq!(
            found(Some(Head { seq: 3, ..head.clone() })),
            Some(Broken { seq: 3, fault: Fault::Missing })
        );
        assert_eq!(
            found(Some(Head { seq: 1, ..head.clone() })),
            Some(Broken { seq: 2, fault: Fault::BehindHead })
        );
        assert_eq!(
            found(Some(Head { hash: vec![1], ..head })),
            Some(Broken { seq: 2, fault: Fault::HeadDiffers })
        );
        assert_eq!(verify(Vec::new(), None), None);
        let cut = Head { seq: i64::MAX, hash: Vec::new() };
        assert_eq!(verify(Vec::new(), Some(&cut)), Some(Broken { seq: 1, fault: Fault::Missing }));
    }

    /// The format is what restored dumps are verified by.
    #[test]
    fn the_format_stays() {
        let entry = LogEntry {
            id: b"invoice:1".to_vec(),
            delta: -5,
            operation: b"reset".to_vec(),
            actor: b"billing".to_vec(),
            role: b"app".to_vec(),
            at_us: 845_000_000_000_000,
            xid: 4_294_967_400,
            node: 2,
        };
        let digits = "8631a64c7a14f664188e3f588f576a1bf1ed78e42b07f365025a15a5c24344ba";
        assert_eq!(hex::encode(link(&START, 7, &entry)), digits);
    }
}
