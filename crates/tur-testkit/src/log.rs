//! What an origin has seen: requests, connections and bytes, for tests to look at.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tur_core::ByteRange;

/// One request as the origin saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method; `GET` unless the client is odd.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Value of `Host`, or the authority that a simulated request was for.
    pub host: String,
    /// The range asked for, half-open; `None` without one, or for a form that names no first byte.
    pub range: Option<ByteRange>,
    /// `If-Range` as it came.
    pub if_range: Option<Vec<u8>>,
    /// All fields in their order, names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The protocol: `h1`, `h2` or `h3`; a simulated connection speaks `h1`.
    pub protocol: &'static str,
    /// Number of the connection, from 1.
    pub connection: u64,
    /// Number of the HTTP/2 stream; 0 elsewhere.
    pub stream: u32,
    /// Time since the origin started.
    pub at: Duration,
    /// Status of the answer; 0 if none was begun.
    pub status: u16,
    /// Body bytes handed to the socket, or to the simulated client.
    pub sent: u64,
}

impl Seen {
    /// The first value of a field; `name` in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| &value[..])
    }
}

/// Requests that are remembered one by one; later ones are only counted.
const SEEN_MAX: usize = 100_000;

/// The shared record of one origin.
#[derive(Debug)]
pub(crate) struct Log {
    start: Instant,
    book: Mutex<Book>,
    grown: Condvar,
    sent: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Book {
    seen: Vec<Seen>,
    requests: u64,
    connections: u64,
    bytes: u64,
}

impl Log {
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            book: Mutex::default(),
            grown: Condvar::new(),
            sent: watch::Sender::new(0),
        }
    }

    /// Counts a connection and gives it its number.
    pub(crate) fn connected(&self) -> u64 {
        let mut book = self.book();
        book.connections += 1;
        self.grown.notify_all();
        book.connections
    }

    /// Writes a request down; the index is for [`Log::status`] and [`Log::sends`].
    pub(crate) fn requested(&self, mut seen: Seen, now: Instant) -> usize {
        seen.at = now.saturating_duration_since(self.start);
        let mut book = self.book();
        book.requests += 1;
        if book.seen.len() < SEEN_MAX {
            book.seen.push(seen);
            self.grown.notify_all();
            book.seen.len() - 1
        } else {
            usize::MAX
        }
    }

    pub(crate) fn status(&self, index: usize, status: u16) {
        if let Some(seen) = self.book().seen.get_mut(index) {
            seen.status = status;
        }
    }

    /// Lets body bytes be sent and counts them, as one act: who has received a byte finds it counted.
    pub(crate) fn sends<T>(&self, index: usize, send: impl FnOnce() -> (u64, T)) -> T {
        let mut book = self.book();
        let (bytes, result) = send();
        if bytes == 0 {
            return result;
        }
        book.bytes += bytes;
        if let Some(seen) = book.seen.get_mut(index) {
            seen.sent += bytes;
        }
        self.sent.send_replace(book.bytes);
        self.grown.notify_all();
        result
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.book().seen.clone()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.book().requests
    }

    pub(crate) fn connections(&self) -> u64 {
        self.book().connections
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.book().bytes
    }

    /// Holds the calling thread until `n` body bytes were sent; false after `limit`.
    pub(crate) fn wait_for_bytes(&self, n: u64, limit: Duration) -> bool {
        self.wait(limit, |book| book.bytes >= n)
    }

    /// Holds the calling thread until `n` requests came; false after `limit`.
    pub(crate) fn wait_for_requests(&self, n: u64, limit: Duration) -> bool {
        self.wait(limit, |book| book.requests >= n)
    }

    fn wait(&self, limit: Duration, reached: impl Fn(&Book) -> bool) -> bool {
        let waited = self
            .grown
            .wait_timeout_while(self.book(), limit, |book| !reached(book))
            .unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }

    /// Waits until `n` body bytes were sent.
    pub(crate) async fn bytes_reach(&self, n: u64) {
        // An error would say that the sender is gone, and it lives as long as we do.
        self.sent
            .subscribe()
            .wait_for(|sent| *sent >= n)
            .await
            .map(drop)
            .expect("the log holds the sender");
    }

    /// A test that panicked elsewhere leaves a record that can still be read.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
