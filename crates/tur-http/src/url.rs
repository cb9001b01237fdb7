//! Reading URLs.

use alloc::string::{String, ToString};
use core::fmt;

use ::url::{ParseError, Url};
use tur_core::{Origin, Scheme, Target};

use crate::percent;

/// Longer URLs are refused. RFC 9110, section 4.1, asks for 8 000 at least; signed ones can be longer.
pub const URL_BYTES_MAX: usize = 64 * 1024;

/// Credentials that stood in a URL, percent-decoded. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Userinfo {
    /// User name; may be empty.
    pub user: String,
    /// Password; empty if there was none.
    pub password: String,
}

impl fmt::Debug for Userinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Userinfo([redacted])")
    }
}

/// Why a text is no URL that can be requested. No part of the text is repeated, because it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `http` nor `https`.
    Scheme,
    /// No host.
    NoHost,
    /// Anything else, with the cause.
    Invalid(&'static str),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlError::Scheme => f.write_str("the URL must begin with http:// or https://"),
            UrlError::NoHost => f.write_str("the URL has no host"),
            UrlError::Invalid(cause) => write!(f, "the URL is not valid: {cause}"),
        }
    }
}

impl core::error::Error for UrlError {}

/// Reads a URL: where to send a request, and the credentials that stood in it. A fragment is dropped (RFC 9110,
/// section 7.1); the host comes back in lower case and in its ASCII form.
///
/// # Errors
/// See [`UrlError`].
pub fn target(url: &str) -> Result<(Target, Option<Userinfo>), UrlError> {
    if url.len() > URL_BYTES_MAX {
        return Err(UrlError::Invalid("it is over 64 KiB"));
    }
    let url = Url::parse(url).map_err(url_error)?;
    let target = request_target(&url)?;
    Ok((target, userinfo(&url)?))
}

/// Where a request for `url` goes. Userinfo and fragment are left behind.
pub(crate) fn request_target(url: &Url) -> Result<Target, UrlError> {
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(UrlError::Scheme),
    };
    // RFC 9110, section 4.2.1: an empty host is invalid.
    let host = url.host_str().filter(|host| !host.is_empty());
    let mut path = url.path().to_string();
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    if url.as_str().len() > URL_BYTES_MAX {
        return Err(UrlError::Invalid("it is over 64 KiB"));
    }
    Ok(Target {
        origin: Origin {
            scheme,
            host: host.ok_or(UrlError::NoHost)?.to_string(),
            port: url.port().unwrap_or(scheme.default_port()),
        },
        path,
    })
}

/// The cause of a parse error, without the text.
pub(crate) fn url_error(error: ParseError) -> UrlError {
    match error {
        ParseError::RelativeUrlWithoutBase => UrlError::Scheme,
        ParseError::EmptyHost => UrlError::NoHost,
        ParseError::InvalidPort => UrlError::Invalid("invalid port number"),
        ParseError::InvalidIpv4Address => UrlError::Invalid("invalid IPv4 address"),
        ParseError::InvalidIpv6Address => UrlError::Invalid("invalid IPv6 address"),
        ParseError::IdnaError => UrlError::Invalid("invalid international host name"),
        ParseError::InvalidDomainCharacter => UrlError::Invalid("invalid character in the host"),
        _ => UrlError::Invalid("it cannot be parsed"),
    }
}

fn userinfo(url: &Url) -> Result<Option<Userinfo>, UrlError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let text = |part: &str| {
        String::from_utf8(percent::decode(part.as_bytes()))
            .map_err(|_| UrlError::Invalid("the user name or the password is not UTF-8"))
    };
    Ok(Some(Userinfo {
        user: text(url.username())?,
        password: text(url.password().unwrap_or_default())?,
    }))
}
