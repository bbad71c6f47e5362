//! Likes where several nodes count: what each node has last said of an item and an actor, a row of counter_ext.like_of_node each.
//!
//! Each node writes its own rows only, and the others get them by replication. The word with the highest version holds, and of two the one of the
//! higher node; whoever has a word takes a version above all that have arrived. So all nodes come to the same, in whatever order words arrive, and a
//! like that several nodes have made is one row of counter_ext.liked on each. What takes likes back stays as a row, since a later
//! like elsewhere may not have arrived yet.
//!
//! Contract: whoever has a word, here or as it arrives, first makes, deletes or locks the row of counter_ext.liked, which has a unique key, and
//! looks at all words after that, whatever snapshot its statement has. So of two the second waits for the first, and sees its word. The row itself is the
//! lock: as many as anybody likes take no room in shared memory, and nobody else can take one.

use super::rows::LIKED;
use crate::errors::CounterError;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access::{Tables, as_owner};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::node;
use crate::settings;

/// counter_ext.like_of_node
pub const OF_NODE: FamilyTable = FamilyTable {
    name: "like_of_node",
    relation: c"like_of_node",
    columns: &[TEXT, TEXT, INT4, BOOL, INT8],
    key: "item, actor, node",
    hint: LIKED.hint,
};

const SAY: &str = "INSERT INTO counter_ext.like_of_node AS own (item, actor, node, is_liked, version) \
    SELECT $1, $2, $3, $4 OPERATOR(pg_catalog.=) 1, 1 OPERATOR(pg_catalog.+) coalesce(pg_catalog.max(l.version), 0) FROM counter_ext.like_of_node l \
    WHERE l.item OPERATOR(pg_catalog.=) $1 AND l.actor OPERATOR(pg_catalog.=) $2 \
    ON CONFLICT (item, actor, node) DO UPDATE SET (is_liked, version, at) = ROW (excluded.is_liked, excluded.version, excluded.at)";
const HOLDS: &str = "SELECT l.is_liked FROM counter_ext.like_of_node l \
    WHERE l.item OPERATOR(pg_catalog.=) $1 AND l.actor OPERATOR(pg_catalog.=) $2 ORDER BY l.version DESC, l.node DESC LIMIT 1";

/// Says to the other nodes what this transaction has done to the row of counter_ext.liked. Errors: 40001 at SERIALIZABLE, as anything there.
pub fn say(tables: Tables, item: &[u8], actor: &[u8], is_liked: bool) -> Result<(), CounterError> {
    if !node::is_one_of_many() {
        return Ok(());
    }
    OF_NODE.lock(Access::Write)?;
    as_owner(tables, |confined| {
        let word = [
            Parameter::Text(item),
            Parameter::Text(actor),
            Parameter::Int(settings::node()),
            Parameter::Int(i32::from(is_liked)),
        ];
        Spi::connect(confined)?.run_latest(SAY.as_bytes(), &word)
    })
}

/// What the word says that holds, of all that have arrived. The caller holds the row of counter_ext.liked.
pub(super) fn is_liked(tables: Tables, item: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    xact::see_own_changes();
    let active = ActiveSnapshot::push_latest();
    let rows = as_owner(tables, |confined| {
        Spi::connect(confined)?.rows_with(HOLDS.as_bytes(), &[Parameter::Text(item), Parameter::Text(actor)])
    })?;
    drop(active);
    Ok(matches!(rows.first().and_then(|row| row.first()), Some(Some(word)) if word == b"t"))
}
