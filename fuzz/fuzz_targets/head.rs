//! Heads of answers, read alone: what is read does not depend on the case, the order or the repetition of fields, and is
//! in the form that the rest relies on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Answer, ByteRange, Content, Fault};
use tur_fuzz::RawHead;
use tur_http::{http_date, read};

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let (raw, _) = RawHead::parse(data);
    let answer = read(&raw.with(&raw.fields));
    match &answer {
        Ok(answer) => assert_formed(answer, &raw),
        Err(fault) => assert!(matches!(fault, Fault::Malformed(_)), "{fault:?}"),
    }

    // RFC 9110, section 5.1: names are case-insensitive.
    let upper: Vec<String> = raw.fields.iter().map(|(name, _)| swapped(name)).collect();
    let renamed: Vec<(&str, &[u8])> = upper
        .iter()
        .map(String::as_str)
        .zip(raw.fields.iter().map(|(_, value)| *value))
        .collect();
    assert_eq!(read(&raw.with(&renamed)), answer, "case is nothing");

    // RFC 9110, section 5.3: the order of fields with different names is not significant.
    let mut sorted = raw.fields.clone();
    sorted.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    assert_eq!(read(&raw.with(&sorted)), answer, "order is nothing");

    let mut more = raw.fields.clone();
    more.push(("x-unknown", b"bytes 0-9/10"));
    let again = |name: &&str| {
        SINGLE
            .iter()
            .any(|single| name.eq_ignore_ascii_case(single))
    };
    let repeated = raw.fields.iter().filter(|(name, _)| again(name));
    more.extend(repeated.copied());
    assert_eq!(read(&raw.with(&more)), answer, "the same twice is once");
});

/// The other case of each letter.
fn swapped(name: &str) -> String {
    let swap = |c: char| match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    };
    name.chars().map(swap).collect()
}

/// Asserts that the answer is one that its status may have, and that what it holds is in its one form.
fn assert_formed(answer: &Answer, raw: &RawHead<'_>) {
    match (answer, raw.status) {
        (Answer::Partial { range, content }, 206) => {
            if let Some(told) = range {
                assert!(!told.range.is_empty() && !told.range.is_open());
                assert!(told.total.is_none_or(|total| told.range.end <= total));
                assert_ne!(told.total, Some(ByteRange::OPEN), "no length is open");
            }
            assert_content(content);
        }
        (Answer::Whole(content), 200 | 203) => assert_content(content),
        (Answer::Unsatisfiable { total }, 416) => assert_ne!(*total, Some(ByteRange::OPEN)),
        (Answer::Moved { location, .. }, 301 | 302 | 303 | 307 | 308) => {
            assert!(!location.is_empty());
        }
        (Answer::Refused { status, reason, .. }, _) => {
            assert_eq!(*status, raw.status);
            assert!(reason.chars().count() <= REASON_CHARS_MAX);
            assert!(!matches!(status, 200 | 203 | 206 | 416), "it has a body");
        }
        other => panic!("{other:?}"),
    }
}

fn assert_content(content: &Content) {
    let found = &content.representation;
    if let Some(tag) = &found.etag {
        assert!(tag.opaque.len() >= 2 && tag.opaque.len() <= ETAG_BYTES_MAX);
    }
    if let Some(date) = &found.last_modified {
        assert_eq!(http_date(&date.text), Some(date.at));
    }
    if let Some(kind) = &found.media_type {
        assert_eq!(*kind, kind.to_ascii_lowercase());
        assert_eq!(kind.matches('/').count(), 1, "{kind:?}");
        assert!(kind.bytes().all(|byte| byte.is_ascii_graphic()), "{kind:?}");
    }
    if let Some(encoding) = &found.encoding {
        assert_eq!(*encoding, encoding.to_ascii_lowercase());
        let mut codings = encoding.split(", ");
        assert!(
            codings.all(|coding| !coding.is_empty() && coding != "identity"),
            "{encoding:?}"
        );
    }
}

/// Fields of which the same value twice counts once.
const SINGLE: [&str; 5] = [
    "content-range",
    "etag",
    "last-modified",
    "location",
    "content-length",
];

/// A reason phrase is cut here, an entity tag is none beyond this.
const REASON_CHARS_MAX: usize = 200;
const ETAG_BYTES_MAX: usize = 1024;
