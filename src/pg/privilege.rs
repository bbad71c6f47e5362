//! Who is calling, and what they may do to a table.
//!
//! BOUND: a role's name.

use pgrx::pg_sys;

use super::unguarded;

use super::Oid;

/// A set of table privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u32);

impl Rights {
    pub const NONE: Rights = Rights(0);
    pub const SELECT: Rights = Rights(pg_sys::ACL_SELECT);
    pub const INSERT: Rights = Rights(pg_sys::ACL_INSERT);
    pub const UPDATE: Rights = Rights(pg_sys::ACL_UPDATE);
    pub const DELETE: Rights = Rights(pg_sys::ACL_DELETE);
    pub const TRUNCATE: Rights = Rights(pg_sys::ACL_TRUNCATE);

    pub const fn and(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    pub const fn contains(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The user whose rights count now: the caller, or the owner of a SECURITY DEFINER function.
pub fn current_user() -> Oid {
    // SAFETY: a plain read of backend state.
    unsafe { unguarded::GetUserId() }
}

/// The name of the user who connected, whatever SET ROLE or SECURITY DEFINER make of it; empty when it was dropped meanwhile.
pub fn session_user_name() -> Vec<u8> {
    // SAFETY: a plain read of backend state.
    name_of_role(unsafe { pg_sys::GetSessionUserId() })
}

/// The name of a role; empty when it was dropped meanwhile.
pub fn name_of_role(role: Oid) -> Vec<u8> {
    // SAFETY: a syscache look-up whose result is null or a palloc'd C string, copied here.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        if name.is_null() { Vec::new() } else { std::ffi::CStr::from_ptr(name).to_bytes().to_vec() }
    }
}

/// The role of this name, if there is one.
pub fn role(name: &std::ffi::CStr) -> Option<Oid> {
    // SAFETY: a syscache look-up of a NUL-terminated name.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// Whether the user has all the rights on the table.
pub fn has_all(table: Oid, user: Oid, rights: Rights) -> bool {
    [Rights::SELECT, Rights::INSERT, Rights::UPDATE, Rights::DELETE, Rights::TRUNCATE]
        .into_iter()
        .filter(|right| rights.contains(*right))
        // SAFETY: a syscache look-up; a missing relation is an ERROR.
        .all(|right| unsafe {
            pg_sys::pg_class_aclcheck(table, user, right.0 as pg_sys::AclMode)
                == pg_sys::AclResult::ACLCHECK_OK
        })
}

/// Whether the user may read a column of the table.
pub(super) fn may_read_column(table: Oid, number: i16, user: Oid) -> bool {
    // SAFETY: a syscache look-up; a missing column is an ERROR.
    has_all(table, user, Rights::SELECT)
        || unsafe {
            pg_sys::pg_attribute_aclcheck(table, number, user, pg_sys::ACL_SELECT as pg_sys::AclMode)
                == pg_sys::AclResult::ACLCHECK_OK
        }
}

/// Whether the user may read the table, or a column of it.
pub fn may_read_some(table: Oid, user: Oid) -> bool {
    has_all(table, user, Rights::SELECT)
        // SAFETY: syscache look-ups of a relation that has just been found.
        || unsafe {
            pg_sys::pg_attribute_aclcheck_all(
                table,
                user,
                pg_sys::ACL_SELECT as pg_sys::AclMode,
                pg_sys::AclMaskHow::ACLMASK_ANY,
            ) == pg_sys::AclResult::ACLCHECK_OK
        }
}

/// Whether the user has USAGE on the relation's schema, without which nobody can name it.
pub fn may_use_schema_of(relation: Oid, user: Oid) -> bool {
    let usage = pg_sys::ACL_USAGE as pg_sys::AclMode;
    with_row(pg_sys::SysCacheIdentifier::RELOID, relation, |row| {
        // SAFETY: a pg_class row; the other is a syscache look-up of the schema that the row names.
        unsafe {
            let schema = (*(row as pg_sys::Form_pg_class)).relnamespace;
            #[cfg(feature = "pg15")]
            let result = pg_sys::pg_namespace_aclcheck(schema, user, usage);
            #[cfg(not(feature = "pg15"))]
            let result = pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, user, usage);
            result == pg_sys::AclResult::ACLCHECK_OK
        }
    })
}

/// Whether row security on the table would filter what this user sees or writes.
pub fn row_security_applies(table: Oid, user: Oid) -> bool {
    // SAFETY: a syscache look-up; noError makes it report instead of raise.
    unsafe { pg_sys::check_enable_rls(table, user, true) == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32 }
}

/// Whether the user is, or is a member of, the table's owner, or may TRUNCATE it.
pub fn may_write_by_hand(table: Oid, user: Oid) -> bool {
    let owns = with_row(pg_sys::SysCacheIdentifier::RELOID, table, |row| {
        // SAFETY: a pg_class row; membership is a syscache look-up.
        unsafe { pg_sys::has_privs_of_role(user, (*(row as pg_sys::Form_pg_class)).relowner) }
    });
    // SAFETY: a syscache look-up; a missing relation is an ERROR.
    owns || unsafe {
        pg_sys::pg_class_aclcheck(table, user, pg_sys::ACL_TRUNCATE as pg_sys::AclMode)
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// Whether the user owns the database, or is a superuser.
pub fn owns_database(database: Oid, user: Oid) -> bool {
    with_row(pg_sys::SysCacheIdentifier::DATABASEOID, database, |row| {
        // SAFETY: a pg_database row; membership is a syscache look-up.
        unsafe { pg_sys::has_privs_of_role(user, (*(row as pg_sys::Form_pg_database)).datdba) }
    })
}

/// Whether the database is a template, which everybody who may create databases may copy.
pub fn is_template(database: Oid) -> bool {
    with_row(pg_sys::SysCacheIdentifier::DATABASEOID, database, |row| {
        // SAFETY: a pg_database row.
        unsafe { (*(row as pg_sys::Form_pg_database)).datistemplate }
    })
}

/// Whether the user may create databases.
pub fn may_create_databases(user: Oid) -> bool {
    with_row(pg_sys::SysCacheIdentifier::AUTHOID, user, |row| {
        // SAFETY: a pg_authid row; the other is a syscache look-up.
        unsafe { (*(row as pg_sys::Form_pg_authid)).rolcreatedb || pg_sys::superuser_arg(user) }
    })
}

/// Who owns a relation; `None` where there is none. It need not be locked.
pub fn owner_of_relation(relation: Oid) -> Option<Oid> {
    let mut owner = None;
    with_row(pg_sys::SysCacheIdentifier::RELOID, relation, |row| {
        // SAFETY: a pg_class row.
        owner = Some(unsafe { (*(row as pg_sys::Form_pg_class)).relowner });
        true
    });
    owner
}

/// Shows a catalog row found by oid; false where there is none.
fn with_row(cache: pg_sys::SysCacheIdentifier::Type, oid: Oid, look: impl FnOnce(*mut u8) -> bool) -> bool {
    // SAFETY: a syscache look-up inside a transaction; the row is released after the look.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as i32, pg_sys::Datum::from(oid));
        if tuple.is_null() {
            return false;
        }
        let header = (*tuple).t_data;
        let found = look((header as *mut u8).add(usize::from((*header).t_hoff)));
        pg_sys::ReleaseSysCache(tuple);
        found
    }
}

/// Whether the user is a superuser.
pub fn is_superuser(user: Oid) -> bool {
    // SAFETY: a syscache look-up.
    unsafe { pg_sys::superuser_arg(user) }
}

/// Whether the user may see what monitoring roles see.
pub fn may_monitor(user: Oid) -> bool {
    // SAFETY: a syscache look-up.
    unsafe { pg_sys::has_privs_of_role(user, Oid::from(pg_sys::ROLE_PG_READ_ALL_STATS)) }
}

/// Raises 42501 where the caller does not have the rights of the table's owner.
pub fn check_owns(table: Oid, name: &[u8]) {
    let Some(owner) = owner_of_relation(table) else { return };
    // SAFETY: a look-up of memberships inside a transaction.
    if !unsafe { pg_sys::has_privs_of_role(current_user(), owner) } {
        pgrx::ereport!(
            ERROR,
            pgrx::PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of table {}", String::from_utf8_lossy(name))
        );
    }
}
