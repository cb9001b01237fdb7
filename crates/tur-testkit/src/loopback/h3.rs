//! One HTTP/3 connection of the loopback origin: the same plays as over HTTP/2, one on each stream.
//!
//! Read [`accept`]. Requests are read by the h3 crate; answers are written frame by frame, with header sections that use no
//! compression, so that a head may be endless. Bytes that are no HTTP, and bytes behind the end of a body, are left out as
//! over HTTP/2. Codes of HTTP/2 in a behaviour are said as their like in HTTP/3.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h3::server::RequestStream;
use http::Request;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Incoming, SendStream, TransportConfig, VarInt};
use rustls::ServerConfig;
use tokio::task::{AbortHandle, JoinSet};

use super::forget::{Listener, Shift};
use super::quic::{self, Quic};
use super::serve::GRAIN;
use super::streams::{ENDLESS_FIELDS, INTERIM, seen};
use super::wire;
use crate::clock;
use crate::play::{Act, Break, Play, Script};
use crate::stage::{Schedule, Seat, Stage, Turn};
use crate::strike::Strike;

/// How the connection goes on after a stream.
enum After {
    /// As before.
    Next,
    /// Every stream ends with this code.
    Close(VarInt),
    /// GOAWAY: no further requests are taken; those that run go on.
    Finish,
}

/// Listens, for clients that run so many requests at once. Must be called on the runtime that is to drive the connections.
pub(super) fn listen(
    at: (Ipv4Addr, u16),
    tls: Arc<ServerConfig>,
    streams: Option<u32>,
) -> std::io::Result<Listener> {
    let tls = QuicServerConfig::try_from(tls).map_err(std::io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let mut transport = TransportConfig::default();
    // Tests count what was handed to the library: little is kept back behind it.
    transport.send_window(SEND_WINDOW);
    if let Some(streams) = streams {
        transport.max_concurrent_bidi_streams(VarInt::from_u32(streams));
    }
    config.transport_config(Arc::new(transport));
    Listener::bind(at, config)
}

/// Takes connections until the runtime goes.
pub(super) async fn accept(listener: Listener, stage: Arc<Stage>) {
    let endpoint = || listener.endpoint().expect("the socket is bound");
    let (mut standing, mut shift) = endpoint();
    let mut struck = stage.strikes.listen_to_all();
    loop {
        tokio::select! {
            incoming = standing.accept() => {
                let Some(incoming) = incoming else { return };
                clock::launch(connection(incoming, stage.clone(), shift.clone()));
            }
            strike = struck.next() => {
                if strike == Strike::Forget {
                    (standing, shift) = endpoint();
                }
            }
        }
    }
}

/// Serves one connection to its end. Errors mean that the client went away: there is nobody to tell.
async fn connection(incoming: Incoming, stage: Arc<Stage>, shift: Arc<Shift>) {
    let Some(seat) = stage.connect() else {
        incoming.refuse();
        return;
    };
    let Ok(connection) = incoming.await else {
        return;
    };
    let (quic, answers) = Quic::new(connection.clone());
    let server = h3::server::builder().send_grease(false).build(quic).await;
    let Ok(mut server) = server else {
        return;
    };
    let seat = Arc::new(seat);
    let mut struck = stage.strikes.listen(seat.number);
    let mut streams = JoinSet::new();
    let mut running: Vec<AbortHandle> = Vec::new();
    loop {
        let after = tokio::select! {
            request = server.accept() => {
                // The connection is over: streams that are held would wait for ever.
                let Ok(Some(request)) = request else {
                    return;
                };
                let answers = answers.clone();
                let (stage, seat, connection) = (stage.clone(), seat.clone(), connection.clone());
                running.retain(|stream| !stream.is_finished());
                running.push(streams.spawn(async move {
                    let Ok((request, stream)) = request.resolve_request().await else {
                        return After::Next;
                    };
                    let Some(answer) = answers.take(stream.id()) else {
                        return After::Next;
                    };
                    let mut exchange = Exchange { connection, answer, over: false, _request: stream };
                    let after = exchange.play((&stage, &seat), &request).await;
                    if let After::Close(code) = after {
                        // Before the stream is dropped, which would end it in good order.
                        exchange.connection.close(code, b"");
                    }
                    after
                }));
                continue;
            }
            Some(ended) = streams.join_next() => match ended {
                Err(error) if error.is_cancelled() => After::Next,
                ended => ended.unwrap_or(After::Close(INTERNAL_ERROR)),
            },
            strike = struck.next() => match strike {
                Strike::Cut => After::Close(INTERNAL_ERROR),
                Strike::Calm => After::Close(EXCESSIVE_LOAD),
                Strike::GoAway => After::Finish,
                // Whoever knew it is gone, without a word, though the endpoint may not have heard of it yet.
                Strike::Forget => return shift.end(),
                Strike::ResetHalf => {
                    running.retain(|stream| !stream.is_finished());
                    running.iter().step_by(2).for_each(AbortHandle::abort);
                    After::Next
                }
            },
        };
        match after {
            After::Next => {}
            After::Close(code) => return connection.close(code, b""),
            After::Finish => {
                // The next stream is the first one that is not served. A client that has gone need not know.
                drop(server.shutdown(1).await);
            }
        }
    }
}

/// A request and the way back.
struct Exchange {
    connection: quinn::Connection,
    answer: SendStream,
    /// It was ended or reset.
    over: bool,
    /// Dropped, it would tell the client to stop.
    _request: RequestStream<quic::Incoming, Bytes>,
}

impl Exchange {
    /// Plays one request to its end.
    async fn play(&mut self, (stage, seat): (&Arc<Stage>, &Seat), request: &Request<()>) -> After {
        let no_body = request.method() == http::Method::HEAD;
        let number = VarInt::from(self.answer.id()).into_inner();
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let (seen, wanted) = seen(request, seat, ("h3", number));
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
        if !self.unless_stopped(held).await {
            return After::Next;
        }
        for status in INTERIM.iter().cycle().take(interim as usize) {
            if !self.write(&head(*status, &[])).await {
                return After::Next;
            }
        }
        match act {
            Act::BlackHole => {
                self.unless_stopped(std::future::pending()).await;
                After::Next
            }
            Act::Hangup | Act::NotHttp => After::Close(INTERNAL_ERROR),
            Act::GoAway(code) => After::Close(like(code)),
            Act::ResetStream(code) => {
                self.reset(like(code));
                After::Next
            }
            Act::EndlessHead => {
                let field = ("x-filler".to_owned(), vec![b'x'; 1_000]);
                // A client that has had enough has stopped it.
                self.write(&head(200, &vec![field; ENDLESS_FIELDS])).await;
                After::Next
            }
            Act::Answer(script) => {
                let fields = wire::fields(&script);
                if !self.write(&head(script.head.status, &fields)).await {
                    return After::Next;
                }
                let after = match no_body {
                    true => self.finish(),
                    false => self.body(&script, &turn).await,
                };
                match after {
                    After::Next if !script.keep_alive => After::Finish,
                    after => after,
                }
            }
        }
    }

    /// Sends a body by its schedule, up to its end or where it breaks off.
    async fn body(&mut self, script: &Script, turn: &Turn) -> After {
        let end = script.stop.map_or(script.length, |stop| stop.at);
        let frame_max = turn.stage().link.frame.unwrap_or(u64::MAX).max(1);
        let mut schedule = Schedule::new(script, GRAIN);
        let mut sent = 0;
        while sent < end {
            if !self.unless_stopped(script.passes(sent)).await {
                return After::Next;
            }
            let passing = end.min(script.passing()) - sent;
            let slice = schedule.slice(turn.stage(), passing).min(frame_max);
            let Some(due) = schedule.reserve(turn.stage(), slice) else {
                self.unless_stopped(std::future::pending()).await;
                return After::Next;
            };
            clock::wait_until(due).await;
            let bytes = script.source.chunk(sent, slice);
            if !self.write(&frame(DATA, bytes.len())).await || !self.send(&bytes, turn).await {
                return After::Next;
            }
            sent += slice;
        }
        match script.stop.map(|stop| stop.how) {
            None => return self.finish(),
            Some(Break::Cut) => {
                // What was sent is to arrive before the connection ends.
                self.arrived().await;
                return After::Close(INTERNAL_ERROR);
            }
            Some(Break::Reset) => {
                self.arrived().await;
                self.reset(INTERNAL_ERROR);
            }
            Some(Break::Stall) => {
                self.unless_stopped(std::future::pending()).await;
            }
        }
        After::Next
    }

    /// Sends bytes of a body as the client's windows allow; false if it gave up the stream.
    async fn send(&mut self, mut bytes: &[u8], turn: &Turn) -> bool {
        while !bytes.is_empty() {
            let Ok(written) = self.answer.write(bytes).await else {
                return false;
            };
            turn.sent(written as u64);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        true
    }

    /// False if the client gave up the stream.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        self.answer.write_all(bytes).await.is_ok()
    }

    fn finish(&mut self) -> After {
        self.over = true;
        // The client has gone, if this fails.
        drop(self.answer.finish());
        After::Next
    }

    fn reset(&mut self, code: VarInt) {
        self.over = true;
        drop(self.answer.reset(code));
    }

    /// Waits until the client has what was sent: a stream that comes after all others, and means nothing, was acknowledged.
    async fn arrived(&self) {
        let marker = async {
            let mut last = self.connection.open_uni().await.ok()?;
            last.set_priority(-1).ok()?;
            last.write_all(&[RESERVED]).await.ok()?;
            last.finish().ok()?;
            last.stopped().await.ok()
        };
        tokio::select! {
            // Acknowledged, stopped, or the client is gone.
            _ = marker => {}
            () = clock::pass(ARRIVED_MAX) => {}
        }
    }

    /// Waits for `held` to be let go; false if the client gave up the stream before.
    async fn unless_stopped(&self, held: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = held => true,
            _ = self.answer.stopped() => false,
        }
    }
}

impl Drop for Exchange {
    /// quinn would end it, as if that was all.
    fn drop(&mut self) {
        if !self.over {
            self.reset(CANCELLED);
        }
    }
}

/// A HEADERS frame; each field is a literal (RFC 9204, section 4.5.6).
fn head(status: u16, fields: &[(String, Vec<u8>)]) -> Vec<u8> {
    // Neither the dynamic table nor a base is used.
    let mut section = vec![0, 0];
    literal(&mut section, ":status", status.to_string().as_bytes());
    for (name, value) in fields {
        literal(&mut section, &name.to_ascii_lowercase(), value);
    }
    let mut out = frame(HEADERS, section.len());
    out.extend(section);
    out
}

fn literal(section: &mut Vec<u8>, name: &str, value: &[u8]) {
    prefixed(section, (0x20, 3), name.len());
    section.extend(name.as_bytes());
    prefixed(section, (0, 7), value.len());
    section.extend(value);
}

/// A number in the last `bits` of a byte that begins with `pattern`, and in those that follow (RFC 7541, section 5.1).
fn prefixed(out: &mut Vec<u8>, (pattern, bits): (u8, u32), number: usize) {
    let max = (1usize << bits) - 1;
    let byte = |low: usize| u8::try_from(low & 0xff).expect("a byte was cut out");
    if number < max {
        out.push(pattern | byte(number));
        return;
    }
    out.push(pattern | byte(max));
    let mut rest = number - max;
    while rest >= 0x80 {
        out.push(byte(rest & 0x7f | 0x80));
        rest >>= 7;
    }
    out.push(byte(rest));
}

/// Type and length of a frame (RFC 9114, section 7.1).
fn frame(kind: u8, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).expect("a frame of a test is small") | 0x8000_0000;
    [&[kind][..], &length.to_be_bytes()].concat()
}

/// The code of HTTP/3 that says what one of HTTP/2 says (RFC 9114, appendix A.4).
fn like(code: u32) -> VarInt {
    VarInt::from_u32(match code {
        0x0 => 0x100,
        0x7 => 0x10b,
        0x8 => 0x10c,
        0xb => 0x107,
        0xd => 0x110,
        _ => 0x102,
    })
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// A type of streams that everybody ignores (RFC 9114, section 6.2.3).
const RESERVED: u8 = 0x21;
const INTERNAL_ERROR: VarInt = VarInt::from_u32(0x102);
const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x107);
const CANCELLED: VarInt = VarInt::from_u32(0x10c);
/// Bytes that the library keeps until they are acknowledged.
const SEND_WINDOW: u64 = 256 * 1024;
/// How long bytes that were sent are waited for before the connection is cut behind them.
const ARRIVED_MAX: Duration = Duration::from_secs(10);
