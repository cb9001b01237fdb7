//! A reader for a runtime: [`AsyncReader`], with the traits of tokio, and with those of futures-io where that is wanted.

use std::fmt;
use std::future::Future as _;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tur_engine::Wait;

use crate::ReadError;
use crate::cursor::{Cursor, Step};
use crate::media::Inner;

/// Reads a media in a runtime, whichever: it uses nothing of one. Dropping a read that waits loses nothing, and a seek that is
/// dropped before it ended is not made, unless another one follows it at once.
///
/// As with [`Reader`](crate::Reader), a read returns what is there, and what is inside of an error is a [`ReadError`]. The
/// bytes are copied from a file in the page cache, on the thread that polls.
pub struct AsyncReader {
    cursor: Cursor,
    wait: Option<Wait>,
    seek: Option<SeekFrom>,
}

impl AsyncReader {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self::over(Cursor::new(inner))
    }

    pub(crate) fn over(cursor: Cursor) -> Self {
        Self {
            cursor,
            wait: None,
            seek: None,
        }
    }

    pub(crate) fn poll_into(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            // What was waited for may be what another position needs: it is found out anew.
            let step = self.cursor.step(into)?;
            match step {
                Step::Read(came) => {
                    self.wait = None;
                    return Poll::Ready(Ok(came));
                }
                Step::Wait(wait) => ready!(self.poll_wait(cx, wait))?,
            }
        }
    }

    /// Where a seek leads. One from the end waits for the first answer.
    fn poll_seek_to(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        if let SeekFrom::End(_) = to {
            let open = self.cursor.until_open();
            ready!(self.poll_wait(cx, open))?;
        }
        Poll::Ready(self.cursor.seek(to))
    }

    /// Waits, in place of what was waited for before.
    fn poll_wait(&mut self, cx: &mut Context<'_>, wait: Wait) -> Poll<Result<(), ReadError>> {
        let wait = self.wait.insert(wait);
        let waited = ready!(Pin::new(wait).poll(cx));
        self.wait = None;
        Poll::Ready(waited.map_err(ReadError::from))
    }
}

impl AsyncRead for AsyncReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Who reads waits for no seek any more.
        this.seek = None;
        let came = ready!(this.poll_into(cx, into.initialize_unfilled()))?;
        into.advance(came);
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for AsyncReader {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.seek = Some(to);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let Some(to) = self.seek else {
            return Poll::Ready(Ok(self.cursor.position()));
        };
        let sought = ready!(self.poll_seek_to(cx, to));
        self.seek = None;
        Poll::Ready(sought)
    }
}

#[cfg(feature = "futures-io")]
impl futures_io::AsyncRead for AsyncReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_into(cx, into)
    }
}

#[cfg(feature = "futures-io")]
impl futures_io::AsyncSeek for AsyncReader {
    fn poll_seek(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: SeekFrom,
    ) -> Poll<io::Result<u64>> {
        self.poll_seek_to(cx, to)
    }
}

impl fmt::Debug for AsyncReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncReader")
            .field("position", &self.cursor.position())
            .finish_non_exhaustive()
    }
}
