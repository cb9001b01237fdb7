//! Ways to an origin, as a user asks for them: proxies, addresses, and what TLS takes.

use std::os::unix::fs::PermissionsExt as _;

use tur_testkit::{Behaviour, Loopback, ProxyServer, ProxySpeech, Refusing};

use crate::harness::{Place, Ran};

const SIZE: u64 = 300_000;

fn origin() -> Loopback {
    Loopback::start([("/f.bin", Behaviour::new(SIZE))])
}

/// The URL of a name that no resolver knows.
fn named(origin: &Loopback) -> String {
    format!("http://a.invalid:{}/f.bin", origin.port())
}

/// Variables of the environment.
type Set<'a> = &'a [(&'a str, &'a str)];

/// Runs with these variables set.
fn with(place: &Place, set: Set<'_>, args: &[&str]) -> Ran {
    let mut command = place.command(&["--max-time", "120", "--retry", "0"]);
    let command = command.envs(set.iter().copied()).args(args);
    Ran::of(command.output().expect("the program starts"))
}

#[test]
fn a_proxy_comes_from_the_flag_or_the_environment() {
    let (origin, proxy) = (origin(), ProxyServer::honest(ProxySpeech::Http));
    let (url, through) = (named(&origin), proxy.url(""));
    let nobody = Refusing::start();
    let dead = format!("http://127.0.0.1:{}", nobody.port());
    let rows: [(Set<'_>, &[&str], i32); 8] = [
        (&[], &["--proxy", &through], 0),
        (&[("http_proxy", &through)], &[], 0),
        (&[("ALL_PROXY", &through)], &[], 0),
        (&[("all_proxy", &dead)], &["--proxy", &through], 0),
        (&[("http_proxy", &dead)], &[], 4),
        // A name that only the proxy knows, asked for directly.
        (&[("HTTP_PROXY", &through)], &[], 4),
        (
            &[("http_proxy", &through), ("no_proxy", ".invalid")],
            &[],
            4,
        ),
        (&[("http_proxy", &through)], &["--proxy", ""], 4),
    ];
    for (set, args, code) in rows {
        let place = Place::new();
        let ran = with(&place, set, &[args, &[&url]].concat()).ends_with(code);
        if code == 0 {
            place.check("f.bin", 0, SIZE);
        } else {
            assert!(place.names().is_empty(), "{}", ran.stderr);
        }
    }
}

#[test]
fn words_that_cannot_be_used_are_2_and_repeat_no_password() {
    let place = Place::new();
    let rows: [(Set<'_>, &[&str], &str); 9] = [
        (&[], &["--proxy", "gopher://me:hunter2@p"], "--proxy"),
        (
            &[("https_proxy", "http://me:hunter2@p:x")],
            &[],
            "https_proxy",
        ),
        (&[], &["--resolve", "a.invalid:80"], "--resolve"),
        (&[], &["--interface", "192.0.2.77"], "interface"),
        (&[], &["--cert", "missing.pem"], "--cert missing.pem"),
        (&[], &["--cert", "empty.pem"], "no certificate"),
        (&[], &["--key", "empty.pem"], "--cert"),
        (&[], &["-4", "-6"], "cannot be used with"),
        (
            &[],
            &["-H", "Proxy-Authorization: Basic hunter2"],
            "stand in its URL",
        ),
    ];
    place.put("empty.pem", b"");
    for (set, args, part) in rows {
        let ran = with(&place, set, &[args, &["http://127.0.0.1:9/f"]].concat()).ends_with(2);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        assert_eq!(place.names(), ["empty.pem"]);
    }
}

#[test]
fn a_proxy_and_no_private_go_together_only_where_addresses_are_known() {
    let (origin, proxy) = (origin(), ProxyServer::honest(ProxySpeech::Socks));
    let place = Place::new();
    for through in [proxy.url(""), proxy.url("").replace("socks5h", "socks5")] {
        let resolve = format!("a.invalid:{}:127.0.0.1", origin.port());
        let flags = ["--no-private", "--proxy", &through, "--resolve", &resolve];
        with(&place, &[], &[&flags[..], &[&named(&origin)]].concat()).ends_with(13);
    }
    assert!(proxy.seen().is_empty() && place.names().is_empty());
}

#[test]
fn a_host_is_where_the_user_says() {
    let origin = origin();
    let resolve = format!("a.invalid:{}:127.0.0.1", origin.port());
    let url = named(&origin);
    for flags in [&["-4"][..], &["--interface", "127.0.0.1"]] {
        let place = Place::new();
        with(
            &place,
            &[],
            &[flags, &["--resolve", &resolve, &url]].concat(),
        )
        .ends_with(0);
        place.check("f.bin", 0, SIZE);
    }
    let place = Place::new();
    let ran = with(&place, &[], &["-6", "--resolve", &resolve, &url]).ends_with(4);
    assert!(ran.stderr.contains("no IPv6 address"), "{}", ran.stderr);
}

#[test]
fn unchecked_certificates_and_written_keys_are_said_even_to_the_quiet() {
    let origin = Loopback::start_tls([("/f.bin", Behaviour::new(SIZE))]);
    let place = Place::new();
    let url = origin.url("/f.bin");
    with(&place, &[], &[&url]).ends_with(5);
    for flags in [&["-q"][..], &["--json"]] {
        let place = Place::new();
        let keys = place.file("keys");
        let set = [("SSLKEYLOGFILE", keys.to_str().expect("plain"))];
        let ran = with(&place, &set, &[flags, &["--insecure", &url]].concat()).ends_with(0);
        place.check("f.bin", 0, SIZE);
        for part in ["WARNING: certificates are not checked", "WARNING: the keys"] {
            assert_eq!(ran.stderr.matches(part).count(), 1, "{}", ran.stderr);
        }
        assert_eq!(
            ran.stderr.matches("not checked").count(),
            1,
            "{}",
            ran.stderr
        );
        assert_eq!(place.names(), ["f.bin", "keys"]);
        let mode = std::fs::File::open(&keys).and_then(|file| file.metadata());
        assert_eq!(
            mode.expect("it is there").permissions().mode() & 0o777,
            0o600
        );
        assert!(place.text("keys").contains("CLIENT_TRAFFIC_SECRET_0 "));
    }
}

#[test]
fn keys_that_cannot_be_written_fail_no_download() {
    let (origin, place) = (origin(), Place::new());
    let ran = with(
        &place,
        &[("SSLKEYLOGFILE", "no/such/keys")],
        &[&origin.url("/f.bin")],
    );
    let ran = ran.ends_with(0);
    assert!(
        ran.stderr.contains("cannot be written to no/such/keys"),
        "{}",
        ran.stderr
    );
}
