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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target;
    use proptest::prelude::*;
    use std::string::String;
    use tur_core::Kind;

    const STRICT: RedirectPolicy = RedirectPolicy {
        allow_downgrade: false,
    };
    const LAX: RedirectPolicy = RedirectPolicy {
        allow_downgrade: true,
    };

    fn at(url: &str) -> Target {
        target(url).expect("a URL").0
    }

    #[test]
    fn where_a_location_leads() {
        let check = |location, url: &str, same_origin| {
            let hop = follow(&at("https://a.example/x/y?z"), location, &STRICT).expect(location);
            assert_eq!(hop.target.to_string(), url);
            assert_eq!(hop.same_origin, same_origin, "{location}");
        };
        check("/b", "https://a.example/b", true);
        check("b", "https://a.example/x/b", true);
        check("../../../b", "https://a.example/b", true);
        check("?q", "https://a.example/x/y?q", true);
        check("", "https://a.example/x/y?z", true);
        check("https://A.example:443/b#f", "https://a.example/b", true);
        check("https://a.example:444/b", "https://a.example:444/b", false);
        check("//b.example/c", "https://b.example/c", false);
        check("https://u:p@a.example/b", "https://a.example/b", true);
        check("https://a.example@b.example/", "https://b.example/", false);
        check("/\\b.example/", "https://b.example/", false);
        check("/ä b", "https://a.example/%C3%A4%20b", true);
    }

    #[test]
    fn what_policy_refuses() {
        let refusal = |location: &str| match follow(&at("https://a.example/"), location, &STRICT) {
            Err(fault) if fault.kind() == Kind::Policy => fault.to_string(),
            other => panic!("{location}: {other:?}"),
        };
        assert_eq!(refusal("file:///etc/hostname"), "redirect to file: refused");
        assert_eq!(refusal("FTP://b.example/"), "redirect to ftp: refused");
        assert_eq!(
            refusal("javascript:alert(1)"),
            "redirect to javascript: refused"
        );
        assert_eq!(refusal("data:,x"), "redirect to data: refused");
        assert!(refusal(&("a".repeat(5000) + ":x")).len() < 100);
        assert!(refusal("http://a.example/").starts_with("redirect https -> http refused"));
    }

    #[test]
    fn a_downgrade_needs_leave_and_an_upgrade_none() {
        let hop = follow(&at("https://a.example/"), "http://a.example/", &LAX).unwrap();
        assert!(!hop.same_origin);
        let hop = follow(&at("http://a.example/"), "https://a.example/", &STRICT).unwrap();
        assert!(!hop.same_origin);
        assert!(follow(&at("http://a.example/"), "http://b.example/", &STRICT).is_ok());
    }

    #[test]
    fn what_is_no_url() {
        for location in [
            "http://",
            "http://a:99999/",
            "//",
            "http://[/",
            "http://a b/",
        ] {
            let fault = follow(&at("http://a.example/"), location, &LAX).unwrap_err();
            assert_eq!(fault.kind(), Kind::Protocol, "{location}: {fault}");
        }
        let long = "x".repeat(URL_BYTES_MAX + 1);
        assert!(follow(&at("http://a.example/"), &long, &LAX).is_err());
        let mut broken = at("http://a.example/");
        broken.origin.host = String::new();
        assert!(follow(&broken, "/b", &LAX).is_err());
    }

    proptest! {
        #[test]
        fn a_hop_is_a_target_and_never_a_silent_downgrade(
            location in prop_oneof![any::<String>(), "(https?:|file:)?/{0,3}[a-z.@:/%?#\\\\]{0,30}"],
        ) {
            if let Ok(hop) = follow(&at("https://a.example/x"), &location, &STRICT) {
                prop_assert_eq!(hop.target.origin.scheme, Scheme::Https);
                prop_assert_eq!(at(&hop.target.to_string()), hop.target);
            }
        }
    }
}
