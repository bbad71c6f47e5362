//! Whether the SQL that a database has of the extension is that of this library.
//!
//! Who has installed a new library and not said ALTER EXTENSION ... UPDATE yet has functions of the old SQL, which pass what those of the old
//! library took, and tables that rows are not written to as here. So whatever counts, reads or declares refuses until then; what only
//! turns a value into another form does not, or no dump could be taken. The other way round, SQL that is newer than the library, is what
//! an update leaves behind where the server has not been restarted.
//!
//! What was found is remembered until something about counter_ext.total changes, which each upgrade script sees to. A call costs a
//! comparison of two numbers.
//!
//! BOUND: a version, as pg_extension has it.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;

use super::catalog::{self, Watch};
use crate::errors::CounterError;
use crate::pg::session::session_local;

/// What this library is the library of.
const VERSION: &str = env!("CARGO_PKG_VERSION");

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    /// The watch's version at which the two were found to be the same.
    static SAME_AT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Raises the error where the SQL is not that of this library: 55000.
#[inline]
pub fn check() {
    if WATCH.with(|watch| SAME_AT.get() == Some(watch.version())) {
        return;
    }
    if let Some(installed) = other_version() {
        CounterError::OtherVersion { installed }.raise();
    }
}

/// Whether the SQL is that of this library; or is not there, which others complain of.
#[inline]
pub fn is_same() -> bool {
    WATCH.with(|watch| SAME_AT.get() == Some(watch.version())) || other_version().is_none()
}

/// The version of the SQL that is installed, where it is not this library's. The extension's own scripts are in between.
#[cold]
pub fn other_version() -> Option<String> {
    const EXTENSION: &CStr = c"counter_ext";
    // Read before the look-up: a change in between makes the next call look again.
    let version = WATCH.with(|watch| watch.version());
    let installed = catalog::extension_version(EXTENSION)?;
    if catalog::is_creating_extension(EXTENSION) {
        return None;
    }
    if installed != VERSION {
        return Some(installed);
    }
    if let Some(total) = catalog::relation(EXTENSION, c"total") {
        WATCH.with(|watch| watch.set(&[total]));
        SAME_AT.set(Some(version));
    }
    None
}

/// A function that SQL of an earlier version names and that of this one does not: refuses.
#[cold]
fn refuse() -> pg_sys::Datum {
    check();
    CounterError::Internal("a function of an earlier version of extension counter_ext was called".to_owned())
        .raise()
}

/// Makes functions that are there for SQL of earlier versions only. Without them PostgreSQL would say that it finds no function in the
/// library, and pg_upgrade could not take such a database over.
macro_rules! gone {
    ($($function:ident, $information:ident;)*) => {
        $(
            // SAFETY: the name is unique to this library. It is called as PostgreSQL calls functions in C, and reads nothing of the call.
            #[pgrx::pg_guard]
            #[unsafe(no_mangle)]
            pub extern "C-unwind" fn $function(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
                refuse()
            }

            // SAFETY: the name is what PostgreSQL looks for beside the function's.
            #[unsafe(no_mangle)]
            pub extern "C" fn $information() -> &'static pg_sys::Pg_finfo_record {
                &pg_sys::Pg_finfo_record { api_version: 1 }
            }
        )*
    };
}

gone! {
    counter_visit_number_text_wrapper, pg_finfo_counter_visit_number_text_wrapper;
    counter_visit_number_wrapper, pg_finfo_counter_visit_number_wrapper;
    discount_likes_wrapper, pg_finfo_discount_likes_wrapper;
}
