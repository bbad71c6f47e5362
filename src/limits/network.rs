//! Networks of addresses, and whether one of them has an address in it. Plain Rust.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;

use crate::fallible::{self, OutOfMemory};

const WHAT: &str = "blocked networks";

/// PGSQL_AF_INET and PGSQL_AF_INET6, as PostgreSQL stores them.
const STORED_V4: u8 = 2;
const STORED_V6: u8 = 3;
const MAPPED_BITS: u8 = 96;

/// An address, and how many of its bits are the network's. The other ones are zero. An IPv4 address has 32 bits, also where it is written
/// as one of IPv6 (`::ffff:192.0.2.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    is_v4: bool,
    bits: u8,
    address: u128,
}

impl Network {
    /// A value of type `cidr`, without its varlena header.
    pub fn read(stored: &[u8]) -> Option<Network> {
        let (&[family, bits], address) = stored.split_first_chunk::<2>()?;
        match family {
            STORED_V4 if bits <= 32 => {
                Some(Network::v4(Ipv4Addr::from(*address.first_chunk::<4>()?)).within(bits))
            }
            STORED_V6 if bits <= 128 => {
                let address = Ipv6Addr::from(*address.first_chunk::<16>()?);
                match address.to_ipv4_mapped() {
                    Some(v4) if bits >= MAPPED_BITS => Some(Network::v4(v4).within(bits - MAPPED_BITS)),
                    _ => Some(Network { is_v4: false, bits: 128, address: address.to_bits() }.within(bits)),
                }
            }
            _ => None,
        }
    }

    /// One address.
    pub fn of_address(address: IpAddr) -> Network {
        match address.to_canonical() {
            IpAddr::V4(address) => Network::v4(address),
            IpAddr::V6(address) => Network { is_v4: false, bits: 128, address: address.to_bits() },
        }
    }

    fn v4(address: Ipv4Addr) -> Network {
        Network { is_v4: true, bits: 32, address: u128::from(address.to_bits()) }
    }

    fn all_bits(self) -> u8 {
        if self.is_v4 { 32 } else { 128 }
    }

    /// The network of that many bits that it is in.
    fn within(self, bits: u8) -> Network {
        let host_bits = u32::from(self.all_bits() - bits);
        let address = self.address.checked_shr(host_bits).and_then(|a| a.checked_shl(host_bits)).unwrap_or(0);
        Network { bits, address, ..self }
    }
}

/// Networks, each until a time.
#[derive(Default)]
pub struct Networks {
    until_us: HashMap<Network, i64, RandomState>,
    /// Lengths that they have, of each family.
    lengths: Vec<(bool, u8)>,
}

impl Networks {
    pub fn add(&mut self, network: Network, until_us: i64) -> Result<(), OutOfMemory> {
        let length = (network.is_v4, network.bits);
        if !self.lengths.contains(&length) {
            fallible::push(&mut self.lengths, length, WHAT)?;
        }
        fallible::reserve(&mut self.until_us, 1, WHAT)?;
        let until = self.until_us.entry(network).or_insert(until_us);
        *until = until_us.max(*until);
        Ok(())
    }

    /// The latest time until which a network is there that has this address in it.
    pub fn until_us(&self, address: Network) -> Option<i64> {
        let lengths = self.lengths.iter().filter(|(is_v4, _)| *is_v4 == address.is_v4);
        lengths.filter_map(|(_, bits)| self.until_us.get(&address.within(*bits))).max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Network {
        Network::of_address(text.parse().expect(text))
    }

    fn v4(address: [u8; 4], bits: u8) -> Network {
        Network::read(&[&[STORED_V4, bits], &address[..]].concat()).expect("a network")
    }

    fn v6(text: &str, bits: u8) -> Network {
        let address: Ipv6Addr = text.parse().expect("an address");
        Network::read(&[&[STORED_V6, bits], &address.octets()[..]].concat()).expect("a network")
    }

    #[test]
    fn an_address_has_one_spelling() {
        for text in ["203.0.113.7", "::ffff:203.0.113.7", "::FFFF:cb00:7107"] {
            assert_eq!(address(text), v4([203, 0, 113, 7], 32), "{text}");
        }
        assert_eq!(address("2001:DB8:0::1"), v6("2001:db8::1", 128));
        for stored in
            [&[][..], &[2], &[2, 33, 1, 2, 3, 4], &[2, 8, 1, 2, 3], &[4, 8, 1, 2, 3, 4], &[3, 8, 1, 2, 3, 4]]
        {
            assert_eq!(Network::read(stored), None, "{stored:?}");
        }
    }

    #[test]
    fn families_do_not_meet() {
        let mut networks = Networks::default();
        assert_eq!(networks.until_us(address("::1")), None);
        networks.add(v6("::", 0), 1).expect("memory");
        assert_eq!(networks.until_us(address("2001:db8::1")), Some(1));
        assert_eq!(networks.until_us(address("203.0.113.7")), None);
        networks.add(v6("::ffff:203.0.113.0", 120), 2).expect("memory");
        assert_eq!(networks.until_us(address("203.0.113.7")), Some(2));
        networks.add(v4([0; 4], 0), 9).expect("memory");
        assert_eq!(networks.until_us(address("203.0.113.7")), Some(9), "the latest");
        networks.add(v4([0; 4], 0), 3).expect("memory");
        assert_eq!(networks.until_us(address("10.0.0.1")), Some(9));
    }

    proptest! {
        #[test]
        fn who_is_in_is_found(rows in prop::collection::vec((0u32..1024, 20u8..=32, 0i64..99), 0..20), host in 0u32..1024) {
            let mut networks = Networks::default();
            for (address, bits, until) in &rows {
                networks.add(v4(address.to_be_bytes(), *bits).within(*bits), *until).expect("memory");
            }
            let is_in = |address: u32, bits: u8| address >> (32 - bits) == host >> (32 - bits);
            let expected = rows.iter().filter(|(address, bits, _)| is_in(*address, *bits)).map(|(_, _, until)| *until).max();
            prop_assert_eq!(networks.until_us(v4(host.to_be_bytes(), 32)), expected);
        }
    }
}
