//! Cookies (RFC 6265): which are taken, and which go along with a request.
//!
//! Read [`Jar`]. It is kept for one run, is bounded, and shows no value to anybody but the request that it is for. Names that
//! many people share (public suffixes, such as `co.uk`) take no cookies; the list of those is that of the crate `psl`. A
//! [`CookieFile`] is read once, and fills any number of jars.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::num::IntErrorKind;

use psl::Psl as _;
use tur_core::{Origin, Scheme, Secret, Target, Wall};

use crate::date::http_date;
use crate::host::ascii_name;

/// The cookies of one run.
#[derive(Clone, Debug, Default)]
pub struct Jar {
    cookies: Vec<Cookie>,
}

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: Secret,
    scope: Scope,
    path: String,
    secure: bool,
    /// `None` for one that goes with the run.
    expires: Option<Wall>,
}

/// Whom a cookie is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// That origin alone: the user said so.
    Origin(Origin),
    /// That host alone.
    Host(String),
    /// That domain and all below it.
    Domain(String),
}

/// Cookies of one domain, and in all; the oldest make room.
pub const COOKIES_PER_DOMAIN_MAX: usize = 64;
/// See [`COOKIES_PER_DOMAIN_MAX`].
pub const COOKIES_MAX: usize = 1024;
/// Longer cookies, name and value together, are not taken (RFC 6265, section 6.1).
pub const COOKIE_BYTES_MAX: usize = 4096;

/// A file of cookies in Netscape's format, as browsers and other programs write it: seven fields with tabs between them.
/// `#HttpOnly_` before the domain is no comment. An expiry that is too large to be counted is never, as in curl.
#[derive(Clone, Debug)]
pub struct CookieFile {
    /// Each line is void or a cookie.
    text: Secret,
}

/// What is wrong with a cookie file, and in which line. It shows nothing of what the file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieLineError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for CookieLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for CookieLineError {}

impl CookieFile {
    /// Looks at each line of a file.
    ///
    /// # Errors
    /// A line is neither a cookie nor a comment.
    pub fn parse(text: &str) -> Result<Self, CookieLineError> {
        for (line, cookie) in cookies(text) {
            cookie.map_err(|what| CookieLineError { line, what })?;
        }
        Ok(Self { text: text.into() })
    }
}

/// The cookies of a file, each with the number of its line.
fn cookies(text: &str) -> impl Iterator<Item = (usize, Result<Cookie, &'static str>)> {
    let lines = text.lines().zip(1..);
    lines.filter_map(|(line, number)| {
        let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
        let void = line.trim().is_empty() || line.starts_with('#');
        (!void).then(|| (number, from_line(line)))
    })
}

impl Jar {
    /// No cookies.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            cookies: Vec::new(),
        }
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// Takes `NAME=VALUE; NAME=VALUE …` for one origin alone. Returns how many there were.
    pub fn give(&mut self, origin: &Origin, text: &Secret) -> usize {
        let pairs = text.expose().split(|byte| *byte == b';');
        let mut count = 0;
        for (name, value) in pairs.filter_map(|text| pair(text).ok()) {
            count += 1;
            self.put(Cookie {
                name,
                value,
                scope: Scope::Origin(origin.clone()),
                path: "/".to_owned(),
                secure: false,
                expires: None,
            });
        }
        count
    }

    /// Takes the cookies of a file. What has expired is left out.
    pub fn take(&mut self, file: &CookieFile, now: Wall) {
        let text = core::str::from_utf8(file.text.expose()).expect("it was made of a text");
        for (_, cookie) in cookies(text) {
            let cookie = cookie.expect("parse has looked at each line");
            if cookie.expires.is_none_or(|at| at > now) {
                self.put(cookie);
            }
        }
    }

    /// Takes a `Set-Cookie` of an answer from `from` (RFC 6265, section 5.3). False if it is none, or not for that origin to set.
    pub fn set(&mut self, from: &Target, value: &[u8], now: Wall) -> bool {
        let Some(cookie) = from_field(from, value, now) else {
            return false;
        };
        if cookie.expires.is_some_and(|at| at <= now) {
            self.remove(&cookie);
        } else {
            self.put(cookie);
        }
        true
    }

    /// The value of `Cookie` for a request (RFC 6265, section 5.4); `None` if none is for it.
    #[must_use]
    pub fn value(&self, target: &Target, now: Wall) -> Option<Secret> {
        let mut fitting: Vec<&Cookie> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.is_for(target, now))
            .collect();
        // Longer paths first; the older ones first among equals.
        fitting.sort_by_key(|cookie| core::cmp::Reverse(cookie.path.len()));
        let mut text = Vec::new();
        for cookie in fitting {
            let more = cookie.name.len() + cookie.value.expose().len() + 3;
            if text.len() + more > FIELD_BYTES_MAX {
                break;
            }
            if !text.is_empty() {
                text.extend(b"; ");
            }
            text.extend(cookie.name.as_bytes());
            text.push(b'=');
            text.extend(cookie.value.expose());
        }
        (!text.is_empty()).then(|| Secret::from(text))
    }

    fn remove(&mut self, like: &Cookie) {
        self.cookies.retain(|cookie| {
            cookie.name != like.name || cookie.path != like.path || cookie.scope != like.scope
        });
    }

    fn put(&mut self, cookie: Cookie) {
        self.remove(&cookie);
        let same = |other: &Cookie| other.scope.name() == cookie.scope.name();
        if self.cookies.iter().filter(|other| same(other)).count() >= COOKIES_PER_DOMAIN_MAX
            && let Some(at) = self.cookies.iter().position(same)
        {
            self.cookies.remove(at);
        }
        if self.cookies.len() >= COOKIES_MAX {
            self.cookies.remove(0);
        }
        self.cookies.push(cookie);
    }
}

impl Scope {
    fn name(&self) -> &str {
        match self {
            Scope::Origin(origin) => &origin.host,
            Scope::Host(name) | Scope::Domain(name) => name,
        }
    }
}

impl Cookie {
    fn is_for(&self, target: &Target, now: Wall) -> bool {
        let host = &*target.origin.host;
        let scoped = match &self.scope {
            Scope::Origin(origin) => *origin == target.origin,
            Scope::Host(name) => name == host,
            Scope::Domain(name) => domain_matches(host, name),
        };
        scoped
            && (!self.secure || target.origin.scheme == Scheme::Https)
            && self.expires.is_none_or(|at| at > now)
            && path_matches(path_of(target), &self.path)
    }
}

/// RFC 6265, section 5.1.3. An address is in no domain.
fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || (!is_address(host)
            && host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.')))
}

/// RFC 6265, section 5.1.4.
fn path_matches(path: &str, of: &str) -> bool {
    path.strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

fn path_of(target: &Target) -> &str {
    target.path.split('?').next().unwrap_or("/")
}

/// RFC 6265, section 5.1.4: up to the last slash, without it.
fn default_path(target: &Target) -> &str {
    match path_of(target).rsplit_once('/') {
        Some((before, _)) if !before.is_empty() => before,
        _ => "/",
    }
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<core::net::IpAddr>().is_ok()
}

/// True for a name that many people share.
fn is_shared(domain: &str) -> bool {
    let suffix = psl::List.suffix(domain.as_bytes());
    suffix.is_some_and(|suffix| suffix == domain)
}

/// A name and its value, as far as they can be sent; or why they cannot.
fn pair(text: &[u8]) -> Result<(String, Secret), &'static str> {
    let at = text.iter().position(|byte| *byte == b'=');
    let at = at.ok_or("a cookie has an equals sign")?;
    let (name, value) = (text[..at].trim_ascii(), text[at + 1..].trim_ascii());
    let sound = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|byte| *byte >= 0x20 && *byte != 0x7f && *byte != b';')
    };
    if name.is_empty() {
        return Err("the cookie has no name");
    }
    if !sound(name) || !sound(value) {
        return Err("the name or the value has a control character or a semicolon");
    }
    if name.len() + value.len() > COOKIE_BYTES_MAX {
        return Err("name and value have more bytes than a cookie may have");
    }
    let name = core::str::from_utf8(name).map_err(|_| "the name is not UTF-8")?;
    Ok((name.to_owned(), Secret::from(value.to_vec())))
}

/// A number of seconds. One that is too large to be counted is the largest, whatever its sign.
fn seconds(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(seconds) => Some(seconds),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

/// RFC 6265, sections 5.2 and 5.3.
fn from_field(from: &Target, value: &[u8], now: Wall) -> Option<Cookie> {
    let mut parts = value.split(|byte| *byte == b';');
    let (name, value) = pair(parts.next()?).ok()?;
    let host = &from.origin.host;
    let mut cookie = Cookie {
        name,
        value,
        scope: Scope::Host(host.clone()),
        path: default_path(from).to_owned(),
        secure: false,
        expires: None,
    };
    let mut max_age = None;
    for part in parts {
        let text = core::str::from_utf8(part).unwrap_or_default();
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "secure" => cookie.secure = true,
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "path" => default_path(from).clone_into(&mut cookie.path),
            "expires" => cookie.expires = http_date(value).or(cookie.expires),
            "max-age" => max_age = seconds(value).or(max_age),
            "domain" => cookie.scope = scope(host, value)?,
            _ => {}
        }
    }
    // RFC 6265, section 5.2.2: it comes before Expires; zero and less are the past.
    if let Some(seconds) = max_age {
        let from = if seconds <= 0 {
            i64::MIN
        } else {
            now.unix_secs()
        };
        cookie.expires = Some(Wall::from_unix_secs(from.saturating_add(seconds.max(0))));
    }
    // A cookie for https that came in clear text may be anybody's (RFC 6265bis, section 5.6).
    let in_clear = from.origin.scheme == Scheme::Http;
    let promised = cookie.name.starts_with("__Secure-") || cookie.name.starts_with("__Host-");
    (!(in_clear && cookie.secure) && (!promised || cookie.secure)).then_some(cookie)
}

/// Whom a `Domain` attribute of an answer from `host` means; `None` if it is not for that host to say.
fn scope(host: &str, value: &str) -> Option<Scope> {
    let domain = value
        .strip_prefix('.')
        .unwrap_or(value)
        .to_ascii_lowercase();
    if domain.is_empty() {
        return Some(Scope::Host(host.to_owned()));
    }
    if !domain_matches(host, &domain) {
        return None;
    }
    // RFC 6265, section 5.3, step 5.
    if is_address(host) || is_shared(&domain) {
        return (domain == host).then_some(Scope::Host(domain));
    }
    Some(Scope::Domain(domain))
}

/// Domain, whether what is below it counts, path, secure, expiry, name, value.
fn from_line(line: &str) -> Result<Cookie, &'static str> {
    let mut fields = line.trim_end_matches(['\r', '\n']).splitn(7, '\t');
    let mut next = || {
        let field = fields.next();
        field.ok_or("seven fields with tabs between them make a cookie")
    };
    let domain = next()?;
    let below = next()?.eq_ignore_ascii_case("TRUE");
    let path = next()?;
    let secure = next()?.eq_ignore_ascii_case("TRUE");
    let expires = next()?;
    let name = next()?;
    // Of an empty value, some editors leave nothing.
    let value = next().unwrap_or("");
    // Some programs write fractions.
    let whole = expires.split_once('.').map_or(expires, |(whole, _)| whole);
    let expires = seconds(whole).ok_or("the expiry is not a number of seconds")?;
    let (name, value) = pair(&[name.as_bytes(), b"=", value.as_bytes()].concat())?;
    let domain = ascii_name(domain.strip_prefix('.').unwrap_or(domain));
    if domain.is_empty() {
        return Err("the cookie has no domain");
    }
    if !path.starts_with('/') {
        return Err("the path does not begin with a slash");
    }
    Ok(Cookie {
        name,
        value,
        scope: match below && !is_shared(&domain) {
            true => Scope::Domain(domain),
            false => Scope::Host(domain),
        },
        path: path.to_owned(),
        secure,
        expires: (expires > 0).then(|| Wall::from_unix_secs(expires)),
    })
}

/// Bytes of one `Cookie` field: servers take 8 KiB of head and more.
const FIELD_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests;
