//! Which modules a source file refers to, read from its tokens.

use proc_macro2::{Delimiter, TokenTree};

use crate::repository::TextFile;
use crate::rooms::{LIB, is_room};
use crate::tokens::{children, group, ident, is_ident, is_path_separator, is_punct, line, parse};

/// What one file refers to.
pub struct File {
    pub path: String,
    /// The module it is, from the crate's root.
    pub module: Vec<String>,
    /// Paths from the crate's root, and their lines.
    pub paths: Vec<(Vec<String>, usize)>,
    /// In `lib.rs`: names that stand for something in a room, because a `use` brings them in.
    pub lib_names: Vec<(String, String)>,
    /// What hides where a name comes from.
    pub unreadable: Vec<String>,
}

impl File {
    pub fn read(source: &TextFile) -> File {
        let mut file = File {
            path: source.path.clone(),
            module: module_of(&source.path),
            paths: Vec::new(),
            lib_names: Vec::new(),
            unreadable: Vec::new(),
        };
        let tokens = parse(&source.path, &source.text);
        let module = file.module.clone();
        file.walk(&tokens, &module);
        if file.is_lib() {
            file.read_lib_names(&tokens);
        }
        file
    }

    pub fn is_lib(&self) -> bool {
        self.module.is_empty()
    }

    pub fn room(&self) -> &str {
        self.module.first().map_or(LIB, String::as_str)
    }

    fn walk(&mut self, tokens: &[TokenTree], module: &[String]) {
        let mut index = 0;
        while index < tokens.len() {
            if is_ident(tokens.get(index), "mod")
                && let Some(name) = ident(tokens.get(index + 1))
                && let Some(body) = group(tokens.get(index + 2), Delimiter::Brace)
            {
                self.walk(&children(body), &[module, &[name]].concat());
                index += 3;
            } else if let Some((start, next)) = path_start(tokens, index, module) {
                index = self.read_path(tokens, next, start, line(&tokens[index]));
            } else {
                if is_ident(tokens.get(index), "crate") && is_ident(tokens.get(index + 1), "as") {
                    self.hides(line(&tokens[index]), "renames the crate's root");
                }
                if let TokenTree::Group(inner) = &tokens[index] {
                    self.walk(&children(inner), module);
                }
                index += 1;
            }
        }
    }

    /// Reads what follows `start::` and returns where it ends.
    fn read_path(&mut self, tokens: &[TokenTree], mut index: usize, start: Vec<String>, at: usize) -> usize {
        let mut path = start;
        loop {
            if let Some(name) = ident(tokens.get(index)) {
                if name == "self" && path.is_empty() {
                    self.hides(at, "imports the crate's root");
                }
                path.push(name);
                index += 1;
                if !is_path_separator(tokens, index) {
                    break;
                }
                index += 2;
            } else if let Some(list) = group(tokens.get(index), Delimiter::Brace) {
                self.read_list(&children(list), &path);
                return index + 1;
            } else {
                if is_punct(tokens.get(index), '*') && path.is_empty() && !self.is_lib() {
                    self.hides(at, "imports all of the crate's root");
                }
                break;
            }
        }
        self.paths.push((path, at));
        index
    }

    /// The inside of `use prefix::{…}`.
    fn read_list(&mut self, tokens: &[TokenTree], prefix: &[String]) {
        let mut index = 0;
        while index < tokens.len() {
            let at = line(&tokens[index]);
            index = self.read_path(tokens, index, prefix.to_vec(), at);
            while index < tokens.len() && !is_punct(tokens.get(index), ',') {
                index += 1;
            }
            index += 1;
        }
    }

    fn hides(&mut self, line: usize, how: &str) {
        self.unreadable.push(format!("{}:{line}: {how}, which hides the rooms that are used", self.path));
    }

    /// `use memory::Entry as E;` in `lib.rs` lets other files write `crate::E`.
    fn read_lib_names(&mut self, tokens: &[TokenTree]) {
        for (index, token) in tokens.iter().enumerate() {
            if !is_ident(Some(token), "use") {
                continue;
            }
            let end = tokens[index..]
                .iter()
                .position(|t| is_punct(Some(t), ';'))
                .map_or(tokens.len(), |n| index + n);
            let tree = &tokens[index + 1..end];
            let tree = if is_ident(tree.first(), "crate") { &tree[3..] } else { tree };
            let Some(room) = ident(tree.first()).filter(|r| is_room(r)) else {
                continue;
            };
            for name in imported_names(tree) {
                if name == "*" {
                    self.hides(line(token), "imports all of a room into the crate's root");
                } else {
                    self.lib_names.push((name, room.clone()));
                }
            }
        }
    }
}

/// The names a use tree brings in: the last identifier of each of its branches.
fn imported_names(tree: &[TokenTree]) -> Vec<String> {
    match tree.last() {
        Some(TokenTree::Group(list)) => {
            let list = children(list);
            list.split(|t| is_punct(Some(t), ',')).flat_map(imported_names).collect()
        }
        Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => vec!["*".to_owned()],
        last => ident(last).into_iter().collect(),
    }
}

/// If a path from a known module starts at `index`: that module, and the index after its `::`.
fn path_start(tokens: &[TokenTree], index: usize, module: &[String]) -> Option<(Vec<String>, usize)> {
    let first = ident(tokens.get(index))?;
    if !is_path_separator(tokens, index + 1) || follows_separator(tokens, index) {
        return None;
    }
    let mut next = index + 3;
    let start = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => {
            let mut start = parent(module);
            while is_ident(tokens.get(next), "super") && is_path_separator(tokens, next + 1) {
                start = parent(&start);
                next += 3;
            }
            start
        }
        // In `lib.rs` the rooms are in scope by their names.
        room if module.is_empty() && is_room(room) => {
            next = index;
            Vec::new()
        }
        _ => return None,
    };
    Some((start, next))
}

fn follows_separator(tokens: &[TokenTree], index: usize) -> bool {
    index >= 2 && is_path_separator(tokens, index - 2)
}

fn parent(module: &[String]) -> Vec<String> {
    module[..module.len().saturating_sub(1)].to_vec()
}

/// `src/counting/slots.rs` is `counting::slots`, `src/lib.rs` the root.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod")) || module == ["lib"] {
        module.pop();
    }
    module
}
