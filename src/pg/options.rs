//! Options of a command, as its parse tree has them.

use std::ffi::CStr;

use pgrx::pg_sys;

/// A string-valued option of a statement.
///
/// # Safety
/// `options` must be a list of DefElem, or null.
pub(super) unsafe fn option_string<'a>(options: *mut pg_sys::List, wanted: &CStr) -> Option<&'a CStr> {
    // SAFETY: a list of DefElem by the caller's promise; only String values are read as strings.
    unsafe {
        if options.is_null() {
            return None;
        }
        (0..(*options).length).find_map(|i| {
            let element = (*(*options).elements.add(i as usize)).ptr_value as *mut pg_sys::DefElem;
            if CStr::from_ptr((*element).defname) != wanted || (*element).arg.is_null() {
                return None;
            }
            let value = pg_sys::defGetString(element);
            (!value.is_null()).then(|| CStr::from_ptr(value))
        })
    }
}
