//! The nodes that count the same counters: counter_ext.member, a row each, which that node writes and the others get by replication.
//!
//! Who may take amounts away. Without a harvester each node takes what it has counted itself: rows that nobody else writes, so no
//! two nodes take the same. A node that takes the amounts of all must be the only one that takes any. So the others stop first, each by
//! naming the harvester in its own row; that row reaches it after all that they took before, since rows of a node arrive in the
//! order of their commits. Until all of them have arrived it takes nothing; nor while tables are copied from any node, each by itself and so not in
//! that order. A node that has left takes nothing: the others have what it has counted, and may take it. Another node takes over in the same way. What one node took for all
//! stands in its own rows, below 0, and is no part of what the others have counted: so there is no way back to each taking its own.
//!
//! Contract: who takes anything holds the table's lock for writing to the end of the transaction, and who names a harvester one against
//! it, so nobody takes by an earlier word once a later one is committed.

use super::access;
use super::column_types::*;
use super::family_table::FamilyTable;
use super::node::{self, NodeError};
use crate::errors::CounterError;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::Access;
use crate::pg::{confined, table};
use crate::settings;

/// counter_ext.member
pub const MEMBER: FamilyTable = FamilyTable {
    name: "member",
    relation: c"member",
    columns: &[INT4, TEXT, INT4],
    key: "node",
    hint: "It is written by counter_node_setup, counter_node_harvester and counter_node_leave only.",
};

/// Which amounts of a counter are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What this node has counted.
    Own,
    Everywhere,
}

/// A node that has not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    node: i32,
    /// Which node this one lets take the amounts of all.
    harvester: Option<i32>,
    has_left: bool,
}

const MEMBERS: &str = "SELECT m.node, m.harvester, m.left_at IS NOT NULL FROM counter_ext.member m \
    WHERE m.left_at IS NULL OR m.node OPERATOR(pg_catalog.=) $1 ORDER BY m.node";
const HAS_LEFT: &str =
    "SELECT 1 FROM counter_ext.member m WHERE m.node OPERATOR(pg_catalog.=) $1 AND m.left_at IS NOT NULL";
/// A node of which not every table is copied, or not up to the same change.
const BEING_COPIED: &str = "SELECT pg_catalog.substring(s.subname::pg_catalog.text, '^counter_node_([0-9]+)$') \
    FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.subdbid \
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND s.subname OPERATOR(pg_catalog.~) '^counter_node_[0-9]+$' \
        AND (SELECT coalesce(pg_catalog.bool_or(r.srsubstate OPERATOR(pg_catalog.<>) 'r'), true) FROM pg_catalog.pg_subscription_rel r \
            WHERE r.srsubid OPERATOR(pg_catalog.=) s.oid) \
    ORDER BY 1 LIMIT 1";

/// Checks that this transaction may take such amounts away, and keeps it so. The caller has entered for a change. Errors: 55000 it may not.
pub fn check_may_take(scope: Scope) -> Result<(), CounterError> {
    if !node::is_one_of_many() {
        return Ok(());
    }
    MEMBER.lock(Access::Write)?;
    let rows = look(MEMBERS, &[Parameter::Int(settings::node())])?;
    let members = rows.iter().filter_map(|row| {
        let [node, harvester, has_left] = row.as_slice() else { return None };
        let has_left = has_left.as_deref() == Some(b"t".as_slice());
        Some(Member { node: number(node)?, harvester: number(harvester), has_left })
    });
    may_take(settings::node(), members, scope)?;
    if scope == Scope::Everywhere
        && let Some(node) = look(BEING_COPIED, &[])?.first().and_then(|row| number(row.first()?))
    {
        return Err(NodeError::BeingCopied { node }.into());
    }
    Ok(())
}

/// Whether a node has left, as far as this one knows.
pub fn has_left(node: i32) -> Result<bool, CounterError> {
    Ok(!look(HAS_LEFT, &[Parameter::Int(node)])?.is_empty())
}

/// What is committed by now, and what this transaction did.
fn look(query: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
    let active = ActiveSnapshot::push_latest();
    let rows = confined::as_owner(table::owner(access::tables()?.total), |confined| {
        Spi::connect(confined)?.rows_with(query.as_bytes(), parameters)
    })?;
    drop(active);
    Ok(rows)
}

fn number(text: &Option<Vec<u8>>) -> Option<i32> {
    str::from_utf8(text.as_deref()?).ok()?.parse().ok()
}

fn may_take(own: i32, members: impl Iterator<Item = Member>, scope: Scope) -> Result<(), NodeError> {
    let mut named_here = None;
    let mut named_elsewhere = None;
    let mut not_agreed = None;
    for member in members {
        if member.node == own && member.has_left {
            return Err(NodeError::HasLeft);
        }
        if member.node == own {
            named_here = member.harvester;
        } else if member.harvester.is_some_and(|node| node != own) {
            named_elsewhere = member.harvester;
        }
        if member.harvester != Some(own) {
            not_agreed.get_or_insert(member.node);
        }
    }
    match (named_here, scope) {
        (Some(node), _) if node != own => Err(NodeError::OtherHarvester { node }),
        (Some(_), Scope::Own) => Err(NodeError::HarvestsAll),
        (Some(_), Scope::Everywhere) => match not_agreed {
            Some(node) => Err(NodeError::NotAgreed { node }),
            None => Ok(()),
        },
        (None, Scope::Everywhere) => Err(NodeError::NoHarvester),
        // It may have begun to take them all.
        (None, Scope::Own) => match named_elsewhere {
            Some(node) => Err(NodeError::OtherHarvester { node }),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(own: i32, harvesters: &[(i32, Option<i32>)], scope: Scope) -> Result<(), NodeError> {
        let members = harvesters.iter().map(|&(node, harvester)| Member { node, harvester, has_left: false });
        may_take(own, members, scope)
    }

    #[test]
    fn without_a_harvester_each_takes_its_own() {
        let nobody = [(1, None), (2, None)];
        assert_eq!(asked(1, &nobody, Scope::Own), Ok(()));
        assert_eq!(asked(1, &nobody, Scope::Everywhere), Err(NodeError::NoHarvester));
        assert_eq!(asked(1, &[], Scope::Own), Ok(()));
    }

    #[test]
    fn a_harvester_waits_until_all_have_said_so() {
        let some = [(1, Some(1)), (2, None), (3, Some(1))];
        assert_eq!(asked(1, &some, Scope::Everywhere), Err(NodeError::NotAgreed { node: 2 }));
        let all = [(1, Some(1)), (2, Some(1)), (3, Some(1))];
        assert_eq!(asked(1, &all, Scope::Everywhere), Ok(()));
        assert_eq!(asked(1, &all, Scope::Own), Err(NodeError::HarvestsAll));
        assert_eq!(asked(2, &all, Scope::Own), Err(NodeError::OtherHarvester { node: 1 }));
    }

    #[test]
    fn who_has_left_takes_nothing() {
        for harvester in [None, Some(1), Some(3)] {
            let members =
                [(1, false), (3, true)].map(|(node, has_left)| Member { node, harvester, has_left });
            for scope in [Scope::Own, Scope::Everywhere] {
                assert_eq!(may_take(3, members.into_iter(), scope), Err(NodeError::HasLeft));
            }
        }
    }

    proptest! {
        /// Whatever each node knows of the others' words, now or earlier: where one may take all amounts, no other may take any.
        #[test]
        fn nobody_takes_beside_a_harvester(
            said in prop::collection::vec(prop::collection::vec(0i32..4, 1..5), 3),
            seen in prop::collection::vec(prop::collection::vec(0usize..5, 3), 3),
        ) {
            // Node n + 1 has said these things in turn; it sees of each other node what has arrived, and all of its own. 0 is nobody, and
            // only the first word can be that.
            let word = |node: usize, at: usize| {
                let words = &said[node];
                let word = words[at.min(words.len() - 1)];
                if at == 0 { (word > 0).then_some(word) } else { Some(word.max(1)) }
            };
            let known = |own: usize| -> Vec<(i32, Option<i32>)> {
                (0..3).map(|node| {
                    let last = said[node].len() - 1;
                    let at = if node == own { last } else { seen[own][node].min(last) };
                    (node as i32 + 1, word(node, at))
                }).collect()
            };
            let current = (0..3).map(|node| word(node, said[node].len() - 1)).collect::<Vec<_>>();
            for harvester in 0..3 {
                if asked(harvester as i32 + 1, &known(harvester), Scope::Everywhere).is_err() {
                    continue;
                }
                for other in (0..3).filter(|other| *other != harvester) {
                    // Whoever still stands by the word that the harvester has seen.
                    if current[other] == Some(harvester as i32 + 1) {
                        prop_assert!(asked(other as i32 + 1, &known(other), Scope::Own).is_err());
                        prop_assert!(asked(other as i32 + 1, &known(other), Scope::Everywhere).is_err());
                    }
                }
            }
        }
    }
}
