//! Errors of counters that are spread over several nodes.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnersError {
    /// `counter_ext.serve` is off.
    ServesNone,
    /// The id is on another node.
    Elsewhere { id: Vec<u8>, group: i32 },
    /// What another node has had of the id may not be here yet.
    OnItsWay { id: Vec<u8> },
    /// It is on all nodes.
    Scattered { what: &'static str },
    /// No node has the id, or what the cluster says of its nodes makes no sense.
    NoOwner,
}

const SEND_ON: &str = "Citus sends a call on to the node that has the id where it is all that a statement does, and the id a constant or a \
    parameter: SELECT counter_get('id'), or SELECT * FROM counter_get('id') in a function. For many ids there are counter_incr_many, \
    counter_get_many and counter_visitors_union.";

impl Explain for OwnersError {
    fn explain(&self) -> Explanation {
        let not_in_state =
            |message: String| Explanation::new(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message);
        match self {
            Self::ServesNone => {
                not_in_state("this node serves no counters: counter_ext.serve is off".to_owned())
                    .hint(SEND_ON)
            }
            Self::Elsewhere { id, group } => {
                not_in_state(format!("\"{}\" is not on this node, but on that of group {group}", text(id)))
                    .hint(SEND_ON)
            }
            Self::OnItsWay { id } => not_in_state(format!(
                "what other nodes have had of \"{}\" may not have arrived on this one yet",
                text(id)
            ))
            .hint(
                "Whether this has been done before cannot be told until then: call it again in a moment. \
                 SELECT * FROM counter_citus_status() says what is arriving.",
            ),
            Self::Scattered { what } => {
                not_in_state(format!("{what} is spread over the nodes of the cluster"))
                    .hint("Ask the table counter_ext.liked on each node, with run_command_on_all_nodes().")
            }
            Self::NoOwner => not_in_state(
                "counters are spread over nodes, but not all ids have one".to_owned(),
            )
            .hint(
                "SELECT * FROM counter_citus_status() says what is where; call counter_citus_setup() again.",
            ),
        }
    }
}
