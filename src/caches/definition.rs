//! Which triggers count which rows into which counters.
//!
//! BOUND: what is copied here without asking are names and arguments of one table's triggers, as long as the catalogs hold.

use std::ffi::CString;

use super::arguments::{Definition, MAX_BYTES, Role};
use super::errors::CacheError;
use super::opened::Opened;
use crate::errors::CounterError;
use crate::family;
use crate::pg::ddl::CreatedTrigger;
use crate::pg::lock::{self, Subject, key_hash};
use crate::pg::privilege::{self, Rights};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::{Event, Source};
use crate::pg::spi::Spi;
use crate::pg::{Oid, confined, spi};
use crate::rows::access::{self, Tables};

/// The trigger function, wherever the extension was put.
pub struct Function {
    pub oid: Oid,
    pub qualified_name: Vec<u8>,
}

/// Another use of the trigger function.
struct Other {
    /// On the table in question, or on another partition of the same.
    is_of_same_table: bool,
    name: Vec<u8>,
    prefix: Vec<u8>,
    arguments: Vec<Vec<u8>>,
}

/// The events, of those asked for, that no trigger of the table with these arguments is for. Errors: 55000 some are counted twice,
/// or in part.
pub fn uncounted(
    arguments: &[CString],
    source: &Source,
    function: &Function,
    events: &[Event],
) -> Result<Vec<Event>, CounterError> {
    let mut triggers = source.triggers();
    triggers.retain(|trigger| {
        let is_same = |(one, other): (&Vec<u8>, &CString)| one == other.to_bytes();
        trigger.function == function.oid
            && trigger.arguments.len() == arguments.len()
            && trigger.arguments.iter().zip(arguments).all(is_same)
    });
    let mut uncounted = Vec::new();
    for &event in events {
        let mut counting = triggers
            .iter()
            .filter(|trigger| trigger.is_for(event) && !trigger.is_for_replicas(event, &triggers));
        match (counting.next(), counting.next()) {
            (None, _) => uncounted.push(event),
            (Some(one), None) if one.covers(event) => {}
            _ => {
                let prefix = arguments.first().map_or_else(Vec::new, |prefix| prefix.to_bytes().to_vec());
                return Err(CacheError::CountedOtherwise { table: source.name(), prefix }.into());
            }
        }
    }
    Ok(uncounted)
}

/// The definition of a table's cache under a prefix and by a key, as its triggers say it; by that alone where there are none.
pub fn of_table(table: Oid, prefix: &[u8], keys: &[&[u8]]) -> Result<Definition, CounterError> {
    let asked = Definition::new(prefix, keys)?;
    let source = Source::open(table)?;
    let function = function()?;
    let triggers = source.triggers().into_iter().filter(|trigger| trigger.function == function.oid);
    let found =
        triggers.filter_map(|trigger| Role::of(&trigger.arguments).ok()).find_map(|role| match role {
            Role::Counted(found) if found.prefix == asked.prefix && found.keys == asked.keys => Some(found),
            _ => None,
        });
    Ok(found.unwrap_or(asked))
}

impl Definition {
    /// Errors: 55000 rows of another table, or otherwise, are counted into the same counters; 42710 one of two prefixes
    /// begins with the other.
    pub fn check_alone(&self, source: &Source, function: &Function) -> Result<(), CounterError> {
        let prefix = self.prefix();
        let own = self.arguments();
        for Other { is_of_same_table, name, prefix: other, arguments } in others(function, source)? {
            if other == prefix {
                let is_same = arguments.iter().map(Vec::as_slice).eq(own.iter().map(|own| own.to_bytes()));
                if !is_of_same_table || !is_same {
                    return Err(CacheError::SharedPrefix { prefix: other, table: name }.into());
                }
            } else if overlap(prefix, &other) {
                let prefix = prefix.to_vec();
                return Err(CacheError::NestedPrefix { prefix, other, table: name }.into());
            }
        }
        Ok(())
    }

    /// Prefixes of other caches that begin with this one's: their counters are not of this one's rows.
    pub fn longer_prefixes(
        &self,
        source: &Source,
        function: &Function,
    ) -> Result<Vec<Vec<u8>>, CounterError> {
        let prefix = self.prefix();
        let prefixes = others(function, source)?.into_iter().map(|other| other.prefix);
        Ok(prefixes.filter(|other| other.len() > prefix.len() && other.starts_with(prefix)).collect())
    }
}

/// The trigger function of the extension. Errors: 55000 it is not installed.
pub fn function() -> Result<Function, CounterError> {
    let rows = rows(
        b"SELECT p.oid, pg_catalog.quote_ident(n.nspname::pg_catalog.text)
          FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_depend d ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
            AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
          JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.objid
          JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
          WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name
            AND p.proname OPERATOR(pg_catalog.=) 'counter_rows'::pg_catalog.name",
    )?;
    let found = rows.into_iter().next().and_then(|row| {
        let mut columns = row.into_iter();
        let (oid, schema) = (number(columns.next()??)?, columns.next()??);
        Some(Function { oid, qualified_name: [&schema, b".counter_rows".as_slice()].concat() })
    });
    found.ok_or(CounterError::NotInstalled)
}

/// Whether the table inherits from another, or another from it.
pub fn is_in_a_tree(source: &Source) -> Result<bool, CounterError> {
    let oid = u32::from(source.oid());
    let query = format!(
        "SELECT 1 FROM pg_catalog.pg_inherits WHERE inhrelid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid
            OR inhparent OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid LIMIT 1"
    );
    Ok(!rows(query.as_bytes())?.is_empty())
}

/// Whether a counter could be meant under both prefixes. Under the empty one any could: its counters have never had a space of
/// their own, and it overlaps none.
fn overlap(one: &[u8], other: &[u8]) -> bool {
    !one.is_empty() && !other.is_empty() && (one.starts_with(other) || other.starts_with(one))
}

/// Checks that a trigger which is just made by hand counts into counters of its own. Those who make one at the same time wait
/// until this transaction ends. Errors: those of `Definition::check_alone`.
pub fn check_created(trigger: &CreatedTrigger) -> Result<(), CounterError> {
    let Some(tables) = access::find_tables() else { return Ok(()) };
    if trigger.function != b"counter_rows" {
        return Ok(());
    }
    check_creator()?;
    // A middle table's trigger counts what the counted table's say.
    let Role::Counted(definition) = Role::of(&trigger.arguments)? else { return Ok(()) };
    let source = Source::open(trigger.table)?;
    let may_count = may_count(tables, source.owner());
    let opened = Opened::of_created(source, &definition, may_count)?;
    opened.check_keys(&definition)?;
    let source = opened.source;
    if !may_count {
        // It cannot count, so it takes no prefix, and keeps nobody waiting.
        return Ok(());
    }
    lock_prefixes(tables);
    // Also what committed while the lock was waited for, at any isolation level.
    let latest = ActiveSnapshot::push_latest();
    let checked = definition.check_alone(&source, &function()?);
    drop(latest);
    checked?;
    family::cache_made(tables, definition.prefix())
}

/// Keeps others from making caches, to the end of the transaction.
pub fn lock_prefixes(tables: Tables) {
    const ALL_PREFIXES: &[u8] = b"prefixes of counter caches";
    lock::lock_exclusive(tables.total, Subject::Key(lock::id_hash(ALL_PREFIXES)));
}

/// A trigger counts with the rights of its table's owner, so it takes more to make one than TRIGGER on the table: those rights. Asked of
/// what the command has made, not of the names in it, which may mean something else by now.
fn check_creator() -> Result<(), CounterError> {
    let query = format!(
        "SELECT pg_catalog.format('%s.%I', c.relnamespace::pg_catalog.regnamespace, c.relname)
         FROM pg_catalog.pg_event_trigger_ddl_commands() made
         JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) made.objid
           AND made.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
         WHERE t.tgfoid OPERATOR(pg_catalog.=) {}::pg_catalog.oid AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')",
        u32::from(function()?.oid)
    );
    // The command's own work.
    let latest = ActiveSnapshot::push_latest();
    let of_others = rows(query.as_bytes());
    drop(latest);
    let table = of_others?.into_iter().flatten().flatten().next();
    table.map_or(Ok(()), |table| Err(CacheError::NotOwner { table }.into()))
}

/// Whether triggers of this owner's tables can count.
pub fn may_count(tables: Tables, owner: Oid) -> bool {
    privilege::has_all(tables.total, owner, Rights::INSERT.and(Rights::UPDATE))
}

/// The condition that the owner of a trigger's table may count. A trigger that anybody makes on a table of his own holds no
/// prefix, and nobody is asked to verify or repair what it says.
fn owner_may_count() -> Result<String, CounterError> {
    let total = u32::from(access::tables()?.total);
    Ok(format!(
        "EXISTS (SELECT 1 FROM pg_catalog.pg_class o WHERE o.oid OPERATOR(pg_catalog.=) t.tgrelid
            AND pg_catalog.has_table_privilege(o.relowner, {total}::pg_catalog.oid, 'INSERT')
            AND pg_catalog.has_table_privilege(o.relowner, {total}::pg_catalog.oid, 'UPDATE'))"
    ))
}

/// Every use of the function by tables whose owner may count, but what a partition has of its partitioned table's.
fn others(function: &Function, source: &Source) -> Result<Vec<Other>, CounterError> {
    let (function, table) = (u32::from(function.oid), u32::from(source.oid()));
    let query = format!(
        "SELECT coalesce(pg_catalog.pg_partition_root(t.tgrelid), t.tgrelid::pg_catalog.regclass)
                OPERATOR(pg_catalog.=) coalesce(pg_catalog.pg_partition_root({table}), {table}::pg_catalog.regclass),
             pg_catalog.format('%s.%I', c.relnamespace::pg_catalog.regnamespace, c.relname), pg_catalog.encode(t.tgargs, 'hex')
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
         WHERE t.tgfoid OPERATOR(pg_catalog.=) {function}::pg_catalog.oid
           AND pg_catalog.octet_length(t.tgargs) OPERATOR(pg_catalog.<=) {MAX_BYTES}
           AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND {} ORDER BY t.oid",
        owner_may_count()?
    );
    let rows = rows(query.as_bytes())?;
    let other = |row: Vec<Option<Vec<u8>>>| {
        let mut columns = row.into_iter();
        let (is_of_same_table, name) = (columns.next()?? == b"t", columns.next()??);
        let arguments = arguments(&columns.next()??);
        is_of_counted(&arguments).then(|| Other {
            is_of_same_table,
            name,
            prefix: arguments[0].clone(),
            arguments,
        })
    };
    Ok(rows.into_iter().filter_map(other).collect())
}

/// Every cache, of tables whose owner may count, and its table.
pub fn all() -> Result<Vec<(Oid, Definition)>, CounterError> {
    uses(&owner_may_count()?)
}

/// The caches that a row inserted by this session is counted by.
pub fn counting_inserts() -> Result<Vec<(Oid, Definition)>, CounterError> {
    // Bit 2 is INSERT. A trigger fires in a session of this role, in the other, always, or never. Where its owner may not count, it counts
    // nothing, and no total of others is left out for it.
    uses(&format!(
        "{} AND (t.tgtype OPERATOR(pg_catalog.&) 4::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
         AND (t.tgenabled OPERATOR(pg_catalog.=) 'A'::pg_catalog.\"char\" OR t.tgenabled OPERATOR(pg_catalog.=)
              CASE pg_catalog.current_setting('session_replication_role') WHEN 'replica' THEN 'R'::pg_catalog.\"char\"
                   ELSE 'O'::pg_catalog.\"char\" END)",
        owner_may_count()?
    ))
}

/// Different uses of the function by triggers that a condition holds for, each by the table, or the partitioned one that it is
/// a part of.
fn uses(condition: &str) -> Result<Vec<(Oid, Definition)>, CounterError> {
    let function = u32::from(function()?.oid);
    let query = format!(
        "SELECT DISTINCT coalesce(pg_catalog.pg_partition_root(t.tgrelid), t.tgrelid::pg_catalog.regclass)::pg_catalog.oid,
             pg_catalog.encode(t.tgargs, 'hex')
         FROM pg_catalog.pg_trigger t WHERE t.tgfoid OPERATOR(pg_catalog.=) {function}::pg_catalog.oid
           AND pg_catalog.octet_length(t.tgargs) OPERATOR(pg_catalog.<=) {MAX_BYTES}
           AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND {condition} ORDER BY 1, 2"
    );
    let each = |row: Vec<Option<Vec<u8>>>| {
        let mut columns = row.into_iter();
        let table = number(columns.next()??)?;
        match Role::of(&arguments(&columns.next()??)) {
            Ok(Role::Counted(definition)) => Some((table, definition)),
            _ => None,
        }
    };
    Ok(rows(query.as_bytes())?.into_iter().filter_map(each).collect())
}

/// Whether the arguments are those of a counted table's trigger; a middle table's counts nothing of its own.
fn is_of_counted(arguments: &[Vec<u8>]) -> bool {
    !arguments.is_empty() && !matches!(Role::of(arguments), Ok(Role::Middle(_)))
}

/// The arguments of a trigger.
fn arguments(hex: &[u8]) -> Vec<Vec<u8>> {
    let bytes = from_hex(hex);
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// The rows of a query about the catalogs.
fn rows(query: &[u8]) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
    confined::as_caller(|confined| Spi::connect(confined)?.rows(query))
}

fn number(text: Vec<u8>) -> Option<Oid> {
    Some(Oid::from(str::from_utf8(&text).ok()?.parse::<u32>().ok()?))
}

fn from_hex(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    text.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// `CREATE TRIGGER` for an event. The name says what it is for: other arguments have another.
pub fn create_trigger(
    arguments: &[CString],
    source: &Source,
    function: &Function,
    event: Event,
    for_each_row: bool,
) -> Vec<u8> {
    let [all @ .., last] = arguments else { return Vec::new() };
    let number =
        key_hash(all.iter().flat_map(|argument| argument.to_bytes_with_nul()).chain(last.to_bytes()));
    let (name, when, tables) = match event {
        Event::Insert => ("insert", "AFTER INSERT", "REFERENCING NEW TABLE AS new_rows"),
        Event::Delete => ("delete", "AFTER DELETE", "REFERENCING OLD TABLE AS old_rows"),
        Event::Update => {
            ("update", "AFTER UPDATE", "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows")
        }
        Event::Truncate => ("truncate", "BEFORE TRUNCATE", ""),
    };
    let (tables, level) = match event {
        Event::Truncate => ("", "STATEMENT"),
        _ if for_each_row => ("", "ROW"),
        _ => (tables, "STATEMENT"),
    };
    let literals: Vec<Vec<u8>> = arguments.iter().map(|argument| spi::literal(argument)).collect();
    [
        format!("CREATE TRIGGER counter_rows_{name}_{number:08x} {when} ON ").as_bytes(),
        &source.qualified_name(),
        format!(" {tables} FOR EACH {level} EXECUTE FUNCTION ").as_bytes(),
        &function.qualified_name,
        b"(",
        &literals.join(b", ".as_slice()),
        b")",
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_as_bytes() {
        assert_eq!(from_hex(b"706f73743a00"), b"post:\0");
        assert_eq!(from_hex(b"FFe"), b"\xff");
    }
}
