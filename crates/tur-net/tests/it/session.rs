//! How a session lives: what it sends, when it can be used again, and what ends it.

use crate::script::{Script, Step, drain, get, spawner, transport};
use tur_core::port::{Body, Field, Fill, Request, Session, Transport};
use tur_core::{Ask, ByteRange, Chunks, Fault};
use tur_net::{HttpTransport, NetConfig};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

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
async fn a_request_is_these_bytes() {
    let script = Script::answer(OK);
    let target = script.target();
    let port = script.port;
    let config = NetConfig::default().user_agent("test/1");
    let transport = HttpTransport::new(config, spawner()).unwrap();
    let session = transport.open(&target.origin).await.unwrap();
    let request = Request {
        ask: Ask::Range(ByteRange::new(10, 20)),
        if_range: Some(b"\"v1\"".to_vec()),
        no_cache: true,
        fields: vec![Field {
            name: "cookie".to_owned(),
            value: "a=b".into(),
        }],
        ..get(&target)
    };
    session.fetch(request).await.unwrap();
    drop(session);
    assert_eq!(
        script.seen(),
        format!(
            "GET /file?x=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: test/1\r\nAccept: */*\r\n\
             Accept-Encoding: identity\r\nRange: bytes=10-19\r\nIf-Range: \"v1\"\r\nCache-Control: no-cache\r\n\
             Cookie: a=b\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_leaves_the_session_as_it_was() {
    let script = Script::answer(OK);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let request = Request {
        fields: vec![Field {
            name: "x".to_owned(),
            value: "a\r\nHost: evil".into(),
        }],
        ..get(&target)
    };
    let fault = session.fetch(request).await.unwrap_err();
    assert_eq!(
        fault,
        Fault::Malformed("request field x holds a forbidden byte".to_owned())
    );
    assert!(session.is_open());
    let mut reply = session.fetch(get(&target)).await.unwrap();
    assert_eq!(drain(&mut reply.body).await, (b"hello".to_vec(), Ok(())));
}

#[tokio::test]
async fn a_session_takes_one_request_at_a_time() {
    let script = Script::start(vec![
        Step::Request,
        Step::Send(OK.to_vec()),
        Step::Request,
        Step::Send(OK.to_vec()),
    ]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut first = session.fetch(get(&target)).await.unwrap();
    let second = session.fetch(get(&target)).await.unwrap_err();
    assert_eq!(second, Fault::Lost("the session is in use".to_owned()));
    assert_eq!(drain(&mut first.body).await, (b"hello".to_vec(), Ok(())));
    let mut third = session.fetch(get(&target)).await.unwrap();
    assert_eq!(drain(&mut third.body).await, (b"hello".to_vec(), Ok(())));
}

#[tokio::test]
async fn a_close_while_idle_is_noticed() {
    let script = Script::answer(OK);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    drain(&mut reply.body).await.1.unwrap();
    settle(|| !session.is_open()).await;
    let fault = session.fetch(get(&target)).await.unwrap_err();
    assert_eq!(fault, Fault::Lost("the connection is closed".to_owned()));
}

#[tokio::test]
async fn bytes_after_a_body_are_never_an_answer() {
    let script = Script::start(vec![
        Step::Request,
        Step::Send([OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"].concat()),
        Step::Hold,
    ]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    assert_eq!(drain(&mut reply.body).await, (b"hello".to_vec(), Ok(())));
    assert!(!session.is_open(), "somebody spoke unasked");
}

#[tokio::test]
async fn a_dropped_body_closes_its_connection() {
    let script = Script::start(vec![
        Step::Request,
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello".to_vec()),
        Step::Hold,
    ]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let mut chunks = Chunks::new();
    assert_eq!(reply.body.fill(&mut chunks, 1).await, Ok(Fill::More));
    assert!(session.is_open());
    drop(reply);
    assert!(!session.is_open());
    // The script ends only when its peer has closed.
    assert!(script.seen().starts_with("GET "));
}

#[tokio::test]
async fn a_dropped_session_ends_a_body_that_waits() {
    let script = Script::start(vec![
        Step::Request,
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello".to_vec()),
        Step::Hold,
    ]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let (read, ()) = tokio::join!(drain(&mut reply.body), async {
        tokio::task::yield_now().await;
        drop(session);
    });
    assert!(matches!(read.1, Err(Fault::Truncated(_))), "{read:?}");
    script.seen();
}

#[tokio::test]
async fn a_dropped_fetch_closes_its_connection() {
    let script = Script::start(vec![Step::Request, Step::Hold]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    tokio::select! {
        biased;
        answer = session.fetch(get(&target)) => panic!("nobody answered: {answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert!(!session.is_open());
    script.seen();
}

#[tokio::test]
async fn a_fault_stays_a_fault_and_an_end_an_end() {
    let script = Script::answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let (bytes, first) = drain(&mut reply.body).await;
    assert_eq!(bytes, b"hello");
    assert!(first.is_err());
    assert_eq!(drain(&mut reply.body).await, (Vec::new(), first));
}

#[tokio::test]
async fn facts_are_told() {
    let script = Script::answer(OK);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let facts = session.facts();
    assert_eq!(facts.protocol, "h1");
    assert_eq!(facts.address, format!("127.0.0.1:{}", script.port));
    assert!(!facts.handshake.is_zero());
    drop(session);
    script.seen();
}
