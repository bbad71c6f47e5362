//! The extension's settings (GUCs). The prefix `counter_ext` is reserved.

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::pg::process;

/// How pending deltas are written at commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PostgresGucEnum)]
pub enum Mode {
    /// To slot rows.
    #[name = c"slotted"]
    Slotted,
    /// To shared memory, with a record in the WAL.
    #[name = c"buffered"]
    Buffered,
}

static MODE: GucSetting<Mode> = GucSetting::<Mode>::new(Mode::Slotted);
static SLOTS: GucSetting<i32> = GucSetting::<i32>::new(64);
static COMPACT_INTERVAL_MS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static MAX_DATABASES: GucSetting<i32> = GucSetting::<i32>::new(64);
static MAX_COUNTERS: GucSetting<i32> = GucSetting::<i32>::new(AUTOMATIC);
static MAX_SKETCHES: GucSetting<i32> = GucSetting::<i32>::new(AUTOMATIC);
static MAX_LIMITS: GucSetting<i32> = GucSetting::<i32>::new(AUTOMATIC);
static NODE: GucSetting<i32> = GucSetting::<i32>::new(0);
static SERVE: GucSetting<bool> = GucSetting::<bool>::new(true);
static DEBUG_COMMIT_WINDOW_MS: GucSetting<i32> = GucSetting::<i32>::new(0);
static DEBUG_LOAD_WINDOW_MS: GucSetting<i32> = GucSetting::<i32>::new(0);
static DEBUG_FOLD_WINDOW_MS: GucSetting<i32> = GucSetting::<i32>::new(0);
static DEBUG_RECOVERY_WINDOW_MS: GucSetting<i32> = GucSetting::<i32>::new(0);

/// A bound that scales with `shared_buffers`.
const AUTOMATIC: i32 = -1;

/// How many entries a tenant of shared memory may have.
struct Bounds {
    least: i32,
    most: i32,
    /// Bytes of `shared_buffers` for each of an automatic bound.
    buffers_for_one: u64,
}

const COUNTERS: Bounds = Bounds { least: 16, most: 16_777_216, buffers_for_one: 1 << 10 };
const SKETCHES: Bounds = Bounds { least: 32, most: 1_048_576, buffers_for_one: 4 << 10 };
const LIMITS: Bounds = Bounds { least: 64, most: MOST_LIMITS, buffers_for_one: 128 };

/// The highest bound of limits.
pub const MOST_LIMITS: i32 = 16_777_216;

impl Bounds {
    fn resolve(&self, setting: i32, shared_buffers_bytes: u64) -> usize {
        let wanted = match setting {
            AUTOMATIC => i32::try_from(counted_buffers(shared_buffers_bytes) / self.buffers_for_one)
                .unwrap_or(i32::MAX),
            wanted => wanted,
        };
        wanted.clamp(self.least, self.most) as usize
    }
}

/// A server with much memory gives less of it to us: past what is common, a sixteenth counts.
fn counted_buffers(bytes: u64) -> u64 {
    const COMMON: u64 = 128 << 20;
    bytes.min(COMMON) + bytes.saturating_sub(COMMON) / 16
}

/// How pending deltas are written at commit.
pub fn mode() -> Mode {
    MODE.get()
}

/// Most slot rows a counter may grow to.
pub fn slots() -> usize {
    SLOTS.get().max(1) as usize
}

/// How often the worker compacts.
pub fn compact_interval_ms() -> u64 {
    COMPACT_INTERVAL_MS.get() as u64
}

/// Databases that shared memory has a cell for.
pub fn max_databases() -> usize {
    MAX_DATABASES.get() as usize
}

/// Counters held in shared memory at once.
pub fn max_counters() -> usize {
    COUNTERS.resolve(MAX_COUNTERS.get(), process::shared_buffers_bytes())
}

/// Sketches of visitors held in shared memory at once.
pub fn max_sketches() -> usize {
    SKETCHES.resolve(MAX_SKETCHES.get(), process::shared_buffers_bytes())
}

/// Windows of rate limits held in shared memory at once.
pub fn max_limits() -> usize {
    LIMITS.resolve(MAX_LIMITS.get(), process::shared_buffers_bytes())
}

/// This node's number in a multi-node set-up.
pub fn node() -> i32 {
    NODE.get()
}

/// Whether this server counts and reads at all.
pub fn serves() -> bool {
    SERVE.get()
}

/// For tests: stretches the time between a commit's becoming visible and its entering shared memory. Called in COMMIT callbacks
/// at that moment; cannot fail.
pub fn stretch_commit_window() {
    let window_ms = DEBUG_COMMIT_WINDOW_MS.get() as u64;
    if window_ms > 0 {
        process::sleep_whole_ms(window_ms, || ());
    }
}

/// For tests: stretches the time between a loader's snapshot and its reading rows.
pub fn debug_load_window_ms() -> u64 {
    DEBUG_LOAD_WINDOW_MS.get() as u64
}

/// For tests: stretches the time between a fold's becoming visible in rows and memory's learning of it.
pub fn debug_fold_window_ms() -> u64 {
    DEBUG_FOLD_WINDOW_MS.get() as u64
}

/// For tests: stops the worker's recovery before it begins.
pub fn debug_recovery_window_ms() -> u64 {
    DEBUG_RECOVERY_WINDOW_MS.get() as u64
}

/// Defines the settings. `max_counters` exists only where it can act: while libraries are preloaded.
pub fn define(preloading: bool) {
    GucRegistry::define_enum_guc(
        c"counter_ext.mode",
        c"How increments are written when their transaction commits.",
        c"slotted: to rows. buffered: to shared memory and a journal.",
        &MODE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"counter_ext.slots",
        c"Most slot rows a counter may grow to.",
        c"A cold counter has one row; writers that meet add more, up to this number.",
        &SLOTS,
        1,
        1024,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"counter_ext.compact_interval",
        c"How often the worker folds slot rows into totals.",
        c"Reads are exact whatever the interval is.",
        &COMPACT_INTERVAL_MS,
        10,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    if preloading {
        GucRegistry::define_int_guc(
            c"counter_ext.max_databases",
            c"Databases that have statistics, and can use buffered mode, at once.",
            c"Others lose nothing; one that is idle makes room for one that counts. Each takes about 4 kB.",
            &MAX_DATABASES,
            1,
            100_000,
            GucContext::Postmaster,
            GucFlags::default(),
        );
        GucRegistry::define_int_guc(
            c"counter_ext.max_counters",
            c"Counters held in shared memory at once.",
            c"Colder ones are served from rows. Each takes about 160 bytes. -1: as shared_buffers allow, 131072 at 128 MB; 16 at least.",
            &MAX_COUNTERS,
            AUTOMATIC,
            COUNTERS.most,
            GucContext::Postmaster,
            GucFlags::default(),
        );
        GucRegistry::define_int_guc(
            c"counter_ext.max_sketches",
            c"Sketches of visitors held in shared memory at once.",
            c"An id that is visited has two, of the day and of ever; colder ones are served from rows. Each takes about 400 bytes of memory, and 16 kB where it has a thousand visitors, as 512 of them can. -1: as shared_buffers allow, 32768 at 128 MB; 32 at least.",
            &MAX_SKETCHES,
            AUTOMATIC,
            SKETCHES.most,
            GucContext::Postmaster,
            GucFlags::default(),
        );
        GucRegistry::define_int_guc(
            c"counter_ext.max_limits",
            c"Windows of rate limits, and minimum intervals, held in shared memory at once.",
            c"A key of counter_allow has one while its period lasts. So many are for one database; others find a sixteenth more. Each takes about 45 bytes, and more where several instants are remembered. -1: as shared_buffers allow, 1048576 at 128 MB; 64 at least.",
            &MAX_LIMITS,
            AUTOMATIC,
            LIMITS.most,
            GucContext::Postmaster,
            GucFlags::default(),
        );
    }
    GucRegistry::define_int_guc(
        c"counter_ext.node",
        c"This node's number in a multi-node set-up.",
        c"Each node writes only its own rows of counter_ext.total.",
        &NODE,
        0,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"counter_ext.serve",
        c"Whether this server counts and reads counters.",
        c"off on a coordinator whose counters are on other nodes: a call that is not sent on fails, rather than count where nobody looks.",
        &SERVE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"counter_ext.debug_commit_window_ms",
        c"Developer option: delays entering committed increments into shared memory.",
        c"Stretches a window of microseconds so that tests can look into it.",
        &DEBUG_COMMIT_WINDOW_MS,
        0,
        60_000,
        GucContext::Suset,
        GucFlags::UNIT_MS | GucFlags::NO_SHOW_ALL,
    );
    GucRegistry::define_int_guc(
        c"counter_ext.debug_load_window_ms",
        c"Developer option: delays a loader between its snapshot and its reading rows.",
        c"Stretches a window of microseconds so that tests can look into it.",
        &DEBUG_LOAD_WINDOW_MS,
        0,
        60_000,
        GucContext::Suset,
        GucFlags::UNIT_MS | GucFlags::NO_SHOW_ALL,
    );
    GucRegistry::define_int_guc(
        c"counter_ext.debug_fold_window_ms",
        c"Developer option: delays the worker between a fold's commit and telling shared memory.",
        c"Stretches a window of microseconds so that tests can look into it.",
        &DEBUG_FOLD_WINDOW_MS,
        0,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS | GucFlags::NO_SHOW_ALL,
    );
    GucRegistry::define_int_guc(
        c"counter_ext.debug_recovery_window_ms",
        c"Developer option: delays the worker's recovery of buffered increments.",
        c"Stretches a window of milliseconds so that tests can look into it.",
        &DEBUG_RECOVERY_WINDOW_MS,
        0,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS | GucFlags::NO_SHOW_ALL,
    );
}

/// Refuses settings that nobody has defined, so that a misspelt one is an error. Called once all are.
pub fn close() {
    crate::pg::hooks::reserve_setting_prefix(c"counter_ext");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn automatic_bounds_scale_with_shared_buffers() {
        let at = |bytes| [&COUNTERS, &SKETCHES, &LIMITS].map(|bounds| bounds.resolve(AUTOMATIC, bytes));
        assert_eq!(at(128 * MIB), [131_072, 32_768, 1_048_576]);
        assert_eq!(at(16 * MIB), [16_384, 4096, 131_072]);
        assert_eq!(at(128 << 10), [128, 32, 1024]);
        assert_eq!(at(8192 * MIB), [647_168, 161_792, 5_177_344]);
        assert_eq!(at(1 << 50), [16_777_216, 1_048_576, 16_777_216]);
    }

    #[test]
    fn a_bound_that_is_set_holds_and_is_not_too_small_to_work() {
        assert_eq!([0, 15, 16, 500].map(|setting| COUNTERS.resolve(setting, MIB)), [16, 16, 16, 500]);
    }
}
