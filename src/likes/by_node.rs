//! Likes where several nodes count: what each node has last said of an item and an actor, a row of counter_ext.like_of_node each.
//!
//! Each node writes its own rows only, and the others get them by replication. The word with the highest version holds, and of two the one of the
//! higher node; whoever has a word takes a version above all that have arrived. So all nodes come to the same, in whatever order words arrive, and a
//! like that several nodes have made is one row of counter_ext.liked on each. What takes likes back stays as a row, since a later
//! like elsewhere may not have arrived yet.

use super::rows::LIKED;
use crate::errors::CounterError;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::Access;
use crate::rows::access::{FamilyTable, Tables, as_owner};
use crate::rows::column_types::*;
use crate::rows::node;
use crate::settings;

/// counter_ext.like_of_node
const OF_NODE: FamilyTable = FamilyTable {
    name: "like_of_node",
    relation: c"like_of_node",
    columns: &[TEXT, TEXT, INT4, BOOL, INT8],
    key: "item, actor, node",
    hint: LIKED.hint,
};

// What arrives for the same item and actor waits for the lock, and so do others here.
const LOCK: &str = "SELECT counter_ext.lock_like($1, $2)";
const SAY: &str = "INSERT INTO counter_ext.like_of_node AS own (item, actor, node, is_liked, version) \
    SELECT $1, $2, $3, $4 OPERATOR(pg_catalog.=) 1, 1 OPERATOR(pg_catalog.+) coalesce(pg_catalog.max(l.version), 0) FROM counter_ext.like_of_node l \
    WHERE l.item OPERATOR(pg_catalog.=) $1 AND l.actor OPERATOR(pg_catalog.=) $2 \
    ON CONFLICT (item, actor, node) DO UPDATE SET (is_liked, version, at) = ROW (excluded.is_liked, excluded.version, excluded.at)";

/// Before this transaction likes, or takes a like back: nobody else does the same, here or as it arrives, to its end.
pub fn lock(tables: Tables, item: &[u8], actor: &[u8]) -> Result<(), CounterError> {
    if !node::is_one_of_many() {
        return Ok(());
    }
    OF_NODE.lock(Access::Write)?;
    as_owner(tables, |confined| {
        let pair = [Parameter::Text(item), Parameter::Text(actor)];
        Spi::connect(confined)?.run_with(LOCK.as_bytes(), &pair)
    })
}

/// Says to the other nodes what this transaction has done. Errors: 40001 at REPEATABLE READ and above, where somebody has said something of the same
/// since its snapshot.
pub fn say(tables: Tables, item: &[u8], actor: &[u8], is_liked: bool) -> Result<(), CounterError> {
    if !node::is_one_of_many() {
        return Ok(());
    }
    as_owner(tables, |confined| {
        let word = [
            Parameter::Text(item),
            Parameter::Text(actor),
            Parameter::Int(settings::node()),
            Parameter::Int(i32::from(is_liked)),
        ];
        Spi::connect(confined)?.run_with(SAY.as_bytes(), &word)
    })
}
