//! quinn behind the traits of h3, for a server that reads requests through h3 and writes answers by itself.
//!
//! Read [`Quic`]. The direction of an answer is kept aside for [`Answers::take`]; to h3 it seems to be there, and takes nothing.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, VarInt};

/// A connection as h3 sees it.
pub(super) struct Quic {
    connection: quinn::Connection,
    answers: Answers,
    requests: Option<Waiting<(quinn::SendStream, quinn::RecvStream)>>,
    one_way: Option<Waiting<quinn::RecvStream>>,
    opening: Option<Waiting<quinn::SendStream>>,
}

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>;

/// The streams that answers go out on, by number, until they are taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<HashMap<u64, quinn::SendStream>>>);

impl Answers {
    /// The stream for the answer to a request.
    pub(super) fn take(&self, id: StreamId) -> Option<quinn::SendStream> {
        let Self(streams) = self;
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.remove(&id.into_inner())
    }

    fn keep(&self, stream: quinn::SendStream) {
        let id = VarInt::from(stream.id()).into_inner();
        let Self(streams) = self;
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.insert(id, stream);
    }
}

impl Quic {
    pub(super) fn new(connection: quinn::Connection) -> (Self, Answers) {
        let answers = Answers::default();
        let quic = Self {
            connection,
            answers: answers.clone(),
            requests: None,
            one_way: None,
            opening: None,
        };
        (quic, answers)
    }
}

impl quic::Connection<Bytes> for Quic {
    type RecvStream = Incoming;
    type OpenStreams = Nothing;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, ConnectionErrorIncoming>> {
        let connection = self.connection.clone();
        let accept = || async move { connection.accept_uni().await };
        let stream = ready!(poll_in(&mut self.one_way, accept, cx));
        Poll::Ready(stream.map(Incoming).map_err(of_connection))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, ConnectionErrorIncoming>> {
        let connection = self.connection.clone();
        let accept = || async move { connection.accept_bi().await };
        let (send, recv) =
            ready!(poll_in(&mut self.requests, accept, cx)).map_err(of_connection)?;
        self.answers.keep(send);
        Poll::Ready(Ok(Incoming(recv)))
    }

    fn opener(&self) -> Nothing {
        Nothing
    }
}

impl quic::OpenStreams<Bytes> for Quic {
    type BidiStream = Incoming;
    type SendStream = Outgoing;

    fn poll_open_bidi(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, StreamErrorIncoming>> {
        Poll::Pending
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Outgoing, StreamErrorIncoming>> {
        let connection = self.connection.clone();
        let open = || async move { connection.open_uni().await };
        let stream = ready!(poll_in(&mut self.opening, open, cx)).map_err(of_stream)?;
        Poll::Ready(Ok(Outgoing {
            stream,
            unsent: None,
        }))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        let code = VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX);
        self.connection.close(code, reason);
    }
}

/// A server opens no request streams.
pub(super) struct Nothing;

impl quic::OpenStreams<Bytes> for Nothing {
    type BidiStream = Incoming;
    type SendStream = Outgoing;

    fn poll_open_bidi(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<Incoming, StreamErrorIncoming>> {
        Poll::Pending
    }

    fn poll_open_send(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<Outgoing, StreamErrorIncoming>> {
        Poll::Pending
    }

    fn close(&mut self, _code: Code, _reason: &[u8]) {}
}

fn poll_in<T, F>(
    slot: &mut Option<Waiting<T>>,
    begin: impl FnOnce() -> F,
    cx: &mut Context<'_>,
) -> Poll<Result<T, ConnectionError>>
where
    F: Future<Output = Result<T, ConnectionError>> + Send + 'static,
{
    let waiting = slot.get_or_insert_with(|| Box::pin(begin()));
    let done = ready!(waiting.as_mut().poll(cx));
    *slot = None;
    Poll::Ready(done)
}

/// The direction from the client; of a request, with the other one kept aside.
pub(super) struct Incoming(quinn::RecvStream);

impl quic::RecvStream for Incoming {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let mut chunks = [Bytes::new()];
        let read = ready!(pin!(self.0.read_chunks(&mut chunks)).poll(cx));
        let [chunk] = chunks;
        Poll::Ready(match read {
            Ok(read) => Ok(read.map(|_one| chunk)),
            Err(error) => Err(StreamErrorIncoming::Unknown(Box::new(error))),
        })
    }

    fn stop_sending(&mut self, error_code: u64) {
        // A client that has ended its request is told nothing.
        drop(
            self.0
                .stop(VarInt::from_u64(error_code).unwrap_or(VarInt::MAX)),
        );
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.0.id())
    }
}

impl quic::SendStream<Bytes> for Incoming {
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, _data: T) -> Result<(), StreamErrorIncoming> {
        Ok(())
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, _reset_code: u64) {}

    fn send_id(&self) -> StreamId {
        stream_id(self.0.id())
    }
}

/// One of the streams of HTTP/3 itself.
pub(super) struct Outgoing {
    stream: quinn::SendStream,
    unsent: Option<WriteBuf<Bytes>>,
}

impl quic::SendStream<Bytes> for Outgoing {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(unsent) = &mut self.unsent {
            let stream = Pin::new(&mut self.stream);
            let sent = ready!(stream.poll_write(cx, unsent.chunk()))
                .map_err(|error| StreamErrorIncoming::Unknown(Box::new(error)))?;
            unsent.advance(sent);
            if !unsent.has_remaining() {
                self.unsent = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.unsent = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.poll_ready(cx)
    }

    fn reset(&mut self, _reset_code: u64) {}

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

fn of_connection(error: ConnectionError) -> ConnectionErrorIncoming {
    ConnectionErrorIncoming::Undefined(Arc::new(error))
}

fn of_stream(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: of_connection(error),
    }
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner())
        .expect("a number of a stream is of variable length")
}
