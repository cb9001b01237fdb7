//! quinn behind the traits of h3.
//!
//! Read [`Quic`]. Nothing here waits with a borrowed stream: each read and write is one poll, so a stream can be stopped at any
//! time. A stream that is dropped before its end is cancelled in both directions (RFC 9114, section 4.1.1).

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::h3::error::Code;
use ::h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use bytes::{Buf, Bytes};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use crate::body::BUFFER_COST;

use super::meter::{Breach, Meter};
use super::shared::{Pair, Shared};

/// A connection as h3 sees it.
pub(super) struct Quic {
    opener: Opener,
    accepting: Option<Waiting<quinn::RecvStream>>,
    accepted: usize,
}

/// Opens streams of a connection.
pub(super) struct Opener {
    connection: quinn::Connection,
    shared: Arc<Shared>,
    request: Option<Waiting<Pair>>,
    one_way: Option<Waiting<quinn::SendStream>>,
}

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send + Sync>>;

impl Quic {
    pub(super) fn new(connection: quinn::Connection, shared: Arc<Shared>) -> Self {
        Self {
            opener: Opener {
                connection,
                shared,
                request: None,
                one_way: None,
            },
            accepting: None,
            accepted: 0,
        }
    }
}

impl quic::Connection<Bytes> for Quic {
    type RecvStream = Incoming;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, ConnectionErrorIncoming>> {
        let connection = &self.opener.connection;
        let accept = || {
            let connection = connection.clone();
            async move { connection.accept_uni().await }
        };
        let stream = ready!(poll_in(&mut self.accepting, accept, cx)).map_err(of_connection)?;
        self.accepted += 1;
        if self.accepted > ACCEPTED_MAX {
            self.opener.shared.condemn(Breach::Flood);
            let text = Breach::Flood.to_string();
            return Poll::Ready(Err(ConnectionErrorIncoming::InternalError(text)));
        }
        let shared = Arc::clone(&self.opener.shared);
        Poll::Ready(Ok(Incoming::new(stream, Meter::of_peer(), shared)))
    }

    /// No peer is allowed such a stream: quinn closes the connection if it comes.
    fn poll_accept_bidi(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        Poll::Pending
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl quic::OpenStreams<Bytes> for Quic {
    type BidiStream = Both;
    type SendStream = Outgoing;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outgoing, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

impl Clone for Opener {
    /// What this one waits for, the other one does not.
    fn clone(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            shared: Arc::clone(&self.shared),
            request: None,
            one_way: None,
        }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = Both;
    type SendStream = Outgoing;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        let pair = match self.shared.spare() {
            Some(pair) => pair,
            None => {
                let connection = &self.connection;
                let open = || {
                    let connection = connection.clone();
                    async move { connection.open_bi().await }
                };
                ready!(poll_in(&mut self.request, open, cx)).map_err(of_stream)?
            }
        };
        let meter = Meter::of_answer(self.shared.head_limit());
        Poll::Ready(Ok(Both {
            send: Outgoing::new(pair.0),
            recv: Incoming::new(pair.1, meter, Arc::clone(&self.shared)),
        }))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outgoing, StreamErrorIncoming>> {
        let connection = &self.connection;
        let open = || {
            let connection = connection.clone();
            async move { connection.open_uni().await }
        };
        let stream = ready!(poll_in(&mut self.one_way, open, cx)).map_err(of_stream)?;
        Poll::Ready(Ok(Outgoing::new(stream)))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(varint(code.value()), reason);
    }
}

/// Polls what is waited for, which is begun if nothing is.
fn poll_in<T, F>(
    slot: &mut Option<Waiting<T>>,
    begin: impl FnOnce() -> F,
    cx: &mut Context<'_>,
) -> Poll<Result<T, ConnectionError>>
where
    F: Future<Output = Result<T, ConnectionError>> + Send + Sync + 'static,
{
    let waiting = slot.get_or_insert_with(|| Box::pin(begin()));
    let done = ready!(waiting.as_mut().poll(cx));
    *slot = None;
    Poll::Ready(done)
}

/// A request stream.
pub(super) struct Both {
    send: Outgoing,
    recv: Incoming,
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.recv.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

/// The direction to the peer.
pub(super) struct Outgoing {
    stream: quinn::SendStream,
    unsent: Option<WriteBuf<Bytes>>,
    over: bool,
}

impl Outgoing {
    fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            unsent: None,
            over: false,
        }
    }
}

impl quic::SendStream<Bytes> for Outgoing {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(unsent) = &mut self.unsent {
            let stream = Pin::new(&mut self.stream);
            let sent = ready!(stream.poll_write(cx, unsent.chunk())).map_err(of_write)?;
            unsent.advance(sent);
            if !unsent.has_remaining() {
                self.unsent = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.unsent.is_some() {
            let text = "the stream was not ready".to_owned();
            return Err(StreamErrorIncoming::ConnectionErrorIncoming {
                connection_error: ConnectionErrorIncoming::InternalError(text),
            });
        }
        self.unsent = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_ready(cx))?;
        self.over = true;
        if self.stream.finish().is_err() {
            // The peer has stopped it, and need not know its end.
            tracing::trace!("a stopped stream was finished");
        }
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, reset_code: u64) {
        self.over = true;
        if self.stream.reset(varint(reset_code)).is_err() {
            tracing::trace!("a stream that had ended was reset");
        }
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for Outgoing {
    /// quinn would finish it: half a request would look like a whole one.
    fn drop(&mut self) {
        if !self.over {
            quic::SendStream::reset(self, Code::H3_REQUEST_CANCELLED.value());
        }
    }
}

/// The direction from the peer.
pub(super) struct Incoming {
    stream: quinn::RecvStream,
    meter: Meter,
    shared: Arc<Shared>,
    /// Read, and not asked for yet.
    batch: VecDeque<Bytes>,
    over: Option<Over>,
}

/// How the reading of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// At its end, or by a fault that was told.
    Read,
    /// It was stopped from here.
    Stopped,
}

impl Incoming {
    fn new(stream: quinn::RecvStream, meter: Meter, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            meter,
            shared,
            batch: VecDeque::new(),
            over: None,
        }
    }

    fn id(&self) -> u64 {
        VarInt::from(self.stream.id()).into_inner()
    }

    /// Reads what is there. The future of quinn keeps nothing but the waker, which it leaves with the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        let mut chunks = [const { Bytes::new() }; BATCH];
        let read = ready!(pin!(self.stream.read_chunks(&mut chunks)).poll(cx));
        match read {
            Ok(Some(count)) => {
                let read = chunks.into_iter().take(count);
                self.batch.extend(read.filter(|chunk| !chunk.is_empty()));
            }
            Ok(None) => self.over = Some(Over::Read),
            Err(error) => {
                self.over = Some(Over::Read);
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn watch(&mut self, bytes: &[u8]) -> Result<(), StreamErrorIncoming> {
        let outcome = self.meter.take(bytes);
        if let Some(id) = self.meter.goaway() {
            self.shared.goes_away(id);
        }
        outcome.map_err(|breach| self.breached(breach))
    }

    /// The end was read: it counts if the frames say so too.
    fn end(&mut self) -> Result<(), StreamErrorIncoming> {
        self.meter.end().map_err(|breach| self.breached(breach))?;
        self.shared.end(self.id(), self.meter.content());
        Ok(())
    }

    fn breached(&self, breach: Breach) -> StreamErrorIncoming {
        if self.meter.is_of_connection() {
            self.shared.condemn(breach);
        }
        StreamErrorIncoming::Unknown(Box::new(breach))
    }
}

impl quic::RecvStream for Incoming {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            if self.over == Some(Over::Stopped) {
                let error_code = Code::H3_REQUEST_CANCELLED.value();
                return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code }));
            }
            if let Some(bytes) = self.batch.pop_front() {
                self.watch(&bytes)?;
                return Poll::Ready(Ok(Some(unpinned(bytes))));
            }
            if self.over == Some(Over::Read) {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_read(cx)).map_err(of_read)?;
            if self.over == Some(Over::Read) {
                self.end()?;
            }
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        if self.over.replace(Over::Stopped).is_none()
            && self.stream.stop(varint(error_code)).is_err()
        {
            tracing::trace!("a stream that had ended was stopped");
        }
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for Incoming {
    /// quinn would stop it without a reason.
    fn drop(&mut self) {
        quic::RecvStream::stop_sending(self, Code::H3_REQUEST_CANCELLED.value());
        self.shared.forget(self.id());
    }
}

/// A few bytes must not keep the packet that they came in.
fn unpinned(bytes: Bytes) -> Bytes {
    if bytes.len() < BUFFER_COST {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}

fn of_connection(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(closed) => ConnectionErrorIncoming::ApplicationClose {
            error_code: closed.error_code.into_inner(),
        },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn of_stream(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: of_connection(error),
    }
}

fn of_read(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        ReadError::ConnectionLost(error) => of_stream(error),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

fn of_write(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => of_stream(error),
        other => StreamErrorIncoming::Unknown(Box::new(other)),
    }
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner())
        .expect("a number of a stream is of variable length")
}

fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

/// Chunks that are read at once, of a packet each: about a budget's worth.
const BATCH: usize = 64;
/// Streams that a peer opens on a connection: three of them are of use.
const ACCEPTED_MAX: usize = 1_000;
