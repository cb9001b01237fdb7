//! Looks at a case through a raw socket, with a client of its own that knows just enough of HTTP/1.1.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tur_core::ByteRange;
use tur_testkit::Loopback;

use super::{Case, End, Sight, Want};

/// Silence that is taken for a stall; nothing is lost by waiting too short for an origin that says nothing.
const SILENCE: Duration = Duration::from_millis(60);

/// How long an origin that must say something may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn look(case: &Case) -> Sight {
    let origin = Loopback::start([("/file", case.behaviour.clone())]);
    for _ in 1..case.requests {
        once(&origin, &case.want, &case.sight);
    }
    let sight = once(&origin, &case.want, &case.sight);
    // An origin that says nothing may take the request after its silence was heard.
    assert!(origin.wait_for_requests(case.requests, PATIENCE));
    assert_eq!(origin.requests(), case.requests);
    let seen = origin.seen();
    assert_eq!(seen.last().unwrap().range, case.want.range);
    assert_eq!(seen.len() as u64, case.requests);
    sight
}

fn once(origin: &Loopback, want: &Want, expected: &Sight) -> Sight {
    let mut stream = TcpStream::connect(("127.0.0.1", origin.port())).unwrap();
    let mut request = "GET /file HTTP/1.1\r\nHost: h\r\n".to_owned();
    if let Some(range) = want.range {
        let last = match range.is_open() {
            true => String::new(),
            false => (range.end - 1).to_string(),
        };
        request += &format!("Range: bytes={}-{last}\r\n", range.start);
    }
    if let Some(text) = want.if_range {
        request += &format!("If-Range: {text}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    let mut reader = Reader {
        stream,
        bytes: Vec::new(),
        silent: expected.end == End::Silent,
        expected: expected.body.len(),
    };
    reader.answer()
}

struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// Whether the origin is expected to fall silent.
    silent: bool,
    /// Body bytes that are expected before.
    expected: usize,
}

impl Reader {
    fn answer(&mut self) -> Sight {
        let mut sight = Sight {
            status: 0,
            range: None,
            unsatisfied: None,
            etag: None,
            detail: String::new(),
            body: Vec::new(),
            end: End::Clean,
        };
        let head = match self.final_head() {
            Ok(head) => head,
            Err(end) => {
                sight.end = end;
                return sight;
            }
        };
        let Some(framing) = Framing::of(&head) else {
            sight.end = End::NotHttp;
            return sight;
        };
        sight.status = head[9..12].parse().unwrap();
        sight.etag = field(&head, "ETag");
        for name in ["Location", "Retry-After"] {
            sight.detail += &field(&head, name).unwrap_or_default();
        }
        if field(&head, "WWW-Authenticate").is_some() {
            sight.detail += "challenge";
        }
        match field(&head, "Content-Range") {
            Some(text) if sight.status == 416 => {
                sight.unsatisfied = text.strip_prefix("bytes */").unwrap().parse().ok();
            }
            Some(text) => sight.range = content_range(&text),
            None => {}
        }
        let (body, end) = self.body(framing);
        sight.end = end;
        if matches!(sight.status, 200 | 206) {
            sight.body = body;
        }
        sight
    }

    /// The head after all interim ones.
    fn final_head(&mut self) -> Result<String, End> {
        loop {
            let end = loop {
                if let Some(at) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                    break at + 4;
                }
                if self.bytes.len() > 256 * 1024 {
                    return Err(End::HeadTooLarge);
                }
                self.more(0)?;
            };
            let head: Vec<u8> = self.bytes.drain(..end).collect();
            let Ok(head) = String::from_utf8(head) else {
                return Err(End::NotHttp);
            };
            if !head.starts_with("HTTP/1.1 1") {
                return Ok(head);
            }
        }
    }

    fn body(&mut self, framing: Framing) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        loop {
            let done = match framing {
                Framing::Length(n) => {
                    let step = self.bytes.len().min(n - body.len());
                    body.extend(self.bytes.drain(..step));
                    body.len() == n
                }
                Framing::Chunked => self.chunks(&mut body),
                Framing::UntilClose => {
                    body.append(&mut self.bytes);
                    false
                }
            };
            if done {
                return (body, End::Clean);
            }
            match self.more(body.len()) {
                Ok(()) => {}
                Err(End::Early) if matches!(framing, Framing::UntilClose) => {
                    return (body, End::Clean);
                }
                Err(end) => return (body, end),
            }
        }
    }

    /// Moves whole chunks over; true after the last one.
    fn chunks(&mut self, body: &mut Vec<u8>) -> bool {
        while let Some(line) = self.bytes.windows(2).position(|w| w == b"\r\n") {
            let size = std::str::from_utf8(&self.bytes[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let from = line + 2;
            if self.bytes.len() < from + size + 2 {
                return false;
            }
            body.extend_from_slice(&self.bytes[from..from + size]);
            self.bytes.drain(..from + size + 2);
            if size == 0 {
                return true;
            }
        }
        false
    }

    /// Reads something. Only where silence is expected now is a short time-out taken for it.
    fn more(&mut self, body: usize) -> Result<(), End> {
        let silent = self.silent && body >= self.expected;
        let limit = if silent { SILENCE } else { PATIENCE };
        self.stream.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(End::Early),
            Ok(n) => {
                self.bytes.extend_from_slice(&buffer[..n]);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err(End::Silent),
            Err(e) => panic!("{e}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    /// `None` for lengths that nobody should take.
    fn of(head: &str) -> Option<Self> {
        if field(head, "Transfer-Encoding").is_some() {
            return Some(Framing::Chunked);
        }
        let lengths: Vec<_> = head
            .lines()
            .filter_map(|line| line.strip_prefix("Content-Length: "))
            .collect();
        match lengths[..] {
            [] => Some(Framing::UntilClose),
            [length] => length.parse().ok().map(Framing::Length),
            _ => None,
        }
    }
}

fn field(head: &str, name: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
    head.lines().find_map(value)
}

fn content_range(text: &str) -> Option<(ByteRange, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        n => Some(n.parse().ok()?),
    };
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then(|| (ByteRange::new(first, last + 1), total))
}
