//! Tools that compare a database with an application's models leave the extension alone, told what docs/clients.md says; and do the
//! harm that it warns of where they are not.
//!
//! Which versions run is a matter of what is installed: `scripts/setup.sh` takes Debian's, and drizzle-kit by a lock file.

use counter_ext_cluster_tests::projects::{Project, documented, interpreter};
use counter_ext_cluster_tests::{Cluster, Session, Settings};
use std::path::Path;
use std::process::Command;

/// Where an application's functions of the extension are; a database each.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    /// As the docs recommend.
    Counting,
    Public,
    /// With its tables, in a schema that is on search_path, which the docs warn of.
    Own,
}

impl Place {
    fn database(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What the docs have a tool told, where the database has the extension's tables on search_path.
const ELSEWHERE: (&str, &str) = ("PGOPTIONS", "-c search_path=public");

fn start(places: &[Place]) -> Cluster {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    let mut session = cluster.connect();
    for place in places {
        let database = place.database();
        session.must(&format!("CREATE DATABASE {database}"));
        let install = match place {
            Place::Counting => documented("## Migrations and schema dumps")[0]
                .replace("DATABASE app", &format!("DATABASE {database}")),
            Place::Public => "CREATE EXTENSION counter_ext".to_owned(),
            Place::Own => {
                "CREATE EXTENSION counter_ext SCHEMA counter_ext; ALTER DATABASE own SET search_path = counter_ext, public"
                    .to_owned()
            }
        };
        cluster.connect_to(&database).must(&install);
    }
    cluster
}

const MAKE_CACHE: &str = "SELECT counter_cache('public.comments', 'comments:', 'post_id')";

/// The application writes, and what it writes is counted.
fn assert_counts(session: &mut Session) {
    session.must("INSERT INTO public.posts (id, title) VALUES (7, 'seven')");
    session.must("INSERT INTO public.comments (id, post_id) VALUES (1, 7), (2, 7)");
    assert_eq!(session.value::<i64>("SELECT counter_get('comments:7')"), 2);
    session.must("DELETE FROM public.comments; DELETE FROM public.posts");
}

fn assert_extension_is_whole(cluster: &Cluster, database: &str) {
    let mut session = cluster.connect_to(database);
    assert_counts(&mut session);
    let seen: String = session.value("SELECT state FROM counter_caches");
    assert_eq!(seen, "right");
    session.must("SELECT counter_incr('a'); SELECT * FROM counters; SELECT * FROM counter_stats");
}

const ALEMBIC_BY_DEFAULT: &str = "context.configure(connection=connection, target_metadata=Base.metadata)";

struct Alembic<'a> {
    project: Project<'a>,
    python: String,
    revisions: u32,
}

impl Alembic<'_> {
    fn configure(&self, how: &str) {
        let before =
            "from alembic import context\nfrom sqlalchemy import create_engine\nfrom models import Base\n
connection = create_engine(\"postgresql+psycopg2://\").connect()";
        let after = "with context.begin_transaction():\n    context.run_migrations()\nconnection.close()";
        self.project.write("env.py", &format!("{before}\n{how}\n{after}\n"));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(&self.python);
        command.args(["-m", "alembic"]).args(arguments).env("PYTHONPATH", ".");
        command
    }

    /// The operations of a new migration, which is not kept unless it is to be run.
    fn autogenerate(&mut self, environment: &[(&str, &str)]) -> (Vec<String>, String) {
        self.revisions += 1;
        let revision = self.revisions.to_string();
        let mut command = self.command(&["revision", "--autogenerate", "-m", "m", "--rev-id", &revision]);
        let said = self.project.run(command.envs(environment.iter().copied()));
        let script = self.project.read(&format!("versions/{revision}_m.py"));
        let operations = script.lines().map(str::trim).filter(|line| line.starts_with("op."));
        (operations.map(str::to_owned).collect(), said)
    }

    fn operations(&mut self, how: &str) -> Vec<String> {
        self.configure(how);
        let (operations, _) = self.autogenerate(&[]);
        self.forget();
        operations
    }

    fn forget(&self) {
        let script = format!("versions/{}_m.py", self.revisions);
        std::fs::remove_file(self.project.path(&script)).expect("remove a revision");
    }
}

fn drops(operations: &[String]) -> usize {
    operations.iter().filter(|operation| operation.starts_with("op.drop_table")).count()
}

fn alembic<'a>(cluster: &'a Cluster, database: &str) -> Option<Alembic<'a>> {
    let check = ["-c", "import alembic, sqlalchemy, psycopg2"];
    let python = interpreter("python3", &check, "python3-alembic python3-psycopg2")?;
    let project = Project::copy("alembic", cluster, database);
    project.write("versions/.keep", "");
    let alembic = Alembic { project, python, revisions: 0 };
    alembic.configure(ALEMBIC_BY_DEFAULT);
    Some(alembic)
}

#[test]
fn alembic_finds_nothing_to_migrate() {
    let places = [Place::Counting, Place::Public];
    let cluster = start(&places);
    for place in places {
        let database = place.database();
        let mut session = cluster.connect_to(&database);
        let Some(mut alembic) = alembic(&cluster, &database) else { return };
        let (operations, _) = alembic.autogenerate(&[]);
        assert!(
            operations.iter().any(|operation| operation.starts_with("op.create_table")),
            "{operations:#?}"
        );
        let [revision, told] = &documented("### Alembic")[..] else { panic!("not two blocks") };
        let head = "from alembic import op\nrevision = 'counters'\ndown_revision = '1'\n";
        alembic.project.write("versions/counters.py", &(head.to_owned() + revision));
        alembic.project.run(&mut alembic.command(&["upgrade", "head"]));
        alembic.project.run(&mut alembic.command(&["downgrade", "1"]));
        assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_caches"), 0);
        alembic.project.run(&mut alembic.command(&["upgrade", "head"]));

        let left_alone = ", include_name=leave_counters_alone";
        assert!(told.contains(left_alone), "{told}");
        assert_eq!(alembic.operations(ALEMBIC_BY_DEFAULT), [""; 0], "{place:?}, by default");
        assert_eq!(alembic.operations(told), [""; 0], "{place:?}, as documented");
        let untold = alembic.operations(&told.replace(left_alone, ""));
        assert!(drops(&untold) > 30, "{place:?}, all schemas: {untold:#?}");
        assert!(untold.iter().all(|operation| operation.contains("counter_ext")), "{place:?}: {untold:#?}");

        // It would have said what differs.
        session.must("ALTER TABLE posts DROP COLUMN title");
        let differing = alembic.operations(told);
        assert!(
            matches!(&differing[..], [one] if one.starts_with("op.add_column('posts'")),
            "{differing:#?}"
        );
        session.must("ALTER TABLE posts ADD COLUMN title text");

        // Its models do not know the type counter.
        let models = alembic.project.read("models.py");
        alembic.project.write("models.py", &models.replace("base.ischema_names[\"counter\"] = Counter", ""));
        let (_, said) = alembic.autogenerate(&[]);
        assert!(said.contains("Did not recognize type 'counter'"), "{said}");
        assert_extension_is_whole(&cluster, &database);
    }
    cluster.finish();
}

#[test]
fn alembic_is_told_to_look_elsewhere_than_on_search_path() {
    let cluster = start(&[Place::Own]);
    let mut session = cluster.connect_to("own");
    let Some(mut alembic) = alembic(&cluster, "own") else { return };
    let (operations, _) = alembic.autogenerate(&[]);
    assert!(drops(&operations) > 30, "on search_path: {operations:#?}");
    alembic.forget();
    let models = alembic.project.read("models.py");
    alembic.project.write("models.py", &models.replace("\"counter\"\n", "\"counter_ext.counter\"\n"));
    let (operations, _) = alembic.autogenerate(&[ELSEWHERE]);
    assert_eq!(drops(&operations), 0, "{operations:#?}");
    alembic.project.run(alembic.command(&["upgrade", "head"]).envs([ELSEWHERE]));
    session.must(MAKE_CACHE);
    assert_eq!(alembic.autogenerate(&[ELSEWHERE]).0, [""; 0]);
    assert_extension_is_whole(&cluster, "own");
    drop(session);
    cluster.finish();
}

fn django(project: &Project, python: &str, arguments: &[&str]) -> Command {
    let mut command = project.command(python);
    command.args(["-m", "django"]).args(arguments);
    command.env("PYTHONPATH", ".").env("DJANGO_SETTINGS_MODULE", "settings");
    command
}

/// Names of the models that inspectdb writes.
fn inspected(project: &Project, command: &mut Command) -> Vec<String> {
    let models = project.run(command);
    let names = models.lines().filter_map(|line| line.strip_prefix("class ")?.split_once('('));
    names.map(|(name, _)| name.to_owned()).filter(|name| name != "Meta").collect()
}

#[test]
fn django_finds_nothing_to_migrate_and_models_of_the_application_only() {
    let check = ["-c", "import django, psycopg2"];
    let Some(python) = interpreter("python3", &check, "python3-django python3-psycopg2") else { return };
    let ours = ["Comments", "DjangoMigrations", "Posts"];
    let with_views = [
        "Comments",
        "CounterCaches",
        "CounterExpiries",
        "CounterStats",
        "Counters",
        "CountersEverywhere",
        "DjangoMigrations",
        "Posts",
    ];
    let places = [Place::Counting, Place::Public, Place::Own];
    let cluster = start(&places);
    for place in places {
        let database = place.database();
        let project = Project::copy("django", &cluster, &database);
        project.write("blog/__init__.py", "");
        project.write("blog/migrations/__init__.py", "");
        let manage = |arguments: &[&str]| {
            let mut command = django(&project, &python, arguments);
            if place == Place::Own {
                command.env(ELSEWHERE.0, ELSEWHERE.1);
            }
            command
        };
        project.run(&mut manage(&["makemigrations", "blog"]));
        let migration = documented("### Django").remove(0);
        let migration = if place == Place::Own {
            migration.replace("SELECT counter_", "SELECT counter_ext.counter_")
        } else {
            migration
        };
        project.write("blog/migrations/0002_counters.py", &migration);
        project.run(&mut manage(&["migrate"]));
        project.run(&mut manage(&["makemigrations", "--check", "--dry-run"]));
        assert_eq!(inspected(&project, &mut manage(&["inspectdb"])), ours, "{place:?}");
        if place == Place::Own {
            let found = inspected(&project, &mut django(&project, &python, &["inspectdb"]));
            assert!(found.iter().any(|name| name == "AuditHead"), "on search_path: {found:?}");
        } else {
            assert_eq!(inspected(&project, &mut manage(&["inspectdb", "--include-views"])), with_views);
        }
        let mut session = cluster.connect_to(&database);
        assert_extension_is_whole(&cluster, &database);
        // As Django's tests do behind them.
        session.must(
            "INSERT INTO public.posts VALUES (7, 'seven'); INSERT INTO public.comments (id, post_id) VALUES (1, 7)",
        );
        assert_eq!(session.value::<i64>("SELECT counter_get('comments:7')"), 1);
        project.run(&mut manage(&["flush", "--no-input"]));
        assert_eq!(session.value::<i64>("SELECT counter_get('comments:7')"), 0);
        if place != Place::Own {
            session.must("CREATE TABLE videos (id bigint PRIMARY KEY, views counter NOT NULL)");
            let models = project.run(&mut manage(&["inspectdb", "videos"]));
            assert!(models.contains("views = models.TextField()  # This field type is a guess"), "{models}");
            session.must("DROP TABLE videos");
        }

        // Backwards, which leaves what others count, and there again.
        session.must("SELECT counter_incr('post:7')");
        project.run(&mut manage(&["migrate", "blog", "0001"]));
        assert_eq!(session.value::<i64>("SELECT counter_get('post:7')"), 1);
        assert!(!session.value::<bool>("SELECT EXISTS (SELECT FROM counter_caches)"));
        project.run(&mut manage(&["migrate"]));
        assert_extension_is_whole(&cluster, &database);
    }
    cluster.finish();
}

const MAKE_TABLES: &str = "
class MakeTables < ActiveRecord::Migration[6.1]
  def change
    create_table(:posts) { |t| t.text :title, null: false }
    create_table(:comments) do |t|
      t.references :post, null: false, foreign_key: true
      t.text :body
    end
  end
end
";

#[test]
fn rails_dumps_the_application_and_the_extension_by_name() {
    let check = ["-e", "require 'active_record'; require 'pg'"];
    let Some(ruby) = interpreter("ruby", &check, "ruby-activerecord ruby-pg") else { return };
    let places = [Place::Counting, Place::Public, Place::Own];
    let cluster = start(&places);
    for place in places {
        let database = place.database();
        let project = Project::copy("rails", &cluster, &database);
        let ruby = |project: &Project, script: &str, environment: &[(&str, &str)]| {
            project.run(project.command(&ruby).arg(script).envs(environment.iter().copied()))
        };
        project.write("migrate/1_make_tables.rb", MAKE_TABLES);
        let elsewhere = if place == Place::Own { &[ELSEWHERE][..] } else { &[] };
        let migration = documented("### Rails").remove(0);
        let migration = if place == Place::Own {
            migration.replace("SELECT counter_", "SELECT counter_ext.counter_")
        } else {
            migration
        };
        project.write("migrate/2_count_comments.rb", &migration);
        ruby(&project, "migrate.rb", elsewhere);
        assert_extension_is_whole(&cluster, &database);

        // Fixtures are written while triggers are switched off.
        let mut session = cluster.connect_to(&database);
        for (script, comments) in [("load_fixtures.rb", 2), ("load_fixtures.rb", 2), ("truncate.rb", 0)] {
            ruby(&project, script, elsewhere);
            assert_eq!(
                session.value::<i64>("SELECT counter_get('comments:7')"),
                comments,
                "{place:?}: {script}"
            );
        }

        ruby(&project, "dump_schema.rb", elsewhere);
        let schema = project.read("schema.rb");
        let tables: Vec<&str> =
            schema.lines().filter_map(|line| line.trim().strip_prefix("create_table ")).collect();
        assert!(
            matches!(tables[..], [comments, posts] if comments.starts_with("\"comments\"") && posts.starts_with("\"posts\"")),
            "{place:?}: {schema}"
        );
        assert!(schema.contains("enable_extension \"counter_ext\""), "{place:?}: {schema}");
        assert_eq!(schema.matches("counter").count(), 1, "{place:?}: {schema}");
        if place == Place::Own {
            ruby(&project, "dump_schema.rb", &[]);
            let schema = project.read("schema.rb");
            assert!(schema.contains("create_table \"audit_head\""), "on search_path: {schema}");
            continue;
        }

        // Into another database: the extension and the tables, without the cache's triggers.
        let [loaded, structured] = ["loaded", "structured"].map(|what| format!("{what}_{database}"));
        session.must(&format!("CREATE DATABASE {loaded}"));
        session.must(&format!("CREATE DATABASE {structured}"));
        ruby(&project.on(&loaded), "load_schema.rb", &[]);
        ruby(&project.on(&loaded), "dump_schema.rb", &[]);
        assert_eq!(project.read("schema.rb"), schema, "{place:?}");
        let mut copy = cluster.connect_to(&loaded);
        assert_eq!(copy.value::<i64>("SELECT count(*) FROM counter_caches"), 0);
        copy.must(MAKE_CACHE);
        assert_extension_is_whole(&cluster, &loaded);

        // A table with a column of type counter; the dump that is SQL has it, and the triggers.
        session.must("CREATE TABLE videos (id bigserial PRIMARY KEY, views counter)");
        ruby(&project, "dump_schema.rb", &[]);
        let schema = project.read("schema.rb");
        assert!(schema.contains("Could not dump table \"videos\""), "{schema}");
        ruby(&project, "dump_structure.rb", &[]);
        ruby(&project.on(&structured), "load_structure.rb", &[]);
        let mut copy = cluster.connect_to(&structured);
        if place == Place::Counting {
            copy.must("ALTER DATABASE structured_counting SET search_path = public, counting");
            copy = cluster.connect_to(&structured);
        }
        copy.must("INSERT INTO videos (views) VALUES ('video:9')");
        assert_counts(&mut copy);
    }
    cluster.finish();
}

/// Where `scripts/setup.sh` puts drizzle-kit and what it needs.
fn node_modules() -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("drizzle-kit").join("node_modules")
}

#[test]
fn drizzle_kit_leaves_the_views_alone() {
    let modules = node_modules();
    let kit = modules.join("drizzle-kit/bin.cjs");
    let check = ["--check", kit.to_str().expect("a path in UTF-8")];
    let Some(node) =
        interpreter("node", &check, "nodejs and npm, with which scripts/setup.sh gets drizzle-kit")
    else {
        return;
    };
    let places = [Place::Counting, Place::Public];
    let cluster = start(&places);
    for place in places {
        let database = place.database();
        let project = Project::copy("drizzle", &cluster, &database);
        std::os::unix::fs::symlink(&modules, project.path("node_modules")).expect("a link to node_modules");
        let kit = |arguments: &[&str]| {
            let mut command = project.command(&node);
            command.arg("node_modules/drizzle-kit/bin.cjs").args(arguments);
            command
        };
        let plain = project.read("drizzle.config.ts");
        let [migration, filter] = &documented("### drizzle-kit")[..] else { panic!("not two blocks") };
        // The quiet place needs no filter.
        if place == Place::Public {
            project.write("drizzle.config.ts", &plain.replace("// documented", filter));
        }
        project.run(&mut kit(&["generate", "--name", "tables"]));
        project.run(&mut kit(&["generate", "--custom", "--name", "counters"]));
        project.write("out/0001_counters.sql", migration);
        project.run(&mut kit(&["migrate"]));
        assert_extension_is_whole(&cluster, &database);
        let said = project.run(&mut kit(&["push", "--force"]));
        assert!(said.contains("No changes detected"), "{place:?}: {said}");
        assert_extension_is_whole(&cluster, &database);

        project.run(kit(&["pull"]).env("OUT", "./pulled"));
        let pulled = project.read("pulled/schema.ts");
        assert_eq!(pulled.matches("= pgTable(").count(), 2, "{place:?}: {pulled}");
        assert!(!pulled.contains("pgView("), "{place:?}: {pulled}");
        assert!(pulled.contains("unknown(\"views\")"), "{place:?}: {pulled}");

        // What pull wrote is what generate starts from, once it knows the type.
        let counter = "import { customType } from 'drizzle-orm/pg-core';\n\
            const unknown = customType({ dataType() { return 'counter' } });\n";
        project.write("pulled/schema.ts", &(counter.to_owned() + &pulled));
        let said =
            project.run(kit(&["generate"]).envs([("SCHEMA", "./pulled/schema.ts"), ("OUT", "./pulled")]));
        assert!(said.contains("No schema changes"), "{place:?}: {said}");

        if place == Place::Public {
            project.write("drizzle.config.ts", &plain);
            // It says so, and ends as if all were well.
            let said = project.run(&mut kit(&["push", "--force"]));
            assert!(said.contains("because extension counter_ext requires it"), "{said}");
            assert_extension_is_whole(&cluster, &database);
            project.run(kit(&["pull"]).env("OUT", "./unfiltered"));
            let pulled = project.read("unfiltered/schema.ts");
            // The filter names them all.
            assert_eq!(pulled.matches("= pgView(").count(), filter.matches("'!").count(), "{pulled}");
        }
    }
    cluster.finish_allowing(&["cannot drop view"]);
}
