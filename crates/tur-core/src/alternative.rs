//! Another place that serves an origin by HTTP/3 (RFC 7838), and what an answer says of it.
//!
//! Read [`Advert`]. It is a hint: who takes it up must find there a certificate that is valid for the origin itself.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

/// Where an origin is served by HTTP/3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alternative {
    /// The host, as in [`Origin::host`](crate::Origin::host); `None` is the origin's own.
    pub host: Option<String>,
    /// The port, never 0. It is one of UDP.
    pub port: u16,
}

impl fmt::Display for Alternative {
    /// As `Alt-Svc` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or_default();
        write!(f, "{host}:{}", self.port)
    }
}

/// An alternative, and for how long it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where.
    pub alternative: Alternative,
    /// From the answer on (`ma`), bounded.
    pub max_age: Duration,
    /// True if it is meant to outlive a change of the network (`persist`).
    pub persist: bool,
}

/// What an answer says of HTTP/3 with `Alt-Svc`. It counts for the origin that was asked, and replaces what was said before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advert {
    /// There is none, or none any more.
    Withdrawn,
    /// There is, here.
    Http3(Offer),
}
