//! The PostgreSQL installation under test, and the user its programs run as.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const SERVER_USER: &str = "postgres";
const DEBIAN_PG_CONFIG: &str = "/usr/lib/postgresql/15/bin/pg_config";

/// Where the programs are, and whom to become to run them: initdb and postgres refuse to run as
/// root.
pub struct Installation {
    bindir: PathBuf,
    sharedir: PathBuf,
    pkglibdir: PathBuf,
    become_user: Option<Owner>,
}

#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Installation {
    pub fn get() -> &'static Installation {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        FOUND.get_or_init(Installation::find)
    }

    fn find() -> Installation {
        let pg_config = std::env::var_os("COUNTER_EXT_PG_CONFIG").map(PathBuf::from).unwrap_or_else(|| {
            let debian = Path::new(DEBIAN_PG_CONFIG);
            if debian.exists() { debian.to_owned() } else { PathBuf::from("pg_config") }
        });
        let bindir = printed(Command::new(&pg_config).arg("--bindir")).into();
        let sharedir = printed(Command::new(&pg_config).arg("--sharedir")).into();
        let pkglibdir = printed(Command::new(&pg_config).arg("--pkglibdir")).into();
        let become_user = rustix::process::geteuid().is_root().then(|| Owner {
            uid: number(printed(Command::new("id").args(["-u", SERVER_USER]))),
            gid: number(printed(Command::new("id").args(["-g", SERVER_USER]))),
        });
        Installation { bindir, sharedir, pkglibdir, become_user }
    }

    /// A command for one of PostgreSQL's programs, as a user it accepts, in a directory that user
    /// can enter.
    pub fn command(&self, program: &str, directory: &Path) -> Command {
        let mut command = self.as_server_user(Command::new(self.bindir.join(program)));
        command.current_dir(directory);
        command
    }

    pub fn bindir(&self) -> &Path {
        &self.bindir
    }

    /// Scripts of the extension: of CREATE EXTENSION, and of upgrades.
    pub fn scripts(&self) -> Vec<PathBuf> {
        let directory = self.sharedir.join("extension");
        let entries =
            std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let paths = entries.map(|entry| entry.expect("a directory entry").path());
        paths
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("counter_ext--"))
            })
            .collect()
    }

    /// A command for a program of the system's, as the same user.
    pub fn tool(&self, program: &str) -> Command {
        self.as_server_user(Command::new(program))
    }

    fn as_server_user(&self, mut command: Command) -> Command {
        if let Some(owner) = self.become_user {
            command.uid(owner.uid).gid(owner.gid);
        }
        command
    }

    /// Whether a library lies beside the server's own.
    pub fn has_library(&self, name: &str) -> bool {
        self.pkglibdir.join(format!("{name}.so")).exists()
    }

    /// Whether the server is Debian's or Ubuntu's, where extensions are packages too.
    pub fn is_packaged(&self) -> bool {
        self.bindir.starts_with("/usr/lib/postgresql")
    }

    /// Hands a path to the user the server runs as.
    pub fn give(&self, path: &Path) {
        if let Some(owner) = self.become_user {
            std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))
                .unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
        }
    }
}

fn number(text: String) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// Runs a command to its end; panics with what it wrote when it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn printed(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("program output in UTF-8").trim().to_owned()
}
