//! Several servers that count the same counters, joined by PostgreSQL's logical replication.

use std::thread;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::session::Session;
use crate::settings::Settings;
use crate::wait;

/// How long a change may take to arrive on a loaded machine.
pub const ARRIVES: Duration = Duration::from_secs(60);

/// Servers with the numbers 1, 2, 3 …, each a node for the others once `set_up` has returned.
pub struct Nodes {
    pub clusters: Vec<Cluster>,
}

/// What a server needs to be a node. Whoever applies tries again soon, as tests cut and heal links.
pub fn settings(node: usize) -> Settings {
    Settings::restless()
        .with("wal_level", "logical")
        .with("counter_ext.node", &node.to_string())
        .with("max_worker_processes", "32")
        .with("max_logical_replication_workers", "16")
        .with("max_sync_workers_per_subscription", "4")
        .with("wal_retrieve_retry_interval", "200ms")
        .with("wal_receiver_timeout", "10s")
}

/// How a peer is reached.
pub fn parameters(cluster: &Cluster) -> String {
    let host: String = cluster.connect().value("SHOW unix_socket_directories");
    format!("host={host} port={} user=postgres dbname=postgres", crate::cluster::PORT)
}

impl Nodes {
    /// Servers that are no nodes yet.
    pub fn start(count: usize) -> Nodes {
        let starting: Vec<_> =
            (1..=count).map(|node| thread::spawn(move || Cluster::start(settings(node)))).collect();
        Nodes { clusters: starting.into_iter().map(|one| one.join().expect("a server")).collect() }
    }

    pub fn count(&self) -> usize {
        self.clusters.len()
    }

    /// A session on a node, counted from 0.
    pub fn connect(&self, at: usize) -> Session {
        self.clusters[at].connect()
    }

    /// The call of counter_node_setup that makes a server a node beside some others, all counted from 0.
    pub fn set_up_call(&self, at: usize, others: &[usize]) -> String {
        let peers: Vec<_> = others
            .iter()
            .filter(|other| **other != at)
            .map(|other| format!("'{}'", parameters(&self.clusters[*other])))
            .collect();
        format!(
            "CALL counter_node_setup({}, ARRAY[{}]::text[], patience => '55 s')",
            at + 1,
            peers.join(", ")
        )
    }

    /// Makes these servers nodes for each other, all at once, as somebody with a script would.
    pub fn set_up(&self, which: &[usize]) {
        thread::scope(|scope| {
            for at in which {
                scope.spawn(move || self.connect(*at).must(&self.set_up_call(*at, which)));
            }
        });
    }

    pub fn set_up_all(&self) {
        self.set_up(&(0..self.count()).collect::<Vec<_>>());
    }

    /// Waits until a query gives the same expected value on all of these nodes.
    pub fn await_on(&self, which: &[usize], query: &str, expected: i64) {
        for at in which {
            let mut session = self.connect(*at);
            let mut last = None;
            let arrived = wait::for_some_in(ARRIVES, || {
                let value: i64 = session.value(query);
                last = Some(value);
                (value == expected).then_some(())
            });
            assert!(arrived.is_some(), "node {}: {query} gives {last:?}, not {expected}", at + 1);
        }
    }

    pub fn await_everywhere(&self, query: &str, expected: i64) {
        self.await_on(&(0..self.count()).collect::<Vec<_>>(), query, expected);
    }

    /// Stops what one node takes from another.
    pub fn cut(&self, at: usize, from: usize) {
        self.connect(at).must(&format!("ALTER SUBSCRIPTION counter_node_{} DISABLE", from + 1));
    }

    pub fn heal(&self, at: usize, from: usize) {
        self.connect(at).must(&format!("ALTER SUBSCRIPTION counter_node_{} ENABLE", from + 1));
    }

    /// Ends the connections over which a node sends.
    pub fn end_senders(&self, at: usize) {
        self.connect(at).must("SELECT pg_terminate_backend(pid) FROM pg_stat_replication");
    }

    /// How often what arrives could not be applied, on a node.
    pub fn apply_errors(&self, at: usize) -> i64 {
        apply_errors(&mut self.connect(at))
    }

    pub fn finish(self) {
        // What one server says while another is down or cut off is no fault; nor that PostgreSQL has a slot that is made wait for transactions
        // that write, such as another node's first copy.
        let allowed = ["was terminated by signal", " walsender "];
        self.clusters.into_iter().for_each(|cluster| cluster.finish_allowing(&allowed));
    }
}

/// How often what arrives could not be applied, or copied.
pub fn apply_errors(session: &mut Session) -> i64 {
    session.value("SELECT coalesce(sum(apply_error_count + sync_error_count), 0)::bigint FROM pg_stat_subscription_stats")
}
