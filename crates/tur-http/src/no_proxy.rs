//! Hosts that are asked without a proxy: what `no_proxy` and `--noproxy` list.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::host::ascii_name;

/// A list of hosts, as curl reads it, and with ports. The default is empty.
///
/// Names stand for themselves and everything below them (`example.com`, `.example.com` and `*.example.com` are the same),
/// addresses and networks (`10.0.0.0/8`, `fd00::/8`) for hosts that are given as addresses; no name is looked up. `:PORT`
/// narrows an entry to one port. `*` stands for all hosts. Entries are separated by commas or spaces, case and a
/// trailing dot do not count, an international name is the same in either form, and what cannot be read matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// `None` is any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// In lower case and in its ASCII form, without dots at its ends.
    Below(String),
    /// An address of the network, and the length of its prefix.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Reads a list.
    #[must_use]
    pub fn read(list: &str) -> Self {
        let words = list.split(|c: char| c == ',' || c.is_whitespace());
        let entries = words
            .filter(|word| !word.is_empty())
            .filter_map(Entry::read);
        Self {
            entries: entries.collect(),
        }
    }

    /// True if the list has this host, which is a name in any case or an IP literal, in brackets or not.
    #[must_use]
    pub fn has(&self, host: &str, port: u16) -> bool {
        let name = ascii_name(bare(host));
        let name = name.strip_suffix('.').unwrap_or(&name);
        let address = name.parse().ok().map(|ip: IpAddr| ip.to_canonical());
        self.entries
            .iter()
            .filter(|entry| entry.port.is_none_or(|only| only == port))
            .any(|entry| entry.hosts.have(name, address))
    }
}

impl Entry {
    fn read(word: &str) -> Option<Self> {
        let (host, port) = split_port(word)?;
        Some(Self {
            hosts: Hosts::read(host)?,
            port,
        })
    }
}

/// The port behind a host, if there is one. IPv6 has a port only behind brackets.
fn split_port(word: &str) -> Option<(&str, Option<u16>)> {
    let Some((host, port)) = word.rsplit_once(':') else {
        return Some((word, None));
    };
    if host.contains(':') && !host.ends_with(']') {
        return Some((word, None));
    }
    Some((host, Some(port.parse().ok()?)))
}

impl Hosts {
    fn read(host: &str) -> Option<Self> {
        if host == "*" {
            return Some(Hosts::All);
        }
        let (address, prefix) = match host.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (host, None),
        };
        if let Ok(ip) = bare(address).parse::<IpAddr>() {
            let most = bits(ip).1;
            let len = prefix.map_or(Some(most), |prefix| prefix.parse().ok())?;
            return (len <= most).then_some(Hosts::Network(ip, len));
        }
        let name = ascii_name(host.strip_prefix('*').unwrap_or(host));
        let name = name.strip_prefix('.').unwrap_or(&name);
        let name = name.strip_suffix('.').unwrap_or(name);
        (!name.is_empty() && prefix.is_none()).then(|| Hosts::Below(name.to_string()))
    }

    fn have(&self, name: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, len), Some(address)) => {
                let ((network, all), (address, same)) = (bits(*network), bits(address));
                all == same && (network ^ address).checked_shr(all - len).unwrap_or(0) == 0
            }
            (Hosts::Below(known), None) => name
                .strip_suffix(known.as_str())
                .is_some_and(|above| above.is_empty() || above.ends_with('.')),
            (Hosts::Network(..), None) | (Hosts::Below(_), Some(_)) => false,
        }
    }
}

/// The bits of an address, and how many they are.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u32::from(v4).into(), 32),
        IpAddr::V6(v6) => (v6.into(), 128),
    }
}

/// The host without the brackets of an IPv6 literal.
fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[');
    inner
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_and_lists() {
        let rows: [(&str, &str, u16, bool); 56] = [
            ("", "a.example", 80, false),
            ("*", "a.example", 80, true),
            ("*", "[::1]", 80, true),
            ("b.example,*", "a.example", 80, true),
            ("*:81", "a.example", 80, false),
            ("*:80", "a.example", 80, true),
            ("a.example", "a.example", 80, true),
            ("A.Example", "a.example", 80, true),
            ("a.example", "A.EXAMPLE", 80, true),
            ("a.example.", "a.example", 80, true),
            ("a.example", "a.example.", 80, true),
            ("a.example", "b.a.example", 80, true),
            (".a.example", "b.a.example", 80, true),
            (".a.example", "a.example", 80, true),
            ("*.a.example", "b.a.example", 80, true),
            ("a.example", "ba.example", 80, false),
            (".a.example", "ba.example", 80, false),
            ("*a.example", "ba.example", 80, false),
            ("b.a.example", "a.example", 80, false),
            ("example", "a.example", 80, true),
            ("x.y, a.example", "a.example", 80, true),
            ("x.y a.example", "a.example", 80, true),
            (",, ,a.example,,", "a.example", 80, true),
            ("a.example:80", "a.example", 80, true),
            ("a.example:443", "a.example", 80, false),
            ("a.example:http", "a.example", 80, false),
            (".", "a.example", 80, false),
            (".", "", 80, false),
            ("10.0.0.1", "10.0.0.1", 80, true),
            ("10.0.0.1", "10.0.0.11", 80, false),
            ("0.0.1", "10.0.0.1", 80, false),
            ("10.0.0.1:81", "10.0.0.1", 80, false),
            ("10.0.0.1:80", "10.0.0.1", 80, true),
            ("10.0.0.0/8", "10.200.3.4", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.0/8", "10.a.example", 80, false),
            ("0.0.0.0/0", "11.0.0.1", 80, true),
            ("10.0.0.0/33", "10.0.0.1", 80, false),
            ("10.0.0.1", "[::ffff:10.0.0.1]", 80, true),
            ("::1", "[::1]", 80, true),
            ("[::1]", "[::1]", 80, true),
            ("[::1]:80", "[::1]", 80, true),
            ("[::1]:81", "[::1]", 80, false),
            ("fd00::/8,::1/128", "[fd12::9]", 80, true),
            ("::/0", "10.0.0.1", 80, false),
            ("bücher.test", "xn--bcher-kva.test", 80, true),
            ("BÜCHER.test.", "xn--bcher-kva.test", 80, true),
            ("bücher.test", "a.xn--bcher-kva.test", 80, true),
            (".bücher.test", "a.xn--bcher-kva.test", 80, true),
            ("*.bücher.test:80", "xn--bcher-kva.test", 80, true),
            ("bücher.test:81", "xn--bcher-kva.test", 80, false),
            ("xn--bcher-kva.test", "bücher.test", 80, true),
            ("bücher.test", "axn--bcher-kva.test", 80, false),
            ("bücher.test", "bucher.test", 80, false),
            ("xn--ü", "xn--a", 80, false),
            ("１０.0.0.1", "10.0.0.1", 80, false),
        ];
        for (list, host, port, has) in rows {
            let read = NoProxy::read(list);
            assert_eq!(read.has(host, port), has, "{list:?} {host}:{port} {read:?}");
        }
    }

    #[test]
    fn localhost_is_a_name_like_others() {
        assert!(!NoProxy::default().has("localhost", 80));
        assert!(!NoProxy::read("127.0.0.1").has("localhost", 80));
        assert!(NoProxy::read("localhost").has("localhost", 80));
    }

    proptest! {
        #[test]
        fn no_list_panics(list in "[a-c.:/*\\[\\]0-9 ,é]{0,40}", host in "[a-c.:\\[\\]0-9é]{0,12}", port: u16) {
            let read = NoProxy::read(&list);
            let _has = read.has(&host, port);
        }

        #[test]
        fn a_name_never_ends_inside_a_label(name in "[a-z]{1,8}\\.[a-z]{2,3}", more in "[a-z]{1,5}") {
            let list = NoProxy::read(&name);
            let glued = more.clone() + &name;
            prop_assert!(!list.has(&glued, 80));
            prop_assert!(list.has(&(more + "." + &name), 80));
        }
    }
}
