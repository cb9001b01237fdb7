//! The byte stream under HTTP/1: reads of bounded size, and a tap that remembers the head.
//!
//! hyper says *that* a head is bad; the tap keeps its bytes so that [`diagnosis`](super::diagnosis) can say *why*. The
//! tap also counts interim answers and refuses further reads once there were too many.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tur_core::TlsCause;

use crate::config::INTERIM_BYTES_MAX;
use crate::stream::{Stream, io_text};
use crate::tls::refused;

/// A stream as hyper sees it.
pub(crate) struct Wire {
    /// Its limit is set anew before each read, so it never ends by it.
    stream: Take<Stream>,
    read_limit: u64,
    tap: Arc<Tap>,
}

impl Wire {
    /// Reads of at most `read_buffer` bytes (a power of two).
    pub(crate) fn new(stream: Stream, read_buffer: usize, tap: Arc<Tap>) -> Self {
        // hyper doubles its buffer after a read that filled it. One byte less keeps it from growing further.
        let read_limit = (read_buffer as u64).saturating_sub(1).max(1);
        Self {
            stream: stream.take(read_limit),
            read_limit,
            tap,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let limit = match wire.tap.next_read() {
            NextRead::Refused => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            NextRead::Head => wire.read_limit.min(HEAD_READ),
            NextRead::Rest => wire.read_limit,
        };
        wire.stream.set_limit(limit);
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut wire.stream).poll_read(cx, buf));
        match &result {
            Ok(()) => wire.tap.received(&buf.filled()[before..]),
            Err(error) => wire.tap.broke(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(self.stream.get_mut()).poll_write(cx, buf));
        if let Err(error) = &result {
            self.tap.broke(error);
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

/// What is remembered about one connection while hyper owns its stream. Bounded: hyper takes no head over its limit,
/// and reads end once interim answers were too many or too large.
pub(crate) struct Tap {
    interim_limit: usize,
    /// Most bytes before the end of the final head, the reason phrases of interim answers and all.
    bytes_limit: usize,
    state: Mutex<Tapped>,
}

#[derive(Default)]
struct Tapped {
    reading_head: bool,
    /// What came since the request was sent, while the head is awaited.
    raw: Vec<u8>,
    interim_count: usize,
    interim_bytes: usize,
    /// True if a read was refused for it.
    refused: bool,
    broken: Option<String>,
    /// That the peer wants another certificate, or any.
    tls: Option<TlsCause>,
}

enum NextRead {
    Refused,
    Head,
    Rest,
}

impl Tap {
    pub(crate) fn new(interim_limit: usize, head_limit: usize) -> Self {
        Self {
            interim_limit,
            bytes_limit: head_limit.saturating_add(INTERIM_BYTES_MAX),
            state: Mutex::new(Tapped::default()),
        }
    }

    /// A request goes out; a head is awaited.
    pub(crate) fn head_begins(&self) {
        let mut state = self.state();
        state.reading_head = true;
        state.raw.clear();
        state.interim_count = 0;
        state.interim_bytes = 0;
        state.refused = false;
    }

    /// The head has been read: what came so far is handed out.
    pub(crate) fn head_ends(&self) -> Vec<u8> {
        let mut state = self.state();
        state.reading_head = false;
        std::mem::take(&mut state.raw)
    }

    /// An interim answer of about `bytes` bytes has come.
    pub(crate) fn interim(&self, bytes: usize) {
        let mut state = self.state();
        state.interim_count += 1;
        state.interim_bytes = state.interim_bytes.saturating_add(bytes);
    }

    /// True once there were too many interim answers, or too large ones.
    pub(crate) fn too_many_interim(&self) -> bool {
        let state = self.state();
        state.refused || self.exceeded(&state)
    }

    /// What broke the connection, if the transport reported an error.
    pub(crate) fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    /// Why the peer broke the connection, if it was about the handshake.
    pub(crate) fn refused(&self) -> Option<TlsCause> {
        self.state().tls.clone()
    }

    fn exceeded(&self, state: &Tapped) -> bool {
        state.interim_count > self.interim_limit || state.interim_bytes > INTERIM_BYTES_MAX
    }

    /// True once more came than interim answers and a final head may have together: hyper refuses a head that is too large
    /// by itself, so it is the interim answers that are.
    fn overflows(&self, state: &Tapped) -> bool {
        state.interim_count > 0 && state.raw.len() > self.bytes_limit
    }

    fn next_read(&self) -> NextRead {
        let mut state = self.state();
        if !state.reading_head {
            NextRead::Rest
        } else if self.exceeded(&state) || self.overflows(&state) {
            state.refused = true;
            NextRead::Refused
        } else {
            NextRead::Head
        }
    }

    fn received(&self, bytes: &[u8]) {
        let mut state = self.state();
        if state.reading_head {
            state.raw.extend_from_slice(bytes);
        }
    }

    fn broke(&self, error: &io::Error) {
        let mut state = self.state();
        if state.broken.is_none() {
            state.broken = Some(io_text(error));
            state.tls = refused(error);
        }
    }

    fn state(&self) -> MutexGuard<'_, Tapped> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Largest read while a head is awaited: what the tap keeps of a normal answer.
const HEAD_READ: u64 = 16 * 1024;
