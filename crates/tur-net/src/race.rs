//! The race of a host's addresses (RFC 8305): attempts that begin one after the other, and the first to connect wins.
//!
//! Read [`race`]. What it tells when all have failed is the [`Failure`] that says most.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use tur_core::Fault;

use crate::dial::Peer;
use crate::stream::io_text;

/// Why an address could not be connected to.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) address: SocketAddr,
    pub(crate) error: io::Error,
}

impl Failure {
    pub(crate) fn into_fault(self, peer: Peer<'_>) -> Fault {
        let host = peer.to_string();
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
/// to connect wins and the others are dropped (RFC 8305, section 5). Those that failed, or were overtaken by one that began
/// later, are put into `behind`.
pub(crate) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    behind: &mut Vec<SocketAddr>,
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
        behind,
    };
    poll_fn(|cx| race.poll(cx)).await
}

struct Race<'a, A, F> {
    waiting: std::vec::IntoIter<SocketAddr>,
    attempt: A,
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    stagger: Pin<Box<Sleep>>,
    /// The failure to report if all fail: the last one of the most telling class.
    failure: Option<Failure>,
    behind: &'a mut Vec<SocketAddr>,
}

impl<T, A, F> Race<'_, A, F>
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
                Poll::Ready(Ok(connected)) => {
                    let overtaken = self.running.iter().take(at).map(|(address, _)| *address);
                    self.behind.extend(overtaken);
                    return Some((connected, address));
                }
                Poll::Ready(Err(error)) => {
                    drop(self.running.remove(at));
                    self.keep(Failure { address, error });
                }
            }
        }
        None
    }

    fn keep(&mut self, failure: Failure) {
        self.behind.push(failure.address);
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

/// True if no descriptor or memory was left.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
        || error
            .raw_os_error()
            .is_some_and(|code| EXHAUSTED.contains(&code))
}

/// True if no packet could leave: the interface is down, or there is no route.
pub(crate) fn is_away(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// ENFILE and EMFILE, which are the same numbers on every Unix and have no `ErrorKind`; WSAEMFILE and WSAENOBUFS.
#[cfg(unix)]
const EXHAUSTED: [i32; 2] = [23, 24];
#[cfg(not(unix))]
const EXHAUSTED: [i32; 2] = [10_024, 10_055];

/// RFC 8305, section 5: the recommended delay between attempts.
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;
