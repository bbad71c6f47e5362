//! A throwaway PostgreSQL server in a temporary directory: start, stop, kill, restart, standby.
//!
//! It listens on a Unix socket in its own directory only, so that no port is taken and no system
//! cluster touched. Dropping it, also in a panic, stops the server and removes the directory; a
//! panic prints the log's end first.

use crate::installation::{Installation, run};
use crate::log::{ServerLog, WORKERS};
use crate::processes::{children, halt, is_running, signal, title};
use crate::session::{Address, Session};
use crate::settings::Settings;
use crate::wait;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Only names the socket: nothing listens on TCP.
pub(crate) const PORT: u16 = 5432;

const START_LIMIT: Duration = Duration::from_secs(60);
/// Our workers hold up no shutdown.
const WORKERS_END_LIMIT: Duration = Duration::from_secs(10);
/// What PostgreSQL itself does in a shutdown, a checkpoint above all, is as slow as the machine.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// A test whose server lives longer than this hangs, unless the load is stretched: no test has as many
/// load phases as `MOST_LOADS`. Killing the server ends it.
const LIFE_LIMIT: Duration = Duration::from_secs(300);
const MOST_LOADS: u32 = 10;

pub struct Cluster {
    // Field order is drop order: the directory goes last.
    postmaster: Option<Child>,
    watchdog: Watchdog,
    log: ServerLog,
    small_disk: Option<SmallDisk>,
    directory: TempDir,
}

/// Kinds of end that a server can meet without being asked politely.
#[derive(Clone, Copy, Debug)]
pub enum Death {
    /// kill -9 of the postmaster alone; its children notice and go.
    Postmaster,
    /// kill -9 of every process at once: what remains is what a machine that lost its power would
    /// have written.
    Everything,
    /// pg_ctl stop -m immediate.
    Immediate,
}

impl Cluster {
    pub fn start(settings: Settings) -> Cluster {
        let directory = new_directory();
        let small_disk =
            settings.data_on_small_disk.then(|| SmallDisk::mount(&directory.path().join("data")));
        let mut cluster = Cluster::at(directory, small_disk);
        let mut initdb = cluster.command("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale"]);
        if cluster.small_disk.is_some() {
            initdb.arg("--waldir").arg(cluster.path().join("wal"));
        }
        run(initdb.arg("--pgdata").arg(cluster.data()));
        cluster.configure(&settings);
        cluster.start_again();
        if settings.create_extension {
            cluster.connect().must("CREATE EXTENSION counter_ext");
        }
        cluster
    }

    /// A streaming standby of this server, caught up to where it is now.
    pub fn standby(&self) -> Cluster {
        let mut standby = Cluster::at(new_directory(), None);
        let data = standby.data();
        run(self
            .command("pg_basebackup")
            .args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"])
            .arg(data));
        standby.start_again();
        standby
    }

    /// A base backup of this server as it was taken, not started yet.
    pub fn base_backup(&self) -> Cluster {
        let backup = Cluster::at(new_directory(), None);
        run(self
            .command("pg_basebackup")
            .args(["-X", "stream", "-c", "fast", "--no-sync", "-D"])
            .arg(backup.data()));
        backup
    }

    /// Makes a server that is down a standby of a running one that was promoted from it, or beside it: pg_rewind takes back what it
    /// alone has. It is started after that.
    pub fn rewind(&mut self, promoted: &Cluster) {
        let source = format!("host={} port={PORT} user=postgres dbname=postgres", promoted.path().display());
        run(self
            .command("pg_rewind")
            .args(["--no-sync", "--write-recovery-conf", "--source-server", &source, "--target-pgdata"])
            .arg(self.data()));
        self.start_again();
    }

    /// Has the server that is not started yet recover from an archive: to its end, or to a named restore point; then it opens.
    pub fn recover_from(&self, archive: &str, target: Option<&str>, hot_standby: bool) {
        let mut lines = format!(
            "restore_command = 'cp {archive}/%f %p'\nhot_standby = {}\narchive_mode = off\n",
            if hot_standby { "on" } else { "off" }
        );
        if let Some(name) = target {
            lines += &format!("recovery_target_name = '{name}'\nrecovery_target_action = 'promote'\n");
        }
        let file = self.data().join("postgresql.auto.conf");
        let before = fs::read_to_string(&file).unwrap_or_default();
        fs::write(file, before + &lines).expect("write postgresql.auto.conf");
        fs::write(self.data().join("recovery.signal"), "").expect("write recovery.signal");
        Installation::get().give(&self.data().join("recovery.signal"));
    }

    /// A directory for archived WAL, removed with the cluster.
    pub fn archive(&self) -> String {
        let archive = self.file("archive");
        fs::create_dir_all(&archive).expect("a directory for the archive");
        Installation::get().give(Path::new(&archive));
        archive
    }

    /// Other settings, for the next start.
    pub fn configure(&self, settings: &Settings) {
        fs::write(self.data().join("postgresql.conf"), settings.file()).expect("write postgresql.conf");
    }

    fn at(directory: TempDir, small_disk: Option<SmallDisk>) -> Cluster {
        let log = ServerLog::new(directory.path().join("server.log"));
        Cluster { postmaster: None, watchdog: Watchdog::start(), log, small_disk, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// One of PostgreSQL's programs, with this server as its default.
    fn command(&self, program: &str) -> Command {
        let mut command = Installation::get().command(program, self.path());
        command.env("PGHOST", self.path()).env("PGPORT", PORT.to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        command
    }

    /// Runs a client program against this server; panics when it fails.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Output {
        run(self.command(program).args(arguments))
    }

    /// Somebody else's program, run by who runs the test: libpq's defaults, and the server's own client programs.
    pub(crate) fn foreign_tool(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let bindir = Installation::get().bindir().to_owned();
        let path = std::env::join_paths([bindir].into_iter().chain(std::env::split_paths(&path)));
        command.env("PATH", path.expect("directories without a colon")).env_remove("DATABASE_URL");
        command.env("PGHOST", self.path()).env("PGPORT", PORT.to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", database).stdin(Stdio::null());
        command
    }

    /// A file for client programs to write to, removed with the cluster.
    pub fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().expect("path in UTF-8").to_owned()
    }

    pub fn address(&self) -> Address {
        Address { socket_directory: self.path().to_owned(), database: "postgres".to_owned() }
    }

    pub fn connect(&self) -> Session {
        self.address().connect()
    }

    pub fn connect_to(&self, database: &str) -> Session {
        self.address().database(database).connect()
    }

    /// A session whose increments go the given way.
    pub fn connect_with_mode(&self, mode: &str) -> Session {
        self.address().connect_with(&format!("SET counter_ext.mode = '{mode}'"))
    }

    /// Starts the stopped or dead server and waits until it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.postmaster.is_none(), "the server runs already");
        let mut command = self.command("postgres");
        // What a server in the field may have: nothing of it may reach a client.
        command.env("RUST_BACKTRACE", "1");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.path()).arg("-p").arg(PORT.to_string());
        command.stdout(self.log.append()).stderr(self.log.append());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.watchdog.watch(pid_of(&child));
        self.postmaster = Some(child);
        self.wait_until_it_answers();
    }

    /// After a crash of a child the same postmaster recovers; after a start a new one.
    pub fn wait_until_it_answers(&mut self) {
        let address = self.address();
        let postmaster = self.postmaster.as_mut().expect("a started server");
        wait::until("the server takes connections", START_LIMIT, || {
            let ended = postmaster.try_wait().expect("wait for the postmaster");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            address.try_connect().is_ok()
        });
    }

    /// Fast shutdown, in bounded time: no worker may hold it up.
    pub fn stop(&mut self) {
        let postmaster = self.postmaster_pid();
        wait::in_time("fast shutdown", STOP_LIMIT, || {
            signal(postmaster, Signal::INT);
            let is_ours = |&pid: &i32| WORKERS.iter().any(|worker| title(pid).contains(worker));
            wait::until("the extension's workers end in a shutdown", WORKERS_END_LIMIT, || {
                !children(postmaster).iter().any(is_ours)
            });
            self.end(Signal::INT);
        });
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// The same data under other settings.
    pub fn restart_with(&mut self, settings: &Settings) {
        self.stop();
        self.configure(settings);
        self.start_again();
    }

    /// Ends a test that went well: the server must still stop, and its log must be free of what
    /// `log` forbids.
    pub fn finish(self) {
        self.finish_allowing(&[]);
    }

    /// As `finish`, for tests that cause such lines on purpose.
    pub fn finish_allowing(mut self, words: &[&str]) {
        self.stop();
        self.log.assert_clean(words);
    }

    /// As `finish`, for tests whose subject is what the log says.
    pub fn finish_expecting(mut self, words: &[&str]) {
        self.stop();
        self.log.assert_contains(words);
        self.log.assert_clean(words);
    }

    /// As `finish`, where no line of the log may have these words either.
    pub fn finish_without(mut self, words: &str) {
        self.stop();
        self.log.assert_lacks(words);
        self.log.assert_clean(&[]);
    }

    /// kill -9 and its relatives; the server is down after that.
    pub fn die(&mut self, death: Death) {
        let postmaster = self.postmaster_pid();
        match death {
            Death::Immediate => self.end(Signal::QUIT),
            Death::Postmaster => {
                // Stopped first, so that nobody is born after they were counted.
                halt(postmaster);
                let orphans = children(postmaster);
                self.end(Signal::KILL);
                // The next start is refused while one of them still has the shared memory.
                wait::until("the postmaster's children notice that it is gone", START_LIMIT, || {
                    !orphans.iter().any(|&pid| is_running(pid))
                });
            }
            Death::Everything => {
                // Stopped first, so that it neither starts nor warns anyone while we go through its
                // children.
                halt(postmaster);
                let victims = children(postmaster);
                victims.iter().for_each(|&pid| signal(pid, Signal::KILL));
                self.end(Signal::KILL);
                wait::until("killed processes are gone", START_LIMIT, || {
                    !victims.iter().any(|&pid| is_running(pid))
                });
            }
        }
    }

    /// kill -9 of one process, and a wait until the server noticed it; each within a time.
    pub fn kill_one(&self, within: Duration, find: impl Fn(&mut Session) -> Option<i32>) {
        let mut session = self.connect();
        let victim = wait::for_some("a process to kill", within, || find(&mut session));
        signal(victim, Signal::KILL);
        // Every session ends in the crash of one; ours too.
        wait::until("the server restarts its processes", within, || session.run("SELECT 1").is_err());
    }

    fn postmaster_pid(&self) -> i32 {
        pid_of(self.postmaster.as_ref().expect("a started server"))
    }

    fn end(&mut self, how: Signal) {
        signal(self.postmaster_pid(), how);
        let mut child = self.postmaster.take().expect("a started server");
        child.wait().expect("wait for the postmaster");
        self.watchdog.rest();
    }

    /// The file system of `Settings::with_data_on_small_disk`.
    pub fn small_disk(&self) -> &SmallDisk {
        self.small_disk.as_ref().expect("a cluster on a small disk")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- end of the server's log ---\n{}\n---", self.log.tail());
        }
        if self.postmaster.is_some() {
            // Immediate rather than kill -9: it also removes the System V shared memory segment.
            self.end(Signal::QUIT);
        }
    }
}

fn pid_of(child: &Child) -> i32 {
    child.id().try_into().expect("process ids fit an i32")
}

pub(crate) fn new_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("counter_ext-").tempdir().expect("a temporary directory");
    Installation::get().give(directory.path());
    directory
}

/// Kills a server that outlives `LIFE_LIMIT`, so that its clients get errors and the test ends.
struct Watchdog {
    postmaster: Arc<AtomicI32>,
    _ends_with_the_cluster: mpsc::Sender<()>,
}

const NOBODY: i32 = 0;

impl Watchdog {
    fn start() -> Watchdog {
        let postmaster = Arc::new(AtomicI32::new(NOBODY));
        let (sender, receiver) = mpsc::channel::<()>();
        let watched = Arc::clone(&postmaster);
        let limit = LIFE_LIMIT + MOST_LOADS * wait::load_time(0.0);
        thread::spawn(move || {
            if receiver.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                let pid = watched.load(SeqCst);
                if pid != NOBODY {
                    eprintln!("the test hangs: killing its server after {limit:?}");
                    children(pid).into_iter().chain([pid]).for_each(|pid| signal(pid, Signal::KILL));
                }
            }
        });
        Watchdog { postmaster, _ends_with_the_cluster: sender }
    }

    fn watch(&self, pid: i32) {
        self.postmaster.store(pid, SeqCst);
    }

    fn rest(&self) {
        self.postmaster.store(NOBODY, SeqCst);
    }
}

/// A tmpfs that can be filled up.
pub struct SmallDisk {
    mounted_at: PathBuf,
}

const SMALL_DISK_SIZE: &str = "size=96m";

impl SmallDisk {
    /// Whether we may mount one here; prints why not.
    pub fn is_possible() -> bool {
        let directory = new_directory();
        match SmallDisk::try_mount(directory.path()) {
            Ok(_unmounted_on_drop) => true,
            Err(reason) => {
                println!("skipped: no tmpfs can be mounted here: {reason}");
                false
            }
        }
    }

    fn mount(at: &Path) -> SmallDisk {
        fs::create_dir(at).expect("a mount point");
        let disk = SmallDisk::try_mount(at).unwrap_or_else(|reason| panic!("mount tmpfs: {reason}"));
        Installation::get().give(at);
        fs::set_permissions(at, fs::Permissions::from_mode(0o700))
            .expect("permissions of the data directory");
        disk
    }

    fn try_mount(at: &Path) -> Result<SmallDisk, String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SMALL_DISK_SIZE, "tmpfs"]).arg(at);
        let output = mount.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(SmallDisk { mounted_at: at.to_owned() })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).expect("a ballast file");
        let block = [0x5a; 8192];
        while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
    }

    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("remove the ballast file");
    }

    fn ballast(&self) -> PathBuf {
        self.mounted_at.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = Command::new("umount").arg(&self.mounted_at).status() {
            eprintln!("umount {}: {error}", self.mounted_at.display());
        }
    }
}
