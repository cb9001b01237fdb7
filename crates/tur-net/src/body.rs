//! The body of an answer, whatever protocol it comes over.

use std::fmt;

use tur_core::port::{Body, Fill};
use tur_core::{Chunks, Fault};

use crate::h1::H1Body;
use crate::h2::H2Body;
#[cfg(feature = "http3")]
use crate::h3::H3Body;

/// The body of an answer. Dropped before its end it frees its connection (HTTP/1.1) or stream.
pub struct HttpBody(pub(crate) Inner);

/// The body by protocol.
pub(crate) enum Inner {
    H1(H1Body),
    H2(H2Body),
    #[cfg(feature = "http3")]
    H3(H3Body),
}

impl Body for HttpBody {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        match &mut self.0 {
            Inner::H1(body) => body.fill(chunks, budget).await,
            Inner::H2(body) => body.fill(chunks, budget).await,
            #[cfg(feature = "http3")]
            Inner::H3(body) => body.fill(chunks, budget).await,
        }
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::H1(body) => f.debug_tuple("HttpBody").field(body).finish(),
            Inner::H2(body) => f.debug_tuple("HttpBody").field(body).finish(),
            #[cfg(feature = "http3")]
            Inner::H3(body) => f.debug_tuple("HttpBody").field(body).finish(),
        }
    }
}

/// What a buffer counts for at least: in chunks of one byte, the handles would otherwise outweigh the bytes thirty times.
pub(crate) const BUFFER_COST: usize = 256;
