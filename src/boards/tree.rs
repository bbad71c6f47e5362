//! The tree of counts: how many scores are greater than one, and keeping it as scores change. Plain Rust.
//!
//! Nodes are read from and written to a store, rows in the extension and a map in tests. A batch of changes reads and writes each node
//! once. A part of a node that has become crowded gets a node of its own, from the scores that are in it by then. A node is removed
//! when nothing is in it any more. So a rank takes a look at as many nodes as a score has, 17 at most, and at `MOST_COUNTED` members.
//!
//! BOUND: a batch touches at most 17 nodes for each of its changes, and its caller bounds the changes.

use std::collections::BTreeMap;

use super::ranges::{Counts, Node, Range};

/// Members of a part that are still counted one by one.
pub const MOST_COUNTED: i64 = 32;

/// Which members the counts have, in the order of the board: the highest score first, equal ones by the bytes of their members. A board is
/// counted in that order, once its members are there: then each node is made, and changed, by few batches one after the other, where
/// members in any other order change nodes all over the tree each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted<'a> {
    None,
    /// Those up to this one.
    Upto(i64, &'a [u8]),
    All,
}

impl Counted<'_> {
    pub fn has(self, score: i64, member: &[u8]) -> bool {
        match self {
            Counted::None => false,
            Counted::Upto(last, last_member) => score > last || (score == last && member <= last_member),
            Counted::All => true,
        }
    }
}

/// Where nodes are.
pub trait Store {
    type Error;

    fn read(&mut self, node: Node) -> Result<Option<Counts>, Self::Error>;
    /// Replaces a node's counts; `is_new` where it had none before.
    fn write(&mut self, node: Node, counts: &Counts, is_new: bool) -> Result<(), Self::Error>;
    fn remove(&mut self, node: Node) -> Result<(), Self::Error>;
    /// Shows the score of each counted member in a range, as of after the batch.
    fn each_score(&mut self, range: Range, see: &mut dyn FnMut(i64)) -> Result<(), Self::Error>;
}

/// How many scores are greater than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Above {
    /// By the counts of nodes.
    pub counted: i64,
    /// Up to this score, further ones are to be counted one by one.
    pub upto: Option<i64>,
    /// From this score on, and down from the highest one of the part that the score is in, the same members are counted.
    pub lowest: i64,
    pub highest: i64,
}

/// How many scores are greater than `score`, as far as nodes say.
pub fn above<E>(score: i64, mut read: impl FnMut(Node) -> Result<Option<Counts>, E>) -> Result<Above, E> {
    let mut node = Node::Root;
    let mut counted = 0;
    loop {
        let Some(counts) = read(node)? else {
            let highest = node.highest();
            return Ok(Above { counted, upto: Some(highest), lowest: node.lowest(), highest });
        };
        let part = node.part_of(score);
        counted += counts.above(part);
        let range = node.part(part);
        if counts.of(part) == 0 {
            return Ok(Above { counted, upto: None, lowest: range.lowest, highest: range.highest() });
        }
        if range.highest() == score {
            return Ok(Above { counted, upto: None, lowest: score, highest: score });
        }
        node = Node::Of(range);
    }
}

/// A member's score before and after; `None` where it is not on the board, or not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub before: Option<i64>,
    pub after: Option<i64>,
}

/// A node as the store has it, and as it will be.
struct Held {
    counts: Counts,
    is_new: bool,
    is_changed: bool,
}

/// Takes in changes of members' scores that the store's scores include already.
pub fn apply<S: Store>(store: &mut S, changes: &[Change]) -> Result<(), S::Error> {
    let mut batch = Batch { store, nodes: BTreeMap::new() };
    // There is always a root while there are members.
    if batch.held(Node::Root)?.is_none() {
        batch.make(Node::Root)?;
    } else {
        for change in changes {
            if let Some(before) = change.before {
                batch.add(before, -1, change.after)?;
            }
            if let Some(after) = change.after {
                batch.add(after, 1, change.before)?;
            }
        }
    }
    batch.part_crowded()?;
    batch.write()
}

struct Batch<'s, S: Store> {
    store: &'s mut S,
    /// `None` for nodes that are not there.
    nodes: BTreeMap<Node, Option<Held>>,
}

impl<S: Store> Batch<'_, S> {
    fn held(&mut self, node: Node) -> Result<Option<&mut Held>, S::Error> {
        if !self.nodes.contains_key(&node) {
            let held = self.store.read(node)?.map(|counts| Held { counts, is_new: false, is_changed: false });
            self.nodes.insert(node, held);
        }
        Ok(self.nodes.get_mut(&node).and_then(Option::as_mut))
    }

    /// Adds to the counts of a score; those that it shares with the `other` one stay as they are.
    fn add(&mut self, score: i64, members: i64, other: Option<i64>) -> Result<(), S::Error> {
        let mut node = Node::Root;
        while let Some(held) = self.held(node)? {
            let part = node.part_of(score);
            let range = node.part(part);
            let is_shared = other.is_some_and(|other| range.lowest <= other && other <= range.highest());
            if !is_shared {
                held.counts.add(part, members);
                held.is_changed = true;
            }
            if range.is_single() {
                break;
            }
            node = Node::Of(range);
        }
        Ok(())
    }

    /// Makes a node of the scores that are there.
    fn make(&mut self, node: Node) -> Result<(), S::Error> {
        let mut counts = Counts::none(node);
        if node == Node::Root {
            // Both ends of bigint: no one range has all scores.
            for part in 0..node.parts() {
                self.store.each_score(node.part(part), &mut |_| counts.add(part, 1))?;
            }
        } else if let Node::Of(range) = node {
            self.store.each_score(range, &mut |score| counts.add(node.part_of(score), 1))?;
        }
        self.nodes.insert(node, Some(Held { counts, is_new: true, is_changed: true }));
        Ok(())
    }

    /// Gives crowded parts of changed nodes nodes of their own.
    fn part_crowded(&mut self) -> Result<(), S::Error> {
        let is_changed = |(node, held): (&Node, &Option<Held>)| {
            held.as_ref().is_some_and(|held| held.is_changed).then_some(*node)
        };
        let mut nodes: Vec<Node> = self.nodes.iter().filter_map(is_changed).collect();
        while let Some(node) = nodes.pop() {
            let Some(held) = self.held(node)? else { continue };
            let crowded: Vec<usize> = held.counts.crowded(MOST_COUNTED).collect();
            for part in crowded {
                let range = node.part(part);
                if !range.is_single() && self.held(Node::Of(range))?.is_none() {
                    self.make(Node::Of(range))?;
                    nodes.push(Node::Of(range));
                }
            }
        }
        Ok(())
    }

    fn write(self) -> Result<(), S::Error> {
        for (node, held) in self.nodes {
            let Some(Held { counts, is_new, is_changed: true }) = held else { continue };
            match (counts.total(), is_new) {
                (0, true) => {}
                (0, false) => self.store.remove(node)?,
                _ => self.store.write(node, &counts, is_new)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    struct Board {
        scores: BTreeMap<u16, i64>,
        nodes: BTreeMap<Node, Counts>,
        most_seen: usize,
        /// The last member that is counted, and his score.
        counted: Option<(i64, [u8; 2])>,
        is_counted: bool,
    }

    impl Default for Board {
        fn default() -> Board {
            Board {
                scores: BTreeMap::new(),
                nodes: BTreeMap::new(),
                most_seen: 0,
                counted: None,
                is_counted: true,
            }
        }
    }

    impl Store for Board {
        type Error = Infallible;

        fn read(&mut self, node: Node) -> Result<Option<Counts>, Infallible> {
            Ok(self.nodes.get(&node).cloned())
        }

        fn write(&mut self, node: Node, counts: &Counts, is_new: bool) -> Result<(), Infallible> {
            assert_eq!(self.nodes.insert(node, counts.clone()).is_none(), is_new);
            Ok(())
        }

        fn remove(&mut self, node: Node) -> Result<(), Infallible> {
            assert!(self.nodes.remove(&node).is_some());
            Ok(())
        }

        fn each_score(&mut self, range: Range, see: &mut dyn FnMut(i64)) -> Result<(), Infallible> {
            for (member, score) in &self.scores {
                let is_in = range.lowest <= *score && *score <= range.highest();
                if is_in && self.counted().has(*score, &member.to_be_bytes()) {
                    see(*score);
                }
            }
            Ok(())
        }
    }

    impl Board {
        fn change(&mut self, batch: &BTreeMap<u16, Option<i64>>) {
            let mut changes = Vec::new();
            for (member, after) in batch {
                let before = match after {
                    Some(score) => self.scores.insert(*member, *score),
                    None => self.scores.remove(member),
                };
                let is_counted = |score: &i64| self.counted().has(*score, &member.to_be_bytes());
                changes.push(Change { before: before.filter(is_counted), after: after.filter(is_counted) });
            }
            if self.counted() != Counted::None {
                apply(self, &changes).unwrap();
            }
        }

        fn counted(&self) -> Counted<'_> {
            match &self.counted {
                _ if self.is_counted => Counted::All,
                Some((score, member)) => Counted::Upto(*score, member),
                None => Counted::None,
            }
        }

        /// Counts the next members in the board's order.
        fn count_some(&mut self, most: usize) {
            let mut left: Vec<(i64, [u8; 2])> =
                self.scores.iter().map(|(member, score)| (*score, member.to_be_bytes())).collect();
            left.retain(|(score, member)| !self.counted().has(*score, member));
            left.sort_by_key(|(score, member)| (std::cmp::Reverse(*score), *member));
            left.truncate(most);
            self.counted = left.last().copied().or(self.counted);
            self.is_counted |= left.len() < most;
            let changes: Vec<Change> =
                left.iter().map(|(score, _)| Change { before: None, after: Some(*score) }).collect();
            apply(self, &changes).unwrap();
        }

        /// As `rank() OVER (ORDER BY score DESC)`.
        fn rank(&mut self, score: i64) -> i64 {
            let found = above(score, |node| self.read(node)).unwrap();
            let rest = found.upto.map_or(0, |upto| {
                self.scores.values().filter(|other| score < **other && **other <= upto).count()
            });
            self.most_seen = self.most_seen.max(rest);
            1 + found.counted + rest as i64
        }

        fn check(&mut self) {
            for score in self.scores.values().copied().collect::<Vec<_>>() {
                let expected = 1 + self.scores.values().filter(|other| **other > score).count() as i64;
                assert_eq!(self.rank(score), expected, "rank of {score}");
            }
            let nodes: Vec<(Node, Counts)> =
                self.nodes.iter().map(|(node, counts)| (*node, counts.clone())).collect();
            for (node, counts) in nodes {
                for part in 0..node.parts() {
                    let range = node.part(part);
                    let is_in = |score: &&i64| range.lowest <= **score && **score <= range.highest();
                    assert_eq!(counts.of(part), self.scores.values().filter(is_in).count() as i64);
                }
            }
        }
    }

    fn score() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => 0i64..40,
            4 => -1000i64..100_000,
            1 => any::<i64>(),
            1 => Just(7i64),
            1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)],
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn ranks_are_what_sorting_says(
            batches in prop::collection::vec(
                prop::collection::btree_map(0u16..900, prop::option::weighted(0.9, score()), 0..700),
                1..6,
            ),
        ) {
            let mut board = Board::default();
            for batch in &batches {
                board.change(batch);
            }
            board.check();
            let all: BTreeMap<u16, Option<i64>> = board.scores.keys().map(|member| (*member, None)).collect();
            board.change(&all);
            prop_assert!(board.nodes.is_empty(), "what is empty has no nodes");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_board_that_is_counted_in_pieces_while_it_changes_has_the_counts_of_its_members(
            members in prop::collection::btree_map(0u16..900, prop::option::weighted(0.9, score()), 0..900),
            batches in prop::collection::vec(
                prop::collection::btree_map(0u16..900, prop::option::weighted(0.9, score()), 0..200),
                0..9,
            ),
            most in 1usize..300,
        ) {
            let mut board = Board { is_counted: false, ..Board::default() };
            board.change(&members);
            for batch in &batches {
                board.count_some(most);
                board.change(batch);
            }
            while !board.is_counted {
                board.count_some(most);
            }
            board.check();
        }
    }

    #[test]
    fn a_rank_looks_at_few_members_however_many_there_are() {
        let mut board = Board::default();
        for first in (0u16..60_000).step_by(1000) {
            let batch = (first..first + 1000).map(|member| (member, Some(i64::from(member) * 37 % 100_003)));
            board.change(&batch.collect());
        }
        for score in (0..100_000).step_by(977) {
            let expected = 1 + board.scores.values().filter(|other| **other > score).count() as i64;
            assert_eq!(board.rank(score), expected);
        }
        assert!(board.most_seen as i64 <= MOST_COUNTED);
    }

    #[test]
    fn one_score_of_many_needs_no_counting() {
        let mut board = Board::default();
        board.change(&(0..5000).map(|member| (member, Some(1))).collect());
        board.change(&(0..10).map(|member| (member, Some(2))).collect());
        assert_eq!((board.rank(2), board.rank(1), board.rank(0)), (1, 11, 5001));
        assert_eq!(board.most_seen, 0);
    }
}
