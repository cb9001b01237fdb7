//! Heads as the words of tur-core: what a real transport would have read from the wire.

use tur_core::{
    Answer, Asides, BodyKind, Content, ContentRange, Fault, LastModified, Representation,
};

use crate::behaviour::Framing;
use crate::date::http_date;
use crate::play::{Head, Label, Script};

/// The answer that a transport reads from a script.
pub(super) fn answer(script: &Script) -> Result<Answer, Fault> {
    let head = &script.head;
    let body = match &head.framing {
        Framing::Length => BodyKind::Length(script.length),
        Framing::LyingLength(said) => BodyKind::Length(*said),
        Framing::Chunked => BodyKind::Marked,
        Framing::UntilClose => BodyKind::UntilClose,
        Framing::Lengths(_) => {
            return Err(Fault::Malformed("bad Content-Length".to_owned()));
        }
    };
    let content = || Content {
        representation: representation(head),
        body,
        asides: asides(head),
    };
    Ok(match (head.status, &head.location, &head.label) {
        (200 | 203, ..) => Answer::Whole(content()),
        (206, _, label) => Answer::Partial {
            range: label.as_ref().and_then(content_range),
            content: content(),
        },
        (416, _, label) => Answer::Unsatisfiable {
            total: match label {
                Some(Label::Unsatisfied(total)) => Some(*total),
                _ => None,
            },
        },
        (301..=303 | 307 | 308, Some(location), _) => Answer::Moved {
            location: location.clone(),
            asides: asides(head),
        },
        (status, ..) => Answer::Refused {
            status,
            reason: head.reason.clone(),
            retry_after: head.retry_after,
            challenge: head.challenge,
            asides: asides(head),
        },
    })
}

/// A label that passes the checks of RFC 9110, section 14.4.
fn content_range(label: &Label) -> Option<ContentRange> {
    match label {
        Label::Range(range, total)
            if !range.is_empty() && total.is_none_or(|total| range.end <= total) =>
        {
            Some(ContentRange {
                range: *range,
                total: *total,
            })
        }
        _ => None,
    }
}

/// Fields are for wires: what is known here is whether the body may be a page, as one without a type may.
fn asides(head: &Head) -> Asides {
    let html = head.media_type.as_deref();
    let may_be_page = html.is_none_or(|text| text.starts_with("text/html"));
    Asides {
        may_be_page,
        page_encoding: head.encoding.clone().filter(|_| may_be_page),
        ..Asides::default()
    }
}

fn representation(head: &Head) -> Representation {
    Representation {
        etag: head.etag.clone(),
        last_modified: head.last_modified.map(|at| LastModified {
            text: http_date(at),
            at,
            // RFC 9110, section 8.8.2.2: strong if the answer is at least one second younger.
            strong: head
                .date
                .is_some_and(|date| date.unix_secs() > at.unix_secs()),
        }),
        media_type: head.media_type.as_deref().map(|text| {
            let plain = text.split(';').next().unwrap_or_default();
            plain.trim().to_ascii_lowercase()
        }),
        encoding: head
            .encoding
            .as_deref()
            .map(str::to_ascii_lowercase)
            .filter(|text| text != "identity"),
        disposition: head.disposition.clone(),
        accept_ranges: head.accept_ranges,
    }
}
