//! Which proxy a request goes through: the user's word, the environment as data, and the choice for an origin.
//!
//! Read [`Proxies`]: [`Proxies::read`] makes them as curl reads flags and variables, [`Proxies::choose`] is the choice.
//! Nothing here reads an environment, and a proxy is never shown with its credentials.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use ::url::{ParseError, Url};
use tur_core::{Origin, Scheme};

use crate::no_proxy::NoProxy;
use crate::url::{Userinfo, userinfo};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP in clear text: `CONNECT` for https, absolute form for http.
    Http,
    /// The same inside TLS.
    Https,
    /// SOCKS5; names are looked up here.
    Socks5,
    /// SOCKS5; names are looked up by the proxy.
    Socks5h,
}

/// A proxy. Neither `Debug` nor `Display` shows credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Host name in lower case, or an IP literal; IPv6 in brackets.
    pub host: String,
    /// The port; without one in the URL 443 for https, else 1080, as in curl.
    pub port: u16,
    /// For the proxy alone.
    pub credentials: Option<Userinfo>,
}

/// Why a text is no proxy. No part of the text is repeated, because it may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// A scheme that no proxy here has.
    Scheme,
    /// No host.
    NoHost,
    /// Anything else, with the cause.
    Invalid(&'static str),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Scheme => f.write_str(
                "a proxy begins with http://, https://, socks5:// or socks5h://, or is HOST:PORT",
            ),
            ProxyError::NoHost => f.write_str("the proxy has no host"),
            ProxyError::Invalid(cause) => write!(f, "the proxy is not valid: {cause}"),
        }
    }
}

impl core::error::Error for ProxyError {}

impl ProxyKind {
    /// The scheme in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Socks5h => "socks5h",
        }
    }

    /// True if names of origins are looked up by the proxy.
    #[must_use]
    pub const fn resolves_names(self) -> bool {
        !matches!(self, ProxyKind::Socks5)
    }

    const fn is_socks(self) -> bool {
        matches!(self, ProxyKind::Socks5 | ProxyKind::Socks5h)
    }

    fn of(scheme: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Socks5, Self::Socks5h]
            .into_iter()
            .find(|kind| scheme.eq_ignore_ascii_case(kind.as_str()))
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    /// Reads `[SCHEME://][USER[:PASSWORD]@]HOST[:PORT][/]`; without a scheme it is http.
    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let (scheme, rest) = text
            .trim()
            .split_once("://")
            .unwrap_or(("http", text.trim()));
        let kind = ProxyKind::of(scheme).ok_or(ProxyError::Scheme)?;
        // The URL Standard reads hosts well for its special schemes alone, and drops a port that is the scheme's
        // default: the second scheme tells a port 80 from none.
        let read = |scheme: &str| Url::parse(&(scheme.to_string() + "://" + rest)).map_err(wrong);
        let url = read("http")?;
        let port = url.port().or(read("ftp")?.port());
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyError::Invalid("it has more than a host and a port"));
        }
        let default = match kind {
            ProxyKind::Https => 443,
            ProxyKind::Http | ProxyKind::Socks5 | ProxyKind::Socks5h => 1080,
        };
        let credentials = userinfo(&url)
            .map_err(|_| ProxyError::Invalid("the user name or the password is not UTF-8"))?;
        if let Some(credentials) = &credentials {
            check(kind, credentials)?;
        }
        Ok(Self {
            kind,
            host: url.host_str().ok_or(ProxyError::NoHost)?.to_string(),
            port: port.filter(|port| *port != 0).unwrap_or(default),
            credentials,
        })
    }
}

/// RFC 7617, section 2, and RFC 1929, section 2.
fn check(kind: ProxyKind, credentials: &Userinfo) -> Result<(), ProxyError> {
    let (user, password) = (credentials.user.expose(), credentials.password.expose());
    let cause = if kind.is_socks() {
        let lengths = 1..=255;
        let fits = lengths.contains(&user.len()) && password.len() <= 255;
        (!fits)
            .then_some("SOCKS5 takes a user name of 1 to 255 bytes and a password of at most 255")
    } else {
        user.contains(&b':')
            .then_some("a user name cannot have a colon")
    };
    cause.map_or(Ok(()), |cause| Err(ProxyError::Invalid(cause)))
}

fn wrong(error: ParseError) -> ProxyError {
    match error {
        ParseError::EmptyHost => ProxyError::NoHost,
        ParseError::InvalidPort => ProxyError::Invalid("invalid port number"),
        ParseError::InvalidIpv4Address => ProxyError::Invalid("invalid IPv4 address"),
        ParseError::InvalidIpv6Address => ProxyError::Invalid("invalid IPv6 address"),
        _ => ProxyError::Invalid("invalid host"),
    }
}

impl fmt::Display for Proxy {
    /// The URL without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.kind.as_str(), self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The proxies of a user, by the scheme of what is asked for. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<Proxy>,
    /// For `https` URLs.
    pub https: Option<Proxy>,
    /// Hosts that are asked directly.
    pub except: NoProxy,
}

/// Which word about proxies cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxiesError {
    /// The variable of the environment; `None` if it was the word that was given.
    pub variable: Option<&'static str>,
    /// What is wrong.
    pub error: ProxyError,
}

impl Proxies {
    /// Everything through one proxy.
    #[must_use]
    pub fn all(proxy: Proxy) -> Self {
        Self {
            http: Some(proxy.clone()),
            https: Some(proxy),
            except: NoProxy::default(),
        }
    }

    /// What a user has said, as curl reads it: `proxy` and `except` were given (`--proxy`, `--noproxy`) and win over
    /// the variables of the environment; an empty `proxy` means none at all. `http_proxy` counts in lower case only,
    /// because a CGI program's `HTTP_PROXY` is a request field `Proxy` (RFC 3875, section 4.1.18); others count in lower
    /// case before upper case. An empty variable is none. No host is special: not even loopback.
    ///
    /// # Errors
    /// One of the proxies cannot be used.
    pub fn read(
        proxy: Option<&str>,
        except: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ProxiesError> {
        let first = |names: &[&'static str]| {
            let mut set = names.iter().map(|name| (*name, variable(name)));
            set.find_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        };
        let read = |names: &[&'static str]| match first(names) {
            None => Ok(None),
            Some((name, value)) => value.parse().map(Some).map_err(|error| ProxiesError {
                variable: Some(name),
                error,
            }),
        };
        let except = match except {
            Some(given) => NoProxy::read(given),
            None => first(&["no_proxy", "NO_PROXY"])
                .map_or_else(NoProxy::default, |(_, value)| NoProxy::read(&value)),
        };
        let (http, https) = match proxy {
            Some("") => (None, None),
            Some(given) => {
                let proxy: Proxy = given.parse().map_err(|error| ProxiesError {
                    variable: None,
                    error,
                })?;
                (Some(proxy.clone()), Some(proxy))
            }
            None => (
                read(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
                read(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            ),
        };
        Ok(Self {
            http,
            https,
            except,
        })
    }

    /// The proxy that requests to `origin` go through; `None` to ask it directly.
    #[must_use]
    pub fn choose(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = match origin.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        };
        proxy.filter(|_| !self.except.has(&origin.host, origin.port))
    }
}

#[cfg(test)]
mod tests;
