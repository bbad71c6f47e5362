//! Addresses as limits know them: one spelling each, and an IPv6 network for one client. Plain Rust.
//!
//! BOUND: an address is short.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// The bits of a whole IPv6 address.
pub const WHOLE: u32 = 128;

/// The one spelling of an address, IPv4 in IPv6 as IPv4, and IPv6 by its network of so many bits, which are 1 to 128.
pub fn spelled(address: IpAddr, ipv6_prefix: u32) -> String {
    match address.to_canonical() {
        IpAddr::V6(address) if ipv6_prefix < WHOLE => {
            format!("{}/{ipv6_prefix}", network(address, ipv6_prefix))
        }
        address => address.to_string(),
    }
}

/// The name of whoever has this one: as `spelled`, if it is an address.
pub fn of_name(name: &[u8], ipv6_prefix: u32) -> Cow<'_, [u8]> {
    match parse(name) {
        Some(address) => Cow::Owned(spelled(address, ipv6_prefix).into_bytes()),
        None => Cow::Borrowed(name),
    }
}

/// An address as a client writes it, or as the text of an `inet`, which says behind a slash that it is no network.
pub fn parse(name: &[u8]) -> Option<IpAddr> {
    let name = std::str::from_utf8(name).ok()?;
    let (address, mask) = name.split_once('/').map_or((name, None), |(address, mask)| (address, Some(mask)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { "32" } else { "128" };
    mask.is_none_or(|mask| mask == whole).then_some(address)
}

fn network(address: Ipv6Addr, prefix: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(WHOLE - prefix).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelling(address: &str, prefix: u32) -> String {
        spelled(address.parse().expect("an address"), prefix)
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (address, prefix, expected) in [
            ("203.0.113.7", 64, "203.0.113.7"),
            ("::ffff:203.0.113.7", 64, "203.0.113.7"),
            ("::ffff:cb00:7107", 1, "203.0.113.7"),
            ("2001:0DB8:0005:0001:0000:0000:0000:0009", 64, "2001:db8:5:1::/64"),
            ("2001:db8:5:1::9", 128, "2001:db8:5:1::9"),
            ("2001:db8:5:1::9", 127, "2001:db8:5:1::8/127"),
            ("2001:db8:5:1::9", 56, "2001:db8:5::/56"),
            ("2001:db8:5:1ff::9", 56, "2001:db8:5:100::/56"),
            ("::1", 64, "::/64"),
            ("ffff::1", 1, "8000::/1"),
        ] {
            assert_eq!(spelling(address, prefix), expected, "{address}/{prefix}");
        }
    }

    #[test]
    fn what_is_no_address_is_a_name() {
        for name in [
            "",
            "ann",
            "7",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.4/24",
            "::1/64",
            "::1/32",
            "1.2.3.4/128",
            "/32",
            "::g",
            "[::1]",
            " ::1",
            "01.2.3.4",
        ] {
            assert_eq!(of_name(name.as_bytes(), 64), Cow::Borrowed(name.as_bytes()));
        }
        assert_eq!(of_name(b"\xff::1", 64), Cow::Borrowed(b"\xff::1"));
        assert_eq!(of_name(b"2001:DB8::1", 64), Cow::<[u8]>::Borrowed(b"2001:db8::/64"));
        assert_eq!(of_name(b"2001:DB8::1/128", 64), Cow::<[u8]>::Borrowed(b"2001:db8::/64"));
        assert_eq!(of_name(b"203.0.113.7/32", 64), Cow::<[u8]>::Borrowed(b"203.0.113.7"));
        assert_eq!(of_name(b"2001:DB8::1", WHOLE), Cow::<[u8]>::Borrowed(b"2001:db8::1"));
    }

    proptest! {
        #[test]
        fn those_of_one_network_are_one_and_others_are_not(address: u128, other: u128, prefix in 1..=128u32) {
            let spelled = |bits| spelled(IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix);
            // No IPv4 in IPv6, which has a spelling of its own.
            let (address, other) = (address | 1 << 127, other | 1 << 127);
            let is_same_network = (address ^ other).leading_zeros() >= prefix;
            prop_assert_eq!(spelled(address) == spelled(other), is_same_network);
            let host_bits = other & u128::MAX.checked_shr(prefix).unwrap_or(0);
            prop_assert_eq!(spelled(address), spelled(address ^ host_bits));
        }
    }
}
