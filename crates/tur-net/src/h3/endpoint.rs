//! The UDP sockets of a transport, one for each family of addresses, and the runtime that drives them.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use quinn::{
    AsyncTimer, AsyncUdpSocket, ConnectError, Connecting, Endpoint, EndpointConfig, Runtime,
    TokioRuntime,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::Spawner;
use crate::local::Local;

use super::turns::Turns;

/// The endpoints, each made when the first connection needs it and kept for as long as the transport lives.
#[derive(Debug)]
pub(crate) struct Endpoints {
    spawner: Spawner,
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

impl Endpoints {
    pub(crate) fn new(spawner: Spawner) -> Self {
        Self {
            spawner,
            v4: Mutex::new(None),
            v6: Mutex::new(None),
        }
    }

    /// Begins a handshake with the host of that name, from that side of this machine. Must be called on the runtime that is to drive the connection.
    ///
    /// # Errors
    /// What the system says about the socket; `InvalidInput` for what quinn does not take.
    pub(super) fn connect(
        &self,
        (address, name): (SocketAddr, &str),
        local: Option<&Local>,
        config: quinn::ClientConfig,
    ) -> io::Result<Connecting> {
        let slot = if address.is_ipv4() {
            &self.v4
        } else {
            &self.v6
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = slot.as_ref() {
            match endpoint.connect_with(config.clone(), address, name) {
                // Whoever drove it is gone: a new one is driven by who is here now.
                Err(ConnectError::EndpointStopping) => *slot = None,
                begun => return begun.map_err(invalid),
            }
        }
        let socket = socket(address.is_ipv4(), local)?;
        let runtime = Arc::new(Spawned {
            spawner: self.spawner.clone(),
            turns: Turns::default(),
        });
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)?;
        slot.insert(endpoint)
            .connect_with(config, address, name)
            .map_err(invalid)
    }
}

fn invalid(error: ConnectError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// A socket whose buffers hold what comes while the runtime is busy: the usual ones are for questions to name servers.
fn socket(v4: bool, local: Option<&Local>) -> io::Result<UdpSocket> {
    let (domain, any) = if v4 {
        (Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    } else {
        (Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if !v4 {
        socket.set_only_v6(true)?;
    }
    let sized = socket
        .set_recv_buffer_size(BUFFER)
        .and_then(|()| socket.set_send_buffer_size(BUFFER));
    if let Err(error) = sized {
        tracing::debug!(%error, "the buffers of a UDP socket stay as they are");
    }
    if let Some(local) = local {
        local.bind(SockRef::from(&socket))?;
    }
    if !matches!(local, Some(Local::Address(_))) {
        socket.bind(&any.into())?;
    }
    Ok(socket.into())
}

/// tokio's sockets and timers, with the caller's way to run what drives one endpoint and its connections.
#[derive(Debug)]
struct Spawned {
    spawner: Spawner,
    turns: Turns,
}

impl Runtime for Spawned {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawner.spawn(self.turns.of(future));
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// Bytes of the socket's buffers: 30 ms at 1 Gbit/s. The system may allow less.
const BUFFER: usize = 4 * 1024 * 1024;
