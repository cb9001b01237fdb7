//! Tests.

use std::format;
use std::vec::Vec;

use super::*;

fn read(text: &str) -> Result<String, ProxyError> {
    text.parse().map(|proxy: Proxy| {
        let credentials = proxy.credentials.as_ref().map_or(String::new(), |found| {
            let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            let (user, password) = (text(found.user.expose()), text(found.password.expose()));
            format!(" {user} {password}")
        });
        format!("{proxy}{credentials}")
    })
}

#[test]
fn proxies_as_they_are_written() {
    for (text, told) in [
        ("http://p", "http://p:1080"),
        ("p", "http://p:1080"),
        ("p:3128", "http://p:3128"),
        (" P.Example:80/ ", "http://p.example:80"),
        ("http://p:80", "http://p:80"),
        ("http://p:21", "http://p:21"),
        ("https://p", "https://p:443"),
        ("HTTPS://p:8443/", "https://p:8443"),
        ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
        ("socks5h://[::1]:9050", "socks5h://[::1]:9050"),
        (
            "socks5h://Bücher.example",
            "socks5h://xn--bcher-kva.example:1080",
        ),
        ("http://me:s%40cret@p:1", "http://p:1 me s@cret"),
        ("me:a@b@p:1", "http://p:1 me a@b"),
        ("socks5://me@p", "socks5://p:1080 me "),
    ] {
        assert_eq!(read(text).as_deref(), Ok(told), "{text}");
    }
}

#[test]
fn what_is_no_proxy_is_said_without_repeating_it() {
    let long = "x".repeat(256);
    let (user, password) = (
        format!("socks5://{long}:p@h"),
        format!("socks5://u:{long}@h"),
    );
    for (text, wrong) in [
        ("ftp://p", "begins with"),
        ("socks4://p", "begins with"),
        ("socks://p", "begins with"),
        ("", "no host"),
        ("http://", "no host"),
        ("http://me:hunter2@", "no host"),
        ("http://p:x", "port"),
        ("http://p:99999", "port"),
        ("http://me:hunter2@p:x", "port"),
        ("http://p/path", "more than a host"),
        ("http://p?q", "more than a host"),
        ("http://[::1", "IPv6"),
        ("http://1.2.3.4.5.999", "IPv4"),
        ("http://a b", "invalid host"),
        ("http://a%3Ab:hunter2@p", "colon"),
        ("http://%ff:hunter2@p", "UTF-8"),
        ("socks5://:hunter2@p", "1 to 255"),
        (&user, "1 to 255"),
        (&password, "at most 255"),
    ] {
        let said = read(text).expect_err(text).to_string();
        assert!(said.contains(wrong), "{text}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn credentials_are_never_shown() {
    let proxies = Proxies::all("http://alice:hunter2@p".parse().expect("a proxy"));
    let shown = format!("{proxies:?} {:?} {}", proxies.http, proxies.all_text());
    assert!(
        !shown.contains("hunter2") && !shown.contains("alice"),
        "{shown}"
    );
}

impl Proxies {
    fn all_text(&self) -> String {
        let shown: Vec<_> = self
            .http
            .iter()
            .chain(&self.https)
            .map(ToString::to_string)
            .collect();
        shown.join(" ")
    }
}

/// The proxies for http and for https, as curl would choose them.
fn chosen(proxy: Option<&str>, except: Option<&str>, set: &[(&str, &str)]) -> String {
    let variable = |name: &str| {
        let found = set.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_string())
    };
    let proxies = match Proxies::read(proxy, except, variable) {
        Ok(proxies) => proxies,
        Err(error) => return format!("{:?}", error.variable),
    };
    let of = |scheme: Scheme| {
        let origin = Origin {
            scheme,
            host: "a.example".into(),
            port: scheme.default_port(),
        };
        proxies
            .choose(&origin)
            .map_or("-".to_string(), |proxy| proxy.host.clone())
    };
    format!("{} {}", of(Scheme::Http), of(Scheme::Https))
}

/// `--proxy`, `--noproxy`, the environment, and the proxies for http and for https of a.example.
type Words = (
    Option<&'static str>,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const WORDS: &[Words] = &[
    (None, None, &[], "- -"),
    (None, None, &[("http_proxy", "h")], "h -"),
    // A field `Proxy` of a request would set it for a CGI program.
    (None, None, &[("HTTP_PROXY", "h")], "- -"),
    (None, None, &[("https_proxy", "s")], "- s"),
    (None, None, &[("HTTPS_PROXY", "s")], "- s"),
    (
        None,
        None,
        &[("https_proxy", "s"), ("HTTPS_PROXY", "t")],
        "- s",
    ),
    (
        None,
        None,
        &[("https_proxy", ""), ("HTTPS_PROXY", "t")],
        "- t",
    ),
    (None, None, &[("all_proxy", "a")], "a a"),
    (None, None, &[("ALL_PROXY", "a")], "a a"),
    (None, None, &[("all_proxy", "a"), ("ALL_PROXY", "b")], "a a"),
    (
        None,
        None,
        &[("all_proxy", "a"), ("http_proxy", "h")],
        "h a",
    ),
    (
        None,
        None,
        &[("all_proxy", "a"), ("HTTPS_PROXY", "s")],
        "a s",
    ),
    (None, None, &[("http_proxy", ""), ("all_proxy", "a")], "a a"),
    (
        Some("p"),
        None,
        &[("http_proxy", "h"), ("https_proxy", "s")],
        "p p",
    ),
    (Some(""), None, &[("all_proxy", "a")], "- -"),
    (Some("p"), None, &[("no_proxy", "a.example")], "- -"),
    (Some("p"), None, &[("no_proxy", "b.example")], "p p"),
    (Some("p"), Some(""), &[("no_proxy", "a.example")], "p p"),
    (Some("p"), Some("*"), &[], "- -"),
    (Some("p"), Some("a.example:80"), &[], "- p"),
    (
        None,
        None,
        &[("all_proxy", "a"), ("NO_PROXY", "example")],
        "- -",
    ),
    (
        None,
        None,
        &[("all_proxy", "a"), ("no_proxy", "x"), ("NO_PROXY", "*")],
        "a a",
    ),
    (Some("ftp://p"), None, &[], "None"),
    (
        None,
        None,
        &[("https_proxy", "ftp://p")],
        "Some(\"https_proxy\")",
    ),
];

#[test]
fn flags_and_variables_as_curl_reads_them() {
    for (proxy, except, set, told) in WORDS {
        let (proxy, except) = (*proxy, *except);
        assert_eq!(
            chosen(proxy, except, set),
            *told,
            "{proxy:?} {except:?} {set:?}"
        );
    }
}

#[test]
fn loopback_is_not_special() {
    let proxies = Proxies::all("p".parse().expect("a proxy"));
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let origin = Origin {
            scheme: Scheme::Http,
            host: host.into(),
            port: 80,
        };
        assert!(proxies.choose(&origin).is_some(), "{host}");
    }
}
