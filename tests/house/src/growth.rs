//! Memory that grows is asked for in ways that can be refused, or says what bounds it.
//!
//! A plain allocation that fails ends the process, and with it every session. So a call that may allocate as much as a user
//! or the data decides goes through `fallible`. One that need not says why in a comment that begins with `BOUND:`, above the
//! call or, for all calls of a file, in the file's header.

use proc_macro2::{Delimiter, TokenTree};

use crate::repository::TextFile;
use crate::tokens::{after_tests, children, group, ident, is_punct, line, parse};

/// Methods and macros that allocate as much as they are given.
const METHODS: [&str; 14] = [
    "clone_from_slice",
    "collect",
    "concat",
    "extend",
    "extend_from_slice",
    "into_boxed_slice",
    "insert_full",
    "join",
    "push",
    "reserve",
    "reserve_exact",
    "resize",
    "resize_with",
    "to_vec",
];
const FUNCTIONS: [&str; 1] = ["with_capacity"];
const MACROS: [&str; 1] = ["vec"];
/// Where the fallible ways are, and tests that run inside a server.
const EXEMPT: [&str; 2] = ["src/fallible.rs", "src/api/tests.rs"];
/// How far above a call its reason, or the reservation it goes with, may end.
const REACH: usize = 4;

/// What in `source` breaks the rule.
pub fn violations(source: &TextFile) -> Vec<String> {
    let header_says = source.text.lines().take_while(|l| l.starts_with("//!")).any(|l| l.contains("BOUND:"));
    if header_says || EXEMPT.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut check = Check { path: &source.path, lines: source.text.lines().collect(), found: Vec::new() };
    check.walk(&parse(&source.path, &source.text));
    check.found
}

struct Check<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
    found: Vec<String>,
}

impl Check<'_> {
    fn walk(&mut self, tokens: &[TokenTree]) {
        let mut index = 0;
        while index < tokens.len() {
            if let Some(next) = after_tests(tokens, index) {
                index = next;
                continue;
            }
            if let Some(name) = grows(tokens, index)
                && !self.is_excused(line(&tokens[index]))
            {
                let at = line(&tokens[index]);
                self.found.push(format!(
                    "{}:{at}: `{name}` allocates what nothing bounds: use `fallible`, or say why in a `// BOUND:` comment",
                    self.path
                ));
            }
            if let TokenTree::Group(inner) = &tokens[index] {
                self.walk(&children(inner));
            }
            index += 1;
        }
    }

    /// Whether the lines above say what bounds it, or make room for it.
    fn is_excused(&self, at: usize) -> bool {
        let excuses = |line: &str| line.contains("// BOUND:") || line.contains("fallible::");
        let mut code_lines = 0;
        for number in (1..=at).rev() {
            let Some(line) = self.lines.get(number - 1) else { return false };
            if excuses(line) {
                return true;
            }
            if number < at && !line.trim_start().starts_with("//") {
                code_lines += 1;
            }
            if code_lines >= REACH {
                return false;
            }
        }
        false
    }
}

/// The name of the call at `index`, if it is one that allocates what it is given.
fn grows(tokens: &[TokenTree], index: usize) -> Option<String> {
    let name = ident(tokens.get(index))?;
    let before = index.checked_sub(1).and_then(|before| tokens.get(before));
    let is_method = before.is_some_and(|t| is_punct(Some(t), '.')) && METHODS.contains(&name.as_str());
    let is_function = before.is_some_and(|t| is_punct(Some(t), ':')) && FUNCTIONS.contains(&name.as_str());
    let is_macro = is_punct(tokens.get(index + 1), '!')
        && MACROS.contains(&name.as_str())
        // `vec![]` allocates nothing.
        && group(tokens.get(index + 2), Delimiter::Bracket).is_some_and(|group| !group.stream().is_empty());
    (is_method || is_function || is_macro).then_some(name)
}
