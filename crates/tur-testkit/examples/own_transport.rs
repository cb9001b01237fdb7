//! A transport of somebody else's: HTTP/1.1 over a socket of tokio, written against the port and nothing of tur-net.
//!
//! ```text
//! cargo run -p tur-testkit --example own_transport
//! ```
//!
//! Read [`Plain`] for what it takes to be a `Transport`, and `main` for how it is held to the rules of the port. What
//! heads mean is read by tur-http, as tur's own transport has it; where bodies end is decided here ([`Body::fill`]).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tur_core::port::{Body, Fill, Reply, Request, Session, SessionFacts, Transport};
use tur_core::{Ask, BodyKind, Chunks, Fault, Origin, Scheme};
use tur_testkit::{Loopback, Setup, conformance};

/// The transport: it connects, and that is all it has to remember.
#[derive(Debug)]
pub(crate) struct Plain;

/// A connection. Its wire is with whoever uses it: here, in a fetch, or in a body.
#[derive(Debug)]
pub(crate) struct Connection {
    facts: SessionFacts,
    line: Arc<Mutex<Line>>,
    /// Bodies hold receivers: they end when the connection is dropped.
    alive: watch::Sender<()>,
}

#[derive(Debug)]
enum Line {
    Idle(Wire),
    Busy,
    Closed,
}

#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    /// What was received and nobody has taken.
    ahead: BytesMut,
}

/// A wire in use: dropped before [`Held::release`], the connection is closed, and so is the socket.
#[derive(Debug)]
struct Held {
    line: Arc<Mutex<Line>>,
    wire: Option<Wire>,
}

/// A body, and where it ends.
#[derive(Debug)]
pub(crate) struct Framed {
    held: Held,
    left: Left,
    reusable: bool,
    alive: watch::Receiver<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Length(u64),
    /// Bytes of this chunk that are to come; `None` before its size.
    Chunk(Option<u64>),
    UntilClose,
    Nothing,
}

impl Transport for Plain {
    type Session = Connection;

    async fn open(&self, origin: &Origin) -> Result<Connection, Fault> {
        if origin.scheme != Scheme::Http {
            return Err(Fault::ProtocolUnavailable("TLS".to_owned()));
        }
        let failed = |detail: String| Fault::Connect {
            host: origin.authority(),
            detail,
        };
        let host = origin.host.trim_matches(['[', ']']);
        let connect = TcpStream::connect((host, origin.port));
        // The one time-out that is a transport's own.
        let stream = tokio::time::timeout(CONNECT_MAX, connect)
            .await
            .map_err(|_elapsed| failed("it takes too long".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        let address = stream.peer_addr().map_err(lost)?.to_string();
        let ahead = BytesMut::new();
        Ok(Connection {
            facts: SessionFacts {
                protocol: "h1",
                address,
                handshake: Duration::ZERO,
                window: None,
            },
            line: Arc::new(Mutex::new(Line::Idle(Wire { stream, ahead }))),
            alive: watch::Sender::new(()),
        })
    }
}

impl Session for Connection {
    type Body = Framed;

    async fn fetch(&self, request: Request) -> Result<Reply<Framed>, Fault> {
        let text = written(&request)?;
        let mut held = Held::take(&self.line)?;
        held.wire().stream.write_all(&text).await.map_err(lost)?;
        for _ in 0..=INTERIM_MAX {
            let lines = held.wire().head().await?;
            let head = Head::read(&lines)?;
            if head.status / 100 != 1 {
                let (answer, left, reusable) = head.answer()?;
                let alive = self.alive.subscribe();
                let body = Framed {
                    held,
                    left,
                    reusable,
                    alive,
                };
                return Ok(Reply { answer, body });
            }
        }
        Err(Fault::TooManyInterim { limit: INTERIM_MAX })
    }

    fn facts(&self) -> SessionFacts {
        self.facts.clone()
    }

    fn is_open(&self) -> bool {
        !matches!(*lock(&self.line), Line::Closed)
    }
}

impl Body for Framed {
    async fn fill(&mut self, chunks: &mut Chunks, budget: usize) -> Result<Fill, Fault> {
        let Self {
            held, left, alive, ..
        } = self;
        let gone = async {
            // Nothing is ever sent: a change is the end of the sender.
            while alive.changed().await.is_ok() {}
        };
        let filled = tokio::select! {
            biased;
            () = gone => Err(Fault::Lost("the session was closed".to_owned())),
            filled = fill(held, left, chunks, budget) => filled,
        };
        match &filled {
            Ok(Fill::More) => {}
            Ok(Fill::End) if self.reusable => self.held.release(),
            _ => self.held.close(),
        }
        filled
    }
}

/// Appends what is ready, and waits only while that is nothing. Every await is a read into `ahead`, which loses nothing
/// when it is dropped.
async fn fill(
    held: &mut Held,
    left: &mut Left,
    chunks: &mut Chunks,
    budget: usize,
) -> Result<Fill, Fault> {
    loop {
        let most = match *left {
            Left::Nothing | Left::Length(0) => return Ok(Fill::End),
            Left::Chunk(None) => {
                let line = held.wire().line().await?;
                let size = line[..]
                    .split(|byte| *byte == b';')
                    .next()
                    .unwrap_or_default();
                let size = number(size.trim_ascii(), 16).ok_or_else(|| malformed("chunk size"))?;
                *left = Left::Chunk(Some(size));
                if size == 0 {
                    // Trailers say nothing about the bytes.
                    while !held.wire().line().await?.is_empty() {}
                    *left = Left::Nothing;
                }
                continue;
            }
            Left::Chunk(Some(0)) => {
                if !held.wire().line().await?.is_empty() {
                    return Err(malformed("end of a chunk"));
                }
                *left = Left::Chunk(None);
                continue;
            }
            Left::Length(more) | Left::Chunk(Some(more)) => more,
            Left::UntilClose => u64::MAX,
        };
        if held.wire().ahead.is_empty() && !held.wire().more().await? {
            return match left {
                Left::UntilClose => Ok(Fill::End),
                _ => Err(Fault::Truncated(format!("{most} bytes are missing"))),
            };
        }
        let ahead = &mut held.wire().ahead;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let taken = ahead
            .split_to(ahead.len().min(most).min(budget.max(1)))
            .freeze();
        let count = taken.len() as u64;
        match left {
            Left::Length(more) | Left::Chunk(Some(more)) => *more -= count,
            _ => {}
        }
        chunks.push(taken);
        return Ok(match left {
            Left::Length(0) => Fill::End,
            _ => Fill::More,
        });
    }
}

impl Wire {
    /// Receives something; false at the end of the connection.
    async fn more(&mut self) -> Result<bool, Fault> {
        self.ahead.reserve(READ);
        Ok(self.stream.read_buf(&mut self.ahead).await.map_err(lost)? > 0)
    }

    /// Takes a line, without its end.
    async fn line(&mut self) -> Result<BytesMut, Fault> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let mut line = self.ahead.split_to(end);
                self.ahead.advance(1);
                if line.last() == Some(&b'\r') {
                    line.truncate(end - 1);
                }
                return Ok(line);
            }
            if self.ahead.len() > HEAD_MAX {
                return Err(Fault::HeadTooLarge { limit: HEAD_MAX });
            }
            if !self.more().await? {
                return Err(Fault::Lost("closed in a line".to_owned()));
            }
        }
    }

    /// Takes the lines of a head.
    async fn head(&mut self) -> Result<Vec<BytesMut>, Fault> {
        let (mut lines, mut size) = (Vec::new(), 0);
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(lines);
            }
            size += line.len() + LINE_COST;
            if size > HEAD_MAX {
                return Err(Fault::HeadTooLarge { limit: HEAD_MAX });
            }
            if lines.is_empty() && !line.starts_with(b"HTTP/1.") {
                return Err(malformed("what is not HTTP"));
            }
            lines.push(line);
        }
    }
}

/// A head as it was received.
struct Head<'a> {
    status: u16,
    is_1_0: bool,
    fields: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Head<'a> {
    fn read(lines: &'a [BytesMut]) -> Result<Self, Fault> {
        let (first, rest) = lines
            .split_first()
            .ok_or_else(|| malformed("an empty head"))?;
        // RFC 9112, section 4: `HTTP/1.1 200 reason`.
        let status = first.get(9..12).and_then(|digits| number(digits, 10));
        let status = status.and_then(|status| u16::try_from(status).ok());
        let fields = rest.iter().map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = std::str::from_utf8(&line[..colon]).ok()?;
            let is_name = !name.is_empty() && !name.contains([' ', '\t']);
            is_name.then(|| (name, line[colon + 1..].trim_ascii()))
        });
        Ok(Self {
            status: status
                .filter(|status| *status >= 100 && *status != 101)
                .ok_or_else(|| malformed("status"))?,
            is_1_0: first[7] == b'0',
            fields: fields
                .collect::<Option<_>>()
                .ok_or_else(|| malformed("field"))?,
        })
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let named = self
            .fields
            .iter()
            .filter(move |field| field.0.eq_ignore_ascii_case(name));
        named.map(|field| field.1)
    }

    /// What it says, where its body ends, and whether another request may follow (RFC 9112, sections 6.3 and 9.3).
    fn answer(&self) -> Result<(tur_core::Answer, Left, bool), Fault> {
        let coding = self.values("transfer-encoding").next();
        let length = self.values("content-length").next();
        let (body, left) = match (self.status, coding, length) {
            (204 | 304, ..) => (BodyKind::Length(0), Left::Nothing),
            (_, Some(b"chunked"), _) => (BodyKind::Marked, Left::Chunk(None)),
            (_, Some(_), _) => return Err(malformed("transfer coding")),
            (.., Some(text)) => {
                let length = number(text, 10).ok_or_else(|| malformed("Content-Length"))?;
                (BodyKind::Length(length), Left::Length(length))
            }
            (.., None) => (BodyKind::UntilClose, Left::UntilClose),
        };
        let fields = &self.fields[..];
        // It refuses lengths that differ, and more that no file should come from.
        let answer = tur_http::read(&tur_http::Head {
            status: self.status,
            reason: "",
            fields,
            body,
        })?;
        let is_last = self
            .values("connection")
            .any(|value| value.eq_ignore_ascii_case(b"close"));
        let reusable = !is_last && !self.is_1_0 && left != Left::UntilClose;
        // RFC 9112, section 6.1: a message with both is suspect.
        Ok((
            answer,
            left,
            reusable && (coding.is_none() || length.is_none()),
        ))
    }
}

impl Held {
    fn take(line: &Arc<Mutex<Line>>) -> Result<Self, Fault> {
        let mut state = lock(line);
        match std::mem::replace(&mut *state, Line::Busy) {
            Line::Idle(wire) => Ok(Self {
                line: line.clone(),
                wire: Some(wire),
            }),
            other => {
                *state = other;
                Err(Fault::Lost("the connection is closed or busy".to_owned()))
            }
        }
    }

    fn wire(&mut self) -> &mut Wire {
        self.wire
            .as_mut()
            .expect("a body that has ended reads no more")
    }

    /// Gives the wire back, unless bytes have come that nobody asked for.
    fn release(&mut self) {
        if let Some(wire) = self.wire.take_if(|wire| wire.ahead.is_empty()) {
            *lock(&self.line) = Line::Idle(wire);
        }
        self.close();
    }

    fn close(&mut self) {
        if self.wire.take().is_some() {
            *lock(&self.line) = Line::Closed;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.close();
    }
}

/// The request as it is sent; nothing that a caller gives begins a line of its own.
fn written(request: &Request) -> Result<Vec<u8>, Fault> {
    let Request { target, fields, .. } = request;
    let mut lines = vec![
        format!("GET {} HTTP/1.1", target.path).into_bytes(),
        format!("Host: {}", target.origin.authority()).into_bytes(),
        b"Accept-Encoding: identity".to_vec(),
    ];
    if let Ask::Range(range) = request.ask {
        // RFC 9110, section 14.1.2: the last byte is included.
        let last = if range.is_open() {
            String::new()
        } else {
            (range.end - 1).to_string()
        };
        lines.push(format!("Range: bytes={}-{last}", range.start).into_bytes());
        let validator = request.if_range.iter();
        lines.extend(validator.map(|value| [b"If-Range: ", &value[..]].concat()));
    }
    if request.no_cache {
        lines.push(b"Cache-Control: no-cache".to_vec());
    }
    lines.extend(
        fields
            .iter()
            .map(|field| [field.name.as_bytes(), b": ", field.value.expose()].concat()),
    );
    if lines
        .iter()
        .flatten()
        .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
    {
        return Err(malformed("request field"));
    }
    lines.push(b"\r\n".to_vec());
    Ok(lines.join(&b"\r\n"[..]))
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = !text.starts_with('+');
    digits
        .then(|| u64::from_str_radix(text, radix).ok())
        .flatten()
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().expect("nothing panics while it is held")
}

fn lost(error: io::Error) -> Fault {
    Fault::Lost(error.to_string())
}

fn malformed(what: &str) -> Fault {
    Fault::Malformed(format!("bad {what}"))
}

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Bytes of a head, or of a line in a body.
const HEAD_MAX: usize = 64 * 1024;
/// What a line costs beside its bytes, so that empty ones are bounded too.
const LINE_COST: usize = 32;
/// Interim answers to one request.
const INTERIM_MAX: usize = 100;
/// Bytes that are read at once.
const READ: usize = 64 * 1024;

#[tokio::main]
async fn main() {
    let origin = Loopback::start_with::<String>(Setup::default(), []);
    conformance::run(&Plain, &conformance::LoopbackRig::new(origin)).await;
    println!(
        "It keeps the rules of the port: {} cases.",
        conformance::CASES.len()
    );
}
