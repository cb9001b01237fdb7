//! An HTTP/2 session: one connection that takes many requests at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ::h2::RecvStream;
use ::h2::client::{ResponseFuture, SendRequest};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response, StatusCode, response};
use tur_core::port::{Reply, Request, Window};
use tur_core::{BodyKind, Fault};

use crate::config::{FIELDS_MAX, INTERIM_BYTES_MAX};
use crate::{head, message};

use super::body::H2Body;
use super::faults;
use super::shared::{Life, Parked, Shared, Turn};

/// An HTTP/2 connection. Dropping it closes the connection, whatever runs on it. A fetch that is dropped, and a body that is
/// dropped before its end, end their stream alone; see [`Resets`](super::resets::Resets) for how many.
pub(crate) struct H2Session {
    sender: SendRequest<Bytes>,
    shared: Arc<Shared>,
    user_agent: HeaderValue,
    interim_limit: usize,
}

impl H2Session {
    pub(crate) fn new(
        sender: SendRequest<Bytes>,
        shared: Arc<Shared>,
        user_agent: HeaderValue,
        interim_limit: usize,
    ) -> Self {
        Self {
            sender,
            shared,
            user_agent,
            interim_limit,
        }
    }

    /// Faults that concern one stream leave the session open.
    ///
    /// A request beyond what the peer allows is refused here: in the queue of the h2 crate it would wait until another one
    /// ends, while another connection may have room now. Before the peer's SETTINGS came one is sent, or as many as its
    /// last connection allowed; the others wait for them. Once given up, those that the h2 crate holds would still be sent.
    pub(crate) async fn fetch(&self, request: Request) -> Result<Reply<H2Body>, Fault> {
        let message = message::streamed(&request, &self.user_agent)?;
        if self.shared.life() != Life::Open {
            return Err(self.closed());
        }
        let (turn, ahead) = self.shared.begin(self.capacity()).ok_or_else(full)?;
        let waits = ahead >= self.shared.allowed().unwrap_or(1);
        if waits && !poll_fn(|cx| self.shared.poll_settled(cx)).await {
            return Err(self.closed());
        }
        if waits && self.shared.life() == Life::Retired {
            return Err(self.closed());
        }
        let mut sender = self.sender.clone();
        // A clone has nothing pending: this only says whether the connection stands.
        poll_fn(|cx| sender.poll_ready(cx))
            .await
            .map_err(|error| faults::of_head(&error, &self.shared))?;
        if ahead >= self.capacity() {
            return Err(full());
        }
        let (response, _no_body) = sender
            .send_request(message, true)
            .map_err(|error| faults::of_head(&error, &self.shared))?;
        let mut call = Call {
            response: Some(response),
            turn: Some(turn),
            interim: Interim::default(),
        };
        let limit = self.interim_limit;
        let answer = poll_fn(|cx| call.poll(cx, limit)).await?;
        self.reply(answer, call)
    }

    /// False after GOAWAY, a fault of the connection, or too many streams that were given up.
    pub(crate) fn is_open(&self) -> bool {
        let mut sender = self.sender.clone();
        let mut cx = Context::from_waker(Waker::noop());
        self.shared.life() == Life::Open
            && matches!(sender.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// How much the peer may send ahead, and why.
    pub(crate) fn window(&self) -> Window {
        self.shared.gauge().facts()
    }

    /// What the peer's SETTINGS allow, or what its last connection allowed before they came; [`STREAMS_MAX`] before the first
    /// ones, and never more.
    pub(crate) fn capacity(&self) -> usize {
        self.sender.current_max_send_streams().clamp(1, STREAMS_MAX)
    }

    /// A stream brought nothing for too long. Where the others bring something, it is that stream; else the path may be dead,
    /// which TCP finds out after many minutes: no further request is sent on it.
    pub(crate) fn stalled(&self) {
        if self.shared.gauge().is_silent() {
            self.shared.advance(Life::Retired);
        }
    }

    fn reply(&self, answer: Response<RecvStream>, mut call: Call) -> Result<Reply<H2Body>, Fault> {
        let (parts, stream) = answer.into_parts();
        let kind = body_kind(&parts, stream.is_end_stream());
        let turn = call.turn.take().expect("a call has its turn until now");
        let body = H2Body::new(stream, turn, kind);
        let limit = self.shared.head_limit();
        if parts.headers.len() > FIELDS_MAX || head::size(&parts.headers) > limit {
            return Err(Fault::HeadTooLarge { limit });
        }
        Ok(Reply {
            answer: head::answer(&parts, kind)?,
            body,
        })
    }

    fn closed(&self) -> Fault {
        let closed = || Fault::Lost("the connection is closed".to_owned());
        self.shared.verdict().unwrap_or_else(closed)
    }
}

impl Drop for H2Session {
    fn drop(&mut self) {
        self.shared.advance(Life::Closed);
    }
}

fn full() -> Fault {
    Fault::StreamRefused("as many streams run as the server allows".to_owned())
}

/// A request that was sent and not answered yet; dropped, its stream is given up.
struct Call {
    response: Option<ResponseFuture>,
    turn: Option<Turn>,
    interim: Interim,
}

/// Interim answers so far.
#[derive(Default)]
struct Interim {
    count: usize,
    bytes: usize,
}

impl Call {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        interim_limit: usize,
    ) -> Poll<Result<Response<RecvStream>, Fault>> {
        let (Some(response), Some(turn)) = (&mut self.response, &mut self.turn) else {
            return Poll::Ready(Err(Fault::Lost("the stream has ended".to_owned())));
        };
        let shared = Arc::clone(turn.shared());
        if shared.life() == Life::Closed {
            let closed = || Fault::Lost("the session was closed".to_owned());
            return Poll::Ready(Err(shared.verdict().unwrap_or_else(closed)));
        }
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            self.interim.count += 1;
            let size = head::size(interim.headers());
            self.interim.bytes = self.interim.bytes.saturating_add(size);
            if self.interim.count > interim_limit || self.interim.bytes > INTERIM_BYTES_MAX {
                shared.advance(Life::Retired);
                return Poll::Ready(Err(Fault::TooManyInterim {
                    limit: interim_limit,
                }));
            }
        }
        let Poll::Ready(answer) = Pin::new(response).poll(cx) else {
            return Poll::Pending;
        };
        // It has given what it had; dropped later it would count as given up.
        self.response = None;
        let answer = answer.map_err(|error| {
            turn.failed(&error);
            faults::of_head(&error, &shared)
        });
        turn.head_came();
        Poll::Ready(answer)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let (Some(response), Some(turn)) = (self.response.take(), &self.turn) {
            turn.give_up(Parked::Head(response));
        }
    }
}

/// RFC 9113, section 8.1: the end of the stream is the end of the body. The h2 crate has refused lengths that differ or are
/// no numbers.
fn body_kind(head: &response::Parts, ended: bool) -> BodyKind {
    if matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        return BodyKind::Length(0);
    }
    let told = head.headers.get(CONTENT_LENGTH);
    let length = told.and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(length) => BodyKind::Length(length),
        None if ended => BodyKind::Length(0),
        None => BodyKind::Marked,
    }
}

/// Streams at once, whatever the peer allows. RFC 9113, section 6.5.2, advises peers to allow no fewer.
pub(crate) const STREAMS_MAX: usize = 100;
