//! Heads as they are written on a wire.

use tur_core::RetryAfter;

use crate::behaviour::Framing;
use crate::date::http_date;
use crate::play::{Head, Label, Script};

/// The head of an answer over HTTP/1 with its empty line.
pub(super) fn head(script: &Script, keep_alive: bool) -> Vec<u8> {
    let head = &script.head;
    let mut out = format!("HTTP/1.1 {} {}\r\n", head.status, head.reason).into_bytes();
    for (name, value) in fields(script) {
        line(&mut out, &name, &value);
    }
    if head.framing == Framing::Chunked {
        line(&mut out, "Transfer-Encoding", b"chunked");
    }
    if !keep_alive {
        line(&mut out, "Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The fields of an answer, but for what only HTTP/1 has.
pub(super) fn fields(script: &Script) -> Vec<(String, Vec<u8>)> {
    let head = &script.head;
    let mut out = Vec::new();
    lengths(&mut out, script);
    if let Some(label) = &head.label {
        field(&mut out, "Content-Range", content_range(label).as_bytes());
    }
    representation(&mut out, head);
    if let Some(location) = &head.location {
        field(&mut out, "Location", location.as_bytes());
    }
    if let Some(after) = head.retry_after {
        let text = match after {
            RetryAfter::Delay(delay) => delay.as_secs().to_string(),
            RetryAfter::At(at) => http_date(at),
        };
        field(&mut out, "Retry-After", text.as_bytes());
    }
    if head.challenge {
        field(&mut out, "WWW-Authenticate", b"Basic realm=\"test\"");
    }
    for (name, value) in &head.fields {
        field(&mut out, name, value);
    }
    out
}

fn lengths(out: &mut Fields, script: &Script) {
    let mut length = |text: &str| field(out, "Content-Length", text.as_bytes());
    match &script.head.framing {
        Framing::Length => length(&script.length.to_string()),
        Framing::LyingLength(said) => length(&said.to_string()),
        Framing::Lengths(said) => said.iter().for_each(|text| length(text)),
        Framing::Chunked | Framing::UntilClose => {}
    }
}

fn representation(out: &mut Fields, head: &Head) {
    if let Some(tag) = &head.etag {
        let prefix: &[u8] = if tag.weak { b"W/" } else { b"" };
        field(out, "ETag", &[prefix, &tag.opaque].concat());
    }
    let dates = [("Last-Modified", head.last_modified), ("Date", head.date)];
    for (name, at) in dates {
        if let Some(at) = at {
            field(out, name, http_date(at).as_bytes());
        }
    }
    let texts = [
        ("Content-Type", &head.media_type),
        ("Content-Encoding", &head.encoding),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            field(out, name, text.as_bytes());
        }
    }
    if let Some(raw) = &head.disposition {
        field(out, "Content-Disposition", raw);
    }
    if head.accept_ranges {
        field(out, "Accept-Ranges", b"bytes");
    }
}

fn content_range(label: &Label) -> String {
    match label {
        // Bounds are inclusive here and nowhere else (RFC 9110, section 14.4).
        Label::Range(range, total) => {
            let total = total.map_or("*".to_owned(), |n| n.to_string());
            format!("bytes {}-{}/{total}", range.start, range.end.max(1) - 1)
        }
        Label::Unsatisfied(total) => format!("bytes */{total}"),
        Label::Raw(text) => text.clone(),
    }
}

type Fields = Vec<(String, Vec<u8>)>;

fn field(out: &mut Fields, name: &str, value: &[u8]) {
    out.push((name.to_owned(), value.to_vec()));
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
