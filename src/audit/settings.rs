//! Who the audit log says acts.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static ACTOR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Who the audit log is told acts; `None` where nobody was named.
pub fn actor() -> Option<Vec<u8>> {
    ACTOR.get().map(CString::into_bytes).filter(|actor| !actor.is_empty())
}

pub fn define(_preloading: bool) {
    GucRegistry::define_string_guc(
        c"counter_ext.actor",
        c"Who the audit log says has incremented a counter.",
        c"Empty: the session's user, who is logged in any case. At most 255 bytes.",
        &ACTOR,
        GucContext::Userset,
        GucFlags::default(),
    );
}
