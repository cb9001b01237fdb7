//! From a head that was read to an answer, the same for every protocol.

use http::{HeaderMap, response};
use hyper::ext::ReasonPhrase;
use tur_core::{Answer, BodyKind, Fault};

/// What a head says, for a body that ends as `body` says.
///
/// # Errors
/// `Malformed` for a head that is no answer to a plain GET.
pub(crate) fn answer(head: &response::Parts, body: BodyKind) -> Result<Answer, Fault> {
    if head.status.is_informational() {
        return Err(Fault::Malformed(format!(
            "status {} to a request that asked for no upgrade",
            head.status.as_u16()
        )));
    }
    let fields: Vec<(&str, &[u8])> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let reason = reason(head);
    tur_http::read(&tur_http::Head {
        status: head.status.as_u16(),
        reason: &reason,
        fields: &fields,
        body,
    })
}

/// About the size of a head with these fields, in bytes.
pub(crate) fn size(fields: &HeaderMap) -> usize {
    const STATUS_LINE: usize = 16;
    const SEPARATORS: usize = 4;
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + SEPARATORS)
        .fold(STATUS_LINE, usize::saturating_add)
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
