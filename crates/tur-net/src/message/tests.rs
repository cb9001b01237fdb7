//! Tests.

use tur_core::port::Field;
use tur_core::{ByteRange, Origin, Scheme, Target};

use super::*;

fn request(ask: Ask, fields: &[(&str, &str)]) -> Request {
    Request {
        target: Target {
            origin: Origin {
                scheme: Scheme::Https,
                host: "[::1]".to_owned(),
                port: 8443,
            },
            path: "/a%20b?c=d".to_owned(),
        },
        ask,
        if_range: Some(b"\"v\"".to_vec()),
        no_cache: false,
        fields: fields
            .iter()
            .map(|(name, value)| Field {
                name: (*name).to_owned(),
                value: (*value).into(),
            })
            .collect(),
    }
}

/// The request in lines, or the fault.
fn lines(request: &Request) -> Result<Vec<String>, String> {
    let message =
        message(request, &HeaderValue::from_static("tur/0")).map_err(|fault| fault.to_string())?;
    let mut lines = vec![format!("{} {}", message.method(), message.uri())];
    lines.extend(
        message
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))),
    );
    Ok(lines)
}

fn line(request: &Request, name: &str) -> Vec<String> {
    let start = format!("{name}: ");
    lines(request)
        .unwrap()
        .into_iter()
        .filter(|line| line.starts_with(&start))
        .collect()
}

#[test]
fn a_plain_request_carries_no_condition() {
    assert_eq!(
        lines(&request(Ask::Whole, &[])).unwrap(),
        [
            "GET /a%20b?c=d",
            "host: [::1]:8443",
            "user-agent: tur/0",
            "accept: */*",
            "accept-encoding: identity",
        ]
    );
}

#[test]
fn ranges_are_inclusive_in_the_field() {
    for (range, text) in [
        (ByteRange::new(0, 1), "range: bytes=0-0"),
        (ByteRange::new(5, 10), "range: bytes=5-9"),
        (ByteRange::from(0), "range: bytes=0-"),
        (
            ByteRange::from(u64::MAX - 1),
            "range: bytes=18446744073709551614-",
        ),
    ] {
        let request = request(Ask::Range(range), &[]);
        assert_eq!(line(&request, "range"), [text]);
        assert_eq!(line(&request, "if-range"), ["if-range: \"v\""]);
    }
    let empty = request(Ask::Range(ByteRange::new(5, 5)), &[]);
    assert!(lines(&empty).is_err());
}

#[test]
fn a_field_of_the_caller_replaces_ours() {
    let request = request(
        Ask::Whole,
        &[
            ("USER-AGENT", "mine"),
            ("Host", "first"),
            ("host", "second"),
            ("Accept", "text/*"),
            ("X-Twice", "1"),
            ("x-twice", "2"),
        ],
    );
    assert_eq!(line(&request, "user-agent"), ["user-agent: mine"]);
    assert_eq!(line(&request, "host"), ["host: second"]);
    assert_eq!(line(&request, "accept"), ["accept: text/*"]);
    assert_eq!(line(&request, "x-twice"), ["x-twice: 1", "x-twice: 2"]);
}

#[test]
fn what_cannot_or_must_not_be_sent_is_refused() {
    for (name, value) in [
        ("X", "a\r\nb"),
        ("X", "a\nb"),
        ("X", "a\0b"),
        ("X y", "a"),
        ("X\r\nY", "a"),
        ("", "a"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "*"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Host", ""),
        ("Host", "a b"),
        ("Host", "a/b"),
    ] {
        let fault = lines(&request(Ask::Whole, &[(name, value)])).unwrap_err();
        assert!(fault.contains("request field"), "{name:?}: {fault}");
    }
    let mut bad = request(Ask::Whole, &[]);
    bad.target.path = "/a b\r\n".to_owned();
    assert!(lines(&bad).is_err());
}

#[test]
fn a_fault_does_not_show_a_secret() {
    let fault = lines(&request(Ask::Whole, &[("Authorization", "hunter2\n")])).unwrap_err();
    assert!(!fault.contains("hunter2"), "{fault}");
}

#[test]
fn a_streamed_request_has_its_target_in_parts() {
    let fields = [
        ("Connection", "x"),
        ("keep-alive", "1"),
        ("Proxy-Connection", "x"),
        ("X-Key", "1"),
    ];
    let agent = HeaderValue::from_static("test");
    let message = streamed(&request(Ask::Whole, &fields), &agent).unwrap();
    assert_eq!(message.uri().to_string(), "https://[::1]:8443/a%20b?c=d");
    assert_eq!(message.version(), Version::HTTP_2);
    let mut names: Vec<&str> = message.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "user-agent", "x-key"]);
    for host in [
        "v.example",
        "a_b:8080",
        "a:",
        "-._~!$&'()*+,;=",
        "10.0.0.1:80",
        "[::1]:1",
    ] {
        assert!(tur_http::is_host(host.as_bytes()), "{host}");
        let hosted = streamed(&request(Ask::Whole, &[("host", host)]), &agent).unwrap();
        assert_eq!(hosted.uri().authority().unwrap(), host);
    }
    for (name, value) in [
        ("host", "a b"),
        ("host", "a/b"),
        ("host", "me:secret@a"),
        ("host", ""),
        ("te", "trailers"),
    ] {
        let refused = streamed(&request(Ask::Whole, &[(name, value)]), &agent);
        assert!(
            matches!(refused, Err(Fault::Malformed(_))),
            "{name}: {value}"
        );
    }
}
