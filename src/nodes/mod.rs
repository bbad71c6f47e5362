//! Several servers that count the same counters, each for itself: PostgreSQL's logical replication brings every node the rows of the others.
//!
//! Subscriptions, publications and slots are made by procedures in sql/nodes.sql, by way of sql/node_links.sql; `asking` is how they speak to another
//! node. Whose rows are whose, and what of a row that arrives, is in `rows/node` and `rows/replicated`; who may take amounts away in `rows/members`. A
//! counter that is dropped on one node is dropped on all (`dropping`), and who is asked to is asked until it has heard (`requests`).

pub mod asking;
mod dropping;
pub mod errors;
mod requests;

use crate::family::Family;
use crate::rows::emptying;

/// Which nodes there are stays so when all counters are forgotten.
pub static FAMILY: Family = Family {
    drop_asked_for: dropping::ask,
    counter_dropped: dropping::forget_what_left,
    forget_all: |_| emptying::truncate(&[dropping::WANTED]),
    steps: &[dropping::DROP_WANTED, requests::FORGET_TAKEN],
    ..Family::NONE
};
