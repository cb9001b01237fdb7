//! Reading URLs.

use alloc::string::{String, ToString};
use core::fmt;

use ::url::{ParseError, Url};
use tur_core::{Origin, Scheme, Secret, Target};

use crate::percent;

/// Longer URLs are refused. RFC 9110, section 4.1, asks for 8 000 at least; signed ones can be longer.
pub const URL_BYTES_MAX: usize = 64 * 1024;

/// Credentials that stood in a URL, percent-decoded to UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Userinfo {
    /// User name, which may be a token; may be empty.
    pub user: Secret,
    /// Password; empty if there was none.
    pub password: Secret,
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

/// The value of a `Referer` field: `text` without userinfo and fragment, which may not stand in one (RFC 9110, section
/// 10.1.3). What is no http or https URL stays as it is.
#[must_use]
pub fn referer(text: &str) -> Secret {
    let Ok(mut url) = Url::parse(text) else {
        return text.into();
    };
    let leaves = url.fragment().is_some() || !url.username().is_empty() || url.password().is_some();
    if !leaves {
        return text.into();
    }
    url.set_fragment(None);
    // Only a URL without a host refuses; it has no userinfo either.
    let stripped = url.set_username("").and(url.set_password(None));
    stripped.map_or(text.into(), |()| url.as_str().into())
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

pub(crate) fn userinfo(url: &Url) -> Result<Option<Userinfo>, UrlError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let text = |part: &str| {
        String::from_utf8(percent::decode(part.as_bytes()))
            .map(Secret::from)
            .map_err(|_| UrlError::Invalid("the user name or the password is not UTF-8"))
    };
    Ok(Some(Userinfo {
        user: text(url.username())?,
        password: text(url.password().unwrap_or_default())?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    #[test]
    fn urls_and_where_they_lead() {
        for (url, told) in [
            ("http://example.com", "http://example.com/"),
            ("HTTPS://EXAMPLE.com:443/A?b#c", "https://example.com/A?b"),
            ("http://example.com:443/", "http://example.com:443/"),
            ("http://example.com/?", "http://example.com/?"),
            (
                "http://bücher.example/ä b",
                "http://xn--bcher-kva.example/%C3%A4%20b",
            ),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
            ("http://127.1/x", "http://127.0.0.1/x"),
            ("http://u:p@example.com/x", "http://example.com/x"),
            ("http://example.com/a/../b/./c", "http://example.com/b/c"),
            ("http://example.com/a%2fb", "http://example.com/a%2fb"),
            ("http://example.com/a\r\nb: c", "http://example.com/ab:%20c"),
        ] {
            let (target, _) = target(url).expect(url);
            assert_eq!(target.to_string(), told);
        }
        let (target, _) = target("https://example.com/").unwrap();
        assert_eq!(target.origin.port, 443);
    }

    #[test]
    fn what_cannot_be_requested() {
        for (url, told) in [
            ("ftp://example.com/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("example.com/x", UrlError::Scheme),
            ("example.com:80/x", UrlError::Scheme),
            ("", UrlError::Scheme),
            ("data:,x", UrlError::Scheme),
            ("http://", UrlError::NoHost),
            ("http://:80/", UrlError::NoHost),
            ("http://u:p@/", UrlError::NoHost),
            ("http://a:99999/", UrlError::Invalid("invalid port number")),
            ("http://[::1/", UrlError::Invalid("invalid IPv6 address")),
            (
                "http://1.2.3.256/",
                UrlError::Invalid("invalid IPv4 address"),
            ),
        ] {
            assert_eq!(target(url), Err(told), "{url}");
        }
        assert!(matches!(target("http://a b/"), Err(UrlError::Invalid(_))));
        assert!(matches!(
            target("http://u:%ff@a/"),
            Err(UrlError::Invalid(_))
        ));
        let long = format!("http://a/{}", "x".repeat(URL_BYTES_MAX));
        assert!(matches!(target(&long), Err(UrlError::Invalid(_))));
        // Short as typed, long once encoded.
        let grown = format!("http://a/{}", "é".repeat(URL_BYTES_MAX / 3));
        assert!(matches!(target(&grown), Err(UrlError::Invalid(_))));
    }

    #[test]
    fn userinfo_is_decoded_and_not_shown() {
        let userinfo = |url| target(url).expect(url).1;
        let told = |user: &str, password: &str| {
            Some(Userinfo {
                user: user.into(),
                password: password.into(),
            })
        };
        assert_eq!(userinfo("http://a/"), None);
        assert_eq!(userinfo("http://@a/"), None);
        assert_eq!(userinfo("http://me@a/"), told("me", ""));
        assert_eq!(userinfo("http://me:s%3Acret@a/"), told("me", "s:cret"));
        assert_eq!(userinfo("http://:secret@a/"), told("", "secret"));
        let shown = format!("{:?}", target("http://alice:secret@a/"));
        assert!(
            !shown.contains("secret") && !shown.contains("alice"),
            "{shown}"
        );
    }

    #[test]
    fn a_referer_has_neither_userinfo_nor_fragment() {
        for (text, sent) in [
            ("http://a/b?c", "http://a/b?c"),
            ("http://A", "http://A"),
            ("http://a/b#c", "http://a/b"),
            ("https://me:s3cret@a/b?c#d", "https://a/b?c"),
            ("https://me@a", "https://a/"),
            ("https://:s3cret@a", "https://a/"),
            ("about:blank", "about:blank"),
            ("/relative", "/relative"),
            ("", ""),
        ] {
            assert_eq!(referer(text).expose(), sent.as_bytes(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_errors_repeat_nothing(text in any::<String>(), rest in "[a-z0-9.:/@%?#\\[\\]é]{0,40}") {
            for url in [text, format!("http://{rest}"), format!("http://user:s3cret@{rest}")] {
                match target(&url) {
                    Ok((target, _)) => {
                        let again = super::target(&target.to_string());
                        prop_assert_eq!(again, Ok((target.clone(), None)));
                        prop_assert!(target.path.starts_with('/'));
                        prop_assert!(target.to_string().bytes().all(|byte| byte.is_ascii_graphic()));
                    }
                    Err(error) => {
                        let text = error.to_string();
                        prop_assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
                    }
                }
            }
        }
    }
}
