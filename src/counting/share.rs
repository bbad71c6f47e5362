//! How much of a counter may be taken away: all of it, or what this node has counted.

use super::{read, transaction};
use crate::errors::CounterError;
use crate::memory::buffer;
use crate::memory::epochs::Recovered;
use crate::pg::xact;
use crate::rows::access::Tables;
use crate::rows::members::Scope;
use crate::rows::node;
use crate::rows::sum::Reader;

/// The amount, everything committed by now and what this transaction has added. The caller has taken the id.
pub(super) fn amount(
    _proof: &Recovered,
    tables: Tables,
    id: &[u8],
    scope: Scope,
) -> Result<i128, CounterError> {
    if scope == Scope::Everywhere || !node::is_one_of_many() {
        return read::current_wide(tables, id);
    }
    // Other nodes' rows change at any time: what is ours comes from one snapshot, not from the total less theirs.
    let reader = Reader::open(tables)?;
    let (mut snapshot, unfolded) = buffer::snapshot_with_unfolded(read::key(tables, id));
    let rows = xact::in_scratch_memory(|| reader.sum_of_own(id, &mut snapshot))?;
    Ok(rows.value + i128::from(unfolded) + i128::from(transaction::own(tables, id)))
}
