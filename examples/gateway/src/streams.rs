//! How many streams of the page each client has open. Plain Rust.

use crate::limits::client;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Streams {
    /// 0: any number.
    most_of_a_client: usize,
    /// Clients that have none are not there, so there are never more entries than streams.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One stream of a client, until it is dropped.
pub struct Stream {
    streams: Arc<Streams>,
    client: IpAddr,
}

impl Streams {
    pub fn new(most_of_a_client: usize) -> Arc<Streams> {
        Arc::new(Streams { most_of_a_client, open: Mutex::default() })
    }

    /// `None`: this client has as many as it may have.
    pub fn open(self: &Arc<Streams>, address: IpAddr) -> Option<Stream> {
        let client = client(address);
        let mut open = self.clients();
        let of_client = open.get(&client).copied().unwrap_or(0);
        if self.most_of_a_client > 0 && of_client >= self.most_of_a_client {
            return None;
        }
        open.insert(client, of_client + 1);
        Some(Stream { streams: Arc::clone(self), client })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut open = self.streams.clients();
        match open.get_mut(&self.client) {
            Some(streams) if *streams > 1 => *streams -= 1,
            _ => {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_client_has_so_many_and_others_do_not_suffer() {
        let streams = Streams::new(2);
        let open = |text| streams.open(address(text));
        let (first, second) = (open("192.0.2.1"), open("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(open("192.0.2.1").is_none());
        assert!(open("192.0.2.2").is_some());
        drop(first);
        let third = open("192.0.2.1");
        assert!(third.is_some(), "a place is free again");
        drop((second, third));
        assert!(streams.clients().is_empty(), "who has none takes no memory");
    }

    #[test]
    fn zero_is_any_number() {
        let streams = Streams::new(0);
        let open: Vec<_> = (0..100).map(|_| streams.open(address("192.0.2.1"))).collect();
        assert!(open.iter().all(Option::is_some));
    }
}
