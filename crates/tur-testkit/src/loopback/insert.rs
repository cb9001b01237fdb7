//! A wire on which a frame can be put between those that the HTTP/2 library writes: it says nothing that is odd.
//!
//! Read [`Inserting`]. It follows the frames that pass (RFC 9113, section 4.1), and so knows where one may stand.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream, and what is to be written at the next place between two frames.
#[derive(Debug)]
pub(super) struct Inserting<S> {
    stream: S,
    inserts: Inserts,
    passed: Passed,
}

/// Where frames are left for an [`Inserting`] stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Inserts(Arc<Mutex<Vec<u8>>>);

impl Inserts {
    /// GOAWAY (RFC 9113, section 6.8) with `NO_ERROR`. It leaves with what is written next.
    pub(super) fn goaway(&self, last_stream: u32) {
        let mut bytes = self.bytes();
        bytes.extend([0, 0, 8, 7, 0, 0, 0, 0, 0]);
        bytes.extend(last_stream.to_be_bytes());
        bytes.extend([0; 4]);
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Inserting<S> {
    pub(super) fn new(stream: S) -> (Self, Inserts) {
        let inserts = Inserts::default();
        let inserting = Self {
            stream,
            inserts: inserts.clone(),
            passed: Passed::default(),
        };
        (inserting, inserts)
    }

    /// Writes what was inserted, where it may stand.
    fn poll_inserts(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = self.inserts.bytes();
        while !bytes.is_empty() && self.passed.is_between() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            // A frame that left in part is gone on with before anything else: its rest is at the front.
            bytes.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inserting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inserting<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_inserts(cx))?;
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let step = left.min(buf.len());
            self.passed.follow(&buf[..step]);
            left -= step;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_inserts(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How far the frames are that have passed.
#[derive(Debug, Default)]
struct Passed {
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
}

impl Passed {
    /// True if the last frame is whole.
    fn is_between(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    fn follow(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.payload > 0 {
                let step = self.payload.min(bytes.len());
                self.payload -= step;
                bytes = &bytes[step..];
                continue;
            }
            self.header[self.have] = *first;
            self.have += 1;
            bytes = rest;
            if self.have == HEADER {
                let [a, b, c, ..] = self.header;
                self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                self.have = 0;
            }
        }
    }
}

/// Bytes in front of each frame.
const HEADER: usize = 9;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_frame_is_put_between_two_and_never_into_one() {
        let frame = |fill: u8| [&[0, 0, 4, 0, 0, 0, 0, 0, 1][..], &[fill; 4]].concat();
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0];
        let two = [frame(1), frame(2)].concat();
        for cut in 1..two.len() {
            let (near, mut far) = tokio::io::duplex(1_000);
            let (mut wire, inserts) = Inserting::new(near);
            wire.write_all(&two[..cut]).await.unwrap();
            inserts.goaway(5);
            wire.write_all(&two[cut..]).await.unwrap();
            wire.flush().await.unwrap();
            drop(wire);
            let mut seen = Vec::new();
            far.read_to_end(&mut seen).await.unwrap();
            let parts: [&[u8]; 3] = match cut == frame(1).len() {
                true => [&frame(1), &goaway, &frame(2)],
                false => [&frame(1), &frame(2), &goaway],
            };
            assert_eq!(seen, parts.concat(), "{cut}");
        }
    }
}
