//! What README, docs and ops/ say is so: every example in SQL runs as it stands, by psql, in the order of its page; the reference
//! names what the catalog has, in the catalog's words; what ops/ asks for is there to be asked for.

use counter_ext_cluster_tests::monitoring::{self, Exporter};
use counter_ext_cluster_tests::{Cluster, Session, Settings, pages};
use std::collections::BTreeSet;
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
    let mut session = cluster.connect();
    session.must("CREATE EXTENSION counter_ext");
    the_reference_says_what_the_catalog_says(&mut session);
    memory_is_what_operations_says(&mut session);
    what_ops_asks_for_is_there(&cluster, &mut session);
    cluster.finish();
}

/// A row of a table of docs/reference.md: what it is about, and what it says up to the first full stop.
struct Row {
    signature: String,
    says: String,
}

impl Row {
    fn name(&self) -> &str {
        let first = self.signature.trim_start_matches("`CALL ").trim_start_matches('`');
        first.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '.').next().unwrap_or_default()
    }

    /// Names, types and defaults of its arguments.
    fn words(&self) -> BTreeSet<&str> {
        self.signature.split(|c: char| !c.is_alphanumeric() && c != '_').collect()
    }
}

/// The rows of the tables below a heading, up to the next of its rank.
fn rows(page: &str, heading: &str) -> Vec<Row> {
    let section = page.lines().skip_while(|line| *line != heading).skip(1);
    let lines =
        section.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `"));
    let rows =
        lines.filter_map(|line| line.trim_end_matches('|').split_once(" | ")).map(|(signature, says)| Row {
            signature: format!("`{signature}"),
            says: plain(says.split(". ").next().unwrap_or_default()),
        });
    rows.collect()
}

/// Words of a page without marks of code, and with the text of links in place of links.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((name, after)) =
            link.split_once("](").and_then(|(name, after)| Some((name, after.split_once(')')?.1)))
        else {
            break;
        };
        plain += before;
        plain += name;
        rest = after;
    }
    (plain + rest).replace('`', "").trim().trim_end_matches('.').to_owned()
}

/// Members of the extension among objects `o`.
const MEMBERS: &str =
    "JOIN pg_depend d ON d.objid = o.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'counter_ext'";

fn the_reference_says_what_the_catalog_says(session: &mut Session) {
    let page = pages::text("docs/reference.md");
    let mut wrong = functions_that_differ(session, &rows(&page, "## Functions"));
    let views = "pg_class o {} WHERE d.classid = 'pg_class'::regclass AND o.relnamespace = 'public'::regnamespace AND o.relkind = 'v'";
    let types = "pg_type o {} WHERE d.classid = 'pg_type'::regclass AND o.typnamespace = 'public'::regnamespace AND o.typelem = 0
        AND o.typtype = 'b'";
    for (heading, name, catalog, members) in [
        ("## Views", "relname", "pg_class", views.replace("{}", MEMBERS)),
        ("## Types", "typname", "pg_type", types.replace("{}", MEMBERS)),
    ] {
        let found: Vec<(String, String)> = session.pairs(&format!(
            "SELECT o.{name}::text, coalesce(obj_description(o.oid, '{catalog}'), '') FROM {members}"
        ));
        let documented = rows(&page, heading).into_iter().map(|row| (row.name().to_owned(), row.says));
        wrong.extend(difference(heading, found, documented.collect()));
    }
    let settings: Vec<(String, String)> = session.pairs(
        "SELECT name, '' FROM pg_settings WHERE name LIKE 'counter\\_ext.%' AND name NOT LIKE '%.debug%'",
    );
    let documented = rows(&page, "## Settings").into_iter().map(|row| (row.name().to_owned(), String::new()));
    wrong.extend(difference("## Settings", settings, documented.collect()));
    wrong.extend(columns_without_a_word(session, &page));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn functions_that_differ(session: &mut Session, documented: &[Row]) -> Vec<String> {
    let routines: Vec<(String, String)> = session.pairs(&format!(
        "SELECT o.proname || ' ' || array_to_string(coalesce(o.proargnames[:o.pronargs], '{{}}'), ' '), coalesce(obj_description(o.oid, 'pg_proc'), '')
         FROM pg_proc o {MEMBERS} WHERE d.classid = 'pg_proc'::regclass AND o.pronamespace = 'public'::regnamespace"
    ));
    assert!(routines.len() > 200, "only {} functions", routines.len());
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for (declared, comment) in &routines {
        let mut words = declared.split(' ');
        let name = words.next().unwrap_or_default();
        let arguments: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
        // Of overloads the row that has all its arguments, and the fewest others.
        let rows = documented.iter().enumerate();
        let fitting = rows.filter(|(_, row)| row.name() == name && row.words().is_superset(&arguments));
        match fitting.min_by_key(|(_, row)| row.words().len()) {
            None => wrong.push(format!("{declared}: the reference has no row with these arguments")),
            Some((index, row)) => {
                found.insert(index);
                if row.says != *comment {
                    wrong.push(format!("{declared}\n  reference: {}\n  comment:   {comment}", row.says));
                }
            }
        }
    }
    let gone = documented.iter().enumerate().filter(|(index, _)| !found.contains(index));
    wrong.extend(gone.map(|(_, row)| format!("{}: there is no such function", row.signature)));
    wrong
}

fn difference(heading: &str, found: Vec<(String, String)>, documented: Vec<(String, String)>) -> Vec<String> {
    let (found, documented): (BTreeSet<_>, BTreeSet<_>) =
        (found.into_iter().collect(), documented.into_iter().collect());
    let differing = found.symmetric_difference(&documented);
    differing
        .map(|(name, says)| format!("{heading}, {name}: {says}: the reference and the server differ"))
        .collect()
}

/// Columns of our views that no page names where it describes the view.
fn columns_without_a_word(session: &mut Session, reference: &str) -> Vec<String> {
    const VIEWS: [(&str, &str, &str); 5] = [
        ("counters", "docs/reference.md", "## Views"),
        ("counter_caches", "docs/reference.md", "## Views"),
        ("counter_expiries", "docs/reference.md", "## Views"),
        ("counters_everywhere", "docs/reference.md", "## Views"),
        ("counter_stats", "docs/operations.md", "## `counter_stats`"),
    ];
    assert_eq!(rows(reference, "## Views").len(), VIEWS.len(), "views");
    let mut missing = Vec::new();
    for (view, page, heading) in VIEWS {
        let text = pages::text(page);
        let section = text.lines().skip_while(|line| *line != heading).skip(1);
        let section = section.take_while(|line| !line.starts_with("## "));
        // The reference has a row a view, the other page a row a column.
        let lines =
            section.filter(|line| page != "docs/reference.md" || line.starts_with(&format!("| `{view}`")));
        let words: BTreeSet<&str> =
            lines.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).collect();
        let columns: Vec<(String, String)> = session.pairs(&format!(
            "SELECT attname::text, '' FROM pg_attribute WHERE attrelid = '{view}'::regclass AND attnum > 0"
        ));
        let untold = columns.iter().filter(|(column, _)| !words.contains(column.as_str()));
        missing.extend(untold.map(|(column, _)| format!("{page} does not say what {view}.{column} is")));
    }
    missing
}

/// The formulas for shared memory in docs/operations.md.
fn memory_is_what_operations_says(session: &mut Session) {
    let ratio: f64 = session.value(
        "SELECT memory_bytes::float8 / (max_counters * 165 + max_sketches * 400 + 512 * 16384 + max_limits * 48
             + current_setting('counter_ext.max_databases')::int * 4096
             + (current_setting('max_connections')::int + current_setting('max_worker_processes')::int) * 600)
         FROM counter_stats",
    );
    assert!((0.9..1.05).contains(&ratio), "shared memory is {ratio} of what the formulas say");
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("counter_ext_")).map(str::to_owned).collect()
}

fn what_ops_asks_for_is_there(cluster: &Cluster, session: &mut Session) {
    let dashboard = pages::text("ops/grafana.json");
    assert!(
        session.value::<bool>(&format!(
            "SELECT jsonb_array_length($json${dashboard}$json$::jsonb -> 'panels') > 10"
        )),
        "the dashboard's panels"
    );
    let operations = pages::text("docs/operations.md");
    let alerts = pages::text("ops/alerts.yml");
    let alerts = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let unexplained: Vec<&str> = alerts.filter(|alert| !operations.contains(&format!("`{alert}`"))).collect();
    assert!(unexplained.is_empty(), "docs/operations.md does not say what to do at {unexplained:?}");
    if monitoring::is_here("promtool", "prometheus") {
        let ops = pages::root().join("ops");
        monitoring::run_in(&ops, "promtool", &["check", "rules", "alerts.yml"]);
        monitoring::run_in(&ops, "promtool", &["test", "rules", "alerts_test.yml"]);
    }
    if !monitoring::is_here(monitoring::EXPORTER, monitoring::EXPORTER) {
        return;
    }
    // docs/operations.md has made the role and its grants in a database of its own.
    session.must(
        "GRANT SELECT ON counter_ext.source_offset, counter_ext.board_state, counter_ext.watch_changed TO exporter;
         SELECT counter_incr('ops:a')",
    );
    let exporter = Exporter::start(cluster, "exporter", &pages::root().join("ops/queries.yml"));
    let exported = exporter.read("counter_ext_work_notification_queue_usage");
    let there = metrics(&exported);
    // A line of `metrics:` that is no label is a metric.
    let mut asked = metrics(&dashboard);
    asked.extend(metrics(&pages::text("ops/alerts.yml")));
    let mut namespace = "";
    let queries = pages::text("ops/queries.yml");
    for line in queries.lines() {
        match (line.strip_suffix(':'), line.trim_start().strip_prefix("- ")) {
            (Some(name), _) if name.starts_with("counter_ext") => namespace = name,
            (_, Some(metric)) if !metric.contains("usage: LABEL") => {
                asked.extend(metric.split_once(':').map(|(name, _)| format!("{namespace}_{name}")));
            }
            _ => (),
        }
    }
    let missing: Vec<&String> = asked.difference(&there).collect();
    assert!(missing.is_empty(), "not exported: {missing:?}\n{}", exporter.log());
    let up = "counter_ext_preloaded{datname=\"postgres\"";
    assert!(exported.lines().any(|line| line.starts_with(up) && line.ends_with(" 1")), "{exported}");
}

#[test]
fn blocks_are_cut_out_by_language() {
    let page =
        "text\n```\nshell\n```\n```sql\nSELECT 1;\n```\n```python\nx = 1\n```\n```sql\nSELECT 2;\n```\n";
    assert_eq!(pages::blocks(page, "sql"), ["SELECT 1;\n", "SELECT 2;\n"]);
    assert_eq!(pages::blocks(page, "python"), ["x = 1\n"]);
}
