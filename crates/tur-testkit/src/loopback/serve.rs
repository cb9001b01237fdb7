//! One connection of the loopback origin, from handshake to close.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::request::{Inbox, Request};
use super::{Speaks, streams, wire};
use crate::behaviour::Framing;
use crate::clock;
use crate::content::CHUNK_MAX;
use crate::pace::Grain;
use crate::play::{Act, Break, Play, Script};
use crate::stage::{Schedule, Seat, Stage, Turn};

/// A stream that can be broken off without good-bye.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket beneath.
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// How a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The next request.
    Next,
    /// An orderly close.
    Close,
    /// A close in the middle: TLS is not ended properly.
    Drop,
    /// A reset.
    Reset,
}

/// Serves one accepted connection. Errors mean that the client went away: there is nobody to tell.
pub(super) async fn connection(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    (stage, speaks): (Arc<Stage>, Speaks),
) {
    let Some(seat) = stage.connect() else {
        reset(&stream);
        return;
    };
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match acceptor {
        None if in_streams(&stream, speaks).await => streams::converse(stream, stage, seat).await,
        None => converse(stream, stage, &seat).await,
        Some(acceptor) => {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let agreed = stream.get_ref().1.alpn_protocol();
            if agreed == Some(b"h2") || (agreed.is_none() && speaks == Speaks::H2) {
                streams::converse(stream, stage, seat).await;
            } else {
                converse(stream, stage, &seat).await;
            }
        }
    }
}

/// Whether a client in clear text is to be spoken to in HTTP/2: by the first bytes it sends, where both are spoken.
async fn in_streams(stream: &TcpStream, speaks: Speaks) -> bool {
    match speaks {
        // HTTP/3 is not spoken over TCP.
        Speaks::H1 | Speaks::H3 => false,
        Speaks::H2 => true,
        Speaks::Both => {
            let mut first = [0; 3];
            // Fewer bytes than these begin no request of either.
            stream.peek(&mut first).await.is_ok() && first == *b"PRI"
        }
    }
}

async fn converse<S: Wire>(mut stream: S, stage: Arc<Stage>, seat: &Seat) {
    let mut inbox = Inbox::default();
    let mut struck = stage.strikes.listen(seat.number);
    loop {
        let request = tokio::select! {
            biased;
            request = inbox.request(&mut stream, seat.number) => request,
            _ = struck.next() => return,
        };
        let Ok(Some(request)) = request else {
            return;
        };
        let after = tokio::select! {
            biased;
            after = answer(&mut stream, &mut inbox, (&stage, seat), request) => after,
            _ = struck.next() => return,
        };
        // A failed write is a client that went away.
        match after.unwrap_or(After::Drop) {
            After::Next => {}
            After::Drop => return,
            After::Reset => return reset(stream.socket()),
            After::Close => return close(&mut stream).await,
        }
    }
}

/// Plays one request to its end.
async fn answer<S: Wire>(
    stream: &mut S,
    inbox: &mut Inbox,
    (stage, seat): (&Arc<Stage>, &Seat),
    request: Request,
) -> io::Result<After> {
    let no_body = request.seen.method == "HEAD";
    let keep_alive = request.keep_alive;
    let (play, turn) = stage.request(seat, request.seen, request.wanted);
    let Play {
        delay,
        gate,
        interim,
        act,
    } = play;
    if stage.link.black_hole {
        return Ok(hold(stream).await);
    }
    let held = async {
        clock::pass(delay).await;
        if let Some(gate) = gate {
            gate.passes(0).await;
        }
    };
    if !unless_gone(stream, inbox, held).await? {
        return Ok(After::Drop);
    }
    for head in INTERIM.iter().cycle().take(interim as usize) {
        stream.write_all(head).await?;
    }
    match act {
        Act::BlackHole => Ok(hold(stream).await),
        Act::Hangup | Act::ResetStream(_) | Act::GoAway(_) => Ok(After::Drop),
        Act::NotHttp => {
            stream
                .write_all(b"\x00\x01\x1b[31mthis is not HTTP\xff\r\n\r\n")
                .await?;
            stream.flush().await?;
            Ok(After::Close)
        }
        Act::EndlessHead => endless_head(stream).await,
        Act::Answer(script) => {
            let keep_alive = keep_alive && script.keep_alive && !script.used_up;
            let mut ahead = Ahead(wire::head(&script, keep_alive));
            let after = match no_body {
                true => After::Next,
                false => body(stream, inbox, (&script, &turn), &mut ahead).await?,
            };
            ahead.leaves(stream).await?;
            Ok(match after {
                After::Next if !keep_alive => After::Close,
                after => after,
            })
        }
    }
}

/// Sends a body by its schedule, up to its end or where it breaks off. What is ahead of it leaves with its first bytes,
/// or before anything is waited for.
async fn body<S: Wire>(
    stream: &mut S,
    inbox: &mut Inbox,
    (script, turn): (&Script, &Turn),
    ahead: &mut Ahead,
) -> io::Result<After> {
    let chunked = script.head.framing == Framing::Chunked;
    let end = script.stop.map_or(script.length, |stop| stop.at);
    let last_chunk: &[u8] = match script.stop {
        None if chunked => b"0\r\n\r\n",
        _ => b"",
    };
    let mut schedule = Schedule::new(script, GRAIN);
    let mut sent = 0;
    while sent < end {
        if script.passing() <= sent {
            ahead.leaves(stream).await?;
        }
        if !unless_gone(stream, inbox, script.passes(sent)).await? {
            return Ok(After::Drop);
        }
        let passing = end.min(script.passing()) - sent;
        let slice = schedule.slice(turn.stage(), passing);
        let Some(due) = schedule.reserve(turn.stage(), slice) else {
            ahead.leaves(stream).await?;
            return Ok(hold(stream).await);
        };
        if due > clock::now() {
            ahead.leaves(stream).await?;
        }
        clock::wait_until(due).await;
        let bytes = script.source.chunk(sent, slice);
        let mut behind = Vec::new();
        if chunked {
            ahead
                .0
                .extend(format!("{:x}\r\n", bytes.len()).into_bytes());
            behind.extend(b"\r\n");
        }
        sent += slice;
        if sent == end {
            behind.extend(last_chunk);
        }
        ahead.leaves_with(stream, turn, (bytes, &behind)).await?;
    }
    if end == 0 {
        ahead.0.extend(last_chunk);
    }
    ahead.leaves(stream).await?;
    if let Some(stop) = script.stop {
        return Ok(match stop.how {
            Break::Cut => After::Drop,
            Break::Reset => After::Reset,
            Break::Stall => hold(stream).await,
        });
    }
    extra(stream, script.extra).await?;
    stream.flush().await?;
    Ok(After::Next)
}

/// What leaves in one write with that which follows it: a client that looks once sees a small answer whole, as it does
/// that of a real server.
struct Ahead(Vec<u8>);

impl Ahead {
    /// Sends it alone, if there is anything.
    async fn leaves<S: Wire>(&mut self, stream: &mut S) -> io::Result<()> {
        stream.write_all(&std::mem::take(&mut self.0)).await?;
        stream.flush().await
    }

    /// Sends it with a body's bytes and what comes behind them. Each byte of the body is counted as it is handed over.
    async fn leaves_with<S: Wire>(
        &mut self,
        stream: &mut S,
        turn: &Turn,
        (bytes, behind): (Bytes, &[u8]),
    ) -> io::Result<()> {
        let ahead = std::mem::take(&mut self.0);
        let mut all = Buf::chain(&*ahead, bytes).chain(behind);
        while all.has_remaining() {
            let write = poll_fn(|cx| {
                turn.sends(|| {
                    let left = all.first_ref().last_ref().len();
                    let written = poll_write(stream, cx, &mut all);
                    (left - all.first_ref().last_ref().len(), written)
                })
            });
            write.await?;
        }
        stream.flush().await
    }
}

/// Hands over what a socket takes at once.
fn poll_write<S: Wire>(
    stream: &mut S,
    cx: &mut Context<'_>,
    all: &mut impl Buf,
) -> Poll<io::Result<()>> {
    let mut slices = [IoSlice::new(&[]); 3];
    let count = all.chunks_vectored(&mut slices);
    match ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..count]))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => {
            all.advance(written);
            Poll::Ready(Ok(()))
        }
    }
}

/// Sends bytes that belong to no body.
async fn extra<S: Wire>(stream: &mut S, count: u64) -> io::Result<()> {
    let mut left = count;
    while left > 0 {
        let step = left.min(EXTRA.len() as u64);
        let len = usize::try_from(step).expect("no more than the array has");
        stream.write_all(&EXTRA[..len]).await?;
        left -= step;
    }
    Ok(())
}

/// Sends fields until the client has had enough.
async fn endless_head<S: Wire>(stream: &mut S) -> io::Result<After> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
    let line = [b"X-Filler: ".as_slice(), &[b'x'; 1_000], b"\r\n"].concat();
    for _ in 0..ENDLESS_HEAD_MAX / line.len() {
        stream.write_all(&line).await?;
    }
    Ok(After::Drop)
}

/// Waits for `held` to be let go; false if the client went away before: nothing is sent meanwhile, so only reading
/// shows it.
async fn unless_gone<S: Wire>(
    stream: &mut S,
    inbox: &mut Inbox,
    held: impl Future<Output = ()>,
) -> io::Result<bool> {
    tokio::select! {
        biased;
        () = held => Ok(true),
        gone = inbox.closed(stream) => gone.map(|()| false),
    }
}

/// Says nothing more until the client goes.
async fn hold<S: Wire>(stream: &mut S) -> After {
    drain(stream, u64::MAX).await;
    After::Drop
}

/// Reads and forgets until the client closes, at most `max` bytes.
async fn drain<S: Wire>(stream: &mut S, max: u64) {
    let mut buffer = [0; 4 * 1024];
    let mut left = max;
    while let Ok(n) = stream.read(&mut buffer).await {
        left = left.saturating_sub(n as u64);
        if n == 0 || left == 0 {
            return;
        }
    }
}

/// Closes so that the client can read all that was sent: a socket dropped with unread input would be reset.
async fn close<S: Wire>(stream: &mut S) {
    if stream.shutdown().await.is_ok() {
        tokio::select! {
            () = drain(stream, DRAIN_MAX) => {}
            () = clock::pass(LINGER) => {}
        }
    }
}

/// Makes the close that follows a reset.
fn reset(socket: &TcpStream) {
    // If the socket is broken already, the client sees that instead.
    drop(socket.set_zero_linger());
}

/// Slices as large as chunks, so that many paced connections cost little; and an origin that shares a machine with its
/// clients is woken late, which must not make it slower than it says.
pub(super) const GRAIN: Grain = Grain {
    slice_max: CHUNK_MAX,
    slack: Duration::from_millis(200),
};

/// Heads that come before the answer.
const INTERIM: [&[u8]; 3] = [
    b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
];

/// Filler after the end of a body.
const EXTRA: [u8; 4 * 1024] = [b'+'; 4 * 1024];

/// An endless head is not quite endless: bytes of it at most.
const ENDLESS_HEAD_MAX: usize = 64 * 1024 * 1024;

/// How long a closed connection waits for the client to close too.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes that a closed connection still reads.
const DRAIN_MAX: u64 = 1024 * 1024;
