//! Tests.

use tokio::io::{AsyncReadExt as _, duplex};
use tur_core::{Kind, Scheme};

use super::*;

fn origin(host: &str) -> Origin {
    Origin {
        scheme: Scheme::Http,
        host: host.to_owned(),
        port: 0x1234,
    }
}

/// One line of a conversation, as the proxy sees it.
enum Line<'a> {
    /// It expects exactly these bytes.
    Hears(&'a [u8]),
    Says(&'a [u8]),
}
use Line::{Hears, Says};

/// What comes of a proxy that keeps to `lines` and then closes.
async fn play(proxy: &str, to: Destination<'_>, lines: &[Line<'_>]) -> Result<(), Fault> {
    let (mut ours, mut theirs) = duplex(4 * 1024);
    let proxy: Proxy = proxy.parse().unwrap();
    let serve = async move {
        for line in lines {
            match line {
                Hears(bytes) => {
                    let mut heard = vec![0; bytes.len()];
                    theirs.read_exact(&mut heard).await.unwrap();
                    assert_eq!(heard, *bytes);
                }
                Says(bytes) => theirs.write_all(bytes).await.unwrap(),
            }
        }
    };
    tokio::join!(connect(&mut ours, &proxy, to), serve).0
}

const GREETING: Line<'_> = Hears(&[5, 1, 0]);
const WELCOME: Line<'_> = Says(&[5, 0]);
const DONE: Line<'_> = Says(&[5, 0, 0, 1, 10, 0, 0, 1, 0x12, 0x34]);

#[tokio::test]
async fn names_and_addresses_are_told_as_the_rfc_says() {
    let host = origin("a.example");
    let v4 = SocketAddr::from(([10, 1, 2, 3], 0x1234));
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9], 0x1234));
    let name = b"\x05\x01\x00\x03\x09a.example\x12\x34";
    let six = b"\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x12\x34";
    for (to, request) in [
        (Destination::Name(&host), &name[..]),
        (
            Destination::Address(v4),
            b"\x05\x01\x00\x01\x0a\x01\x02\x03\x12\x34",
        ),
        (Destination::Address(v6), six),
    ] {
        let lines = [GREETING, WELCOME, Hears(request), DONE];
        play("socks5h://p", to, &lines).await.unwrap();
    }
}

#[tokio::test]
async fn credentials_are_sent_only_if_they_are_asked_for() {
    let to = || Destination::Address(SocketAddr::from(([10, 0, 0, 1], 80)));
    let request = Hears(b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50");
    let greeting = Hears(&[5, 2, 0, 2]);
    let with = "socks5://me:hunter2@p";
    let lines = [greeting, WELCOME, request, DONE];
    play(with, to(), &lines).await.unwrap();
    for version in [1, 5] {
        let lines = [
            Hears(&[5, 2, 0, 2]),
            Says(&[5, 2]),
            Hears(b"\x01\x02me\x07hunter2"),
            Says(&[version, 0]),
            Hears(b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"),
            DONE,
        ];
        play(with, to(), &lines).await.unwrap();
    }
}

/// The bytes of the origin begin right behind the address, of whatever kind that is.
#[tokio::test]
async fn exactly_the_answer_is_taken() {
    for answer in [
        &b"\x05\x00\x00\x01\x01\x02\x03\x04\x05\x06"[..],
        b"\x05\x00\x00\x03\x04abcd\x05\x06",
        b"\x05\x00\x00\x03\x00\x05\x06",
        b"\x05\x00\x00\x04aaaabbbbccccdddd\x05\x06",
    ] {
        let (mut ours, mut theirs) = duplex(4 * 1024);
        theirs.write_all(&[5, 0]).await.unwrap();
        theirs.write_all(answer).await.unwrap();
        theirs.write_all(b"T").await.unwrap();
        let proxy: Proxy = "socks5h://p".parse().unwrap();
        let host = origin("a");
        connect(&mut ours, &proxy, Destination::Name(&host))
            .await
            .unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), b'T', "{answer:?}");
    }
}

/// The proxy's URL, its first and its second answer, and what is made of them.
type Saying = (
    &'static str,
    &'static [u8],
    &'static [u8],
    Kind,
    &'static str,
);

const SAYINGS: &[Saying] = &[
    (
        "socks5h://p",
        &[5, 0],
        &[5, 1, 0, 1],
        Kind::Network,
        "general failure",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 2, 0, 1],
        Kind::Server,
        "its rules",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 3, 0, 1],
        Kind::Network,
        "network unreachable",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 4, 0, 1],
        Kind::Network,
        "host unreachable",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 5, 0, 1],
        Kind::Network,
        "refused",
    ),
    ("socks5h://p", &[5, 0], &[5, 6, 0, 1], Kind::Network, "TTL"),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 7, 0, 1],
        Kind::Server,
        "support to connect",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 8, 0, 1],
        Kind::Server,
        "kind of address",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 77, 0, 1],
        Kind::Network,
        "code 77",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 0, 0, 9],
        Kind::Protocol,
        "unknown kind",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[4, 0, 0, 1],
        Kind::Protocol,
        "SOCKS5",
    ),
    ("socks5h://p", &[5, 0], &[5, 0, 0], Kind::Network, "closed"),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 0, 0, 1, 1, 2, 3, 4, 5],
        Kind::Network,
        "closed",
    ),
    (
        "socks5h://p",
        &[5, 0],
        &[5, 0, 0, 3, 200, 1],
        Kind::Network,
        "closed",
    ),
    (
        "socks5h://p",
        &[5, 255],
        &[],
        Kind::Auth,
        "takes nobody without",
    ),
    (
        "socks5h://u:hunter2@p",
        &[5, 255],
        &[],
        Kind::Auth,
        "none of those methods",
    ),
    ("socks5h://p", &[5, 2], &[], Kind::Protocol, "not offered"),
    (
        "socks5h://u:hunter2@p",
        &[5, 1],
        &[],
        Kind::Protocol,
        "not offered",
    ),
    (
        "socks5h://u:hunter2@p",
        &[5, 2],
        &[1, 1],
        Kind::Auth,
        "does not take those",
    ),
    ("socks5h://p", b"HT", b"TP", Kind::Protocol, "SOCKS5"),
    ("socks5h://p", &[4], &[], Kind::Network, "closed"),
    ("socks5h://p", &[], &[], Kind::Network, "closed"),
];

#[tokio::test]
async fn everything_that_a_proxy_may_say_has_a_message() {
    for (proxy, first, second, kind, part) in SAYINGS {
        let kind = *kind;
        let (mut ours, mut theirs) = duplex(4 * 1024);
        theirs.write_all(first).await.unwrap();
        theirs.write_all(second).await.unwrap();
        // The end is read after what was said; what is sent meanwhile is lost in it.
        let proxy: Proxy = proxy.parse().unwrap();
        let host = origin("a.example");
        let closing = async {
            theirs.shutdown().await.unwrap();
            let mut rest = Vec::new();
            theirs.read_to_end(&mut rest).await.unwrap();
        };
        let talk = async {
            let made = connect(&mut ours, &proxy, Destination::Name(&host)).await;
            drop(ours);
            made
        };
        let fault = tokio::join!(talk, closing).0.unwrap_err();
        let said = fault.to_string();
        assert_eq!(fault.kind(), kind, "{first:?} {second:?}: {said}");
        assert!(said.starts_with("the proxy socks5h://p:1080 "), "{said}");
        assert!(said.contains(part), "{first:?} {second:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn a_name_that_socks_cannot_tell_is_not_sent() {
    let host = origin(&"a".repeat(256));
    let fault = play("socks5h://p", Destination::Name(&host), &[]).await;
    assert!(matches!(fault, Err(Fault::Resolve { .. })), "{fault:?}");
}
