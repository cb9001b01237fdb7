//! The transport: opens sessions over TCP or TLS within one limit of time, in the protocol that both sides speak.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;
use tur_core::port::{SessionFacts, Transport};
use tur_core::{Fault, Origin, Scheme};

use crate::config::Protocols;
use crate::h1::H1Session;
use crate::h2::{self, Opening, Terms, Windows};
use crate::legacy::Legacy;
use crate::proxy::Via;
use crate::session::{HttpSession, Inner};
use crate::stream::Stream;
use crate::way::{Way, Ways};
use crate::{NetConfig, NetError, Spawner};

/// Opens connections. Clones share the trusted roots, the memory of TLS sessions, and what origins said about protocols.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<Shared>,
    config: NetConfig,
}

struct Shared {
    user_agent: HeaderValue,
    ways: Ways,
    spawner: Spawner,
    windows: Windows,
    legacy: Legacy,
}

impl HttpTransport {
    /// A transport with these settings; `spawner` runs what drives its connections. Sizes out of bounds are moved to the
    /// nearest bound.
    ///
    /// # Errors
    /// `Roots` or `ClientCertificate` if certificates cannot be used; `Interface` if there is none such; `UserAgent` if it
    /// cannot be sent. The system's roots are read later, at the first `https` origin.
    pub fn new(config: NetConfig, spawner: Spawner) -> Result<Self, NetError> {
        let user_agent = HeaderValue::from_bytes(config.user_agent.as_bytes())
            .map_err(|_invalid| NetError::UserAgent)?;
        let ways = Ways::new(&config, user_agent.clone())?;
        let shared = Shared {
            user_agent,
            ways,
            spawner,
            windows: Windows::new(),
            legacy: Legacy::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            config: config.bounded(),
        })
    }

    /// The same transport, whose connections get receive buffers of `bytes` (see [`NetConfig::receive_buffer`]): for
    /// downloads that are to be slow.
    #[must_use]
    pub fn with_receive_buffer(&self, bytes: usize) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            config: self.config.clone().receive_buffer(bytes).bounded(),
        }
    }

    /// How many requests a session to this origin will run at once, as far as that is known before there is one: one, where
    /// only HTTP/1.1 can come of it.
    #[must_use]
    pub fn room(&self, origin: &Origin) -> Option<usize> {
        let h1_only = match (self.config.protocols, origin.scheme) {
            (Protocols::Http1, _) | (Protocols::Auto, Scheme::Http) => true,
            (Protocols::Auto, Scheme::Https) => self.shared.legacy.contains(origin),
            (Protocols::Http2, _) => false,
        };
        h1_only.then_some(1)
    }

    /// What the user should be told about this transport, such as that bundled root certificates are in use.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.shared.ways.notes()
    }

    /// What the user must be told: which protection was switched off.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.shared.ways.warnings()
    }

    /// From now on `origin` is asked at this address alone, for as long as it connects: what to do when servers behind one
    /// name disagree about a file. `address` is that of a session's facts; nothing happens for one that leads through a proxy.
    pub fn pin(&self, origin: &Origin, address: &str) {
        if let Ok(address) = address.parse() {
            self.shared.ways.pin(origin, address);
        }
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Transport for HttpTransport {
    type Session = HttpSession;

    #[expect(
        clippy::disallowed_methods,
        reason = "the handshake is measured where it happens; no decision is made here"
    )]
    async fn open(&self, origin: &Origin) -> Result<HttpSession, Fault> {
        let limit = self.config.connect_timeout;
        let began = Instant::now();
        let connected = tokio::time::timeout(limit, self.connect(origin)).await;
        let (inner, address) =
            connected.map_err(|_elapsed| self.shared.ways.late(origin, limit))??;
        let facts = SessionFacts {
            protocol: inner.protocol(),
            address,
            handshake: began.elapsed(),
        };
        tracing::debug!(%origin, protocol = facts.protocol, address = %facts.address, handshake = ?facts.handshake, "connected");
        Ok(HttpSession::new(inner, facts))
    }
}

/// What runs on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    H1,
    /// Agreed to by the peer, or not.
    H2 {
        agreed: bool,
    },
}

impl HttpTransport {
    async fn connect(&self, origin: &Origin) -> Result<(Inner, String), Fault> {
        let (ways, buffer) = (&self.shared.ways, self.config.receive_buffer);
        let Way {
            stream,
            address,
            via,
        } = ways.open(origin, buffer, self.offered(origin)).await?;
        let spoken = match &stream {
            Stream::Plain(_) => self.in_clear_text(via.as_ref())?,
            Stream::Tls(tls) => self.agreed(tls.get_ref().1.alpn_protocol())?,
        };
        let inner = self.start(origin, (stream, via), spoken).await?;
        Ok((inner, address))
    }

    async fn start(
        &self,
        origin: &Origin,
        (stream, via): (Stream, Option<Via>),
        spoken: Spoken,
    ) -> Result<Inner, Fault> {
        let user_agent = self.shared.user_agent.clone();
        match spoken {
            Spoken::H1 => H1Session::start(stream, &self.config, user_agent)
                .await
                .map(|session| Inner::H1(session.through(via))),
            Spoken::H2 { agreed } => h2::open(Opening {
                stream,
                config: &self.config,
                user_agent,
                spawner: &self.shared.spawner,
                windows: &self.shared.windows,
                terms: Terms {
                    prior_knowledge: !agreed,
                    alone: self.config.protocols == Protocols::Http2,
                    legacy: self.shared.legacy.note(origin),
                },
            })
            .await
            .map(Inner::H2),
        }
    }

    /// A proxy that fetches what needs no tunnel is spoken with in HTTP/1.1: nothing tells that it knows another protocol.
    fn in_clear_text(&self, via: Option<&Via>) -> Result<Spoken, Fault> {
        match (self.config.protocols, via) {
            (Protocols::Auto | Protocols::Http1, _) => Ok(Spoken::H1),
            (Protocols::Http2, None) => Ok(Spoken::H2 { agreed: false }),
            (Protocols::Http2, Some(_)) => Err(Fault::ProtocolUnavailable(
                "HTTP/2 was asked for, and an HTTP proxy hands on http URLs in HTTP/1.1 alone"
                    .to_owned(),
            )),
        }
    }

    /// The names for ALPN (RFC 7301), the preferred one first.
    fn offered(&self, origin: &Origin) -> &'static [&'static [u8]] {
        match self.config.protocols {
            Protocols::Auto if self.shared.legacy.contains(origin) => &[ALPN_H1],
            Protocols::Auto => &[ALPN_H2, ALPN_H1],
            Protocols::Http1 => &[ALPN_H1],
            Protocols::Http2 => &[ALPN_H2],
        }
    }

    /// A peer that agrees to nothing speaks HTTP/1.1.
    fn agreed(&self, alpn: Option<&[u8]>) -> Result<Spoken, Fault> {
        match (alpn, self.config.protocols) {
            (Some(ALPN_H2), _) => Ok(Spoken::H2 { agreed: true }),
            (_, Protocols::Auto | Protocols::Http1) => Ok(Spoken::H1),
            (_, Protocols::Http2) => Err(Fault::ProtocolUnavailable(
                "HTTP/2 was asked for, and the server does not agree to it".to_owned(),
            )),
        }
    }
}

/// The registered names.
const ALPN_H1: &[u8] = b"http/1.1";
const ALPN_H2: &[u8] = b"h2";
