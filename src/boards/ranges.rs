//! Ranges of scores, and how many members of a board each has: nodes of a tree by which a rank is found without counting what is
//! above it. Plain Rust.
//!
//! All scores of bigint fall into 128 classes by sign and bit length. So small scores, which most are, are near the root. A class
//! is halved four times at once, and so is each part of it, down to single scores. A node has the counts of its parts. Parts that have
//! few members have no node of their own: their members are counted one by one.
//!
//! BOUND: a node has at most 128 counts, and a score is in at most 17 nodes.

use std::fmt;

/// Bits of a score by which a range is parted at once.
const STEP_BITS: u32 = 4;
/// Where the class of the score 0 is among the root's.
const ZERO: usize = 64;
/// Classes of scores: of each bit length below 0 and above it, and 0.
const CLASSES: usize = 128;

/// Scores from the lowest one on, 2 to the power of `bits` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    pub lowest: i64,
    pub bits: u32,
}

impl Range {
    pub fn highest(self) -> i64 {
        self.lowest + ((1i64 << self.bits) - 1)
    }

    /// A single score, which needs no further look.
    pub fn is_single(self) -> bool {
        self.bits == 0
    }
}

/// What has counts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    Root,
    Of(Range),
}

impl Node {
    /// How many parts it has, in the order of their scores.
    pub fn parts(self) -> usize {
        match self {
            Node::Root => CLASSES,
            Node::Of(range) => 1 << range.bits.min(STEP_BITS),
        }
    }

    /// Which part a score is in. It is one of the node's.
    pub fn part_of(self, score: i64) -> usize {
        match self {
            Node::Root => {
                let bits = (u64::BITS - score.unsigned_abs().leading_zeros()) as usize;
                if score < 0 { ZERO - bits } else { ZERO + bits }
            }
            Node::Of(range) => {
                let left = range.bits - range.bits.min(STEP_BITS);
                (score.wrapping_sub(range.lowest) as u64 >> left) as usize
            }
        }
    }

    /// The scores of a part.
    pub fn part(self, part: usize) -> Range {
        match self {
            // The lowest bigint has more bits than any other score below 0, and no other has as many.
            Node::Root if part == 0 => Range { lowest: i64::MIN, bits: 0 },
            Node::Root if part < ZERO => {
                let bits = (ZERO - part) as u32;
                Range { lowest: -(i64::MAX >> (63 - bits)), bits: bits - 1 }
            }
            Node::Root if part == ZERO => Range { lowest: 0, bits: 0 },
            Node::Root => {
                let bits = (part - ZERO) as u32;
                Range { lowest: 1 << (bits - 1), bits: bits - 1 }
            }
            Node::Of(range) => {
                let bits = range.bits - range.bits.min(STEP_BITS);
                Range { lowest: range.lowest + ((part as i64) << bits), bits }
            }
        }
    }

    /// The least of all its scores.
    pub fn lowest(self) -> i64 {
        match self {
            Node::Root => i64::MIN,
            Node::Of(range) => range.lowest,
        }
    }

    /// The greatest of all its scores.
    pub fn highest(self) -> i64 {
        match self {
            Node::Root => i64::MAX,
            Node::Of(range) => range.highest(),
        }
    }
}

/// As rows name it: nothing for the root, else the lowest score and how many bits it is wide.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Root => Ok(()),
            Node::Of(range) => write!(f, "{}/{}", range.lowest, range.bits),
        }
    }
}

/// Members in each part of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(Vec<i64>);

impl Counts {
    pub fn none(node: Node) -> Counts {
        Counts(vec![0; node.parts()])
    }

    /// As rows have them. `None` where they are not those of this node.
    pub fn read(node: Node, bytes: &[u8]) -> Option<Counts> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let is_whole = rest.is_empty() && numbers.len() == node.parts();
        is_whole.then(|| Counts(numbers.iter().map(|number| i64::from_be_bytes(*number)).collect()))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|count| count.to_be_bytes()).collect()
    }

    pub fn of(&self, part: usize) -> i64 {
        self.0[part]
    }

    pub fn add(&mut self, part: usize, members: i64) {
        self.0[part] += members;
    }

    /// Members of the parts behind one.
    pub fn above(&self, part: usize) -> i64 {
        self.0[part + 1..].iter().sum()
    }

    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    /// The parts with more members than `most`.
    pub fn crowded(&self, most: i64) -> impl Iterator<Item = usize> {
        (0..self.0.len()).filter(move |part| self.0[*part] > most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Scores near powers of two, near both ends, and small ones, as well as any.
    pub fn scores() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i64>(),
            -20i64..20,
            (0u32..63, -2i64..3, any::<bool>()).prop_map(|(bits, near, is_negative)| {
                let score = (1i64 << bits).wrapping_add(near);
                if is_negative { score.wrapping_neg() } else { score }
            }),
            Just(i64::MIN),
            Just(i64::MAX),
        ]
    }

    proptest! {
        #[test]
        fn each_score_is_in_one_part_of_each_node_on_its_way(score in scores()) {
            let mut node = Node::Root;
            let mut depth = 0;
            loop {
                depth += 1;
                prop_assert!(depth <= 17);
                let part = node.part_of(score);
                prop_assert!(part < node.parts());
                let range = node.part(part);
                prop_assert!(range.lowest <= score && score <= range.highest(), "{score} in {range:?}");
                prop_assert!(node.lowest() <= range.lowest && range.highest() <= node.highest());
                if range.is_single() {
                    prop_assert_eq!(range.lowest, score);
                    break;
                }
                node = Node::Of(range);
            }
        }

        #[test]
        fn parts_lie_side_by_side(score in scores()) {
            let mut node = Node::Root;
            loop {
                for part in 1..node.parts() {
                    prop_assert_eq!(node.part(part - 1).highest() + 1, node.part(part).lowest);
                }
                prop_assert_eq!(node.part(0).lowest, node.lowest());
                prop_assert_eq!(node.part(node.parts() - 1).highest(), node.highest());
                let range = node.part(node.part_of(score));
                if range.is_single() {
                    break;
                }
                node = Node::Of(range);
            }
        }

        #[test]
        fn counts_are_read_as_they_were_written(numbers in prop::collection::vec(any::<i64>(), 16)) {
            let node = Node::Of(Range { lowest: 16, bits: 4 });
            let counts = Counts(numbers);
            prop_assert_eq!(Counts::read(node, &counts.bytes()), Some(counts.clone()));
            prop_assert_eq!(Counts::read(Node::Root, &counts.bytes()), None);
            prop_assert_eq!(Counts::read(node, &counts.bytes()[1..]), None);
        }
    }
}
