//! The gateway's program against a throwaway server: what it answers, what it refuses, and that what was acknowledged is counted.

use crate::support::{Gateway, Http, SOON, cluster, counted};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::{Session, wait};
use counter_gateway::client::Answer;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const ASYNC: [(&str, &str); 1] = [("prefer", "respond-async")];

#[test]
fn views_and_likes_are_counted_and_limited() {
    let Some(cluster) = cluster() else { return };
    let mut session = cluster.connect();
    let gateway = Gateway::start(&cluster, &["--limit", "40"]);
    let mut http = Http::new(&gateway);
    assert_eq!(http.send("GET", "/healthz").status, 200);

    views(&mut http, &mut session);
    likes(&mut http, &mut session);
    nonsense(&mut http);
    limits(&mut http, &mut session);

    gateway.terminate();
    assert!(gateway.ended().0);
    drop(session);
    cluster.finish();
}

fn views(http: &mut Http, session: &mut Session) {
    assert_eq!(http.send("GET", "/v1/views/a").json()["views"], 0);
    // A gateway whose first questions take more than a second does not limit.
    wait::until("writes are limited", SOON, || {
        http.send("POST", "/v1/views/first").header("ratelimit-limit").is_some()
    });
    let before: i64 = session.value("SELECT counter_get('views')");
    let answer = http.send("POST", "/v1/views/a");
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (200, Some("counted")));
    assert_eq!(answer.header("ratelimit-limit"), Some("40"));
    let remaining: i64 = answer.header("ratelimit-remaining").expect("a number").parse().expect("a number");
    assert!((0..39).contains(&remaining), "{remaining}");
    let reset: i64 = answer.header("ratelimit-reset").expect("a time").parse().expect("seconds");
    assert!((0..=60).contains(&reset), "{reset}");
    assert_eq!(http.send("GET", "/v1/views/a").json()["views"], 1, "answered 200, it is committed");

    let answer = http.send_with("POST", "/v1/views/a", &[("prefer", "wait=9, respond-async")], "");
    assert_eq!((answer.status.as_u16(), answer.json()["status"].as_str()), (202, Some("queued")));
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    wait::until("it is counted", SOON, || http.send("GET", "/v1/views/a").json()["views"] == 2);

    assert_eq!(http.send("POST", "/v1/views/na%C3%AFve%2F%3Cb%3E").status, 200);
    assert_eq!(counted(session, "naïve/<b>"), 1);
    assert_eq!(session.value::<i64>("SELECT counter_get('views')"), before + 3);
}

fn likes(http: &mut Http, session: &mut Session) {
    let like = r#"{"item":"a","actor":"user:7"}"#;
    for changed in [true, false] {
        let answer = http.json("POST", "/v1/likes", like).json();
        assert_eq!((&answer["changed"], &answer["likes"]), (&changed.into(), &1.into()), "{answer}");
    }
    let answer = http.send("GET", "/v1/likes/a?actor=user:7").json();
    assert_eq!((&answer["likes"], &answer["liked"]), (&1.into(), &true.into()), "{answer}");
    assert_eq!(http.send("GET", "/v1/likes/a?actor=user:8").json()["liked"], false);
    assert_eq!(session.value::<i64>("SELECT counter_likes('a')"), 1);
    for changed in [true, false] {
        let answer = http.send("DELETE", "/v1/likes?item=a&actor=user%3A7").json();
        assert_eq!((&answer["changed"], &answer["likes"]), (&changed.into(), &0.into()), "{answer}");
    }
    assert!(http.send("GET", "/v1/likes/a").json()["liked"].is_null(), "nobody was asked for");

    for (like, changed) in [(r#"{"item":7,"actor":7}"#, true), (r#"{"item":"7","actor":"7"}"#, false)] {
        let answer = http.json("POST", "/v1/likes", like).json();
        assert_eq!((&answer["item"], &answer["changed"]), (&"7".into(), &changed.into()), "{answer}");
    }
    assert_eq!(http.send("DELETE", "/v1/likes?item=7&actor=7").json()["changed"], true);
}

fn nonsense(http: &mut Http) {
    let long = "x".repeat(251);
    for path in [format!("/v1/views/{long}"), "/v1/views/%00".to_owned(), "/v1/views/%FF".to_owned()] {
        said(&http.send("POST", &path), 400);
        said(&http.send("GET", &path), 400);
    }
    said(&http.send("POST", "/v1/views/"), 404);
    said(&http.send("GET", "/nowhere"), 404);
    let answer = http.send("PUT", "/v1/views/a");
    said(&answer, 405);
    assert!(answer.header("allow").is_some_and(|allowed| allowed.contains("POST")), "{answer:?}");
    said(&http.send("POST", "/"), 405);
    for body in ["", "{", "{}", r#"{"item":"","actor":"b"}"#, r#"{"item":"a","actor":"\u0000"}"#, "[1]"] {
        said(&http.json("POST", "/v1/likes", body), 400);
    }
    for actor in ["null", "1.5", "9223372036854775808", "true"] {
        said(&http.json("POST", "/v1/likes", &format!(r#"{{"item":"a","actor":{actor}}}"#)), 400);
    }
    said(&http.send_with("POST", "/v1/likes", &[], r#"{"item":"a","actor":"b"}"#), 400);
    said(&http.send("DELETE", "/v1/likes?item=a"), 400);
    for path in ["/v1/likes/%FF", "/v1/likes/a?actor=a&actor=b", "/v1/likes/a?actor=%00"] {
        said(&http.send("GET", path), 400);
    }
    let huge = format!(r#"{{"item":"{}","actor":"b"}}"#, "x".repeat(10_000));
    said(&http.json("POST", "/v1/likes", &huge), 400);
}

/// Whatever finds the fault, a refusal is JSON of one shape.
fn said(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    let body = answer.json();
    assert!(body["error"].as_str().is_some_and(|said| !said.is_empty()), "{answer:?}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{answer:?}");
}

fn limits(http: &mut Http, session: &mut Session) {
    let mut allowed = 0;
    let refused = loop {
        let answer = http.send("POST", "/v1/views/limited");
        if answer.status != 200 {
            break answer;
        }
        allowed += 1;
        assert!(allowed <= 40, "40 writes a minute are allowed");
    };
    assert_eq!((refused.status.as_u16(), refused.header("ratelimit-remaining")), (429, Some("0")));
    let wait: i64 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(counted(session, "limited"), allowed);
    let refused = http.json("POST", "/v1/likes", r#"{"item":"a","actor":"b"}"#);
    assert_eq!(refused.status, 429, "likes are writes too");
    assert_eq!(http.send("GET", "/v1/views/limited").status, 200, "reads are not limited");
}

/// Everything that counts waits until this session commits.
fn hold(session: &mut Session) {
    session.must("BEGIN; LOCK TABLE counter_ext.total IN ACCESS EXCLUSIVE MODE");
}

#[test]
fn a_full_queue_answers_503_and_what_was_taken_in_is_counted_before_the_end() {
    let Some(cluster) = cluster() else { return };
    let (mut holder, mut session) = (cluster.connect(), cluster.connect());
    let options = ["--queue", "10", "--batch", "3", "--writers", "1", "--answer-within", "0.2"];
    let mut gateway = Gateway::start(&cluster, &options);
    let mut http = Http::new(&gateway);
    assert!(http.send("POST", "/v1/views/held").status.is_success());
    wait::until("it is counted", SOON, || counted(&mut session, "held") == 1);

    hold(&mut holder);
    let answer = http.send("POST", "/v1/views/held");
    assert_eq!(answer.status, 202, "the database takes long");
    let mut taken = 2;
    let refused = (0..50).filter(|_| {
        let answer = http.send_with("POST", "/v1/views/held", &ASYNC, "");
        if answer.status == 202 {
            taken += 1;
            return false;
        }
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        assert_eq!(answer.json()["error"], "the queue is full; nothing of this one was done");
        true
    });
    let refused = refused.count();
    // Ten in the queue, up to three with the writer.
    assert!((10..=14).contains(&(taken - 1)), "{taken} taken, {refused} refused");

    gateway.terminate();
    wait::until("no connection is taken any more", SOON, || TcpStream::connect(gateway.address).is_err());
    thread::sleep(Duration::from_millis(300));
    assert!(gateway.runs(), "it waits for what is queued");
    holder.must("COMMIT");
    let (well, said) = gateway.ended();
    assert!(well, "{said}");
    assert_eq!(said, format!("counted {taken} views, refused by the database 0, given up 0"));
    assert_eq!(counted(&mut session, "held"), taken);
    assert_eq!(session.value::<i64>("SELECT counter_get_exact('views')"), taken);

    // And when the database does not come back in time, it says how many it has given up, and fails.
    let gateway = Gateway::start(&cluster, &["--drain", "0.5"]);
    let mut http = Http::new(&gateway);
    assert_eq!(http.send("POST", "/v1/views/held").status, 200);
    hold(&mut holder);
    for _ in 0..5 {
        assert_eq!(http.send_with("POST", "/v1/views/held", &ASYNC, "").status, 202);
    }
    gateway.terminate();
    let (well, said) = gateway.ended();
    assert_eq!((well, said.as_str()), (false, "counted 1 views, refused by the database 0, given up 5"));
    holder.must("ROLLBACK");
}

#[derive(Default)]
struct Ledger {
    /// Answered 200 or 202.
    acknowledged: AtomicI64,
    /// No answer, or 504: counted or not.
    in_doubt: AtomicI64,
}

/// Clients view one item meanwhile, each until it gets no answer.
fn load(gateway: &Gateway, clients: usize, meanwhile: impl FnOnce()) -> (i64, i64) {
    let (ledger, stop) = (Ledger::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..clients {
            let (ledger, stop) = (&ledger, &stop);
            let mut http = Http::new(gateway);
            scope.spawn(move || {
                let headers = if number % 2 == 0 { &ASYNC[..] } else { &[] };
                while !stop.load(SeqCst) {
                    let answer = http.try_to_send("POST", "/v1/views/load", headers, "");
                    match answer.map(|answer| answer.status.as_u16()) {
                        Ok(200 | 202) => _ = ledger.acknowledged.fetch_add(1, SeqCst),
                        // Nothing of it was done.
                        Ok(503) => (),
                        Ok(504) => _ = ledger.in_doubt.fetch_add(1, SeqCst),
                        Ok(status) => panic!("answered {status}"),
                        Err(_) => {
                            ledger.in_doubt.fetch_add(1, SeqCst);
                            return;
                        }
                    }
                }
            });
        }
        meanwhile();
        stop.store(true, SeqCst);
    });
    (ledger.acknowledged.into_inner(), ledger.in_doubt.into_inner())
}

#[test]
fn what_was_acknowledged_is_counted_once_through_crashes_and_a_stop_under_load() {
    let Some(mut cluster) = cluster() else { return };
    let gateway = Gateway::start(&cluster, &["--limit", "0", "--batch", "50"]);
    let (acknowledged, in_doubt) = load(&gateway, 6, || {
        for round in 0..3 {
            thread::sleep(Duration::from_millis(400));
            if round == 1 {
                cluster.die(Death::Everything);
                cluster.start_again();
            } else {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gateway'";
                cluster.connect().must(end);
            }
        }
        thread::sleep(Duration::from_millis(400));
    });
    assert!(acknowledged > 100, "{acknowledged} views are no load");
    assert_eq!(in_doubt, 0, "the gateway was there all the time");
    let mut session = cluster.connect();
    wait::until("what was queued is counted", SOON, || counted(&mut session, "load") >= acknowledged);
    assert_eq!(counted(&mut session, "load"), acknowledged);

    // The rest is what a client whose connection ends with the gateway cannot know. The gateway knows.
    let (more, in_doubt) = load(&gateway, 6, || {
        thread::sleep(Duration::from_millis(400));
        gateway.terminate();
        thread::sleep(Duration::from_millis(400));
    });
    let (well, said) = gateway.ended();
    let (acknowledged, counted) = (acknowledged + more, counted(&mut session, "load"));
    println!("{acknowledged} acknowledged, {counted} counted, {in_doubt} without an answer");
    assert!(well, "{said}");
    assert_eq!(said, format!("counted {counted} views, refused by the database 0, given up 0"));
    assert!(
        (acknowledged..=acknowledged + in_doubt).contains(&counted),
        "{acknowledged} acknowledged, {counted} counted, {in_doubt} without an answer"
    );
    assert_eq!(session.value::<i64>("SELECT counter_get_exact('views')"), counted);
}
