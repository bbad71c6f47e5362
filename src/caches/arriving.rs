//! Totals of cached counters that a restore brings: they are not taken where the rows are counted as they arrive.
//!
//! A dump holds the rows of a cached table and the totals of its counters. Restored together with the table's definition, the
//! totals are right and the rows are not counted, since triggers come last. With `--data-only` the triggers are there
//! already, and the rows are counted: then the totals must stay out, in whatever order they and the rows come. A session
//! whose triggers would not fire (`--disable-triggers`) counts no rows, and needs the totals. A parallel restore makes the triggers of some
//! tables before it fills ours in another session: while it lasts, these caches take what comes (counter_ext.cache.restored_by).
//!
//! So with logical replication: totals of another server's cache are taken in, unless the rows that they count are subscribed to as well.

use std::cell::{Cell, RefCell};

use super::definition;
use super::key_id;
use super::opened::Opened;
use super::registry;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::key_form::KeyForm;
use crate::pg::session::session_local;
use crate::pg::source::Source;
use crate::pg::spi::Spi;
use crate::pg::{Oid, catalog, confined, xact};
use crate::rows::access;

/// A cache whose rows are counted as they arrive in this session.
struct Arriving {
    prefix: Vec<u8>,
    key: KeyForm,
}

impl Arriving {
    fn has(&self, id: &[u8]) -> bool {
        id.strip_prefix(&*self.prefix).is_some_and(|key| key_id::can_be_of(&self.key, key))
    }
}

session_local! {
    /// As the running INSERT found it when it began.
    static ARRIVING: RefCell<Vec<Arriving>> = const { RefCell::new(Vec::new()) };
    /// Caches whose rows are subscribed to, as the transaction that began at this time found it.
    static SUBSCRIBED: RefCell<(i64, Vec<Arriving>)> = const { RefCell::new((0, Vec::new())) };
    /// The version of what is subscribed to that was found to hold no cache's rows.
    static NONE_SUBSCRIBED: Cell<Option<u64>> = const { Cell::new(None) };
    static LEAVES_OUT: Cell<bool> = const { Cell::new(false) };
}

/// An INSERT, or COPY, into the counters' tables begins.
pub fn begin_insert() -> Result<(), CounterError> {
    let tables = access::tables()?;
    ARRIVING.set(counted_of(|table, prefix| Ok(!registry::is_being_restored(tables, table, prefix)?))?);
    LEAVES_OUT.set(false);
    Ok(())
}

/// Whether the rows of the counter's cache come by logical replication, and are counted as they do.
pub fn is_subscribed(id: &[u8]) -> Result<bool, CounterError> {
    // The version is read before the look: a change in between makes the next call look again.
    let version = catalog::subscribed_version();
    if NONE_SUBSCRIBED.get() == Some(version) {
        return Ok(false);
    }
    let now = xact::start_us();
    if SUBSCRIBED.with_borrow(|(at, _)| *at != now) {
        let tables =
            confined::as_caller(|confined| Spi::connect(confined)?.rows(SUBSCRIBED_TABLES.as_bytes()))?;
        let is_subscribed = |table: Oid| {
            let table = u32::from(table).to_string();
            tables.iter().flatten().flatten().any(|subscribed| subscribed == table.as_bytes())
        };
        let counted =
            if tables.is_empty() { Vec::new() } else { counted_of(|table, _| Ok(is_subscribed(table)))? };
        // Of tables of others it depends on their triggers what is counted.
        NONE_SUBSCRIBED.set(tables.is_empty().then_some(version));
        SUBSCRIBED.set((now, counted));
    }
    Ok(SUBSCRIBED.with_borrow(|(_, caches)| caches.iter().any(|cache| cache.has(id))))
}

/// Our own are left out: where only they are subscribed to, no trigger has to be looked at for a total that arrives.
const SUBSCRIBED_TABLES: &str = "SELECT DISTINCT coalesce(pg_catalog.pg_partition_root(s.srrelid), s.srrelid::pg_catalog.regclass)::pg_catalog.oid
    FROM pg_catalog.pg_subscription_rel s JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.srrelid
    WHERE c.relnamespace OPERATOR(pg_catalog.<>) 'counter_ext'::pg_catalog.regnamespace";

/// The caches, of some tables, whose rows are counted as they arrive in this session.
fn counted_of(
    is_meant: impl Fn(Oid, &[u8]) -> Result<bool, CounterError>,
) -> Result<Vec<Arriving>, CounterError> {
    let mut arriving = Vec::new();
    for (table, definition) in definition::counting_inserts()? {
        // Without a prefix the id could be anybody's.
        if definition.prefix().is_empty() || !is_meant(table, definition.prefix())? {
            continue;
        }
        if let Ok(opened) = Source::open(table).and_then(|source| Opened::of(source, &definition)) {
            // BOUND: a prefix, and how the columns of a key become text.
            let arriving_here =
                Arriving { prefix: definition.prefix().to_vec(), key: opened.key_form().clone() };
            fallible::push(&mut arriving, arriving_here, "counter caches")?;
        }
    }
    Ok(arriving)
}

/// Whether the counter's rows are counted as they arrive.
pub fn is_counted(id: &[u8]) -> bool {
    ARRIVING.with_borrow(|arriving| arriving.iter().any(|cache| cache.has(id)))
}

/// A row is left out. Returns whether it is the first of the running INSERT.
pub fn note_left_out() -> bool {
    !LEAVES_OUT.replace(true)
}
