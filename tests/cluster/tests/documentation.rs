//! Every example in SQL that README and docs show runs as it stands, by psql, in the order of its page.

use counter_ext_cluster_tests::{Cluster, Settings, pages};
use std::fs;

/// What a page takes for granted that the reader has: tables of an application that is being moved.
fn taken_for_granted(page: &str) -> &'static str {
    match page {
        "docs/guide/visitors.md" => "CREATE TABLE daily_uniques (day date, users text);",
        "docs/guide/caches.md" => "CREATE TABLE taggings (tag text);",
        _ => "",
    }
}

/// Pages whose SQL is for databases of other kinds, or for several servers: the tests of migrations and of nodes run it there.
const OF_OTHERS: [&str; 2] = ["docs/clients.md", "docs/many-nodes.md"];

/// README makes the extension itself.
fn makes_extension(page: &str) -> bool {
    page == "README.md"
}

#[test]
fn every_example_runs_as_it_stands() {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    cluster.connect().must("CREATE ROLE app; CREATE ROLE dashboard; CREATE ROLE ops");
    let mut run = 0;
    for page in pages::all() {
        let blocks = pages::blocks(&pages::text(&page), "sql");
        if blocks.is_empty() || OF_OTHERS.contains(&page.as_str()) {
            continue;
        }
        let database = format!("page_{run}");
        cluster.connect().must(&format!("CREATE DATABASE {database}"));
        let extension = if makes_extension(&page) { "" } else { "CREATE EXTENSION counter_ext;" };
        let script = format!("{extension}\n{}\n{}", taken_for_granted(&page), blocks.join("\n"));
        let path = cluster.file(&page.replace('/', "_"));
        fs::write(&path, script).expect("write the script");
        cluster.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", &database, "--file", &path]);
        run += 1;
    }
    assert!(run >= 10, "only {run} pages have SQL");
    cluster.finish();
}

#[test]
fn blocks_are_cut_out_by_language() {
    let page =
        "text\n```\nshell\n```\n```sql\nSELECT 1;\n```\n```python\nx = 1\n```\n```sql\nSELECT 2;\n```\n";
    assert_eq!(pages::blocks(page, "sql"), ["SELECT 1;\n", "SELECT 2;\n"]);
    assert_eq!(pages::blocks(page, "python"), ["x = 1\n"]);
}
