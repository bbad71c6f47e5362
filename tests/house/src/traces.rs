//! Traces of the machine a file was written on: registry hosts, absolute paths.

use crate::repository::TextFile;

/// In two parts each, so that this list is not a finding itself.
const HOSTS: [(&str, &str); 18] = [
    ("crates", ".io"),
    ("static.rust-lang", ".org"),
    ("sh.rustup", ".rs"),
    ("pypi", ".org"),
    ("pythonhosted", ".org"),
    ("registry.npmjs", ".org"),
    ("registry.yarnpkg", ".com"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("snapshot.debian", ".org"),
    ("archive.ubuntu", ".com"),
    ("security.ubuntu", ".com"),
    ("apt.postgresql", ".org"),
    ("docker", ".io"),
    ("ghcr", ".io"),
    ("quay", ".io"),
    ("rubygems", ".org"),
    ("proxy.golang", ".org"),
];

const MACHINE_DIRECTORIES: [&str; 3] = ["root", "work", "home"];

/// Where cargo looks instead of the public registry.
const REDIRECTIONS: [&str; 4] = ["[source.", "[registries", "replace-with", "index ="];

/// What in `file` tells where it was written.
pub fn violations(file: &TextFile) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.path, number + 1);
        if let Some(host) = registry_host(file, line) {
            found.push(format!("{place}: names the registry {host}"));
        }
        if let Some(directory) = MACHINE_DIRECTORIES.iter().find(|d| has_absolute_path(line, d)) {
            found.push(format!("{place}: a path below the root directory's {directory}"));
        }
        if is_cargo_configuration(&file.path) && REDIRECTIONS.iter().any(|r| line.contains(r)) {
            found.push(format!("{place}: sends cargo to another registry"));
        }
    }
    found
}

fn is_cargo_configuration(path: &str) -> bool {
    path.contains(".cargo/config")
}

fn registry_host(file: &TextFile, line: &str) -> Option<String> {
    let lock_file = file.path.ends_with("Cargo.lock");
    if lock_file && line == public_index() {
        return None;
    }
    if lock_file && line.starts_with("source = ") {
        return Some(line.to_owned());
    }
    let hosts = HOSTS.iter().map(|(name, domain)| format!("{name}{domain}"));
    hosts.into_iter().find(|host| contains_host(line, host))
}

/// Cargo's name for the public registry, whatever mirror served it.
fn public_index() -> String {
    let (name, domain) = HOSTS[0];
    format!("source = \"registry+https://github.com/rust-lang/{name}{domain}-index\"")
}

fn contains_host(line: &str, host: &str) -> bool {
    line.match_indices(host).any(|(at, _)| !line[..at].ends_with(is_word))
}

/// Whether `/directory` stands in `line` as the start of a path, not inside one.
fn has_absolute_path(line: &str, directory: &str) -> bool {
    let path = format!("/{directory}");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        !before.is_some_and(|c| is_word(c) || ".~/}$*)>".contains(c))
            && !after.is_some_and(|c| is_word(c) || c == '-')
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
