//! The streams of the page: what they show, whatever happened meanwhile, how many a client may have, and that they end.

use crate::support::{Gateway, Http, SOON, Stream, cluster};
use counter_ext_cluster_tests::{Session, wait};
use serde_json::Value;
use std::thread;

const LISTENER_ENDS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway, listening'";
const HERE: &str = "192.0.2.1";

#[test]
fn a_stream_shows_what_is_counted_and_misses_nothing() {
    let Some(cluster) = cluster() else { return };
    let mut session = cluster.connect();
    let gateway = Gateway::start(&cluster, &["--trust-proxy", "--limit", "0"]);
    let mut http = Http::new(&gateway);
    let mut stream = Stream::open(&gateway, HERE);
    assert_eq!(stream.status, 200);

    view(&mut http);
    let frame = stream.shows("the first view", |frame| {
        let gained = has(frame, "board", "views", 1) && has(frame, "trending", "gained", 1);
        gained && has(frame, "items", "views", 1) && frame["views"] == 1
    });
    assert_eq!(frame["history"].as_array().expect("rates").len(), 60);

    session.must(LISTENER_ENDS);
    view(&mut http);
    stream.shows("what changed while nobody listened", |frame| {
        has(frame, "items", "views", 2) && frame["views"] == 2
    });
    what_could_not_be_read_at_first(&gateway, &mut http, &mut session, &mut stream);

    // This stream stays open: what ends it is the gateway's end.
    thread::spawn(move || stream.frames().for_each(drop));
    gateway.terminate();
    assert!(gateway.ended().0);
}

/// Nothing says that totals have changed any more: what is shown at the end was read.
fn what_could_not_be_read_at_first(
    gateway: &Gateway,
    http: &mut Http,
    session: &mut Session,
    stream: &mut Stream,
) {
    session
        .must("SELECT counter_unwatch('view:', 'gateway_views'), counter_unwatch('views', 'gateway_views')");
    view(http);
    session.must("REVOKE SELECT ON counter_ext.total FROM gateway");
    session.must(LISTENER_ENDS);
    wait::until("the totals cannot be read", SOON, || {
        gateway.complaints("the page does not show yet what changed") > 0
    });
    session.must("GRANT SELECT ON counter_ext.total TO gateway");
    stream.shows("what could not be read at first", |frame| {
        has(frame, "items", "views", 3) && frame["views"] == 3
    });
}

fn view(http: &mut Http) {
    assert_eq!(http.send("POST", "/v1/views/ticking").status, 200);
}

fn has(frame: &Value, list: &str, key: &str, value: i64) -> bool {
    let entries = frame[list].as_array().expect("a list");
    entries.iter().any(|entry| entry["id"] == "ticking" && entry[key] == value)
}

#[test]
fn a_client_has_so_many_streams_open_at_once() {
    let Some(cluster) = cluster() else { return };
    let gateway = Gateway::start(&cluster, &["--trust-proxy", "--streams", "2"]);
    let open = |address: &str| Stream::open(&gateway, address);
    let streams = [open("2001:db8::1"), open("2001:db8::2")];
    assert!(streams.iter().all(|stream| stream.status == 200));

    let mut refused = open("2001:db8::3");
    assert_eq!(refused.status, 429, "an IPv6 client is its /64");
    assert!(refused.head.contains(&"retry-after: 10".to_owned()), "{:?}", refused.head);
    assert!(refused.body().contains("error"));
    assert_eq!(open("2001:db8:0:1::1").status, 200, "another client");
    assert_eq!(open("203.0.113.7, 192.0.2.1").status, 200, "another client");
    let malformed = open("nobody");
    assert_eq!(malformed.status, 400);

    drop(streams);
    wait::until("their places are free", SOON, || open("2001:db8::4").status == 200);
}
