//! The SOCKS5 proxy (RFC 1928, RFC 1929).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{ProxyDeed, ProxySeen, Shared, dial, grant};

pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    shared: &Shared,
) -> io::Result<()> {
    let [_version, count] = take(&mut stream).await?;
    let methods = bytes(&mut stream, count).await?;
    if let ProxyDeed::Answer(bytes) = &shared.setup.deed {
        stream.write_all(bytes).await?;
        return stream.shutdown().await;
    }
    let method = if shared.setup.credentials.is_some() {
        2
    } else {
        0
    };
    if !methods.contains(&method) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, method]).await?;
    if !signed_in(&mut stream, shared).await? {
        return stream.write_all(&[1, 1]).await;
    }
    let host = requested(&mut stream).await?;
    let port = stream.read_u16().await?;
    shared.saw(ProxySeen::Connect(format!("{host}:{port}")));
    match dial(port).await {
        Ok(origin) => grant(stream, origin, &GRANTED, &shared.setup.deed).await,
        Err(_) => stream.write_all(&REFUSED).await,
    }
}

/// True if nobody has to sign in, or who does is known.
async fn signed_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    shared: &Shared,
) -> io::Result<bool> {
    let Some((user, password)) = &shared.setup.credentials else {
        return Ok(true);
    };
    let [_version, len] = take(stream).await?;
    let given_user = text(stream, len).await?;
    let [len] = take(stream).await?;
    let given_password = text(stream, len).await?;
    let known = (&given_user, &given_password) == (user, password);
    shared.saw(ProxySeen::Password(given_user, given_password));
    if known {
        stream.write_all(&[1, 0]).await?;
    }
    Ok(known)
}

async fn requested<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let [_version, _command, _reserved, kind] = take(stream).await?;
    match kind {
        1 => Ok(Ipv4Addr::from(take::<4, _>(stream).await?).to_string()),
        4 => Ok(format!(
            "[{}]",
            Ipv6Addr::from(take::<16, _>(stream).await?)
        )),
        3 => {
            let [len] = take(stream).await?;
            text(stream, len).await
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn take<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn bytes<S: AsyncRead + Unpin>(stream: &mut S, len: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn text<S: AsyncRead + Unpin>(stream: &mut S, len: u8) -> io::Result<String> {
    let bytes = bytes(stream, len).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const GRANTED: [u8; 10] = [5, 0, 0, 1, 127, 0, 0, 1, 0, 9];
/// Connection refused.
const REFUSED: [u8; 10] = [5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
