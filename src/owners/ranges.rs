//! Whose an id is: its hash falls into the range of one shard, and that is on one node. Plain Rust but for the hash.

use crate::fallible::{self, OutOfMemory};
use crate::pg::shard_hash;

const WHAT: &str = "ids of a batch";

/// Whose something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    Here,
    /// The node of this group, as the cluster numbers them.
    Group(i32),
}

/// One shard: the hashes that fall into it, both ends included, and the group that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub least: i32,
    pub most: i32,
    pub group: i32,
    /// Another number for each time that it was placed.
    pub placed: u32,
    /// Nothing of it is left on another node, as far as this one was told.
    pub has_arrived: bool,
}

/// All shards, in order, without a gap: each hash is in one of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    shards: Vec<Shard>,
    own_group: i32,
}

impl Map {
    /// `None` where a hash would be in no shard, or in several.
    pub fn new(mut shards: Vec<Shard>, own_group: i32) -> Option<Map> {
        shards.sort_unstable_by_key(|shard| shard.least);
        let (first, last) = (shards.first()?, shards.last()?);
        let is_whole = first.least == i32::MIN
            && last.most == i32::MAX
            && shards.iter().all(|shard| shard.least <= shard.most)
            && shards.windows(2).all(|pair| pair[0].most.checked_add(1) == Some(pair[1].least));
        is_whole.then_some(Map { shards, own_group })
    }

    /// Whose an id is.
    pub fn owner(&self, id: &[u8]) -> Owner {
        self.owner_of_hash(shard_hash::of_text(id))
    }

    /// Whether all that is known of an id of this node is here.
    pub fn has_arrived(&self, id: &[u8]) -> bool {
        self.shard_of(shard_hash::of_text(id)).has_arrived
    }

    /// Whether something of this node's ids may still be on another one.
    pub fn is_waiting(&self) -> bool {
        self.shards.iter().any(|shard| shard.group == self.own_group && !shard.has_arrived)
    }

    /// Whether every shard is where it is in the other map, and has not been elsewhere in between.
    pub fn has_places_of(&self, other: &Map) -> bool {
        let place = |shard: &Shard| Shard { has_arrived: false, ..*shard };
        self.own_group == other.own_group && self.shards.iter().map(place).eq(other.shards.iter().map(place))
    }

    fn owner_of_hash(&self, hash: i32) -> Owner {
        let group = self.shard_of(hash).group;
        if group == self.own_group { Owner::Here } else { Owner::Group(group) }
    }

    fn shard_of(&self, hash: i32) -> &Shard {
        let after = self.shards.partition_point(|shard| shard.least <= hash);
        // There is one that begins with the least hash.
        &self.shards[after.saturating_sub(1)]
    }
}

/// A batch by owners: for each the positions of what is its own, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub here: Vec<usize>,
    pub elsewhere: Vec<(i32, Vec<usize>)>,
}

/// Splits a batch by whose each of it is.
pub fn split(owners: impl Iterator<Item = Owner>) -> Result<Split, OutOfMemory> {
    let mut split = Split::default();
    for (position, owner) in owners.enumerate() {
        let positions = match owner {
            Owner::Here => &mut split.here,
            Owner::Group(group) => {
                let at = match split.elsewhere.binary_search_by_key(&group, |(group, _)| *group) {
                    Ok(at) => at,
                    Err(at) => {
                        fallible::reserve(&mut split.elsewhere, 1, WHAT)?;
                        split.elsewhere.insert(at, (group, Vec::new()));
                        at
                    }
                };
                &mut split.elsewhere[at].1
            }
        };
        fallible::push(positions, position, WHAT)?;
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard(least: i32, most: i32, group: i32) -> Shard {
        Shard { least, most, group, placed: 0, has_arrived: false }
    }

    #[test]
    fn every_hash_has_one_owner_or_there_is_no_map() {
        let whole = [shard(0, i32::MAX, 2), shard(i32::MIN, -1, 1)];
        let map = Map::new(whole.to_vec(), 1).expect("a map");
        assert_eq!([i32::MIN, -1].map(|hash| map.owner_of_hash(hash)), [Owner::Here; 2]);
        assert_eq!([0, i32::MAX].map(|hash| map.owner_of_hash(hash)), [Owner::Group(2); 2]);
        for broken in [
            vec![],
            vec![shard(0, i32::MAX, 1)],
            vec![shard(i32::MIN, 5, 1)],
            vec![shard(i32::MIN, -2, 1), shard(0, i32::MAX, 1)],
            vec![shard(i32::MIN, 0, 1), shard(0, i32::MAX, 1)],
            vec![shard(i32::MIN, i32::MAX, 1), shard(0, i32::MAX, 1)],
        ] {
            assert_eq!(Map::new(broken, 1), None);
        }
    }

    #[test]
    fn a_node_waits_for_its_own_shards_only() {
        let arrived = |shard: Shard| Shard { has_arrived: true, ..shard };
        let (lower, upper) = (shard(i32::MIN, -1, 1), shard(0, i32::MAX, 2));
        let waits = |shards: [Shard; 2]| Map::new(shards.to_vec(), 1).expect("a map").is_waiting();
        assert!(waits([lower, upper]));
        assert!(waits([lower, arrived(upper)]));
        assert!(!waits([arrived(lower), upper]));
    }

    #[test]
    fn places_stay_when_something_arrives_but_not_when_a_shard_comes_back() {
        let (lower, upper) = (shard(i32::MIN, -1, 1), shard(0, i32::MAX, 2));
        let map = |lower, upper, own| Map::new(vec![lower, upper], own).expect("a map");
        let before = map(lower, upper, 1);
        assert!(map(Shard { has_arrived: true, ..lower }, upper, 1).has_places_of(&before));
        assert!(!map(Shard { placed: 7, ..lower }, upper, 1).has_places_of(&before));
        assert!(!map(Shard { group: 2, ..lower }, upper, 1).has_places_of(&before));
        assert!(!map(lower, upper, 2).has_places_of(&before));
    }

    proptest! {
        #[test]
        fn a_hash_is_owned_by_the_shard_that_it_falls_into(
            cuts in prop::collection::btree_set(i32::MIN + 1..=i32::MAX, 0..40),
            hash: i32,
            own in 0..4i32,
        ) {
            let mut shards = Vec::new();
            let mut least = i32::MIN;
            for (number, cut) in cuts.iter().enumerate() {
                shards.push(shard(least, cut - 1, number as i32 % 4));
                least = *cut;
            }
            shards.push(shard(least, i32::MAX, 3));
            let holder = *shards.iter().find(|shard| (shard.least..=shard.most).contains(&hash)).expect("one");
            shards.reverse();
            let map = Map::new(shards, own).expect("a map");
            let expected = if holder.group == own { Owner::Here } else { Owner::Group(holder.group) };
            prop_assert_eq!(map.owner_of_hash(hash), expected);
        }

        #[test]
        fn a_split_batch_has_each_position_once_in_order(owners in prop::collection::vec(0..5i32, 0..200)) {
            let owner = |group: i32| if group == 0 { Owner::Here } else { Owner::Group(group) };
            let split = split(owners.iter().map(|group| owner(*group))).expect("memory");
            let mut seen = vec![false; owners.len()];
            let mut see = |group: i32, positions: &[usize]| {
                assert!(positions.windows(2).all(|pair| pair[0] < pair[1]));
                for at in positions {
                    assert_eq!(owners[*at], group);
                    assert!(!std::mem::replace(&mut seen[*at], true));
                }
            };
            see(0, &split.here);
            for (group, positions) in &split.elsewhere {
                assert!(!positions.is_empty());
                see(*group, positions);
            }
            prop_assert!(split.elsewhere.windows(2).all(|pair| pair[0].0 < pair[1].0));
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
