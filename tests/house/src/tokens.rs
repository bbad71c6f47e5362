//! Reading Rust as tokens.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The tokens of a file.
///
/// # Panics
/// When the text is not Rust: the compiler would not take it either.
pub fn parse(path: &str, text: &str) -> Vec<TokenTree> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    stream.into_iter().collect()
}

pub fn children(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

pub fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

pub fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string().trim_start_matches("r#").to_owned()),
        _ => None,
    }
}

pub fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if *ident == name)
}

pub fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

/// Whether `::` stands at `index`.
pub fn is_path_separator(tokens: &[TokenTree], index: usize) -> bool {
    is_punct(tokens.get(index), ':') && is_punct(tokens.get(index + 1), ':')
}

pub fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// Behind `#[cfg(test)] mod … {…}`, when that begins at `index`.
pub fn after_tests(tokens: &[TokenTree], index: usize) -> Option<usize> {
    if !is_punct(tokens.get(index), '#') {
        return None;
    }
    let attribute = group(tokens.get(index + 1), Delimiter::Bracket)?.stream().to_string();
    if attribute.replace(' ', "") != "cfg(test)" || !is_ident(tokens.get(index + 2), "mod") {
        return None;
    }
    Some(index + 5)
}
