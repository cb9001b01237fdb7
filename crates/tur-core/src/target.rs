//! Where a request goes.

use alloc::string::String;
use core::fmt;

/// The two schemes tur speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme as in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port used when a URL names none (RFC 9110, section 4.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// Scheme, host and port (RFC 6454, section 4): what secrets, limits and connections are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// Host name in lower case, or an IP literal; IPv6 in brackets.
    pub host: String,
    /// The port, the scheme's default filled in.
    pub port: u16,
}

impl Origin {
    /// `host`, and `:port` where it is not the scheme's default: the value of a `Host` field.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            alloc::format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

/// A URL that can be requested: origin, path and query. Userinfo and fragment are gone; made by `tur_http::target`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Where to connect.
    pub origin: Origin,
    /// Path and query, percent-encoded, beginning with `/`.
    pub path: String,
}

impl Target {
    /// The URL for a log or a message: `?…` stands for a query.
    #[must_use]
    pub fn without_query(&self) -> String {
        match self.path.split_once('?') {
            Some((path, _)) => alloc::format!("{}{path}?…", self.origin),
            None => alloc::format!("{self}"),
        }
    }
}

impl fmt::Debug for Target {
    /// Without the query: that of a redirect is often a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.without_query())
    }
}

impl fmt::Display for Target {
    /// The URL with its query, which may hold a signature: for a request, a journal, and for who gave the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_written_down_and_not_shown() {
        let at = |path: &str| Target {
            origin: Origin {
                scheme: Scheme::Https,
                host: "a.example".into(),
                port: 444,
            },
            path: path.into(),
        };
        let signed = at("/f?sig=s3cret?x");
        assert_eq!(
            alloc::format!("{signed}"),
            "https://a.example:444/f?sig=s3cret?x"
        );
        assert_eq!(
            alloc::format!("{signed:?}"),
            "Target(https://a.example:444/f?…)"
        );
        assert_eq!(at("/f").without_query(), "https://a.example:444/f");
    }
}
