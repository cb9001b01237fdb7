//! A stream that has no end, such as a radio: [`Live`], its last bytes in memory and nothing on the disk.
//!
//! It is no [`Media`](crate::Media): nothing of it is a file, nobody knows its length, and what is gone is gone. [`Live`] is the
//! stream, a [`LiveReader`] reads it; the bytes are those of one streaming fetch, kept in a ring.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tur_engine::{
    Abr, ByteRange, CancelToken, Command, Downloader, Head, Peer, PeerHandle, Priority, RetryPolicy,
};

use crate::interrupt::on_this_thread;
use crate::ring::{Look, Ring};
use crate::{Interrupt, ReadError};

/// A body without an end, over one connection, of which the last bytes are kept. Cheap to clone; all clones and readers share
/// it, and the last one that goes ends it.
///
/// Positions count the bytes that came since it was opened. When the connection ends, readers read what is there and are told; with
/// [`reconnect`](Self::reconnect) it goes on at whatever the origin sends by then, and each reader that comes to that place is told
/// first ([`ReadError::Broken`]): bytes of two connections are never joined in silence. It is never tried again by itself.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    peer: PeerHandle,
    make: Box<dyn Fn() -> Command + Send + Sync>,
    ring: Arc<Mutex<Ring>>,
    stop: CancelToken,
}

/// Bytes that are kept at least.
const BYTES_MIN: usize = 64 << 10;

impl Live {
    /// Begins to fetch `url` and keeps the last `bytes` of it, at least 64 KiB, in memory that is taken at once. Returns at
    /// once; what fails is told to readers.
    #[must_use]
    pub fn open(downloader: &Downloader, url: &str, bytes: usize) -> Self {
        let url = url.to_owned();
        Self::of(downloader, move || Command::new(&url), bytes)
    }

    /// As [`open`](Self::open), with a fetch of its own settings for each connection: fields, credentials, time-outs. What it says
    /// about retries, callbacks and its epoch is replaced.
    #[must_use]
    pub fn of(
        downloader: &Downloader,
        make: impl Fn() -> Command + Send + Sync + 'static,
        bytes: usize,
    ) -> Self {
        let live = Self {
            inner: Arc::new(Inner {
                peer: downloader.register(Arc::new(Listener)),
                make: Box::new(make),
                ring: Arc::new(Mutex::new(Ring::new(bytes.max(BYTES_MIN)))),
                stop: CancelToken::new(),
            }),
        };
        live.inner.connect();
        live
    }

    /// Connects anew, if the connection is over. What comes follows what is there, and readers are told of the break.
    pub fn reconnect(&self) {
        self.inner.connect();
    }

    /// True while nothing more comes before a [`reconnect`](Self::reconnect).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.inner.ring().is_over()
    }

    /// The bytes that can be read now.
    #[must_use]
    pub fn window(&self) -> ByteRange {
        let (start, end) = self.inner.ring().window();
        ByteRange::new(start, end)
    }

    /// What the origin has said of it, with the last connection that was answered.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        self.inner.ring().head.clone()
    }

    /// A reader at the oldest byte that is there.
    #[must_use]
    pub fn reader(&self) -> LiveReader {
        let (at, _) = self.inner.ring().window();
        LiveReader {
            inner: Arc::clone(&self.inner),
            at,
            heard: None,
            interrupt: Interrupt::default(),
        }
    }

    /// A reader at the newest: what comes from now on.
    #[must_use]
    pub fn reader_now(&self) -> LiveReader {
        let (_, at) = self.inner.ring().window();
        LiveReader {
            at,
            ..self.reader()
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("window", &self.window())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        lock(&self.ring)
    }

    /// Begins a connection, unless one is there.
    fn connect(&self) {
        let number = {
            let mut ring = self.ring();
            if ring.connection > 0 && !ring.is_over() {
                return;
            }
            ring.connect()
        };
        let of = |ring: &Arc<Mutex<Ring>>| Arc::clone(ring);
        let (data, answer, end) = (of(&self.ring), of(&self.ring), of(&self.ring));
        let current = move |ring: &Mutex<Ring>, then: &mut dyn FnMut(&mut Ring)| {
            let mut ring = lock(ring);
            if ring.connection == number {
                then(&mut ring);
            }
            let waiting = ring.take_waiting();
            drop(ring);
            waiting.into_iter().for_each(Waker::wake);
        };
        let command = (self.make)()
            .epoch(&self.stop)
            // To go on elsewhere, or with what is sent by then, is not to go on.
            .retry(RetryPolicy {
                retries: 0,
                ..RetryPolicy::default()
            })
            .on_response(move |head| current(&answer, &mut |ring| ring.head = Some(head.clone())))
            .on_data(move |bytes| current(&data, &mut |ring| ring.push(bytes)))
            .on_complete(move |result| current(&end, &mut |ring| ring.end(result.clone().err())));
        // Without a downloader, or if this was dropped, its last callback says so.
        on_this_thread(self.peer.submit(command)).ok();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Each step leaves the ring whole.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who wants the bytes. What is heard now cannot be heard later.
struct Listener;

impl Abr for Listener {}

impl Peer for Listener {
    fn priority(&self) -> Priority {
        Priority::High
    }
}

/// Reads a [`Live`]: on a thread (`Read`), or in a runtime, whichever (`AsyncRead`); what is inside of an error is a
/// [`ReadError`].
///
/// One that does not keep up is told ([`ReadError::Lagged`]) and goes on with the oldest byte that is there. It may seek within
/// the window; elsewhere is an error ([`ReadError::Outside`]), and the position stays.
pub struct LiveReader {
    inner: Arc<Inner>,
    at: u64,
    /// The break that it was told of last.
    heard: Option<u64>,
    interrupt: Interrupt,
}

impl LiveReader {
    /// What ends this reader's wait from another thread.
    #[must_use]
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Reads what is there and never waits; `Pending` if there is nothing.
    pub fn try_read(&mut self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.step(into, None)
    }

    /// Reads what is there, or is woken when there is something.
    fn step(&mut self, into: &mut [u8], cx: Option<&Context<'_>>) -> Poll<io::Result<usize>> {
        let free = match cx {
            Some(cx) => self.interrupt.poll(cx),
            None => self.interrupt.check(),
        };
        if into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut ring = lock(&self.inner.ring);
        let error = match (free, ring.look(self.at, self.heard, into)) {
            (Err(error), _) => error,
            (Ok(()), Look::Read(came)) => {
                self.at += came as u64;
                return Poll::Ready(Ok(came));
            }
            (Ok(()), Look::Lagged { missed, next }) => {
                self.at = next;
                ReadError::Lagged { missed }
            }
            (Ok(()), Look::Break) => {
                self.heard = Some(self.at);
                ReadError::Broken
            }
            (Ok(()), Look::Over(None)) => return Poll::Ready(Ok(0)),
            (Ok(()), Look::Over(Some(error))) => error.into(),
            (Ok(()), Look::Nothing) => {
                if let Some(cx) = cx {
                    ring.wait(cx.waker());
                }
                return Poll::Pending;
            }
        };
        Poll::Ready(Err(error.into()))
    }
}

impl Read for LiveReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        on_this_thread(poll_fn(|cx| self.step(into, Some(cx))))
    }
}

impl AsyncRead for LiveReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let free = into.initialize_unfilled();
        let came = self.get_mut().step(free, Some(cx));
        came.map_ok(|came| into.advance(came))
    }
}

impl Seek for LiveReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (start, end) = self.inner.ring().window();
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(_) => {
                let message = "a stream without an end has no position from there";
                return Err(io::Error::new(io::ErrorKind::Unsupported, message));
            }
        };
        match to.filter(|at| (start..=end).contains(at)) {
            Some(at) => {
                (self.at, self.heard) = (at, None);
                Ok(at)
            }
            None => Err(ReadError::Outside { start, end }.into()),
        }
    }
}

impl fmt::Debug for LiveReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveReader")
            .field("position", &self.at)
            .finish_non_exhaustive()
    }
}
