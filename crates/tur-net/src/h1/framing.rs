//! What the fields of an HTTP/1 head say about the connection: where the body ends, and whether another request may follow.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode, Version, response};
use tur_core::{BodyKind, Fault};

/// How the body ends (RFC 9112, section 6.3).
///
/// # Errors
/// `Malformed` for a coding or a length that is none.
pub(crate) fn body_kind(head: &response::Parts) -> Result<BodyKind, Fault> {
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

/// True if the connection may carry another request after this body (RFC 9112, section 9.3).
pub(crate) fn reusable(head: &response::Parts, body: BodyKind) -> bool {
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

#[cfg(test)]
mod tests;
