//! Commands on this extension that PostgreSQL itself refuses, since the extension's tables are in another schema than its functions:
//! a preloaded library carries them out. Without it PostgreSQL's refusal stands, and a superuser says the same in other words.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::catalog;
use super::confined;
use super::options::option_string;
use crate::errors::CounterError;
use crate::pg::spi::{Parameter, Spi};

const NAME: &CStr = c"counter_ext";

/// A command of this extension's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionCommand<'a> {
    /// CREATE EXTENSION … SCHEMA counter_ext, where there is no such schema.
    CreateInMissingSchema,
    /// ALTER EXTENSION … SET SCHEMA
    SetSchema(&'a CStr),
}

impl ExtensionCommand<'_> {
    /// Does what PostgreSQL would not. Returns whether nothing is left of the command.
    pub fn carry_out(self) -> Result<bool, CounterError> {
        confined::as_caller(|confined| {
            let spi = Spi::connect(confined)?;
            match self {
                ExtensionCommand::CreateInMissingSchema => {
                    spi.run(b"CREATE SCHEMA counter_ext")?;
                    Ok(false)
                }
                ExtensionCommand::SetSchema(schema) => {
                    spi.run_with(
                        b"SELECT counter_ext.set_schema($1::pg_catalog.name)",
                        &[Parameter::Text(schema.to_bytes())],
                    )?;
                    Ok(true)
                }
            }
        })
    }
}

/// What a statement does to this extension that PostgreSQL would refuse.
///
/// # Safety
/// `node` must be a valid utility statement, which outlives the result.
pub unsafe fn command<'a>(node: *mut pg_sys::Node) -> Option<ExtensionCommand<'a>> {
    // SAFETY: each cast follows the node's tag; names in parse nodes are NUL-terminated.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_CreateExtensionStmt => {
                let statement = node as *mut pg_sys::CreateExtensionStmt;
                let names_it = CStr::from_ptr((*statement).extname) == NAME
                    && option_string((*statement).options, c"schema") == Some(NAME);
                (names_it && !catalog::has_schema(NAME) && !catalog::has_extension(NAME))
                    .then_some(ExtensionCommand::CreateInMissingSchema)
            }
            pg_sys::NodeTag::T_AlterObjectSchemaStmt => {
                let statement = node as *mut pg_sys::AlterObjectSchemaStmt;
                if (*statement).objectType != pg_sys::ObjectType::OBJECT_EXTENSION {
                    return None;
                }
                let object = (*statement).object as *mut pg_sys::String;
                let is_ours = CStr::from_ptr((*object).sval) == NAME && catalog::has_extension(NAME);
                is_ours.then(|| ExtensionCommand::SetSchema(CStr::from_ptr((*statement).newschema)))
            }
            _ => None,
        }
    }
}
