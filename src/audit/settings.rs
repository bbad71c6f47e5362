//! Who the audit log says acts.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::pg::transaction_setting::{self, Described};

/// How long an actor holds that is set without LOCAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
enum Scope {
    /// It is refused, or ends with its transaction: the session's next one may be another client's.
    #[name = c"transaction"]
    Transaction,
    /// To the session's end.
    #[name = c"session"]
    Session,
}

static SCOPE: GucSetting<Scope> = GucSetting::<Scope>::new(Scope::Transaction);
static ACTOR: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

static DESCRIBED: Described = Described {
    name: c"counter_ext.actor",
    short: c"Who the audit log says has incremented a counter.",
    long: c"Empty: the session's user, who is logged in any case. At most 255 bytes. Ends with the transaction that sets it, unless counter_ext.actor_scope is session.",
    refusal: c"parameter \"counter_ext.actor\" holds for one transaction, not for a session",
    hint: c"Use SET LOCAL in the transaction that counts, or name the actor in the call: counter_incr(id, delta, actor => ...).",
    holds_for_session: || SCOPE.get() == Scope::Session,
};

/// A session that loads the library takes even SET LOCAL, if it came before that, for one of the session.
static DESCRIBED_WITHOUT_PRELOAD: Described = Described {
    name: DESCRIBED.name,
    short: DESCRIBED.short,
    long: DESCRIBED.long,
    refusal: DESCRIBED.refusal,
    hint: c"Use SET LOCAL in the transaction that counts, after the session has called a function of counter_ext; or name the actor in the call: counter_incr(id, delta, actor => ...).",
    holds_for_session: DESCRIBED.holds_for_session,
};

/// Who the audit log is told acts; `None` where nobody was named.
pub fn actor() -> Option<Vec<u8>> {
    transaction_setting::end_what_is_not_to_last();
    ACTOR.get().map(CString::into_bytes).filter(|actor| !actor.is_empty())
}

pub fn define(preloading: bool) {
    // Before the actor, whom it lets stay.
    GucRegistry::define_enum_guc(
        c"counter_ext.actor_scope",
        c"Whether SET counter_ext.actor holds for a transaction or for a session.",
        c"session is for clients that keep their connections to themselves: a pooler would hand the actor to the next one.",
        &SCOPE,
        GucContext::Suset,
        GucFlags::default(),
    );
    let described = if preloading { &DESCRIBED } else { &DESCRIBED_WITHOUT_PRELOAD };
    transaction_setting::define(described, &ACTOR);
}
