//! How long a limit may take shared memory.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// 31 days.
static MAX_LIMIT_PERIOD_S: GucSetting<i32> = GucSetting::<i32>::new(31 * 24 * 3600);

/// The longest period of a rate limit.
pub fn max_limit_period_s() -> i64 {
    i64::from(MAX_LIMIT_PERIOD_S.get())
}

pub fn define(_preloading: bool) {
    GucRegistry::define_int_guc(
        c"counter_ext.max_limit_period",
        c"The longest period of a rate limit.",
        c"A limit takes shared memory, which all databases have in common, for as long as its period.",
        &MAX_LIMIT_PERIOD_S,
        1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
}
