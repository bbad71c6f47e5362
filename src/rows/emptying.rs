//! Emptying tables of ours, for whoever forgets everything.

use super::access::{self, Tables};
use super::family_table::FamilyTable;
use crate::errors::CounterError;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::{confined, table, xact};

/// The table itself, or its partitions, as far as they are files with anything in them: one that is empty costs nothing.
const PARTS: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog.\"char\" \
    AND (c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass OR EXISTS ( \
        SELECT FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) p \
        WHERE p.relid OPERATOR(pg_catalog.=) c.oid)) \
    AND pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog.>) 0";

/// Empties the tables, which takes the right to TRUNCATE them. The caller keeps everybody else out of counter_ext.total. Errors: 42501.
pub fn truncate(tables: &[FamilyTable]) -> Result<(), CounterError> {
    for family_table in tables {
        let oid = family_table.find().ok_or(CounterError::NotInstalled)?;
        family_table.check_rights(oid, Rights::TRUNCATE, "TRUNCATE")?;
    }
    empty(access::tables()?, tables)
}

/// As `truncate`, whoever asks.
pub fn empty(counters: Tables, tables: &[FamilyTable]) -> Result<(), CounterError> {
    let owner = table::owner(counters.total);
    for family_table in tables {
        let name = format!("counter_ext.{}", family_table.name);
        let active = ActiveSnapshot::push_latest();
        confined::as_owner(owner, |confined| {
            let spi = Spi::connect(confined)?;
            for row in spi.rows_with(PARTS.as_bytes(), &[Parameter::Text(name.as_bytes())])? {
                let Some(part) = row.into_iter().next().flatten() else { continue };
                // BOUND: a name.
                spi.run(&[b"TRUNCATE ".as_slice(), &part].concat())?;
            }
            Ok::<_, CounterError>(())
        })?;
        drop(active);
    }
    xact::see_own_changes();
    Ok(())
}
