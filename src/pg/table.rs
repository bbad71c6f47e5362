//! Open relations. Locks on tables are kept to the end of the transaction, as the executor does.

use pgrx::pg_sys;

use super::{Oid, privilege};
use crate::errors::{CounterError, OrRaise};

/// Lock strength on a relation, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    /// Keeps writers out, not readers.
    AgainstWriters,
    /// Keeps out who changes the table's definition.
    AgainstDefiners,
    /// Keeps everybody out.
    Alone,
}

impl Access {
    pub(super) fn lock_mode(self) -> pg_sys::LOCKMODE {
        match self {
            Access::Read => pg_sys::AccessShareLock as pg_sys::LOCKMODE,
            Access::Write => pg_sys::RowExclusiveLock as pg_sys::LOCKMODE,
            Access::AgainstWriters => pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE,
            Access::AgainstDefiners => pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE,
            Access::Alone => pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE,
        }
    }
}

/// An open table.
pub struct Table {
    rel: pg_sys::Relation,
}

/// More columns than our own tables have: room for some that an administrator added.
pub(super) const MAX_COLUMNS: usize = 32;

/// Indexes of one table that rows are entered into by hand; our own tables have three at most.
const MOST_PLAIN_INDEXES: usize = 4;

/// Who owns one of our tables, which need not be locked. Raises 55000 where it is gone.
pub fn owner(table: Oid) -> Oid {
    privilege::owner_of_relation(table).ok_or(CounterError::NotInstalled).or_raise()
}

impl Table {
    /// Opens a table that this transaction has locked already, as it must.
    pub fn open(oid: Oid) -> Table {
        // SAFETY: table_open reports a missing relation as an ERROR, so the pointer is valid; the caller's lock keeps
        // its definition as it is.
        let rel = unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let table = Table { rel };
        debug_assert!(table.is_locked(), "a table is opened that this transaction has not locked");
        // SAFETY: an open relation has a tuple descriptor.
        let columns = unsafe { (*(*rel).rd_att).natts } as usize;
        assert!(columns <= MAX_COLUMNS, "a counter_ext table has more than {MAX_COLUMNS} columns");
        table
    }

    /// Whether this transaction has a lock on it, of whatever strength.
    fn is_locked(&self) -> bool {
        const WEAKEST: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: `rel` is open while `self` lives.
        unsafe { pg_sys::CheckRelationLockedByMe(self.rel, WEAKEST, true) }
    }

    pub(super) fn raw(&self) -> pg_sys::Relation {
        self.rel
    }

    pub fn oid(&self) -> Oid {
        // SAFETY: `rel` is open while `self` lives.
        unsafe { (*self.rel).rd_id }
    }

    /// The primary key's index; `InvalidOid` when somebody dropped it.
    pub fn primary_key(&self) -> Oid {
        // SAFETY: `rel` is open while `self` lives.
        unsafe {
            pg_sys::RelationGetPrimaryKeyIndex(
                self.rel,
                #[cfg(feature = "pg18")]
                false,
            )
        }
    }

    /// The table's indexes for writing, if they are few, and each is a btree over columns, of all rows, whose uniqueness is checked at once.
    pub(super) fn plain_indexes(&self) -> Option<[Option<Index>; MOST_PLAIN_INDEXES]> {
        let mut indexes = [const { None }; MOST_PLAIN_INDEXES];
        // SAFETY: `rel` is open while `self` lives; the list is a copy of ours, and has oids.
        unsafe {
            let list = pg_sys::RelationGetIndexList(self.rel);
            let count = pg_sys::list_length(list) as usize;
            let are_few = count <= MOST_PLAIN_INDEXES;
            let mut are_plain = are_few;
            for (number, place) in indexes.iter_mut().enumerate().take(if are_few { count } else { 0 }) {
                let index = Index::open((*(*list).elements.add(number)).oid_value, Access::Write);
                are_plain &= index.is_plain();
                *place = Some(index);
            }
            pg_sys::list_free(list);
            are_plain.then_some(indexes)
        }
    }

    /// Blocks of the main fork now. A remembered block at or past it was truncated away.
    pub fn blocks(&self) -> u32 {
        // SAFETY: `rel` is open while `self` lives.
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.rel, pg_sys::ForkNumber::MAIN_FORKNUM) }
    }

    /// Size of the main fork now.
    pub fn bytes(&self) -> u64 {
        u64::from(self.blocks()) * u64::from(pg_sys::BLCKSZ)
    }

    pub(super) fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: `rel` is open while `self` lives.
        unsafe { (*self.rel).rd_att }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened in `open`, closed once; NoLock keeps the lock to the transaction's end.
            unsafe { pg_sys::table_close(self.rel, pg_sys::NoLock as pg_sys::LOCKMODE) }
        }
    }
}

/// An open index. Its lock goes when it is closed: the table's, which is kept, keeps the index from being dropped. A transaction that
/// kept it would stand in the way of REINDEX, which holds the table's writers off while it waits.
pub struct Index {
    rel: pg_sys::Relation,
    access: Access,
}

impl Index {
    pub fn open(oid: Oid, access: Access) -> Index {
        // SAFETY: index_open reports a missing index as an ERROR.
        Index { rel: unsafe { pg_sys::index_open(oid, access.lock_mode()) }, access }
    }

    /// The index of this name, if there is one on the table that scans by hand may use for texts: a valid btree that begins with one
    /// column, or one expression, in the order of bytes, ascending. It may be of a part of the rows.
    pub fn of_texts(table: &Table, oid: Oid, access: Access) -> Option<Index> {
        // SAFETY: a syscache look-up inside a transaction.
        if unsafe { pg_sys::get_rel_relkind(oid) } as u8 != pg_sys::RELKIND_INDEX {
            return None;
        }
        let index = Index::open(oid, access);
        // SAFETY: an open index has its pg_class and pg_index rows, and arrays of as many elements as its key has columns.
        let is_fit = unsafe {
            let rel = index.rel;
            let form = (*rel).rd_index;
            (*(*rel).rd_rel).relam == pg_sys::BTREE_AM_OID
                && (*form).indrelid == table.oid()
                && (*form).indisvalid
                && *(*rel).rd_indoption == 0
                && *(*rel).rd_opcintype == pg_sys::TEXTOID
                && *(*rel).rd_opfamily == pg_sys::TEXT_BTREE_FAM_OID
                && *(*rel).rd_indcollation == pg_sys::C_COLLATION_OID
        };
        is_fit.then_some(index)
    }

    /// The index of this name, if it is a valid one on the table.
    pub fn named(table: &Table, oid: Oid, access: Access) -> Option<Index> {
        // SAFETY: a syscache look-up inside a transaction.
        if unsafe { pg_sys::get_rel_relkind(oid) } as u8 != pg_sys::RELKIND_INDEX {
            return None;
        }
        let index = Index::open(oid, access);
        // SAFETY: an open index has its pg_index row.
        let is_fit = unsafe {
            let form = (*index.rel).rd_index;
            (*form).indrelid == table.oid() && (*form).indisvalid
        };
        is_fit.then_some(index)
    }

    /// Whether scans by hand may use it as a key over these columns of the table, numbered from 0, in this order: a btree over
    /// them and no others, of all rows, ascending, and in the order of bytes where they are texts. Further columns may be
    /// included.
    pub fn is_key_over(&self, table: &Table, columns: impl ExactSizeIterator<Item = usize>) -> bool {
        // SAFETY: an open index has its pg_class and pg_index rows, and arrays of as many elements as its key has columns; the
        // table is open, and its descriptor has the columns that the index names.
        unsafe {
            let rel = self.rel;
            let form = (*rel).rd_index;
            let keys = (*form).indnkeyatts as usize;
            if (*(*rel).rd_rel).relam != pg_sys::BTREE_AM_OID
                || (*form).indrelid != table.oid()
                || keys != columns.len()
                || !pg_sys::RelationGetIndexPredicate(self.rel).is_null()
            {
                return false;
            }
            let numbers = std::slice::from_raw_parts(
                (&raw const (*form).indkey.values).cast::<pg_sys::AttrNumber>(),
                keys,
            );
            columns.enumerate().all(|(at, column)| {
                // An expression's number is 0.
                if usize::try_from(numbers[at]) != Ok(column + 1) || *(*rel).rd_indoption.add(at) != 0 {
                    return false;
                }
                // Only the default operator class makes a primary key; texts are compared by the column's collation.
                *(*rel).rd_opcintype.add(at) != pg_sys::TEXTOID
                    || *(*rel).rd_opfamily.add(at) == pg_sys::TEXT_BTREE_FAM_OID
                        && *(*rel).rd_indcollation.add(at) == pg_sys::C_COLLATION_OID
            })
        }
    }

    fn is_plain(&self) -> bool {
        // SAFETY: an open index has its pg_class and pg_index rows; the two lists are made once and kept, or empty.
        unsafe {
            let form = (*self.rel).rd_index;
            (*(*self.rel).rd_rel).relam == pg_sys::BTREE_AM_OID
                && (*form).indisready
                && (*form).indimmediate
                && !(*form).indisexclusion
                && pg_sys::RelationGetIndexExpressions(self.rel).is_null()
                && pg_sys::RelationGetIndexPredicate(self.rel).is_null()
                && self.columns().len() <= MAX_COLUMNS
                && self.numbers().iter().all(|number| *number > 0)
        }
    }

    pub(super) fn is_unique(&self) -> bool {
        // SAFETY: as in `is_plain`.
        unsafe { (*(*self.rel).rd_index).indisunique }
    }

    /// The table's columns that are in it, numbered from 0.
    pub(super) fn columns(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.numbers().iter().map(|number| usize::try_from(*number - 1).unwrap_or(0))
    }

    fn numbers(&self) -> &[pg_sys::AttrNumber] {
        // SAFETY: an open index has its pg_index row, with a number for each of its columns.
        unsafe {
            let form = (*self.rel).rd_index;
            std::slice::from_raw_parts(
                (&raw const (*form).indkey.values).cast::<pg_sys::AttrNumber>(),
                (*form).indnatts as usize,
            )
        }
    }

    pub(super) fn raw(&self) -> pg_sys::Relation {
        self.rel
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: opened in `open` with this lock, closed once; an error's end of the transaction lets go of both.
            unsafe { pg_sys::index_close(self.rel, self.access.lock_mode()) }
        }
    }
}
