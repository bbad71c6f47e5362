//! Simulated visitors: for a page that moves, and to measure with.
//!
//! `visitors ADDRESS CLIENTS SECONDS ITEMS [RATE [likes]]` views items, popular ones more often, over as many connections as there are
//! clients, each of which sends its next request when it has its answer. With a rate, requests a second altogether, a request has a
//! time at which it is due, and its latency counts from there: waits for a busy server are in it. Without one it prints how
//! many requests a second there can be. With `likes` they like something now and then. SECONDS 0 means until it is ended.
//!
//! A view is answered (2xx), refused by the gateway (429 or 503: nothing of it was done), or failed (any other answer, or none). Requests a second
//! and latencies are of what was answered, since it takes little time to refuse. It ends with status 1 when something failed or
//! nothing was answered.

use counter_gateway::client::Client;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const USAGE: &str = "visitors ADDRESS CLIENTS SECONDS ITEMS [RATE [likes]]";
/// One view in so many is followed by a like.
const VIEWS_A_LIKE: u64 = 20;

#[derive(Clone, Copy)]
struct Load {
    server: SocketAddr,
    clients: u64,
    seconds: u64,
    items: u64,
    /// Requests a second of one client; 0: as fast as they are answered.
    rate: f64,
    likes: bool,
}

#[derive(Default)]
struct Tally {
    /// Of each view that was answered.
    microseconds: Vec<u32>,
    refused: u64,
    failed: u64,
}

/// xorshift64*: one generator a client, seeded by its number, so that a run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to below 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The density of item n is about 1 / n, as of Zipf's law.
    fn item(&mut self, items: u64) -> u64 {
        let top = (items as f64).ln();
        ((top * self.part()).exp() as u64).min(items)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(load) = load(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..load.clients {
        clients.spawn(visit(load, number, start));
    }
    let mut all = Tally::default();
    while let Some(tally) = clients.join_next().await {
        match tally {
            Ok(tally) => all.add(tally),
            Err(error) => {
                eprintln!("visitors: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    all.print(start.elapsed());
    if all.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn load(arguments: &[String]) -> Option<Load> {
    fn read<T: FromStr>(arguments: &[String], place: usize) -> Option<T> {
        arguments.get(place)?.parse().ok()
    }
    let clients = read(arguments, 1).filter(|&clients| clients > 0)?;
    let rate: f64 = if arguments.len() > 4 { read(arguments, 4)? } else { 0.0 };
    Some(Load {
        server: read(arguments, 0)?,
        clients,
        seconds: read(arguments, 2)?,
        items: read(arguments, 3).filter(|&items| items > 0)?,
        rate: rate / clients as f64,
        likes: arguments.get(5).is_some_and(|argument| argument == "likes"),
    })
}

async fn visit(load: Load, number: u64, start: Instant) -> Tally {
    let mut client = Client::new(load.server);
    let mut random = Random((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let address = format!("198.51.100.{}, 2001:db8:0:{number:x}::1", number % 250);
    let headers = [("x-forwarded-for", address.as_str())];
    let mut tally = Tally::default();
    let mut requests = 0;
    let end = (load.seconds > 0).then(|| start + Duration::from_secs(load.seconds));
    loop {
        let due = if load.rate > 0.0 {
            // Clients begin at different times of a period.
            let periods = f64::from(requests) + number as f64 / load.clients as f64;
            start + Duration::from_secs_f64(periods / load.rate)
        } else {
            Instant::now()
        };
        if end.is_some_and(|end| due >= end) {
            return tally;
        }
        if load.rate > 0.0 {
            tokio::time::sleep_until(due.into()).await;
        }
        requests += 1;
        let item = random.item(load.items);
        let path = format!("/v1/views/video-{item}");
        let answer = client.send("POST", &path, &headers, "").await;
        if load.seconds > 0 {
            tally.note(answer.map(|answer| answer.status.as_u16()), due.elapsed());
        }
        if load.likes && random.next().is_multiple_of(VIEWS_A_LIKE) {
            let body = format!(r#"{{"item":"video-{item}","actor":"visitor-{}"}}"#, random.next() % 10_000);
            let headers = [headers[0], ("content-type", "application/json")];
            let _ = client.send("POST", "/v1/likes", &headers, &body).await;
        }
    }
}

impl Tally {
    fn note(&mut self, status: Result<u16, String>, took: Duration) {
        match status {
            Ok(200..=299) => self.microseconds.push(took.as_micros().try_into().unwrap_or(u32::MAX)),
            Ok(429 | 503) => self.refused += 1,
            Ok(_) | Err(_) => self.failed += 1,
        }
    }

    fn add(&mut self, other: Tally) {
        self.microseconds.extend(other.microseconds);
        self.refused += other.refused;
        self.failed += other.failed;
    }

    fn is_well(&self) -> bool {
        self.failed == 0 && !self.microseconds.is_empty()
    }

    fn print(&mut self, elapsed: Duration) {
        self.microseconds.sort_unstable();
        let answered = self.microseconds.len();
        let quantile = |part: f64| {
            let place = (answered as f64 * part) as usize;
            self.microseconds
                .get(place.min(answered.saturating_sub(1)))
                .map_or(0.0, |&us| f64::from(us) / 1000.0)
        };
        println!(
            "{:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms; answered {answered}, refused {}, failed {}",
            answered as f64 / elapsed.as_secs_f64(),
            quantile(0.5),
            quantile(0.99),
            quantile(0.999),
            self.refused,
            self.failed,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: impl IntoIterator<Item = Result<u16, String>>) -> Tally {
        let mut tally = Tally::default();
        answers.into_iter().for_each(|status| tally.note(status, Duration::from_millis(1)));
        tally
    }

    #[test]
    fn a_refusal_is_no_answer_and_no_failure() {
        let all = tally([Ok(200), Ok(202), Ok(429), Ok(503), Ok(400), Ok(504), Err("lost".to_owned())]);
        assert_eq!((all.microseconds.len(), all.refused, all.failed), (2, 2, 3));
        assert!(!all.is_well());
        assert!(tally([Ok(200), Ok(429)]).is_well());
        assert!(!tally([Ok(429)]).is_well(), "nothing was measured");
    }
}
