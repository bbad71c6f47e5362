//! Projects of other people's tools (Alembic, Rails, …) that work on a throwaway server: the files in `migrations/`, and beside them
//! what docs/clients.md tells its readers to write.

use crate::Cluster;
use crate::installation::run;
use crate::pages;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An application's directory, and the database that it works on.
pub struct Project<'a> {
    cluster: &'a Cluster,
    directory: PathBuf,
    database: String,
}

impl<'a> Project<'a> {
    /// A copy of `migrations/<kind>`, removed with the cluster.
    pub fn copy(kind: &str, cluster: &'a Cluster, database: &str) -> Project<'a> {
        let directory = PathBuf::from(cluster.file(&format!("{kind}-{database}")));
        copy_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind), &directory);
        Project { cluster, directory, database: database.to_owned() }
    }

    /// The same files for another database.
    pub fn on(&self, database: &str) -> Project<'a> {
        Project { directory: self.directory.clone(), database: database.to_owned(), ..*self }
    }

    /// The program in this directory, with the database as its default.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.cluster.foreign_tool(program, &self.database);
        command.current_dir(&self.directory);
        command
    }

    /// What the program writes to both outputs; panics when it fails.
    pub fn run(&self, command: &mut Command) -> String {
        let output = run(command);
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    pub fn read(&self, file: &str) -> String {
        let path = self.path(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Directories on the way are made.
    pub fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().expect("a file in a directory")).expect("make a directory");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a directory");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("a directory entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_files(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
        }
    }
}

/// The code blocks below a heading of docs/clients.md, up to the next heading.
pub fn documented(heading: &str) -> Vec<String> {
    let page = pages::text("docs/clients.md");
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines().skip_while(|&line| line != heading).skip(1) {
        match &mut block {
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(text) => *text += &format!("{line}\n"),
            None if line.starts_with("```") => block = Some(String::new()),
            None if line.starts_with('#') => break,
            None => (),
        }
    }
    assert!(!blocks.is_empty(), "docs/clients.md has no code below {heading:?}");
    blocks
}

/// The interpreter that has all that `check` asks for: the one that is found first, or Debian's, where its packages are.
/// Without one says so, past the harness, which shows the output of failed tests only.
pub fn interpreter(name: &str, check: &[&str], packages: &str) -> Option<String> {
    let candidates = [name.to_owned(), format!("/usr/bin/{name}")];
    let found = candidates.into_iter().find(|candidate| {
        Command::new(candidate).args(check).output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        let line = format!("\nSKIPPED: no {name} here can run {}; Debian has {packages}\n", check.join(" "));
        std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
    }
    found
}
