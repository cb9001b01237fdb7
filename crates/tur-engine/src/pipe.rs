//! Bytes on their way from the engine's thread to a reader: a bounded pipe.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_core::Stream;

use crate::fetch::{Fetched, Head};
use crate::{CancelToken, Error};

/// What the reader has not taken yet; with as much the network waits.
const UNREAD_MAX: usize = 256 * 1024;

/// The bytes between engine and reader.
#[derive(Default)]
pub(crate) struct Pipe(Mutex<State>);

#[derive(Default)]
struct State {
    head: Option<Head>,
    chunks: VecDeque<Bytes>,
    unread: usize,
    end: Option<Result<Fetched, Error>>,
    /// Nobody will read any more.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    pub(crate) fn begin(&self, head: &Head) {
        self.change(|state| state.head = Some(head.clone()));
    }

    pub(crate) fn push(&self, bytes: Bytes) {
        self.change(|state| {
            if !state.closed && !bytes.is_empty() {
                state.unread += bytes.len();
                state.chunks.push_back(bytes);
            }
        });
    }

    /// Ready while the reader keeps up; and when it is gone, so that nobody waits for it.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.unread < UNREAD_MAX || state.closed {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn end(&self, result: Result<Fetched, Error>) {
        self.change(|state| state.end = Some(result));
    }

    /// The answer; `None` for an empty range, for which nobody is asked.
    fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Head>, Error>> {
        let mut state = self.lock();
        if let Some(head) = &state.head {
            return Poll::Ready(Ok(Some(head.clone())));
        }
        match &state.end {
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            Some(Ok(fetched)) => Poll::Ready(Ok(fetched.head.clone())),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut state = self.lock();
        if let Some(bytes) = state.chunks.pop_front() {
            state.unread -= bytes.len();
            let writer = state.writer.take();
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(bytes)));
        }
        match &state.end {
            Some(Ok(_)) => Poll::Ready(None),
            Some(Err(error)) => {
                let error = error.clone();
                // Told once; nothing comes after it.
                state.end = Some(Ok(Fetched::default()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.chunks.clear();
        state.unread = 0;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        how(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the state whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body of a fetch, read while it arrives. The network waits for a reader that does not read. It ends with `None`
/// only if all of it has come; whatever else happens is an `Err`, once. Dropping it cancels the fetch.
pub struct Body {
    pipe: Arc<Pipe>,
    cancel: CancelToken,
}

impl Body {
    /// A pipe for the engine, and its reader.
    pub(crate) fn new(cancel: CancelToken) -> (Arc<Pipe>, Self) {
        let pipe = Arc::new(Pipe::default());
        let body = Self {
            pipe: Arc::clone(&pipe),
            cancel,
        };
        (pipe, body)
    }

    /// The answer, once it has come.
    pub(crate) async fn head(&self) -> Result<Option<Head>, Error> {
        std::future::poll_fn(|cx| self.pipe.poll_head(cx)).await
    }

    /// The next bytes; `None` after all of them.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.pipe.poll_next(cx)).await
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.pipe.poll_next(cx)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.pipe.close();
        self.cancel.cancel();
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}
