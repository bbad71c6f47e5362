//! The registry of caches, which SQL keeps (sql/caches.sql): what Rust asks of it.
//!
//! A stale cache is recounted by the worker's step, a cache in a piece, or by counter_compact where there is no worker. All state is in
//! rows of counter_ext.cache: a crash in the middle of a piece leaves the cache stale, and the next pass takes it up again.
//! What fails is put off, with its reason in the row.

use std::time::Duration;

use super::arguments::Definition;
use super::definition;
use super::errors::CacheError;
use super::opened::Opened;
use super::sweeping::{self, Sweep};
use crate::counting::{reserved, zeroes};
use crate::errors::CounterError;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::restore_guard;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::Source;
use crate::pg::spi::{Parameter, Spi, text_array};
use crate::pg::table::Access;
use crate::pg::{Oid, catalog, lock, privilege, process, xact};
use crate::rows::access::{self, Tables, as_owner};

pub const RECOUNT_CACHES: Step = Step {
    name: "recounting caches",
    every: Duration::ZERO,
    is_essential: false,
    begin: || Box::new(RecountCaches::default()),
};

#[derive(Default)]
struct RecountCaches {
    sweep: Option<Sweep>,
}

impl Work for RecountCaches {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        if !how.waits && !try_lock_registry() {
            return Ok(Progress { is_done: true, ..Progress::default() });
        }
        let rows = ask(tables, b"SELECT counter_ext.recount_next()", &[])?;
        if rows.as_deref() == Some(b"t") {
            return Ok(Progress { rows: 1, ..Progress::default() });
        }
        let mut removed = remove_zeroes(tables)?;
        if removed.is_none() {
            self.sweep = self.sweep.take().or_else(|| sweeping::begin(how));
            removed = self.sweep.as_mut().map_or(Ok(None), |sweep| sweep.piece(tables))?;
            if removed.is_none() {
                self.sweep = None;
            }
        }
        Ok(Progress { rows: removed.unwrap_or(0), is_done: removed.is_none(), ..Progress::default() })
    }
}

/// Locks counter_ext.cache for writing, unless somebody holds a conflicting lock: the worker waits for nobody.
fn try_lock_registry() -> bool {
    catalog::relation(c"counter_ext", c"cache")
        .is_some_and(|table| lock::try_lock_table(table, Access::Write))
}

/// Removes counters of caches that no row refers to any more, and numbers of likes of what nobody likes, a batch of those that were folded;
/// `None` when there are none. Those of a stale cache stay: its recount decides what they are.
fn remove_zeroes(tables: Tables) -> Result<Option<u64>, CounterError> {
    const BATCH: usize = 256;
    let ids = zeroes::take(BATCH);
    if ids.is_empty() {
        return Ok(None);
    }
    let caches = definition::all()?;
    let mut removed = 0;
    for id in ids {
        process::check_for_interrupts();
        let may_go = reserved::is_reserved(&id)
            || caches.iter().any(|(_, cache)| !cache.prefix().is_empty() && id.starts_with(cache.prefix()));
        if may_go && xact::in_scratch_memory(|| zeroes::remove_if_zero(tables, &id))? {
            removed += 1;
        }
    }
    Ok(Some(removed))
}

/// Ends a cache, and drops its counters unless they are to be kept; how many. Errors: 42501 the table is another's; 55000 there is no
/// such cache.
pub fn uncache(table: Oid, prefix: &[u8], keeps_counters: bool) -> Result<i64, CounterError> {
    let source = Source::open(table)?;
    privilege::check_owns(table, &source.name());
    source.check_not_in_use(c"counter_uncache");
    drop(source);
    let flag: &[u8] = if keeps_counters { b"f" } else { b"t" };
    let dropped = ask(
        access::tables()?,
        b"SELECT counter_ext.uncache($1::pg_catalog.oid, $2, $3::pg_catalog.bool)",
        &[Parameter::Bigint(u32::from(table).into()), Parameter::Text(prefix), Parameter::Text(flag)],
    )?;
    Ok(dropped.and_then(|text| str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0))
}

/// Everything that some roles owned belongs to another one now, which PostgreSQL tells no event trigger of. Raises 42501 where he may
/// not count the rows of a cached table that he has got.
pub fn follow_owners() -> Result<(), CounterError> {
    let Some(tables) = access::find_tables() else { return Ok(()) };
    ask(tables, b"SELECT counter_ext.follow_owners(NULL)", &[])?;
    Ok(())
}

/// Makes the triggers that partitions of a table miss.
pub fn guard_partitions(table: Oid) -> Result<(), CounterError> {
    let Some(tables) = access::find_tables() else { return Ok(()) };
    let table = [Parameter::Bigint(u32::from(table).into())];
    ask(tables, b"SELECT counter_ext.guard_partitions($1::pg_catalog.oid)", &table)?;
    xact::see_own_changes();
    Ok(())
}

/// Notes that the cache's counters are right as of now.
pub fn note_verified(table: Oid, definition: &Definition) -> Result<(), CounterError> {
    let arguments = definition.arguments();
    let arguments = text_array(arguments.iter().map(|argument| argument.to_bytes()))?;
    let parameters = [Parameter::Bigint(u32::from(table).into()), Parameter::Text(&arguments)];
    ask(
        access::tables()?,
        b"SELECT counter_ext.note_verified($1::pg_catalog.oid, $2::pg_catalog.text[])",
        &parameters,
    )?;
    Ok(())
}

/// Checks that a query of a cache's tables, which runs with the rights of the counted one's owner, runs nothing that another one's owner has
/// written, the middle table's, a partition's, or that of what one is a partition of. PostgreSQL works out constant parts of expressions in an index as it plans the query, and
/// estimates what they select by functions of their operators and types; policies of rows run in it. What all of these come to nobody can tell, so there must be no such
/// expression. Keeps the owner from adding one, to the end of the transaction; on a standby nobody can be kept from it. Errors: 42501, also where he may not read all of the middle table.
pub fn check_may_read_all(tables: Tables, opened: &Opened) -> Result<(), CounterError> {
    const IS_ANOTHERS: &[u8] = b"SELECT true FROM (SELECT $1::pg_catalog.oid UNION SELECT $2::pg_catalog.oid
            UNION SELECT p.relid FROM counter_ext.parts($1::pg_catalog.oid) AS p (relid)
            UNION SELECT p.relid FROM counter_ext.parts($2::pg_catalog.oid) AS p (relid)
            UNION SELECT p.relid FROM pg_catalog.pg_partition_ancestors($1::pg_catalog.oid::pg_catalog.regclass) AS p (relid)
            UNION SELECT p.relid FROM pg_catalog.pg_partition_ancestors($2::pg_catalog.oid::pg_catalog.regclass) AS p (relid)) AS t (relid)
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relid JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.relowner
        WHERE c.relowner OPERATOR(pg_catalog.<>) $3::pg_catalog.oid AND NOT r.rolsuper LIMIT 1";
    const HAS_EXPRESSIONS: &[u8] = b"SELECT true FROM (SELECT $1::pg_catalog.oid UNION SELECT $2::pg_catalog.oid
            UNION SELECT p.relid FROM counter_ext.parts($1::pg_catalog.oid) AS p (relid)
            UNION SELECT p.relid FROM counter_ext.parts($2::pg_catalog.oid) AS p (relid)
            UNION SELECT p.relid FROM pg_catalog.pg_partition_ancestors($1::pg_catalog.oid::pg_catalog.regclass) AS p (relid)
            UNION SELECT p.relid FROM pg_catalog.pg_partition_ancestors($2::pg_catalog.oid::pg_catalog.regclass) AS p (relid)) AS t (relid)
        WHERE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) t.relid
                AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
            OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s WHERE s.stxrelid OPERATOR(pg_catalog.=) t.relid AND s.stxexprs IS NOT NULL)
            OR EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid OPERATOR(pg_catalog.=) t.relid
                AND k.contype OPERATOR(pg_catalog.=) 'c'::\"char\")
            OR EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid OPERATOR(pg_catalog.=) t.relid AND p.partexprs IS NOT NULL)
            OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) t.relid AND c.relkind OPERATOR(pg_catalog.=) 'f'::\"char\")
        LIMIT 1";
    if let Some(middle) = &opened.middle {
        middle.check_is_read_by(opened.source.owner())?;
    }
    let is_in_a_tree = opened.source.is_partitioned() || opened.source.is_partition();
    if opened.middle.is_none() && !is_in_a_tree {
        return Ok(());
    }
    let middle = opened.middle.as_ref().map_or(&opened.source, |middle| &middle.source);
    let number = |oid: Oid| Parameter::Bigint(u32::from(oid).into());
    let both = [number(opened.source.oid()), number(middle.oid())];
    if ask(tables, IS_ANOTHERS, &[both[0], both[1], number(opened.source.owner())])?.is_none() {
        return Ok(());
    }
    // What the counted table's owner has written may run, unless a partition is another's, or what it is a partition of.
    let is_middle_alone = middle.owner() != opened.source.owner() && !is_in_a_tree;
    let looked_at = if is_middle_alone { [both[1], both[1]] } else { both };
    let is_refused = xact::in_recovery() || {
        if !is_middle_alone {
            lock::lock_against_ddl(opened.source.oid());
        }
        lock::lock_against_ddl(middle.oid());
        ask(tables, HAS_EXPRESSIONS, &looked_at)?.is_some()
    };
    if !is_refused {
        return Ok(());
    }
    Err(CacheError::RunsCodeOfAnother { table: opened.source.name() }.into())
}

/// Whether a dump is being restored into this database. Asked after the rows have been read that may be some of its rows.
pub fn is_restored() -> bool {
    restore_guard::is_under_way(u32::from(catalog::my_database()))
}

/// Whether the cache's triggers were made by a restore that still goes on: it brings the amounts of rows that they have not counted.
pub fn is_being_restored(tables: Tables, table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let found = ask(
        tables,
        b"SELECT true FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1::pg_catalog.oid
            AND c.prefix OPERATOR(pg_catalog.=) $2 AND counter_ext.session_lasts(c.restored_by)",
        &[Parameter::Bigint(u32::from(table).into()), Parameter::Text(prefix)],
    )?;
    Ok(found.is_some())
}

/// Asks the registry as the tables' owner, under a snapshot of now.
fn ask(tables: Tables, query: &[u8], parameters: &[Parameter<'_>]) -> Result<Option<Vec<u8>>, CounterError> {
    as_owner(tables, |confined| {
        let active = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let rows = spi.rows_with(query, parameters)?;
        drop(spi);
        drop(active);
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    })
}
