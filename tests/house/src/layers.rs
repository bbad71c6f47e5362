//! Calls go one way:
//! `api → counting · visitors · idempotency · caches · likes · series · boards · limits · audit → family → rows · memory · journal → pg`.
//!
//! `settings`, `errors` and the plain Rust of `hll` lie beside `pg`, for all to use. The worker comes in
//! from the other end: it never uses `api`, and only `lib.rs` starts it. Rooms of
//! one layer may use each other as long as that makes no circle.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenTree};

use crate::repository::TextFile;
use crate::tokens::{children, group, ident, is_ident, is_path_separator, is_punct, line, parse};

const LAYERS: [&[&str]; 6] = [
    &["pg", "settings", "errors", "hll"],
    &["rows", "memory", "journal"],
    &["family"],
    &["counting", "visitors", "idempotency", "caches", "likes", "series", "boards", "limits", "audit"],
    &["api"],
    // Tests that run inside a server look at everything.
    &["tests"],
];
const WORKER: &str = "worker";
/// Stands for `lib.rs`, which may use everything and is where nothing else lives.
const LIB: &str = "lib";

/// A use of one room by another, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub from: String,
    pub to: String,
    pub place: String,
}

/// Everything in `sources` that breaks the order, but for `exceptions`; an
/// exception that nothing needs is a finding too.
pub fn violations(sources: &[TextFile], exceptions: &[(String, String)]) -> Vec<String> {
    let files: Vec<File> = sources.iter().map(File::read).collect();
    let mut found: Vec<String> = files.iter().flat_map(|f| f.unreadable.clone()).collect();
    found.extend(unknown_rooms(&files));

    let uses = uses(&files);
    let excepted = |u: &Use| exceptions.iter().any(|(from, to)| *from == u.from && *to == u.to);
    let (allowed, rest): (Vec<&Use>, Vec<&Use>) = uses.iter().partition(|u| excepted(u));
    found.extend(rest.iter().filter_map(|u| against_order(u)));
    found.extend(circles(&rest));
    for (from, to) in exceptions {
        if !allowed.iter().any(|u| u.from == *from && u.to == *to) {
            found.push(format!("docs/architecture.md: nothing needs the exception {from} -> {to} any more"));
        }
    }
    found
}

/// The lines `from -> to` of the fenced block under the heading "Exceptions".
pub fn listed_exceptions(architecture: &str) -> Vec<(String, String)> {
    let mut lines = architecture.lines().skip_while(|l| !is_exceptions_heading(l)).skip(1);
    let section: Vec<&str> = lines.by_ref().take_while(|l| !l.starts_with('#')).collect();
    let fenced = section.iter().skip_while(|l| !l.starts_with("```")).skip(1);
    fenced.take_while(|l| !l.starts_with("```")).filter_map(|l| exception(l)).collect()
}

fn is_exceptions_heading(line: &str) -> bool {
    line.starts_with('#') && line.trim_start_matches('#').trim().eq_ignore_ascii_case("exceptions")
}

/// `from -> to: why`
fn exception(line: &str) -> Option<(String, String)> {
    let line = line.replace('→', "->");
    let (from, rest) = line.split_once("->")?;
    let to = rest.split([':', '#', ' ']).find(|word| !word.is_empty())?;
    Some((from.trim().to_owned(), to.to_owned()))
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

fn unknown_rooms(files: &[File]) -> Vec<String> {
    let unknown = files.iter().filter(|f| !f.is_lib() && f.room() != WORKER && layer(f.room()).is_none());
    unknown
        .map(|f| format!("{}: the room `{}` has no place in the order of layers", f.path, f.room()))
        .collect()
}

fn against_order(u: &Use) -> Option<String> {
    let Use { from, to, place } = u;
    let wrong = if from == LIB {
        false
    } else if to == WORKER {
        true
    } else if from == WORKER {
        to == "api"
    } else {
        layer(from)? < layer(to)?
    };
    wrong.then(|| format!("{place}: `{from}` uses `{to}`"))
}

/// Circles among the rooms of one layer.
fn circles(uses: &[&Use]) -> Vec<String> {
    let mut sideways: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for u in
        uses.iter().filter(|u| u.from != LIB && layer(&u.from).is_some() && layer(&u.from) == layer(&u.to))
    {
        sideways.entry(&u.from).or_default().insert(&u.to);
    }
    let reaches = |from: &str, to: &str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(room) = open.pop() {
            for next in sideways.get(room).into_iter().flatten() {
                if *next == to {
                    return true;
                }
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        false
    };
    let in_circle: Vec<&str> = sideways.keys().copied().filter(|room| reaches(room, room)).collect();
    if in_circle.is_empty() {
        return Vec::new();
    }
    vec![format!("rooms of one layer use each other in a circle: {}", in_circle.join(", "))]
}

/// Every use of another room, once a place.
fn uses(files: &[File]) -> BTreeSet<Use> {
    let lib_names: BTreeMap<&str, &str> =
        files.iter().flat_map(|f| &f.lib_names).map(|(name, room)| (name.as_str(), room.as_str())).collect();
    let mut uses = BTreeSet::new();
    for file in files {
        for (path, line) in &file.paths {
            let Some(first) = path.first() else { continue };
            let to = lib_names.get(first.as_str()).copied().unwrap_or(first);
            let known = to == WORKER || layer(to).is_some();
            if known && to != file.room() {
                let place = format!("{}:{line}", file.path);
                uses.insert(Use { from: file.room().to_owned(), to: to.to_owned(), place });
            }
        }
    }
    uses
}

/// What one file refers to.
struct File {
    path: String,
    /// The module it is, from the crate's root.
    module: Vec<String>,
    /// Paths from the crate's root, and their lines.
    paths: Vec<(Vec<String>, usize)>,
    /// In `lib.rs`: names that stand for something in a room, because a `use` brings them in.
    lib_names: Vec<(String, String)>,
    /// What hides where a name comes from.
    unreadable: Vec<String>,
}

impl File {
    fn read(source: &TextFile) -> File {
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

    fn is_lib(&self) -> bool {
        self.module.is_empty()
    }

    fn room(&self) -> &str {
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
            let Some(room) = ident(tree.first()).filter(|r| r == WORKER || layer(r).is_some()) else {
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
        room if module.is_empty() && (room == WORKER || layer(room).is_some()) => {
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
