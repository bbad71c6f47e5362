//! How long what has counted once is remembered.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static TOKEN_RETENTION_S: GucSetting<i32> = GucSetting::<i32>::new(7 * 24 * 3600);

/// How long a token is remembered.
pub fn token_retention_s() -> i64 {
    i64::from(TOKEN_RETENTION_S.get())
}

pub fn define(_preloading: bool) {
    GucRegistry::define_int_guc(
        c"counter_ext.token_retention",
        c"How long counter_incr_once remembers a token.",
        c"A replay that comes later counts again. The worker forgets older tokens.",
        &TOKEN_RETENTION_S,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}
