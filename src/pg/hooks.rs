//! Server hooks: shared memory at start, utility commands on databases, dropped relations.

use std::ffi::CStr;
use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::options::option_string;
use super::{Oid, catalog, extension_commands, privilege};
use crate::errors::OrRaise;

/// What is called when.
pub struct Hooks {
    /// Before shared memory is made: how many bytes and locks are wanted.
    pub request_shared_memory: fn(),
    /// Shared memory is there.
    pub start_shared_memory: fn(),
    /// A command that its user may run is about to need a database free of connections.
    pub before_database_command: fn(DatabaseCommand),
    /// That command has done its work. Not called where it failed.
    pub after_database_command: fn(),
    /// A database is about to be made with an oid that its maker has chosen, and that no database has.
    pub before_chosen_database_oid: fn(Oid),
    /// Everything that some roles owned here belongs to another one now.
    pub owners_reassigned: fn(),
    /// A relation is about to be dropped by this transaction.
    pub relation_dropped: fn(Oid),
    /// A trigger has just been made.
    pub trigger_created: fn(catalog::NewTrigger),
}

/// What needs a database without connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseCommand {
    pub database: Oid,
    pub kind: CommandKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// CREATE DATABASE … TEMPLATE
    Copy,
    /// ALTER DATABASE … RENAME
    Rename,
    /// ALTER DATABASE … SET TABLESPACE
    Move,
    Drop,
}

impl DatabaseCommand {
    /// Whether PostgreSQL will let the current user do it, as far as that depends on user and database.
    fn is_allowed(self) -> bool {
        let user = privilege::current_user();
        let owns = privilege::owns_database(self.database, user);
        let is_template = privilege::is_template(self.database);
        let is_connected_to = self.database == catalog::my_database();
        match self.kind {
            CommandKind::Copy => privilege::may_create_databases(user) && (is_template || owns),
            CommandKind::Rename => owns && privilege::may_create_databases(user) && !is_connected_to,
            CommandKind::Move => owns && !is_connected_to,
            CommandKind::Drop => owns && !is_template && !is_connected_to,
        }
    }
}

static HOOKS: OnceLock<&'static Hooks> = OnceLock::new();

static mut PREVIOUS_REQUEST: pg_sys::shmem_request_hook_type = None;
static mut PREVIOUS_STARTUP: pg_sys::shmem_startup_hook_type = None;
static mut PREVIOUS_UTILITY: pg_sys::ProcessUtility_hook_type = None;
static mut PREVIOUS_ACCESS: pg_sys::object_access_hook_type = None;

/// Installs the hooks in the postmaster, from where every process inherits them.
pub fn install(hooks: &'static Hooks) {
    if HOOKS.set(hooks).is_err() {
        return;
    }
    // SAFETY: runs once, in the postmaster, while it loads libraries; each hook calls the previous one.
    unsafe {
        PREVIOUS_REQUEST = pg_sys::shmem_request_hook;
        pg_sys::shmem_request_hook = Some(on_request);
        PREVIOUS_STARTUP = pg_sys::shmem_startup_hook;
        pg_sys::shmem_startup_hook = Some(on_startup);
        PREVIOUS_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(on_utility);
        PREVIOUS_ACCESS = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(on_access);
    }
}

#[pg_guard]
extern "C-unwind" fn on_request() {
    // SAFETY: the previous hook is what was installed before ours.
    unsafe {
        if let Some(previous) = PREVIOUS_REQUEST {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
    }
    if let Some(hooks) = HOOKS.get() {
        (hooks.request_shared_memory)();
    }
}

#[pg_guard]
extern "C-unwind" fn on_startup() {
    // SAFETY: the previous hook is what was installed before ours.
    unsafe {
        if let Some(previous) = PREVIOUS_STARTUP {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous());
        }
    }
    if let Some(hooks) = HOOKS.get() {
        (hooks.start_shared_memory)();
    }
}

unsafe extern "C-unwind" {
    // utility.h. Declared here since pgrx's binding puts a guard round it, which rewrites every error that passes:
    // CONTEXT, constraint names and positions would be lost from all utility commands' errors.
    #[link_name = "standard_ProcessUtility"]
    fn run_standard_utility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const std::ffi::c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Looks at the command first, then passes it on. Not guarded, for the same reason: an ERROR of the command jumps over
/// this frame, which owns nothing.
///
/// # Safety
/// Called by PostgreSQL as a ProcessUtility_hook.
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn on_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const std::ffi::c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    let left = before_utility(statement);
    if left == Left::Nothing {
        return;
    }
    // SAFETY: passes PostgreSQL's own arguments on, to the previous hook or to the standard function.
    unsafe {
        match PREVIOUS_UTILITY {
            Some(previous) => {
                previous(statement, query, read_only_tree, context, params, environment, receiver, completion)
            }
            None => run_standard_utility(
                statement,
                query,
                read_only_tree,
                context,
                params,
                environment,
                receiver,
                completion,
            ),
        }
    }
    match left {
        Left::AllOnDatabase => after_database_command(),
        Left::AllOfOwners => after_reassigning(),
        Left::All | Left::Nothing => {}
    }
}

/// What is left of a command that was looked at.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    All,
    /// All of it, and it needs a database without connections.
    AllOnDatabase,
    /// All of it, and it gives away what roles own.
    AllOfOwners,
    /// It was carried out.
    Nothing,
}

#[pg_guard]
extern "C-unwind" fn before_utility(statement: *mut pg_sys::PlannedStmt) -> Left {
    let Some(hooks) = HOOKS.get() else { return Left::All };
    // SAFETY: the statement's utility node is valid for the call.
    let (command, chosen_oid, extension_command, reassigns) = unsafe {
        let node = (*statement).utilityStmt;
        let reassigns = (*node).type_ == pg_sys::NodeTag::T_ReassignOwnedStmt;
        (database_command(node), chosen_oid(node), extension_commands::command(node), reassigns)
    };
    if reassigns {
        return Left::AllOfOwners;
    }
    if extension_command.is_some_and(|command| command.carry_out().or_raise()) {
        return Left::Nothing;
    }
    let command = command.filter(|command| command.is_allowed());
    // Whoever may not make the database has memory forget nothing.
    if let Some(oid) = chosen_oid.filter(|oid| command.is_some() && !catalog::is_database(*oid)) {
        (hooks.before_chosen_database_oid)(oid);
    }
    if let Some(command) = command {
        (hooks.before_database_command)(command);
    }
    if command.is_some() { Left::AllOnDatabase } else { Left::All }
}

#[pg_guard]
extern "C-unwind" fn after_database_command() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.after_database_command)();
    }
}

#[pg_guard]
extern "C-unwind" fn after_reassigning() {
    if let Some(hooks) = HOOKS.get() {
        (hooks.owners_reassigned)();
    }
}

/// What a statement does that needs a database without connections.
///
/// # Safety
/// `node` must be a valid utility statement.
unsafe fn database_command(node: *mut pg_sys::Node) -> Option<DatabaseCommand> {
    let name = |pointer: *const std::ffi::c_char| {
        // SAFETY: names in parse nodes are NUL-terminated or null.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
    };
    // SAFETY: each cast follows the node's tag.
    let (name, kind) = unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_DropdbStmt => {
                let statement = node as *mut pg_sys::DropdbStmt;
                (name((*statement).dbname)?, CommandKind::Drop)
            }
            pg_sys::NodeTag::T_CreatedbStmt => {
                let statement = node as *mut pg_sys::CreatedbStmt;
                let template = option_string((*statement).options, c"template");
                (template.unwrap_or(c"template1"), CommandKind::Copy)
            }
            pg_sys::NodeTag::T_RenameStmt => {
                let statement = node as *mut pg_sys::RenameStmt;
                if (*statement).renameType != pg_sys::ObjectType::OBJECT_DATABASE {
                    return None;
                }
                (name((*statement).subname)?, CommandKind::Rename)
            }
            pg_sys::NodeTag::T_AlterDatabaseStmt => {
                let statement = node as *mut pg_sys::AlterDatabaseStmt;
                option_string((*statement).options, c"tablespace")?;
                (name((*statement).dbname)?, CommandKind::Move)
            }
            _ => return None,
        }
    };
    Some(DatabaseCommand { database: catalog::database(name)?, kind })
}

/// The oid that CREATE DATABASE … OID asks for.
///
/// # Safety
/// `node` must be a valid utility statement.
unsafe fn chosen_oid(node: *mut pg_sys::Node) -> Option<Oid> {
    // SAFETY: the cast follows the node's tag.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_CreatedbStmt {
            return None;
        }
        let oid = option_string((*(node as *mut pg_sys::CreatedbStmt)).options, c"oid")?;
        oid.to_str().ok()?.parse::<u32>().ok().map(Oid::from)
    }
}

/// Not guarded, as `on_utility`.
///
/// # Safety
/// Called by PostgreSQL as an object_access_hook.
unsafe extern "C-unwind" fn on_access(
    access: pg_sys::ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    sub: std::ffi::c_int,
    arg: *mut std::ffi::c_void,
) {
    // SAFETY: the previous hook is what was installed before ours.
    unsafe {
        if let Some(previous) = PREVIOUS_ACCESS {
            previous(access, class, object, sub, arg);
        }
    }
    if access == pg_sys::ObjectAccessType::OAT_DROP && class == pg_sys::RelationRelationId && sub == 0 {
        before_relation_drop(object);
    }
    if access == pg_sys::ObjectAccessType::OAT_POST_CREATE && class == pg_sys::TriggerRelationId {
        after_trigger_create(object);
    }
}

#[pg_guard]
extern "C-unwind" fn after_trigger_create(trigger: Oid) {
    if let Some(hooks) = HOOKS.get()
        && let Some(trigger) = catalog::new_trigger(trigger)
    {
        (hooks.trigger_created)(trigger);
    }
}

#[pg_guard]
extern "C-unwind" fn before_relation_drop(relation: Oid) {
    if let Some(hooks) = HOOKS.get() {
        (hooks.relation_dropped)(relation);
    }
}

/// Refuses settings of this prefix that nobody defined, so that a misspelt one is an error.
pub fn reserve_setting_prefix(prefix: &'static CStr) {
    // SAFETY: a NUL-terminated string of static life.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}
