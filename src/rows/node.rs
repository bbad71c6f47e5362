//! Whose rows are whose, where several servers count the same counters: each writes rows of its own number, `counter_ext.node`.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation};
use crate::settings;

/// The number of a server that has none: it counts by itself.
pub const NONE: i32 = 0;

/// Whose a row of counter_ext.total is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Ours,
    /// Of another number, in a server that counts by itself: part of its counters, which nobody else changes.
    Inherited,
    /// Another node's, which alone changes it.
    Theirs,
}

/// Whose a row is. What a server counted before it had a number is its own: no other node sends it (`replicated`).
pub fn whose(number: i32, own: i32) -> Whose {
    match number {
        _ if number == own || number == NONE => Whose::Ours,
        _ if own == NONE => Whose::Inherited,
        _ => Whose::Theirs,
    }
}

/// Whether this server is one of several that count.
pub fn is_one_of_many() -> bool {
    settings::node() != NONE
}

/// What takes the place of emptying tables.
pub const DROP_INSTEAD: &str = "counter_drop_prefix drops what begins with a prefix, on all nodes.";

/// Errors: 55000 this server is one of several that count, where this would take along what others go on changing.
pub fn check_alone(function: &'static str, hint: &'static str) -> Result<(), NodeError> {
    if is_one_of_many() { Err(NodeError::TakesOthers { function, hint }) } else { Ok(()) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// Rows of our own number come from another server.
    SameNumber { node: i32 },
    /// Rows come from another server, and this one has no number.
    NoNumber,
    /// Rows come from a server that has no number.
    FromNoNumber,
    /// What only another node may change is changed by hand.
    NotOurs { node: i32 },
    /// What would take other nodes' rows along, which they go on changing.
    TakesOthers { function: &'static str, hint: &'static str },
    /// Amounts of all nodes are asked for, and nobody may take them.
    NoHarvester,
    /// Amounts are asked for which another node takes.
    OtherHarvester { node: i32 },
    /// Amounts of this node alone are asked for, where one node takes those of all.
    HarvestsAll,
    /// Some node has not said yet that it lets this one take its amounts.
    NotAgreed { node: i32 },
    /// This node has left, and the others may take what it has counted.
    HasLeft,
    /// Not all that a node has counted has arrived yet, since its tables are being copied.
    BeingCopied { node: i32 },
}

impl Explain for NodeError {
    fn explain(&self) -> Explanation {
        let not_in_state =
            |message: String| Explanation::new(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        match self {
            Self::SameNumber { node } => not_in_state(format!(
                "rows of node {node} come from another server, and this one is node {node} too"
            ))
            .hint(
                "Two servers with the same number would overwrite each other's counts, so nothing was written. Give one of them another \
                 counter_ext.node, reload it, and call counter_node_setup there.",
            ),
            Self::NoNumber => not_in_state(
                "counters of another server come by replication, and this one has no number".to_owned(),
            )
            .hint(
                "Nothing was written. Set counter_ext.node to a number that no other server has, and reload; replication goes on by itself then.",
            ),
            Self::FromNoNumber => not_in_state(
                "counters come by replication from a server that has no number".to_owned(),
            )
            .hint("Nothing was written. Set counter_ext.node there, reload, and call counter_node_setup there."),
            Self::NotOurs { node } => not_in_state(format!("rows of node {node} are changed by node {node} only"))
                .hint("That node would never know, and go on from what it has: call counter_set or counter_drop."),
            Self::TakesOthers { function, hint } => not_in_state(format!(
                "{function} is not to be had where several nodes count: it would take other nodes' rows along"
            ))
            .hint(*hint),
            Self::NoHarvester => not_in_state(
                "no node may take the amounts of all nodes: two that did would take the same amount twice".to_owned(),
            )
            .hint(
                "Leave \"everywhere\" out to take what this node has counted, or call counter_node_harvester(this node's number) on every node.",
            ),
            Self::OtherHarvester { node } => {
                not_in_state(format!("node {node} takes the amounts of all nodes")).hint(
                    "Call it there, with everywhere => true. Another node takes over once counter_node_harvester() names it on every node.",
                )
            }
            Self::HarvestsAll => not_in_state("this node takes the amounts of all nodes".to_owned())
                .hint("Say everywhere => true."),
            Self::NotAgreed { node } => not_in_state(format!(
                "node {node} has not said that this node takes the amounts of all nodes, or it has not arrived here yet"
            ))
            .hint("Call counter_node_harvester() there too, or counter_node_leave() here for a node that is gone for good."),
            Self::HasLeft => not_in_state("this node has left, and the others keep what it has counted".to_owned()).hint(
                "Call counter_node_setup to come back, or set counter_ext.node = 0, and reload, to go on alone.",
            ),
            Self::BeingCopied { node } => not_in_state(format!("what node {node} has counted is still being copied"))
                .hint("Call it again a moment after counter_node_setup has said here that this node is ready."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_owns_its_rows_and_those_from_before() {
        assert_eq!([1, 0, 2].map(|number| whose(number, 1)), [Whose::Ours, Whose::Ours, Whose::Theirs]);
        assert_eq!([0, 2].map(|number| whose(number, NONE)), [Whose::Ours, Whose::Inherited]);
    }
}
