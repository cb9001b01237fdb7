//! Heads of answers, one after the other: whatever they say, no byte is admitted that does not belong to the file.
//!
//! The input is text, so that the dictionary and the seeds speak HTTP: a line with what is asked for (`FIRST`,
//! `FIRST-LAST` or `whole`, and `if-range` behind it), then heads, each a status line, fields and an empty line. The
//! first admitted answer fixes the identity for the rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tur_core::{Answer, Ask, BodyKind, ByteRange, Content, Fault, Identity, Kind};
use tur_fuzz::{RawHead, line, text};
use tur_http::{Asked, admit, printable, read};

/// More heads than this add nothing.
const HEADS_MAX: usize = 8;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let (first, heads) = line(data);
    let (ask, if_range) = asked(text(first));
    let mut rest = heads;
    let mut identity = None;
    for _ in 0..HEADS_MAX {
        if rest.is_empty() {
            break;
        }
        let (raw, after) = RawHead::parse(rest);
        rest = after;
        match read(&raw.with(&raw.fields)) {
            Ok(answer) => {
                let asked = Asked {
                    ask,
                    if_range,
                    identity: identity.as_ref(),
                    terms: tur_http::Terms::NONE,
                };
                identity = exchange(&answer, &asked).or(identity);
            }
            Err(fault) => assert_shows(&fault),
        }
    }
});

/// What is asked for, and whether `If-Range` goes with it.
fn asked(line: &str) -> (Ask, bool) {
    let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, last) = what.split_once('-').unwrap_or((what, ""));
    let start = first.parse().unwrap_or(0);
    let end = last.parse().unwrap_or(ByteRange::OPEN);
    let ask = match (what, start < end) {
        ("whole", _) => Ask::Whole,
        (_, true) => Ask::Range(ByteRange::new(start, end)),
        (_, false) => Ask::Range(ByteRange::from(start)),
    };
    (ask, rest == "if-range")
}

/// Admits `answer` twice and says what the identity is afterwards; `None` if it is refused.
fn exchange(answer: &Answer, asked: &Asked<'_>) -> Option<Identity> {
    let start = asked.ask.range().start;
    let admitted = match admit(answer, asked) {
        Ok(admitted) => admitted,
        Err(fault) => {
            assert_shows(&fault);
            assert_refused_for_a_reason(answer, asked, &fault);
            return None;
        }
    };
    let place = admitted.place();
    assert_eq!(place.start, start, "the body begins where it was asked to");
    assert_eq!(place.intersect(admitted.identity().extent()), place);
    if let BodyKind::Length(length) = admitted.body() {
        assert_eq!(length, place.len(), "the body fills its place");
    }
    let content = match answer {
        Answer::Partial { content, range } => {
            let told = range.expect("nothing is placed by what was asked for");
            assert_eq!(place, told.range, "the origin says where its bytes belong");
            assert!(admitted.is_partial());
            content
        }
        Answer::Whole(content) => {
            assert!(start == 0 && !admitted.is_partial(), "a 200 is the whole");
            content
        }
        other => panic!("admitted {other:?}"),
    };
    if let Some(identity) = asked.identity {
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
        ..*asked
    };
    assert_eq!(
        admit(answer, &again).as_ref(),
        Ok(&admitted),
        "it agrees with itself"
    );
    Some(admitted.into_identity())
}

/// Asserts that a refusal is one: of a kind that a caller can act on, and not of the very answer that is awaited.
fn assert_refused_for_a_reason(answer: &Answer, asked: &Asked<'_>, fault: &Fault) {
    match answer {
        Answer::Refused { status, .. } => {
            assert!(matches!(fault, Fault::Status { status: told, .. } if told == status));
        }
        Answer::Moved { .. } => assert_eq!(fault.kind(), Kind::Protocol),
        // With nothing to contradict, the whole is always welcome to who asks from the beginning.
        Answer::Whole(_) => assert!(asked.identity.is_some() || asked.ask.range().start > 0),
        Answer::Partial { .. } | Answer::Unsatisfiable { .. } => {
            assert!(matches!(fault, Fault::NotAdmitted(_)), "{fault:?}");
        }
    }
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
