//! What a caller says of who asks, checked: fields, credentials, cookies.
//!
//! [`Given`] is all of it, for a download as for a command of a peer.

use std::sync::Arc;

use tur_core::port::Field;
use tur_core::{Kind, Secret, Target};
use tur_http::{CookieFile, Jar, Netrc, Userinfo, basic};

use crate::Error;
use crate::clock::Clock;
use crate::passport::SignIn;

/// What a caller has given of who asks.
#[derive(Clone, Default)]
pub(crate) struct Given {
    pub(crate) credentials: Option<Credentials>,
    pub(crate) netrc: Option<Arc<Netrc>>,
    /// For the origin of the URL; then files.
    pub(crate) cookies: (Vec<Secret>, Vec<Arc<CookieFile>>),
    /// True if fields go to each origin of a chain of redirects.
    pub(crate) everywhere: bool,
}

impl Given {
    /// The fields of requests for the first origin, checked, and what else is shown.
    ///
    /// # Errors
    /// `Usage`: something of it cannot be sent or read.
    pub(crate) fn sign_in(
        self,
        target: &Target,
        userinfo: Option<Userinfo>,
        fields: &[Field],
    ) -> Result<(Vec<Field>, SignIn), Error> {
        let mut fields = checked(fields)?;
        let cookies = jar(target, &self.cookies)?;
        let credentials = self
            .credentials
            .or_else(|| stored(target, userinfo, self.netrc.as_deref()));
        let field = credentials.as_ref().and_then(Credentials::field);
        add_credentials(&mut fields, field);
        let sign_in = SignIn {
            login: credentials.and_then(Credentials::login),
            everywhere: self.everywhere,
            cookies,
        };
        Ok((fields, sign_in))
    }
}

/// How a download says who asks.
#[derive(Clone)]
pub(crate) enum Credentials {
    /// User and password, sent at once.
    Basic(Secret, Secret),
    /// User and password, for challenges alone.
    Digest(Secret, Secret),
    /// A token.
    Bearer(Secret),
}

impl Credentials {
    /// The value of `Authorization` that needs no challenge.
    fn field(&self) -> Option<Secret> {
        match self {
            Credentials::Basic(user, password) => Some(basic(user, password)),
            Credentials::Digest(..) => None,
            Credentials::Bearer(token) => Some(Secret::from([b"Bearer ", token.expose()].concat())),
        }
    }

    /// User and password, for a challenge.
    fn login(self) -> Option<(Secret, Secret)> {
        match self {
            Credentials::Basic(user, password) | Credentials::Digest(user, password) => {
                Some((user, password))
            }
            Credentials::Bearer(_) => None,
        }
    }
}

/// Fields as they may be sent: names are tokens, values hold no line break (RFC 9110, sections 5.1 and 5.5), and `Host` is a
/// host, which HTTP/1.1 would not look at, and HTTP/2 and HTTP/3 cannot send otherwise.
fn checked(fields: &[Field]) -> Result<Vec<Field>, Error> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let one = |field: &Field| {
        let (name, value) = (&field.name, field.value.expose());
        let named = !name.is_empty() && name.chars().all(token);
        // Besides what tur sets: conditions that would end in a 304 or 412, and what says how a connection is used.
        let ours = [
            "range",
            "if-range",
            "if-match",
            "if-none-match",
            "if-modified-since",
            "if-unmodified-since",
            "content-length",
            "transfer-encoding",
            "trailer",
            "te",
            "expect",
            "upgrade",
            "connection",
        ];
        if !named || value.iter().any(|byte| b"\r\n\0".contains(byte)) {
            return Err(Error::new(
                Kind::Usage,
                format!("{name:?} cannot be sent as a request field"),
            ));
        }
        if name.eq_ignore_ascii_case("host") && !tur_http::is_host(value.trim_ascii()) {
            let text = format!("{name}: a name or an address is expected, with :PORT or without");
            return Err(Error::new(Kind::Usage, text));
        }
        if name.eq_ignore_ascii_case("proxy-authorization") {
            // An origin must never see it, and a field goes to an origin.
            let text = format!("{name}: a proxy's credentials stand in its URL");
            return Err(Error::new(Kind::Usage, text));
        }
        if ours.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Error::new(
                Kind::Usage,
                format!("{name}: this request field is tur's to set"),
            ));
        }
        let value = match std::str::from_utf8(value) {
            Ok(text) if name.eq_ignore_ascii_case("referer") => tur_http::referer(text.trim()),
            Ok(text) => text.trim().into(),
            Err(_) => value.trim_ascii().to_vec().into(),
        };
        Ok(Field {
            name: name.clone(),
            value,
        })
    };
    fields.iter().map(one).collect()
}

/// Credentials in the URL, or for its host in a netrc file. A URL that names only a user takes the password from there.
fn stored(
    target: &Target,
    userinfo: Option<Userinfo>,
    netrc: Option<&Netrc>,
) -> Option<Credentials> {
    let user = userinfo
        .as_ref()
        .and_then(|info| str::from_utf8(info.user.expose()).ok());
    let lacks = userinfo
        .as_ref()
        .is_none_or(|info| info.password.is_empty());
    let found = netrc
        .filter(|_| lacks)
        .and_then(|netrc| netrc.find(&target.origin.host, user));
    let info = found.or(userinfo)?;
    Some(Credentials::Basic(info.user, info.password))
}

/// The cookies that were given.
fn jar(
    target: &Target,
    (pairs, files): &(Vec<Secret>, Vec<Arc<CookieFile>>),
) -> Result<Jar, Error> {
    let mut jar = Jar::new();
    for file in files {
        jar.take(file, Clock::wall());
    }
    for text in pairs {
        if jar.give(&target.origin, text) == 0 {
            let text = "cookies are given as NAME=VALUE; NAME=VALUE".to_owned();
            return Err(Error::new(Kind::Usage, text));
        }
    }
    Ok(jar)
}

/// Adds `Authorization`, unless there is one.
fn add_credentials(fields: &mut Vec<Field>, credentials: Option<Secret>) {
    let given = fields
        .iter()
        .any(|field| field.name.eq_ignore_ascii_case("authorization"));
    if let Some(value) = credentials.filter(|_| !given) {
        fields.push(Field {
            name: "Authorization".into(),
            value,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_would_break_a_request_are_refused() {
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:", "x"),
            ("a", "x\r\ny: z"),
            ("Range", "bytes=0-"),
            ("If-None-Match", "x"),
            ("TE", "trailers"),
            ("Proxy-Authorization", "x"),
            ("Host", ""),
            ("hOST", "a b"),
            ("Host", "a/b"),
            ("Host", "my.host:1 evil"),
        ] {
            let error = checked(&[field(name, value)]).map(drop).expect_err(name);
            assert_eq!(error.kind(), Kind::Usage, "{name}: {error}");
        }
        for (name, value) in [
            ("X-Api-Key", "s3cret"),
            ("Host", " a.example:8080 "),
            ("host", "10.0.0.1"),
            ("Host", "[::1]:1"),
        ] {
            assert!(checked(&[field(name, value)]).is_ok(), "{name}: {value}");
        }
    }

    #[test]
    fn a_referer_is_stripped_and_other_values_are_not() {
        let url = "http://me:s3cret@h/x#y";
        let sent = |name| checked(&[field(name, url)]).map(|fields| fields[0].value.clone());
        assert_eq!(sent("rEferer").ok(), Some("http://h/x".into()));
        assert_eq!(sent("X-From").ok(), Some(url.into()));
    }

    fn field(name: &str, value: &str) -> Field {
        Field {
            name: name.to_owned(),
            value: value.into(),
        }
    }
}
