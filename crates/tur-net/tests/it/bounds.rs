//! What a peer may send at most, and what is done about more: each bound, at it and beyond it.

use std::time::Duration;

use tur_core::port::{Body, Fill, Session, Transport};
use tur_core::{Chunks, Fault};
use tur_net::{CHUNK_EXTENSION_BYTES_MAX, FIELDS_MAX, HEAD_BYTES_MAX, INTERIM_MAX};

use crate::script::{Script, Step, get, outcome, transport};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

/// How a chunked answer ends whose body is `body`, and then `flood` again and again.
async fn ends(body: &str, flood: &str) -> String {
    let head = format!("{CHUNKED}{body}");
    let script = Script::start(vec![
        Step::Request,
        Step::Send(head.into_bytes()),
        Step::Flood(flood.repeat(1_000).into_bytes()),
    ]);
    outcome(&transport(), &script.target()).await
}

#[tokio::test]
async fn reason_phrases_of_interim_answers_count_too() {
    for reason in ["r".repeat(100_000), "r".repeat(700)] {
        let interim = format!("HTTP/1.1 102 {reason}\r\n\r\n");
        let script = Script::start(vec![Step::Request, Step::Flood(interim.into_bytes())]);
        let target = script.target();
        let session = transport().open(&target.origin).await.unwrap();
        let fault = session.fetch(get(&target)).await.unwrap_err();
        assert_eq!(fault, Fault::TooManyInterim { limit: INTERIM_MAX });
    }
    // Few, but larger together than all that may come before the end of a head.
    let interim = format!("HTTP/1.1 102 {}\r\n\r\n", "r".repeat(100_000));
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let script = Script::answer((interim.repeat(5) + last).as_bytes());
    let found = outcome(&transport(), &script.target()).await;
    assert_eq!(
        found,
        "too many interim answers: more than 100, or too many bytes"
    );
}

#[tokio::test]
async fn trailers_are_bounded() {
    let refused = "whole, Marked: \"hello\", not a valid HTTP answer: bad chunk";
    for flood in ["X-Trailer: y\r\n", "x", "X: ", "\tfolded\r\n"] {
        assert_eq!(
            ends("5\r\nhello\r\n0\r\n", flood).await,
            refused,
            "{flood:?}"
        );
    }
    let fields: String = (0..FIELDS_MAX).map(|i| format!("X-{i}: y\r\n")).collect();
    let fits = format!("{CHUNKED}5\r\nhello\r\n0\r\n{fields}\r\n");
    let script = Script::answer(fits.as_bytes());
    let taken = "whole, Marked: \"hello\", end, closed";
    assert_eq!(outcome(&transport(), &script.target()).await, taken);
}

#[tokio::test]
async fn chunk_extensions_are_bounded() {
    let refused = "whole, Marked: \"\", not a valid HTTP answer: bad chunk";
    assert_eq!(ends("5;", "a").await, refused);
    let refused = "not a valid HTTP answer: bad chunk";
    assert!(ends("", "1;a=b\r\nx\r\n").await.ends_with(refused));
    for (len, end) in [
        (CHUNK_EXTENSION_BYTES_MAX - 1, "\"hello\", end, closed"),
        (CHUNK_EXTENSION_BYTES_MAX, refused),
    ] {
        let answer = format!("{CHUNKED}5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(len));
        let script = Script::answer(answer.as_bytes());
        let found = outcome(&transport(), &script.target()).await;
        assert!(found.ends_with(end), "{len}: {found}");
    }
}

/// Zeros before the size of a chunk have no end of their own: whoever waits for a byte may give up at any time, because
/// reading them lets others run.
#[tokio::test]
async fn a_chunk_size_without_end_starves_nobody() {
    let script = Script::start(vec![
        Step::Request,
        Step::Send(CHUNKED.into()),
        Step::Flood(vec![b'0'; 64 * 1024]),
    ]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let mut chunks = Chunks::new();
    let filled = tokio::time::timeout(
        Duration::from_millis(300),
        reply.body.fill(&mut chunks, 64 * 1024),
    );
    assert!(filled.await.is_err(), "there is nothing to give");
    assert!(chunks.is_empty());
}

/// A handle is thirty times as large as a chunk of one byte: a budget bounds them too.
#[tokio::test]
async fn small_chunks_do_not_pile_up() {
    let script = Script::start(vec![
        Step::Request,
        Step::Send(CHUNKED.into()),
        Step::Flood(b"1\r\nx\r\n".repeat(4_096)),
    ]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    let mut reply = session.fetch(get(&target)).await.unwrap();
    let (mut most, mut total) = (0, 0);
    while total < 64 * 1024 {
        let mut chunks = Chunks::new();
        let filled = reply.body.fill(&mut chunks, 256 * 1024).await;
        assert_eq!(filled, Ok(Fill::More));
        most = most.max(chunks.iter().count());
        total += chunks.len();
    }
    assert!((1..=1_024).contains(&most), "{most} buffers at once");
}

#[tokio::test]
async fn one_line_many_lines_and_folded_lines_are_bounded_alike() {
    for flood in ["a", "X: y\r\n", " folded\r\n", "\r", "X-Long-Name"] {
        let script = Script::start(vec![
            Step::Request,
            Step::Send(b"HTTP/1.1 200 OK\r\nX: y\r\n".to_vec()),
            Step::Flood(flood.repeat(4_096).into_bytes()),
        ]);
        let target = script.target();
        let session = transport().open(&target.origin).await.unwrap();
        let fault = session.fetch(get(&target)).await.unwrap_err();
        let limit = HEAD_BYTES_MAX;
        let bounded = matches!(fault, Fault::HeadTooLarge { limit: l } if l == limit);
        assert!(
            bounded || matches!(fault, Fault::Malformed(_)),
            "{flood:?}: {fault}"
        );
    }
}

#[tokio::test]
async fn who_speaks_unasked_is_not_asked() {
    let junk = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec();
    let script = Script::start(vec![Step::Send(junk), Step::Hold]);
    let target = script.target();
    let session = transport().open(&target.origin).await.unwrap();
    for _ in 0..10_000_000 {
        if !session.is_open() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(!session.is_open(), "its bytes came");
    let fault = session.fetch(get(&target)).await.unwrap_err();
    assert!(matches!(fault, Fault::Lost(_)), "{fault}");
}

#[tokio::test]
async fn a_length_that_no_disk_has_costs_nothing() {
    for length in [u64::MAX - 2, i64::MAX as u64] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello");
        let script = Script::answer(head.as_bytes());
        let found = outcome(&transport(), &script.target()).await;
        let told = format!(
            "whole, Length({length}): \"hello\", the body ended early: 5 of {length} bytes came"
        );
        assert_eq!(found, told);
    }
}
