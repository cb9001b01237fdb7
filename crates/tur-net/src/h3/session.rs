//! An HTTP/3 session: one connection that takes many requests at once.

use std::sync::Arc;

use ::h3::client::{RequestStream, SendRequest};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, Response, StatusCode, response};
use quinn::VarInt;
use tur_core::port::{Reply, Request, Window};
use tur_core::{BodyKind, Fault};

use crate::config::{FIELDS_MAX, INTERIM_BYTES_MAX};
use crate::{head, message};

use super::adapter::{Both, Opener};
use super::body::H3Body;
use super::faults;
use super::shared::{Running, Shared};

/// A stream that carries one request and its answer.
pub(super) type Exchange = RequestStream<Both, Bytes>;

/// An HTTP/3 connection. Dropping it closes the connection, whatever runs on it. A fetch that is dropped, and a body that is
/// dropped before its end, cancel their stream alone.
pub(crate) struct H3Session {
    pub(super) sender: SendRequest<Opener, Bytes>,
    pub(super) connection: quinn::Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) user_agent: HeaderValue,
    /// The alternative that the connection leads to; `None` is the origin itself.
    pub(super) alt_used: Option<HeaderValue>,
    pub(super) interim_limit: usize,
    /// Streams at once that the peer allowed when the connection began.
    pub(super) capacity: usize,
}

impl H3Session {
    /// Faults that concern one stream leave the session open.
    pub(crate) async fn fetch(&self, request: Request) -> Result<Reply<H3Body>, Fault> {
        let mut message = message::streamed(&request, &self.user_agent)?;
        if !self.is_open() {
            return Err(self.closed());
        }
        if let Some(alternative) = &self.alt_used {
            let fields = message.headers_mut();
            fields.insert(ALT_USED, alternative.clone());
        }
        let running = self.shared.begins(&self.connection);
        let of = |error, id| faults::of_head(&error, &self.shared, id);
        let mut sender = self.sender.clone();
        let mut exchange = sender.send_request(message).await.map_err(|e| match e {
            // It is ours that is too large.
            ::h3::error::StreamError::HeaderTooBig { .. } => Fault::Malformed(
                "the header section of the request is larger than the server takes".to_owned(),
            ),
            other => of(other, None),
        })?;
        let id = exchange.id().into_inner();
        exchange.finish().await.map_err(|e| of(e, Some(id)))?;
        let mut interim = Interim::default();
        loop {
            let head = exchange
                .recv_response()
                .await
                .map_err(|e| of(e, Some(id)))?;
            if !head.status().is_informational() {
                self.shared.gauge().answered(self.connection.rtt());
                return self.reply(head, (exchange, running), id);
            }
            interim.count += 1;
            interim.bytes = interim.bytes.saturating_add(head::size(head.headers()));
            if interim.count > self.interim_limit || interim.bytes > INTERIM_BYTES_MAX {
                self.shared.retire();
                return Err(Fault::TooManyInterim {
                    limit: self.interim_limit,
                });
            }
        }
    }

    /// False after GOAWAY, a flood of interim answers, or when the connection has ended.
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.is_retired() && self.connection.close_reason().is_none()
    }

    /// How much the peer may send ahead, and why.
    pub(crate) fn window(&self) -> Window {
        self.shared.gauge().facts()
    }

    /// What the peer allowed when the connection began: as streams end it allows others. Never more than [`STREAMS_MAX`].
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.max(1)
    }

    /// Nothing came for too long, though the connection stands.
    pub(crate) fn stalled(&self) {
        self.shared.breaks();
        self.shared.retire();
    }

    fn reply(
        &self,
        head: Response<()>,
        (exchange, running): (Exchange, Running),
        id: u64,
    ) -> Result<Reply<H3Body>, Fault> {
        let (parts, ()) = head.into_parts();
        if parts.headers.len() > FIELDS_MAX {
            return Err(Fault::HeadTooLarge {
                limit: self.shared.head_limit(),
            });
        }
        let kind = body_kind(&parts)?;
        Ok(Reply {
            answer: head::answer(&parts, kind)?,
            body: H3Body::new((exchange, running), id, Arc::clone(&self.shared), kind),
        })
    }

    fn closed(&self) -> Fault {
        let told = match self.connection.close_reason() {
            Some(error) => {
                let lost = || Fault::Lost(faults::text(&error));
                faults::refused(&error).unwrap_or_else(lost)
            }
            None => Fault::StreamRefused("the connection takes no more requests".to_owned()),
        };
        self.shared.verdict().unwrap_or(told)
    }
}

impl Drop for H3Session {
    fn drop(&mut self) {
        // To close it hides what ended it before.
        let ended = self.connection.close_reason();
        if ended.is_some_and(|reason| !faults::is_in_order(&reason)) {
            self.shared.breaks();
        }
        self.shared.close();
        self.connection.close(NO_ERROR, b"");
    }
}

/// Interim answers so far.
#[derive(Default)]
struct Interim {
    count: usize,
    bytes: usize,
}

/// RFC 9114, section 4.1.2: the end of the stream is the end of the body, and a length that is told must agree with it.
///
/// # Errors
/// `Malformed` for lengths that differ or are no numbers: h3 hands them on as they came.
fn body_kind(head: &response::Parts) -> Result<BodyKind, Fault> {
    if matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        return Ok(BodyKind::Length(0));
    }
    let mut kind = BodyKind::Marked;
    for value in head.headers.get_all(CONTENT_LENGTH) {
        let told = length(value)
            .map(BodyKind::Length)
            .filter(|told| kind == BodyKind::Marked || kind == *told);
        kind = told.ok_or_else(|| Fault::Malformed("bad Content-Length".to_owned()))?;
    }
    Ok(kind)
}

/// Digits alone: a sign would be taken by the parser of numbers.
fn length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Streams at once, whatever the peer allows: as over HTTP/2.
pub(super) const STREAMS_MAX: usize = 100;
/// RFC 7838, section 5.
const ALT_USED: HeaderName = HeaderName::from_static("alt-used");
/// `H3_NO_ERROR` (RFC 9114, section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_digits_and_agree() {
        for (values, kind) in [
            (&[][..], Some(BodyKind::Marked)),
            (&["0"], Some(BodyKind::Length(0))),
            (&["12", "12"], Some(BodyKind::Length(12))),
            (&["18446744073709551615"], Some(BodyKind::Length(u64::MAX))),
            (&["18446744073709551616"], None),
            (&["12", "13"], None),
            (&["12, 12"], None),
            (&["+1"], None),
            (&["-1"], None),
            (&[""], None),
        ] {
            let mut head = Response::new(());
            for value in values {
                let value = HeaderValue::from_static(value);
                head.headers_mut().append(CONTENT_LENGTH, value);
            }
            let (parts, ()) = head.into_parts();
            assert_eq!(body_kind(&parts).ok(), kind, "{values:?}");
        }
    }
}
