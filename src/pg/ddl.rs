//! What an event trigger is told of the command that it fires on, as far as it matters here.
//!
//! BOUND: names, arguments and clauses of one command, as long as PostgreSQL's own parse tree of it.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::Oid;
use super::trigger::TriggerCall;

/// A command of DDL that is about to run, or has run.
#[derive(Clone, Copy)]
pub struct Command<'fcx>(&'fcx pg_sys::EventTriggerData);

/// A column that ALTER TABLE turns into another type, by the rules of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retyped {
    pub table: Vec<u8>,
    pub column: Vec<u8>,
    /// As it is now; without the domains over it.
    pub from: Oid,
    /// As it is to be; without the domains over it.
    pub to: Oid,
}

/// A trigger that CREATE TRIGGER makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTrigger {
    pub table: Oid,
    /// The function's name without its schema.
    pub function: Vec<u8>,
    pub arguments: Vec<Vec<u8>>,
}

impl<'fcx> TriggerCall<'fcx> {
    /// `None` where the function was not called as an event trigger.
    pub fn command(self) -> Option<Command<'fcx>> {
        // SAFETY: the event trigger manager passes an EventTriggerData as the call's context, tagged as such; it lives as long as
        // the call.
        unsafe {
            let context = self.context();
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
                return None;
            }
            Some(Command(&*(context as *const pg_sys::EventTriggerData)))
        }
    }
}

impl Command<'_> {
    /// The command's parse tree, if it is of this kind. `T` must be the kind's structure.
    fn statement<T>(&self, tag: pg_sys::NodeTag) -> Option<&T> {
        let node = self.0.parsetree;
        // SAFETY: every parse node begins with its tag, and lives as long as the call. The callers below name the tag's own
        // structure.
        unsafe { (!node.is_null() && (*node).type_ == tag).then(|| &*(node as *const T)) }
    }

    /// Columns that get another type without a USING that says how.
    pub fn retyped_columns(&self) -> Vec<Retyped> {
        let Some(statement) = self.statement::<pg_sys::AlterTableStmt>(pg_sys::NodeTag::T_AlterTableStmt)
        else {
            return Vec::new();
        };
        let Some(table) = relation_of(statement.relation) else { return Vec::new() };
        elements(statement.cmds).filter_map(|node| retyped(table, node)).collect()
    }

    /// The table whose triggers ALTER TABLE switches on or off.
    pub fn table_with_switched_triggers(&self) -> Option<Oid> {
        use pg_sys::AlterTableType::*;
        let statement = self.statement::<pg_sys::AlterTableStmt>(pg_sys::NodeTag::T_AlterTableStmt)?;
        let switches = elements(statement.cmds).any(|node| {
            // SAFETY: the commands of ALTER TABLE are nodes of this kind.
            let subtype = unsafe { (*(node as *const pg_sys::AlterTableCmd)).subtype };
            [
                AT_EnableTrig,
                AT_EnableAlwaysTrig,
                AT_EnableReplicaTrig,
                AT_DisableTrig,
                AT_EnableTrigAll,
                AT_DisableTrigAll,
                AT_EnableTrigUser,
                AT_DisableTrigUser,
            ]
            .contains(&subtype)
        });
        if switches { relation_of(statement.relation) } else { None }
    }

    /// The table that ALTER TABLE has made a partition.
    pub fn attached_partition(&self) -> Option<Oid> {
        let statement = self.statement::<pg_sys::AlterTableStmt>(pg_sys::NodeTag::T_AlterTableStmt)?;
        elements(statement.cmds).find_map(|node| {
            // SAFETY: the commands of ALTER TABLE are nodes of this kind; one that attaches has the table's name with a bound.
            unsafe {
                let command = &*(node as *const pg_sys::AlterTableCmd);
                if command.subtype != pg_sys::AlterTableType::AT_AttachPartition || command.def.is_null() {
                    return None;
                }
                relation_of((*(command.def as *const pg_sys::PartitionCmd)).name)
            }
        })
    }

    /// The trigger that CREATE TRIGGER makes.
    pub fn created_trigger(&self) -> Option<CreatedTrigger> {
        let statement = self.statement::<pg_sys::CreateTrigStmt>(pg_sys::NodeTag::T_CreateTrigStmt)?;
        Some(CreatedTrigger {
            table: relation_of(statement.relation)?,
            function: elements(statement.funcname).last().map(string)?,
            arguments: elements(statement.args).map(string).collect(),
        })
    }
}

/// What a column of a table becomes by one command of ALTER TABLE, if that turns it into another type by itself.
fn retyped(table: Oid, node: *mut pg_sys::Node) -> Option<Retyped> {
    // SAFETY: the commands of ALTER TABLE are nodes of this kind; one that changes a type has the column's name, which is
    // NUL-terminated, and its new definition. Types are looked up inside a transaction, and names are palloc'd.
    unsafe {
        let command = &*(node as *const pg_sys::AlterTableCmd);
        if command.subtype != pg_sys::AlterTableType::AT_AlterColumnType || command.name.is_null() {
            return None;
        }
        let definition = &*(command.def as *const pg_sys::ColumnDef);
        let column = CStr::from_ptr(command.name).to_bytes().to_vec();
        if !definition.raw_default.is_null() && !is_column(definition.raw_default, &column) {
            return None;
        }
        let number = pg_sys::get_attnum(table, command.name);
        let to = pg_sys::LookupTypeNameOid(std::ptr::null_mut(), definition.typeName, true);
        if number <= 0 || to == pg_sys::InvalidOid {
            return None;
        }
        let name = pg_sys::get_rel_name(table);
        Some(Retyped {
            table: if name.is_null() { Vec::new() } else { CStr::from_ptr(name).to_bytes().to_vec() },
            column,
            from: pg_sys::getBaseType(pg_sys::get_atttype(table, number)),
            to: pg_sys::getBaseType(to),
        })
    }
}

/// Whether an expression is nothing but the column.
///
/// # Safety
/// `node` must be a raw expression.
unsafe fn is_column(node: *mut pg_sys::Node, column: &[u8]) -> bool {
    // SAFETY: by the caller's promise; a reference has a list of names, or of a star.
    unsafe {
        if (*node).type_ != pg_sys::NodeTag::T_ColumnRef {
            return false;
        }
        let last = elements((*(node as *const pg_sys::ColumnRef)).fields).last();
        last.is_some_and(|last| (*last).type_ == pg_sys::NodeTag::T_String && string(last) == column)
    }
}

/// The relation as the command finds it.
fn relation_of(relation: *const pg_sys::RangeVar) -> Option<Oid> {
    if relation.is_null() {
        return None;
    }
    // SAFETY: a name in the parse tree; looked up without a lock, which the command itself takes or has taken.
    let oid = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            relation,
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The nodes of a list of nodes.
fn elements(list: *const pg_sys::List) -> impl Iterator<Item = *mut pg_sys::Node> {
    // SAFETY: a list of the parse tree, which is null where it is empty, has `length` elements.
    let length = if list.is_null() { 0 } else { unsafe { (*list).length } };
    // SAFETY: in bounds of the list, which lives as long as the call.
    (0..length as usize).map(move |at| unsafe { (*(*list).elements.add(at)).ptr_value.cast() })
}

/// The text of a node that is a string.
fn string(node: *mut pg_sys::Node) -> Vec<u8> {
    // SAFETY: names and trigger's arguments in the parse tree are strings.
    unsafe { CStr::from_ptr((*(node as *const pg_sys::String)).sval) }.to_bytes().to_vec()
}

/// Whether a type is one of numbers.
pub fn is_numeric(type_oid: Oid) -> bool {
    let (mut category, mut is_preferred) = (0, false);
    // SAFETY: a syscache look-up inside a transaction.
    unsafe { pg_sys::get_type_category_preferred(type_oid, &mut category, &mut is_preferred) };
    category as u8 == b'N'
}

/// Whether a type belongs to the extension.
pub fn is_type_of(type_oid: Oid, extension: &CStr) -> bool {
    const TYPE_RELATION: u32 = 1247;
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let owner = pg_sys::getExtensionOfObject(Oid::from(TYPE_RELATION), type_oid);
        owner != pg_sys::InvalidOid && owner == pg_sys::get_extension_oid(extension.as_ptr(), true)
    }
}
