//! Reads request heads: tolerantly, and bounded.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::log::Seen;
use crate::play::Wanted;

/// Bytes of a head at most.
const HEAD_MAX: usize = 64 * 1024;

/// A request as it was read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) seen: Seen,
    pub(super) wanted: Option<Wanted>,
    /// True if the connection may carry another request.
    pub(super) keep_alive: bool,
}

/// The bytes of a connection that were read and not used yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// The next head; `None` if the client closed, or sent what cannot be read.
    pub(super) async fn request<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        connection: u64,
    ) -> io::Result<Option<Request>> {
        loop {
            if let Some(end) = head_end(&self.bytes) {
                let head: Vec<u8> = self.bytes.drain(..end).collect();
                return Ok(parse(&head, connection));
            }
            if self.bytes.len() > HEAD_MAX || stream.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Ends when the client has closed. What it sends before is kept, and at most a head's worth of it is read.
    pub(super) async fn closed<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        while self.bytes.len() <= HEAD_MAX {
            if stream.read_buf(&mut self.bytes).await? == 0 {
                return Ok(());
            }
        }
        std::future::pending().await
    }
}

/// One past the empty line that ends a head; lines may end with a bare LF.
fn head_end(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        [&b"\n\r\n"[..], b"\n\n"]
            .into_iter()
            .find(|end| rest.starts_with(end))
            .map(|end| at + end.len())
    })
}

fn parse(head: &[u8], connection: u64) -> Option<Request> {
    let mut lines = head.split(|&b| b == b'\n').map(<[u8]>::trim_ascii);
    let first = String::from_utf8_lossy(lines.find(|line| !line.is_empty())?).into_owned();
    let mut words = first.split_ascii_whitespace();
    let (method, target, version) = (words.next()?, words.next()?, words.next().unwrap_or(""));
    let fields: Vec<_> = lines.filter_map(field).collect();
    let mut seen = Seen {
        method: method.to_owned(),
        path: path(target).to_owned(),
        host: String::new(),
        range: None,
        if_range: None,
        fields,
        protocol: "h1",
        connection,
        stream: 0,
        at: std::time::Duration::ZERO,
        status: 0,
        sent: 0,
    };
    let wanted = seen.field("range").and_then(Wanted::parse);
    if let Some(Wanted::Range(range)) = wanted {
        seen.range = Some(range);
    }
    seen.if_range = seen.field("if-range").map(<[u8]>::to_vec);
    if let Some(host) = seen.field("host") {
        seen.host = String::from_utf8_lossy(host).into_owned();
    }
    // A request with a body is answered, and its body is not read: the connection cannot go on.
    let has_body = seen.field("content-length").is_some_and(|v| v != b"0")
        || seen.field("transfer-encoding").is_some();
    let close = seen
        .field("connection")
        .is_some_and(|v| v.eq_ignore_ascii_case(b"close"));
    let keep_alive = version == "HTTP/1.1" && !has_body && !close;
    Some(Request {
        seen,
        wanted,
        keep_alive,
    })
}

/// A field line with its name in lower case.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|&b| b == b':')?;
    let name = String::from_utf8_lossy(line[..colon].trim_ascii()).to_ascii_lowercase();
    Some((name, line[colon + 1..].trim_ascii().to_vec()))
}

/// Path and query of an origin-form or absolute-form target (RFC 9112, section 3.2).
fn path(target: &str) -> &str {
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tur_core::ByteRange;

    #[test]
    fn reads_odd_heads() {
        let head =
            b"\r\nGET http://h:1/a?b HTTP/1.1\nHOST:h:1\r\nRange: bytes=5-9\nIf-Range: \"x\"\n\n";
        assert_eq!(head_end(head), Some(head.len()));
        let request = parse(head, 7).expect("a head");
        assert_eq!(request.seen.path, "/a?b");
        assert_eq!(request.seen.host, "h:1");
        assert_eq!(request.seen.range, Some(ByteRange::new(5, 10)));
        assert_eq!(request.seen.if_range.as_deref(), Some(&b"\"x\""[..]));
        assert!(request.keep_alive);
    }

    #[test]
    fn garbage_is_no_request() {
        for head in [&b"\n\n"[..], b"GET\n\n", b"\0\xff\n\n"] {
            assert!(parse(head, 1).is_none());
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: x\r\n"), None);
    }
}
