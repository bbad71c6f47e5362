//! A process of the server has one thread.
//!
//! What a session keeps is a static that nobody guards (`src/pg/session.rs`), so no thread may be begun; and as a thread-local it
//! would cost a call of the dynamic linker an access.

use proc_macro2::TokenTree;

use crate::repository::TextFile;
use crate::tokens::{after_tests, children, ident, is_ident, is_path_separator, line, parse};

const DOOR: &str = "src/pg/session.rs";
/// What is about threads whoever names it.
const NAMES: [&str; 3] = ["LocalKey", "pthread_create", "thread_local"];

/// Where `source` uses what is about threads, but to ask whether this one panics.
pub fn violations(source: &TextFile) -> Vec<String> {
    if source.path == DOOR {
        return Vec::new();
    }
    let mut found = Vec::new();
    walk(&parse(&source.path, &source.text), &source.path, &mut found);
    found
}

fn walk(tokens: &[TokenTree], path: &str, found: &mut Vec<String>) {
    let mut index = 0;
    while index < tokens.len() {
        if let Some(next) = after_tests(tokens, index) {
            index = next;
            continue;
        }
        let token = &tokens[index];
        let uses_threads = is_ident(Some(token), "thread")
            && (is_ident(tokens.get(index + 1), "as")
                || is_path_separator(tokens, index + 1)
                    && ident(tokens.get(index + 3)).as_deref() != Some("panicking"));
        if uses_threads || NAMES.iter().any(|name| is_ident(Some(token), name)) {
            found.push(format!("{path}:{}: a thread, or something of one, outside {DOOR}", line(token)));
        }
        if let TokenTree::Group(inner) = token {
            walk(&children(inner), path, found);
        }
        index += 1;
    }
}
