//! Heads of answers, one after the other: whatever they say, no byte is admitted that does not belong to the file.
//!
//! The input is text, so that the dictionary and the seeds speak HTTP: a line with the first byte asked for, then heads,
//! each a status line, fields and an empty line. The first admitted answer fixes the identity for the rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Answer, Ask, BodyKind, ByteRange, Content, Fault, Identity};
use tur_http::{Asked, Head, admit, printable, read};

/// More heads than this add nothing.
const HEADS_MAX: usize = 8;

fuzz_target!(|data: &[u8]| {
    let (first, heads) = line(data);
    let start = text(first).parse().unwrap_or(0);
    let mut rest = heads;
    let mut identity = None;
    for _ in 0..HEADS_MAX {
        if rest.is_empty() {
            break;
        }
        let (answer, after) = head(rest);
        rest = after;
        match answer {
            Ok(answer) => identity = exchange(&answer, start, identity),
            Err(fault) => assert_shows(&fault),
        }
    }
});

/// Admits `answer` twice and says what the identity is afterwards.
fn exchange(answer: &Answer, start: u64, identity: Option<Identity>) -> Option<Identity> {
    let asked = Asked {
        ask: Ask::Range(ByteRange::from(start)),
        if_range: false,
        identity: identity.as_ref(),
        terms: tur_http::Terms::NONE,
    };
    let admitted = match admit(answer, &asked) {
        Ok(admitted) => admitted,
        Err(fault) => {
            assert_shows(&fault);
            return identity;
        }
    };
    let place = admitted.place();
    assert_eq!(place.start, start, "the body begins where it was asked to");
    assert_eq!(place.intersect(admitted.identity().extent()), place);
    if let BodyKind::Length(length) = admitted.body() {
        assert_eq!(length, place.len(), "the body fills its place");
    }
    let (Answer::Partial { content, .. } | Answer::Whole(content)) = answer else {
        panic!("admitted {answer:?}");
    };
    if let Some(identity) = &identity {
        assert_same(identity, content);
        let total = admitted.identity().total;
        assert!(identity.total.is_none() || identity.total == total);
        let filled = Identity {
            total,
            ..identity.clone()
        };
        assert_eq!(admitted.identity(), &filled);
    }
    let again = Asked {
        identity: Some(admitted.identity()),
        ..asked
    };
    assert_eq!(
        admit(answer, &again).as_ref(),
        Ok(&admitted),
        "it agrees with itself"
    );
    Some(admitted.into_identity())
}

/// Asserts that no validator of an admitted answer speaks against the identity.
fn assert_same(identity: &Identity, content: &Content) {
    let found = &content.representation;
    assert_eq!(identity.encoding, found.encoding);
    if let Some(tag) = &identity.etag {
        let has = found.etag.as_ref().expect("the tag is still there");
        assert_eq!(tag.opaque, has.opaque);
    } else if let Some(date) = &identity.last_modified {
        let has = found.last_modified.as_ref().expect("a date is still there");
        assert_eq!(date.at, has.at);
    }
}

/// Asserts that the message of a fault can be shown.
fn assert_shows(fault: &Fault) {
    let shown = printable(&fault.to_string());
    assert!(!shown.is_empty() && !shown.contains(char::is_control));
}

/// Reads one head as a transport would hand it over, and what follows it.
fn head(data: &[u8]) -> (Result<Answer, Fault>, &[u8]) {
    let (status_line, mut rest) = line(data);
    let status_line = text(status_line);
    let (status, reason) = status_line.split_once(' ').unwrap_or((status_line, ""));
    let mut fields = Vec::new();
    loop {
        let (field, after) = line(rest);
        rest = after;
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|byte| *byte == b':');
        let (name, value) = field.split_at(colon.unwrap_or(field.len()));
        fields.push((text(name), value.get(1..).unwrap_or_default()));
    }
    let head = Head {
        status: status.parse().unwrap_or(0),
        reason,
        fields: &fields,
        body: body(&fields),
    };
    (read(&head), rest)
}

/// How the end of the body is known, by RFC 9112, section 6.3.
fn body(fields: &[(&str, &[u8])]) -> BodyKind {
    let value = |wanted: &str| {
        let mut values = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        values.next().map(|(_, value)| text(value).trim())
    };
    let length = value("content-length").and_then(|value| value.parse().ok());
    match (value("transfer-encoding"), length) {
        (Some(_), _) => BodyKind::Marked,
        (None, Some(length)) => BodyKind::Length(length),
        (None, None) => BodyKind::UntilClose,
    }
}

/// The first line, and what follows it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// Bytes as text; empty if they are not UTF-8.
fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}
