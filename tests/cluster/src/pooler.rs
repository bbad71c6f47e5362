//! PgBouncer in front of a server, in transaction mode: many clients share few connections.

use crate::cluster::{Cluster, PORT, new_directory};
use crate::installation::Installation;
use crate::session::Address;
use crate::wait;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The first version that gives each connection the statements that its client has prepared.
const KNOWS_PREPARED_STATEMENTS: (u32, u32) = (1, 21);
const START_LIMIT: Duration = Duration::from_secs(20);

/// A pooler's process; dropping it ends it.
pub struct Pooler {
    process: Child,
    directory: TempDir,
    version: (u32, u32),
}

impl Pooler {
    /// A pooler with so many connections to the server. Where there is no PgBouncer here it says so, past the harness, which shows the
    /// output of failed tests only. `COUNTER_EXT_PGBOUNCER` names another one than the first that is found.
    pub fn start(cluster: &Cluster, connections: usize) -> Option<Pooler> {
        let Some((program, version)) = find() else {
            let line = "\nSKIPPED: there is no pgbouncer here; Debian has the package pgbouncer\n";
            std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
            return None;
        };
        let directory = new_directory();
        let own = directory.path().to_str().expect("path in UTF-8").to_owned();
        let server = cluster.address().socket_directory;
        let mut settings = format!(
            "[databases]\npostgres = host={} port={PORT} dbname=postgres user=postgres\n\
             [pgbouncer]\nlisten_addr =\nlisten_port = {PORT}\nunix_socket_dir = {own}\nlogfile = {own}/log\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 100\n",
            server.display()
        );
        if version >= KNOWS_PREPARED_STATEMENTS {
            settings += "max_prepared_statements = 100\n";
        }
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, settings).expect("write pgbouncer.ini");
        // It refuses to run as root.
        let mut command = Installation::get().tool(&program);
        command.arg(&file).current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pooler = Pooler { process, directory, version };
        wait::until("PgBouncer takes connections", START_LIMIT, || pooler.address().try_connect().is_ok());
        Some(pooler)
    }

    pub fn address(&self) -> Address {
        Address { socket_directory: self.directory.path().to_owned(), database: "postgres".to_owned() }
    }

    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Whether a client can use what it has prepared by name in whatever transaction.
    pub fn knows_prepared_statements(&self) -> bool {
        self.version >= KNOWS_PREPARED_STATEMENTS
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            eprintln!("--- PgBouncer's log ---\n{log}\n---");
        }
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program and its version.
fn find() -> Option<(String, (u32, u32))> {
    let named = std::env::var("COUNTER_EXT_PGBOUNCER").ok();
    let usual = ["pgbouncer", "/usr/sbin/pgbouncer"].map(str::to_owned);
    named.into_iter().chain(usual).find_map(|program| {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // PgBouncer 1.18.0
        let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
        let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        // Another working directory is no place to look for it.
        let program = fs::canonicalize(&program).map_or(program, |path: PathBuf| path.display().to_string());
        Some((program, version))
    })
}
