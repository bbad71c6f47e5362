//! Queries of users' tables, which run with other rights than their caller's.
//!
//! Such a query is a text, in which tables, types and operators have names. Whoever owns a schema can rename it at any moment, which waits
//! for no lock, and give its name to another one: with a view there in the table's place, whose functions would run with the rights that the
//! query has. So what its names were taken for is looked at each time that PostgreSQL has analyzed the text, which it may do twice, before it
//! rewrites, plans or runs anything (`post_parse_analyze_hook`). What is not meant, or of no kind that these queries have, is refused. While it is
//! analyzed, PostgreSQL reads literals by the input functions of the types that are named beside them, and that of a composite type calls the checks
//! of its domains: so values are parameters, whose types are said by oid.
//!
//! BOUND: what SQL says of the columns of two tables.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::Oid;
use super::errors::SourceError;
use super::session::session_local;
use crate::errors::{CounterError, OrRaise};

/// A query, and what its names stand for besides what is PostgreSQL's own.
#[derive(Clone, Debug)]
pub struct TableQuery {
    sql: Vec<u8>,
    relations: Vec<Oid>,
    operators: Vec<Oid>,
    values: Vec<Value>,
}

/// The text of a value, and its type: `$1` is the first of a query.
#[derive(Clone, Debug)]
pub struct Value {
    pub type_oid: Oid,
    pub text: Vec<u8>,
}

/// A condition on rows, the operators that it calls, and its values.
#[derive(Clone, Debug)]
pub struct Condition {
    pub sql: Vec<u8>,
    pub operators: Vec<Oid>,
    pub values: Vec<Value>,
}

impl Condition {
    /// That all of them hold.
    pub fn all(conditions: Vec<Condition>) -> Condition {
        let mut all = Condition { sql: Vec::new(), operators: Vec::new(), values: Vec::new() };
        for (at, mut condition) in conditions.into_iter().enumerate() {
            if at > 0 {
                all.sql.extend_from_slice(b" AND ");
            }
            all.sql.append(&mut condition.sql);
            all.operators.append(&mut condition.operators);
            all.values.append(&mut condition.values);
        }
        all
    }
}

impl TableQuery {
    /// A query of tables whose locks are held.
    pub fn of(sql: Vec<u8>, relations: &[Oid]) -> TableQuery {
        TableQuery { sql, relations: relations.to_vec(), operators: Vec::new(), values: Vec::new() }
    }

    /// The same as one that has a condition: at most one of those has values.
    pub fn with(mut self, condition: Option<&Condition>) -> TableQuery {
        if let Some(condition) = condition {
            self.operators.extend_from_slice(&condition.operators);
            self.values.extend_from_slice(&condition.values);
        }
        self
    }

    /// Another query of the same tables.
    pub fn map(self, to: impl FnOnce(&[u8]) -> Vec<u8>) -> TableQuery {
        TableQuery { sql: to(&self.sql), ..self }
    }

    pub fn values(&self) -> &[Value] {
        &self.values
    }

    pub fn sql(&self) -> &[u8] {
        &self.sql
    }

    /// Has PostgreSQL analyze the query, and run it. Errors: 40001 names stand for something else than is meant.
    pub(super) fn analyzed<T>(&self, sql: &CStr, run: impl FnOnce() -> T) -> Result<T, CounterError> {
        install();
        let meant = Meant { query: self, sql, is_seen: Cell::new(false) };
        let outer = MEANT.replace(ptr::from_ref(&meant).cast());
        let reset = Reset(outer);
        let result = run();
        drop(reset);
        if !meant.is_seen.get() {
            return Err(CounterError::Internal("a query of users' tables was not looked at".into()));
        }
        Ok(result)
    }
}

/// What a text that is about to be analyzed means.
struct Meant<'a> {
    query: &'a TableQuery,
    sql: &'a CStr,
    is_seen: Cell<bool>,
}

session_local! {
    /// Where the innermost query that runs says what it means; null where none runs. It lives as long as `analyzed`, which puts back what
    /// was before however it ends.
    static MEANT: Cell<*const c_void> = const { Cell::new(ptr::null()) };
    static IS_INSTALLED: Cell<bool> = const { Cell::new(false) };
}

struct Reset(*const c_void);

impl Drop for Reset {
    fn drop(&mut self) {
        MEANT.set(self.0);
    }
}

static mut PREVIOUS: pg_sys::post_parse_analyze_hook_type = None;

/// Installs the hook in this process, where it is needed first.
fn install() {
    if IS_INSTALLED.replace(true) {
        return;
    }
    // SAFETY: a process of one thread; the hook calls the previous one.
    unsafe {
        PREVIOUS = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(on_analyzed);
    }
}

/// Called by PostgreSQL as a post_parse_analyze_hook.
///
/// # Safety
/// The arguments must be such a hook's.
#[pg_guard]
unsafe extern "C-unwind" fn on_analyzed(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    // SAFETY: the arguments are PostgreSQL's, which the previous hook expects as well. What MEANT points to lives while it is there. The text is
    // NUL-terminated, if there is one.
    unsafe {
        if let Some(previous) = PREVIOUS {
            previous(state, query, jumble);
        }
        let meant: *const Meant<'_> = MEANT.get().cast();
        let Some(meant) = meant.as_ref() else { return };
        let text = (*state).p_sourcetext;
        // What functions run meanwhile is no business of ours.
        if text.is_null() || CStr::from_ptr(text) != meant.sql {
            return;
        }
        meant.is_seen.set(true);
        if is_other(query.cast(), ptr::from_ref(meant.query).cast_mut().cast()) {
            Err::<(), CounterError>(SourceError::Renamed.into()).or_raise();
        }
    }
}

/// Whether a node of a query, or any in it, is something else than the TableQuery means that `context` points to.
///
/// # Safety
/// The node must be null, or one of an analyzed query; the context must point to a TableQuery that lives meanwhile.
#[pg_guard]
unsafe extern "C-unwind" fn is_other(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    use pg_sys::NodeTag::*;
    if node.is_null() {
        return false;
    }
    // SAFETY: by the caller's promise; a node is what its tag says.
    unsafe {
        let meant = &*context.cast::<TableQuery>();
        let may_call = |operator: Oid| is_pinned(operator) || meant.operators.contains(&operator);
        let is_meant = match (*node).type_ {
            T_Query => {
                let flags = pg_sys::QTW_EXAMINE_RTES_BEFORE as i32;
                return pg_sys::query_tree_walker(node.cast(), Some(is_other), context, flags);
            }
            // Its parts are walked by whoever walks the query.
            T_RangeTblEntry => return !meant.may_read(&*node.cast()),
            T_OpExpr => may_call((*node.cast::<pg_sys::OpExpr>()).opno),
            T_ScalarArrayOpExpr => may_call((*node.cast::<pg_sys::ScalarArrayOpExpr>()).opno),
            T_FuncExpr => is_pinned((*node.cast::<pg_sys::FuncExpr>()).funcid),
            T_Aggref => is_pinned((*node.cast::<pg_sys::Aggref>()).aggfnoid),
            T_CoerceViaIO => is_pinned((*node.cast::<pg_sys::CoerceViaIO>()).resulttype),
            T_List | T_FromExpr | T_JoinExpr | T_RangeTblRef | T_TargetEntry | T_Var | T_Const | T_Param => {
                true
            }
            T_RelabelType | T_CollateExpr | T_NullTest | T_BooleanTest | T_BoolExpr => true,
            T_CaseExpr | T_CaseWhen | T_CoalesceExpr => true,
            _ => false,
        };
        !is_meant || pg_sys::expression_tree_walker(node, Some(is_other), context)
    }
}

impl TableQuery {
    fn may_read(&self, entry: &pg_sys::RangeTblEntry) -> bool {
        use pg_sys::RTEKind::*;
        match entry.rtekind {
            RTE_RELATION => self.relations.contains(&entry.relid),
            RTE_SUBQUERY | RTE_JOIN => true,
            #[cfg(feature = "pg18")]
            RTE_GROUP => true,
            _ => false,
        }
    }
}

/// Whether an object is PostgreSQL's own, which nobody makes or drops.
fn is_pinned(object: Oid) -> bool {
    u32::from(object) < pg_sys::FirstUnpinnedObjectId
}
