//! What we depend on: licences we may ship with, sources anybody can get, versions we chose.

use serde_json::Value;

/// The `allow` list of the `[licenses]` section of `deny.toml`, which cargo-deny reads too.
pub fn allowed_licences(deny_toml: &str) -> Vec<String> {
    let section = deny_toml.split("[licenses]").nth(1).unwrap_or_default();
    let list = section.split("allow = [").nth(1).unwrap_or_default();
    let list = list.split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What in the output of `cargo metadata` is not as it should be.
pub fn violations(metadata: &Value, allowed: &[String]) -> Vec<String> {
    let members = strings(&metadata["workspace_members"]);
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let ours = members.iter().any(|id| package["id"] == **id);
        found.extend(licence_violation(package, allowed));
        if ours {
            found.extend(requirement_violations(package));
        } else {
            found.extend(source_violation(package));
        }
    }
    found
}

fn licence_violation(package: &Value, allowed: &[String]) -> Option<String> {
    let name = text(package, "name");
    let Some(licence) = package["license"].as_str() else {
        return Some(format!("{name}: no licence"));
    };
    let terms = licence_terms(licence);
    let holds = Expression { terms: &terms, at: 0, allowed }.any();
    (!holds).then(|| format!("{name}: the licence {licence} is not in deny.toml"))
}

fn source_violation(package: &Value) -> Option<String> {
    let source = package["source"].as_str().unwrap_or("a path outside the workspace");
    (!source.starts_with("registry+")).then(|| format!("{}: comes from {source}", text(package, "name")))
}

fn requirement_violations(package: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let (name, requirement) = (text(dependency, "name"), text(dependency, "req"));
        // A member of the workspace is known by its path.
        let by_path = dependency["path"].is_string();
        if requirement.contains('*') && !by_path {
            found.push(format!("{}: any version of {name} will do, it says", text(package, "name")));
        }
        if name.starts_with("pgrx") && !requirement.starts_with('=') {
            found.push(format!("{}: {name} is not pinned with '=' ({requirement})", text(package, "name")));
        }
    }
    found
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An SPDX expression in words; `/` is how old crates write OR.
fn licence_terms(licence: &str) -> Vec<String> {
    let spaced = licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let spaced = spaced.replace(" WITH ", "+WITH+");
    spaced.split_whitespace().map(|term| term.replace("+WITH+", " WITH ")).collect()
}

/// Whether we may use what carries a licence expression; AND binds closer than OR.
struct Expression<'a> {
    terms: &'a [String],
    at: usize,
    allowed: &'a [String],
}

impl Expression<'_> {
    fn any(&mut self) -> bool {
        let mut holds = self.all();
        while self.take("OR") {
            holds |= self.all();
        }
        holds
    }

    fn all(&mut self) -> bool {
        let mut holds = self.one();
        while self.take("AND") {
            holds &= self.one();
        }
        holds
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let holds = self.any();
            return self.take(")") && holds;
        }
        let Some(term) = self.terms.get(self.at) else {
            return false;
        };
        self.at += 1;
        self.allowed.contains(term)
    }

    fn take(&mut self, word: &str) -> bool {
        let there = self.terms.get(self.at).is_some_and(|term| term == word);
        self.at += usize::from(there);
        there
    }
}
