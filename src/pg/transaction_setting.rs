//! A setting that says something of one transaction, and must not be taken over by the next: behind a pooler that may be another client's.
//!
//! SET LOCAL is how it is meant. SET without LOCAL, said as a statement of its own, is refused, since nothing would come of it.
//! However else it is set (set_config, a function's body), it is reset before the transaction commits. What holds for whoever
//! connects so (postgresql.conf, ALTER ROLE, ALTER DATABASE, options of the connection) stays: that is no client's own.
//!
//! Where each client has its connection for itself the administrator may say so. Then the setting is like any other.

use crate::pg::session::session_local;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::xact::{self, Participant};

/// What the setting is, for PostgreSQL and for those who set it wrongly.
#[derive(Debug)]
pub struct Described {
    pub name: &'static CStr,
    pub short: &'static CStr,
    pub long: &'static CStr,
    pub refusal: &'static CStr,
    pub hint: &'static CStr,
    /// Whether the administrator lets it hold for a session.
    pub holds_for_session: fn() -> bool,
}

session_local! {
    static DESCRIBED: Cell<Option<&'static Described>> = const { Cell::new(None) };
    /// The library is just being loaded.
    static IS_DEFINING: Cell<bool> = const { Cell::new(false) };
    /// Some statement of the running transaction has set it.
    static IS_SET: Cell<bool> = const { Cell::new(false) };
    /// It has been set while it could hold for the session, and may do so still.
    static IS_HELD: Cell<bool> = const { Cell::new(false) };
}

/// To be registered for the ends of transactions.
pub static HOOKS: xact::Hooks = xact::Hooks {
    participant: Participant::Setting,
    is_idle: || !IS_SET.get() && !IS_HELD.get(),
    pre_commit: reset,
    // What others' callbacks have set between the two is reset by the next transaction.
    commit: || xact::stay(Participant::Setting, IS_HELD.get() || IS_SET.get()),
    abort: || IS_SET.set(false),
    pre_prepare: reset,
    prepared: || (),
    savepoint_released: |_| (),
    savepoint_rolled_back: |_| (),
};

/// Defines it. There can be one such setting.
pub fn define(described: &'static Described, setting: &'static GucSetting<Option<CString>>) {
    DESCRIBED.set(Some(described));
    IS_DEFINING.set(true);
    // SAFETY: the hook is guarded, has PostgreSQL's signature and lives as long as the process.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            described.name,
            described.short,
            described.long,
            setting,
            GucContext::Userset,
            GucFlags::default(),
            Some(check),
            None,
            None,
        );
    }
    IS_DEFINING.set(false);
}

/// Before a value is set. Says no through PostgreSQL's own variables, as is done in such a hook.
///
/// # Safety
/// Called by PostgreSQL as a string setting's check hook.
#[pg_guard]
unsafe extern "C-unwind" fn check(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes the address of the value, which is NUL-terminated or null.
    let says_nothing = unsafe { (*value).is_null() || **value == 0 };
    // A parallel worker is given what its leader has.
    // SAFETY: a plain read of a backend variable.
    let is_worker = unsafe { pg_sys::ParallelWorkerNumber } >= 0;
    if source != pg_sys::GucSource::PGC_S_SESSION || says_nothing || is_worker {
        return true;
    }
    if DESCRIBED.get().is_some_and(|described| (described.holds_for_session)()) {
        IS_HELD.set(true);
        // Each commit looks whether it may do so still.
        xact::stay(Participant::Setting, true);
        return true;
    }
    // Before the library was loaded nobody could refuse it, nor end it with its transaction.
    if IS_DEFINING.get() || is_set_for_session() {
        refuse();
        return false;
    }
    note_set();
    true
}

/// The running transaction has set it.
fn note_set() {
    IS_SET.set(true);
    xact::join(Participant::Setting);
}

/// Whether the statement that the client has sent is SET without LOCAL.
fn is_set_for_session() -> bool {
    // SAFETY: the running statement's portal, if there is one, has a list of planned statements, or none any more; each cast
    // follows the node's tag.
    unsafe {
        let portal = pg_sys::ActivePortal;
        if portal.is_null() || (*portal).stmts.is_null() || (*(*portal).stmts).length < 1 {
            return false;
        }
        let planned = (*(*(*portal).stmts).elements).ptr_value as *mut pg_sys::PlannedStmt;
        let node = (*planned).utilityStmt;
        !node.is_null()
            && (*node).type_ == pg_sys::NodeTag::T_VariableSetStmt
            && !(*(node as *mut pg_sys::VariableSetStmt)).is_local
    }
}

fn refuse() {
    let Some(described) = DESCRIBED.get() else { return };
    // SAFETY: the variables that PostgreSQL reads when a check hook has said no. It only reads the strings, which are static.
    unsafe {
        pg_sys::GUC_check_errcode(PgSqlErrorCode::ERRCODE_CANT_CHANGE_RUNTIME_PARAM as i32);
        pg_sys::GUC_check_errmsg_string = described.refusal.as_ptr().cast_mut();
        pg_sys::GUC_check_errhint_string = described.hint.as_ptr().cast_mut();
    }
}

/// Ends it with its transaction.
fn reset() {
    let Some(described) = DESCRIBED.get() else { return };
    let is_set = IS_SET.take();
    if (described.holds_for_session)() {
        IS_HELD.set(IS_HELD.get() || is_set);
    } else if IS_HELD.take() || is_set {
        end(described);
    }
    xact::stay(Participant::Setting, IS_HELD.get());
}

/// Ends what was set for a session that may not hold it any more. To be called before the setting is read.
pub fn end_what_is_not_to_last() {
    let Some(described) = DESCRIBED.get().filter(|_| IS_HELD.get() && !IS_SET.get()) else { return };
    if !(described.holds_for_session)() {
        // A rollback brings it back, so it counts as held until the commit.
        note_set();
        end(described);
    }
}

/// Sets it to the value for whoever connects so.
fn end(described: &Described) {
    // SAFETY: as RESET does it, inside a transaction; the name is NUL-terminated.
    unsafe {
        pg_sys::set_config_option(
            described.name.as_ptr(),
            std::ptr::null(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            0,
            false,
        );
    }
}
