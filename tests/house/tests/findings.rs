//! Each rule finds what breaks it, and lets pass what does not.

use counter_ext_house::dependencies::{self, allowed_licences};
use counter_ext_house::layers::{self, listed_exceptions};
use counter_ext_house::repository::TextFile;
use counter_ext_house::{growth, shared_memory, threads, traces, unsafety};
use serde_json::json;

fn file(path: &str, text: &str) -> TextFile {
    TextFile { path: path.to_owned(), text: text.to_owned() }
}

fn layer_findings(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<TextFile> = files.iter().map(|(path, text)| file(path, text)).collect();
    layers::violations(&sources, &[])
}

fn assert_finds(found: &[String], part: &str) {
    assert!(found.len() == 1 && found[0].contains(part), "expected one finding with {part:?}, got {found:?}");
}

fn assert_clean(found: &[String]) {
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_call_down_the_layers_is_fine() {
    assert_clean(&layer_findings(&[
        ("src/lib.rs", "mod api; fn init() { worker::register(); memory::init(); }"),
        ("src/api/counting.rs", "use crate::{counting::incr, errors, pg::xact};"),
        ("src/counting/mod.rs", "use crate::rows; fn f() { crate::memory::add() }"),
        ("src/worker/mod.rs", "use crate::counting::fold; use super::pg;"),
        ("src/memory/mod.rs", "use crate::rows;"),
        ("src/pg/mod.rs", "use crate::settings; // crate::api\nconst S: &str = \"crate::api::x\";"),
    ]));
}

#[test]
fn a_call_up_the_layers_is_found_however_it_is_written() {
    for text in [
        "use crate::api::x;",
        "use crate::{errors, api::{x, y}};",
        "fn f() { crate::api::x() }",
        "use super::api;",
        "mod inner { use super::super::api::x; }",
        "macro_rules! m { () => { $crate::api::x() } }",
        "fn f() { vec![crate::api::x()]; }",
        "pub fn f(x: crate::api::T) {}",
    ] {
        assert_finds(&layer_findings(&[("src/counting/mod.rs", text)]), "`counting` uses `api`");
    }
    assert_finds(&layer_findings(&[("src/pg/a/b.rs", "use super::super::super::rows;")]), "`pg` uses `rows`");
}

#[test]
fn hiding_a_room_is_found() {
    let with_lib = |lib: &str| layer_findings(&[("src/lib.rs", lib), ("src/pg/mod.rs", "use crate::Thing;")]);
    assert_finds(&with_lib("pub use api::Thing;"), "`pg` uses `api`");
    assert_finds(&with_lib("use crate::api::{Other, Real as Thing};"), "`pg` uses `api`");
    assert_clean(&with_lib("use settings::Thing;"));
    assert_finds(&layer_findings(&[("src/lib.rs", "pub use api::*;")]), "hides");
    for text in ["use crate as c;", "use crate::*;", "use super::*;", "use crate::{self as c};"] {
        assert_finds(&layer_findings(&[("src/pg/mod.rs", text)]), "hides");
    }
    assert_clean(&layer_findings(&[("src/pg/mod.rs", "mod tests { use super::*; }")]));
}

#[test]
fn the_worker_comes_in_from_the_other_end() {
    assert_finds(&layer_findings(&[("src/worker/mod.rs", "use crate::api::x;")]), "`worker` uses `api`");
    assert_finds(&layer_findings(&[("src/api/mod.rs", "use crate::worker::wake;")]), "`api` uses `worker`");
}

#[test]
fn circles_and_unknown_rooms_are_found() {
    let circle = [("src/rows/mod.rs", "use crate::memory::x;"), ("src/memory/mod.rs", "use crate::rows::x;")];
    assert_finds(&layer_findings(&circle), "circle: memory, rows");
    assert_finds(&layer_findings(&[("src/helpers.rs", "")]), "`helpers` has no place");
}

#[test]
fn a_room_that_is_not_there_is_found() {
    let found = layers::empty_rooms(&[file("src/lib.rs", ""), file("src/api/x.rs", "")]);
    assert!(found.iter().any(|finding| finding.contains("`rows`")), "{found:?}");
    assert!(!found.iter().any(|finding| finding.contains("`api`")), "{found:?}");
}

#[test]
fn circles_between_files_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let sources: Vec<TextFile> = files.iter().map(|(path, text)| file(path, text)).collect();
        layers::file_circles(&sources)
    };
    let (a, b) = ("src/rows/a.rs", "src/rows/b.rs");
    assert_finds(
        &circles(&[(a, "use super::b::f;"), (b, "fn f() { crate::rows::a::g() }")]),
        "rows/a.rs, src/rows/b.rs",
    );
    let three =
        [(a, "use super::b;"), (b, "use crate::rows::c::{d, e};"), ("src/rows/c.rs", "use super::a;")];
    assert_finds(&circles(&three), "rows/c.rs");
    let with_parent = [("src/rows/mod.rs", "mod a; use self::a::x;"), (a, "use super::y;")];
    assert_finds(&circles(&with_parent), "rows/mod.rs, src/rows/a.rs");
    assert_clean(&circles(&[
        ("src/rows/mod.rs", "pub mod a; fn y() {}"),
        (a, "use super::y; use super::b;"),
        (b, ""),
    ]));
    assert_clean(&circles(&[
        (a, "use super::b; mod tests { use super::*; use crate::rows::a::z; }"),
        (b, ""),
    ]));
}

#[test]
fn exceptions_are_read_and_have_to_be_needed() {
    let text = "# A\n```\nx -> y\n```\n## Exceptions\n\n```text\napi -> worker: wakes it\npg → rows\n```\n## B\n```\nq -> r\n```\n";
    let exceptions = listed_exceptions(text);
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(exceptions, [pair("api", "worker"), pair("pg", "rows")]);
    let sources = [file("src/api/mod.rs", "use crate::worker::wake;")];
    assert_finds(&layers::violations(&sources, &exceptions), "nothing needs the exception pg -> rows");
}

#[test]
fn a_reference_for_writing_to_shared_memory_is_found() {
    let found = |path, text| shared_memory::violations(&file(path, text));
    assert_finds(&found("src/memory/a.rs", "fn f() { unsafe { &mut *p }.x = 1; }"), "a.rs:1: a `&mut`");
    assert_finds(
        &found("src/memory/b/c.rs", "fn f() { g(unsafe { from_raw_parts_mut(p, 3) }) }"),
        "a `&mut`",
    );
    assert_clean(&found("src/memory/a.rs", "fn f(x: &mut u8) { g(&raw mut (*p).y); h(&mut x) }"));
    assert_clean(&found("src/pg/a.rs", "fn f() { unsafe { &mut *p } }"));
}

#[test]
fn threads_and_what_is_kept_for_them_are_found() {
    let found = |text| threads::violations(&file("src/rows/a.rs", text));
    assert_finds(&found("fn f() { std::thread::spawn(g); }"), "a.rs:1: a thread");
    assert_finds(&found("use std::thread::{self, Builder};"), "a thread");
    assert_finds(&found("use std::{mem, thread as t};"), "a thread");
    assert_finds(&found("fn f() { libc::pthread_create(a, b, c, d); }"), "a thread");
    assert_finds(&found("thread_local! { static A: Cell<u8> = const { Cell::new(0) }; }"), "a thread");
    assert_clean(&found("session_local! { static A: Cell<u8> = const { Cell::new(0) }; }"));
    assert_clean(&found("fn f() { if !std::thread::panicking() { let thread = 1; } }"));
    assert_clean(&found("#[cfg(test)]\nmod tests { fn f() { std::thread::scope(g); } }"));
}

fn unsafe_findings(text: &str) -> Vec<String> {
    unsafety::violations(&file("src/pg/x.rs", text))
}

#[test]
fn unsafe_and_pg_sys_outside_their_rooms_are_found() {
    let outside = |text| unsafety::violations(&file("src/rows/mod.rs", text));
    assert_finds(
        &outside("fn f() {\n // SAFETY: no.\n unsafe { g() } }"),
        "src/rows/mod.rs:3: `unsafe` outside",
    );
    assert_finds(&outside("use pgrx::pg_sys;"), "`pg_sys` outside");
    assert_finds(&outside("use pgrx::pg_sys::{self, Datum};"), "`pg_sys` outside");
    assert_clean(&outside("use pgrx::pg_sys::panic::ErrorReport;"));
    assert_clean(&outside("// unsafe pg_sys\nconst A: &str = \"unsafe pg_sys\";"));
}

#[test]
fn unsafe_has_to_say_why() {
    assert_finds(&unsafe_findings("fn f() { unsafe { g() } }"), "without a `// SAFETY:`");
    assert_finds(&unsafe_findings("unsafe impl Send for T {}"), "without a `// SAFETY:`");
    assert_finds(&unsafe_findings("// SAFETY: a\n\n\n\nunsafe impl Send for T {}"), "without a `// SAFETY:`");
    assert_clean(&unsafe_findings("// SAFETY: a\n// b\n// c\n// d\nfn f() {\n let x =\n unsafe { g() }; }"));
    assert_clean(&unsafe_findings("type F = unsafe extern \"C\" fn(i32);"));
    assert_clean(&unsafe_findings("#[unsafe(no_mangle)]\nfn f() {}"));
}

#[test]
fn unsafe_functions_have_to_say_what_they_ask_for() {
    assert_finds(&unsafe_findings("/// F.\npub unsafe fn f() {}"), "`# Safety`");
    assert_finds(&unsafe_findings("unsafe trait T {}"), "`# Safety`");
    assert_finds(&unsafe_findings("/// # Safety\n/// x\nfn g() {}\npub unsafe fn f() {}"), "`# Safety`");
    assert_clean(&unsafe_findings("/// # Safety\n/// x\n#[inline]\npub unsafe extern \"C\" fn f() {}"));
    assert_clean(&unsafe_findings("impl T for X { unsafe fn f() {} }"));
    assert_finds(&unsafe_findings("impl X where for<'a> A: B<'a> { unsafe fn f() {} }"), "`# Safety`");
    assert_clean(&unsafe_findings("// SAFETY: as in C.\nunsafe extern \"C\" { unsafe fn f(); }"));
}

#[test]
fn a_dependency_has_to_be_licensed_public_and_chosen() {
    let allowed = allowed_licences(
        "[bans]\n[licenses]\nallow = [\n \"MIT\", # x\n \"Apache-2.0 WITH LLVM-exception\",\n]\n",
    );
    assert_eq!(allowed, ["MIT", "Apache-2.0 WITH LLVM-exception"]);
    let findings = |package: serde_json::Value| {
        dependencies::violations(&json!({"workspace_members": ["ours"], "packages": [package]}), &allowed)
    };
    let licensed = |licence: &str| findings(json!({"name": "x", "license": licence, "source": "registry+x"}));
    for good in
        ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND MIT", "Apache-2.0 WITH LLVM-exception"]
    {
        assert_clean(&licensed(good));
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND GPL-3.0", "Apache-2.0", ""] {
        assert_finds(&licensed(bad), "is not in deny.toml");
    }
    assert_finds(&findings(json!({"name": "x", "source": "registry+x"})), "no licence");
    assert_finds(&findings(json!({"name": "x", "license": "MIT", "source": "git+x"})), "comes from git+x");
    let needs = |name: &str, req: &str| {
        findings(
            json!({"id": "ours", "name": "a", "license": "MIT", "dependencies": [{"name": name, "req": req}]}),
        )
    };
    assert_clean(&needs("pgrx", "=0.18.1"));
    assert_finds(&needs("pgrx-tests", "^0.18.1"), "not pinned");
    assert_finds(&needs("rand", "*"), "any version");
}

#[test]
fn traces_of_a_machine_are_found() {
    let findings = |path: &str, text: String| traces::violations(&file(path, &text));
    let index = ["registry+https://github.com/rust-lang/crates", ".io-index"].concat();
    assert_clean(&findings("Cargo.lock", format!("source = \"{index}\"")));
    assert_finds(&findings("Cargo.lock", "source = \"registry+https://example.com\"".into()), "registry");
    assert_finds(&findings("README.md", ["see https://crates", ".io/x"].concat()), "names the registry");
    assert_finds(&findings(".cargo/config.toml", "[source.x]".into()), "another registry");
    for directory in ["root", "work", "home"] {
        assert_finds(&findings("a.sh", format!("cd /{directory}/x")), "a path below");
        assert_finds(&findings("a.sh", format!("cd \"/{directory}\"")), "a path below");
        assert_clean(&findings(
            "a.sh",
            format!("cd \"$here/{directory}\" /{directory}ed ~/{directory} a/{directory}/b"),
        ));
    }
}

mod scripts {
    use counter_ext_house::repository::TextFile;
    use counter_ext_house::script::{beyond_ascii, unqualified, violations};

    fn found(sql: &str) -> Vec<String> {
        unqualified(sql).into_iter().map(|each| each.what).collect()
    }

    #[test]
    fn what_is_not_ascii_is_found_in_scripts() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        assert_eq!(beyond_ascii(&file("a.sql", "-- a\n-- b \u{2026}\n")), ["a.sql:2: a script is ASCII"]);
        assert_eq!(beyond_ascii(&file("a.sql", "-- a ...")), [""; 0]);
        assert_eq!(beyond_ascii(&file("a.md", "b \u{2026}")), [""; 0]);
    }

    #[test]
    fn names_with_a_schema_are_fine() {
        for sql in [
            "CREATE TABLE s.t (a text COLLATE \"C\" DEFAULT pg_catalog.now(), PRIMARY KEY (a)) WITH (fillfactor = 10);",
            "CREATE TABLE s.t (CHECK (pg_catalog.octet_length(a) OPERATOR(pg_catalog.>=) 1 AND a IN ('x')));",
            "CREATE FUNCTION f(a bigint DEFAULT -1) RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT @extschema@.g($1::pg_catalog.text); END;",
            "CREATE OPERATOR @extschema@.= (LEFTARG = x, FUNCTION = s.eq, COMMUTATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.eqsel);",
            "CREATE OPERATOR CLASS o DEFAULT FOR TYPE x USING btree AS OPERATOR 1 @extschema@.<, FUNCTION 1 s.cmp(x, x);",
            "CREATE CAST (x AS bigint) WITH FUNCTION s.f(x); REVOKE ALL ON FUNCTION s.f(x) FROM PUBLIC;",
            "CREATE FUNCTION s.f() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN PERFORM f(1 + 1) FROM t; END $$;",
            "WITH a AS (DELETE FROM s.t RETURNING x), b AS (SELECT x FROM a) INSERT INTO s.u SELECT x FROM b;",
            "COMMENT ON FUNCTION f(text) IS 'what f(x) + g(y) does'; -- f(x) + 1\n/* g(y) */",
        ] {
            assert_eq!(found(sql), [""; 0], "{sql}");
        }
    }

    #[test]
    fn what_search_path_decides_is_found() {
        for (sql, what) in [
            ("SELECT format('x', 1);", "format("),
            ("WITH a AS (SELECT 1) SELECT x FROM b;", "relation b"),
            ("SELECT 1 + 2;", "operator +"),
            ("SELECT a FROM t;", "relation t"),
            ("SELECT a FROM s.t JOIN u ON true;", "relation u"),
            ("CREATE TABLE s.t (a timestamptz DEFAULT now());", "now("),
            ("CREATE TABLE s.t (CHECK (a >= 1));", "operator >="),
            ("CREATE VIEW s.v AS SELECT f(a) FROM s.t;", "f("),
            ("CREATE CAST (x AS bigint) WITH FUNCTION f(x);", "f("),
            ("CREATE TRIGGER a AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION f();", "f("),
            ("CREATE OPERATOR @extschema@.= (LEFTARG = x, FUNCTION = eq);", "function ="),
            ("CREATE OPERATOR @extschema@.= (LEFTARG = x, FUNCTION = s.eq, NEGATOR = <>);", "negator ="),
            ("CREATE OPERATOR @extschema@.= (LEFTARG = x, FUNCTION = s.eq, JOIN = eqjoinsel);", "join ="),
            ("CREATE OPERATOR CLASS o FOR TYPE x USING btree AS OPERATOR 1 <;", "operator <"),
            ("CREATE OPERATOR CLASS o FOR TYPE x USING btree AS FUNCTION 1 cmp(x, x);", "cmp("),
            ("CREATE AGGREGATE a(x) (SFUNC = step, STYPE = x);", "sfunc ="),
            (
                "DO $$ BEGIN EXECUTE format('x'); END $$;\nDO $$\nBEGIN\n EXECUTE pg_catalog.format('CREATE VIEW s.v AS SELECT g(1)');\nEND $$;",
                "g(",
            ),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT g(); END;", "g("),
            ("CREATE OR REPLACE FUNCTION s.f() RETURNS int LANGUAGE c;", "takes over"),
            ("CREATE TABLE IF NOT EXISTS s.t (a int);", "takes over"),
        ] {
            assert!(found(sql).iter().any(|each| each.contains(what)), "{sql}: {:?}", found(sql));
        }
    }

    #[test]
    fn sql_in_rust_is_looked_through() {
        let file = |text: &str| TextFile { path: "src/api/x.rs".to_owned(), text: text.to_owned() };
        assert_eq!(violations(&file("fn f() { run(\"SELECT 1 + 2\"); }")).len(), 1);
        assert_eq!(
            violations(&file(
                "extension_sql!(r#\"GRANT SELECT ON t TO PUBLIC; SELECT f();\"#, name = \"x\");"
            ))
            .len(),
            1
        );
        assert_eq!(violations(&file("/// Select f(x) of 1 + 2.\nfn f() { say(\"1 + 2\"); }")).len(), 0);
    }
}

#[test]
fn other_ways_to_other_rights_are_found() {
    use counter_ext_house::repository::TextFile;
    use counter_ext_house::rights::violations;
    let found =
        |path: &str, text: &str| violations(&TextFile { path: path.to_owned(), text: text.to_owned() }).len();
    let switch = "fn f() { unsafe { pg_sys::SetUserIdAndSecContext(a, b) } }";
    assert_eq!(found("src/pg/xact.rs", switch), 1);
    assert_eq!(found("src/pg/confined.rs", switch), 0);
    assert_eq!(found("src/rows/x.rs", "use pgrx::prelude::*;\nfn f() { Spi::run(\"SELECT 1\"); }"), 1);
    assert_eq!(found("src/rows/x.rs", "use crate::pg::spi::Spi;\nfn f() { Spi::connect(confined); }"), 0);
    assert_eq!(found("src/rows/x.rs", "fn f() { pg_sys::SPI_prepare(a, b, c); }"), 1);
}

fn growth_findings(text: &str) -> Vec<String> {
    growth::violations(&file("src/rows/list.rs", text))
}

#[test]
fn what_grows_without_a_bound_is_found() {
    for (text, name) in [
        ("fn f() { let all: Vec<u8> = ids.iter().collect(); }", "collect"),
        ("fn f() { let all = ids.iter().collect::<Vec<_>>(); }", "collect"),
        ("fn f() { let all = Vec::<u8>::with_capacity(n); }", "with_capacity"),
        ("fn f() { let all = vec![0; n]; }", "vec"),
        ("fn f() { if true { found.push(id); } }", "push"),
        ("fn f(a: &[u8]) -> Vec<u8> { a.to_vec() }", "to_vec"),
    ] {
        assert_finds(&growth_findings(text), &format!("`{name}`"));
    }
}

#[test]
fn what_grows_within_a_bound_or_fallibly_is_fine() {
    for text in [
        "fn f() { let none: Vec<u8> = vec![]; let all = fallible::collect(ids, WHAT)?; }",
        "fn f() {\n    fallible::reserve(&mut all, 1, WHAT)?;\n    all.push(id);\n}",
        "fn f() {\n    // BOUND: three triggers.\n    let all: Vec<_> = names.map(quoted).collect();\n}",
        "//! Names.\n//!\n//! BOUND: names.\n\nfn f() { all.push(name); }",
        "#[cfg(test)]\nmod tests { fn f() { all.push(1); } }",
    ] {
        assert_clean(&growth_findings(text));
    }
}
