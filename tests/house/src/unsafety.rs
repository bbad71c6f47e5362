//! `unsafe` and `pg_sys` live in `src/pg` and `src/memory`; there every unsafe
//! block and impl says why it is sound, and every unsafe function what it asks for.

use proc_macro2::{Delimiter, TokenTree};

use crate::repository::TextFile;
use crate::tokens::{children, group, ident, is_ident, is_path_separator, is_punct, line, parse};

const ROOMS: [&str; 2] = ["src/pg/", "src/memory/"];
/// How far above its block a comment may end.
const REACH: usize = 3;

/// What in `source` breaks the rule.
pub fn violations(source: &TextFile) -> Vec<String> {
    let mut check = Check {
        path: &source.path,
        lines: source.text.lines().collect(),
        inside: ROOMS.iter().any(|room| source.path.starts_with(room)),
        found: Vec::new(),
    };
    check.walk(&parse(&source.path, &source.text), false);
    check.found
}

struct Check<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
    inside: bool,
    found: Vec<String>,
}

impl Check<'_> {
    /// `foreign_contract`: in the impl of a trait or a block of extern functions,
    /// where what a function asks for is written down elsewhere.
    fn walk(&mut self, tokens: &[TokenTree], foreign_contract: bool) {
        let mut contract_body = None;
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(_) if is_raw_pg_sys(tokens, index) && !self.inside => {
                    self.report(line(token), "`pg_sys` outside src/pg and src/memory");
                }
                TokenTree::Ident(_) if is_ident(Some(token), "unsafe") => {
                    self.check(tokens, index, foreign_contract);
                }
                TokenTree::Group(inner) => {
                    self.walk(&children(inner), foreign_contract || contract_body == Some(index));
                }
                _ => {}
            }
            if is_ident(Some(token), "impl") || is_ident(Some(token), "extern") {
                contract_body = foreign_body(tokens, index).or(contract_body);
            }
        }
    }

    fn check(&mut self, tokens: &[TokenTree], index: usize, foreign_contract: bool) {
        let at = line(&tokens[index]);
        if !self.inside {
            self.report(at, "`unsafe` outside src/pg and src/memory");
            return;
        }
        match what(tokens, index + 1) {
            What::NeedsComment => {
                if !self.has_safety_comment(at) {
                    self.report(at, "unsafe without a `// SAFETY:` comment above it");
                }
            }
            What::NeedsDocs => {
                if !foreign_contract && !self.has_safety_docs(at) {
                    self.report(at, "an unsafe item without a `# Safety` section in its docs");
                }
            }
            What::Harmless => {}
        }
    }

    /// A comment's own lines do not count towards the reach, however many they are.
    fn has_safety_comment(&self, at: usize) -> bool {
        let says = |line: &str| line.contains("// SAFETY:");
        if self.line(at).is_some_and(says) {
            return true;
        }
        let mut code_lines = 0;
        for number in (1..at).rev() {
            let Some(line) = self.line(number) else {
                return false;
            };
            if says(line) {
                return true;
            }
            if !line.trim_start().starts_with("//") {
                code_lines += 1;
            }
            if code_lines >= REACH {
                return false;
            }
        }
        false
    }

    fn has_safety_docs(&self, at: usize) -> bool {
        let above = (1..at).rev().map_while(|number| self.line(number));
        let attached = above.take_while(|line| {
            let line = line.trim();
            !(line.is_empty() || line.ends_with('}') || line.ends_with(';') || line.ends_with('{'))
                || line.starts_with("//")
        });
        attached.into_iter().any(|line| line.trim_start().starts_with("/// # Safety"))
    }

    fn line(&self, number: usize) -> Option<&str> {
        self.lines.get(number - 1).copied()
    }

    fn report(&mut self, at: usize, what: &str) {
        self.found.push(format!("{}:{at}: {what}", self.path));
    }
}

/// `pg_sys::panic` is pgrx's own Rust, error reports, not PostgreSQL's C.
fn is_raw_pg_sys(tokens: &[TokenTree], index: usize) -> bool {
    let error_report = is_path_separator(tokens, index + 1) && is_ident(tokens.get(index + 3), "panic");
    is_ident(tokens.get(index), "pg_sys") && !error_report
}

enum What {
    NeedsComment,
    NeedsDocs,
    Harmless,
}

/// What the `unsafe` before `index` makes unsafe.
fn what(tokens: &[TokenTree], index: usize) -> What {
    if group(tokens.get(index), Delimiter::Brace).is_some() {
        return What::NeedsComment;
    }
    match ident(tokens.get(index)).as_deref() {
        Some("impl") => What::NeedsComment,
        Some("trait") => What::NeedsDocs,
        // A name makes it an item; without one it is the type of a function pointer.
        Some("fn") if ident(tokens.get(index + 1)).is_some() => What::NeedsDocs,
        // A block of foreign functions is not a place where anything is done.
        Some("extern") => {
            let next = index + 1 + usize::from(matches!(tokens.get(index + 1), Some(TokenTree::Literal(_))));
            if group(tokens.get(next), Delimiter::Brace).is_some() {
                What::Harmless
            } else {
                what(tokens, next)
            }
        }
        _ => What::Harmless,
    }
}

/// The index of the body of `impl Trait for Type {…}` or `extern "C" {…}` that starts at `index`.
fn foreign_body(tokens: &[TokenTree], index: usize) -> Option<usize> {
    if is_ident(tokens.get(index), "extern") {
        let body = index + 1 + usize::from(matches!(tokens.get(index + 1), Some(TokenTree::Literal(_))));
        return group(tokens.get(body), Delimiter::Brace).map(|_| body);
    }
    let body = (index..tokens.len()).find(|i| group(tokens.get(*i), Delimiter::Brace).is_some())?;
    // `for<'a>` binds a lifetime.
    let of_trait = (index..body).any(|i| is_ident(tokens.get(i), "for") && !is_punct(tokens.get(i + 1), '<'));
    of_trait.then_some(body)
}
