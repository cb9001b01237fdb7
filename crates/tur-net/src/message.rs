//! The request on the wire: our fields, then the caller's, no name twice unless the caller said it twice.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHORIZATION, RANGE,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use http_body_util::Empty;
use tur_core::port::Request;
use tur_core::{Ask, Fault};

/// A request as hyper takes it.
pub(crate) type Message = http::Request<Empty<Bytes>>;

/// Writes `request` for a protocol with streams, as a GET with its target in parts (RFC 9113, section 8.3.1; RFC 9114,
/// section 4.3.1). The caller's `Host` becomes the authority, and what is about an HTTP/1 connection is left out (RFC 9113,
/// section 8.2.2).
///
/// # Errors
/// `Malformed` where a part of it cannot be sent: nothing was sent then.
pub(crate) fn streamed(
    request: &Request,
    user_agent: &HeaderValue,
) -> Result<http::Request<()>, Fault> {
    let mut fields = fields(request, user_agent)?;
    let host = fields.remove(HOST).unwrap_or(HeaderValue::from_static(""));
    for name in OF_THE_CONNECTION {
        fields.remove(name);
    }
    let uri = Uri::builder()
        .scheme(request.target.origin.scheme.as_str())
        .authority(host.as_bytes())
        .path_and_query(request.target.path.as_str())
        .build()
        .map_err(|_invalid| Fault::Malformed("the target cannot be sent".to_owned()))?;
    let mut message = http::Request::new(());
    *message.version_mut() = Version::HTTP_2;
    *message.uri_mut() = uri;
    *message.headers_mut() = fields;
    Ok(message)
}

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
        if name == HOST && !tur_http::is_host(field.value.expose()) {
            // Over HTTP/1.1 it would be sent as it is.
            let text = "request field host is neither a name nor an address";
            return Err(Fault::Malformed(text.to_owned()));
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

/// Fields that decide which bytes are meant or where a message ends, and what only a proxy may see: never taken from the
/// caller.
const RESERVED: [HeaderName; 13] = [
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
    PROXY_AUTHORIZATION,
];

/// Fields that speak of an HTTP/1 connection: no stream has one. The others of their kind are [`RESERVED`].
const OF_THE_CONNECTION: [HeaderName; 3] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

#[cfg(test)]
mod tests;
