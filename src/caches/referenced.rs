//! What a caller names a middle table by, as a definition has it.
//!
//! BOUND: a name, as it was given.

use std::ffi::{CStr, CString};

use super::arguments::Through;
use super::errors::CacheError;
use super::names;
use crate::errors::CounterError;
use crate::pg::source::Source;
use crate::pg::spi::Spi;
use crate::pg::{Oid, catalog, confined};

/// Reads `table.column`, the table as the caller's search_path finds it. The key refers to the column that a foreign key of it says,
/// or to the table's primary key.
///
/// Errors: 22023 it is no such name; 42P01, 42703 there is none; 42830 the key refers to nothing there; 0A000 it is
/// the table itself.
pub fn through(table: Oid, keys: &[CString], name: &[u8]) -> Result<Through, CounterError> {
    let [key] = keys else { return Err(CacheError::ManyKeysThrough.into()) };
    let unknown = || CacheError::NoColumnOfATable { through: name.to_vec() };
    let parts = names::parts(name).ok_or_else(unknown)?;
    let (to, schema, relation) = match parts.as_slice() {
        [relation, to] => (to, None, relation),
        [schema, relation, to] => (to, Some(schema), relation),
        _ => return Err(unknown().into()),
    };
    let oid = match schema {
        Some(schema) => catalog::relation(schema, relation),
        None => catalog::relation_on_path(relation),
    };
    let Some(oid) = oid else {
        return Err(CacheError::NoSuchTable { table: relation.to_bytes().to_vec() }.into());
    };
    let source = Source::open(table)?;
    if oid == table {
        return Err(CacheError::ThroughItself { table: source.name() }.into());
    }
    let middle = Source::open(oid)?;
    source.column(key)?;
    middle.column(to)?;
    let Some(by) = referenced_column(&source, key, &middle)? else {
        return Err(CacheError::NoWay { table: source.name(), middle: middle.name() }.into());
    };
    let text = |bytes: Vec<u8>| {
        CString::new(bytes).map_err(|_| CounterError::Internal("a name with a NUL".to_owned()))
    };
    Ok(Through { table: text(middle.qualified_name())?, by: text(by)?, to: to.clone() })
}

fn referenced_column(source: &Source, key: &CStr, middle: &Source) -> Result<Option<Vec<u8>>, CounterError> {
    let query = format!(
        "SELECT a.attname FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) {middle}::pg_catalog.oid
            AND a.attnum OPERATOR(pg_catalog.=) CASE k.contype WHEN 'f'::\"char\" THEN k.confkey[1] ELSE k.conkey[1] END
         WHERE pg_catalog.array_length(k.conkey, 1) OPERATOR(pg_catalog.=) 1 AND CASE k.contype
            WHEN 'f'::\"char\" THEN k.conrelid OPERATOR(pg_catalog.=) {source}::pg_catalog.oid AND k.confrelid OPERATOR(pg_catalog.=) {middle}::pg_catalog.oid
                AND k.conkey[1] OPERATOR(pg_catalog.=) {key}::pg_catalog.int2
            WHEN 'p'::\"char\" THEN k.conrelid OPERATOR(pg_catalog.=) {middle}::pg_catalog.oid ELSE false END
         ORDER BY k.contype, k.oid LIMIT 1",
        source = u32::from(source.oid()),
        middle = u32::from(middle.oid()),
        key = source.column(key)?.number(),
    );
    let rows = confined::as_caller(|confined| Spi::connect(confined)?.rows(query.as_bytes()))?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}
