//! The anchor of all chains: how many heads there are, and what they add up to. Plain Rust.
//!
//! A chain shows what was taken out of it, and its head what was cut off its end. A chain that is gone whole, head and all,
//! shows nowhere but here. Each head's SHA-256 is added, modulo 2^256, so that one head can be exchanged for its successor without
//! looking at the others, and their order does not matter.

use sha2::{Digest, Sha256};

use super::entry::Head;

const DOMAIN: &[u8] = b"counter_ext audit anchor 1";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    pub heads: i64,
    /// Of all chains together: the sum of the heads' places.
    pub entries: i64,
    pub sum: [u8; 32],
}

impl Anchor {
    /// A chain is as long as this.
    pub fn add(&mut self, id: &[u8], head: &Head) {
        self.heads += 1;
        self.entries = self.entries.wrapping_add(head.seq);
        let mut carry = 0;
        for (byte, other) in self.sum.iter_mut().zip(hash(id, head)).rev() {
            let sum = u16::from(*byte) + u16::from(other) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
    }

    /// It was as long as this, and is not any more.
    pub fn remove(&mut self, id: &[u8], head: &Head) {
        self.heads -= 1;
        self.entries = self.entries.wrapping_sub(head.seq);
        let mut borrow = 0;
        for (byte, other) in self.sum.iter_mut().zip(hash(id, head)).rev() {
            let difference = i16::from(*byte) - i16::from(other) - borrow;
            *byte = difference as u8;
            borrow = i16::from(difference < 0);
        }
    }

    /// What is wrong, where the heads that are there add up to `found`.
    pub fn problem(&self, found: &Anchor) -> Option<String> {
        let (expected, heads) = (self.heads, found.heads);
        if heads != expected {
            Some(format!("audit_head has {heads} chains, audit_anchor knows {expected}"))
        } else if self != found {
            Some("audit_head has other chains than those that audit_anchor knows".to_owned())
        } else {
            None
        }
    }
}

fn hash(id: &[u8], head: &Head) -> [u8; 32] {
    let mut hash = Sha256::new();
    let fields: [&[u8]; 4] = [DOMAIN, id, &head.seq.to_be_bytes(), &head.hash];
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head() -> impl Strategy<Value = (Vec<u8>, Head)> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        (bytes(), any::<i64>(), bytes()).prop_map(|(id, seq, hash)| (id, Head { seq, hash }))
    }

    fn of(heads: &[(Vec<u8>, Head)]) -> Anchor {
        let mut anchor = Anchor::default();
        heads.iter().for_each(|(id, head)| anchor.add(id, head));
        anchor
    }

    proptest! {
        #[test]
        fn order_does_not_matter(mut heads in prop::collection::vec(head(), 0..8)) {
            let anchor = of(&heads);
            heads.reverse();
            prop_assert_eq!(anchor.problem(&of(&heads)), None);
        }

        #[test]
        fn what_was_added_can_be_removed(heads in prop::collection::vec(head(), 0..8), (id, other) in head()) {
            let before = of(&heads);
            let mut after = before.clone();
            after.add(&id, &other);
            prop_assert!(before.problem(&after).is_some());
            after.remove(&id, &other);
            prop_assert_eq!(before, after);
        }

        #[test]
        fn another_head_is_found(heads in prop::collection::vec(head(), 1..8), at in any::<prop::sample::Index>(), (_, other) in head()) {
            let mut changed = heads.clone();
            let at = at.index(heads.len());
            prop_assume!(changed[at].1 != other);
            changed[at].1 = other;
            prop_assert!(of(&heads).problem(&of(&changed)).is_some());
        }
    }

    /// What is stored is compared with what is computed by later versions.
    #[test]
    fn the_format_stays() {
        let mut anchor = Anchor::default();
        anchor.add(b"invoice:1", &Head { seq: 7, hash: vec![1; 32] });
        anchor.add(b"invoice:2", &Head { seq: 3, hash: vec![2; 32] });
        let hex: String = anchor.sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((anchor.heads, anchor.entries), (2, 10));
        assert_eq!(hex, "9d2d72e4fea85c9919116848329d23e15bff55aa7944acd96cb4f7ab2c74e840");
    }
}
