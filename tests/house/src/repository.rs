//! The files of the repository, without those that git ignores.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file: its path from the repository's root, with `/`, and what is in it.
pub struct TextFile {
    pub path: String,
    pub text: String,
}

/// The root of the workspace this crate is a member of.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace root")
}

/// Every text file, in order of path.
pub fn text_files() -> Vec<TextFile> {
    let root = root();
    let mut files = Vec::new();
    collect(&root, &root, &ignored_names(&root), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The Rust files of the extension itself.
pub fn extension_sources() -> Vec<TextFile> {
    text_files().into_iter().filter(|f| f.path.starts_with("src/") && f.path.ends_with(".rs")).collect()
}

/// Names in `.gitignore`, without git: a release tarball must pass as well.
fn ignored_names(root: &Path) -> Vec<String> {
    let listed = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let listed = listed.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    listed.map(|l| l.trim_matches('/').to_owned()).chain([".git".to_owned()]).collect()
}

fn collect(root: &Path, directory: &Path, ignored: &[String], files: &mut Vec<TextFile>) {
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("a directory entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if ignored.iter().any(|i| *i == name) || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, ignored, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root).expect("a path below the root");
            files.push(TextFile { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
}
