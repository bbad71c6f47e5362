//! The program that simulates visitors says what became of their views, and fails where they failed.

use crate::support::{Gateway, Http, SOON, cluster, counted};
use counter_ext_cluster_tests::wait;
use std::net::TcpListener;
use std::process::Command;

/// Whether one visitor was well in a second in which 50 views were due, and what it said.
fn visit(address: &str) -> (bool, String) {
    let mut visitors = Command::new(env!("CARGO_BIN_EXE_visitors"));
    let output = visitors.args([address, "1", "1", "1", "50"]).output().expect("run the visitors");
    (output.status.success(), String::from_utf8(output.stdout).expect("a line"))
}

#[test]
fn visitors_tell_answers_from_refusals_and_failures() {
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::start(&cluster, &["--limit", "20"]);
    let mut http = Http::new(&gateway);
    wait::until("writes are limited", SOON, || {
        http.send("POST", "/v1/views/first").header("ratelimit-limit").is_some()
    });
    let (well, said) = visit(&gateway.address.to_string());
    let answered = counted(&mut cluster.connect(), "video-1");
    assert!(well && answered <= 20, "{answered}: {said}");
    let end = format!("answered {answered}, refused {}, failed 0\n", 50 - answered);
    assert!(said.ends_with(&end), "{end}: {said}");

    // A port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let (well, said) = visit(&nobody.to_string());
    assert!(!well && said.ends_with("answered 0, refused 0, failed 50\n"), "{said}");
}
