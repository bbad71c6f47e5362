//! Links from one page of the project to another, and to headings.

use std::collections::HashSet;
use std::path::{Component, Path};

use crate::repository::{TextFile, root};

/// Links of pages that lead to no file, or to no heading of it. Addresses of other sites are not looked at.
pub fn violations(files: &[TextFile]) -> Vec<String> {
    let mut found = Vec::new();
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, line) in page.text.lines().enumerate() {
            for target in targets(line).filter(|target| !target.contains("://")) {
                if let Some(why) = broken(files, &page.path, target) {
                    found.push(format!("{}:{}: {target}: {why}", page.path, number + 1));
                }
            }
        }
    }
    found
}

/// What the links of a line, and its pictures, point to.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

fn broken(files: &[TextFile], page: &str, target: &str) -> Option<&'static str> {
    let (path, heading) =
        target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let path = if path.is_empty() { page.to_owned() } else { beside(page, path) };
    if !root().join(&path).exists() && !files.iter().any(|file| file.path == path) {
        return Some("there is no such file");
    }
    let heading = heading?;
    let file = files.iter().find(|file| file.path == path);
    (!file.is_some_and(|file| headings(&file.text).contains(heading))).then_some("there is no such heading")
}

/// A path that a page names, from the root.
fn beside(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.extend(part.to_str()),
            _ => (),
        }
    }
    parts.join("/")
}

/// The anchors that headings are given: small letters, hyphens for spaces, no other signs.
fn headings(text: &str) -> HashSet<String> {
    let mut in_code = false;
    let mut found = HashSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if let Some(title) = line.strip_prefix('#').filter(|_| !in_code) {
            let title = title.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_and_headings_that_are_not_there_are_found() {
        let file = |path: &str, text: &str| TextFile { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file("docs/zz/a.md", "[b](../zb.md#two-words), [c](zc.md) and [d](../zb.md#three)"),
            file(
                "docs/zb.md",
                "# One\n## Two words\n```\n# three\n```\n[up](#one) [x](https://example.org/#y)\n",
            ),
        ];
        let found = violations(&files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("zc.md: there is no such file"), "{found:?}");
        assert!(found[1].ends_with("../zb.md#three: there is no such heading"), "{found:?}");
    }
}
