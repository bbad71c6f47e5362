//! Prometheus' tools, where they are installed.

use crate::Cluster;
use crate::installation::run;
use crate::wait;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Debian's name for the program and for the package.
pub const EXPORTER: &str = "prometheus-postgres-exporter";

/// Whether a program can be run. Where it cannot, says so past the harness, which shows the output of failed tests only.
pub fn is_here(program: &str, package: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        let line = format!("\nSKIPPED: there is no {program} here to test ops/ with; Debian has {package}\n");
        std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
    }
    found
}

/// Runs a program in a directory; panics with what it wrote when it fails.
pub fn run_in(directory: &Path, program: &str, arguments: &[&str]) {
    run(Command::new(program).args(arguments).current_dir(directory));
}

/// A running exporter; ends with its owner.
pub struct Exporter {
    process: Child,
    port: u16,
    log: String,
}

impl Exporter {
    /// Of the server's database "postgres", as a role that needs no password.
    pub fn start(cluster: &Cluster, role: &str, queries: &Path) -> Exporter {
        // Free now; nobody else here asks for ports.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let log = cluster.file("exporter.log");
        let mut command = cluster.foreign_tool(EXPORTER, "postgres");
        let socket_directory = cluster.address().socket_directory;
        let source = format!(
            "host={} port={} user={role} dbname=postgres sslmode=disable",
            socket_directory.display(),
            crate::cluster::PORT
        );
        command.env("DATA_SOURCE_NAME", source);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.arg(format!("--extend.query-path={}", queries.display()));
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a file for the exporter's log"));
        Exporter { process: command.spawn().expect("start the exporter"), port, log }
    }

    /// What it exports, once that has the metric.
    pub fn read(&self, metric: &str) -> String {
        wait::for_some(
            &format!("{metric} from the exporter: {}", self.log()),
            Duration::from_secs(30),
            || self.get("/metrics").ok().filter(|text| text.contains(metric)),
        )
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
