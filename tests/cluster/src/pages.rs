//! The project's pages, and the code in them.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages whose SQL a reader may paste, by their paths from the root: README and the guide first of all.
pub fn all() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/guide"] {
        let listing =
            fs::read_dir(root().join(directory)).unwrap_or_else(|error| panic!("{directory}: {error}"));
        let names =
            listing.map(|entry| entry.expect("a directory entry").file_name().into_string().expect("UTF-8"));
        pages.extend(names.filter(|name| name.ends_with(".md")).map(|name| format!("{directory}/{name}")));
    }
    pages.sort();
    pages
}

pub fn text(page: &str) -> String {
    let path = root().join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of code in a language, in order.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match &mut block {
            Some(_) if line == "```" => blocks.extend(block.take().filter(|text| !text.is_empty())),
            Some(code) => *code += &format!("{line}\n"),
            None if line == format!("```{language}") => block = Some(String::new()),
            None => (),
        }
    }
    blocks
}
