//! A session: a connection to one origin, whatever protocol it speaks.

use std::fmt;

use tur_core::Fault;
use tur_core::port::{Reply, Request, Session, SessionFacts};

use crate::body::{self, HttpBody};
use crate::h1::H1Session;

/// A connection to one origin.
///
/// Dropping it closes the connection, whatever runs on it. Over HTTP/1.1 so do a fetch that is dropped, and a body that
/// is dropped before its end.
pub struct HttpSession {
    inner: Inner,
    facts: SessionFacts,
}

/// The session by protocol.
pub(crate) enum Inner {
    H1(H1Session),
}

impl HttpSession {
    pub(crate) fn new(inner: Inner, facts: SessionFacts) -> Self {
        Self { inner, facts }
    }
}

impl Session for HttpSession {
    type Body = HttpBody;

    /// A request that cannot be sent is `Malformed` and leaves the session as it was; every other fault closes it.
    async fn fetch(&self, request: Request) -> Result<Reply<HttpBody>, Fault> {
        match &self.inner {
            Inner::H1(session) => session
                .fetch(request)
                .await
                .map(|reply| wrap(reply, body::Inner::H1)),
        }
    }

    fn facts(&self) -> SessionFacts {
        self.facts.clone()
    }

    fn is_open(&self) -> bool {
        match &self.inner {
            Inner::H1(session) => session.is_open(),
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
