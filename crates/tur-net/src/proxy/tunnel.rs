//! `CONNECT`: an HTTP proxy makes a tunnel to an origin (RFC 9110, section 9.3.6).
//!
//! Read [`connect`]. The head of the answer is read here and by nobody's parser: of all its fields one counts, and only to
//! say what kind of credentials the proxy wants.

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tur_core::{Fault, Origin, ProxyRefusal};
use tur_http::Proxy;

use super::{authorization, broke, failed, garbled, refused, shortened, unwanted};
use crate::PROXY_HEAD_BYTES_MAX;

/// Has `proxy`, which `stream` leads to, connect it to `origin`. The limit of time is the caller's.
///
/// # Errors
/// `ProxyRefused` or `ProxyFailed`; `Malformed` if the credentials cannot be sent.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    origin: &Origin,
    user_agent: &HeaderValue,
) -> Result<(), Fault> {
    let request = request(proxy, origin, user_agent)?;
    let sent = stream.write_all(&request).await;
    match sent {
        Ok(()) => stream.flush().await,
        Err(error) => Err(error),
    }
    .map_err(|error| broke(proxy, &error))?;
    let mut received = Vec::new();
    // Of all heads together: interim ones (1xx) come first, however many fit.
    let mut room = PROXY_HEAD_BYTES_MAX;
    loop {
        let Some(end) = head_end(&received) else {
            receive(stream, proxy, &mut received, &mut room).await?;
            continue;
        };
        let rest = received.split_off(end);
        let head = Head::read(&received);
        let head = head.ok_or_else(|| garbled(proxy, "it does not speak HTTP"))?;
        received = rest;
        match head.status {
            100..=199 => {}
            // Nobody has asked the origin for anything yet: what comes now is the proxy's own.
            200..=299 if !received.is_empty() => {
                return Err(garbled(proxy, "bytes of its own follow its answer"));
            }
            200..=299 => return Ok(()),
            _ => return Err(head.refusal(proxy)),
        }
    }
}

fn request(proxy: &Proxy, origin: &Origin, user_agent: &HeaderValue) -> Result<Vec<u8>, Fault> {
    let (host, port) = (&origin.host, origin.port);
    let line = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: ");
    let mut request = [line.as_bytes(), user_agent.as_bytes(), b"\r\n"].concat();
    if let Some(value) = authorization(proxy)? {
        request.extend([b"Proxy-Authorization: ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    Ok(request)
}

/// Reads some more of a head, of which there is room for so many bytes.
async fn receive<S: AsyncRead + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    received: &mut Vec<u8>,
    room: &mut usize,
) -> Result<(), Fault> {
    let begins = &received[..received.len().min(START.len())];
    if !START.starts_with(begins) {
        return Err(garbled(proxy, "it does not speak HTTP"));
    }
    if *room == 0 {
        let limit = PROXY_HEAD_BYTES_MAX;
        return Err(refused(proxy, ProxyRefusal::TooLarge { limit }));
    }
    let mut piece = [0; 1024];
    let most = piece.len().min(*room);
    match stream.read(&mut piece[..most]).await {
        Ok(0) if received.is_empty() => Err(failed(proxy, "closed the connection unanswered")),
        Ok(0) => Err(failed(proxy, "closed the connection inside its answer")),
        Ok(n) => {
            received.extend(&piece[..n]);
            *room -= n;
            Ok(())
        }
        Err(error) => Err(broke(proxy, &error)),
    }
}

/// Where the first head in `bytes` ends: behind its empty line (RFC 9112, section 2.2, allows bare line feeds).
fn head_end(bytes: &[u8]) -> Option<usize> {
    let line_ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends
        .map(|(at, _)| at + 1)
        .find_map(|next| match bytes.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        })
}

/// What counts of a head.
struct Head {
    status: u16,
    /// Status code and reason phrase.
    text: String,
    /// Values of `Proxy-Authenticate`.
    offered: Vec<String>,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let (version, rest) = lines.next()?.split_once(' ')?;
        let (code, _reason) = rest.split_at_checked(3)?;
        let ends = rest[3..].is_empty() || rest[3..].starts_with(' ');
        let named = ["HTTP/1.1", "HTTP/1.0"].contains(&version);
        let digits = code.bytes().all(|byte| byte.is_ascii_digit());
        let status = code.parse().ok().filter(|status| *status >= 100);
        let fields = lines.filter_map(|line| line.split_once(':'));
        let offered = fields
            .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
            .map(|(_, value)| value.trim().to_owned());
        (named && ends && digits).then_some(Self {
            status: status?,
            offered: offered.collect(),
            text: shortened(rest.trim_end()),
        })
    }

    fn refusal(self, proxy: &Proxy) -> Fault {
        match self.status {
            // No origin has been spoken with: a 401 is the proxy's, too.
            401 | 407 => {
                let offered = self.offered.iter().map(String::as_str);
                refused(proxy, unwanted(proxy, self.status, offered))
            }
            500..=599 => failed(proxy, format!("could not connect: {}", self.text)),
            _ => refused(proxy, ProxyRefusal::Forbidden(self.text)),
        }
    }
}

/// How an answer in HTTP/1 begins.
const START: &[u8] = b"HTTP/1.";

#[cfg(test)]
mod tests;
