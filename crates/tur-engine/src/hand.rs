//! Handing bytes to whoever takes them: in order, each once, whatever comes again, and whatever the taker does.
//!
//! Read [`Hand`]. The driver and the flow of a fetch share one; they take turns on the data thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tur_core::{Chunks, Kind, Timestamp};

use crate::Error;
use crate::careful::{caught, quietly};
use crate::clock::Clock;
use crate::fetch::{Full, Head, Taker};

/// The taker of a fetch, and what it has been given. Clones share it.
#[derive(Clone)]
pub(crate) struct Hand {
    shared: Arc<Mutex<Shared>>,
    clock: Clock,
}

struct Shared {
    /// `None` once it has panicked.
    taker: Option<Box<dyn Taker>>,
    /// The byte that it gets next.
    next: u64,
    /// When it got the first one, and the last one.
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// True while it has no room.
    full: bool,
}

/// Why the taker takes no more.
#[derive(Debug)]
pub(crate) enum Fallen {
    /// It panicked, with this message.
    Panicked(String),
    /// It has got as much as it may, in bytes, and more comes.
    Full(u64),
}

/// Why an answer is not taken.
#[derive(Debug)]
pub(crate) enum Declined {
    /// The taker does not want it.
    Refused(String),
    /// It panicked.
    Fallen(Fallen),
}

/// One body on its way to the taker.
pub(crate) struct Handing {
    hand: Hand,
    cursor: u64,
    /// True once it has brought the very first byte, until that was asked for.
    began: bool,
}

impl Hand {
    /// `taker` gets bytes from `start` on.
    pub(crate) fn new(taker: Box<dyn Taker>, start: u64, clock: Clock) -> Self {
        let shared = Shared {
            taker: Some(taker),
            next: start,
            first: None,
            last: None,
            full: false,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            clock,
        }
    }

    /// A body whose first byte is that at `start`.
    pub(crate) fn body(&self, start: u64) -> Handing {
        Handing {
            hand: self.clone(),
            cursor: start,
            began: false,
        }
    }

    /// Shows the first answer.
    pub(crate) fn head(&self, head: &Head) -> Result<(), Declined> {
        match self.lock().call(|taker| taker.head(head)) {
            Ok(taken) => taken.map_err(Declined::Refused),
            Err(fallen) => Err(Declined::Fallen(fallen)),
        }
    }

    /// The soft time-out has passed.
    pub(crate) fn slow(&self) -> Result<(), Fallen> {
        self.lock().call(|taker| taker.slow())
    }

    /// The byte that the taker gets next.
    pub(crate) fn next(&self) -> u64 {
        self.lock().next
    }

    /// When the taker got its first byte.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.lock().first
    }

    /// When it got its last one.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.lock().last
    }

    /// True if it had no room when it was asked last.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().full
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // What the taker does is caught, and nothing else in here panics while a field is half changed.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handing {
    /// Where the next byte of the body belongs.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Ready when the taker has room.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Fallen>> {
        let mut shared = self.hand.lock();
        match shared.call(|taker| taker.poll_room(cx)) {
            Ok(room) => {
                shared.full = room.is_pending();
                room.map(Ok)
            }
            Err(fallen) => Poll::Ready(Err(fallen)),
        }
    }

    /// True, once, after the taker has got its first byte.
    pub(crate) fn take_began(&mut self) -> bool {
        std::mem::take(&mut self.began)
    }

    /// Hands on the first `len` bytes of `chunks`, which are all there is of them, but for those that the taker has or does
    /// not want. Returns how many that were.
    pub(crate) fn take(&mut self, chunks: &mut Chunks, len: usize) -> Result<usize, Fallen> {
        assert_eq!(chunks.len(), len, "what is not granted was dropped");
        let now = self.hand.clock.now();
        let mut shared = self.hand.lock();
        let had = shared.next.saturating_sub(self.cursor).min(len as u64);
        let had = usize::try_from(had).unwrap_or(len);
        chunks.advance(had);
        self.cursor += len as u64;
        if had == len {
            return Ok(had);
        }
        assert_eq!(
            shared.next + (len - had) as u64,
            self.cursor,
            "bytes are handed on in order"
        );
        shared.next = self.cursor;
        self.began |= shared.first.is_none();
        shared.first.get_or_insert(now);
        shared.last = Some(now);
        while let Some(bytes) = chunks.pop() {
            let taken = shared.call(|taker| taker.take(bytes))?;
            taken.map_err(|Full(most)| Fallen::Full(most))?;
        }
        Ok(had)
    }
}

impl Shared {
    fn call<R>(&mut self, how: impl FnOnce(&mut dyn Taker) -> R) -> Result<R, Fallen> {
        let Some(taker) = self.taker.as_deref_mut() else {
            return Err(Fallen::Panicked("it had panicked before".to_owned()));
        };
        // What a panic leaves half done is the taker's own, and it is never called again.
        caught(|| how(taker)).map_err(|panic| {
            quietly(self.taker.take());
            Fallen::Panicked(panic)
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        quietly(self.taker.take());
    }
}

impl From<Fallen> for Error {
    fn from(fallen: Fallen) -> Self {
        match fallen {
            Fallen::Panicked(text) => {
                let message = format!("who takes the bytes panicked: {text}");
                Error::new(Kind::Other, message)
            }
            Fallen::Full(most) => {
                let message = format!("more than {most} bytes come, which is the limit");
                Error::new(Kind::Limit, message)
            }
        }
    }
}

impl From<Declined> for Error {
    fn from(declined: Declined) -> Self {
        match declined {
            Declined::Refused(why) => Error::new(Kind::Server, format!("not taken: {why}")),
            Declined::Fallen(fallen) => fallen.into(),
        }
    }
}
