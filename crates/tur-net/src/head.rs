//! From the head that hyper read to an answer, and to what the framing says.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version, response};
use hyper::ext::ReasonPhrase;
use tur_core::{Answer, BodyKind, Fault};

/// What a head says.
pub(crate) struct HeadFacts {
    pub(crate) answer: Answer,
    pub(crate) body: BodyKind,
    /// True if the connection may carry another request after this body (RFC 9112, section 9.3).
    pub(crate) reusable: bool,
}

/// Reads a head.
///
/// # Errors
/// `Malformed` for a head that is no answer to a plain GET.
pub(crate) fn read(head: &response::Parts) -> Result<HeadFacts, Fault> {
    if head.status.is_informational() {
        return Err(Fault::Malformed(format!(
            "status {} to a request that asked for no upgrade",
            head.status.as_u16()
        )));
    }
    let body = body_kind(head)?;
    let fields: Vec<(&str, &[u8])> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let reason = reason(head);
    let answer = tur_http::read(&tur_http::Head {
        status: head.status.as_u16(),
        reason: &reason,
        fields: &fields,
        body,
    })?;
    Ok(HeadFacts {
        answer,
        body,
        reusable: reusable(head, body),
    })
}

/// RFC 9112, section 6.3.
fn body_kind(head: &response::Parts) -> Result<BodyKind, Fault> {
    if matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        return Ok(BodyKind::Length(0));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        // No TE was sent, so no other coding is allowed (RFC 9112, section 7.4); hyper would hand out coded bytes.
        return if coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
            Ok(BodyKind::Marked)
        } else {
            Err(Fault::Malformed(
                "a Transfer-Encoding other than chunked".to_owned(),
            ))
        };
    }
    let Some(length) = head.headers.get(CONTENT_LENGTH) else {
        return Ok(BodyKind::UntilClose);
    };
    // hyper has refused values that differ or are no numbers; a list of equal ones is one length.
    length
        .to_str()
        .ok()
        .and_then(|text| text.split(',').next())
        .and_then(|first| first.trim().parse().ok())
        .map(BodyKind::Length)
        .ok_or_else(|| Fault::Malformed("bad Content-Length".to_owned()))
}

fn reusable(head: &response::Parts, body: BodyKind) -> bool {
    // RFC 9112, section 6.1: a message with both is suspect, and its connection is closed.
    let ambiguous = body == BodyKind::Marked && head.headers.contains_key(CONTENT_LENGTH);
    let persistent = if head.version == Version::HTTP_11 {
        !has_option(&head.headers, "close")
    } else {
        has_option(&head.headers, "keep-alive") && !has_option(&head.headers, "close")
    };
    persistent && !ambiguous && body != BodyKind::UntilClose
}

fn has_option(fields: &HeaderMap, option: &str) -> bool {
    fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(option))
}

/// The reason phrase as it came, cut to what a person can read.
fn reason(head: &response::Parts) -> String {
    match head.extensions.get::<ReasonPhrase>() {
        Some(phrase) => String::from_utf8_lossy(phrase.as_bytes())
            .chars()
            .take(REASON_MAX)
            .collect(),
        None => head.status.canonical_reason().unwrap_or("").to_owned(),
    }
}

const REASON_MAX: usize = 128;

#[cfg(test)]
mod tests;
