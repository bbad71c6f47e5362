//! How long a limit may take shared memory, and which IPv6 addresses are one client.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

/// 31 days.
static MAX_LIMIT_PERIOD_S: GucSetting<i32> = GucSetting::<i32>::new(31 * 24 * 3600);

static IPV6_PREFIX: GucSetting<i32> = GucSetting::<i32>::new(64);

/// How many bits of an IPv6 address tell one client from another.
pub fn ipv6_prefix() -> u32 {
    IPV6_PREFIX.get().unsigned_abs()
}

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
    GucRegistry::define_int_guc(
        c"counter_ext.ipv6_prefix",
        c"The bits of an IPv6 address by which limits tell one client from another.",
        c"Most clients have a network of 64 bits at least, and take another address of it as they like.",
        &IPV6_PREFIX,
        1,
        128,
        GucContext::Suset,
        GucFlags::default(),
    );
}
