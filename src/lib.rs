//! `counter_ext`: counters that take a viral load inside PostgreSQL.
//!
//! | room | what lives there |
//! | --- | --- |
//! | `api` | the SQL surface: checks, then one call inwards |
//! | `counting` | a transaction's pending deltas, what happens to them at commit, reads, compaction passes |
//! | `visitors` | unique visitors: a transaction's visits, reads, uniting |
//! | `idempotency` | single events by token, batches by source and offset |
//! | `likes` | likes with dedup |
//! | `limits` | sliding-window limits; a bot filter by policy and block list |
//! | `caches` | counters of the rows of a table: triggers, backfill, comparison |
//! | `series` | what counters came to by the minute, the hour and the day |
//! | `audit` | the audit log: switched, sealed with a chain of hashes, verified |
//! | `boards` | counters ranked by their totals |
//! | `live` | changed totals, sent to channels |
//! | `nodes` | several servers that count the same counters |
//! | `sharding` | counters spread over the nodes of a cluster, each id on one of them |
//! | `expiry` | counters that nobody increments any more are dropped |
//! | `family` | what a family fills in; passes of compaction |
//! | `hll` | HyperLogLog sketches: format, union, estimate; plain Rust |
//! | `rows` | slot and total rows: found, read, written, folded; rows of visitors |
//! | `memory` | totals in shared memory: table, loading, announcements, statistics; sketches of visitors |
//! | `owners` | which node an id belongs to, where ids are spread over several |
//! | `journal` | records of buffered deltas in a table of their own, and reading them back |
//! | `worker` | launcher and compactors; they come in from the other end |
//! | `pg` | raw PostgreSQL calls behind safe names |
//! | `settings`, `errors` | GUCs; errors with SQLSTATE, message and HINT |
//! | `fallible` | memory whose size a user decides, asked for so that it can be refused |
//!
//! Calls go one way: api → counting, visitors, caches → family → rows, memory, journal → pg, hll. See docs/architecture.md.

use pgrx::prelude::*;

mod api;
mod audit;
mod boards;
mod caches;
mod counting;
mod errors;
mod expiry;
mod fallible;
mod family;
mod hll;
mod idempotency;
mod journal;
mod likes;
mod limits;
mod live;
mod memory;
mod nodes;
mod owners;
mod pg;
mod rows;
mod series;
mod settings;
mod sharding;
mod visitors;
mod worker;

pgrx::pg_module_magic!(name, version);

use errors::OrRaise;

static SERVER_HOOKS: pg::hooks::Hooks = pg::hooks::Hooks {
    request_shared_memory: memory::request,
    start_shared_memory: memory::start,
    before_database_command: worker::database_commands::make_room,
    after_database_command: worker::database_commands::let_in_again,
    before_chosen_database_oid: worker::database_commands::forget,
    owners_reassigned,
    relation_dropped,
    trigger_created,
};

/// What the rest of the extension knows of families.
static FAMILIES: [&family::Family; 14] = [
    &caches::FAMILY,
    &likes::FAMILY,
    &visitors::FAMILY,
    &idempotency::FAMILY,
    &audit::FAMILY,
    &limits::FAMILY,
    &boards::FAMILY,
    &boards::windows::FAMILY,
    &live::FAMILY,
    &expiry::FAMILY,
    &nodes::FAMILY,
    &sharding::FAMILY,
    &series::FAMILY,
    &counting::FAMILY,
];

/// Called by PostgreSQL when it loads the library: in the postmaster, or in a session without preload.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::backtraces::turn_off();
    pg::error_memory::prepare();
    let preloading = pg::process::is_preloading();
    settings::define(preloading);
    FAMILIES.iter().for_each(|family| (family.define_settings)(preloading));
    settings::close();
    pg::catalog::register();
    family::register(&FAMILIES);
    if preloading {
        pg::hooks::install(&SERVER_HOOKS);
        worker::register();
    }
}

fn owners_reassigned() {
    caches::follow_owners().or_raise();
}

fn relation_dropped(relation: pg::Oid) {
    if pg::catalog::is_relation(relation, c"counter_ext", c"total") {
        counting::transaction::note_extension_dropped(relation);
    }
}

fn trigger_created(trigger: pg::catalog::NewTrigger) {
    sharding::check_trigger(trigger).or_raise();
}

/// What `cargo pgrx test` starts its server with.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        // BOUND: two settings.
        vec!["shared_preload_libraries='counter_ext'", "max_prepared_transactions=10"]
    }
}
