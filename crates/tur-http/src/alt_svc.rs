//! `Alt-Svc` (RFC 7838, section 3): whether an origin says that HTTP/3 is to be had, and where.
//!
//! Read [`advert`]. Of a list the first offer of HTTP/3 that can be read counts, as the order is the server's preference; other
//! protocols, unknown parameters and what cannot be read are passed over. A field in which nothing can be read says nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use ::url::Host;
use tur_core::{Advert, Alternative, Offer};

use crate::fields::{is_token, number, split_once, trim};
use crate::percent;
use crate::read::{Head, values};

/// What the fields of a head say of HTTP/3. A 421 says nothing (RFC 7838, section 6).
pub(crate) fn advert(head: &Head<'_>) -> Option<Advert> {
    if head.status == MISDIRECTED {
        return None;
    }
    let lines = values(head, "alt-svc").take(LINES_MAX);
    let lines: Vec<&[u8]> = lines.filter(|line| line.len() <= BYTES_MAX).collect();
    let members = || lines.iter().flat_map(|line| split(line, b','));
    // Whatever stands beside it (RFC 7838, section 3).
    if members().any(|member| member == b"clear") {
        return Some(Advert::Withdrawn);
    }
    let mut said = None;
    for service in members().filter_map(service) {
        match service {
            Service::Http3(offer) => return Some(Advert::Http3(offer)),
            // A list without HTTP/3 takes back one that had it.
            Service::Other => said = Some(Advert::Withdrawn),
        }
    }
    said
}

/// A member of the list.
enum Service {
    Http3(Offer),
    Other,
}

/// `PROTOCOL="[HOST]:PORT"`, with parameters.
fn service(member: &[u8]) -> Option<Service> {
    let mut parts = split(member, b';');
    let (protocol, authority) = split_once(parts.next()?, b'=')?;
    if !is_token(protocol) {
        return None;
    }
    let alternative = alternative(&unquoted(authority)?)?;
    let mut offer = Offer {
        alternative,
        max_age: AGE_USUAL,
        persist: false,
    };
    for part in parts {
        let (name, value) = split_once(part, b'=')?;
        let value = value_of(value)?;
        // RFC 7838, section 3.1: unknown parameters are to be ignored.
        if name.eq_ignore_ascii_case(b"ma") {
            let seconds = value.iter().all(u8::is_ascii_digit) && !value.is_empty();
            let seconds = seconds.then(|| number(&value).unwrap_or(u64::MAX))?;
            offer.max_age = Duration::from_secs(seconds).min(AGE_MAX);
        } else if name.eq_ignore_ascii_case(b"persist") {
            offer.persist = value == b"1";
        }
    }
    // The names of protocols are bytes, of which any may come encoded.
    Some(match percent::decode(protocol).as_slice() {
        b"h3" => Service::Http3(offer),
        _ => Service::Other,
    })
}

fn alternative(authority: &[u8]) -> Option<Alternative> {
    let text = core::str::from_utf8(authority).ok()?;
    let (host, port) = text.rsplit_once(':')?;
    let port = number(port.as_bytes()).and_then(|port| u16::try_from(port).ok());
    Some(Alternative {
        host: match host {
            "" => None,
            host => Some(normal(host)?),
        },
        port: port.filter(|port| *port != 0)?,
    })
}

/// A host as origins have it.
fn normal(host: &str) -> Option<String> {
    // The parser of URLs takes more, and decodes percent signs: nobody writes a host so here.
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.len() > HOST_BYTES_MAX || !host.bytes().all(is_usual) {
        return None;
    }
    // Without the dots first: what is a name with them can be an address without, and none that can be read.
    let host = Host::parse(host.trim_end_matches('.')).ok()?;
    Some(alloc::format!("{host}"))
}

/// A token or a quoted string.
fn value_of(text: &[u8]) -> Option<Vec<u8>> {
    match text {
        [b'"', ..] => unquoted(text),
        text => is_token(text).then(|| text.to_vec()),
    }
}

/// What a quoted string stands for (RFC 9110, section 5.6.4).
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let inside = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => out.push(*bytes.next()?),
            byte => out.push(*byte),
        }
    }
    Some(out)
}

/// What stands between marks that are in no quoted string, without the space around it and without what is empty. A string
/// that does not end takes the rest.
fn split(text: &[u8], mark: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(move |byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte => return *byte == mark && !quoted,
        }
        false
    });
    parts.map(trim).filter(|part| !part.is_empty())
}

const MISDIRECTED: u16 = 421;
/// Without `ma` (RFC 7838, section 3.1).
const AGE_USUAL: Duration = Duration::from_secs(24 * 60 * 60);
/// No offer is believed for longer: servers move.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Bytes of a field: a few offers have some hundred.
const BYTES_MAX: usize = 4096;
/// Fields of a head.
const LINES_MAX: usize = 8;
/// RFC 1035, section 2.3.4.
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
