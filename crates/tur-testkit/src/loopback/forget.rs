//! A UDP socket that endpoints use one after the other, as those of a server that has lost its memory do.
//!
//! Read [`Listener`]. An endpoint whose turn is over hears nothing more, and what it says is lost; the next one knows none of the
//! connections, but has the key that their clients recognise a stateless reset by (RFC 9000, section 10.3).

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Runtime,
    ServerConfig, TokioRuntime, UdpPoller,
};

/// A socket, and what endpoints on it are made of.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Arc<dyn AsyncUdpSocket>,
    turn: Arc<AtomicU64>,
    config: EndpointConfig,
    server: ServerConfig,
}

impl Listener {
    /// Must be called on the runtime that is to drive the connections.
    pub(super) fn bind(at: (Ipv4Addr, u16), server: ServerConfig) -> io::Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::from(at))?;
        let mut config = EndpointConfig::default();
        let numbers = Arc::new(AtomicU64::new(1));
        config.cid_generator(move || Box::new(Numbers(Arc::clone(&numbers))));
        Ok(Self {
            socket: TokioRuntime.wrap_udp_socket(socket)?,
            turn: Arc::default(),
            config,
            server,
        })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// An endpoint that knows no connection; the turn of the one before is over.
    pub(super) fn endpoint(&self) -> io::Result<Endpoint> {
        let mine = self.turn.fetch_add(1, Ordering::Relaxed) + 1;
        let socket = Turn {
            socket: Arc::clone(&self.socket),
            turn: Arc::clone(&self.turn),
            mine,
        };
        let (config, server) = (self.config.clone(), self.server.clone());
        let runtime = Arc::new(TokioRuntime);
        Endpoint::new_with_abstract_socket(config, Some(server), Arc::new(socket), runtime)
    }
}

/// The socket as one endpoint has it.
#[derive(Debug)]
struct Turn {
    socket: Arc<dyn AsyncUdpSocket>,
    turn: Arc<AtomicU64>,
    mine: u64,
}

impl Turn {
    fn is_over(&self) -> bool {
        self.turn.load(Ordering::Relaxed) != self.mine
    }
}

impl AsyncUdpSocket for Turn {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.socket).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.is_over() {
            true => Ok(()),
            false => self.socket.try_send(transmit),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        match self.is_over() {
            true => Poll::Pending,
            false => self.socket.poll_recv(cx, bufs, meta),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Connections are numbered, so that no endpoint takes one of another one for its own.
#[derive(Debug)]
struct Numbers(Arc<AtomicU64>);

impl ConnectionIdGenerator for Numbers {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes())
    }

    fn cid_len(&self) -> usize {
        size_of::<u64>()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
