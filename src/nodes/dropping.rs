//! A counter that is dropped on one node is dropped on all.
//!
//! Nobody deletes another node's rows: its next change would find nothing to change. So whoever drops a counter asks the others to do the
//! same with what they have: with a row of counter_ext.drop_request, which names the nodes that there are. It arrives on
//! each of them, a trigger notes the id in counter_ext.drop_wanted, and the next pass drops it there. What is counted before that
//! goes, what is counted after it makes the counter anew. The row stays until all of them have it, as their slots say (`requests`): one whose slot
//! is lost gets it with the next first copy. A request that a node has is not taken from a later copy again.

use std::time::Duration;

use crate::counting::{dropping, folding};
use crate::errors::CounterError;
use crate::family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::epochs::{self, Recovered};
use crate::pg::id_scan::Range;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{catalog, process, random, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::{node, noted};
use crate::settings;

const WHAT: &str = "counters that other nodes have dropped";
/// Counters that one transaction drops.
const PIECE: usize = 60;
/// The column of the id.
const ID: usize = 0;

/// counter_ext.drop_request
pub(super) const REQUEST: FamilyTable = FamilyTable {
    name: "drop_request",
    relation: c"drop_request",
    columns: &[INT4, TEXT, INT8],
    key: "node, id, entry",
    hint: "It is written by the extension only.",
};

/// counter_ext.drop_wanted
pub const WANTED: FamilyTable = FamilyTable {
    name: "drop_wanted",
    relation: c"drop_wanted",
    columns: &[TEXT, INT8],
    key: "id, entry",
    hint: "It is written by the extension only.",
};

/// A server that is no node, or has left, asks nobody.
const INSERT: &str = "INSERT INTO counter_ext.drop_request (node, id, entry, asked) \
    SELECT $1, $2, $3, pg_catalog.array_agg(m.node) FROM counter_ext.member m \
    WHERE m.left_at IS NULL AND m.node OPERATOR(pg_catalog.<>) $1 \
        AND EXISTS (SELECT FROM counter_ext.member o WHERE o.node OPERATOR(pg_catalog.=) $1 AND o.left_at IS NULL) \
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0";

/// Asks the other nodes to drop an id too.
pub fn ask(tables: Tables, id: &[u8]) -> Result<(), CounterError> {
    if !node::is_one_of_many() {
        return Ok(());
    }
    REQUEST.lock_in_time(Access::Write)?;
    let row =
        [Parameter::Int(settings::node()), Parameter::Text(id), Parameter::Bigint(random::bits() as i64)];
    as_owner(tables, |confined| Spi::connect(confined)?.run_latest(INSERT.as_bytes(), &row))
}

const FORGET: [&str; 2] = [
    "DELETE FROM counter_ext.total t USING counter_ext.member m WHERE t.id OPERATOR(pg_catalog.=) $1 \
     AND m.node OPERATOR(pg_catalog.=) t.node AND m.left_at IS NOT NULL AND m.node OPERATOR(pg_catalog.<>) $2",
    "DELETE FROM counter_ext.visitors v USING counter_ext.member m WHERE v.id OPERATOR(pg_catalog.=) $1 \
     AND m.node OPERATOR(pg_catalog.=) v.node AND m.left_at IS NOT NULL AND m.node OPERATOR(pg_catalog.<>) $2",
];

/// Forgets what nodes have counted that have left for good: each node its own copy.
pub fn forget_what_left(tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    if node::is_one_of_many() {
        as_owner(tables, |confined| {
            let parameters = [Parameter::Text(id), Parameter::Int(settings::node())];
            let spi = Spi::connect(confined)?;
            FORGET.iter().try_for_each(|forget| spi.run_latest(forget.as_bytes(), &parameters))
        })?;
        xact::see_own_changes();
    }
    Ok(false)
}

pub const DROP_WANTED: Step = Step {
    name: "dropping counters that other nodes have dropped",
    every: Duration::ZERO,
    is_essential: false,
    begin: || Box::new(DropWanted),
};

struct DropWanted;

impl Work for DropWanted {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        const NOTHING: Progress = Progress { rows: 0, overflowed: 0, is_done: true };
        let Some(table) = WANTED.find().filter(|_| WANTED.try_lock(Access::Write)) else {
            return Ok(NOTHING);
        };
        // Most passes end here.
        if Table::open(table).blocks() == 0 {
            return Ok(NOTHING);
        }
        let Some(recovered) = recovered(tables, how)? else { return Ok(NOTHING) };
        if !family::try_lock_to_drop(tables) {
            return Ok(NOTHING);
        }
        let wanted = WANTED.open(table, Access::Write)?;
        let ids = noted::take(&wanted, Range::After(b""), ID, PIECE, WHAT)?;
        let mut dropped = 0;
        for id in &ids {
            process::check_for_interrupts();
            if as_owner(tables, |_| dropping::drop_here(&recovered, tables, id))? {
                dropped += 1;
            } else {
                // Somebody is setting or dropping it here: the next pass comes back to it.
                let again = [Value::Text(id), Value::Bigint(random::bits() as i64)];
                xact::in_scratch_memory(|| write::insert(&wanted.table, &again));
            }
        }
        let is_done = ids.len() < PIECE || dropped == 0;
        Ok(Progress { rows: dropped, overflowed: 0, is_done })
    }
}

/// Rows and memory hold everything; `None` where that takes waiting.
fn recovered(tables: Tables, how: How) -> Result<Option<Recovered>, CounterError> {
    if how.waits {
        return folding::ensure_recovered(tables).map(Some);
    }
    Ok(epochs::recovered(u32::from(catalog::my_database()), u32::from(tables.total)))
}
