//! Who the audit log says acts.

use std::ffi::CString;

use pgrx::GucSetting;

use crate::pg::transaction_setting::{self, Described};

static ACTOR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

static DESCRIBED: Described = Described {
    name: c"counter_ext.actor",
    short: c"Who the audit log says has incremented a counter.",
    long: c"Empty: the session's user, who is logged in any case. At most 255 bytes. Ends with the transaction that sets it.",
    refusal: c"parameter \"counter_ext.actor\" holds for one transaction, not for a session",
    hint: c"Use SET LOCAL in the transaction that counts, or name the actor in the call: counter_incr(id, delta, actor => ...).",
};

/// A session that loads the library takes even SET LOCAL, if it came before that, for one of the session.
static DESCRIBED_WITHOUT_PRELOAD: Described = Described {
    name: DESCRIBED.name,
    short: DESCRIBED.short,
    long: DESCRIBED.long,
    refusal: DESCRIBED.refusal,
    hint: c"Use SET LOCAL in the transaction that counts, after the session has called a function of counter_ext; or name the actor in the call: counter_incr(id, delta, actor => ...).",
};

/// Who the audit log is told acts; `None` where nobody was named.
pub fn actor() -> Option<Vec<u8>> {
    ACTOR.get().map(CString::into_bytes).filter(|actor| !actor.is_empty())
}

pub fn define(preloading: bool) {
    let described = if preloading { &DESCRIBED } else { &DESCRIBED_WITHOUT_PRELOAD };
    transaction_setting::define(described, &ACTOR);
}
