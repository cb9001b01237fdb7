//! Which protocols are wanted over TCP, and what comes of it.

use tur_core::Fault;

use crate::proxy::Via;

/// What is wanted over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// HTTP/2 where TLS agrees to it, else HTTP/1.1.
    Either,
    H1,
    H2,
}

/// What runs on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    H1,
    /// Agreed to by the peer, or not.
    H2 {
        agreed: bool,
    },
}

impl Wanted {
    /// What is spoken without TLS. A proxy that fetches what needs no tunnel is spoken with in HTTP/1.1: nothing tells that
    /// it knows another protocol.
    ///
    /// # Errors
    /// `ProtocolUnavailable`.
    pub(crate) fn in_clear_text(self, via: Option<&Via>) -> Result<Spoken, Fault> {
        match (self, via) {
            (Wanted::Either | Wanted::H1, _) => Ok(Spoken::H1),
            (Wanted::H2, None) => Ok(Spoken::H2 { agreed: false }),
            (Wanted::H2, Some(_)) => Err(Fault::ProtocolUnavailable(
                "HTTP/2 was asked for, and an HTTP proxy hands on http URLs in HTTP/1.1 alone"
                    .to_owned(),
            )),
        }
    }

    /// The names for ALPN (RFC 7301), the preferred one first; `legacy` is an origin that has asked for HTTP/1.1.
    pub(crate) fn offered(self, legacy: bool) -> &'static [&'static [u8]] {
        match self {
            Wanted::Either if legacy => &[ALPN_H1],
            Wanted::Either => &[ALPN_H2, ALPN_H1],
            Wanted::H1 => &[ALPN_H1],
            Wanted::H2 => &[ALPN_H2],
        }
    }

    /// A peer that agrees to nothing speaks HTTP/1.1.
    ///
    /// # Errors
    /// `ProtocolUnavailable`.
    pub(crate) fn agreed(self, alpn: Option<&[u8]>) -> Result<Spoken, Fault> {
        match (alpn, self) {
            (Some(ALPN_H2), _) => Ok(Spoken::H2 { agreed: true }),
            (_, Wanted::Either | Wanted::H1) => Ok(Spoken::H1),
            (_, Wanted::H2) => Err(Fault::ProtocolUnavailable(
                "HTTP/2 was asked for, and the server does not agree to it".to_owned(),
            )),
        }
    }
}

/// The registered names.
const ALPN_H1: &[u8] = b"http/1.1";
const ALPN_H2: &[u8] = b"h2";
