//! Running SQL, and code that users define, confined: names are looked up in pg_catalog only, and where it runs with another
//! role's rights, it cannot change the session.
//!
//! Whoever calls us decides what search_path is. A query, or an index expression, that runs with more rights than its caller
//! would lend them to a function that the caller has put first there. So role, security restriction and search_path are
//! set together, here and nowhere else, and SQL (`super::spi`) asks for the proof that they are. So are the settings which decide how
//! the texts in a query are read and how names are quoted, where the caller has others than PostgreSQL's own: what is written down, or
//! compared with what was, is the same in every session. And so is the one which decides what of a table a plan works out.
//!
//! A mere question about somebody's rights needs none of this: `rows::access` is told whose rights to look at.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::pg_sys;

use super::Oid;

/// Proof that what runs is confined.
pub struct Confined<'a>(PhantomData<&'a ()>);

/// What the session was before.
struct Before {
    user: Oid,
    context: i32,
    settings_level: i32,
}

impl Before {
    fn enter(user: Option<Oid>, restrictions: u32, sees_all: bool) -> Before {
        let mut before = Before { user: pg_sys::InvalidOid, context: 0, settings_level: 0 };
        // SAFETY: saves and sets backend variables inside a transaction; `leave` puts them back, and so does the abort of the
        // transaction or savepoint where an error comes in between. The setting's name and value are NUL-terminated.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context);
            before.settings_level = pg_sys::NewGUCNestLevel();
            set(c"search_path", c"pg_catalog, pg_temp");
            if !pg_sys::standard_conforming_strings {
                set(c"standard_conforming_strings", c"on");
            }
            if pg_sys::quote_all_identifiers {
                set(c"quote_all_identifiers", c"off");
            }
            if pg_sys::constraint_exclusion != PARTITION {
                set(c"constraint_exclusion", c"partition");
            }
            if sees_all && pg_sys::row_security {
                set(c"row_security", c"off");
            }
            if let Some(user) = user {
                pg_sys::SetUserIdAndSecContext(user, before.context | restrictions as i32);
            }
        }
        before
    }

    fn leave(self) {
        // SAFETY: puts back what `enter` saved.
        unsafe {
            pg_sys::SetUserIdAndSecContext(self.user, self.context);
            pg_sys::AtEOXact_GUC(false, self.settings_level);
        }
    }
}

/// Sets a setting until the level of settings ends.
///
/// # Safety
/// Called inside a transaction, on a level that `Before` has begun.
unsafe fn set(name: &CStr, value: &CStr) {
    // SAFETY: name and value are NUL-terminated; the rest is the caller's promise.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// PostgreSQL's own setting: a plan works out no check of a table that is read by its own name.
const PARTITION: i32 = pg_sys::ConstraintExclusionType::CONSTRAINT_EXCLUSION_PARTITION as i32;

const RESTRICTIONS: u32 = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;

/// Runs `work` with the rights of `owner`.
pub fn as_owner<T>(owner: Oid, work: impl FnOnce(&Confined<'_>) -> T) -> T {
    run(Some(owner), RESTRICTIONS, false, work)
}

/// As `as_owner`, for reading tables whole, as foreign keys do: forced row security does not apply, and where a policy would, of a table that
/// is another's, that is an error (42501), so that what its owner has put into it runs with nobody's rights.
pub fn as_owner_of_all_rows<T>(owner: Oid, work: impl FnOnce(&Confined<'_>) -> T) -> T {
    run(Some(owner), RESTRICTIONS | pg_sys::SECURITY_NOFORCE_RLS, true, work)
}

/// Runs `work` with the caller's own rights.
pub fn as_caller<T>(work: impl FnOnce(&Confined<'_>) -> T) -> T {
    run(None, 0, false, work)
}

fn run<T>(user: Option<Oid>, restrictions: u32, sees_all: bool, work: impl FnOnce(&Confined<'_>) -> T) -> T {
    let before = Before::enter(user, restrictions, sees_all);
    let value = work(&Confined(PhantomData));
    before.leave();
    value
}
