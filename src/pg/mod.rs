//! The only raw PostgreSQL calls beside `memory/`, behind safe names.
//!
//! Errors: a PostgreSQL `ERROR` inside any call here unwinds as a Rust panic that pgrx turns back into the
//! same `ERROR` at the SQL boundary. Guards (pins, locks, open relations) therefore release on a normal drop
//! only; after an `ERROR` PostgreSQL's own transaction abort releases them, and doing it twice would be wrong.

pub mod aggregate;
mod allocator;
pub mod append;
pub mod args;
pub mod background;
pub mod backtraces;
pub mod catalog;
pub mod confined;
pub mod context;
pub mod counted;
pub mod ddl;
pub mod encoding;
pub mod error_memory;
pub mod errors;
mod extension_commands;
pub mod hashing;
pub mod hooks;
pub mod id_scan;
pub mod installed;
pub mod interval;
pub mod key_form;
pub mod key_text;
pub mod lock;
pub mod naming;
mod options;
pub mod page;
pub mod partition;
pub mod peer;
pub mod privilege;
pub mod process;
pub mod random;
mod report;
pub mod session;
pub mod shard_hash;
pub mod short_name;
pub mod snapshot;
pub mod source;
pub mod spi;
pub mod standby;
pub mod table;
pub mod table_query;
pub mod time_zone;
pub mod transaction_setting;
pub mod trigger;
pub mod truncation;
pub mod type_ids;
mod unguarded;
pub mod vacuum;
pub mod wal;
pub mod write;
pub mod xact;
pub mod zone;

pub use pgrx::pg_sys::Oid;
