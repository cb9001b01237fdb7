//! The body of an answer over HTTP/3, drawn packet by packet.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use tur_core::port::Fill;
use tur_core::{BodyKind, Chunks, Fault};

use crate::body::BUFFER_COST;

use super::faults;
use super::session::Exchange;
use super::shared::{Running, Shared};

/// The body of an answer over HTTP/3. Dropped before its end, its stream is cancelled.
///
/// A peer is allowed to send more when its bytes were taken by a fill, which asks for no more than its budget.
pub(crate) struct H3Body {
    state: State,
    shared: Arc<Shared>,
    id: u64,
    kind: BodyKind,
    received: u64,
}

enum State {
    Reading(Box<(Exchange, Running)>),
    Ended,
    Failed(Fault),
}

impl H3Body {
    pub(super) fn new(
        exchange: (Exchange, Running),
        id: u64,
        shared: Arc<Shared>,
        kind: BodyKind,
    ) -> Self {
        Self {
            state: State::Reading(Box::new(exchange)),
            shared,
            id,
            kind,
            received: 0,
        }
    }

    /// As [`Body::fill`](tur_core::port::Body::fill).
    pub(crate) async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        let before = self.received;
        let filled = poll_fn(|cx| self.poll_fill(cx, chunks, budget)).await;
        if let State::Reading(exchange) = &self.state {
            exchange.1.received(self.received - before);
        }
        filled
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks,
        budget: usize,
    ) -> Poll<Result<Fill, Fault>> {
        let (mut cost, before) = (0, self.received);
        loop {
            let exchange = match &mut self.state {
                State::Reading(exchange) => &mut exchange.0,
                State::Ended => return Poll::Ready(Ok(Fill::End)),
                State::Failed(fault) => return Poll::Ready(Err(fault.clone())),
            };
            if self.shared.is_closed() {
                let text = format!("{}, the session was closed", self.progress());
                return Poll::Ready(self.fail(Fault::Truncated(text)));
            }
            match exchange.poll_recv_data(cx) {
                Poll::Ready(Ok(Some(mut data))) => {
                    let data = data.copy_to_bytes(data.remaining());
                    self.received += data.len() as u64;
                    if self.is_too_long() {
                        return Poll::Ready(self.disagrees());
                    }
                    cost += data.len().max(BUFFER_COST);
                    chunks.push(data);
                    if cost >= budget {
                        return Poll::Ready(Ok(Fill::More));
                    }
                }
                // Said of an empty frame and of trailers too, and the end may have been read ahead of either: it is the end
                // of the body when all content has been handed out.
                Poll::Ready(Ok(None)) => {
                    if self.shared.content(self.id) == Some(self.received) {
                        return Poll::Ready(self.end(before));
                    }
                }
                Poll::Ready(Err(error)) => {
                    let fault = faults::of_body(&error, &self.shared, &self.progress());
                    return Poll::Ready(self.fail(fault));
                }
                Poll::Pending if cost > 0 => return Poll::Ready(Ok(Fill::More)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_too_long(&self) -> bool {
        matches!(self.kind, BodyKind::Length(length) if self.received > length)
    }

    /// The stream has ended; the count of bytes must agree. What came since `before` has not been measured.
    fn end(&mut self, before: u64) -> Result<Fill, Fault> {
        if matches!(self.kind, BodyKind::Length(length) if length != self.received) {
            return self.disagrees();
        }
        if let State::Reading(exchange) = mem::replace(&mut self.state, State::Ended) {
            exchange.1.received(self.received - before);
            exchange.1.ends();
        }
        Ok(Fill::End)
    }

    /// RFC 9114, section 4.1.2.
    fn disagrees(&mut self) -> Result<Fill, Fault> {
        let progress = self.progress();
        self.fail(Fault::Malformed(format!(
            "the body is not as long as was told: {progress}"
        )))
    }

    /// The fault is said again if the body is asked again.
    fn fail(&mut self, fault: Fault) -> Result<Fill, Fault> {
        self.state = State::Failed(fault.clone());
        Err(fault)
    }

    fn progress(&self) -> String {
        match self.kind {
            BodyKind::Length(length) => format!("{} of {length} bytes came", self.received),
            BodyKind::Marked | BodyKind::UntilClose => format!("{} bytes came", self.received),
        }
    }
}

impl fmt::Debug for H3Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H3Body")
            .field("kind", &self.kind)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
