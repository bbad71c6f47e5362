//! Calls go one way:
//! `api → counting · visitors · idempotency · caches · likes · limits · audit → family → rows · memory · journal → pg`.
//!
//! `settings`, `errors` and the plain Rust of `hll` lie beside `pg`, for all to use. The worker comes in
//! from the other end: it never uses `api`, and only `lib.rs` starts it. Rooms of
//! one layer may use each other as long as that makes no circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::File;
use crate::repository::TextFile;
use crate::rooms::{LAYERS, LIB, TESTS, WORKER, layer};

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

fn unknown_rooms(files: &[File]) -> Vec<String> {
    let unknown = files.iter().filter(|f| !f.is_lib() && f.room() != WORKER && layer(f.room()).is_none());
    unknown
        .map(|f| format!("{}: the room `{}` has no place in the order of layers", f.path, f.room()))
        .collect()
}

/// Rooms of the order that are not there.
pub fn empty_rooms(sources: &[TextFile]) -> Vec<String> {
    let files: Vec<File> = sources.iter().map(File::read).collect();
    let is_there = |room: &str| files.iter().any(|file| file.room() == room);
    let rooms = LAYERS.iter().copied().flatten().chain([&WORKER]);
    rooms
        .filter(|room| **room != TESTS && !is_there(room))
        .map(|room| format!("the order of layers has a room `{room}` that is not there"))
        .collect()
}

/// Files that use each other in a circle. A folder's `mod.rs` may name what lies in the folder; what lies there and uses
/// `super::` makes a circle of it.
pub fn file_circles(sources: &[TextFile]) -> Vec<String> {
    let files: Vec<File> = sources.iter().map(File::read).collect();
    let by_module: BTreeMap<&[String], usize> =
        files.iter().enumerate().map(|(index, file)| (file.module.as_slice(), index)).collect();
    let target =
        |path: &[String]| (1..=path.len()).rev().find_map(|end| by_module.get(&path[..end]).copied());
    let uses: Vec<BTreeSet<usize>> = files
        .iter()
        .enumerate()
        .map(|(index, file)| {
            file.paths.iter().filter_map(|(path, _)| target(path)).filter(|to| *to != index).collect()
        })
        .collect();
    let reached_from = |start: usize| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<usize> = uses[start].iter().copied().collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(&uses[next]);
            }
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..files.len()).map(reached_from).collect();
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for index in 0..files.len() {
        let circle: Vec<usize> =
            reached[index].iter().copied().filter(|other| reached[*other].contains(&index)).collect();
        if circle.len() > 1 && told.insert(circle.clone()) {
            let names: Vec<&str> = circle.iter().map(|file| files[*file].path.as_str()).collect();
            found.push(format!("files use each other in a circle: {}", names.join(", ")));
        }
    }
    found
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
