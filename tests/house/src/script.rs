//! SQL of ours names every function, operator and table by its schema.
//!
//! A superuser runs the script of `CREATE EXTENSION`, and of its upgrades, while search_path is the schema that the extension
//! goes to. PostgreSQL looks in pg_catalog first, but takes a function or operator of any schema whose argument types match
//! better. So who may create in that schema would run code as the superuser. Types and collations are safe: of these the
//! first of that name counts.

use std::fmt;

use proc_macro2::{Delimiter, TokenTree};

use crate::repository::TextFile;
use crate::tokens::{children, group, is_ident, is_punct, parse};

/// Words that stand before a parenthesis without being a function's name: keywords, and types with modifiers.
const NOT_FUNCTIONS: [&str; 39] = [
    "all",
    "and",
    "any",
    "array",
    "as",
    "cast",
    "check",
    "coalesce",
    "columns",
    "conflict",
    "counter_hll",
    "exists",
    "filter",
    "from",
    "greatest",
    "hash",
    "in",
    "include",
    "key",
    "least",
    "list",
    "not",
    "nullif",
    "on",
    "operator",
    "or",
    "over",
    "range",
    "row",
    "select",
    "set",
    "table",
    "then",
    "unique",
    "using",
    "values",
    "when",
    "where",
    "with",
];

/// What a definition calls another function or operator by.
const REFERENCES: [&str; 17] = [
    "input",
    "output",
    "receive",
    "send",
    "typmod_in",
    "typmod_out",
    "analyze",
    "function",
    "procedure",
    "restrict",
    "join",
    "sfunc",
    "finalfunc",
    "combinefunc",
    "serialfunc",
    "deserialfunc",
    "msfunc",
];

/// Words behind which `=` gives an option its value, beside those of `REFERENCES`.
const OPTIONS: [&str; 27] = [
    "alignment",
    "autovacuum_enabled",
    "category",
    "commutator",
    "client_min_messages",
    "detail",
    "errcode",
    "fillfactor",
    "finalfunc_modify",
    "hint",
    "internallength",
    "leftarg",
    "message",
    "negator",
    "parallel",
    "rightarg",
    "search_path",
    "sspace",
    "storage",
    "stype",
    "vacuum_truncate",
    "autovacuum_analyze_threshold",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_insert_threshold",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold",
    "leakproof",
];

/// Something that is looked up through search_path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unqualified {
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Unqualified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A name or keyword, in lower case.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    Operator(String),
    /// What is between single quotes, or dollars.
    Text(String),
    Number,
    Other(char),
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    kind: Kind,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(name) | Kind::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// A script as far as there is something to look for in it. PostgreSQL refuses where a script of an extension meets what does not belong to
/// the extension: CREATE SCHEMA IF NOT EXISTS, which pgrx writes before whatever goes into that schema, and CREATE OR REPLACE, by
/// which updates keep what depends on a function.
pub fn without_what_postgresql_refuses(path: &str, text: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let text = text.replace("CREATE SCHEMA IF NOT EXISTS counter_ext;", ";");
    if name.matches("--").count() == 2 { text.replace("\nCREATE OR REPLACE ", "\nCREATE ") } else { text }
}

/// Everything in a script that is not named by its schema.
pub fn unqualified(sql: &str) -> Vec<Unqualified> {
    let mut found = Vec::new();
    check(sql, 1, &mut found);
    found
}

/// The same of all SQL in a file: of a script, of what the extension adds to its script, and of queries.
pub fn violations(file: &TextFile) -> Vec<String> {
    let found = if file.path.ends_with(".sql") {
        unqualified(&file.text)
    } else {
        let mut found = Vec::new();
        for (line, sql) in literals(&parse(&file.path, &file.text)) {
            check(&sql, line, &mut found);
        }
        found
    };
    found.iter().map(|each| format!("{}, {each}", file.path)).collect()
}

/// Lines of a script that are not ASCII. PostgreSQL reads a script in the encoding of the database that it is run in, where other bytes are something else, or
/// an error.
pub fn beyond_ascii(file: &TextFile) -> Vec<String> {
    let lines =
        file.text.lines().zip(1..).filter(|(line, _)| file.path.ends_with(".sql") && !line.is_ascii());
    lines.map(|(_, number)| format!("{}:{number}: a script is ASCII", file.path)).collect()
}

/// SQL among the literals of a Rust file, with the lines where they begin.
fn literals(tokens: &[TokenTree]) -> Vec<(usize, String)> {
    const BEGINNINGS: [&str; 9] =
        ["select ", "insert ", "update ", "delete ", "create ", "alter ", "with ", "truncate ", "do $"];
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_script =
            at >= 2 && is_punct(tokens.get(at - 1), '!') && is_ident(tokens.get(at - 2), "extension_sql");
        match token {
            TokenTree::Group(inner) => {
                for (line, sql) in literals(&children(inner)) {
                    found.push((line, sql));
                }
                if is_script && let Some(inner) = group(Some(token), Delimiter::Parenthesis) {
                    let first = children(inner).into_iter().next();
                    if let Some(TokenTree::Literal(literal)) = first
                        && let Some(text) = content(&literal.to_string())
                    {
                        let entry = (literal.span().start().line, text);
                        if !found.contains(&entry) {
                            found.push(entry);
                        }
                    }
                }
            }
            TokenTree::Literal(_) if at >= 2 && is_ident(tokens.get(at - 2), "doc") => {}
            TokenTree::Literal(literal) => {
                let Some(text) = content(&literal.to_string()) else { continue };
                let start = text.trim_start().to_lowercase();
                if BEGINNINGS.iter().any(|beginning| start.starts_with(beginning)) {
                    found.push((literal.span().start().line, text));
                }
            }
            _ => {}
        }
    }
    found
}

/// What a string literal says, as far as it matters here; `None` for other literals.
fn content(literal: &str) -> Option<String> {
    let literal = literal.strip_prefix('b').or_else(|| literal.strip_prefix('c')).unwrap_or(literal);
    if let Some(raw) = literal.strip_prefix('r') {
        let raw = raw.trim_matches('#');
        return Some(raw.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    }
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.replace("\\\n", "").replace("\\\"", "\"").replace("\\n", "\n"))
}

fn check(sql: &str, first_line: usize, found: &mut Vec<Unqualified>) {
    let tokens = tokens(sql, first_line);
    let mut statement_from = 0;
    // Inside `OPERATOR(…)` an operator has its schema before it.
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &tokens[at]);
        let after = tokens.get(at + 1);
        let is_qualified = before.is_some_and(|token| token.kind == Kind::Other('.'));
        let mut note = |what: String| found.push(Unqualified { line: token.line, what });
        match &token.kind {
            Kind::Other(';') => statement_from = at + 1,
            Kind::Word(name) | Kind::Quoted(name) => {
                let asks =
                    |words: &[&str]| before.and_then(Token::word).is_some_and(|word| words.contains(&word));
                let calls = after.is_some_and(|token| token.kind == Kind::Other('('));
                let is_keyword = token.word().is_some_and(|word| NOT_FUNCTIONS.contains(&word));
                if calls
                    && !is_qualified
                    && !is_keyword
                    && !asks(&["as"])
                    && !is_declared(&tokens[statement_from..at])
                {
                    note(format!("{name}( is looked up through search_path"));
                }
                let names_next = after.is_some_and(|token| token.kind == Kind::Other('.'));
                if !is_qualified && !names_next && !calls {
                    let is_relation = asks(&["from", "join"]) && reads_rows(&tokens[statement_from..at]);
                    let is_nobody =
                        token.word().is_some_and(|word| ["public", "select", "lateral"].contains(&word));
                    if is_relation && !is_nobody && !is_of_with(&tokens[statement_from..at], name) {
                        note(format!("relation {name} is looked up through search_path"));
                    }
                }
                let replaces = ["or", "if"].into_iter().any(|word| token.word() == Some(word))
                    && asks(&["create", "table", "schema", "index"])
                    && after.and_then(Token::word).is_some_and(|word| ["replace", "not"].contains(&word));
                if replaces {
                    note("takes over what somebody made before".to_owned());
                }
            }
            Kind::Operator(operator) => {
                let key = before.and_then(Token::word).unwrap_or_default();
                if operator == "=" && (REFERENCES.contains(&key) || OPTIONS.contains(&key)) {
                    let is_named = tokens.get(at + 2).is_some_and(|token| token.kind == Kind::Other('.'));
                    let is_operator = after.and_then(Token::word) == Some("operator");
                    if REFERENCES.contains(&key) && !is_named {
                        note(format!("what {key} = names is looked up through search_path"));
                    }
                    if ["commutator", "negator"].contains(&key) && !is_operator {
                        note(format!("what {key} = names is looked up through search_path"));
                    }
                    continue;
                }
                if operator == "=" && assigns(&tokens[statement_from..at]) {
                    continue;
                }
                let is_sign = operator == "-"
                    && after.is_some_and(|token| token.kind == Kind::Number)
                    && !before.is_some_and(|token| {
                        matches!(token.kind, Kind::Number | Kind::Quoted(_) | Kind::Other(')'))
                    });
                let is_star = operator == "*"
                    && before.is_some_and(|token| {
                        token.word() == Some("select") || matches!(token.kind, Kind::Other('(' | '.'))
                    });
                if !is_qualified && !is_sign && !is_star && operator != "=>" {
                    note(format!("operator {operator} is looked up through search_path"));
                }
            }
            Kind::Text(text) => {
                let statement = &tokens[statement_from..at];
                let is_guarded = statement
                    .windows(2)
                    .any(|pair| pair[0].word() == Some("set") && pair[1].word() == Some("search_path"));
                let start = text.trim_start().to_lowercase();
                let is_body = text.contains('\n')
                    || ["create ", "alter ", "select ", "where "].iter().any(|word| start.starts_with(word));
                let is_comment = statement.first().and_then(Token::word) == Some("comment");
                if is_body && !is_guarded && !is_comment {
                    check(text, token.line, found);
                }
            }
            Kind::Number | Kind::Other(_) => {}
        }
    }
}

/// Whether what follows is the name of something that is being made, described or dropped: found by its exact arguments.
fn is_declared(statement: &[Token]) -> bool {
    let words: Vec<&str> = statement.iter().filter_map(Token::name).collect();
    let Some(first) = words.first() else { return false };
    let declares = ["create", "comment", "drop", "alter", "grant", "revoke"].contains(first);
    declares
        && words.len() <= 6
        && statement.last().and_then(Token::word).is_some_and(|word| ["function", "procedure", "aggregate", "type"].contains(&word))
        // CREATE CAST … WITH FUNCTION, CREATE TRIGGER … EXECUTE FUNCTION
        && !words.iter().any(|word| ["with", "execute"].contains(word) || (*word == "trigger" && words.len() > 2))
}

/// Whether the statement names a query so, WITH name AS (...): such a name comes before whatever search_path finds.
fn is_of_with(before: &[Token], name: &str) -> bool {
    before.windows(4).any(|window| {
        let [first, named, middle, last] = window else { return false };
        (first.word() == Some("with") || first.kind == Kind::Other(','))
            && named.word() == Some(name)
            && middle.word() == Some("as")
            && last.kind == Kind::Other('(')
    })
}

/// Whether `FROM` stands in a query: not in REVOKE … FROM, EXTRACT (… FROM …) or IS DISTINCT FROM.
fn reads_rows(statement: &[Token]) -> bool {
    let is = |at: Option<usize>, word: &str| {
        at.and_then(|at| statement.get(at)).and_then(Token::word) == Some(word)
    };
    !is(Some(0), "revoke")
        && !is(statement.len().checked_sub(2), "distinct")
        && !is(statement.len().checked_sub(2), "epoch")
}

/// Whether `UPDATE … SET (a, b)` stands before `=`.
fn assigns(statement: &[Token]) -> bool {
    let open = statement.iter().rposition(|token| token.kind == Kind::Other('('));
    let is_list = statement.last().is_some_and(|token| token.kind == Kind::Other(')'));
    is_list && open.and_then(|at| at.checked_sub(1)).and_then(|at| statement[at].word()) == Some("set")
}

fn tokens(sql: &str, first_line: usize) -> Vec<Token> {
    const OPERATOR: &str = "+-*/<>=~!#%^&|`?";
    let characters: Vec<char> = sql.chars().collect();
    let mut tokens = Vec::new();
    let mut line = first_line;
    let mut at = 0;
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    while at < characters.len() {
        let rest = &characters[at..];
        let begin = at;
        let begin_line = line;
        let kind = match rest {
            ['-', '-', ..] => {
                at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
                None
            }
            ['/', '*', ..] => {
                at += rest
                    .windows(2)
                    .skip(2)
                    .position(|pair| pair == ['*', '/'])
                    .map_or(rest.len(), |end| end + 4);
                None
            }
            ['\'', ..] => {
                let mut text = String::new();
                at += 1;
                while at < characters.len() {
                    match characters[at..] {
                        ['\'', '\'', ..] => {
                            text.push('\'');
                            at += 2;
                        }
                        ['\'', ..] => break,
                        _ => {
                            text.push(characters[at]);
                            at += 1;
                        }
                    }
                }
                at += 1;
                Some(Kind::Text(text))
            }
            ['"', ..] => {
                let length = rest[1..].iter().position(|c| *c == '"').unwrap_or(rest.len() - 1);
                at += length + 2;
                Some(Kind::Quoted(rest[1..=length].iter().collect()))
            }
            ['$', ..] => {
                let tag_length = rest[1..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                if rest.get(tag_length + 1) == Some(&'$') {
                    let tag = &rest[..tag_length + 2];
                    let body = &rest[tag.len()..];
                    let end = body.windows(tag.len()).position(|window| window == tag).unwrap_or(body.len());
                    at += (end + 2 * tag.len()).min(rest.len());
                    Some(Kind::Text(body[..end].iter().collect()))
                } else {
                    at += tag_length + 1;
                    Some(Kind::Quoted(rest[..=tag_length].iter().collect()))
                }
            }
            // A placeholder of format stands for a name or a number.
            ['%', 'I' | 'L' | 's', ..] => {
                at += 2;
                Some(Kind::Number)
            }
            // So does one of format!.
            ['{', ..] => {
                at += rest.iter().position(|c| *c == '}').map_or(rest.len(), |end| end + 1);
                Some(Kind::Number)
            }
            ['@', ..] => {
                let length = rest[1..].iter().position(|c| *c == '@').unwrap_or(rest.len() - 1);
                at += length + 2;
                Some(Kind::Quoted(rest[..length + 1].iter().collect()))
            }
            [':', ':', ..] | [':', '=', ..] | ['.', '.', ..] => {
                at += 2;
                Some(Kind::Other(':'))
            }
            [c, ..] if c.is_ascii_digit() => {
                at += rest.iter().take_while(|c| is_name(**c)).count();
                Some(Kind::Number)
            }
            [c, ..] if is_name(*c) => {
                at += rest.iter().take_while(|c| is_name(**c)).count();
                Some(Kind::Word(characters[begin..at].iter().collect::<String>().to_lowercase()))
            }
            [c, ..] if OPERATOR.contains(*c) => {
                let length = rest.iter().take_while(|c| OPERATOR.contains(**c)).count();
                // A sign, or a comment, may follow directly.
                let text: String = rest[..length].iter().collect();
                let text = text.split("--").next().unwrap_or_default().to_owned();
                at += text.len().max(1);
                Some(Kind::Operator(text))
            }
            [c, ..] => {
                at += 1;
                (!c.is_whitespace()).then_some(Kind::Other(*c))
            }
            [] => None,
        };
        let end = at.min(characters.len());
        line += characters[begin..end].iter().filter(|c| **c == '\n').count();
        if let Some(kind) = kind {
            tokens.push(Token { line: begin_line, kind });
        }
    }
    tokens
}
