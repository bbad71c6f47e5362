//! A Citus cluster of throwaway servers: a coordinator without shards, and nodes that have them.

use std::thread;
use std::time::Duration;

use crate::cluster::{Cluster, PORT};
use crate::installation::Installation;
use crate::session::Session;
use crate::settings::Settings;
use crate::wait;

/// Shards that other nodes may have something left of.
pub const ARRIVING: &str = "SELECT sum(arriving)::bigint FROM counter_citus_status()";
/// These, and batches of counters on their way.
pub const ON_THE_WAY: &str = "SELECT sum(moving + arriving)::bigint FROM counter_citus_status()";
/// How long what moves may take to arrive on a loaded machine.
pub const ARRIVES: Duration = Duration::from_secs(60);

/// Shards of what is distributed.
pub const SHARDS: usize = 8;

pub struct Citus {
    /// The coordinator first.
    pub nodes: Vec<Cluster>,
}

fn settings() -> Settings {
    Settings::restless()
        .with("shared_preload_libraries", "'citus,counter_ext'")
        .with("wal_level", "logical")
        .with("max_worker_processes", "32")
        .with("max_connections", "150")
        .with("citus.shard_count", &SHARDS.to_string())
        .with("citus.node_conninfo", "'sslmode=disable'")
        .with("citus.enable_statistics_collection", "off")
        .with("citus.recover_2pc_interval", "1s")
        .without_extension()
}

/// Where a server is, as Citus' nodes find each other.
fn host(cluster: &Cluster) -> String {
    cluster.connect().value("SHOW unix_socket_directories")
}

impl Citus {
    /// A coordinator and so many nodes, with both extensions; `None`, and that is said, where Citus is not installed beside the server.
    pub fn start(nodes: usize) -> Option<Citus> {
        if !Installation::get().has_library("citus") {
            println!("SKIPPED: Citus is not installed beside this server, so its tests were not run");
            eprintln!("SKIPPED: Citus is not installed beside this server, so its tests were not run");
            return None;
        }
        let starting: Vec<_> = (0..=nodes).map(|_| thread::spawn(|| Cluster::start(settings()))).collect();
        let nodes: Vec<_> = starting.into_iter().map(|one| one.join().expect("a server")).collect();
        let citus = Citus { nodes };
        let mut coordinator = citus.connect(0);
        for cluster in &citus.nodes {
            let mut session = cluster.connect();
            session.must(&format!("ALTER SYSTEM SET citus.local_hostname = '{}'", host(cluster)));
            session.must("SELECT pg_reload_conf()");
            session.must("CREATE EXTENSION citus");
        }
        coordinator.must(&format!("SELECT citus_set_coordinator_host('{}', {PORT})", host(&citus.nodes[0])));
        for at in 1..citus.nodes.len() {
            citus.add(at);
        }
        coordinator.must("CREATE EXTENSION counter_ext");
        Some(citus)
    }

    /// Makes a server a node of the cluster.
    pub fn add(&self, at: usize) {
        let host = host(&self.nodes[at]);
        self.connect(0).must(&format!("SELECT citus_add_node('{host}', {PORT})"));
    }

    /// A session on a node; 0 is the coordinator.
    pub fn connect(&self, at: usize) -> Session {
        self.nodes[at].connect()
    }

    /// Which node has an id.
    pub fn node_of(&self, id: &str) -> usize {
        let group: i32 = self.connect(0).value(&format!("SELECT counter_ext.owner_group('{id}')"));
        self.node_of_group(group)
    }

    /// Which node is of a group.
    pub fn node_of_group(&self, group: i32) -> usize {
        let name: String =
            self.connect(0).value(&format!("SELECT nodename FROM pg_dist_node WHERE groupid = {group}"));
        self.nodes.iter().position(|cluster| host(cluster) == name).expect("a node of the group")
    }

    /// Moves the shard that an id is in to a node.
    pub fn move_shard_of(&self, id: &str, to: usize) -> Result<(), postgres::Error> {
        let from = host(&self.nodes[self.node_of(id)]);
        self.connect(0).run(&format!(
            "SELECT citus_move_shard_placement(get_shard_id_for_distribution_column('counter_ext.shard_of_id', '{id}'), '{from}', {PORT},
                '{}', {PORT}, 'block_writes')",
            host(&self.nodes[to])
        ))
    }

    pub fn finish(self) {
        // What one server says while another is down is no fault.
        self.nodes.into_iter().for_each(|cluster| {
            cluster.finish_allowing(&[
                "was terminated by signal",
                "connection to the remote node",
                "could not be moved",
            ]);
        });
    }
}

/// As Citus describes shards: one for the lower half of all hashes, one for the upper, on these groups.
pub fn pretend(session: &mut Session, lower: i32, upper: i32) {
    session.must("SET allow_system_table_mods = on");
    session.must(&format!(
        "CREATE TABLE IF NOT EXISTS pg_catalog.pg_dist_local_group (groupid int);
         CREATE TABLE IF NOT EXISTS pg_catalog.pg_dist_shard (logicalrelid regclass, shardid bigint, shardminvalue text, shardmaxvalue text);
         CREATE TABLE IF NOT EXISTS pg_catalog.pg_dist_placement (shardid bigint, groupid int, shardstate int);
         CREATE TABLE IF NOT EXISTS counter_ext.shard_of_id (id text);
         BEGIN;
         DELETE FROM pg_dist_shard; DELETE FROM pg_dist_placement; DELETE FROM pg_dist_local_group;
         INSERT INTO pg_dist_local_group VALUES (1);
         INSERT INTO pg_dist_shard VALUES ('counter_ext.shard_of_id', 101, '-2147483648', '-1'), ('counter_ext.shard_of_id', 102, '0', '2147483647');
         INSERT INTO pg_dist_placement VALUES (101, {lower}, 1), (102, {upper}, 1);
         COMMENT ON TABLE counter_ext.shard_of_id IS 'on {lower} and {upper}';
         ALTER TABLE counter_ext.shard_of_id SET (fillfactor = {});
         COMMIT",
        50 + lower * 10 + upper
    ));
}

/// What pretended nodes answer, and what they were told: who asks is told what they have vacated, after so many seconds.
const PRETENDED_NODES: &str = "
    CREATE TABLE pg_catalog.pg_dist_node (groupid int, nodename text, nodeport int, isactive boolean, noderole text);
    CREATE TABLE public.told (number serial, command text);
    CREATE TABLE public.answer (vacated text DEFAULT '[]', delay_s float DEFAULT 0);
    INSERT INTO public.answer DEFAULT VALUES;
    CREATE FUNCTION pg_catalog.master_run_on_worker(names text[], ports int[], commands text[], parallel boolean)
        RETURNS TABLE (name text, port int, success boolean, result text) LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.told (command) SELECT unnest(commands);
        PERFORM pg_sleep(a.delay_s) FROM public.answer a;
        RETURN QUERY SELECT names[1], ports[1], true, CASE WHEN commands[1] LIKE '%shards_vacated%' THEN a.vacated
            WHEN commands[1] LIKE '%take_rows%' THEN '0' ELSE 't' END FROM public.answer a;
    END $$";

/// Nodes that answer everything: this one, and those of these groups.
pub fn pretend_nodes(session: &mut Session, groups: &[i32]) {
    session.must(PRETENDED_NODES);
    for group in groups {
        session
            .must(&format!("INSERT INTO pg_dist_node VALUES ({group}, 'node {group}', 1, true, 'primary')"));
    }
}

/// An id whose hash is in the lower half, or in the upper one.
pub fn id_in(session: &mut Session, is_lower: bool) -> String {
    let sign = if is_lower { "<" } else { ">=" };
    session.value(&format!(
        "SELECT min('id:' || n) FROM generate_series(1, 100) AS n WHERE hashtext('id:' || n) {sign} 0"
    ))
}

pub fn await_value(session: &mut Session, query: &str, expected: i64) {
    let mut last = None;
    let arrived = wait::for_some_in(ARRIVES, || {
        let value: i64 = session.value(query);
        last = Some(value);
        (value == expected).then_some(())
    });
    assert!(arrived.is_some(), "{query} gives {last:?}, not {expected}");
}
