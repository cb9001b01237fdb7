//! How an HTTP/2 session lives: what it sends, what it says about itself, and what ends a stream or all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tur_core::port::{Body, Field, Fill, Request, Session, Transport};
use tur_core::{Ask, ByteRange, Chunks, Fault, Target, Wait};
use tur_net::{HttpTransport, NetConfig, Protocols, Spawner};
use tur_testkit::{Behaviour, Deed, Gate, Link, Loopback, Setup, Speaks, Tls, When};

use crate::frames::{
    DATA, END_STREAM, HEADERS, SETTINGS, after_request, frame, go_away, head, reset, setting,
    streaming,
};
use crate::script::{Script, Step, drain, get, spawner, target};
use tur_core::Scheme;

const SIZE: u64 = 8_000_000;

fn origin(link: Link, behaviour: Behaviour) -> (Loopback, Target) {
    let setup = Setup {
        link,
        speaks: Speaks::H2,
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [("/file?x=1", behaviour)]);
    let target = target(Scheme::Http, "127.0.0.1", origin.port());
    (origin, target)
}

/// One that does this to its first request.
fn origin_that(deed: Deed) -> (Loopback, Target) {
    let behaviour = Behaviour::new(100).rule(When::Only(1), deed);
    origin(Link::default(), behaviour)
}

fn tls_origin(speaks: Speaks, behaviour: Behaviour) -> (Loopback, Target, NetConfig) {
    tls_origin_on(Link::default(), speaks, behaviour)
}

fn tls_origin_on(
    link: Link,
    speaks: Speaks,
    behaviour: Behaviour,
) -> (Loopback, Target, NetConfig) {
    let setup = Setup {
        tls: Some(Tls::default()),
        link,
        speaks,
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [("/file?x=1", behaviour)]);
    let pem = origin.ca_pem().unwrap().as_bytes().to_vec();
    let target = target(Scheme::Https, "localhost", origin.port());
    (origin, target, NetConfig::default().roots_pem(pem))
}

/// Lets the runtime see what the sockets say until `done`.
async fn settle(mut done: impl FnMut() -> bool) {
    for _ in 0..1_000_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never settled");
}

#[tokio::test]
async fn a_request_has_parts_and_nothing_of_the_connection() {
    let (origin, target) = origin(Link::default(), Behaviour::new(100));
    let session = streaming(NetConfig::default().user_agent("test/1"))
        .open(&target.origin)
        .await
        .unwrap();
    assert_eq!(session.facts().protocol, "h2");
    let field = |name: &str, value: &str| Field {
        name: name.to_owned(),
        value: value.into(),
    };
    let request = Request {
        ask: Ask::Range(ByteRange::new(10, 20)),
        if_range: Some(b"\"v0\"".to_vec()),
        no_cache: true,
        fields: vec![
            field("Cookie", "a=b"),
            field("Connection", "keep-alive"),
            field("Keep-Alive", "timeout=5"),
            field("Proxy-Connection", "close"),
        ],
        ..get(&target)
    };
    let mut reply = session.fetch(request.clone()).await.unwrap();
    assert_eq!(drain(&mut reply.body).await.0.len(), 10);
    let hosted = Request {
        fields: vec![field("host", "other.example:81")],
        ..get(&target)
    };
    session.fetch(hosted).await.unwrap();
    let seen = origin.seen();
    let mut names: Vec<&str> = seen[0].fields.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "cache-control",
            "cookie",
            "if-range",
            "range",
            "user-agent"
        ]
    );
    assert_eq!(seen[0].host, format!("127.0.0.1:{}", origin.port()));
    assert_eq!((seen[0].protocol, seen[0].stream), ("h2", 1));
    assert_eq!(
        (seen[1].host.as_str(), seen[1].stream),
        ("other.example:81", 3)
    );
    for bad in [
        field("te", "gzip"),
        field("x", "a\r\nb"),
        field("host", "a b"),
    ] {
        let request = Request {
            fields: vec![bad],
            ..get(&target)
        };
        let fault = session.fetch(request).await.unwrap_err();
        assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}");
    }
    assert!(session.is_open());
}

#[tokio::test]
async fn the_protocol_is_the_one_both_speak() {
    for (speaks, protocols, expected) in [
        (Speaks::Both, Protocols::Auto, Some("h2")),
        (Speaks::Both, Protocols::Http1, Some("h1")),
        (Speaks::Both, Protocols::Http2, Some("h2")),
        (Speaks::H1, Protocols::Auto, Some("h1")),
        (Speaks::H1, Protocols::Http2, None),
        (Speaks::H2, Protocols::Auto, Some("h2")),
        (Speaks::H2, Protocols::Http1, None),
    ] {
        let (_origin, target, config) = tls_origin(speaks, Behaviour::new(100));
        let transport = HttpTransport::new(config.protocols(protocols), spawner()).unwrap();
        let opened = transport.open(&target.origin).await;
        match (opened, expected) {
            (Ok(session), Some(expected)) => assert_eq!(session.facts().protocol, expected),
            (Err(Fault::ProtocolUnavailable(_)), None) => {}
            (other, _) => panic!("{speaks:?} {protocols:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_origin_that_wants_http_1_gets_it_from_then_on() {
    let behaviour = Behaviour::new(100).rule(When::Only(1), Deed::ResetStream(13));
    let (_origin, target, config) = tls_origin(Speaks::Both, behaviour);
    let transport = HttpTransport::new(config, spawner()).unwrap();
    let session = transport.open(&target.origin).await.unwrap();
    assert_eq!(session.facts().protocol, "h2");
    let fault = session.fetch(get(&target)).await.unwrap_err();
    assert!(matches!(fault, Fault::StreamRefused(_)), "{fault:?}");
    assert!(!session.is_open(), "the next request is for another one");
    let session = transport.open(&target.origin).await.unwrap();
    assert_eq!(session.facts().protocol, "h1");
    let mut reply = session.fetch(get(&target)).await.unwrap();
    assert_eq!(drain(&mut reply.body).await.0.len(), 100);

    let (_origin, target) = origin_that(Deed::ResetStream(13));
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    let fault = session.fetch(get(&target)).await.unwrap_err();
    assert!(matches!(fault, Fault::ProtocolUnavailable(_)), "{fault:?}");
}

#[tokio::test]
async fn a_reset_is_named_by_its_code() {
    for (code, expected) in [
        (7, Fault::StreamRefused("REFUSED_STREAM".to_owned())),
        (11, Fault::Calm("ENHANCE_YOUR_CALM".to_owned())),
        (2, Fault::Lost("stream reset (INTERNAL_ERROR)".to_owned())),
        (8, Fault::Lost("stream reset (CANCEL)".to_owned())),
        (0, Fault::Lost("stream reset (NO_ERROR)".to_owned())),
        (77, Fault::Lost("stream reset (Reason(4d))".to_owned())),
    ] {
        let (_origin, target) = origin_that(Deed::ResetStream(code));
        let transport = streaming(NetConfig::default());
        let session = transport.open(&target.origin).await.unwrap();
        let fault = session.fetch(get(&target)).await.unwrap_err();
        assert_eq!(fault, expected);
        // The others are not concerned.
        let mut reply = session.fetch(get(&target)).await.unwrap();
        assert_eq!(drain(&mut reply.body).await.0.len(), 100);
    }
}

#[tokio::test]
async fn a_body_that_is_reset_keeps_what_came() {
    for (code, calm) in [(2, false), (7, false), (11, true)] {
        let data = frame(DATA, 0, 1, b"hello");
        let script = after_request([
            Step::Send([head(), data].concat()),
            Step::Send(reset(1, code)),
            Step::Hold,
        ]);
        let target = script.target();
        let transport = streaming(NetConfig::default());
        let session = transport.open(&target.origin).await.unwrap();
        let mut reply = session.fetch(get(&target)).await.unwrap();
        let (bytes, end) = drain(&mut reply.body).await;
        assert!(bytes == b"hello" || bytes.is_empty(), "{bytes:?}");
        match end {
            Err(Fault::Truncated(text)) if !calm => assert!(text.contains("bytes came"), "{text}"),
            Err(Fault::Calm(_)) if calm => {}
            other => panic!("{code}: {other:?}"),
        }
        assert!(drain(&mut reply.body).await.1.is_err());
        assert!(session.is_open());
    }
}

#[tokio::test]
async fn what_go_away_leaves_out_is_refused_and_what_it_keeps_goes_on() {
    let script = after_request([Step::Send(go_away(0, 0)), Step::Hold]);
    let target = script.target();
    let transport = streaming(NetConfig::default());
    let session = transport.open(&target.origin).await.unwrap();
    let fault = session.fetch(get(&target)).await.unwrap_err();
    assert!(matches!(fault, Fault::StreamRefused(_)), "{fault:?}");
    assert!(!session.is_open());
    script.over().await;

    let script = after_request([
        Step::Send([head(), go_away(1, 0)].concat()),
        Step::Send(frame(DATA, END_STREAM, 1, b"hello")),
        Step::Hold,
    ]);
    let target = script.target();
    let session = transport.open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    settle(|| !session.is_open()).await;
    let late = session.fetch(get(&target)).await.unwrap_err();
    assert!(matches!(late, Fault::StreamRefused(_)), "{late:?}");
    assert_eq!(drain(&mut reply.body).await, (b"hello".to_vec(), Ok(())));
    // It closes by itself after its last stream.
    script.over().await;
}

#[tokio::test]
async fn an_orderly_end_of_a_server_is_followed() {
    let behaviour = Behaviour::new(100).rule(When::Only(2), Deed::Close);
    let (_origin, target) = origin(Link::default(), behaviour);
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    for _ in 0..2 {
        let mut reply = session.fetch(get(&target)).await.unwrap();
        assert_eq!(drain(&mut reply.body).await.0.len(), 100);
    }
    settle(|| !session.is_open()).await;
}

#[tokio::test]
async fn the_capacity_is_what_the_peer_allows_now() {
    let script = after_request([
        Step::Send([setting(3, 7), head()].concat()),
        Step::Frame(SETTINGS),
        Step::Send([setting(3, 0), frame(DATA, 0, 1, b"x")].concat()),
        Step::Frame(SETTINGS),
        Step::Send(setting(3, 1_000)),
        Step::Hold,
    ]);
    let target = script.target();
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    assert_eq!(session.capacity(), 100, "before it said anything of it");
    let _reply = session.fetch(get(&target)).await.unwrap();
    for expected in [1, 100] {
        settle(|| session.capacity() == expected).await;
    }
}

#[tokio::test]
async fn more_requests_than_the_peer_allows_are_refused_and_not_sent() {
    let (origin, target) = origin(two_streams(), Behaviour::new(100_000));
    let transport = streaming(NetConfig::default());
    let session = transport.open(&target.origin).await.unwrap();
    assert_eq!(session.capacity(), 2, "waited for where nobody agreed");
    let fetch = || session.fetch(get(&target));
    let (mut first, mut second) = (fetch().await.unwrap(), fetch().await.unwrap());
    for _ in 0..10 {
        let fault = fetch().await.map(|_| ()).unwrap_err();
        assert!(matches!(fault, Fault::StreamRefused(_)), "{fault:?}");
    }
    assert!(session.is_open());
    let (bytes, end) = drain(&mut first.body).await;
    assert_eq!((bytes.len(), end), (100_000, Ok(())));
    let mut third = fetch().await.unwrap();
    for body in [&mut second.body, &mut third.body] {
        let (bytes, end) = drain(body).await;
        assert_eq!((bytes.len(), end), (100_000, Ok(())));
    }
    assert_eq!((origin.connections(), origin.requests()), (1, 3));
}

/// Where the peer has agreed to HTTP/2 its SETTINGS are not waited for by the first request: the others are sent, or refused
/// and not sent, once they are there.
#[tokio::test]
async fn requests_that_began_before_the_peer_said_its_limit_do_not_wait_for_others() {
    for pause in 0..20 {
        let gate = Gate::at(0);
        let held = Behaviour::new(100_000).rule(When::Always, Deed::HoldHead(gate.clone()));
        let (origin, target, config) = tls_origin_on(two_streams(), Speaks::H2, held);
        let transport = HttpTransport::new(config, spawner()).unwrap();
        let session = Arc::new(transport.open(&target.origin).await.unwrap());
        // Holds the thread that drives the connection: SETTINGS come meanwhile and are not read before the requests begin.
        #[expect(
            clippy::disallowed_methods,
            reason = "who comes first differs by it, and no result"
        )]
        std::thread::sleep(Duration::from_millis(pause));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..BEGUN {
            let (session, target) = (session.clone(), target.clone());
            all.spawn(async move { session.fetch(get(&target)).await });
        }
        for n in 0..BEGUN - 2 {
            let next = tokio::time::timeout(Duration::from_secs(60), all.join_next());
            let reply = next.await.expect("it waits for others").unwrap();
            let fault = reply.unwrap().map(|_| ()).unwrap_err();
            assert!(matches!(fault, Fault::StreamRefused(_)), "{n}: {fault:?}");
        }
        gate.open();
        while let Some(reply) = all.join_next().await {
            let (bytes, end) = drain(&mut reply.unwrap().unwrap().body).await;
            assert_eq!((bytes.len(), end), (100_000, Ok(())));
        }
        assert_eq!((session.capacity(), origin.requests()), (2, 2));
        // The next connection need not wait to know.
        assert_eq!(transport.room(&target.origin), Some(2));
        let next = transport.open(&target.origin).await.unwrap();
        assert_eq!(next.capacity(), 2);
    }
}

fn two_streams() -> Link {
    Link {
        streams: Some(2),
        frame: Some(1_000),
        ..Link::default()
    }
}

#[tokio::test]
async fn windows_open_after_the_write_and_not_before() {
    let window = 32 * 1024;
    let (origin, target) = origin(Link::default(), Behaviour::new(SIZE));
    let config = NetConfig::default().h2_stream_window(window);
    let session = streaming(config).open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let mut chunks = Chunks::new();
    while chunks.len() < window as usize {
        // A fill that is given up has handed over what it appended.
        let more = tokio::time::timeout(
            Duration::from_millis(100),
            reply.body.fill(&mut chunks, 1 << 20),
        );
        if more.await.is_err() {
            break;
        }
        if origin.bytes_sent() >= u64::from(window) {
            break;
        }
    }
    let held = chunks.len() as u64;
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
    assert!(held > 0);
    assert!(
        origin.bytes_sent() <= held + u64::from(window),
        "no more than a window beyond what was taken"
    );
    drop(chunks);
    let (rest, end) = drain(&mut reply.body).await;
    assert_eq!((held + rest.len() as u64, end), (SIZE, Ok(())));
}

#[tokio::test]
async fn streams_that_are_given_up_beyond_the_account_retire_the_session() {
    let (origin, target) = origin(Link::default(), Behaviour::new(SIZE));
    let transport = streaming(NetConfig::default());
    let session = transport.open(&target.origin).await.unwrap();
    let mut kept = session.fetch(get(&target)).await.unwrap();
    let mut given_up = 0;
    while session.is_open() {
        let mut reply = session.fetch(get(&target)).await.unwrap();
        reply.body.fill(&mut Chunks::new(), 1).await.unwrap();
        drop(reply);
        given_up += 1;
        assert!(given_up <= 21, "an account ends");
    }
    assert!(given_up > 8, "{given_up}");
    let fault = session.fetch(get(&target)).await.unwrap_err();
    assert!(matches!(fault, Fault::Lost(_)), "{fault:?}");
    // Its other stream goes on, past the window that the one given up has filled.
    let (bytes, end) = drain(&mut kept.body).await;
    assert_eq!((bytes.len() as u64, end), (SIZE, Ok(())));
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_driver_ends_with_its_session_and_with_its_peer() {
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    #[expect(clippy::disallowed_methods, reason = "the test owns its runtime")]
    let counting = Spawner::new(move |driver| {
        let count = count.clone();
        count.fetch_add(1, Ordering::SeqCst);
        drop(tokio::spawn(async move {
            driver.await;
            count.fetch_sub(1, Ordering::SeqCst);
        }));
    });
    let config = NetConfig::default().protocols(Protocols::Http2);
    let transport = HttpTransport::new(config, counting).unwrap();
    let (origin, target) = origin(Link::default(), Behaviour::new(SIZE));
    let session = transport.open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 1);
    drop(session);
    let end = drain(&mut reply.body).await.1;
    assert!(matches!(end, Err(Fault::Truncated(_))), "{end:?}");
    settle(|| running.load(Ordering::SeqCst) == 0).await;
    let session = transport.open(&target.origin).await.unwrap();
    drop(origin);
    settle(|| running.load(Ordering::SeqCst) == 0).await;
    assert!(!session.is_open());
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_named() {
    for (bytes, unavailable) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
            true,
        ),
        (b"<!doctype html>", true),
        (b"", false),
    ] {
        let script = Script::start(vec![Step::Request, Step::Send(bytes.to_vec())]);
        let target = script.target();
        let opened = streaming(NetConfig::default()).open(&target.origin).await;
        let fault = opened.map(|_session| ()).unwrap_err();
        assert_eq!(
            matches!(fault, Fault::ProtocolUnavailable(_)),
            unavailable,
            "{fault:?}"
        );
        assert!(unavailable || matches!(fault, Fault::Lost(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_waited_for_as_long_as_for_a_connection() {
    let script = Script::start(vec![Step::Hold]);
    let target = script.target();
    let limit = Duration::from_millis(100);
    let transport = streaming(NetConfig::default().connect_timeout(limit));
    let fault = transport.open(&target.origin).await.map(drop).unwrap_err();
    assert_eq!(fault, Fault::TimedOut(Wait::Connect, limit));
    // The script ends only when its peer has closed.
    script.over().await;
}

#[tokio::test]
async fn a_head_that_is_none_is_malformed_and_its_stream_alone_ends() {
    let answer = [
        frame(HEADERS, 4, 3, b"\x88"),
        frame(DATA, END_STREAM, 3, b"hello"),
    ];
    for (bad, alone) in [
        // No status; a field of the connection; a field in upper case, which the library takes for bad coding.
        (&b"\x0f\x0d\x015"[..], true),
        (b"\x88\x00\x0aconnection\x05close", true),
        (b"\x88\x00\x01X\x01y", false),
    ] {
        let script = after_request([
            Step::Send(frame(HEADERS, 5, 1, bad)),
            Step::Frame(HEADERS),
            Step::Send(answer.concat()),
            Step::Hold,
        ]);
        let target = script.target();
        let session = streaming(NetConfig::default())
            .open(&target.origin)
            .await
            .unwrap();
        let fault = session.fetch(get(&target)).await.unwrap_err();
        assert!(matches!(fault, Fault::Malformed(_)), "{bad:?}: {fault:?}");
        assert_eq!(session.is_open(), alone, "{bad:?}");
        if alone {
            let mut reply = session.fetch(get(&target)).await.unwrap();
            assert_eq!(drain(&mut reply.body).await, (b"hello".to_vec(), Ok(())));
        }
    }
}

#[tokio::test]
async fn many_bodies_are_whole_however_slowly_one_is_read() {
    let link = Link {
        frame: Some(10_000),
        ..Link::default()
    };
    let (_origin, target) = origin(link, Behaviour::new(300_000));
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    let mut slow = session.fetch(get(&target)).await.unwrap();
    for _ in 0..10 {
        let mut reply = session.fetch(get(&target)).await.unwrap();
        assert_eq!(drain(&mut reply.body).await.0.len(), 300_000);
        let mut chunks = Chunks::new();
        let filled = slow.body.fill(&mut chunks, 1).await.unwrap();
        assert_eq!(filled, Fill::More);
    }
}

/// Requests at once: more than tasks that the runtime runs before it looks at sockets, so that all begin and none leaves.
const BEGUN: usize = 80;
