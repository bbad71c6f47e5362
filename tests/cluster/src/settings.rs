//! What a test's server is configured with.

/// Settings every test starts from. Deadlines are there so that no statement can hang a test for
/// ever.
const COMMON: &[(&str, &str)] = &[
    ("listen_addresses", "''"),
    ("max_connections", "80"),
    ("shared_buffers", "64MB"),
    ("max_worker_processes", "16"),
    ("max_prepared_transactions", "64"),
    // A crash of processes loses nothing that was written; only a crash of the machine needs fsync.
    ("fsync", "off"),
    ("statement_timeout", "60s"),
    // The only one of the two that also ends a wait at commit.
    ("lock_timeout", "30s"),
    // A wait for another transaction shows in the log soon: see `log::FORBIDDEN`.
    ("log_lock_waits", "on"),
    ("deadlock_timeout", "200ms"),
    ("log_line_prefix", "'%m [%p] %b %q%d '"),
];

/// `postgresql.conf` of a throwaway server, and whether it has the extension in database
/// `postgres`.
#[derive(Clone)]
pub struct Settings {
    lines: Vec<(String, String)>,
    pub(crate) create_extension: bool,
    pub(crate) data_on_small_disk: bool,
}

impl Settings {
    /// The library is not in `shared_preload_libraries`: no worker, no shared memory.
    pub fn without_preload() -> Settings {
        Settings { lines: Vec::new(), create_extension: true, data_on_small_disk: false }
    }

    pub fn preloaded() -> Settings {
        Settings::without_preload().with("shared_preload_libraries", "'counter_ext'")
    }

    /// Much compaction and eviction: what hides mistakes least.
    pub fn restless() -> Settings {
        Settings::preloaded()
            .with("counter_ext.compact_interval", "50ms")
            .with("counter_ext.max_counters", "16")
    }

    /// The worker runs, but compacts only when asked to: for tests that look at slot rows.
    pub fn compacted_by_hand() -> Settings {
        Settings::preloaded().with("counter_ext.compact_interval", "1h")
    }

    /// `value` as it stands in `postgresql.conf`; the last of two settings of one name holds.
    pub fn with(mut self, name: &str, value: &str) -> Settings {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    /// For a server that gets the extension from a restored dump.
    pub fn without_extension(mut self) -> Settings {
        self.create_extension = false;
        self
    }

    /// The data directory, but not the WAL, on a file system of a few megabytes that the test can
    /// fill.
    pub fn with_data_on_small_disk(mut self) -> Settings {
        self.data_on_small_disk = true;
        self
    }

    pub(crate) fn file(&self) -> String {
        let common = COMMON.iter().map(|(name, value)| format!("{name} = {value}\n"));
        common.chain(self.lines.iter().map(|(name, value)| format!("{name} = {value}\n"))).collect()
    }
}
