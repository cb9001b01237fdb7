//! Reading the head of an answer into facts.

use alloc::string::{String, ToString};
use core::fmt::Write as _;
use core::time::Duration;

use tur_core::{
    Answer, BodyKind, ByteRange, Content, ContentRange, ETag, Fault, LastModified, Representation,
};

use crate::date::{http_date, retry_after};
use crate::fields::{self, RangeField, members, trim};

/// The head of a final (not 1xx) answer, as a transport received it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Status code.
    pub status: u16,
    /// Reason phrase; empty where the protocol has none.
    pub reason: &'a str,
    /// All fields in order, names in any case, values raw.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// How the end of the body is known.
    pub body: BodyKind,
}

/// Reads a head. What it says is not compared with anything yet: that is [`admit`](crate::admit).
///
/// # Errors
/// `Malformed` if `Content-Range` is present and invalid, if two `Content-Range`, `ETag` or `Location` fields contradict
/// one another, or if `Content-Length` counts and is not one length (RFC 9112, section 6.3, rule 5).
pub fn read(head: &Head<'_>) -> Result<Answer, Fault> {
    check_length(head)?;
    Ok(match head.status {
        // RFC 9110, section 15.3.7.
        206 => {
            let content = content(head)?;
            Answer::Partial {
                range: partial_range(head, &content)?,
                content,
            }
        }
        // RFC 9110, sections 15.3.1 and 15.3.4.
        200 | 203 => Answer::Whole(content(head)?),
        // RFC 9110, section 15.5.17: the field is optional here, so one that says nothing is no fault.
        416 => Answer::Unsatisfiable {
            total: match single(head, "content-range")?.and_then(fields::content_range) {
                Some(RangeField::Unsatisfied(total)) => Some(total),
                _ => None,
            },
        },
        // RFC 9110, section 15.4.
        301 | 302 | 303 | 307 | 308 => match location(head)? {
            Some(location) => Answer::Moved { location },
            None => refused(head),
        },
        _ => refused(head),
    })
}

/// RFC 9112, section 6.3, rule 5: a length that is invalid, or two that differ, cannot be recovered from. A marked end
/// overrides the field (rule 3).
fn check_length(head: &Head<'_>) -> Result<(), Fault> {
    if head.body == BodyKind::Length(ByteRange::OPEN) {
        return Err(malformed("bad Content-Length"));
    }
    if head.body == BodyKind::Marked {
        return Ok(());
    }
    let mut told = None;
    for value in values(head, "content-length") {
        // RFC 9110, section 8.6: the same length several times in a list may be taken as one.
        let mut empty = true;
        for member in members(value) {
            empty = false;
            let length = fields::length(member).ok_or_else(|| malformed("bad Content-Length"))?;
            if told.replace(length).is_some_and(|before| before != length) {
                return Err(malformed("two different Content-Length"));
            }
        }
        if empty {
            return Err(malformed("bad Content-Length"));
        }
    }
    Ok(())
}

fn partial_range(head: &Head<'_>, content: &Content) -> Result<Option<ContentRange>, Fault> {
    // RFC 9110, section 14.6: the parts have their own Content-Range, the head has none that counts.
    let multipart = content.representation.media_type.as_deref() == Some("multipart/byteranges");
    let Some(value) = single(head, "content-range")?.filter(|_| !multipart) else {
        return Ok(None);
    };
    match fields::content_range(value) {
        Some(RangeField::Satisfied(range)) => Ok(Some(range)),
        // RFC 9110, section 14.4: a unit that is not understood must not be recombined.
        Some(RangeField::ForeignUnit) => Ok(None),
        Some(RangeField::Unsatisfied(_)) | None => Err(malformed("Content-Range out of range")),
    }
}

fn content(head: &Head<'_>) -> Result<Content, Fault> {
    let is_bytes = |value| members(value).any(|unit| unit.eq_ignore_ascii_case(b"bytes"));
    Ok(Content {
        representation: Representation {
            etag: etag(head)?,
            last_modified: last_modified(head),
            media_type: values(head, "content-type")
                .next()
                .and_then(fields::media_type),
            encoding: fields::encoding(values(head, "content-encoding")),
            disposition: values(head, "content-disposition")
                .next()
                .map(<[u8]>::to_vec),
            accept_ranges: values(head, "accept-ranges").any(is_bytes),
        },
        body: head.body,
    })
}

fn etag(head: &Head<'_>) -> Result<Option<ETag>, Fault> {
    Ok(single(head, "etag")?.and_then(fields::etag))
}

/// `Last-Modified` (RFC 9110, section 8.8.2). Several that differ prove nothing and count as none.
fn last_modified(head: &Head<'_>) -> Option<LastModified> {
    let text = core::str::from_utf8(single(head, "last-modified").ok()??).ok()?;
    let at = http_date(text)?;
    let date = single(head, "date").ok()?;
    let date = date.and_then(|date| http_date(core::str::from_utf8(date).ok()?));
    Some(LastModified {
        text: text.to_string(),
        at,
        // RFC 9110, section 8.8.2.2: at least one second before Date.
        strong: date.is_some_and(|date| at.until(date) >= Duration::from_secs(1)),
    })
}

/// `Location` (RFC 9110, section 10.2.2). Bytes that are not UTF-8 are percent-encoded, as a URL needs them to be.
fn location(head: &Head<'_>) -> Result<Option<String>, Fault> {
    let Some(value) = single(head, "location")?.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if let Ok(text) = core::str::from_utf8(value) {
        return Ok(Some(text.to_string()));
    }
    let mut text = String::new();
    for byte in value {
        if byte.is_ascii() {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    Ok(Some(text))
}

fn refused(head: &Head<'_>) -> Answer {
    let reason = if head.reason.is_empty() {
        usual_reason(head.status).to_string()
    } else {
        head.reason.chars().take(REASON_CHARS_MAX).collect()
    };
    Answer::Refused {
        status: head.status,
        reason,
        retry_after: values(head, "retry-after").find_map(retry_after),
        // RFC 9110, sections 11.6.1 and 11.7.1.
        challenge: values(head, "www-authenticate").next().is_some()
            || values(head, "proxy-authenticate").next().is_some(),
    }
}

/// The value of a field that may come once. Repeating it with the same value is harmless.
fn single<'a>(head: &Head<'a>, name: &str) -> Result<Option<&'a [u8]>, Fault> {
    let mut all = values(head, name).map(trim);
    let first = all.next();
    if first.is_some_and(|first| all.any(|other| other != first)) {
        return Err(malformed(&alloc::format!("two different {name} fields")));
    }
    Ok(first)
}

/// The values of all fields of that name (RFC 9110, section 5.1: names are case-insensitive).
fn values<'a>(head: &Head<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    head.fields
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| *value)
}

fn malformed(text: &str) -> Fault {
    Fault::Malformed(text.to_string())
}

/// The phrase of RFC 9110, section 15, for protocols that carry none (RFC 9113, section 8.3.2).
fn usual_reason(status: u16) -> &'static str {
    match status {
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        421 => "Misdirected Request",
        425 => "Too Early",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// A reason phrase is cut here: it is for people only.
const REASON_CHARS_MAX: usize = 200;
