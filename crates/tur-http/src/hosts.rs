//! Addresses that the user gives for a host, in place of those that a resolver would tell (`--resolve`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use ::url::Host;

/// `HOST:PORT:ADDRESS[,ADDRESS]…`, as curl writes it; a `+` in front, which lets an entry of curl's cache expire, is taken
/// and means nothing here. `*` is any host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// The name in lower case; `None` is any.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// Where it is: at least one.
    pub addresses: Vec<IpAddr>,
}

/// Why a text is no such entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostEntryError(&'static str);

impl fmt::Display for HostEntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; it is HOST:PORT:ADDRESS[,ADDRESS]...", self.0)
    }
}

impl core::error::Error for HostEntryError {}

impl FromStr for HostEntry {
    type Err = HostEntryError;

    fn from_str(text: &str) -> Result<Self, HostEntryError> {
        let wrong = |cause| Err(HostEntryError(cause));
        if text.starts_with('-') {
            return wrong("an entry cannot be taken away here");
        }
        let entry = text.strip_prefix('+').unwrap_or(text);
        let mut parts = entry.splitn(3, ':');
        let (host, port) = (parts.next().unwrap_or_default(), parts.next());
        let host = match (host, Host::parse(host.trim_end_matches('.'))) {
            ("*", _) => None,
            (_, Ok(Host::Domain(name))) => Some(name),
            (_, Ok(_)) => return wrong("an address needs no other one"),
            (_, Err(_)) => return wrong("no valid host"),
        };
        let port = port.and_then(|port| port.parse().ok());
        let Some(port) = port.filter(|port| *port != 0) else {
            return wrong("no valid port");
        };
        let listed = parts.next().unwrap_or_default();
        let mut addresses = Vec::new();
        for address in listed.split(',') {
            match bare(address.trim()).parse() {
                Ok(address) => addresses.push(address),
                Err(_) => return wrong("no valid address"),
            }
        }
        if addresses.len() > ADDRESSES_MAX {
            return wrong("too many addresses");
        }
        Ok(Self {
            host,
            port,
            addresses,
        })
    }
}

impl HostEntry {
    /// The addresses that `entries` give for a host: those of the last entry that names it, else of the last one for any
    /// host.
    #[must_use]
    pub fn find<'a>(entries: &'a [Self], host: &str, port: u16) -> Option<&'a [IpAddr]> {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let of = |wanted: Option<&str>| {
            let mut latest = entries.iter().rev();
            latest.find(|entry| entry.port == port && entry.host.as_deref() == wanted)
        };
        of(Some(&name))
            .or_else(|| of(None))
            .map(|entry| entry.addresses.as_slice())
    }
}

fn bare(address: &str) -> &str {
    let inner = address.strip_prefix('[');
    inner
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address)
}

impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let host = self.host.as_deref().unwrap_or("*");
        write!(f, "{host}:{}:{}", self.port, addresses.join(","))
    }
}

/// A host with more has no use for them: connections are raced, and spread over a few.
const ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn entries_as_curl_writes_them() {
        for (text, told) in [
            ("a.example:80:127.0.0.1", "a.example:80:127.0.0.1"),
            ("A.Example.:80:127.0.0.1", "a.example:80:127.0.0.1"),
            ("a..:80:127.0.0.1", "a:80:127.0.0.1"),
            ("+a:443:10.0.0.1,10.0.0.2", "a:443:10.0.0.1,10.0.0.2"),
            ("*:443:::1", "*:443:::1"),
            ("a:443:[::1], 10.0.0.1", "a:443:::1,10.0.0.1"),
            (
                "a:443:2001:db8::1,[2001:db8::2]",
                "a:443:2001:db8::1,2001:db8::2",
            ),
        ] {
            let entry: HostEntry = text.parse().expect(text);
            assert_eq!(entry.to_string(), told);
        }
        let many = "a:80:".to_string() + &vec!["::1"; 65].join(",");
        for (text, wrong) in [
            ("", "host"),
            ("a", "port"),
            ("a:80", "address"),
            ("a:80:", "address"),
            ("a:80:b", "address"),
            ("a:80:127.0.0.1,", "address"),
            ("a:0:127.0.0.1", "port"),
            ("a:x:127.0.0.1", "port"),
            ("a:65536:127.0.0.1", "port"),
            (":80:127.0.0.1", "host"),
            ("a b:80:127.0.0.1", "host"),
            ("10.0.0.1:80:127.0.0.1", "no other"),
            ("-a:80", "taken away"),
            (&many, "too many"),
        ] {
            let said = text.parse::<HostEntry>().expect_err(text).to_string();
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }

    #[test]
    fn the_last_word_about_a_host_counts() {
        let read = |text: &str| -> HostEntry { text.parse().expect(text) };
        let entries = [
            read("*:80:10.0.0.9"),
            read("a:80:10.0.0.1"),
            read("a:80:10.0.0.2"),
            read("a:443:10.0.0.3"),
        ];
        let find =
            |host, port| HostEntry::find(&entries, host, port).map(|found| found[0].to_string());
        assert_eq!(find("a", 80).as_deref(), Some("10.0.0.2"));
        assert_eq!(find("A.", 443).as_deref(), Some("10.0.0.3"));
        assert_eq!(find("b", 80).as_deref(), Some("10.0.0.9"));
        assert_eq!(find("b", 443), None);
    }
}
