//! Other rights, and SQL, have one door each.
//!
//! `src/pg/confined.rs` sets role, security restriction and search_path together; `src/pg/spi.rs` runs SQL and asks for proof of
//! that. What could do either by itself is not named anywhere else.

use proc_macro2::{TokenStream, TokenTree};

use crate::repository::TextFile;
use crate::tokens::{line, parse};

const CONFINED: &str = "src/pg/confined.rs";
const SPI: &str = "src/pg/spi.rs";

/// What only the file beside it may name.
const DOORS: [(&str, &str); 6] = [
    ("SetUserIdAndSecContext", CONFINED),
    ("SetUserIdAndContext", CONFINED),
    ("NewGUCNestLevel", CONFINED),
    ("SPI_connect", SPI),
    ("SPI_execute", SPI),
    ("SPI_execute_with_args", SPI),
];

/// Each use of something outside its door. Tests of the SQL surface are clients, not the extension.
pub fn violations(file: &TextFile) -> Vec<String> {
    if file.path == "src/api/tests.rs" {
        return Vec::new();
    }
    let mut found = Vec::new();
    look(&file.path, parse(&file.path, &file.text), &mut found);
    let imports_ours =
        file.text.contains("use crate::pg::spi::{") || file.text.contains("use crate::pg::spi::Spi;");
    if file.path == SPI || imports_ours {
        found.retain(|(_, name)| name != "Spi");
    }
    found
        .into_iter()
        .map(|(line, name)| format!("{}:{line}: {name} has a door of its own", file.path))
        .collect()
}

fn look(path: &str, tokens: impl IntoIterator<Item = TokenTree>, found: &mut Vec<(usize, String)>) {
    for token in tokens {
        match &token {
            TokenTree::Group(group) => look(path, TokenStream::into_iter(group.stream()), found),
            TokenTree::Ident(ident) => {
                let name = ident.to_string();
                // pgrx has one of that name in its prelude.
                let is_closed = name == "Spi"
                    || DOORS.iter().any(|(door, home)| name == *door && path != *home)
                    || (name.starts_with("SPI_") && path != SPI);
                if is_closed {
                    found.push((line(&token), name));
                }
            }
            _ => {}
        }
    }
}
