//! The transport: opens sessions over TCP, TLS or QUIC within one limit of time, in the protocol that both sides speak.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;
use tur_core::port::{Expected, SessionFacts, Transport};
use tur_core::{Fault, Origin, Scheme};

use crate::config::Protocols;
use crate::h1::H1Session;
use crate::h2::setbacks::Setbacks;
use crate::h2::{self, Opening, Terms};
#[cfg(feature = "http3")]
use crate::h3;
use crate::proxy::Via;
use crate::recent::Recent;
use crate::session::{HttpSession, Inner};
use crate::stream::Stream;
use crate::wanted::{Spoken, Wanted};
use crate::way::{Way, Ways};
use crate::windows::{Gauge, Known, Products, Windows};
use crate::{NetConfig, NetError, Spawner};

#[cfg(feature = "http3")]
mod quic;

/// Opens connections. Clones share the trusted roots, the memory of TLS sessions, and what origins said about protocols.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<Shared>,
    config: NetConfig,
    #[cfg(feature = "http3")]
    guide: Option<h3::race::Asked>,
}

struct Shared {
    user_agent: HeaderValue,
    ways: Ways,
    spawner: Spawner,
    windows: Windows,
    products: Products,
    /// Origins that want HTTP/1.1 (RFC 9113, section 7): few say it, mostly for client certificates.
    legacy: Recent<()>,
    /// How requests over HTTP/2 have fared.
    setbacks: Recent<Setbacks>,
    /// Requests at once that connections over HTTP/2 allowed.
    streams: Recent<usize>,
    #[cfg(feature = "http3")]
    endpoints: h3::Endpoints,
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
            #[cfg(feature = "http3")]
            endpoints: h3::Endpoints::new(spawner.clone()),
            spawner,
            windows: Windows::new(),
            products: Products::default(),
            legacy: Recent::default(),
            setbacks: Recent::default(),
            streams: Recent::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            config: config.bounded(),
            #[cfg(feature = "http3")]
            guide: None,
        })
    }

    /// The same transport, which asks `guide` whether HTTP/3 is tried where [`Protocols::Auto`] is set. Without one it never is.
    #[cfg(feature = "http3")]
    #[must_use]
    pub fn guided(&self, guide: Arc<dyn crate::Guide>) -> Self {
        Self {
            guide: Some(h3::race::Asked(guide)),
            ..self.clone()
        }
    }

    /// The same transport, whose connections get receive buffers of `bytes` (see [`NetConfig::receive_buffer`]): for
    /// downloads that are to be slow.
    #[must_use]
    pub fn with_receive_buffer(&self, bytes: usize) -> Self {
        Self {
            config: self.config.clone().receive_buffer(bytes).bounded(),
            ..self.clone()
        }
    }

    /// How many requests a session to this origin will run at once, as far as that is known before there is one: one, where
    /// only HTTP/1.1 can come of it, or as many as the last one over HTTP/2 allowed.
    #[must_use]
    pub fn room(&self, origin: &Origin) -> Option<usize> {
        let h1_only = match (self.config.protocols, origin.scheme) {
            (Protocols::Http1, _) | (Protocols::Auto, Scheme::Http) => true,
            (Protocols::Auto, Scheme::Https) => self.shared.legacy.of(origin).is_some(),
            (Protocols::Http2, _) => false,
            #[cfg(feature = "http3")]
            (Protocols::Http3, _) => false,
        };
        match h1_only {
            true => Some(1),
            false => self.shared.streams.of(origin),
        }
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

    fn expect(&self, origin: &Origin, expected: Expected) {
        self.shared.products.expect(origin, expected);
    }

    fn begin_at(&self, origin: &Origin) {
        self.shared.ways.begin_at(origin);
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the handshake is measured where it happens; no decision is made here"
    )]
    async fn open(&self, origin: &Origin) -> Result<HttpSession, Fault> {
        let limit = self.config.connect_timeout;
        let began = Instant::now();
        let connected = tokio::time::timeout(limit, self.connect(origin)).await;
        let (inner, address) = connected.map_err(|_elapsed| self.late(origin))??;
        let facts = SessionFacts {
            protocol: inner.protocol(),
            address,
            handshake: began.elapsed(),
            window: inner.window(),
        };
        tracing::debug!(%origin, protocol = facts.protocol, address = %facts.address, handshake = ?facts.handshake, "connected");
        Ok(HttpSession::new(inner, facts))
    }
}

impl HttpTransport {
    async fn connect(&self, origin: &Origin) -> Result<(Inner, String), Fault> {
        match self.config.protocols {
            Protocols::Auto => self.connect_at_best(origin).await,
            Protocols::Http1 => self.connect_by_tcp(origin, Wanted::H1).await,
            Protocols::Http2 => self.connect_by_tcp(origin, Wanted::H2).await,
            #[cfg(feature = "http3")]
            Protocols::Http3 => self.connect_by_quic(origin).await,
        }
    }

    /// The fault of a connection that took longer than the limit.
    fn late(&self, origin: &Origin) -> Fault {
        let limit = self.config.connect_timeout;
        match self.config.protocols {
            #[cfg(feature = "http3")]
            Protocols::Http3 => Fault::Connect {
                host: format!("{}:{}", origin.host, origin.port),
                detail: format!(
                    "no answer over UDP in {limit:?}: the server may not speak HTTP/3, or UDP is blocked on the way"
                ),
            },
            _ => self.shared.ways.late(origin, limit),
        }
    }

    async fn connect_by_tcp(
        &self,
        origin: &Origin,
        wanted: Wanted,
    ) -> Result<(Inner, String), Fault> {
        let (ways, buffer) = (&self.shared.ways, self.config.receive_buffer);
        let offered = wanted.offered(self.shared.legacy.of(origin).is_some());
        let Way {
            stream,
            address,
            via,
        } = ways.open(origin, buffer, offered).await?;
        let spoken = match &stream {
            Stream::Plain(_) => wanted.in_clear_text(via.as_ref())?,
            Stream::Tls(tls) => wanted.agreed(tls.get_ref().1.alpn_protocol())?,
        };
        let inner = self.start(origin, (stream, via), spoken).await?;
        Ok((inner, address))
    }

    /// Over TCP, and over QUIC beside it where the guide says so.
    async fn connect_at_best(&self, origin: &Origin) -> Result<(Inner, String), Fault> {
        let tcp = self.connect_by_tcp(origin, Wanted::Either);
        #[cfg(feature = "http3")]
        if let Some(race) = self.race_to(origin) {
            return self.run(race, origin, tcp).await;
        }
        tcp.await
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
                gauge: self.gauge(origin),
                terms: Terms {
                    prior_knowledge: !agreed,
                    alone: self.config.protocols == Protocols::Http2,
                    legacy: self.shared.legacy.note(origin),
                    setbacks: self.shared.setbacks.note(origin),
                    streams: self.shared.streams.note(origin),
                    allowed: self.shared.streams.of(origin),
                },
            })
            .await
            .map(Inner::H2),
        }
    }

    /// What a connection to `origin` is measured by. Of one that is to be slow nothing is known, and it says nothing.
    fn gauge(&self, origin: &Origin) -> Gauge {
        let shared = &self.shared;
        let measured = self.config.receive_buffer.is_none();
        let products = measured.then_some(&shared.products);
        let known = products.map_or_else(Known::default, |products| products.of(origin));
        let window = shared
            .windows
            .share(self.config.h2_connection_window, known);
        Gauge::new(window, products.map(|products| products.measuring(origin)))
    }
}
