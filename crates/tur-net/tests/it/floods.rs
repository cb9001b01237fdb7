//! HTTP/2 peers that send what nobody asked for, byte by byte.

use tur_core::Fault;
use tur_core::port::{Session, Transport};
use tur_net::NetConfig;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PRIORITY, PUSH_PROMISE, SETTINGS, STATUS_103,
    STATUS_200, WINDOW_UPDATE, after_request, frame, head, reset, setting, streaming,
};
use crate::script::{Step, drain, get};

/// How a fetch ends that meets `first` and then `flood` without end; and that its session ends with it.
async fn ending(first: Vec<u8>, flood: Vec<u8>) -> Fault {
    let script = after_request([Step::Send(first), Step::Flood(flood)]);
    let target = script.target();
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    let fault = match session.fetch(get(&target)).await {
        Ok(mut reply) => drain(&mut reply.body).await.1.unwrap_err(),
        Err(fault) => fault,
    };
    assert!(!session.is_open(), "a flood ends the connection");
    // The script ends only when its peer has closed.
    script.over().await;
    fault
}

#[tokio::test]
async fn frames_without_content_end_the_connection() {
    for (name, flood) in [
        ("ping", frame(PING, 0, 0, &[0; 8])),
        ("answered ping", frame(PING, 1, 0, &[0; 8])),
        ("settings", setting(4, 70_000)),
        ("priority", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        ("window", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", frame(99, 0, 0, b"x")),
        ("empty data", frame(DATA, 0, 1, &[])),
        ("padding alone", frame(DATA, 8, 1, &[3, 0, 0, 0])),
    ] {
        let fault = ending(head(), flood).await;
        assert!(matches!(fault, Fault::Malformed(_)), "{name}: {fault:?}");
    }
}

#[tokio::test]
async fn resets_of_streams_that_are_over_end_the_connection() {
    // The first one ends the request, which is told at once; the flood goes on behind it.
    let script = after_request([Step::Send(head()), Step::Flood(reset(1, 8))]);
    let target = script.target();
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    let fault = match session.fetch(get(&target)).await {
        Ok(mut reply) => drain(&mut reply.body).await.1.unwrap_err(),
        Err(fault) => fault,
    };
    assert!(
        matches!(
            fault,
            Fault::Lost(_) | Fault::Truncated(_) | Fault::Malformed(_)
        ),
        "{fault:?}"
    );
    script.over().await;
    assert!(!session.is_open());
}

#[tokio::test]
async fn heads_are_bounded_however_they_are_cut() {
    let open = frame(HEADERS, 0, 1, STATUS_200);
    // A literal field whose value never ends.
    let endless = [b"\x00\x01a\x7f\xff\xff\xff\x7f".as_slice(), &[b'x'; 8_000]].concat();
    let fault = ending(open.clone(), frame(CONTINUATION, 0, 1, &[b'x'; 8_000])).await;
    assert!(
        matches!(fault, Fault::HeadTooLarge { .. } | Fault::Malformed(_)),
        "{fault:?}"
    );
    let first = [open.clone(), frame(CONTINUATION, 0, 1, &endless)].concat();
    let fault = ending(first, frame(CONTINUATION, 0, 1, &[b'x'; 8_000])).await;
    assert!(
        matches!(fault, Fault::HeadTooLarge { .. } | Fault::Malformed(_)),
        "{fault:?}"
    );
    let fault = ending(open, frame(CONTINUATION, 0, 1, &[])).await;
    assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}");
}

#[tokio::test]
async fn interim_answers_are_bounded_over_streams_too() {
    let interim = frame(HEADERS, END_HEADERS, 1, STATUS_103);
    let fault = ending(Vec::new(), interim).await;
    assert_eq!(fault, Fault::TooManyInterim { limit: 100 });
}

#[tokio::test]
async fn a_push_that_was_refused_is_a_broken_rule() {
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\x02\x82\x84\x86");
    let fault = ending(push, frame(PING, 0, 0, &[0; 8])).await;
    assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}");
}

#[tokio::test]
async fn bytes_beyond_a_window_are_a_broken_rule() {
    let data = frame(DATA, 0, 1, &[7; 16_384]);
    let script = after_request([Step::Send(head()), Step::Flood(data)]);
    let target = script.target();
    let config = NetConfig::default().receive_buffer(64 * 1024);
    let session = streaming(config).open(&target.origin).await.unwrap();
    let reply = session.fetch(get(&target)).await.unwrap();
    // Nobody reads: the peer has no right to send more than the windows hold.
    script.over().await;
    assert!(!session.is_open());
    let mut body = reply.body;
    let (bytes, end) = drain(&mut body).await;
    assert!(bytes.len() <= 64 * 1024, "{}", bytes.len());
    assert!(matches!(end, Err(Fault::Malformed(_))), "{end:?}");
}

#[tokio::test]
async fn keep_alive_pings_are_answered() {
    let body = frame(DATA, 1, 1, b"hello");
    let script = after_request([
        Step::Send(frame(PING, 0, 0, &[9; 8])),
        Step::Frame(PING),
        Step::Send([head(), body].concat()),
        Step::Hold,
    ]);
    let target = script.target();
    let session = streaming(NetConfig::default())
        .open(&target.origin)
        .await
        .unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    assert_eq!(drain(&mut reply.body).await, (b"hello".to_vec(), Ok(())));
    assert!(session.is_open());
}

#[tokio::test]
async fn a_setting_that_is_none_is_a_broken_rule() {
    // A window of 2^31 (RFC 9113, section 6.5.2).
    let fault = ending(setting(4, 1 << 31), frame(PING, 0, 0, &[0; 8])).await;
    assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}");
    let fault = ending(frame(SETTINGS, 0, 0, b"odd"), frame(PING, 0, 0, &[0; 8])).await;
    assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}");
}
