//! One HTTP/1 connection, driven by whoever awaits on it.
//!
//! ```text
//!          claim                    release(reusable)
//!   Idle ─────────▶ Claimed ────────────────────────▶ Idle
//!    │                 │ claim dropped, fault, release(not reusable)
//!    └── peer closed ──┴──────────────────────────────▶ Closed
//! ```
//!
//! hyper's connection future moves only when it is polled. It stands behind a lock, and every future that waits on the
//! connection polls it first, with its own waker. While a claim lives nobody else polls, so no waker is lost.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tur_core::Fault;

use crate::config::{FIELDS_MAX, NetConfig};
use crate::head;
use crate::message::Message;
use crate::stream::Stream;

use super::diagnosis::{HeadLimits, diagnose};
use super::wire::{Tap, Wire};

/// A connection.
pub(crate) struct Link {
    tap: Arc<Tap>,
    limits: HeadLimits,
    interim_limit: usize,
    state: Mutex<State>,
}

enum State {
    Idle(Live),
    Claimed(Live),
    Closed,
}

struct Live {
    sender: SendRequest<Empty<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<Wire>, Empty<Bytes>>>>,
}

impl Link {
    /// Puts HTTP/1 on a connected stream; no byte moves yet.
    ///
    /// # Errors
    /// `Lost` if hyper refuses the stream.
    pub(crate) async fn start(stream: Stream, config: &NetConfig) -> Result<Arc<Self>, Fault> {
        let tap = Arc::new(Tap::new(config.interim_limit, config.head_limit));
        let wire = Wire::new(stream, config.read_buffer, Arc::clone(&tap));
        let (sender, connection) = Builder::new()
            .max_buf_size(config.head_limit)
            .max_header_size(config.head_limit)
            .max_headers(FIELDS_MAX)
            // Names as the oldest servers expect them.
            .title_case_headers(true)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| Fault::Lost(error.to_string()))?;
        let live = Live {
            sender,
            connection: Box::pin(connection),
        };
        Ok(Arc::new(Self {
            tap,
            limits: HeadLimits {
                bytes: config.head_limit,
                fields: FIELDS_MAX,
            },
            interim_limit: config.interim_limit,
            state: Mutex::new(State::Idle(live)),
        }))
    }

    /// Takes the connection for one request and its answer.
    ///
    /// # Errors
    /// `Lost` if it is closed, or taken.
    pub(crate) fn claim(self: &Arc<Self>) -> Result<Claim, Fault> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Closed) {
            State::Idle(live) => {
                *state = State::Claimed(live);
                Ok(Claim {
                    link: Arc::clone(self),
                    released: false,
                })
            }
            State::Claimed(live) => {
                *state = State::Claimed(live);
                Err(lost("the session is in use"))
            }
            State::Closed => Err(lost("the connection is closed")),
        }
    }

    /// True if the connection can take a request: none is running, and the peer has not closed or spoken unasked.
    pub(crate) fn is_idle(&self) -> bool {
        let mut state = self.state();
        let State::Idle(live) = &mut *state else {
            return false;
        };
        // Nobody waits on an idle connection, so this takes no one's waker away.
        let ended = live
            .connection
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        if ended || live.sender.is_closed() {
            *state = State::Closed;
            return false;
        }
        true
    }

    /// True while a request or its answer has the connection.
    pub(crate) fn is_claimed(&self) -> bool {
        matches!(&*self.state(), State::Claimed(_))
    }

    /// Closes the socket. A body that still waits is told through hyper's channel.
    pub(crate) fn close(&self) {
        let closed = std::mem::replace(&mut *self.state(), State::Closed);
        // Outside the lock: this closes the socket and wakes a body that waits.
        drop(closed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use a connection. Dropped before it is released, it closes the connection: a request that was given
/// up, or a body that was not read to its end, leaves bytes on it that belong to nobody.
pub(crate) struct Claim {
    link: Arc<Link>,
    released: bool,
}

impl Claim {
    /// Sends a request and waits for the final head.
    ///
    /// # Errors
    /// `Lost`, `Malformed`, `HeadTooLarge` or `TooManyInterim`.
    pub(crate) async fn exchange(&self, mut message: Message) -> Result<Response<Incoming>, Fault> {
        let tap = Arc::clone(&self.link.tap);
        hyper::ext::on_informational(&mut message, move |interim| {
            tap.interim(head::size(interim.headers()));
        });
        self.ready().await?;
        self.link.tap.head_begins();
        let answer = match &mut *self.link.state() {
            State::Claimed(live) => live.sender.send_request(message),
            State::Idle(_) | State::Closed => return Err(lost("the connection is closed")),
        };
        let mut answer = pin!(answer);
        let result = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await;
        let raw = self.link.tap.head_ends();
        if self.link.tap.too_many_interim() {
            return Err(Fault::TooManyInterim {
                limit: self.link.interim_limit,
            });
        }
        result.map_err(|error| self.head_fault(&error, &raw))
    }

    /// Lets the connection move; whoever awaits calls this first, with its own waker.
    pub(crate) fn drive(&self, cx: &mut Context<'_>) {
        let mut state = self.link.state();
        let State::Claimed(live) = &mut *state else {
            return;
        };
        if live.connection.as_mut().poll(cx).is_ready() {
            // What it ended with reaches the one who waits through hyper's channel, or is in the tap.
            drop(state);
            self.link.close();
        }
    }

    /// The answer has been read to its end: the connection is idle again, or closed if it cannot be used again.
    pub(crate) fn release(mut self, reusable: bool) {
        self.released = true;
        if !reusable {
            return self.link.close();
        }
        let mut state = self.link.state();
        *state = match std::mem::replace(&mut *state, State::Closed) {
            State::Claimed(live) => State::Idle(live),
            other => other,
        };
    }

    /// What broke the connection, if the transport reported an error.
    pub(crate) fn broken(&self) -> Option<String> {
        self.link.tap.broken()
    }

    /// Waits until hyper takes a request. This is where a connection that the peer closed meanwhile is noticed.
    async fn ready(&self) -> Result<(), Fault> {
        poll_fn(|cx| {
            self.drive(cx);
            match &mut *self.link.state() {
                State::Claimed(live) => live.sender.poll_ready(cx).map_err(|_closed| ()),
                State::Idle(_) | State::Closed => Poll::Ready(Err(())),
            }
        })
        .await
        .map_err(|()| {
            let idle = || lost("the peer closed the connection while it was idle");
            self.refused().unwrap_or_else(idle)
        })
    }

    /// What the peer thinks of our part of the handshake, if that broke the connection.
    fn refused(&self) -> Option<Fault> {
        self.link.tap.refused().map(Fault::Tls)
    }

    fn head_fault(&self, error: &hyper::Error, raw: &[u8]) -> Fault {
        if error.is_parse() {
            return diagnose(raw, self.link.limits);
        }
        if let Some(fault) = self.refused() {
            return fault;
        }
        if let Some(text) = self.broken() {
            return Fault::Lost(text);
        }
        lost(if raw.is_empty() {
            "the peer closed it before an answer"
        } else {
            "the peer closed it inside the head"
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.released {
            self.link.close();
        }
    }
}

fn lost(text: &str) -> Fault {
    Fault::Lost(text.to_owned())
}
