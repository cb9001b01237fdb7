//! Hosts as people write them.

use alloc::string::String;
use core::net::Ipv6Addr;

use ::url::Host;

/// True for what a `Host` field may say (RFC 9110, section 7.2): a name, an IPv4 address or an IPv6 one in brackets, with
/// `:PORT` or without. Names are in ASCII, and percent-encoding, which no name of a server has, is not known here.
#[must_use]
pub fn is_host(value: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(value) else {
        return false;
    };
    // The last colon of an IPv6 address stands inside the brackets.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let address = host.strip_prefix('[');
    let sound = match address.and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_of_a_name),
    };
    // RFC 3986, section 3.2.3: a port may be left out behind its colon. A sign, which `parse` takes, is none.
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    sound && digits && (port.is_empty() || port.parse::<u16>().is_ok())
}

/// A name as URLs have it: in its ASCII form and in lower case. What has none only comes in lower case, and is the name of no
/// host.
pub(crate) fn ascii_name(name: &str) -> String {
    if !name.is_ascii()
        && let Ok(Host::Domain(name)) = Host::parse(name)
    {
        return name;
    }
    name.to_ascii_lowercase()
}

/// RFC 3986, section 3.2.2: what is neither reserved nor encoded in a name.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        for good in [
            "a",
            "a.example",
            "A_b.example.",
            "xn--bcher-kva.example:8080",
            "a.example:",
            "10.0.0.1",
            "10.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:65535",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\tb",
            "http://a",
            "me:secret@a",
            "me@a",
            "a:1 evil",
            "a:1:2",
            "a:x",
            "a:+1",
            "a:65536",
            "a%20b",
            "bücher.example",
            "::1",
            "[::1",
            "::1]",
            "[a]",
            "[10.0.0.1]",
            "[::1]x",
            "[::1]:x",
            "[fe80::1%eth0]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        assert!(!is_host(b"a\xff"));
    }

    #[test]
    fn names_have_the_form_that_they_have_in_urls() {
        for (name, form) in [
            ("A.Example.", "a.example."),
            ("a_b%20*", "a_b%20*"),
            ("bücher.test", "xn--bcher-kva.test"),
            ("BÜCHER.Test.", "xn--bcher-kva.test."),
            ("bu\u{308}cher.test", "xn--bcher-kva.test"),
            ("a。Example", "a.example"),
            // No form, and no name.
            ("Ü b", "Ü b"),
            ("xn--ü", "xn--ü"),
            ("１２７.0.0.1", "１２７.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(ascii_name(name), form, "{name}");
        }
    }
}
