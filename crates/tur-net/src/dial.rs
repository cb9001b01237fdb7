//! From an origin to a TCP connection: names resolved, addresses raced (RFC 8305), socket options set.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Sleep;
use tur_core::{Fault, Origin};

use crate::public::public_only;
use crate::stream::io_text;

/// Connects to the first address of `origin` that answers, with a receive buffer of so many bytes if one is given, and
/// only to public ones if that is asked for: those that are checked are those that are connected to.
///
/// # Errors
/// `Resolve`, `AddressRefused`, `Connect`, `Offline` or `Exhausted`. The limit of time is the caller's.
pub(crate) async fn dial(
    origin: &Origin,
    receive_buffer: Option<usize>,
    no_private: bool,
) -> Result<(TcpStream, SocketAddr), Fault> {
    let mut addresses = resolve(origin).await?;
    if no_private {
        addresses = public_only(origin, addresses)?;
    }
    let (tcp, address) = race(interleave(&addresses), |address| {
        connect(address, receive_buffer)
    })
    .await
    .map_err(|failure| failure.into_fault(origin))?;
    prepare(&tcp).map_err(|error| {
        let failure = Failure { address, error };
        failure.into_fault(origin)
    })?;
    Ok((tcp, address))
}

/// The addresses of the origin in the order of the resolver (RFC 6724), none twice, never empty.
async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, Fault> {
    let bare = bare_host(&origin.host);
    if let Ok(literal) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, origin.port)]);
    }
    let no_address = |detail| Fault::Resolve {
        host: origin.host.clone(),
        detail,
    };
    let found = tokio::net::lookup_host((bare, origin.port))
        .await
        .map_err(|error| {
            if is_exhaustion(&error) {
                Fault::Exhausted(io_text(&error))
            } else if is_away(&error) || is_resolver_away(&error) {
                Fault::Offline {
                    host: origin.host.clone(),
                    detail: io_text(&error),
                }
            } else {
                no_address(io_text(&error))
            }
        })?;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(no_address("the name has no address".to_owned()));
    }
    Ok(addresses)
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

/// Why an address could not be connected to.
#[derive(Debug)]
struct Failure {
    address: SocketAddr,
    error: io::Error,
}

impl Failure {
    fn into_fault(self, origin: &Origin) -> Fault {
        let host = format!("{}:{}", origin.host, origin.port);
        let detail = io_text(&self.error);
        match self.class() {
            Class::Away => Fault::Offline { host, detail },
            Class::Refused => Fault::Connect { host, detail },
            Class::Exhausted => Fault::Exhausted(detail),
        }
    }

    /// "Address not available" means that ports ran out on IPv4; on IPv6 it mostly means that this host has none.
    fn class(&self) -> Class {
        let unavailable = self.error.kind() == io::ErrorKind::AddrNotAvailable;
        if is_exhaustion(&self.error) || (unavailable && self.address.is_ipv4()) {
            Class::Exhausted
        } else if is_away(&self.error) || unavailable {
            Class::Away
        } else {
            Class::Refused
        }
    }
}

/// What a failure says, the least telling first: that one family has no route is normal while the other has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// No packet could leave.
    Away,
    /// Somebody, or nobody, answered.
    Refused,
    /// Nothing was left here to connect with.
    Exhausted,
}

/// Starts an attempt at each address in turn, the next one after [`STAGGER`] or as soon as one has failed; the first
/// to connect wins and the others are dropped (RFC 8305, section 5).
async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(T, SocketAddr), Failure>
where
    F: Future<Output = io::Result<T>>,
{
    let mut race = Race {
        waiting: addresses.into_iter(),
        attempt,
        running: Vec::new(),
        stagger: stagger(),
        failure: None,
    };
    poll_fn(|cx| race.poll(cx)).await
}

struct Race<A, F> {
    waiting: std::vec::IntoIter<SocketAddr>,
    attempt: A,
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    stagger: Pin<Box<Sleep>>,
    /// The failure to report if all fail: the last one of the most telling class.
    failure: Option<Failure>,
}

impl<T, A, F> Race<A, F>
where
    A: Fn(SocketAddr) -> F,
    F: Future<Output = io::Result<T>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(T, SocketAddr), Failure>> {
        let mut start = self.running.is_empty();
        loop {
            if start && let Some(address) = self.waiting.next() {
                self.running
                    .push((address, Box::pin((self.attempt)(address))));
                self.stagger = stagger();
            }
            let before = self.running.len();
            if let Some(winner) = self.poll_running(cx) {
                return Poll::Ready(Ok(winner));
            }
            let one_failed = self.running.len() < before;
            if self.waiting.len() == 0 {
                return if self.running.is_empty() {
                    Poll::Ready(Err(self.failure.take().unwrap_or_else(no_addresses)))
                } else {
                    Poll::Pending
                };
            }
            start = one_failed || self.stagger.as_mut().poll(cx).is_ready();
            if !start {
                return Poll::Pending;
            }
        }
    }

    /// Polls every running attempt; failed ones are taken out.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Option<(T, SocketAddr)> {
        let mut at = 0;
        while let Some((address, attempt)) = self.running.get_mut(at) {
            let address = *address;
            match attempt.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(connected)) => return Some((connected, address)),
                Poll::Ready(Err(error)) => {
                    drop(self.running.remove(at));
                    self.keep(Failure { address, error });
                }
            }
        }
        None
    }

    fn keep(&mut self, failure: Failure) {
        let kept = self.failure.as_ref().map(Failure::class);
        if kept.is_none_or(|kept| failure.class() >= kept) {
            self.failure = Some(failure);
        }
    }
}

fn no_addresses() -> Failure {
    Failure {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        error: io::Error::from(io::ErrorKind::NotFound),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stagger of a race of addresses is part of connecting"
)]
fn stagger() -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(STAGGER))
}

/// One attempt. The buffer is set first: the handshake tells the peer how far a window may ever grow.
async fn connect(address: SocketAddr, receive_buffer: Option<usize>) -> io::Result<TcpStream> {
    let Some(bytes) = receive_buffer else {
        return TcpStream::connect(address).await;
    };
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_recv_buffer_size(u32::try_from(bytes).unwrap_or(u32::MAX))?;
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

/// True if no descriptor or memory was left.
fn is_exhaustion(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || error
            .raw_os_error()
            .is_some_and(|code| EXHAUSTED.contains(&code))
}

/// True if no packet could leave: the interface is down, or there is no route.
fn is_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
    )
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

/// ENFILE and EMFILE, which are the same numbers on every Unix and have no `ErrorKind`; WSAEMFILE and WSAENOBUFS.
#[cfg(unix)]
const EXHAUSTED: [i32; 2] = [23, 24];
#[cfg(not(unix))]
const EXHAUSTED: [i32; 2] = [10_024, 10_055];

/// RFC 8305, section 5: the recommended delay between attempts.
const STAGGER: Duration = Duration::from_millis(250);
/// Idle time before the first probe, and between probes.
const KEEPALIVE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
