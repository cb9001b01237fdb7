//! A session: one HTTP/1.1 connection that takes one request at a time.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use tur_core::Fault;
use tur_core::port::{Reply, Request, Session, SessionFacts};

use crate::NetConfig;
use crate::body::HttpBody;
use crate::link::Link;
use crate::wire::Stream;
use crate::{head, message};

/// An HTTP/1.1 connection to one origin.
///
/// Dropping it closes the connection, whatever runs on it. So do a fetch that is dropped, and a body that is dropped
/// before its end.
pub struct HttpSession {
    link: Arc<Link>,
    facts: SessionFacts,
    user_agent: HeaderValue,
}

impl HttpSession {
    pub(crate) async fn start(
        stream: Stream,
        facts: SessionFacts,
        config: &NetConfig,
        user_agent: HeaderValue,
    ) -> Result<Self, Fault> {
        Ok(Self {
            link: Link::start(stream, config).await?,
            facts,
            user_agent,
        })
    }
}

impl Session for HttpSession {
    type Body = HttpBody;

    /// A request that cannot be sent is `Malformed` and leaves the session as it was; every other fault closes it.
    async fn fetch(&self, request: Request) -> Result<Reply<HttpBody>, Fault> {
        let message = message::message(&request, &self.user_agent)?;
        let claim = self.link.claim()?;
        let (parts, incoming) = claim.exchange(message).await?.into_parts();
        let facts = head::read(&parts)?;
        Ok(Reply {
            answer: facts.answer,
            body: HttpBody::new(claim, incoming, facts.body, facts.reusable),
        })
    }

    fn facts(&self) -> SessionFacts {
        self.facts.clone()
    }

    /// While an answer is being read this says whether its connection still stands; whether the peer keeps it is known
    /// at the end of the body.
    fn is_open(&self) -> bool {
        self.link.is_claimed() || self.link.is_idle()
    }
}

impl Drop for HttpSession {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSession")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}
