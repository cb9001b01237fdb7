//! The body of an answer over HTTP/2, drawn frame by frame.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use ::h2::RecvStream;
use tur_core::port::Fill;
use tur_core::{BodyKind, Chunks, Fault};

use crate::body::BUFFER_COST;

use super::faults;
use super::shared::{Life, Parked, Turn};

/// The body of an answer over HTTP/2. Dropped before its end, its stream is given up.
///
/// What a fill has handed over stays charged to the windows until the next fill: a peer is allowed to send more when its
/// bytes were written, not when they were read.
pub(crate) struct H2Body {
    state: State,
    kind: BodyKind,
    received: u64,
    /// Bytes handed over and not yet released.
    owed: usize,
}

enum State {
    Reading { stream: RecvStream, turn: Turn },
    Ended,
    Failed(Fault),
}

impl H2Body {
    pub(crate) fn new(stream: RecvStream, turn: Turn, kind: BodyKind) -> Self {
        Self {
            state: State::Reading { stream, turn },
            kind,
            received: 0,
            owed: 0,
        }
    }

    /// As [`Body::fill`](tur_core::port::Body::fill).
    pub(crate) async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        self.release();
        poll_fn(|cx| self.poll_fill(cx, chunks, budget)).await
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks,
        budget: usize,
    ) -> Poll<Result<Fill, Fault>> {
        let mut appended = false;
        let mut cost = 0;
        loop {
            let (stream, turn) = match &mut self.state {
                State::Reading { stream, turn } => (stream, turn),
                State::Ended => return Poll::Ready(Ok(Fill::End)),
                State::Failed(fault) => return Poll::Ready(Err(fault.clone())),
            };
            if turn.shared().life() == Life::Closed {
                let fault = self.cut("the session was closed");
                return Poll::Ready(self.fail(fault));
            }
            match stream.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    appended |= !data.is_empty();
                    cost += data.len().max(BUFFER_COST);
                    self.owed += data.len();
                    self.received += data.len() as u64;
                    let ended = stream.is_end_stream();
                    chunks.push(data);
                    if ended {
                        return Poll::Ready(self.end());
                    }
                    if cost >= budget && appended {
                        return Poll::Ready(Ok(Fill::More));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    turn.failed(&error);
                    let shared = turn.shared().clone();
                    let fault = match self.is_whole() {
                        true => faults::behind_body(&error, &shared, &self.progress()),
                        false => faults::of_body(&error, &shared, &self.progress()),
                    };
                    return Poll::Ready(self.fail(fault));
                }
                // Trailers, if there are any, say nothing a download needs.
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Pending if appended => return Poll::Ready(Ok(Fill::More)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The caller has written what the last fill handed over: the peer may send as much again.
    fn release(&mut self) {
        let owed = std::mem::take(&mut self.owed);
        if owed > 0
            && let State::Reading { stream, .. } = &mut self.state
            && let Err(error) = stream.flow_control().release_capacity(owed)
        {
            // Never more than was received: the h2 crate would only say that its own account differs.
            tracing::debug!(%error, "capacity was not released");
        }
    }

    /// The stream has ended; the count of bytes must agree.
    fn end(&mut self) -> Result<Fill, Fault> {
        if let BodyKind::Length(length) = self.kind
            && length != self.received
        {
            let progress = self.progress();
            return self.fail(Fault::Malformed(format!(
                "the body is not as long as was told: {progress}"
            )));
        }
        if let State::Reading { turn, .. } = &self.state {
            turn.passed();
        }
        self.state = State::Ended;
        Ok(Fill::End)
    }

    /// The fault is said again if the body is asked again.
    fn fail(&mut self, fault: Fault) -> Result<Fill, Fault> {
        self.state = State::Failed(fault.clone());
        Err(fault)
    }

    fn cut(&self, why: &str) -> Fault {
        Fault::Truncated(format!("{}, {why}", self.progress()))
    }

    /// True if all bytes that were told have come.
    fn is_whole(&self) -> bool {
        matches!(self.kind, BodyKind::Length(length) if length == self.received)
    }

    fn progress(&self) -> String {
        match self.kind {
            BodyKind::Length(length) => format!("{} of {length} bytes came", self.received),
            BodyKind::Marked | BodyKind::UntilClose => format!("{} bytes came", self.received),
        }
    }
}

impl Drop for H2Body {
    fn drop(&mut self) {
        if let State::Reading { stream, turn } = std::mem::replace(&mut self.state, State::Ended)
            && !stream.is_end_stream()
        {
            turn.give_up(Parked::Body(stream));
        }
    }
}

impl fmt::Debug for H2Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H2Body")
            .field("kind", &self.kind)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}
