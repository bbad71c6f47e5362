//! Which partition of a hash-partitioned table a row belongs to, and what partitions a table has.

use pgrx::pg_sys;

use super::Oid;
use super::table::Table;
use crate::errors::OrRaise;
use crate::fallible;

/// As PostgreSQL seeds and combines hashes of partition keys (partbounds.h): part of the format of a dump, so it stays.
const HASH_PARTITION_SEED: u64 = 0x7A5B_2236_7996_DCFD;
const COMBINED_WITH_NOTHING: u64 = 0x49a0_f4dd_15e5_a8e3;

#[cfg(feature = "pg15")]
const HASH: u8 = pg_sys::PARTITION_STRATEGY_HASH;
#[cfg(not(feature = "pg15"))]
const HASH: u8 = pg_sys::PartitionStrategy::PARTITION_STRATEGY_HASH as u8;

/// The partition for a row whose partition key, one text of a deterministic collation, is this. `None` where the table is not
/// partitioned so, has no such partition, or has it partitioned again.
pub fn leaf_of(table: &Table, key: &[u8]) -> Option<Oid> {
    // SAFETY: the table is open and locked; its partition descriptor lives as long as it is open, with as many indexes and
    // oids as it says. The text is copied into the current memory context.
    unsafe {
        let description = pg_sys::RelationGetPartitionDesc(table.raw(), true);
        if description.is_null() || (*description).boundinfo.is_null() {
            return None;
        }
        let bounds = &*(*description).boundinfo;
        if bounds.strategy as u8 != HASH || bounds.nindexes <= 0 {
            return None;
        }
        let text = pg_sys::cstring_to_text_with_len(key.as_ptr().cast(), key.len() as i32);
        let hash = pg_sys::OidFunctionCall2Coll(
            Oid::from(pg_sys::F_HASHTEXTEXTENDED),
            pg_sys::C_COLLATION_OID,
            pg_sys::Datum::from(text),
            pg_sys::Datum::from(HASH_PARTITION_SEED),
        );
        let hash = (hash.value() as u64).wrapping_add(COMBINED_WITH_NOTHING);
        let place = (hash % bounds.nindexes as u64) as usize;
        let number = usize::try_from(*bounds.indexes.add(place)).ok()?;
        (*(*description).is_leaf.add(number)).then(|| *(*description).oids.add(number))
    }
}

/// The partitions of a table that is open and locked, in no order.
pub fn all_of(table: &Table) -> Vec<Oid> {
    // SAFETY: as in `leaf_of`.
    unsafe {
        let description = pg_sys::RelationGetPartitionDesc(table.raw(), true);
        if description.is_null() || (*description).nparts <= 0 {
            return Vec::new();
        }
        let oids = std::slice::from_raw_parts((*description).oids, (*description).nparts as usize);
        fallible::copy(oids, "partitions of a table").or_raise()
    }
}
