//! The SQL surface: checks, then one call inwards.

mod audit;
mod boards;
mod bulk;
mod cache_ids;
mod cache_registry;
mod caches;
mod changes;
mod counter_type;
mod ddl;
mod expiry;
mod hll;
mod hll_aggregates;
mod idempotency;
mod increments;
mod likes;
mod limits;
mod listing;
mod live;
mod moving;
mod nodes;
mod operations;
mod reads;
mod series;
mod sharding;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod triggers;
mod visitors;
