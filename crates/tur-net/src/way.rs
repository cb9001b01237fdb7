//! The way to an origin: directly or through a proxy, in clear text or over TLS.
//!
//! Read [`Ways::open`]. What comes out of it is a byte stream; what is spoken on it is somebody else's matter.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderValue;
use tur_core::{Fault, Origin, Scheme, Wait};
use tur_http::{Proxies, Proxy, ProxyKind};

use crate::carrier::Carrier;
use crate::dial::{Dialer, Peer, bare_host};
use crate::proxy::socks::{self, Destination};
use crate::proxy::{Via, tunnel};
use crate::public::public_only;
use crate::stream::Stream;
use crate::tls::Trust;
use crate::{NetConfig, NetError};

/// All ways to all origins.
pub(crate) struct Ways {
    dialer: Dialer,
    proxies: Proxies,
    trust: Trust,
    no_private: bool,
    user_agent: HeaderValue,
}

/// A way that stands.
pub(crate) struct Way {
    /// The connection.
    pub(crate) stream: Stream,
    /// Whose address it has, for people.
    pub(crate) address: String,
    /// The proxy that each request is to be handed to; `None` where the origin itself is spoken with.
    pub(crate) via: Option<Via>,
}

impl Ways {
    /// # Errors
    /// As [`HttpTransport::new`](crate::HttpTransport::new).
    pub(crate) fn new(config: &NetConfig, user_agent: HeaderValue) -> Result<Self, NetError> {
        Ok(Self {
            dialer: Dialer::new(config)?,
            proxies: config.proxies.clone(),
            trust: Trust::new(config)?,
            no_private: config.no_private,
            user_agent,
        })
    }

    /// A way to `origin`, with a receive buffer of so many bytes if one is given, on which these protocols are offered (ALPN)
    /// where it goes over TLS. The limit of time is the caller's.
    ///
    /// # Errors
    /// One fault, whatever was tried.
    pub(crate) async fn open(
        &self,
        origin: &Origin,
        receive_buffer: Option<usize>,
        offered: &[&[u8]],
    ) -> Result<Way, Fault> {
        match self.proxies.choose(origin) {
            None => self.direct(origin, receive_buffer, offered).await,
            Some(proxy) => self.through(proxy, origin, (receive_buffer, offered)).await,
        }
    }

    /// What goes by UDP to `origin`: who dials, and whom we trust.
    ///
    /// # Errors
    /// `ProtocolUnavailable` if a proxy is in between: none that is spoken with here carries UDP.
    #[cfg(feature = "http3")]
    pub(crate) fn by_udp(&self, origin: &Origin) -> Result<(&Dialer, &Trust), Fault> {
        match self.proxies.choose(origin) {
            None => Ok((&self.dialer, &self.trust)),
            Some(proxy) => Err(Fault::ProtocolUnavailable(format!(
                "HTTP/3 was asked for, and the proxy {proxy} carries no UDP"
            ))),
        }
    }

    /// What to say if no way could be opened in this time.
    pub(crate) fn late(&self, origin: &Origin, limit: Duration) -> Fault {
        match self.proxies.choose(origin) {
            None => Fault::TimedOut(Wait::Connect, limit),
            Some(proxy) => Fault::ProxyFailed {
                proxy: proxy.to_string(),
                detail: format!("made no connection in {} s", limit.as_secs_f32()),
            },
        }
    }

    /// From now on the origin is asked at this address alone, while it answers; nothing for one behind a proxy.
    pub(crate) fn pin(&self, origin: &Origin, address: SocketAddr) {
        if self.proxies.choose(origin).is_none() {
            // A session by UDP may have another port.
            let address = SocketAddr::new(address.ip(), origin.port);
            self.dialer.pin(origin, address);
        }
    }

    /// A download begins at this origin.
    pub(crate) fn begin_at(&self, origin: &Origin) {
        self.trust.begin_at(origin);
    }

    /// What the user should be told.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.trust.notes()
    }

    /// Which protection was switched off.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.trust.warnings()
    }

    async fn direct(
        &self,
        origin: &Origin,
        receive_buffer: Option<usize>,
        offered: &[&[u8]],
    ) -> Result<Way, Fault> {
        let peer = Peer::Origin(origin);
        let (tcp, address) = self.dialer.dial(peer, receive_buffer).await?;
        let stream = self.secure(origin, Carrier::Tcp(tcp), offered).await;
        if let Err(Fault::Connect { .. }) = &stream {
            self.dialer.lost(peer, address);
        }
        Ok(Way {
            stream: stream?,
            address: address.to_string(),
            via: None,
        })
    }

    async fn through(
        &self,
        proxy: &Proxy,
        origin: &Origin,
        (receive_buffer, offered): (Option<usize>, &[&[u8]]),
    ) -> Result<Way, Fault> {
        let destination = self.destination(proxy, origin).await?;
        let peer = Peer::Proxy(proxy);
        let (tcp, address) = self.dialer.dial(peer, receive_buffer).await?;
        let address = format!("{address} (proxy)");
        let mut carrier = match proxy.kind {
            ProxyKind::Https => {
                let tls = self.trust.shake_hands_with_proxy(proxy, tcp).await?;
                Carrier::Proxy(Box::new(tls))
            }
            ProxyKind::Http | ProxyKind::Socks5 | ProxyKind::Socks5h => Carrier::Tcp(tcp),
        };
        match (proxy.kind, origin.scheme) {
            (ProxyKind::Http | ProxyKind::Https, Scheme::Http) => {
                return Ok(Way {
                    stream: Stream::Plain(carrier),
                    address,
                    via: Some(Via::new(proxy)?),
                });
            }
            (ProxyKind::Http | ProxyKind::Https, Scheme::Https) => {
                tunnel::connect(&mut carrier, proxy, origin, &self.user_agent).await?;
            }
            (ProxyKind::Socks5 | ProxyKind::Socks5h, _) => {
                let connected = socks::connect(&mut carrier, proxy, destination).await;
                if let (Err(_), Destination::Address(address)) = (&connected, destination) {
                    // The next attempt is another address's, if there is one.
                    self.dialer.lost(Peer::Origin(origin), address);
                }
                connected?;
            }
        }
        Ok(Way {
            stream: self.secure(origin, carrier, offered).await?,
            address,
            via: None,
        })
    }

    /// What a proxy is told: an address where names are looked up here or where the origin is one, else the name. What it is
    /// told is what was checked to be public, if that is asked for; a name cannot be.
    async fn destination<'a>(
        &self,
        proxy: &Proxy,
        origin: &'a Origin,
    ) -> Result<Destination<'a>, Fault> {
        if !proxy.kind.resolves_names() {
            let found = self.dialer.addresses(Peer::Origin(origin)).await?;
            let first = found
                .first()
                .expect("a host that is resolved has an address");
            return Ok(Destination::Address(*first));
        }
        match bare_host(&origin.host).parse::<IpAddr>() {
            Ok(ip) => {
                let address = SocketAddr::new(ip, origin.port);
                if self.no_private {
                    public_only(origin, vec![address])?;
                }
                Ok(Destination::Address(address))
            }
            Err(_) if self.no_private => Err(Fault::AddressUnchecked {
                host: origin.host.clone(),
                proxy: proxy.to_string(),
            }),
            Err(_) => Ok(Destination::Name(origin)),
        }
    }

    /// What is spoken with the origin goes over TLS where its scheme says so.
    async fn secure(
        &self,
        origin: &Origin,
        carrier: Carrier,
        offered: &[&[u8]],
    ) -> Result<Stream, Fault> {
        match origin.scheme {
            Scheme::Http => Ok(Stream::Plain(carrier)),
            Scheme::Https => {
                let tls = self.trust.shake_hands(origin, carrier, offered).await?;
                Ok(Stream::Tls(Box::new(tls)))
            }
        }
    }
}
