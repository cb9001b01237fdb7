//! One HTTP/2 connection of the loopback origin: the same plays as over HTTP/1, one on each stream.
//!
//! Read [`converse`]. What a play does to "the connection" it does to the connection: a cut or a hang-up ends every stream.
//! A reset is of the stream. Bytes that are no HTTP, and bytes behind the end of a body, cannot be said in frames that the
//! server library writes: a request for the former meets a hang-up, the latter are left out.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::task::{AbortHandle, JoinSet};

use super::insert::{Inserting, Inserts};
use super::serve::{GRAIN, Wire};
use super::wire;
use crate::clock;
use crate::log::Seen;
use crate::play::{Act, Break, Play, Script, Wanted};
use crate::stage::{Schedule, Seat, Stage, Turn};
use crate::strike::Strike;

/// How the connection goes on after a stream.
enum After {
    /// As before.
    Next,
    /// Every stream ends, without good-bye: not even of the stream inside, which is kept until the connection is gone.
    Drop(Box<dyn Any + Send>),
    /// No further requests are taken; those that run go on.
    Finish,
    /// GOAWAY with this code, and every stream ends.
    GoAway(Reason),
}

/// Serves one connection to its end. Errors mean that the client went away: there is nobody to tell.
pub(super) async fn converse<S: Wire>(stream: S, stage: Arc<Stage>, seat: Seat) {
    let mut struck = stage.strikes.listen(seat.number);
    let (stream, inserts) = Inserting::new(stream);
    let Ok(mut connection) = builder(&stage).handshake(stream).await else {
        return;
    };
    let seat = Arc::new(seat);
    let mut streams = JoinSet::new();
    let mut served = Served::default();
    loop {
        let after = tokio::select! {
            request = connection.accept() => {
                // The connection is over: streams that are held would wait for ever.
                let Some(Ok((request, respond))) = request else {
                    return;
                };
                let id = respond.stream_id().as_u32();
                if served.last.is_none_or(|last| id <= last) {
                    let (stage, seat) = (stage.clone(), seat.clone());
                    let answer = async move { answer((&stage, &seat), request, respond).await };
                    served.begin(id, streams.spawn(answer));
                }
                continue;
            }
            Some(ended) = streams.join_next() => match ended {
                Ok(after) => after,
                Err(error) if error.is_cancelled() => After::Next,
                Err(_panicked) => After::Drop(Box::new(())),
            },
            strike = struck.next() => served.meet(strike, &inserts),
            () = clock::pass(FAREWELL), if served.last.is_some() && streams.is_empty() => return,
        };
        match after {
            After::Next => {}
            After::Drop(_stream) => return drop(connection),
            After::Finish => connection.graceful_shutdown(),
            After::GoAway(reason) => {
                connection.abrupt_shutdown(reason);
                return flush(&mut connection).await;
            }
        }
    }
}

/// The streams of a connection that are being answered.
#[derive(Default)]
struct Served {
    running: BTreeMap<u32, AbortHandle>,
    /// The last one that is served, once that was told.
    last: Option<u32>,
}

impl Served {
    fn begin(&mut self, id: u32, stream: AbortHandle) {
        if self.running.len() >= SERVED_MAX {
            self.tidy();
        }
        self.running.insert(id, stream);
    }

    fn tidy(&mut self) {
        self.running.retain(|_, stream| !stream.is_finished());
    }

    /// Does to the connection what is to be done. A stream that is dropped is reset by the library.
    fn meet(&mut self, strike: Strike, inserts: &Inserts) -> After {
        self.tidy();
        match strike {
            Strike::Cut | Strike::Forget => return After::Drop(Box::new(())),
            Strike::Calm => return After::GoAway(Reason::ENHANCE_YOUR_CALM),
            Strike::ResetHalf => self
                .running
                .values()
                .step_by(2)
                .for_each(AbortHandle::abort),
            Strike::GoAway if self.last.is_none() => {
                let middle = self.running.len().saturating_sub(1) / 2;
                let last = self.running.keys().nth(middle).copied().unwrap_or_default();
                inserts.goaway(last);
                self.last = Some(last);
                let beyond = self.running.range(last + 1..);
                beyond.for_each(|(_, stream)| stream.abort());
            }
            Strike::GoAway => {}
        }
        After::Next
    }
}

fn builder(stage: &Stage) -> Builder {
    let mut builder = Builder::new();
    if let Some(streams) = stage.link.streams {
        builder.max_concurrent_streams(streams);
    }
    // Tests count what was handed to the socket: little is kept back behind it.
    builder.max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Writes what is left to write.
async fn flush<S: Wire>(connection: &mut Connection<Inserting<S>, Bytes>) {
    drop(poll_fn(|cx| connection.poll_closed(cx)).await);
}

/// Plays one request to its end.
async fn answer(
    (stage, seat): (&Arc<Stage>, &Seat),
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> After {
    let no_body = request.method() == http::Method::HEAD;
    let number = respond.stream_id().as_u32();
    let (seen, wanted) = seen(&request, seat, ("h2", number));
    let (play, turn) = stage.request(seat, seen, wanted);
    let Play {
        delay,
        gate,
        interim,
        act,
    } = play;
    if stage.link.black_hole {
        std::future::pending::<()>().await;
    }
    let held = async {
        clock::pass(delay).await;
        if let Some(gate) = gate {
            gate.passes(0).await;
        }
    };
    if !unless_reset(|cx| respond.poll_reset(cx), held).await {
        return After::Next;
    }
    for status in INTERIM.iter().cycle().take(interim as usize) {
        if respond
            .send_informational(head(*status, Vec::new()))
            .is_err()
        {
            return After::Next;
        }
    }
    match act {
        Act::BlackHole => {
            unless_reset(|cx| respond.poll_reset(cx), std::future::pending()).await;
            After::Next
        }
        Act::Hangup | Act::NotHttp => After::Drop(Box::new(respond)),
        Act::GoAway(code) => After::GoAway(code.into()),
        Act::ResetStream(code) => {
            respond.send_reset(code.into());
            After::Next
        }
        Act::EndlessHead => {
            let filler = (0..ENDLESS_FIELDS).map(|_| ("x-filler".to_owned(), vec![b'x'; 1_000]));
            // A client that has had enough is gone.
            drop(respond.send_response(head(200, filler.collect()), true));
            After::Next
        }
        Act::Answer(script) => {
            let empty = no_body || (script.length == 0 && script.stop.is_none());
            let fields = wire::fields(&script);
            let sent = respond.send_response(head(script.head.status, fields), empty);
            let after = match sent {
                Ok(stream) if !empty => body(stream, &script, &turn).await,
                _ => After::Next,
            };
            match after {
                After::Next if !script.keep_alive => After::Finish,
                after => after,
            }
        }
    }
}

/// Sends a body by its schedule, up to its end or where it breaks off.
async fn body(mut stream: SendStream<Bytes>, script: &Script, turn: &Turn) -> After {
    let end = script.stop.map_or(script.length, |stop| stop.at);
    let frame_max = turn.stage().link.frame.unwrap_or(u64::MAX).max(1);
    let mut schedule = Schedule::new(script, GRAIN);
    let mut sent = 0;
    while sent < end {
        if !unless_reset(|cx| stream.poll_reset(cx), script.passes(sent)).await {
            return After::Next;
        }
        let passing = end.min(script.passing()) - sent;
        let slice = schedule.slice(turn.stage(), passing).min(frame_max);
        let Some(due) = schedule.reserve(turn.stage(), slice) else {
            unless_reset(|cx| stream.poll_reset(cx), std::future::pending()).await;
            return After::Next;
        };
        clock::wait_until(due).await;
        if !send(&mut stream, script.source.chunk(sent, slice), turn).await {
            return After::Next;
        }
        sent += slice;
    }
    match script.stop.map(|stop| stop.how) {
        // The client has gone, if this fails.
        None => drop(stream.send_data(Bytes::new(), true)),
        Some(Break::Cut) => {
            // What was sent is to arrive before the connection ends.
            written(&mut stream).await;
            return After::Drop(Box::new(stream));
        }
        Some(Break::Reset) => {
            written(&mut stream).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        Some(Break::Stall) => {
            unless_reset(|cx| stream.poll_reset(cx), std::future::pending()).await;
        }
    }
    After::Next
}

/// Sends bytes as the client's windows allow; false if it gave up the stream.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, turn: &Turn) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return false;
        };
        let part = bytes.split_to(room.min(bytes.len()));
        let len = part.len() as u64;
        if stream.send_data(part, false).is_err() {
            return false;
        }
        turn.sent(len);
    }
    true
}

/// Waits until the library holds nothing of the stream back, as well as that can be told: then it grants capacity again.
async fn written(stream: &mut SendStream<Bytes>) {
    stream.reserve_capacity(SEND_BUFFER);
    let granted = async {
        while stream.capacity() < SEND_BUFFER {
            let Some(Ok(_)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
                return;
            };
        }
    };
    tokio::select! {
        () = granted => {}
        // A client with a small window never grants so much.
        () = clock::pass(WRITTEN_MAX) => {}
    }
    tokio::task::yield_now().await;
}

/// Waits for `held` to be let go; false if the client gave up the stream before.
async fn unless_reset(
    mut poll_reset: impl FnMut(
        &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Reason, h2::Error>>,
    held: impl Future<Output = ()>,
) -> bool {
    tokio::select! {
        biased;
        () = held => true,
        _ = poll_fn(&mut poll_reset) => false,
    }
}

fn head(status: u16, fields: Vec<(String, Vec<u8>)>) -> Response<()> {
    let mut response = Response::new(());
    *response.version_mut() = http::Version::HTTP_2;
    if let Ok(status) = http::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    for (name, value) in fields {
        // What cannot stand in a field here is left out.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(&value),
        ) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// A request over `protocol` on the stream of this number, and what it asks for.
pub(super) fn seen<B>(
    request: &Request<B>,
    seat: &Seat,
    (protocol, stream): (&'static str, u32),
) -> (Seen, Option<Wanted>) {
    let uri = request.uri();
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut seen = Seen {
        method: request.method().to_string(),
        path: uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        host: uri.authority().map_or("", |host| host.as_str()).to_owned(),
        range: None,
        if_range: None,
        fields: fields.collect(),
        protocol,
        connection: seat.number,
        stream,
        at: Duration::ZERO,
        status: 0,
        sent: 0,
    };
    let wanted = seen.field("range").and_then(Wanted::parse);
    if let Some(Wanted::Range(range)) = wanted {
        seen.range = Some(range);
    }
    seen.if_range = seen.field("if-range").map(<[u8]>::to_vec);
    (seen, wanted)
}

/// Interim statuses, in turn.
pub(super) const INTERIM: [u16; 3] = [103, 102, 100];
/// Streams after which those that have ended are forgotten.
const SERVED_MAX: usize = 256;
/// How long a connection that took leave stays after its last stream, so that what was written gets there.
const FAREWELL: Duration = Duration::from_millis(50);
/// How long bytes that were sent are waited for before the connection is cut behind them.
const WRITTEN_MAX: Duration = Duration::from_millis(200);
/// Bytes of a stream that the library keeps.
const SEND_BUFFER: usize = 64 * 1024;
/// An endless head is not quite endless: 2 MiB of it.
pub(super) const ENDLESS_FIELDS: usize = 2 * 1024;
