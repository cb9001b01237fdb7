//! The loopback origin: real sockets on 127.0.0.1, HTTP/1.1 and HTTP/2 with or without TLS, and HTTP/3, on a thread and
//! runtime of its own.
//!
//! Read [`Loopback`] first. Tests may be synchronous, asynchronous or under a paused clock: the origin keeps real
//! time by itself.

mod forget;
mod h3;
mod insert;
mod quic;
mod request;
mod serve;
mod streams;
pub(crate) mod tls;
mod wire;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tur_core::Rate;

use crate::behaviour::{Behaviour, Deed, Link};
use crate::clock;
use crate::content::CHUNK_MAX;
use crate::log::Seen;
use crate::pace;
use crate::stage::Stage;
use crate::strike::Strike;

/// A running origin. Dropping it closes every connection and ends its thread.
#[derive(Debug)]
pub struct Loopback {
    stage: Arc<Stage>,
    address: SocketAddr,
    ca_pem: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How an origin is set up, where the defaults do not fit.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// What holds for all connections.
    pub link: Link,
    /// Address to listen on; `None` is 127.0.0.1. Linux has all of 127.0.0.0/8.
    pub address: Option<Ipv4Addr>,
    /// Port to listen on; 0 lets the system pick one.
    pub port: u16,
    /// `Some` for TLS.
    pub tls: Option<Tls>,
    /// Which protocols it speaks.
    pub speaks: Speaks,
}

/// The protocols that an origin speaks: over TLS as ALPN agrees, in clear text as the client begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1 alone.
    #[default]
    H1,
    /// HTTP/2 alone.
    H2,
    /// Both; HTTP/2 is preferred.
    Both,
    /// HTTP/3 alone, by UDP on the same port; over TCP nobody answers. It needs TLS.
    H3,
}

/// The certificate of an origin, issued by a fresh authority ([`Loopback::ca_pem`]) that nobody else trusts.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The names that the certificate is for: DNS names or IP addresses.
    pub names: Vec<String>,
}

impl Default for Tls {
    /// A certificate for `localhost` and `127.0.0.1`.
    fn default() -> Self {
        Self {
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        }
    }
}

impl Loopback {
    /// Serves paths in clear text. Keys are `/path`, `/path?query` or `host:port/path`, the most exact one wins; a
    /// path without a behaviour is 404.
    ///
    /// # Panics
    /// If the machine has no loopback port, thread or runtime to give.
    pub fn start<P: Into<String>>(behaviours: impl IntoIterator<Item = (P, Behaviour)>) -> Self {
        Self::start_with(Setup::default(), behaviours)
    }

    /// Like [`Loopback::start`], over TLS with a certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Panics
    /// As [`Loopback::start`].
    pub fn start_tls<P: Into<String>>(
        behaviours: impl IntoIterator<Item = (P, Behaviour)>,
    ) -> Self {
        let setup = Setup {
            tls: Some(Tls::default()),
            ..Setup::default()
        };
        Self::start_with(setup, behaviours)
    }

    /// Like [`Loopback::start`], with a set-up. If anything is paced, held or stalls, send buffers are kept
    /// small, so that the bytes counted as sent are close to those that the client took.
    ///
    /// # Panics
    /// As [`Loopback::start`], or if the port is taken or a name cannot stand in a certificate; for HTTP/3 without TLS.
    pub fn start_with<P: Into<String>>(
        setup: Setup,
        behaviours: impl IntoIterator<Item = (P, Behaviour)>,
    ) -> Self {
        let behaviours: Vec<_> = behaviours
            .into_iter()
            .map(|(path, behaviour)| (path.into(), behaviour))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a test machine can build a runtime");
        let buffer = send_buffer(&setup.link, behaviours.iter().map(|(_, b)| b));
        let (tls, ca_pem) = match &setup.tls {
            None => (None, None),
            Some(tls) => {
                let (tls, pem) = tls::config(&tls.names, setup.speaks);
                (Some(tls), Some(pem))
            }
        };
        let entered = runtime.enter();
        let stage = Stage::new(behaviours, setup.link.clone());
        let (address, accepting) = serving(&setup, (tls, buffer), stage.clone());
        drop(entered);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accepting => {}
                    // Told to stop, or the owner is gone: the same.
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self {
            stage,
            address,
            ca_pem,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The URL of a path, e.g. `http://127.0.0.1:40123/file.bin`; over TLS the host is `localhost`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        match self.ca_pem {
            None => format!("http://{}{path}", self.address),
            Some(_) => format!("https://localhost:{}{path}", self.port()),
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The authority that vouches for the origin, in PEM; `None` in clear text.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Gives a path a (new) behaviour from the next request on; its requests are numbered from 1 again.
    pub fn swap(&self, path: &str, behaviour: Behaviour) {
        self.stage.swap(path.to_owned(), behaviour);
    }

    /// Does something to every connection that stands and whose number `every` divides; says how many stand in all.
    pub fn strike(&self, strike: Strike, every: u64) -> usize {
        self.stage.strikes.strike(strike, every)
    }

    /// All requests so far, in the order they came (the first 100 000).
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.stage.log.seen()
    }

    /// Number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.stage.log.requests()
    }

    /// Number of connections so far, refused ones too.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.stage.log.connections()
    }

    /// Body bytes written to sockets so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.stage.log.bytes()
    }

    /// Holds the calling thread until `n` body bytes were sent; false if they were not within `limit`.
    #[must_use]
    pub fn wait_for_bytes(&self, n: u64, limit: Duration) -> bool {
        self.stage.log.wait_for_bytes(n, limit)
    }

    /// Holds the calling thread until `n` requests came; false if they did not within `limit`.
    #[must_use]
    pub fn wait_for_requests(&self, n: u64, limit: Duration) -> bool {
        self.stage.log.wait_for_requests(n, limit)
    }

    /// Waits until `n` body bytes were sent; never ends if they are not.
    pub async fn bytes_reach(&self, n: u64) {
        self.stage.log.bytes_reach(n).await;
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        // Dropping the sender ends the accept loop, the runtime then drops every connection.
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the loopback origin panicked");
        }
    }
}

/// A port on 127.0.0.1 that refuses connections for as long as this lives.
#[derive(Debug)]
pub struct Refusing {
    // Bound and not listening: the system answers with a reset, and gives the port to nobody else.
    socket: TcpSocket,
}

impl Refusing {
    /// Takes a port.
    ///
    /// # Panics
    /// If the machine has no loopback port to give.
    #[must_use]
    pub fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be had");
        socket
            .bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .expect("a loopback port can be had");
        Self { socket }
    }

    /// The port.
    ///
    /// # Panics
    /// Never: a bound socket has an address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.socket
            .local_addr()
            .expect("a bound socket has an address")
            .port()
    }
}

/// The send buffer where bytes are held back: small, but a few slices of the highest rate, because a sender that has
/// no room for a slice waits for the receiver's delayed acknowledgement. `None` is the system's choice.
fn send_buffer<'a>(link: &Link, behaviours: impl Iterator<Item = &'a Behaviour>) -> Option<u32> {
    let holds = |deed: &Deed| match deed {
        Deed::Pace(rate) => Some(slice_of(*rate)),
        Deed::StallAfter(_) | Deed::Hold(_) => Some(0),
        _ => None,
    };
    let slices = behaviours.flat_map(|behaviour| {
        let rules = behaviour.rules.iter().filter_map(|(_, deed)| holds(deed));
        rules.chain(behaviour.pace.map(slice_of))
    });
    let slice = slices.chain(link.bottleneck.map(slice_of)).max()?;
    let few = u32::try_from(4 * slice).expect("a slice is at most a chunk");
    Some(few.max(SEND_BUFFER_SMALL))
}

/// Bytes of a slice at this rate.
fn slice_of(rate: Rate) -> u64 {
    pace::slice(rate, CHUNK_MAX)
}

/// The address, and what takes connections there.
fn serving(
    setup: &Setup,
    (tls, buffer): (Option<Arc<ServerConfig>>, Option<u32>),
    stage: Arc<Stage>,
) -> (SocketAddr, Pin<Box<dyn Future<Output = ()> + Send>>) {
    let at = (setup.address.unwrap_or(Ipv4Addr::LOCALHOST), setup.port);
    if setup.speaks == Speaks::H3 {
        let tls = tls.expect("HTTP/3 needs TLS");
        let listener = h3::listen(at, tls, setup.link.streams).expect("a loopback port can be had");
        let address = listener.address();
        let address = address.expect("a bound socket has an address");
        return (address, Box::pin(h3::accept(listener, stage)));
    }
    let listener = listen(at, buffer).expect("a loopback port can be had");
    let address = listener.local_addr();
    let address = address.expect("a bound socket has an address");
    let acceptor = tls.map(TlsAcceptor::from);
    let accepting = accept(listener, acceptor, (stage, setup.speaks));
    (address, Box::pin(accepting))
}

/// Listens; accepted sockets inherit the buffer size.
pub(crate) fn listen(
    at: (Ipv4Addr, u16),
    send_buffer: Option<u32>,
) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::from(at))?;
    socket.listen(1_024)
}

/// Takes connections until the runtime goes.
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, world: (Arc<Stage>, Speaks)) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clock::launch(serve::connection(stream, acceptor.clone(), world.clone()));
            }
            // The client went away in the queue, or descriptors ran out: let others end, and go on.
            Err(_) => clock::pass(ACCEPT_PAUSE).await,
        }
    }
}

/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Send buffer where bytes are held back, at least: the system doubles it.
const SEND_BUFFER_SMALL: u32 = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_not_buffered_much() {
        let buffer = |link: &Link, behaviour| send_buffer(link, [&behaviour].into_iter());
        let (open, plain) = (Link::default(), || Behaviour::new(1));
        assert_eq!(buffer(&open, plain()), None);
        let slow = plain().pace(Rate::per_second(1_000));
        assert_eq!(buffer(&open, slow), Some(SEND_BUFFER_SMALL));
        let stalls = plain().rule(crate::When::Always, Deed::StallAfter(1));
        assert_eq!(buffer(&open, stalls), Some(SEND_BUFFER_SMALL));
        let mixed = plain().pace(Rate::per_second(1_000));
        let mixed = mixed.rule(crate::When::Always, Deed::Pace(Rate::per_second(4_000_000)));
        assert_eq!(buffer(&open, mixed), Some(160_000));
        let narrow = Link {
            bottleneck: Some(Rate::per_second(u64::MAX)),
            ..Link::default()
        };
        assert_eq!(buffer(&narrow, plain()), Some(256 * 1024));
    }
}
