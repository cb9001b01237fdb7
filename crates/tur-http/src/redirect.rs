//! Following one redirect.

use alloc::format;
use alloc::string::ToString;

use ::url::Url;
use tur_core::{Fault, Scheme, Target};

use crate::printable::shorten;
use crate::url::{URL_BYTES_MAX, request_target, url_error};

/// What redirects may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedirectPolicy {
    /// True if https may lead to http.
    pub allow_downgrade: bool,
}

/// Where a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The next URL to request.
    pub target: Target,
    /// True if scheme, host and port stay: only then do secrets go along (RFC 9110, section 15.4).
    pub same_origin: bool,
}

/// Resolves the `Location` of a redirect against the URL it answered (RFC 9110, section 10.2.2). Credentials and fragment
/// in it are dropped. Counting redirects is up to the caller.
///
/// # Errors
/// `RedirectRefused` for a scheme other than http and https, and for https to http unless `policy` allows it.
/// `Malformed` for a `Location` that is no URL.
pub fn follow(current: &Target, location: &str, policy: &RedirectPolicy) -> Result<Hop, Fault> {
    let invalid = |cause: &dyn core::fmt::Display| {
        Fault::Malformed(format!("the redirect leads nowhere: {cause}"))
    };
    if location.len() > URL_BYTES_MAX {
        return Err(invalid(&"Location is over 64 KiB"));
    }
    let url = Url::parse(&current.to_string())
        .and_then(|base| base.join(location))
        .map_err(|error| invalid(&url_error(error)))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = shorten(url.scheme(), SCHEME_CHARS_MAX);
        let text = format!("redirect to {scheme}: refused");
        return Err(Fault::RedirectRefused(text));
    }
    let target = request_target(&url).map_err(|error| invalid(&error))?;
    let downgrade = current.origin.scheme == Scheme::Https && target.origin.scheme == Scheme::Http;
    if downgrade && !policy.allow_downgrade {
        let text = "redirect https -> http refused (the file would come over a connection that anyone can change)";
        return Err(Fault::RedirectRefused(text.to_string()));
    }
    Ok(Hop {
        same_origin: target.origin == current.origin,
        target,
    })
}

/// Schemes in messages are cut here.
const SCHEME_CHARS_MAX: usize = 32;
