//! Answers byte by byte: what is taken, what is refused, and in which words.

use crate::script::{Script, Step, get, outcome, spawner, transport};
use tur_core::Fault;
use tur_core::port::{Session, Transport};
use tur_net::{HttpTransport, NetConfig};

async fn check(answer: &str, expected: &str) {
    let script = Script::answer(answer.as_bytes());
    let found = outcome(&transport(), &script.target()).await;
    assert_eq!(found, expected, "for {answer:?}");
}

#[tokio::test]
async fn lengths_are_one_number() {
    for (lengths, words) in [
        ("Content-Length: -1\r\n", "bad Content-Length"),
        ("Content-Length: +1\r\n", "bad Content-Length"),
        ("Content-Length: 0x10\r\n", "bad Content-Length"),
        ("Content-Length:\r\n", "bad Content-Length"),
        ("Content-Length: 1 2\r\n", "bad Content-Length"),
        (
            "Content-Length: 18446744073709551615\r\n",
            "bad Content-Length",
        ),
        (
            "Content-Length: 18446744073709551616\r\n",
            "bad Content-Length",
        ),
        (
            "Content-Length: 99999999999999999999999\r\n",
            "bad Content-Length",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "two different Content-Length",
        ),
        ("Content-Length: 5, 6\r\n", "two different Content-Length"),
    ] {
        check(
            &format!("HTTP/1.1 200 OK\r\n{lengths}\r\nhello!"),
            &format!("not a valid HTTP answer: {words}"),
        )
        .await;
    }
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "content-LENGTH:   5  \r\n",
        "Content-Length: 005\r\n",
    ] {
        check(
            &format!("HTTP/1.1 200 OK\r\n{lengths}Connection: close\r\n\r\nhello"),
            "whole, Length(5): \"hello\", end, closed",
        )
        .await;
    }
}

#[tokio::test]
async fn bodies_end_where_the_framing_says() {
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            "whole, Length(5): \"hel\", the body ended early: 3 of 5 bytes came",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "whole, Length(0): \"\", end, closed",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nhello",
            "whole, UntilClose: \"hello\", end, closed",
        ),
        (
            "HTTP/1.0 200 OK\r\n\r\n",
            "whole, UntilClose: \"\", end, closed",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "whole, Length(5): \"hello\", end, closed",
        ),
        (
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
            "204 No Content: \"\", end, closed",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            "304 Not Modified: \"\", end, closed",
        ),
        (
            "HTTP/1.1 299 Odd \x1b[31mred\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "not a valid HTTP answer: bad header section",
        ),
        (
            "HTTP/1.1 299 Odd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "299 Odd: \"\", end, closed",
        ),
    ] {
        check(answer, expected).await;
    }
}

#[tokio::test]
async fn chunks_end_with_the_last_one() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let cut = "the body ended early: body ended before the last chunk";
    for (body, expected) in [
        (
            "5\r\nhello\r\n0\r\n\r\n",
            "whole, Marked: \"hello\", end, closed",
        ),
        (
            "2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
            "whole, Marked: \"hello\", end, closed",
        ),
        ("0\r\n\r\n", "whole, Marked: \"\", end, closed"),
        (
            "5\r\nhello\r\n",
            &format!("whole, Marked: \"hello\", {cut}"),
        ),
        ("5\r\nhel", &format!("whole, Marked: \"hel\", {cut}")),
        (
            "5\r\nhello\r\n0\r\n",
            &format!("whole, Marked: \"hello\", {cut}"),
        ),
        ("", &format!("whole, Marked: \"\", {cut}")),
        (
            "-5\r\nhello\r\n0\r\n\r\n",
            "whole, Marked: \"\", not a valid HTTP answer: bad chunk",
        ),
        (
            "fffffffffffffffff\r\nhello",
            "whole, Marked: \"\", not a valid HTTP answer: bad chunk",
        ),
        (
            "5\r\nhelloworld\r\n0\r\n\r\n",
            "whole, Marked: \"hello\", not a valid HTTP answer: bad chunk",
        ),
    ] {
        check(&format!("{head}{body}"), expected).await;
    }
}

#[tokio::test]
async fn other_transfer_codings_are_refused() {
    let refused = "not a valid HTTP answer: a Transfer-Encoding other than chunked";
    for coding in ["gzip, chunked", "gzip", "chunked, chunked", "identity"] {
        check(
            &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"),
            refused,
        )
        .await;
    }
    check(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "not a valid HTTP answer: Transfer-Encoding in an HTTP/1.0 answer",
    )
    .await;
    // RFC 9112, section 6.3: chunked counts, the length does not, and the connection is closed.
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "whole, Marked: \"hello\", end, closed",
    )
    .await;
}

#[tokio::test]
async fn what_is_not_http_is_said_so() {
    for (answer, words) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        ("<html>hello</html>\r\n\r\n", "not HTTP"),
        ("ICY 200 OK\r\n\r\n", "not HTTP"),
        ("HTTP/2 200 OK\r\n\r\n", "not HTTP"),
        ("\0\0\x12\x04\0\0\0\0\0", "not HTTP"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "bad status line"),
        ("HTTP/1.1 20 OK\r\n\r\n", "bad status line"),
        ("HTTP/1.1 099 OK\r\n\r\n", "bad status line"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "bad header section"),
        ("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "bad header section"),
        ("HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", "bad header section"),
        (
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "bad header section",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            "status 101 to a request that asked for no upgrade",
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nnot HTTP", "not HTTP"),
    ] {
        check(answer, &format!("not a valid HTTP answer: {words}")).await;
    }
    for (answer, words) in [
        ("", "the peer closed it before an answer"),
        (
            "HTTP/1.1 200 OK\r\nA: b\r\n",
            "the peer closed it inside the head",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "the peer closed it inside the head",
        ),
    ] {
        check(answer, &format!("connection lost: {words}")).await;
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let script = Script::start(vec![
        Step::Request,
        Step::Drip(answer.as_bytes().to_vec()),
        Step::Hold,
    ]);
    let found = outcome(&transport(), &script.target()).await;
    assert_eq!(found, "whole, Length(5): \"hello\", end, open");
}

#[tokio::test]
async fn the_limit_of_a_head_is_exact() {
    let small = HttpTransport::new(NetConfig::default().head_limit(8_192), spawner()).unwrap();
    for (len, fits) in [
        (8_000, true),
        (8_192, true),
        (8_193, false),
        (20_000, false),
    ] {
        let fixed = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\nX: \r\n\r\n";
        let pad = "a".repeat(len - fixed.len());
        let answer = format!("{}hello", fixed.replace("X: ", &format!("X: {pad}")));
        let script = Script::answer(answer.as_bytes());
        let found = outcome(&small, &script.target()).await;
        let expected = if fits {
            "whole, Length(5): \"hello\", end, closed"
        } else {
            "the header section is too large: over 8192 bytes, or too many fields"
        };
        assert_eq!(found, expected, "head of {len} bytes");
    }
}

#[tokio::test]
async fn many_fields_are_taken_and_too_many_are_not() {
    for (count, expected) in [
        (1_000, "whole, Length(2): \"ok\", end, closed"),
        (
            1_100,
            "the header section is too large: over 262144 bytes, or too many fields",
        ),
    ] {
        let fields: String = (0..count).map(|i| format!("X-{i}: {i}\r\n")).collect();
        check(
            &format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n{fields}\r\nok"),
            expected,
        )
        .await;
    }
}

#[tokio::test]
async fn interim_answers_are_bounded_in_number_and_bytes() {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let taken = "whole, Length(2): \"ok\", end, closed";
    check(&(interim.repeat(100) + last), taken).await;
    check(
        &(interim.repeat(101) + last),
        "too many interim answers: more than 100, or too many bytes",
    )
    .await;
    let large = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    check(&(large.repeat(3) + last), taken).await;
    check(
        &(large.repeat(4) + last),
        "too many interim answers: more than 100, or too many bytes",
    )
    .await;
}

#[tokio::test]
async fn endless_interim_answers_are_given_up() {
    for flood in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 \r\nX: y\r\n\r\n",
    ] {
        let script = Script::start(vec![
            Step::Request,
            Step::Flood(flood.repeat(500).into_bytes()),
        ]);
        let found = outcome(&transport(), &script.target()).await;
        assert_eq!(
            found,
            "too many interim answers: more than 100, or too many bytes"
        );
    }
}

#[tokio::test]
async fn an_endless_head_is_given_up() {
    for flood in ["X-Field: value\r\n", "a"] {
        let script = Script::start(vec![
            Step::Request,
            Step::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
            Step::Flood(flood.repeat(4_096).into_bytes()),
        ]);
        let target = script.target();
        let session = transport().open(&target.origin).await.unwrap();
        let fault = session.fetch(get(&target)).await.unwrap_err();
        assert_eq!(fault, Fault::HeadTooLarge { limit: 262_144 });
    }
}
