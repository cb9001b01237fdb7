//! The transport: opens sessions over TCP or TLS within one limit of time.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use tokio::time::Instant;
use tur_core::port::{SessionFacts, Transport};
use tur_core::{Fault, Origin, Scheme, Wait};

use crate::dial::dial;
use crate::h1::H1Session;
use crate::session::{self, HttpSession};
use crate::stream::Stream;
use crate::tls::Trust;
use crate::{NetConfig, NetError};

/// Opens HTTP/1.1 connections. Clones share the trusted roots and the memory of TLS sessions.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<Shared>,
    config: NetConfig,
}

struct Shared {
    user_agent: HeaderValue,
    trust: Trust,
}

impl HttpTransport {
    /// A transport with these settings. Sizes out of bounds are moved to the nearest bound.
    ///
    /// # Errors
    /// `Roots` if the certificates cannot be used; `UserAgent` if it cannot be sent. The system's roots are read
    /// later, at the first `https` origin.
    pub fn new(config: NetConfig) -> Result<Self, NetError> {
        let user_agent = HeaderValue::from_bytes(config.user_agent.as_bytes())
            .map_err(|_invalid| NetError::UserAgent)?;
        let trust = Trust::new(config.roots_pem.as_deref())?;
        let shared = Shared { user_agent, trust };
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

    /// What the user should be told about this transport, such as that bundled root certificates are in use.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.shared.trust.notes()
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
        let (stream, address) =
            connected.map_err(|_elapsed| Fault::TimedOut(Wait::Connect, limit))??;
        let facts = SessionFacts {
            protocol: "h1",
            address,
            handshake: began.elapsed(),
        };
        tracing::debug!(%origin, address = %facts.address, handshake = ?facts.handshake, "connected");
        let user_agent = self.shared.user_agent.clone();
        let session = H1Session::start(stream, &self.config, user_agent).await?;
        Ok(HttpSession::new(session::Inner::H1(session), facts))
    }
}

impl HttpTransport {
    async fn connect(&self, origin: &Origin) -> Result<(Stream, String), Fault> {
        let config = &self.config;
        let (tcp, address) = dial(origin, config.receive_buffer, config.no_private).await?;
        let stream = match origin.scheme {
            Scheme::Http => Stream::Plain(tcp),
            Scheme::Https => {
                Stream::Tls(Box::new(self.shared.trust.shake_hands(origin, tcp).await?))
            }
        };
        Ok((stream, address.to_string()))
    }
}
