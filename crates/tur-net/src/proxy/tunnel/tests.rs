//! Tests.

use tokio::io::{AsyncReadExt as _, duplex};
use tur_core::{Kind, Scheme};

use super::*;

fn origin() -> Origin {
    Origin {
        scheme: Scheme::Https,
        host: "a.example".to_owned(),
        port: 443,
    }
}

/// What a proxy makes of `connect` that says `answer` and then closes, and what it was asked.
async fn play(proxy: &str, answer: &[u8]) -> (Result<(), Fault>, String) {
    let (mut ours, mut theirs) = duplex(64 * 1024);
    let proxy: Proxy = proxy.parse().unwrap();
    let serve = async {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(theirs.read_u8().await.unwrap());
        }
        // Its peer may have seen enough.
        drop(theirs.write_all(answer).await);
        drop(theirs);
        String::from_utf8(asked).unwrap()
    };
    let agent = HeaderValue::from_static("test/1");
    let (origin, connecting) = (origin(), &mut ours);
    tokio::join!(connect(connecting, &proxy, &origin, &agent), serve)
}

#[tokio::test]
async fn a_tunnel_is_asked_for_with_the_proxys_credentials_alone() {
    let (made, asked) = play("p:1", b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    made.unwrap();
    assert_eq!(
        asked,
        "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nUser-Agent: test/1\r\n\r\n"
    );
    let (made, asked) = play("http://Aladdin:open%20sesame@p:1", b"HTTP/1.0 200\n\n").await;
    made.unwrap();
    let field = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
    assert!(asked.ends_with(field), "{asked}");
}

const WITH: &str = "http://me:hunter2@p:1";
const BASIC: &[u8] = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x, y\"\r\n\r\n";
const OTHER: &[u8] =
    b"HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n";

/// The proxy's URL, its answer, and what is made of it.
type Said = (&'static str, &'static [u8], Option<Kind>, &'static str);

const ANSWERS: &[Said] = &[
    (
        "p:1",
        b"HTTP/1.1 299 Yes\r\nContent-Length: 5\r\n\r\n",
        None,
        "",
    ),
    (
        "p:1",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        None,
        "",
    ),
    ("p:1", BASIC, Some(Kind::Auth), "its URL has none"),
    (WITH, BASIC, Some(Kind::Auth), "does not take those"),
    (
        WITH,
        b"HTTP/1.1 401 Unauthorized\r\n\r\n",
        Some(Kind::Auth),
        "401, it does not take",
    ),
    (
        WITH,
        OTHER,
        Some(Kind::Auth),
        "asks for NTLM, Negotiate, and only Basic",
    ),
    (
        "p:1",
        b"HTTP/1.1 403 Forbidden\r\n\r\nno",
        Some(Kind::Server),
        "403 Forbidden",
    ),
    ("p:1", b"HTTP/1.1 405 \r\n\r\n", Some(Kind::Server), "405"),
    (
        "p:1",
        b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n",
        Some(Kind::Server),
        "302",
    ),
    (
        "p:1",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        Some(Kind::Network),
        "502 Bad Gateway",
    ),
    (
        "p:1",
        b"HTTP/1.1 503 Busy\r\n\r\n",
        Some(Kind::Network),
        "could not connect: 503",
    ),
    (
        "p:1",
        b"",
        Some(Kind::Network),
        "closed the connection unanswered",
    ),
    (
        "p:1",
        b"HTTP/1.1 200 OK\r\n",
        Some(Kind::Network),
        "inside its answer",
    ),
    (
        "p:1",
        b"SSH-2.0-OpenSSH_9\r\n",
        Some(Kind::Protocol),
        "does not speak HTTP",
    ),
    (
        "p:1",
        b"\x05\xff",
        Some(Kind::Protocol),
        "does not speak HTTP",
    ),
    (
        "p:1",
        b"HTTP/2 200 OK\r\n\r\n",
        Some(Kind::Protocol),
        "does not speak HTTP",
    ),
    (
        "p:1",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        Some(Kind::Protocol),
        "does not speak HTTP",
    ),
    (
        "p:1",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        Some(Kind::Protocol),
        "does not speak HTTP",
    ),
    (
        "p:1",
        b"HTTP/1.1 099 OK\r\n\r\n",
        Some(Kind::Protocol),
        "does not speak HTTP",
    ),
    (
        "p:1",
        "HTTP/1.1 20\u{fc} OK\r\n\r\n".as_bytes(),
        Some(Kind::Protocol),
        "HTTP",
    ),
    (
        "p:1",
        b"HTTP/1.1 200 OK\r\n\r\nmore",
        Some(Kind::Protocol),
        "bytes of its own",
    ),
];

#[tokio::test]
async fn answers_and_what_they_mean() {
    for (proxy, answer, kind, part) in ANSWERS {
        let (answer, kind) = (*answer, *kind);
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let fault = match (play(proxy, answer).await.0, kind) {
            (Ok(()), None) => continue,
            (Err(fault), Some(kind)) => {
                assert_eq!(fault.kind(), kind, "{shown}: {fault}");
                fault.to_string()
            }
            (made, _) => panic!("{shown}: {made:?}"),
        };
        assert!(
            fault.starts_with("the proxy http://p:1 "),
            "{shown}: {fault}"
        );
        assert!(fault.contains(part), "{shown}: {fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
}

/// A drip of bytes is an answer in the end; how long that may take is the caller's to say.
#[tokio::test]
async fn bytes_that_come_one_by_one_are_an_answer() {
    let (mut ours, mut theirs) = duplex(1);
    let proxy: Proxy = "p:1".parse().unwrap();
    let agent = HeaderValue::from_static("test/1");
    let serve = async {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            seen.push(theirs.read_u8().await.unwrap());
        }
        theirs.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nT").await
    };
    let (origin, connecting) = (origin(), &mut ours);
    let talk = async {
        connect(connecting, &proxy, &origin, &agent).await.unwrap();
        // Exactly the head was taken: the next byte is the tunnel's.
        connecting.read_u8().await.unwrap()
    };
    let (next, served) = tokio::join!(talk, serve);
    served.unwrap();
    assert_eq!(next, b'T');
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let large = [b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 20_000][..]].concat();
    let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000);
    for answer in [large, interim] {
        let fault = play("p:1", &answer).await.0.unwrap_err();
        assert_eq!(fault.kind(), Kind::Limit);
        let text = "the proxy http://p:1 answered with more than 16384 bytes";
        assert_eq!(fault.to_string(), text);
    }
}
