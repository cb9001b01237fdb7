//! From a host to a TCP connection: names resolved, addresses in turn (RFC 8305), socket options set.
//!
//! Read [`Dialer`]. It dials origins and proxies alike; only addresses of origins are checked to be public.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
#[cfg(feature = "http3")]
use tur_core::Alternative;
use tur_core::{Fault, Origin};
use tur_http::{HostEntry, Proxy};

use crate::local::Local;
use crate::public::public_only;
use crate::race::{Failure, is_away, is_exhaustion, race};
use crate::spread::Spread;
use crate::stream::io_text;
use crate::{IpFamily, NetConfig, NetError};

/// Who is connected to.
#[derive(Clone, Copy)]
pub(crate) enum Peer<'a> {
    /// The origin itself.
    Origin(&'a Origin),
    /// A proxy, which the user has named.
    Proxy(&'a Proxy),
}

impl Peer<'_> {
    /// As it is connected to.
    pub(crate) fn host(&self) -> (&str, u16) {
        match self {
            Peer::Origin(origin) => (&origin.host, origin.port),
            Peer::Proxy(proxy) => (&proxy.host, proxy.port),
        }
    }

    /// The host in a message.
    fn name(&self) -> String {
        match self {
            Peer::Origin(origin) => origin.host.clone(),
            Peer::Proxy(proxy) => format!("the proxy {}", proxy.host),
        }
    }
}

impl fmt::Display for Peer<'_> {
    /// With the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name(), self.host().1)
    }
}

/// Makes TCP connections as the user wants them.
pub(crate) struct Dialer {
    family: Option<IpFamily>,
    local: Option<Local>,
    hosts: Vec<HostEntry>,
    no_private: bool,
    spread: Mutex<Spread>,
}

impl Dialer {
    /// # Errors
    /// `Interface` if the system has none such, or one of the other family.
    pub(crate) fn new(config: &NetConfig) -> Result<Self, NetError> {
        let local = config.interface.as_deref().map(Local::find).transpose()?;
        let bound = local.as_ref().and_then(Local::family);
        if let (Some(asked), Some(bound)) = (config.family, bound)
            && asked != bound
        {
            let text = format!("it has no {asked} address");
            return Err(NetError::Interface(text));
        }
        Ok(Self {
            family: config.family.or(bound),
            local,
            hosts: config.hosts.clone(),
            no_private: config.no_private,
            spread: Mutex::default(),
        })
    }

    /// Connects to the first address of `peer` that answers, with a receive buffer of so many bytes if one is given.
    /// Addresses of an origin that are checked are those that are connected to.
    ///
    /// # Errors
    /// `Resolve`, `AddressRefused`, `Connect`, `Offline` or `Exhausted`. The limit of time is the caller's.
    pub(crate) async fn dial(
        &self,
        peer: Peer<'_>,
        receive_buffer: Option<usize>,
    ) -> Result<(TcpStream, SocketAddr), Fault> {
        let order = self.addresses(peer).await?;
        let first = order.first().copied();
        let mut behind = Vec::new();
        let raced = race(order, &mut behind, |address| {
            connect(address, receive_buffer, self.local.as_ref())
        })
        .await;
        for address in behind {
            self.lost(peer, address);
        }
        let (tcp, address) = raced.map_err(|failure| failure.into_fault(peer))?;
        self.spread()
            .won(peer.host(), address, first != Some(address));
        prepare(&tcp).map_err(|error| Failure { address, error }.into_fault(peer))?;
        Ok((tcp, address))
    }

    /// The first address of `origin`, or of its alternative, at which `attempt` connects by UDP. What happens there says nothing
    /// of TCP: only the winner is noted.
    ///
    /// # Errors
    /// As [`dial`](Self::dial).
    #[cfg(feature = "http3")]
    pub(crate) async fn race_to<T, F>(
        &self,
        origin: &Origin,
        alternative: Option<&Alternative>,
        attempt: impl Fn(SocketAddr) -> F,
    ) -> Result<(T, SocketAddr), Fault>
    where
        F: Future<Output = io::Result<T>>,
    {
        let elsewhere = alternative.and_then(|there| there.host.clone());
        let port = alternative.map_or(origin.port, |there| there.port);
        // Its own addresses, in their order and with what was pinned, at perhaps another port.
        let host = match elsewhere {
            Some(host) => Origin {
                host,
                port,
                ..origin.clone()
            },
            None => origin.clone(),
        };
        let peer = Peer::Origin(&host);
        let mut order = self.addresses(peer).await?;
        for address in &mut order {
            address.set_port(port);
        }
        let raced = race(order, &mut Vec::new(), attempt).await;
        let (connection, address) = raced.map_err(|failure| failure.into_fault(peer))?;
        let tcp = SocketAddr::new(address.ip(), host.port);
        self.spread().won(peer.host(), tcp, false);
        Ok((connection, address))
    }

    /// The side of this machine that connections leave from.
    #[cfg(feature = "http3")]
    pub(crate) fn local(&self) -> Option<&Local> {
        self.local.as_ref()
    }

    /// The addresses of a host that may be connected to, in the order in which they are to be tried: never none.
    ///
    /// # Errors
    /// `Resolve`, `AddressRefused`, `Offline` or `Exhausted`.
    pub(crate) async fn addresses(&self, peer: Peer<'_>) -> Result<Vec<SocketAddr>, Fault> {
        let mut found = self.resolve(peer).await?;
        if let Some(family) = self.family {
            found.retain(|address| family.has(address.ip()));
            if found.is_empty() {
                return Err(Fault::Resolve {
                    host: peer.name(),
                    detail: format!("it has no {family} address"),
                });
            }
        }
        if let Peer::Origin(origin) = peer
            && self.no_private
        {
            found = public_only(origin, found)?;
        }
        let order = interleave(&found);
        Ok(self.spread().order(peer.host(), &order, now()))
    }

    /// From now on the origin is asked at this address alone, while it answers.
    pub(crate) fn pin(&self, origin: &Origin, address: SocketAddr) {
        self.spread().pin(Peer::Origin(origin).host(), address);
    }

    /// What stood at this address was no use.
    pub(crate) fn lost(&self, peer: Peer<'_>, address: SocketAddr) {
        self.spread().lost(peer.host(), address, now());
    }

    /// The addresses of the host in the order of the resolver (RFC 6724), none twice, never none.
    async fn resolve(&self, peer: Peer<'_>) -> Result<Vec<SocketAddr>, Fault> {
        let (host, port) = peer.host();
        let bare = bare_host(host);
        if let Ok(literal) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(literal, port)]);
        }
        if let Some(given) = HostEntry::find(&self.hosts, host, port) {
            let given = given.iter().map(|ip| SocketAddr::new(*ip, port));
            return Ok(without_twins(given));
        }
        let no_address = |detail| Fault::Resolve {
            host: peer.name(),
            detail,
        };
        let found = tokio::net::lookup_host((bare, port)).await;
        let found = found.map_err(|error| {
            if is_exhaustion(&error) {
                Fault::Exhausted(io_text(&error))
            } else if is_away(&error) || is_resolver_away(&error) {
                Fault::Offline {
                    host: peer.name(),
                    detail: io_text(&error),
                }
            } else {
                no_address(io_text(&error))
            }
        })?;
        let addresses = without_twins(found);
        if addresses.is_empty() {
            return Err(no_address("the name has no address".to_owned()));
        }
        Ok(addresses)
    }

    fn spread(&self) -> MutexGuard<'_, Spread> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_twins(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long ago an address failed is known here alone, and decides nothing but an order"
)]
fn now() -> Instant {
    Instant::now()
}

/// The host without the brackets of an IPv6 literal.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}

/// The two families in turn, beginning with that of the first address (RFC 8305, section 4).
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ours, mut theirs): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
        .iter()
        .copied()
        .partition(|address| address.is_ipv6() == first_is_v6);
    ours.reverse();
    theirs.reverse();
    let mut order = Vec::with_capacity(addresses.len());
    while !ours.is_empty() || !theirs.is_empty() {
        order.extend(ours.pop());
        order.extend(theirs.pop());
    }
    order
}

/// One attempt. The buffer is set first: the handshake tells the peer how far a window may ever grow.
async fn connect(
    address: SocketAddr,
    receive_buffer: Option<usize>,
    local: Option<&Local>,
) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
    }
    if let Some(local) = local {
        local.bind(SockRef::from(&socket))?;
    }
    socket.connect(address).await
}

/// Small requests leave at once; a peer that is gone is noticed even while nobody reads.
fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

/// True if the resolver could ask nobody for now (EAI_AGAIN, WSATRY_AGAIN): the name itself may be good.
///
/// The standard library hands on what `getaddrinfo` returned as its text alone. A text that is not known here only
/// makes the failure an ordinary one.
fn is_resolver_away(error: &io::Error) -> bool {
    let text = error.to_string();
    error.raw_os_error() == Some(WSATRY_AGAIN)
        || TRY_AGAIN.iter().any(|known| text.ends_with(known))
}

/// EAI_AGAIN in the words of glibc and of musl. The process never sets a locale, so they are not translated.
const TRY_AGAIN: [&str; 2] = ["Temporary failure in name resolution", ": Try again"];
/// Host not found, for now. No number of a Unix error is as large.
const WSATRY_AGAIN: i32 = 11_002;

/// Idle time before the first probe, and between probes.
const KEEPALIVE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
