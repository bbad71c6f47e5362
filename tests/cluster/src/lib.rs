//! Harness of the cluster tests: throwaway PostgreSQL servers, many clients with a ledger of what
//! they were told, and readers that compare what they read with that ledger.
//!
//! The tests themselves are in `tests/`, one topic a file. They need the extension installed in the
//! server found through `COUNTER_EXT_PG_CONFIG` (default: PostgreSQL 15's `pg_config`).
//! `COUNTER_EXT_TEST_SECONDS` stretches every load phase, `COUNTER_EXT_TEST_SEED` repeats the
//! random choices of a run.

pub mod blocking;
pub mod buffered;
pub mod chance;
pub mod citus;
pub mod client;
pub mod cluster;
pub mod delivery;
pub mod history;
pub mod installation;
pub mod ledger;
pub mod load;
pub mod log;
pub mod monitoring;
pub mod nodes;
pub mod pages;
pub mod pooler;
pub mod processes;
pub mod projects;
pub mod reader;
pub mod session;
pub mod settings;
pub mod traps;
pub mod visit_load;
pub mod visits;
pub mod wait;
pub mod watch;

pub use cluster::Cluster;
pub use ledger::Ledger;
pub use load::{Traffic, load_for, under_load};
pub use session::{Address, Isolation, Session, assert_sqlstate};
pub use settings::Settings;
