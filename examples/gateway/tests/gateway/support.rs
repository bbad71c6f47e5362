//! A throwaway server that setup.sql has run on, and the gateway's own program beside it.

use counter_ext_cluster_tests::installation::run;
use counter_ext_cluster_tests::{Cluster, Session, Settings, wait};
use counter_gateway::client::{Answer, Client};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

const SOON: Duration = Duration::from_secs(30);

/// Says why a test does nothing, past the harness, which shows the output of failed tests only.
pub fn skip(why: &str) {
    let line = format!("\nSKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
}

/// `None`, said aloud: there is no server with the extension.
pub fn cluster() -> Option<Cluster> {
    let Some(pg_config) = std::env::var_os("COUNTER_EXT_PG_CONFIG") else {
        skip("COUNTER_EXT_PG_CONFIG names no server's pg_config");
        return None;
    };
    let output = run(Command::new(&pg_config).arg("--sharedir")).stdout;
    let sharedir = String::from_utf8(output).expect("a path");
    if !Path::new(sharedir.trim()).join("extension/counter_ext.control").exists() {
        skip("the server of COUNTER_EXT_PG_CONFIG has no counter_ext");
        return None;
    }
    let cluster = Cluster::start(
        Settings::preloaded().without_extension().with("counter_ext.compact_interval", "200ms"),
    );
    let mut session = cluster.connect();
    for statement in include_str!("../../setup.sql").split(";\n") {
        session.must(statement);
    }
    Some(cluster)
}

/// The gateway's program, killed when it is dropped.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    pub fn start(cluster: &Cluster, options: &[&str]) -> Gateway {
        let database = format!("host={} port=5432 user=gateway dbname=postgres", cluster.file("."));
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["--database", &database, "--listen", "127.0.0.1:0"]).args(options);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start the gateway");
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().expect("lines").push(line);
            }
        });
        let address = wait::for_some("the gateway listens", SOON, || {
            let lines = said.lock().expect("lines");
            lines.iter().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
        });
        Gateway { child, address, said }
    }

    pub fn terminate(&self) {
        run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("look at the gateway").is_none()
    }

    /// Whether it ended well, and its last line.
    pub fn ended(mut self) -> (bool, String) {
        let status =
            wait::for_some("the gateway ends", SOON, || self.child.try_wait().expect("look at the gateway"));
        let last = wait::for_some("the gateway says how it ended", SOON, || {
            let lines = self.said.lock().expect("lines");
            lines.iter().find(|line| line.starts_with("counted ")).cloned()
        });
        (status.success(), last)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP connection, for tests that have no runtime: sessions have one each of their own.
pub struct Http {
    runtime: Runtime,
    client: Client,
}

impl Http {
    pub fn new(gateway: &Gateway) -> Http {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Http { runtime: runtime.expect("a runtime"), client: Client::new(gateway.address) }
    }

    pub fn try_to_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        self.runtime.block_on(self.client.send(method, path, headers, body))
    }

    pub fn send(&mut self, method: &str, path: &str) -> Answer {
        self.send_with(method, path, &[], "")
    }

    pub fn send_with(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_to_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub fn json(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.send_with(method, path, &[("content-type", "application/json")], body)
    }
}

/// What the database has of an item, from the rows.
pub fn counted(session: &mut Session, item: &str) -> i64 {
    session.value(&format!("SELECT counter_get_exact('view:{item}')"))
}
