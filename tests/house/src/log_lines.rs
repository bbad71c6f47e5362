//! What the library writes to the server's log, or tells a session beside its answer, is explained in docs/operations.md; and what is
//! explained there is written somewhere.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use crate::repository::TextFile;
use crate::tokens::{children, group, ident, is_punct, parse};

/// The page's section; each row of its tables begins with a line.
const SECTION: &str = "## What the log says";
const MACROS: [&str; 4] = ["log", "warning", "notice", "info"];
const LEVELS: [&str; 4] = ["WARNING", "NOTICE", "LOG", "INFO"];

/// Lines that the sources write and the page lacks, and lines of the page that nothing writes.
pub fn violations(files: &[TextFile], page: &str) -> Vec<String> {
    let explained = explained(page);
    let mut written = BTreeSet::new();
    // What a line may be as well: an error that is told as a warning.
    let mut texts = BTreeSet::new();
    for file in files {
        if file.path.starts_with("src/") && file.path.ends_with(".rs") {
            look(&parse(&file.path, &file.text), &mut written, &mut texts);
        } else if file.path.starts_with("sql/") && !file.path.starts_with("sql/counter_ext--") {
            written.extend(raised(&file.text));
        }
    }
    let warned: Vec<String> =
        files.iter().filter(|f| f.path.starts_with("src/")).flat_map(|f| warned(f, files)).collect();
    written.extend(warned);
    let missing =
        written.difference(&explained).map(|line| format!("docs/operations.md does not explain: {line}"));
    let gone = explained
        .iter()
        .filter(|line| !written.contains(*line) && !texts.contains(*line))
        .map(|line| format!("docs/operations.md explains what nothing writes: {line}"));
    missing.chain(gone).collect()
}

/// The first words in backticks of each row below the section's heading.
fn explained(page: &str) -> BTreeSet<String> {
    let section = page.lines().skip_while(|line| *line != SECTION).skip(1);
    let rows =
        section.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(line, _)| line.to_owned()).collect()
}

/// Format strings of the macros that write to the log, and all other texts.
fn look(tokens: &[TokenTree], written: &mut BTreeSet<String>, texts: &mut BTreeSet<String>) {
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(inner) => look(&children(inner), written, texts),
            TokenTree::Literal(literal) => texts.extend(text_of(&literal.to_string())),
            _ => (),
        }
        let names_macro = ident(Some(token)).is_some_and(|name| MACROS.contains(&name.as_str()));
        if names_macro
            && is_punct(tokens.get(index + 1), '!')
            && let Some(arguments) = group(tokens.get(index + 2), Delimiter::Parenthesis)
            && let Some(TokenTree::Literal(format)) = children(arguments).first()
        {
            written.extend(text_of(&format.to_string()));
        }
    }
}

/// A string literal as a line of the log, with … for what is put in.
fn text_of(literal: &str) -> Option<String> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::new();
    let mut rest = inner;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' if rest.starts_with('\n') => rest = rest.trim_start(),
            '\\' => {
                text.extend(rest.chars().next());
                rest = rest.get(1..).unwrap_or_default();
            }
            '{' => {
                text.push('…');
                rest = rest.split_once('}').map_or("", |(_, behind)| behind);
            }
            other => text.push(other),
        }
    }
    Some(text)
}

/// Lines that SQL raises.
fn raised(sql: &str) -> Vec<String> {
    let statements = sql.split("RAISE ").skip(1);
    statements
        .filter_map(|statement| {
            let (level, rest) = statement.split_once(' ')?;
            let quoted = rest.trim_start().strip_prefix('\'').filter(|_| LEVELS.contains(&level))?;
            let (text, _) = quoted.split_once('\'')?;
            Some(text.replace('%', "…"))
        })
        .collect()
}

/// Errors that are told as warnings: what the error says is the first text behind its name where it is explained.
fn warned(file: &TextFile, files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in file.text.match_indices(".warn();") {
        let line = file.text[..at].rsplit('\n').next().unwrap_or_default();
        let Some((before, variant)) = line.rsplit_once("Error::") else { continue };
        let kind = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let variant: String = variant.chars().take_while(char::is_ascii_alphanumeric).collect();
        let arm = format!("Self::{variant} {{");
        let declares = format!("enum {kind}Error");
        let home = files.iter().find(|f| f.text.contains(&declares));
        found.extend(home.and_then(|f| f.text.split_once(&arm)).and_then(|(_, arm)| first_literal(arm)));
    }
    found
}

fn first_literal(code: &str) -> Option<String> {
    let begin = code.find('"')?;
    let mut end = begin + 1;
    while !code[end..].starts_with('"') {
        end += if code[end..].starts_with('\\') { 2 } else { code[end..].chars().next()?.len_utf8() };
    }
    text_of(&code[begin..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn lines_without_a_word_about_them_and_words_without_a_line_are_found() {
        let files = [
            file(
                "src/a.rs",
                "fn f() { pgrx::log!(\"cannot {x}, \\\n        it {} \\\"so\\\"\", y); pgrx::warning!(\"told\"); }",
            ),
            file("sql/a.sql", "RAISE NOTICE 'node % is ready', node; RAISE EXCEPTION 'no line';"),
            file("src/b.rs", "fn g() { CounterError::from(BoardError::Unknown { prefix }).warn(); }"),
            file(
                "src/errors.rs",
                "enum BoardError { Unknown } fn h() { match s { Self::Unknown { prefix } => format!(\"no zone {}\", 1) } }",
            ),
        ];
        let page = "## What the log says\n| `cannot …, it … \"so\"` | x |\n| `node … is ready` | y |\n| `no zone …` | z |\n| `gone` | w |\n## Next\n| `told` | no |";
        assert_eq!(
            violations(&files, page),
            [
                "docs/operations.md does not explain: told",
                "docs/operations.md explains what nothing writes: gone"
            ]
        );
        assert_eq!(violations(&files, &page.replace("`gone`", "`told`")), [""; 0]);
        assert!(
            violations(&files, "").contains(&"docs/operations.md does not explain: no zone …".to_owned())
        );
    }
}
