//! What several processes share is borrowed for writing in one file, whose contract says when that is sound. Everywhere else
//! in `src/memory` a reference to it is a shared one, to atomics and to what is guarded.

use proc_macro2::TokenTree;

use crate::repository::TextFile;
use crate::tokens::{children, is_ident, is_punct, line, parse};

const ROOM: &str = "src/memory/";
const DOOR: &str = "src/memory/guarded.rs";

/// Where `source` makes a `&mut` out of a pointer.
pub fn violations(source: &TextFile) -> Vec<String> {
    if !source.path.starts_with(ROOM) || source.path == DOOR {
        return Vec::new();
    }
    let mut found = Vec::new();
    walk(&parse(&source.path, &source.text), &source.path, &mut found);
    found
}

fn walk(tokens: &[TokenTree], path: &str, found: &mut Vec<String>) {
    for (index, token) in tokens.iter().enumerate() {
        let is_reborrow = is_punct(Some(token), '&')
            && is_ident(tokens.get(index + 1), "mut")
            && is_punct(tokens.get(index + 2), '*');
        let is_slice = is_ident(Some(token), "from_raw_parts_mut");
        if is_reborrow || is_slice {
            found.push(format!("{path}:{}: a `&mut` to shared memory outside {DOOR}", line(token)));
        }
        if let TokenTree::Group(inner) = token {
            walk(&children(inner), path, found);
        }
    }
}
