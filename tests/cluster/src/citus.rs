//! A Citus cluster of throwaway servers: a coordinator without shards, and nodes that have them.

use std::thread;

use crate::cluster::{Cluster, PORT};
use crate::installation::Installation;
use crate::session::Session;
use crate::settings::Settings;

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
