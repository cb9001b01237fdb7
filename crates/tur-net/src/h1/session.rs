//! An HTTP/1.1 session: one connection that takes one request at a time.

use std::sync::Arc;

use http::HeaderValue;
use tur_core::Fault;
use tur_core::port::{Reply, Request};

use crate::proxy::Via;
use crate::stream::Stream;
use crate::{NetConfig, head, message};

use super::body::H1Body;
use super::framing;
use super::link::Link;

/// An HTTP/1.1 connection. Dropping it closes the connection, whatever runs on it. So do a fetch that is dropped, and a
/// body that is dropped before its end.
pub(crate) struct H1Session {
    link: Arc<Link>,
    user_agent: HeaderValue,
    /// The proxy that requests are handed to.
    via: Option<Via>,
}

impl H1Session {
    /// Puts HTTP/1.1 on a connected stream; no byte moves yet.
    ///
    /// # Errors
    /// `Lost` if hyper refuses the stream.
    pub(crate) async fn start(
        stream: Stream,
        config: &NetConfig,
        user_agent: HeaderValue,
    ) -> Result<Self, Fault> {
        Ok(Self {
            link: Link::start(stream, config).await?,
            user_agent,
            via: None,
        })
    }

    /// The same, whose requests are handed to a proxy.
    pub(crate) fn through(mut self, via: Option<Via>) -> Self {
        self.via = via;
        self
    }

    /// A request that cannot be sent is `Malformed` and leaves the session as it was; every other fault closes it.
    pub(crate) async fn fetch(&self, request: Request) -> Result<Reply<H1Body>, Fault> {
        let mut message = message::message(&request, &self.user_agent)?;
        if let Some(via) = &self.via {
            via.forward(&mut message, &request.target)?;
        }
        let claim = self.link.claim()?;
        let (parts, incoming) = claim.exchange(message).await?.into_parts();
        if let Some(via) = &self.via {
            via.check(&parts)?;
        }
        let kind = framing::body_kind(&parts)?;
        Ok(Reply {
            answer: head::answer(&parts, kind)?,
            body: H1Body::new(claim, incoming, kind, framing::reusable(&parts, kind)),
        })
    }

    /// While an answer is being read this says whether its connection still stands; whether the peer keeps it is known
    /// at the end of the body.
    pub(crate) fn is_open(&self) -> bool {
        self.link.is_claimed() || self.link.is_idle()
    }
}

impl Drop for H1Session {
    fn drop(&mut self) {
        self.link.close();
    }
}
