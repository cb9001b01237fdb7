//! Through a proxy: what is said to it before bytes reach an origin.
//!
//! [`tunnel`] asks an HTTP proxy to connect, [`socks`] a SOCKS5 proxy, and [`Via`] has an HTTP proxy fetch what needs no
//! tunnel. Each says what went wrong in words about the proxy, and shows none of its credentials.

pub(crate) mod socks;
pub(crate) mod tunnel;

use std::io;

use http::header::PROXY_AUTHENTICATE;
use http::response::Parts;
use http::{HeaderValue, StatusCode, Uri, header};
use tur_core::{Fault, ProxyRefusal, Target};
use tur_http::{Proxy, basic};

use crate::message::Message;
use crate::stream::io_text;
use crate::tls::refused_by;

/// An HTTP proxy that a request in clear text is handed to (RFC 9112, section 3.2.2).
pub(crate) struct Via {
    proxy: Proxy,
    authorization: Option<HeaderValue>,
}

impl Via {
    /// # Errors
    /// `Malformed` if the credentials cannot be sent.
    pub(crate) fn new(proxy: &Proxy) -> Result<Self, Fault> {
        Ok(Self {
            authorization: authorization(proxy)?,
            proxy: proxy.clone(),
        })
    }

    /// Turns a request to an origin into one to the proxy.
    ///
    /// # Errors
    /// `Malformed` if the origin cannot stand in a request.
    pub(crate) fn forward(&self, message: &mut Message, target: &Target) -> Result<(), Fault> {
        let absolute = Uri::builder()
            .scheme(target.origin.scheme.as_str())
            .authority(target.origin.authority())
            .path_and_query(target.path.as_str())
            .build();
        *message.uri_mut() =
            absolute.map_err(|_invalid| Fault::Malformed("the host cannot be sent".to_owned()))?;
        if let Some(value) = &self.authorization {
            let name = header::PROXY_AUTHORIZATION;
            message.headers_mut().insert(name, value.clone());
        }
        Ok(())
    }

    /// Tells an answer of the proxy from one of the origin, as far as it can be told.
    ///
    /// # Errors
    /// `ProxyRefused` if the proxy wants other credentials.
    pub(crate) fn check(&self, answer: &Parts) -> Result<(), Fault> {
        if answer.status != StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Ok(());
        }
        let offered = answer.headers.get_all(PROXY_AUTHENTICATE);
        let offered = offered.iter().filter_map(|value| value.to_str().ok());
        Err(refused(&self.proxy, unwanted(&self.proxy, 407, offered)))
    }
}

/// The value of `Proxy-Authorization`.
fn authorization(proxy: &Proxy) -> Result<Option<HeaderValue>, Fault> {
    let Some(credentials) = &proxy.credentials else {
        return Ok(None);
    };
    let value = basic(&credentials.user, &credentials.password);
    let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_invalid| {
        Fault::Malformed("the credentials of the proxy cannot be sent".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What a 407 means, with the `Proxy-Authenticate` fields that came with it; or a 401, which some proxies say instead.
fn unwanted<'a>(
    proxy: &Proxy,
    status: u16,
    offered: impl Iterator<Item = &'a str>,
) -> ProxyRefusal {
    let schemes: Vec<&str> = offered
        .filter_map(|value| value.split([' ', ',']).find(|word| !word.is_empty()))
        .take(SCHEMES_SHOWN)
        .collect();
    let basic = schemes
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    ProxyRefusal::Credentials(if !basic && !schemes.is_empty() {
        let schemes = shortened(&schemes.join(", "));
        format!("{status}, it asks for {schemes}, and only Basic can be given")
    } else if proxy.credentials.is_some() {
        format!("{status}, it does not take those that its URL has")
    } else {
        format!("{status}, and its URL has none (http://USER:PASSWORD@HOST:PORT)")
    })
}

fn refused(proxy: &Proxy, cause: ProxyRefusal) -> Fault {
    Fault::ProxyRefused {
        proxy: proxy.to_string(),
        cause,
    }
}

fn garbled(proxy: &Proxy, text: &str) -> Fault {
    refused(proxy, ProxyRefusal::Garbled(text.to_owned()))
}

fn failed(proxy: &Proxy, detail: impl Into<String>) -> Fault {
    Fault::ProxyFailed {
        proxy: proxy.to_string(),
        detail: detail.into(),
    }
}

/// What broke while the proxy was spoken with.
fn broke(proxy: &Proxy, error: &io::Error) -> Fault {
    match refused_by(proxy, error) {
        Some(cause) => Fault::Tls(cause),
        None => failed(proxy, format!("broke the connection: {}", io_text(error))),
    }
}

/// The beginning of what a proxy says.
fn shortened(text: &str) -> String {
    text.chars().take(TEXT_SHOWN).collect()
}

const SCHEMES_SHOWN: usize = 4;
const TEXT_SHOWN: usize = 100;
