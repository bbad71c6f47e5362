//! Slot and total rows: found, read, written and folded by hand, without waiting and without predicate locks.
//!
//! Source of truth: a counter's value is the sum of its committed rows in `counter_ext.total` (one a node) and
//! `counter_ext.slot`. Everything in shared memory is derived from them.

pub mod access;
pub mod by_hand;
pub mod claims;
pub mod emptying;
pub mod family_table;
pub mod fold;
pub mod idle;
pub mod keyed;
pub mod latest;
pub mod list;
pub mod members;
pub mod node;
pub mod noted;
pub mod pairs;
pub mod place;
pub mod remove;
pub mod replicated;
pub mod slots;
pub mod sum;
pub mod totals;

/// Types of our tables' columns.
pub(crate) mod column_types {
    pub use crate::pg::type_ids::{BOOL, BYTEA, CIDR, DATE, INT4, INT8, INTERVAL, TEXT, TIMESTAMPTZ, XID8};

    /// Stands for any type of variable length, ours among them, whose number is another one in each database.
    pub const ANY_VARLENA: u32 = 0;
}

/// Columns of counter_ext.total.
pub(crate) mod total_columns {
    pub const ID: usize = 0;
    pub const NODE: usize = 1;
    pub const VALUE: usize = 2;
    pub const UPDATED_AT: usize = 3;
}

/// Columns of counter_ext.slot.
pub(crate) mod slot_columns {
    pub const ID: usize = 0;
    pub const SLOT: usize = 1;
    pub const DELTA: usize = 2;
    pub const AT: usize = 3;
    pub const BOOKED_AT: usize = 4;
}

/// A sum of any size as bigints that add up to it; none for 0.
pub(crate) fn bigint_parts(sum: i128) -> impl Iterator<Item = i64> {
    let mut left = sum;
    std::iter::from_fn(move || {
        let part = left.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        left -= part;
        (part != 0).then_some(part as i64)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::bigint_parts;

    proptest! {
        #[test]
        fn parts_add_up(sum in -(1i128 << 70)..1i128 << 70) {
            prop_assert_eq!(bigint_parts(sum).map(i128::from).sum::<i128>(), sum);
        }
    }
}
