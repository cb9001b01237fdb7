//! What the loopback origin does beyond its answers: connections, counts, pace, TLS, changes, the end.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tur_core::{ByteRange, Rate};
use tur_testkit::{
    Behaviour, Beyond, Crowd, Deed, Framing, Gate, Link, Loopback, Refusing, Setup, Tls, When,
    content,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn connect(origin: &Loopback) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", origin.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut impl Write, path: &str, more: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
}

/// Reads a head, and a body of the length it names.
fn read(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn connections_are_kept_and_many_run_at_once() {
    let origin = Loopback::start([("/a", Behaviour::new(300_000)), ("/b", Behaviour::new(5))]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut stream = connect(&origin);
                for _ in 0..3 {
                    ask(&mut stream, "/a?token=1", "");
                    let whole = content(0, ByteRange::new(0, 300_000));
                    assert!(read(&mut stream).1 == whole);
                }
            });
        }
    });
    assert_eq!((origin.connections(), origin.requests()), (16, 48));
    assert_eq!(origin.bytes_sent(), 48 * 300_000);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let slow = Behaviour::new(4).first_byte(Duration::from_millis(20));
    let origin = Loopback::start([("/a", slow), ("/b", Behaviour::new(6))]);
    let mut stream = connect(&origin);
    ask(&mut stream, "/a", "");
    ask(&mut stream, "/b", "");
    assert_eq!(read(&mut stream).1, [0, 1, 2, 3]);
    assert_eq!(read(&mut stream).1, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_field_decides_and_a_refusal_may_be_long() {
    let gzip = When::Says("accept-encoding".to_owned(), "gzip".to_owned());
    let status = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let behaviour = Behaviour::new(4)
        .rule(gzip.clone(), Deed::PageLength(100_000))
        .rule(gzip, status);
    let origin = Loopback::start([("/a", behaviour)]);
    let mut stream = connect(&origin);
    for (coding, length) in [("br, gzip", 100_000), ("identity", 4)] {
        ask(&mut stream, "/a", &format!("Accept-Encoding: {coding}\r\n"));
        let (head, body) = read(&mut stream);
        assert_eq!(head.starts_with("HTTP/1.1 404 "), length > 4, "{head}");
        assert!(body == content(0, ByteRange::new(0, length)));
    }
}

#[test]
fn all_of_a_request_is_written_down() {
    let origin = Loopback::start([("/a", Behaviour::new(1_000).field("X-Test", b"yes"))]);
    let mut stream = connect(&origin);
    let more = "Range: bytes=10-19\r\nIf-Range: \"v0\"\r\nAUTHORIZATION: secret\r\n";
    ask(&mut stream, "/a?q", more);
    let (head, body) = read(&mut stream);
    assert!(head.contains("\r\nX-Test: yes\r\n"), "{head}");
    assert_eq!(body, content(0, ByteRange::new(10, 20)));
    let seen = origin.seen().remove(0);
    assert_eq!(seen.path, "/a?q");
    assert_eq!(seen.host, "localhost");
    assert_eq!(seen.range, Some(ByteRange::new(10, 20)));
    assert_eq!(seen.if_range.as_deref(), Some(&b"\"v0\""[..]));
    assert_eq!(seen.field("authorization"), Some(&b"secret"[..]));
    assert_eq!((seen.connection, seen.status, seen.sent), (1, 206, 10));
}

#[test]
fn the_most_exact_name_wins() {
    let sizes = [("/a", 1), ("/a?x", 2), ("localhost/a?x", 3), ("other/a", 4)];
    let origin = Loopback::start(sizes.map(|(key, size)| (key, Behaviour::new(size))));
    let mut stream = connect(&origin);
    for (path, size) in [("/a", 1), ("/a?y", 1), ("/a?x", 3)] {
        ask(&mut stream, path, "");
        assert_eq!(read(&mut stream).1.len(), size, "{path}");
    }
    ask(&mut stream, "/missing", "");
    assert!(read(&mut stream).0.starts_with("HTTP/1.1 404 Not Found"));
}

#[test]
fn a_swap_counts_anew() {
    let cut_once = |version| {
        Behaviour::new(100)
            .version(version)
            .rule(When::First(1), Deed::Close)
    };
    let origin = Loopback::start([("/a", cut_once(0))]);
    for version in [0, 1] {
        origin.swap("/a", cut_once(version));
        let mut stream = connect(&origin);
        ask(&mut stream, "/a", "");
        let (head, body) = read(&mut stream);
        assert!(head.contains("Connection: close"), "{head}");
        assert_eq!(body, content(version, ByteRange::new(0, 100)));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_paced_body_comes_at_its_rate() {
    let paced = Behaviour::new(1 << 30).pace(Rate::per_second(1_000_000));
    let origin = Loopback::start([("/a", paced)]);
    let mut stream = connect(&origin);
    ask(&mut stream, "/a", "");
    stream.read_exact(&mut vec![0; 200_000]).unwrap();
    drop(stream);
    // The next request is dated at once: however slow the machine is, no more came than was due.
    let mut stream = connect(&origin);
    ask(&mut stream, "/missing", "");
    read(&mut stream);
    let seen = origin.seen();
    let took = seen[1].at.saturating_sub(seen[0].at);
    assert!(took >= Duration::from_millis(160), "{took:?}");
    assert!(took <= Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_bottleneck_is_shared() {
    let link = Link {
        bottleneck: Some(Rate::per_second(1_000_000)),
        ..Link::default()
    };
    let setup = Setup {
        link,
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [("/a", Behaviour::new(100_000))]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut stream = connect(&origin);
                ask(&mut stream, "/a", "");
                assert_eq!(read(&mut stream).1.len(), 100_000);
            });
        }
    });
    let mut stream = connect(&origin);
    ask(&mut stream, "/missing", "");
    read(&mut stream);
    let seen = origin.seen();
    let took = seen[3].at.saturating_sub(seen[0].at);
    assert!(took >= Duration::from_millis(250), "{took:?}");
}

#[test]
fn a_client_that_leaves_ends_its_turn() {
    let busy = Deed::Busy {
        limit: 1,
        retry_after: None,
    };
    let rules = [
        Deed::StallAfter(10),
        Deed::FirstByte(PATIENCE),
        Deed::BlackHole,
        Deed::Hold(Gate::at(10)),
        Deed::HoldHead(Gate::at(0)),
    ];
    for deed in rules {
        let behaviour = Behaviour::new(100)
            .rule(When::First(1), deed.clone())
            .rule(When::Always, busy.clone());
        let origin = Loopback::start([("/a", behaviour)]);
        let mut first = connect(&origin);
        ask(&mut first, "/a", "");
        assert!(origin.wait_for_requests(1, PATIENCE));
        let mut second = connect(&origin);
        ask(&mut second, "/a", "");
        assert!(read(&mut second).0.contains(" 429 "), "{deed:?}");
        drop(first);
        // The origin learns of it by itself, soon: asked again until it has.
        let free = (0..100_000).any(|_| !read_again(&mut second).contains(" 429 "));
        assert!(free, "{deed:?}");
    }
}

fn read_again(stream: &mut TcpStream) -> String {
    ask(stream, "/a", "");
    read(stream).0
}

#[test]
fn a_gate_lets_go_what_it_held() {
    let (head, body) = (Gate::at(0), Gate::at(1_000));
    let behaviour = Behaviour::new(5_000)
        .rule(When::Always, Deed::HoldHead(head.clone()))
        .rule(When::Always, Deed::Hold(body.clone()));
    let origin = Loopback::start([("/a", behaviour)]);
    let mut stream = connect(&origin);
    ask(&mut stream, "/a", "");
    assert!(origin.wait_for_requests(1, PATIENCE));
    assert_eq!(origin.bytes_sent(), 0);
    head.open();
    for limit in [1_000, 1_500, 3_000] {
        body.open_to(limit);
        assert!(origin.wait_for_bytes(limit, PATIENCE));
        assert_eq!(origin.bytes_sent(), limit);
    }
    body.open();
    assert_eq!(read(&mut stream).1, content(0, ByteRange::new(0, 5_000)));
}

#[test]
fn what_a_client_does_not_read_is_not_counted_for_long() {
    let stalls = Behaviour::new(1 << 30).rule(When::After(9), Deed::StallAfter(0));
    let origin = Loopback::start([("/a", stalls)]);
    let mut stream = connect(&origin);
    ask(&mut stream, "/a", "");
    assert!(origin.wait_for_bytes(16_384, PATIENCE));
    // The client's buffer and a small one here: nowhere near the whole.
    assert!(!origin.wait_for_bytes(32 << 20, Duration::from_millis(300)));
}

#[test]
fn a_link_refuses_and_resets() {
    let link = Link {
        refuse_first: 1,
        refuse_after: Some(2),
        ..Link::default()
    };
    let setup = Setup {
        link,
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [("/a", Behaviour::new(3))]);
    for served in [false, true, false] {
        // The reset may come as early as here.
        let mut stream = connect(&origin);
        let sent = stream.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        let got = sent.and_then(|()| stream.read(&mut [0; 64]));
        match got {
            Ok(n) => assert!(served && n > 0),
            Err(e) => {
                assert!(!served, "{e}");
                assert!(matches!(
                    e.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ));
            }
        }
    }
    assert_eq!((origin.connections(), origin.requests()), (3, 1));
}

#[test]
fn a_refusing_port_refuses() {
    let refusing = Refusing::start();
    let refused = TcpStream::connect(("127.0.0.1", refusing.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn dropping_the_origin_closes_its_connections() {
    let origin = Loopback::start([(
        "/a",
        Behaviour::new(100).rule(When::Always, Deed::BlackHole),
    )]);
    let port = origin.port();
    let mut stream = connect(&origin);
    ask(&mut stream, "/a", "");
    assert!(origin.wait_for_requests(1, PATIENCE));
    drop(origin);
    assert!(!matches!(stream.read(&mut [0]), Ok(1..)));
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn heads_are_bounded() {
    let origin = Loopback::start([("/a", Behaviour::new(100))]);
    let mut stream = connect(&origin);
    let line = format!("X: {}\r\n", "y".repeat(1_000));
    let mut sent = stream.write_all(b"GET /a HTTP/1.1\r\n");
    for _ in 0..1_000 {
        sent = sent.and_then(|()| stream.write_all(line.as_bytes()));
    }
    assert!(sent.is_err() || !matches!(stream.read(&mut [0]), Ok(1..)));
    assert_eq!(origin.requests(), 0);
}

#[test]
fn head_requests_have_no_body() {
    let origin = Loopback::start([("/a", Behaviour::new(3))]);
    let mut stream = connect(&origin);
    stream.write_all(b"HEAD /a HTTP/1.1\r\n\r\n").unwrap();
    ask(&mut stream, "/a", "Connection: close\r\n");
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert_eq!(all.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(all.ends_with("\r\n\r\n\0\u{1}\u{2}"), "{all:?}");
    assert_eq!(origin.bytes_sent(), 3);
}

/// A test that has all of a body need not wait until that is counted.
#[test]
fn what_was_received_is_counted() {
    let chunked = Behaviour::new(100).framing(Framing::Chunked);
    for (behaviour, size) in [(chunked, 100), (Behaviour::new(200_000), 200_000)] {
        let origin = Loopback::start([("/a", behaviour)]);
        let mut stream = connect(&origin);
        for round in 1..=100 {
            ask(&mut stream, "/a", "");
            let (mut all, mut had) = (vec![0; 300_000], 0);
            let end = content(0, ByteRange::new(size - 50, size));
            while !all[..had].windows(50).rev().take(8).any(|last| last == end) {
                let count = stream.read(&mut all[had..]).unwrap();
                assert_ne!(count, 0);
                had += count;
            }
            assert_eq!(origin.bytes_sent(), round * size);
        }
    }
}

/// Nobody who looks as soon as there is something sees a part of a small answer, and takes the rest for late.
#[test]
fn a_small_answer_comes_in_one_piece() {
    let small = || Behaviour::new(100);
    let chunked = || Framing::Chunked;
    let refusal = Deed::Status {
        status: 503,
        retry_after: None,
    };
    let rows = [
        (small(), "c"),
        (small().framing(chunked()), "c\r\n0\r\n\r\n"),
        (Behaviour::new(0).framing(chunked()), "\r\n\r\n0\r\n\r\n"),
        (small().rule(When::Always, refusal), "file.</p>\n"),
    ];
    for (behaviour, end) in rows {
        let origin = Loopback::start([("/a", behaviour)]);
        let mut stream = connect(&origin);
        // Two writes would be seen apart in most of so many rounds.
        for _ in 0..100 {
            ask(&mut stream, "/a", "");
            let mut all = [0; 4_096];
            let count = stream.read(&mut all).unwrap();
            let all = String::from_utf8_lossy(&all[..count]);
            assert!(all.ends_with(end), "{all:?}");
        }
    }
}

#[test]
fn a_head_does_not_wait_for_what_holds_its_body_back() {
    let held = |deed| Behaviour::new(100).rule(When::Always, deed);
    for behaviour in [
        held(Deed::Hold(Gate::at(0))),
        held(Deed::BodyAfter(Duration::from_secs(3_600))),
        held(Deed::StallAfter(0)),
        Behaviour::new(100).pace(Rate::per_second(0)),
        Behaviour::new(100)
            .pace(Rate::per_second(1))
            .framing(Framing::Chunked),
    ] {
        let origin = Loopback::start([("/a", behaviour)]);
        let mut stream = connect(&origin);
        ask(&mut stream, "/a", "");
        let mut all = [0; 4_096];
        let count = stream.read(&mut all).unwrap();
        assert!(all[..count].ends_with(b"\r\n\r\n"), "the head alone");
    }
}

/// Asks over TLS as `name`, trusting the authority in `pem`.
fn over_tls(origin: &Loopback, pem: &str, name: &str) -> std::io::Result<Vec<u8>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(client, connect(origin));
    let request = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    stream.write_all(request)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map(|_| all)
}

#[test]
fn tls_is_trusted_by_its_authority_and_for_its_names() {
    let origin = Loopback::start_tls([("/a", Behaviour::new(100_000))]);
    let pem = origin.ca_pem().unwrap();
    for name in ["localhost", "127.0.0.1"] {
        // A missing close_notify would be an error here.
        let all = over_tls(&origin, pem, name).unwrap();
        assert!(all.ends_with(&content(0, ByteRange::new(0, 100_000))));
    }
    assert!(origin.url("/a").starts_with("https://localhost:"));
    let wrong = over_tls(&origin, pem, "other.example").unwrap_err();
    assert!(wrong.to_string().contains("not valid for name"), "{wrong}");
    let setup = Setup {
        tls: Some(Tls {
            names: vec!["other.example".to_owned()],
        }),
        ..Setup::default()
    };
    let other = Loopback::start_with(setup, [("/a", Behaviour::new(1))]);
    let untrusted = over_tls(&other, pem, "other.example").unwrap_err();
    assert_eq!(untrusted.kind(), ErrorKind::InvalidData);
    assert!(over_tls(&other, other.ca_pem().unwrap(), "other.example").is_ok());
}

#[test]
fn a_cut_over_tls_is_no_good_bye() {
    let cut = Behaviour::new(100).rule(When::Always, Deed::CutAfter(50));
    let origin = Loopback::start_tls([("/a", cut)]);
    let cut = over_tls(&origin, origin.ca_pem().unwrap(), "localhost").unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_does_not_pace_the_origin() {
    let origin = Loopback::start([("/a", Behaviour::new(5_000).pace(Rate::per_second(100_000)))]);
    let client = std::thread::spawn({
        let mut stream = connect(&origin);
        move || {
            ask(&mut stream, "/a", "");
            read(&mut stream).1.len()
        }
    });
    origin.bytes_reach(5_000).await;
    assert_eq!(client.join().unwrap(), 5_000);
}

#[test]
fn a_connection_too_many_is_turned_away_until_a_place_is_free() {
    let status = Deed::Status {
        status: 429,
        retry_after: None,
    };
    for beyond in [
        Beyond::Meet(status),
        Beyond::Meet(Deed::Hangup),
        Beyond::Refuse,
    ] {
        let setup = Setup {
            link: Link {
                crowd: Some(Crowd {
                    limit: 1,
                    beyond: beyond.clone(),
                }),
                ..Link::default()
            },
            ..Setup::default()
        };
        let origin = Loopback::start_with(setup, [("/a", Behaviour::new(9))]);
        let mut first = connect(&origin);
        assert!(read_again(&mut first).contains(" 200 "));
        let further = || {
            let mut stream = connect(&origin);
            // A reset may come before the request is out.
            let asked = stream.write_all(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let mut said = String::new();
            let end = asked.and_then(|()| stream.read_to_string(&mut said));
            (said, end.is_ok())
        };
        let (said, orderly) = further();
        match &beyond {
            Beyond::Meet(Deed::Hangup) => assert!(said.is_empty(), "{said}"),
            Beyond::Meet(_) => assert!(said.contains(" 429 ") && orderly, "{said}"),
            Beyond::Refuse => assert!(said.is_empty() && !orderly, "{said}"),
        }
        assert!(read_again(&mut first).contains(" 200 "));
        drop(first);
        // The origin learns of it by itself, soon: tried again until it has.
        let served = || {
            let mut stream = connect(&origin);
            ask(&mut stream, "/a", "Connection: close\r\n");
            let mut said = String::new();
            let end = stream.read_to_string(&mut said);
            end.is_ok() && said.contains(" 200 ")
        };
        assert!((0..10_000).any(|_| served()), "{beyond:?}");
    }
}

#[test]
fn one_connection_of_many_can_stall() {
    let behaviour = Behaviour::new(50_000).rule(When::OnConnection(2), Deed::StallAfter(20_000));
    let origin = Loopback::start([("/a", behaviour)]);
    let mut streams = [1, 2, 3].map(|number| {
        let mut stream = connect(&origin);
        ask(&mut stream, "/a", "Range: bytes=0-39999\r\n");
        // The next connection is made after this one was taken.
        assert!(origin.wait_for_requests(number, PATIENCE));
        stream
    });
    assert_eq!(read(&mut streams[0]).1.len(), 40_000);
    assert_eq!(read(&mut streams[2]).1.len(), 40_000);
    assert!(origin.wait_for_bytes(100_000, PATIENCE));
    let sent: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| (seen.connection, seen.sent))
        .collect();
    assert_eq!(sent, [(1, 40_000), (2, 20_000), (3, 40_000)]);
}
