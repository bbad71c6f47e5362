//! A throwaway server that setup.sql has run on, and the gateway's own program beside it.

use counter_ext_cluster_tests::installation::run;
use counter_ext_cluster_tests::{Cluster, Session, Settings, wait};
use counter_gateway::client::{Answer, Client};
use serde_json::Value;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

pub const SOON: Duration = Duration::from_secs(30);

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
    // Twice, as by somebody who does not know whether it was done.
    for setup in [include_str!("../../setup.sql"); 2] {
        setup.split(";\n").for_each(|statement| session.must(statement));
    }
    Some(cluster)
}

/// The gateway's program, killed when it is dropped.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    said: Said,
    complained: Said,
}

type Said = Arc<Mutex<Vec<String>>>;

/// The lines of an output, as they come, each of which is also handed on.
fn hear(output: impl Read + Send + 'static, pass_on: impl Fn(&str) + Send + 'static) -> Said {
    let said = Said::default();
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            pass_on(&line);
            heard.lock().expect("lines").push(line);
        }
    });
    said
}

impl Gateway {
    pub fn start(cluster: &Cluster, options: &[&str]) -> Gateway {
        let database = format!("host={} port=5432 user=gateway dbname=postgres", cluster.file("."));
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["--database", &database, "--listen", "127.0.0.1:0"]).args(options);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the gateway");
        let said = hear(child.stdout.take().expect("its output"), |_| ());
        let complained = hear(child.stderr.take().expect("its errors"), |line| eprintln!("{line}"));
        let address = wait::for_some("the gateway listens", SOON, || {
            let lines = said.lock().expect("lines");
            lines.iter().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok())
        });
        Gateway { child, address, said, complained }
    }

    /// How many lines with this it has written to stderr.
    pub fn complaints(&self, of: &str) -> usize {
        self.complained.lock().expect("lines").iter().filter(|line| line.contains(of)).count()
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

/// GET /v1/events, until it is dropped.
pub struct Stream {
    pub status: u16,
    /// Of the answer, in lower case.
    pub head: Vec<String>,
    rest: Lines<BufReader<TcpStream>>,
}

impl Stream {
    /// From this address, where the gateway trusts a proxy.
    pub fn open(gateway: &Gateway, address: &str) -> Stream {
        let mut stream = TcpStream::connect(gateway.address).expect("connect");
        stream.set_read_timeout(Some(SOON)).expect("a time-out");
        let request = format!(
            "GET /v1/events HTTP/1.1\r\nhost: gateway\r\nx-forwarded-for: {address}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("ask");
        let mut rest = BufReader::new(stream).lines();
        let lines = rest.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
        let head: Vec<String> = lines.map(|line| line.to_lowercase()).collect();
        let status = head.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        Stream { status: status.expect("a status"), head, rest }
    }

    /// The next line after the head.
    pub fn body(&mut self) -> String {
        self.rest.next().expect("a line").expect("a line")
    }

    pub fn frames(&mut self) -> impl Iterator<Item = Value> {
        let lines = self.rest.by_ref().map_while(Result::ok);
        lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
    }

    /// A frame of the next half minute that is as wanted.
    pub fn shows(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.frames().take(30).find(wanted).unwrap_or_else(|| panic!("no frame: {what}"))
    }
}

/// What the database has of an item, from the rows.
pub fn counted(session: &mut Session, item: &str) -> i64 {
    session.value(&format!("SELECT counter_get_exact('view:{item}')"))
}
