//! Errors of spreading counters over the nodes of a cluster.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardingError {
    /// Citus is to take over one of our own tables.
    OwnTable { table: String },
    /// A batch with times, of which some ids are on other nodes.
    LateBatch,
    /// A cache is to be made where counters are spread.
    Cache,
}

impl Explain for ShardingError {
    fn explain(&self) -> Explanation {
        match self {
            Self::OwnTable { table } => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("table counter_ext.{table} cannot be distributed: each node keeps its own, and would lose sight of its counts"),
            )
            .hint("Counters are spread over the nodes of a cluster by SELECT counter_citus_setup()."),
            Self::LateBatch => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "a batch with times cannot be applied where counters are spread over nodes",
            )
            .hint("Leave \"at\" out, or apply it on each node by itself, for the ids that are there."),
            Self::Cache => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "a cache cannot be made where counters are spread over nodes: its counters would not be where its rows are",
            )
            .hint("Count in the statement that writes the row, with counter_incr, or with counter_incr_many for several."),
        }
    }
}
