//! Which addresses are public: the check of `public_only`.
//!
//! Read [`is_public`]. What it allows is what IANA's registries of special-purpose addresses call globally reachable, less
//! what no server of files has; a form of IPv6 that carries an IPv4 address is as public as that is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tur_core::{Fault, Origin};

/// True for an address that anyone on the Internet could have, and that leads to it and not to this machine or network.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The public ones of a host's addresses, in their order.
///
/// # Errors
/// `AddressRefused` if there is none.
pub(crate) fn public_only(
    origin: &Origin,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Fault> {
    let (public, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| is_public(address.ip()));
    match other.first().filter(|_| public.is_empty()) {
        Some(address) => Err(Fault::AddressRefused {
            host: origin.host.clone(),
            address: address.ip().to_string(),
        }),
        None => Ok(public),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !SPECIAL_V4
        .iter()
        .any(|(network, len)| (bits ^ u32::from(Ipv4Addr::from(*network))) >> (32 - len) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    let within = |network: [u16; 8], len: u32| {
        (bits ^ u128::from(Ipv6Addr::from(network))) >> (128 - len) == 0
    };
    // The 32 bits that end at bit `at`, counted from the right.
    let inner = |at: u32| {
        let [a, b, c, d, ..] = ((bits >> at) << 96).to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    // RFC 4291, section 2.5.5.2; RFC 6052, section 2.1; RFC 3056, section 2.
    if within([0, 0, 0, 0, 0, 0xffff, 0, 0], 96) || within([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96) {
        return inner(0);
    }
    if within([0x2002, 0, 0, 0, 0, 0, 0, 0], 16) {
        return inner(80);
    }
    within(GLOBAL_V6.0, GLOBAL_V6.1)
        && !SPECIAL_V6
            .iter()
            .any(|(network, len)| within(*network, *len))
}

/// Networks that are not public, with the length of their prefix.
const SPECIAL_V4: [([u8; 4], u32); 15] = [
    // "This" network (RFC 791), private (RFC 1918), shared behind carriers' NAT (RFC 6598).
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([100, 64, 0, 0], 10),
    // Loopback (RFC 1122) and link-local (RFC 3927), where clouds keep their metadata.
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    // Protocol assignments (RFC 6890), relays of 6to4 (RFC 7526).
    ([192, 0, 0, 0], 24),
    ([192, 88, 99, 0], 24),
    // Documentation (RFC 5737) and benchmarks (RFC 2544).
    ([192, 0, 2, 0], 24),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([198, 18, 0, 0], 15),
    // Multicast (RFC 5771); reserved, and broadcast at its end (RFC 1112, RFC 919).
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Global unicast (RFC 4291, section 2.4). Outside of it are loopback, the addresses that are IPv4's in the last 32 bits,
/// local-use NAT64, unique local, link-local, site-local and multicast.
const GLOBAL_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// Networks inside of it that are not public.
const SPECIAL_V6: [([u16; 8], u32); 3] = [
    // Protocol assignments (RFC 2928): Teredo, which carries an IPv4 address, benchmarks and others.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    // Documentation (RFC 3849, RFC 9637).
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tur_core::{Kind, Scheme};

    use super::*;

    fn public(text: &str) -> bool {
        is_public(
            text.parse()
                .unwrap_or_else(|error| panic!("{text}: {error}")),
        )
    }

    #[test]
    fn each_network_begins_and_ends_where_it_does() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.0.0", "192.0.0.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("198.51.100.0", "198.51.100.255"),
            ("203.0.113.0", "203.0.113.255"),
            ("224.0.0.0", "255.255.255.255"),
        ] {
            assert!(!public(first) && !public(last), "{first}-{last}");
            let bits = |text: &str| u32::from(text.parse::<Ipv4Addr>().expect("an address"));
            let outside = [bits(first).checked_sub(1), bits(last).checked_add(1)];
            for bits in outside.into_iter().flatten() {
                let address = Ipv4Addr::from(bits);
                assert!(is_public(address.into()), "{address}");
            }
        }
    }

    #[test]
    fn addresses_of_every_kind() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(public(text), "{text}");
        }
        for text in [
            "::",
            "::1",
            "::8.8.8.8",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:1ff::1",
            "2001:db8::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!public(text), "{text}");
        }
        assert!(public("2001:200::1") && public("3fff:1000::1") && public("2001:db9::1"));
    }

    #[test]
    fn a_host_keeps_its_public_addresses_and_needs_one() {
        let origin = Origin {
            scheme: Scheme::Http,
            host: "rebind.example".to_owned(),
            port: 80,
        };
        let at = |text: &str| SocketAddr::new(text.parse().expect("an address"), 80);
        let (inside, outside) = (at("169.254.169.254"), at("8.8.8.8"));
        let kept = public_only(&origin, vec![inside, outside, at("::1"), at("2a00::1")]);
        assert_eq!(kept, Ok(vec![outside, at("2a00::1")]));
        let fault = public_only(&origin, vec![inside, at("::1")]).expect_err("none is public");
        assert_eq!(fault.kind(), Kind::Policy);
        let said = fault.to_string();
        assert!(
            said.contains("rebind.example") && said.contains("169.254.169.254"),
            "{said}"
        );
    }

    proptest! {
        /// What the standard library calls special is never public, and a form that carries an address is what that is.
        #[test]
        fn an_address_inside_another_is_judged_the_same(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
                || v4.is_broadcast() || v4.is_documentation() || v4.is_unspecified();
            let public = is_public(v4.into());
            prop_assert!(!(special && public), "{v4}");
            let nat64 = Ipv6Addr::from((0x64_ff9b_u128 << 96) | u128::from(bits));
            let six_to_four = Ipv6Addr::from((0x2002_u128 << 112) | (u128::from(bits) << 80) | 1);
            for v6 in [v4.to_ipv6_mapped(), nat64, six_to_four] {
                prop_assert_eq!(is_public(v6.into()), public, "{} in {}", v4, v6);
            }
            prop_assert!(!is_public(Ipv6Addr::from(u128::from(bits)).into()), "compatible {v4}");
        }

        #[test]
        fn only_global_unicast_and_what_carries_ipv4_is_public(bits: u128) {
            let v6 = Ipv6Addr::from(bits);
            let special = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified()
                || v6.is_unique_local() || v6.is_unicast_link_local();
            let global = v6.segments()[0] & 0xe000 == 0x2000;
            let nat64 = bits >> 96 == 0x64_ff9b;
            let carries = v6.to_ipv4_mapped().is_some() || nat64;
            if is_public(v6.into()) {
                prop_assert!(!special && (global || carries), "{v6}");
            }
        }
    }
}
