//! A port of UDP through which a server is reached, until it is blocked.
//!
//! Read [`Relay`]. One client at a time: what the server says goes to whoever spoke last.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

/// Hands datagrams on in both directions; dropped, it ends.
#[derive(Debug)]
pub(super) struct Relay {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing is handed on any more, and nobody is told.
    blocked: AtomicBool,
    over: AtomicBool,
    /// Datagrams that clients sent.
    heard: AtomicU64,
    client: Mutex<Option<SocketAddr>>,
}

impl Relay {
    /// A relay to a port of the loopback interface.
    ///
    /// # Errors
    /// The system has no socket.
    pub(super) fn to(server: u16) -> Result<Self> {
        let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        back.connect((Ipv4Addr::LOCALHOST, server))?;
        // Looked up from now and then, so that the end is seen.
        front.set_read_timeout(Some(LOOK))?;
        back.set_read_timeout(Some(LOOK))?;
        let relay = Self {
            port: front.local_addr()?.port(),
            state: Arc::default(),
        };
        let (their_front, their_back) = (front.try_clone()?, back.try_clone()?);
        let state = Arc::clone(&relay.state);
        std::thread::spawn(move || state.to_the_server(&front, &back));
        let state = Arc::clone(&relay.state);
        std::thread::spawn(move || state.to_the_client(&their_back, &their_front));
        Ok(relay)
    }

    /// Where clients speak to.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes.
    pub(super) fn block(&self) {
        self.state.blocked.store(true, Ordering::Relaxed);
    }

    /// Datagrams that clients sent so far.
    pub(super) fn heard(&self) -> u64 {
        self.state.heard.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn to_the_server(&self, front: &UdpSocket, back: &UdpSocket) {
        let mut datagram = vec![0; DATAGRAM_MAX];
        while !self.over.load(Ordering::Relaxed) {
            let Ok((length, client)) = front.recv_from(&mut datagram) else {
                continue;
            };
            self.heard.fetch_add(1, Ordering::Relaxed);
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
            if !self.blocked.load(Ordering::Relaxed) {
                // What is not taken is lost, as datagrams are.
                back.send(&datagram[..length]).ok();
            }
        }
    }

    fn to_the_client(&self, back: &UdpSocket, front: &UdpSocket) {
        let mut datagram = vec![0; DATAGRAM_MAX];
        while !self.over.load(Ordering::Relaxed) {
            let Ok(length) = back.recv(&mut datagram) else {
                continue;
            };
            let client = *self.client.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(client) = client.filter(|_| !self.blocked.load(Ordering::Relaxed)) {
                front.send_to(&datagram[..length], client).ok();
            }
        }
    }
}

const DATAGRAM_MAX: usize = 64 * 1024;
const LOOK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_pass_until_it_is_blocked() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        server.set_read_timeout(Some(LOOK)).unwrap();
        let relay = Relay::to(server.local_addr().unwrap().port()).unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        client.connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        let mut datagram = [0; 10];
        client.send(b"question").unwrap();
        let (length, back) = loop {
            // The relay's thread may not run yet.
            if let Ok(came) = server.recv_from(&mut datagram) {
                break came;
            }
        };
        assert_eq!(&datagram[..length], b"question");
        server.send_to(b"answer", back).unwrap();
        assert_eq!(client.recv(&mut datagram).unwrap(), 6);
        relay.block();
        client.send(b"more").unwrap();
        while relay.heard() < 2 {
            std::thread::yield_now();
        }
        assert!(server.recv(&mut datagram).is_err(), "it passed");
    }
}
