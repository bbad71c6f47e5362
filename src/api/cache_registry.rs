//! Caches follow what happens to their tables: the registry, and the event triggers that keep it (sql/caches.sql, sql/cache_following.sql).
//!
//! BOUND: a prefix and a name, as pg_trigger has them.

use pgrx::prelude::*;

use crate::caches;
use crate::caches::arguments::Role;
use crate::errors::{CounterError, OrRaise, given};
use crate::pg::Oid;
use crate::pg::args::{RelationArg, TextArg, TextArray};
use crate::pg::ddl::CreatedTrigger;

/// Ends the cache of a table under a prefix: drops its triggers, and its counters, unless they are to be kept. Returns how many
/// counters were dropped.
///
/// Errors: 42501 the table is another's; 55000 no triggers count its rows into such counters; 55006 the table is in use by the
/// caller's own query.
#[pg_extern(strict)]
fn counter_uncache(table: RelationArg<'_>, prefix: TextArg<'_>, keep_counters: default!(bool, false)) -> i64 {
    caches::uncache(table.0, prefix.0, keep_counters).or_raise()
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// Makes all counters under a cache's prefix what the rows say; how many differed. The cache is what a trigger with these
    /// arguments counts.
    ///
    /// Errors: those of `counter_backfill`.
    #[pg_extern(strict)]
    fn recount_cache(relation: Oid, arguments: TextArray<'_>, is_rekeyed: bool) -> i64 {
        let recount = || {
            let arguments = given_arguments(arguments)?;
            match Role::of(&arguments)? {
                Role::Counted(definition) => caches::recount(relation, &definition, is_rekeyed),
                Role::Middle(_) => Ok(0),
            }
        };
        recount().or_raise()
    }

    /// Brings all counters under the prefix of a cache that has ended to nothing, as TRUNCATE of its table does; how many there were.
    ///
    /// Errors: 42501; 55000 what was buffered before a crash cannot be read back.
    #[pg_extern(strict)]
    fn empty_prefix(prefix: TextArg<'_>) -> i64 {
        caches::empty_prefix(prefix.0).or_raise() as i64
    }

    /// Whether a dump is being restored into this database, as far as shared memory knows: never without preload.
    #[pg_extern]
    fn is_restored() -> bool {
        caches::is_restored()
    }

    /// Keeps others from adding indexes, statistics and checks to a table and its partitions, to the end of the transaction. Errors: 55P03 where
    /// that takes longer than `lock_timeout`.
    #[pg_extern(strict)]
    fn lock_against_ddl(relation: Oid) {
        caches::lock_against_ddl(relation);
    }

    /// Errors: 55000, 42710 a trigger that CREATE SCHEMA has made counts into another cache's counters.
    #[pg_extern(strict)]
    fn check_cache(relation: Oid, arguments: TextArray<'_>) {
        let check = || {
            let (function, arguments) = (b"counter_rows".to_vec(), given_arguments(arguments)?);
            caches::check_created(&CreatedTrigger { table: relation, function, arguments })
        };
        check().or_raise();
    }
}

fn given_arguments(arguments: TextArray<'_>) -> Result<Vec<Vec<u8>>, CounterError> {
    arguments.elements().map(|argument| Ok(given("arguments", argument)?.to_vec())).collect()
}

extension_sql_file!(
    "../../sql/caches.sql",
    name = "counter_cache_registry",
    requires = [
        "counter_caches",
        "counter_ext_type",
        counter_drop_prefix,
        counter_uncache,
        counter_ext::recount_cache,
        counter_ext::empty_prefix,
        counter_ext::is_restored,
        counter_ext::lock_against_ddl,
        counter_ext::check_cache
    ]
);

extension_sql_file!(
    "../../sql/cache_following.sql",
    name = "counter_cache_following",
    requires = ["counter_cache_registry"]
);

extension_sql!(
    r#"
CREATE EVENT TRIGGER counter_ext_follow_tables ON ddl_command_end EXECUTE FUNCTION counter_ext.follow_tables();
CREATE EVENT TRIGGER counter_ext_follow_rewrites ON table_rewrite EXECUTE FUNCTION counter_ext.follow_rewrites();
CREATE EVENT TRIGGER counter_ext_follow_drops ON sql_drop EXECUTE FUNCTION counter_ext.follow_tables();
"#,
    name = "counter_cache_event_triggers",
    requires = ["counter_cache_following", "counter_event_triggers"]
);
