//! A UDP socket that endpoints use one after the other, as those of a server that has lost its memory do.
//!
//! Read [`Listener`]. An endpoint whose [`Shift`] is over hears nothing more, and what it says is lost; the next one knows none of
//! the connections, but has the key that their clients recognise a stateless reset by (RFC 9000, section 10.3).

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
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
    shifts: Arc<Shifts>,
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
            shifts: Arc::default(),
            config,
            server,
        })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// An endpoint that knows no connection, for as long as its shift lasts; that of the one before is over.
    pub(super) fn endpoint(&self) -> io::Result<(Endpoint, Arc<Shift>)> {
        let shift = Arc::new(Shift {
            socket: Arc::clone(&self.socket),
            mine: self.shifts.now.fetch_add(1, Ordering::Relaxed) + 1,
            shifts: Arc::clone(&self.shifts),
        });
        let (config, server) = (self.config.clone(), self.server.clone());
        let runtime = Arc::new(TokioRuntime);
        let socket = Arc::clone(&shift);
        let endpoint = Endpoint::new_with_abstract_socket(config, Some(server), socket, runtime)?;
        Ok((endpoint, shift))
    }
}

/// Whose shift it is.
#[derive(Debug, Default)]
struct Shifts {
    now: AtomicU64,
    /// Who reads, by shift, and how to wake it. The socket knows one reader: the last one that asked it.
    reader: Mutex<Option<(u64, Waker)>>,
}

impl Shifts {
    /// This one reads, unless a later one does.
    fn await_by(&self, mine: u64, waker: &Waker) {
        let mut reader = self.reader();
        if reader.as_ref().is_none_or(|(shift, _)| *shift <= mine) {
            *reader = Some((mine, waker.clone()));
        }
    }

    /// What woke this one was meant for a later one.
    fn pass_on(&self, mine: u64) {
        if let Some((_, waker)) = self.reader().take_if(|(shift, _)| *shift > mine) {
            waker.wake();
        }
    }

    fn reader(&self) -> MutexGuard<'_, Option<(u64, Waker)>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket as one endpoint has it.
#[derive(Debug)]
pub(super) struct Shift {
    socket: Arc<dyn AsyncUdpSocket>,
    mine: u64,
    shifts: Arc<Shifts>,
}

impl Shift {
    /// Ends it, if it is not over yet: nothing is said any more, not even good-bye.
    pub(super) fn end(&self) {
        let (mine, next) = (self.mine, self.mine + 1);
        let now = &self.shifts.now;
        // Where it differs, the next endpoint has the shift already.
        now.compare_exchange(mine, next, Ordering::Relaxed, Ordering::Relaxed)
            .ok();
    }

    fn is_over(&self) -> bool {
        self.shifts.now.load(Ordering::Relaxed) != self.mine
    }
}

impl AsyncUdpSocket for Shift {
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
        if !self.is_over() {
            self.shifts.await_by(self.mine, cx.waker());
            let polled = self.socket.poll_recv(cx, bufs, meta);
            // Over meanwhile, the socket may have taken this one for its reader.
            if polled.is_ready() || !self.is_over() {
                return polled;
            }
        }
        self.shifts.pass_on(self.mine);
        Poll::Pending
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
