//! The request on the wire: our fields, then the caller's, no name twice unless the caller said it twice.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_LENGTH, EXPECT, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use http_body_util::Empty;
use tur_core::port::Request;
use tur_core::{Ask, Fault};

/// A request as hyper takes it.
pub(crate) type Message = http::Request<Empty<Bytes>>;

/// Writes `request` as a GET in origin form (RFC 9112, section 3.2.1).
///
/// # Errors
/// `Malformed` where a part of it cannot be sent: nothing was sent then.
pub(crate) fn message(request: &Request, user_agent: &HeaderValue) -> Result<Message, Fault> {
    let path = PathAndQuery::try_from(request.target.path.as_str())
        .map_err(|_invalid| Fault::Malformed("the path cannot be sent".to_owned()))?;
    let mut message = http::Request::new(Empty::new());
    *message.uri_mut() = Uri::from(path);
    *message.headers_mut() = fields(request, user_agent)?;
    Ok(message)
}

fn fields(request: &Request, user_agent: &HeaderValue) -> Result<HeaderMap, Fault> {
    let mut fields = HeaderMap::with_capacity(8 + request.fields.len());
    fields.insert(
        HOST,
        value("host", request.target.origin.authority().as_bytes())?,
    );
    fields.insert(USER_AGENT, user_agent.clone());
    fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(range) = range(request.ask)? {
        fields.insert(RANGE, range);
        if let Some(validator) = &request.if_range {
            fields.insert(IF_RANGE, value("if-range", validator)?);
        }
    }
    if request.no_cache {
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    let ours: Vec<HeaderName> = fields.keys().cloned().collect();
    for field in &request.fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_invalid| {
            Fault::Malformed("request field with a forbidden name".to_owned())
        })?;
        if RESERVED.contains(&name) {
            return Err(Fault::Malformed(format!(
                "request field {name} is not the caller's to set"
            )));
        }
        let mut value = value(name.as_str(), field.value.expose())?;
        // It may be a secret: then its `Debug`, and an index of a later protocol, must not have it.
        value.set_sensitive(true);
        if ours.contains(&name) {
            fields.insert(name, value);
        } else {
            fields.append(name, value);
        }
    }
    Ok(fields)
}

/// RFC 9110, section 14.1.2: bounds are inclusive in the field.
fn range(ask: Ask) -> Result<Option<HeaderValue>, Fault> {
    let Ask::Range(range) = ask else {
        return Ok(None);
    };
    if range.is_empty() {
        return Err(Fault::Malformed(
            "request for an empty range of bytes".to_owned(),
        ));
    }
    let text = if range.is_open() {
        format!("bytes={}-", range.start)
    } else {
        format!("bytes={}-{}", range.start, range.end - 1)
    };
    value("range", text.as_bytes()).map(Some)
}

/// The value may be a secret: the fault does not show it.
fn value(name: &str, bytes: &[u8]) -> Result<HeaderValue, Fault> {
    HeaderValue::from_bytes(bytes).map_err(|_invalid| {
        Fault::Malformed(format!("request field {name} holds a forbidden byte"))
    })
}

/// Fields that decide which bytes are meant or where a message ends: never taken from the caller.
const RESERVED: [HeaderName; 12] = [
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    TRAILER,
    TE,
    EXPECT,
    UPGRADE,
];

#[cfg(test)]
mod tests;
