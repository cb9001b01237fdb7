//! Tests.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes: 100,
    fields: 3,
};

fn check(raw: &str, expected: &str) {
    let found = match diagnose(raw.as_bytes(), LIMITS) {
        Fault::Malformed(text) => text,
        Fault::HeadTooLarge { limit } => format!("over {limit}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(found, expected, "{raw:?}");
}

#[test]
fn the_first_thing_wrong_is_named() {
    for (raw, expected) in [
        ("", "not HTTP"),
        ("HTTP", "not HTTP"),
        ("hello", "not HTTP"),
        ("HTTP/1.1 abc\r\n\r\n", "bad status line"),
        ("HTTP/1.1  200\r\n\r\n", "bad status line"),
        ("HTTP/1.1 2000\r\n\r\n", "bad status line"),
        (
            "HTTP/1.1 200\r\nContent-Length: x\r\n\r\n",
            "bad Content-Length",
        ),
        (
            "HTTP/1.1 200\nContent-Length: 1,2\n\n",
            "two different Content-Length",
        ),
        (
            "HTTP/1.1 200\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
            "bad header section",
        ),
        (
            "HTTP/1.1 200\r\nContent-Length\r\n\r\n",
            "bad Content-Length",
        ),
        (
            "HTTP/1.0 200\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Transfer-Encoding in an HTTP/1.0 answer",
        ),
        (
            "HTTP/1.1 200\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n",
            "bad header section",
        ),
        (
            "HTTP/1.1 200\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n",
            "over 100",
        ),
    ] {
        check(raw, expected);
    }
}

#[test]
fn interim_answers_are_passed_over_and_bodies_are_not_read() {
    check(
        "HTTP/1.1 103 x\r\nContent-Length: y\r\n\r\nHTTP/1.1 200\r\nContent-Length: 1,2\r\n\r\n",
        "two different Content-Length",
    );
    check("HTTP/1.1 100\r\n\r\nwhat", "not HTTP");
    check(
        "HTTP/1.1 200\r\nA b\r\n\r\nContent-Length: x\r\n",
        "bad header section",
    );
    check(
        &format!("HTTP/1.1 200\r\nA b\r\n\r\n{}", "x\n".repeat(500)),
        "bad header section",
    );
}

#[test]
fn the_limit_counts_the_section_alone() {
    let head = |pad: usize| format!("HTTP/1.1 200\r\nA: {}", "a".repeat(pad));
    check(&head(100 - 17), "over 100");
    check(&head(99 - 17), "bad header section");
    check(&format!("{}\r\n\r\n", head(97 - 17)), "over 100");
    check(
        &format!("{}\r\n\r\n{}", head(96 - 17), "b".repeat(500)),
        "bad header section",
    );
}

#[test]
fn no_bytes_make_it_panic() {
    let pieces: [&[u8]; 8] = [
        b"HTTP/1.1 200",
        b"\r",
        b"\n",
        b":",
        b"\0\xff",
        b"Content-Length",
        b",",
        b" 1",
    ];
    // Every sequence of five pieces.
    for code in 0..8_u32.pow(5) {
        let raw: Vec<u8> = (0..5)
            .flat_map(|at| pieces[(code / 8_u32.pow(at) % 8) as usize])
            .copied()
            .collect();
        assert!(matches!(
            diagnose(&raw, LIMITS),
            Fault::Malformed(_) | Fault::HeadTooLarge { .. }
        ));
    }
}

#[test]
fn a_refusal_counts_whatever_its_reason_phrase_holds() {
    let fault = diagnose(
        b"HTTP/1.1 404 Gone\x1b]0;x\x07\r\nContent-Length: 1\r\n\r\n",
        LIMITS,
    );
    let Fault::Status {
        status: 404,
        reason,
        ..
    } = fault
    else {
        panic!("{fault:?}")
    };
    assert_eq!(reason, "Gone\u{1b}]0;x\u{7}");
    check("HTTP/1.1 200 \u{1b}\r\n\r\n", "bad header section");
}
