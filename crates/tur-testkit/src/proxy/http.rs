//! The HTTP proxy: tunnels, and requests in absolute form that are handed on in origin form.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::net::TcpStream;

use super::{ProxyDeed, ProxySeen, Shared, dial, grant};

pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    shared: &Shared,
) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    shared.saw(ProxySeen::Head(head.clone()));
    if let ProxyDeed::Answer(bytes) = &shared.setup.deed {
        stream.write_all(bytes).await?;
        return stream.shutdown().await;
    }
    if !authorized(&head, shared) {
        stream.write_all(CHALLENGE).await?;
        return stream.shutdown().await;
    }
    let (method, target) = request_line(&head);
    let authority = match method {
        "CONNECT" => target,
        _ => target
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default(),
    };
    let authority = authority.to_owned();
    let port = authority
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let origin = dial(port.unwrap_or(80)).await;
    if method == "CONNECT" {
        shared.saw(ProxySeen::Connect(authority));
        return match origin {
            Ok(origin) => {
                let answer = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n";
                grant(stream, origin, answer, &shared.setup.deed).await
            }
            Err(_) => stream.write_all(BAD_GATEWAY).await,
        };
    }
    match origin {
        Ok(origin) => hand_on(stream, origin, head, shared).await,
        Err(_) => stream.write_all(BAD_GATEWAY).await,
    }
}

/// Hands on requests until either side has enough.
async fn hand_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    mut origin: TcpStream,
    first: String,
    shared: &Shared,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = split(stream);
    let (mut from_origin, mut to_origin) = origin.split();
    let requests = async {
        let mut head = first;
        loop {
            to_origin
                .write_all(in_origin_form(&head).as_bytes())
                .await?;
            head = read_head(&mut from_client).await?;
            shared.saw(ProxySeen::Head(head.clone()));
        }
    };
    let answers = async {
        copy(&mut from_origin, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::select! {
        ended = requests => ended,
        ended = answers => ended,
    }
}

/// What the origin sees: without the field that is the proxy's.
fn in_origin_form(head: &str) -> String {
    let (method, target) = request_line(head);
    let path = target.trim_start_matches("http://");
    let path = path.find('/').map_or("/", |at| &path[at..]);
    let fields = head.lines().skip(1).filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !line.is_empty() && !name.eq_ignore_ascii_case("proxy-authorization")
    });
    let fields: String = fields.map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{fields}\r\n")
}

fn request_line(head: &str) -> (&str, &str) {
    let mut words = head.split(' ');
    (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    )
}

/// True if the head has the credentials that are asked for. They are compared decoded, so that no encoder is needed here.
fn authorized(head: &str, shared: &Shared) -> bool {
    let Some((user, password)) = &shared.setup.credentials else {
        return true;
    };
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("proxy-authorization");
        named.then(|| value.trim().strip_prefix("Basic "))?
    });
    value.and_then(decoded) == Some(format!("{user}:{password}").into_bytes())
}

/// Base64 (RFC 4648, section 4).
fn decoded(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.trim_end_matches('=').chars() {
        bits = (bits << 6) | u32::try_from(DIGITS.find(digit)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
        if head.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

const CHALLENGE: &[u8] =
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"test\"\r\n\
      Content-Length: 0\r\nConnection: close\r\n\r\n";
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
const HEAD_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_handed_on_without_what_is_the_proxys() {
        let head =
            "GET http://h:80/a?b HTTP/1.1\r\nHost: h\r\nProxy-Authorization: x\r\nA: b\r\n\r\n";
        assert_eq!(
            in_origin_form(head),
            "GET /a?b HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"
        );
    }

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9vYg==", "foob"),
        ] {
            assert_eq!(decoded(text), Some(bytes.into()));
        }
        assert_eq!(decoded("?"), None);
    }
}
