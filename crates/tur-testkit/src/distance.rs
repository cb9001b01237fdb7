//! A long way to a server on this machine: what passes comes half a round trip later, and no faster than a link carries.
//!
//! Read [`Distance`]. It is made of relays in user space: no privileges, no kernel module. What it does not show is what
//! TCP does on a real path, slow start and loss: both ends speak with the relay next to them, which acknowledges at once.
#![expect(
    clippy::disallowed_methods,
    reason = "it delays real bytes by a real clock, in threads of its own: timers of a runtime are too coarse"
)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tur_core::Rate;

/// What a way is like.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Round-trip time. TCP's own handshake is charged to the first bytes of a client: they come one round trip later
    /// still, because a client is connected with the relay at once.
    pub rtt: Duration,
    /// What the link carries towards clients, over all connections; `None` for as much as comes.
    pub rate: Option<Rate>,
}

/// A port on 127.0.0.1 that leads to a server over a long way. It stays for as long as the process: for benchmarks.
#[derive(Debug)]
pub struct Distance {
    port: u16,
}

impl Distance {
    /// A way to `server`.
    ///
    /// # Errors
    /// The machine has no loopback port to give.
    pub fn to(server: SocketAddr, way: Way) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let link = Arc::new(Link::new(way.rate));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who cannot be served is let go: the client sees the close.
                drop(relay(client, server, way, &link));
            }
        });
        Ok(Self { port })
    }

    /// The port that clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Begins the four threads of a connection.
fn relay(client: TcpStream, server: SocketAddr, way: Way, link: &Arc<Link>) -> io::Result<()> {
    let came = Instant::now();
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let half = way.rtt / 2;
    let (far, near) = (server.try_clone()?, client.try_clone()?);
    let requests = Carrying {
        half,
        not_before: came + way.rtt,
        link: None,
    };
    let answers = Carrying {
        half,
        not_before: came,
        link: Some(Arc::clone(link)),
    };
    carry(client, far, requests);
    carry(server, near, answers);
    Ok(())
}

/// One direction of a connection.
struct Carrying {
    half: Duration,
    /// Nothing sets out before.
    not_before: Instant,
    link: Option<Arc<Link>>,
}

fn carry(from: TcpStream, to: TcpStream, carrying: Carrying) {
    let road = Arc::new(Road::default());
    let other = Arc::clone(&road);
    // An error is a side that went away: the road ends there, and the other side is told.
    std::thread::spawn(move || {
        drop(set_out(from, &road, &carrying));
        road.end(carrying.half);
    });
    std::thread::spawn(move || {
        drop(arrive(&to, &other));
        drop(to.shutdown(Shutdown::Write));
        other.close();
    });
}

/// Reads what is sent, and puts it on the road.
fn set_out(mut from: TcpStream, road: &Road, carrying: &Carrying) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        if let Some(link) = &carrying.link {
            link.has_room();
        }
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        let now = Instant::now().max(carrying.not_before);
        let sent = match &carrying.link {
            Some(link) => link.pass(now, n as u64),
            None => now,
        };
        let goes = road.put(Slice {
            due: sent + carrying.half,
            bytes: buffer[..n].to_vec(),
        });
        if !goes {
            // Nobody is there to take it: the sender is to notice.
            return from.shutdown(Shutdown::Both);
        }
    }
}

/// Hands over what has come to the end of the road.
fn arrive(mut to: &TcpStream, road: &Road) -> io::Result<()> {
    while let Some(slice) = road.take() {
        wait_until(slice.due);
        to.write_all(&slice.bytes)?;
    }
    Ok(())
}

fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

/// Bytes on their way.
struct Slice {
    due: Instant,
    bytes: Vec<u8>,
}

/// One direction: what is on its way, bounded.
#[derive(Default)]
struct Road {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    slices: VecDeque<Slice>,
    bytes: usize,
    /// Nothing more sets out.
    ended: bool,
    /// Nobody takes what arrives.
    closed: bool,
}

impl Road {
    /// Waits for room; false if nobody takes it any more.
    fn put(&self, slice: Slice) -> bool {
        let full = |state: &mut State| state.bytes >= ROAD && !state.closed;
        let waited = self.changed.wait_while(self.state(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.bytes += slice.bytes.len();
        state.slices.push_back(slice);
        self.changed.notify_all();
        !state.closed
    }

    fn take(&self) -> Option<Slice> {
        let empty = |state: &mut State| state.slices.is_empty() && !state.ended;
        let waited = self.changed.wait_while(self.state(), empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let slice = state.slices.pop_front()?;
        state.bytes -= slice.bytes.len();
        self.changed.notify_all();
        Some(slice)
    }

    /// The end comes along the same road.
    fn end(&self, half: Duration) {
        let due = Instant::now() + half;
        let bytes = Vec::new();
        self.put(Slice { due, bytes });
        self.state().ended = true;
        self.changed.notify_all();
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What all connections share on the way to clients.
struct Link {
    rate: Option<Rate>,
    /// When it has carried what was given to it.
    free: Mutex<Option<Instant>>,
}

impl Link {
    fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            free: Mutex::default(),
        }
    }

    /// Waits while more is queued than a router keeps: senders are held back then, as they would be there.
    fn has_room(&self) {
        let free = *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = free.and_then(|free| free.checked_sub(QUEUE)) {
            wait_until(ready);
        }
    }

    /// When the bytes have passed.
    fn pass(&self, now: Instant, bytes: u64) -> Instant {
        let Some(rate) = self.rate else { return now };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = free.map_or(now, |free| free.max(now)) + rate.time_for(bytes);
        *free = Some(passed);
        passed
    }
}

/// Bytes of one read: at most this much leaves at once.
const READ: usize = 64 * 1024;
/// Bytes of one direction of one connection on their way at most: at 50 ms that is more than a gigabyte per second.
const ROAD: usize = 32 << 20;
/// Time in which what is queued before the link is carried.
const QUEUE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what comes, until the client says that it has said all.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            }
        });
        address
    }

    #[test]
    fn what_passes_is_whole_and_late_and_ends() {
        let way = Way {
            rtt: Duration::from_millis(40),
            rate: None,
        };
        let distance = Distance::to(echo(), way).unwrap();
        let began = Instant::now();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, distance.port())).unwrap();
        let mut byte = [7];
        client.write_all(&byte).unwrap();
        client.read_exact(&mut byte).unwrap();
        assert!(began.elapsed() >= 2 * way.rtt, "connect, and a round trip");
        let began = Instant::now();
        client.write_all(&byte).unwrap();
        client.read_exact(&mut byte).unwrap();
        assert!(began.elapsed() >= way.rtt);
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut writing = client.try_clone().unwrap();
        let text = sent.clone();
        let writer = std::thread::spawn(move || {
            writing.write_all(&text).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut seen = Vec::new();
        client.read_to_end(&mut seen).unwrap();
        writer.join().unwrap();
        assert!(seen == sent);
    }

    #[test]
    fn a_link_carries_no_more_than_its_rate() {
        let link = Link::new(Some(Rate::per_second(1_000_000)));
        let now = Instant::now();
        let ms = |n| now + Duration::from_millis(n);
        assert_eq!(link.pass(now, 20_000), ms(20));
        assert_eq!(link.pass(ms(5), 20_000), ms(40), "behind the first");
        assert_eq!(link.pass(ms(100), 20_000), ms(120));
        assert_eq!(Link::new(None).pass(now, u64::MAX), now);
    }
}
