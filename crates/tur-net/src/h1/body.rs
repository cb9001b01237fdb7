//! The body of an answer, drawn buffer by buffer, with an end that only the framing can say.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as _, Incoming};
use tur_core::port::Fill;
use tur_core::{BodyKind, Chunks, Fault};

use crate::body::BUFFER_COST;

use super::link::Claim;

/// The body of an answer over HTTP/1.1. Dropped before its end, it closes the connection.
pub(crate) struct H1Body {
    state: State,
    kind: BodyKind,
    received: u64,
}

enum State {
    Reading {
        incoming: Incoming,
        claim: Claim,
        reusable: bool,
    },
    Ended,
    Failed(Fault),
}

impl H1Body {
    pub(crate) fn new(claim: Claim, incoming: Incoming, kind: BodyKind, reusable: bool) -> Self {
        Self {
            state: State::Reading {
                incoming,
                claim,
                reusable,
            },
            kind,
            received: 0,
        }
    }

    /// As [`Body::fill`](tur_core::port::Body::fill).
    pub(crate) async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        poll_fn(|cx| self.poll_fill(cx, chunks, budget)).await
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks,
        budget: usize,
    ) -> Poll<Result<Fill, Fault>> {
        let mut appended = 0;
        let mut cost = 0;
        let mut driven = false;
        loop {
            let (incoming, claim) = match &mut self.state {
                State::Reading {
                    incoming, claim, ..
                } => (incoming, claim),
                State::Ended => return Poll::Ready(Ok(Fill::End)),
                State::Failed(fault) => return Poll::Ready(Err(fault.clone())),
            };
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    driven = false;
                    // The other kind of frame holds trailers, which say nothing a download needs.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    appended += data.len();
                    cost += data.len().max(BUFFER_COST);
                    self.received += data.len() as u64;
                    chunks.push(data);
                    if self.kind == BodyKind::Length(self.received) {
                        return Poll::Ready(self.end());
                    }
                    if cost >= budget {
                        return Poll::Ready(Ok(Fill::More));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let fault = self.fault(&error);
                    return Poll::Ready(self.fail(fault));
                }
                Poll::Ready(None) => return Poll::Ready(self.end()),
                Poll::Pending if !driven => {
                    claim.drive(cx);
                    driven = true;
                }
                Poll::Pending if appended > 0 => return Poll::Ready(Ok(Fill::More)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// hyper says that the framing marked the end; the count of bytes must agree.
    fn end(&mut self) -> Result<Fill, Fault> {
        if let BodyKind::Length(length) = self.kind
            && length != self.received
        {
            let fault = self.truncated(None);
            return self.fail(fault);
        }
        if let State::Reading {
            claim, reusable, ..
        } = std::mem::replace(&mut self.state, State::Ended)
        {
            claim.release(reusable);
        }
        Ok(Fill::End)
    }

    /// Closes the connection; the fault is said again if the body is asked again.
    fn fail(&mut self, fault: Fault) -> Result<Fill, Fault> {
        self.state = State::Failed(fault.clone());
        Err(fault)
    }

    fn fault(&self, error: &hyper::Error) -> Fault {
        let broken = match &self.state {
            State::Reading { claim, .. } => claim.broken(),
            State::Ended | State::Failed(_) => None,
        };
        if broken.is_none()
            && let Some(kind) = io_kind(error)
            && kind != io::ErrorKind::UnexpectedEof
        {
            // The transport reported nothing, so the bytes themselves were wrong: only chunks can be.
            return Fault::Malformed("bad chunk".to_owned());
        }
        self.truncated(broken)
    }

    fn truncated(&self, broken: Option<String>) -> Fault {
        let mut text = match self.kind {
            BodyKind::Length(length) => {
                format!("{} of {length} bytes came", self.received)
            }
            BodyKind::Marked => "body ended before the last chunk".to_owned(),
            BodyKind::UntilClose => "the connection did not end in order".to_owned(),
        };
        if let Some(broken) = broken {
            text.push_str(", ");
            text.push_str(&broken);
        }
        Fault::Truncated(text)
    }
}

impl fmt::Debug for H1Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Body")
            .field("kind", &self.kind)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// The kind of the I/O error inside, if there is one.
fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = inner.source();
    }
    None
}
