//! A session: a connection to one origin, whatever protocol it speaks.

use std::fmt;

use tur_core::Fault;
use tur_core::port::{Reply, Request, Session, SessionFacts, Window};

use crate::body::{self, HttpBody};
use crate::h1::H1Session;
use crate::h2::H2Session;
#[cfg(feature = "http3")]
use crate::h3::H3Session;

/// A connection to one origin.
///
/// Dropping it closes the connection, whatever runs on it. Over HTTP/1.1 so do a fetch that is dropped, and a body that
/// is dropped before its end. Over HTTP/2 those end their stream alone: 8 of them at once and one a second, 20 in all, by
/// resetting it; beyond that the session takes no more requests, and its connection is closed when its other streams
/// have ended. Over HTTP/3 they cancel their stream alone.
pub struct HttpSession {
    inner: Inner,
    facts: SessionFacts,
}

/// The session by protocol.
pub(crate) enum Inner {
    H1(H1Session),
    H2(H2Session),
    #[cfg(feature = "http3")]
    H3(H3Session),
}

impl Inner {
    /// The word for it in [`SessionFacts`].
    pub(crate) fn protocol(&self) -> &'static str {
        match self {
            Inner::H1(_) => "h1",
            Inner::H2(_) => "h2",
            #[cfg(feature = "http3")]
            Inner::H3(_) => "h3",
        }
    }
}

impl Inner {
    /// How much the peer may send ahead, where the protocol says so.
    pub(crate) fn window(&self) -> Option<Window> {
        match self {
            Inner::H1(_) => None,
            Inner::H2(session) => Some(session.window()),
            #[cfg(feature = "http3")]
            Inner::H3(session) => Some(session.window()),
        }
    }
}

impl HttpSession {
    pub(crate) fn new(inner: Inner, facts: SessionFacts) -> Self {
        Self { inner, facts }
    }
}

impl Session for HttpSession {
    type Body = HttpBody;

    /// A request that cannot be sent is `Malformed` and leaves the session as it was; every other fault closes it over
    /// HTTP/1.1. Over HTTP/2 and HTTP/3 faults that concern one stream leave it open too.
    async fn fetch(&self, request: Request) -> Result<Reply<HttpBody>, Fault> {
        match &self.inner {
            Inner::H1(session) => session
                .fetch(request)
                .await
                .map(|reply| wrap(reply, body::Inner::H1)),
            Inner::H2(session) => session
                .fetch(request)
                .await
                .map(|reply| wrap(reply, body::Inner::H2)),
            #[cfg(feature = "http3")]
            Inner::H3(session) => session
                .fetch(request)
                .await
                .map(|reply| wrap(reply, body::Inner::H3)),
        }
    }

    fn facts(&self) -> SessionFacts {
        SessionFacts {
            window: self.inner.window(),
            ..self.facts.clone()
        }
    }

    fn is_open(&self) -> bool {
        match &self.inner {
            Inner::H1(session) => session.is_open(),
            Inner::H2(session) => session.is_open(),
            #[cfg(feature = "http3")]
            Inner::H3(session) => session.is_open(),
        }
    }

    fn capacity(&self) -> usize {
        match &self.inner {
            Inner::H1(_) => 1,
            Inner::H2(session) => session.capacity(),
            #[cfg(feature = "http3")]
            Inner::H3(session) => session.capacity(),
        }
    }

    /// Over HTTP/3 it counts as broken: the next connection may go another way, which is TCP. Over HTTP/2 another connection
    /// is tried if nothing comes on this one, and else another stream. HTTP/1.1 has closed it.
    fn stalled(&self) {
        match &self.inner {
            Inner::H1(_) => {}
            Inner::H2(session) => session.stalled(),
            #[cfg(feature = "http3")]
            Inner::H3(session) => session.stalled(),
        }
    }

    /// Over HTTP/2 the same. QUIC finds out by itself that a path is dead, and an answer that takes its time is no reason to
    /// leave HTTP/3.
    fn unanswered(&self) {
        if let Inner::H2(session) = &self.inner {
            session.stalled();
        }
    }
}

impl fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSession")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

fn wrap<B>(reply: Reply<B>, body: impl FnOnce(B) -> body::Inner) -> Reply<HttpBody> {
    Reply {
        answer: reply.answer,
        body: HttpBody(body(reply.body)),
    }
}
