//! Another place that serves an origin by HTTP/3 (RFC 7838), what an answer says of it, and how it is tried.
//!
//! Read [`Advert`]. It is a hint: who takes it up must find there a certificate that is valid for the origin itself. An
//! [`Approach`] is how a connection is begun, and [`Http3News`] what comes of it.

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

/// How a connection to an origin is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approach {
    /// Over TCP alone.
    Tcp,
    /// Over QUIC, and over TCP if that has not connected after the head start: who connects first is taken.
    Race {
        /// Where QUIC is spoken.
        alternative: Alternative,
        /// How long TCP waits.
        head_start: Duration,
    },
}

/// What became of HTTP/3 at an origin, where a connection was raced. After `Approach::Race` there is one of `Connected`, `Failed`
/// and `GivenUp`; after `Connected` there is an `Ended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http3News {
    /// A connection stands.
    Connected,
    /// TCP was faster, or QUIC is silent; it is tried for a little longer, to know which.
    Overtaken,
    /// No connection could be made.
    Failed,
    /// Nobody wants the connection any more.
    GivenUp,
    /// A connection is over.
    Ended {
        /// True if it broke: it was neither closed from here nor ended by its server in good order.
        broken: bool,
    },
}
