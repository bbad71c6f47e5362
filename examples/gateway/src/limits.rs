//! How often a client may write. `counter_limit` decides; clients that ask at the same time are one query.

use crate::outage::Outage;
use crate::queue::{Full, Queue};
use crate::store::counter::Limit;
use crate::store::{Error, Store};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Clients that wait to be asked for: each is a request that is being answered.
pub const QUEUE: usize = 10_000;
pub const MOST_AT_ONCE: usize = 500;
pub const ASKERS: usize = 2;
/// While the database does not say, writes are let through: what is queued is bounded anyway.
const PATIENCE: Duration = Duration::from_secs(1);
/// An IPv6 client has a network of so many bits, as counter_ext.ipv6_prefix is by default.
const IPV6_PREFIX: u32 = 64;

static OUTAGE: Outage = Outage::new("writes are not limited", "writes are limited again");

pub struct Question {
    address: String,
    told: oneshot::Sender<Limit>,
}

/// Whom an address belongs to, as `counter_address` has it: IPv4 in IPv6 is IPv4, and IPv6 is its network.
pub fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX))).into()
        }
        address => address,
    }
}

/// Takes one request of a client. `None`: there is no limit, or the database does not say.
pub async fn take(questions: Option<&Queue<Question>>, address: String) -> Result<Option<Limit>, Full> {
    let Some(questions) = questions else { return Ok(None) };
    let (told, answer) = oneshot::channel();
    questions.reserve()?.put(Question { address, told });
    Ok(tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok))
}

pub async fn answer(store: &Arc<Store>, max: i64, questions: Vec<Question>) {
    // Who has lost patience is asked for no more: nothing is to be taken of them.
    let questions: Vec<Question> =
        questions.into_iter().filter(|question| !question.told.is_closed()).collect();
    let (addresses, told): (Vec<_>, Vec<_>) =
        questions.into_iter().map(|question| (question.address, question.told)).unzip();
    if addresses.is_empty() {
        return;
    }
    let limits = limits(store, &addresses, max).await;
    OUTAGE.note(&limits);
    for (told, limit) in told.into_iter().zip(limits.unwrap_or_default()) {
        let _ = told.send(limit);
    }
}

async fn limits(store: &Arc<Store>, addresses: &[String], max: i64) -> Result<Vec<Limit>, Error> {
    match &**store {
        Store::Counter(counter) => counter.limits(addresses, max).await,
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_client_as_in_the_database() {
        let client = |text: &str| client(text.parse().expect("an address")).to_string();
        assert_eq!(client("203.0.113.7"), "203.0.113.7");
        assert_eq!(client("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(client("2001:db8:0:1:2:3:4:5"), "2001:db8:0:1::");
    }
}
