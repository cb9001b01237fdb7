//! The client's side of SOCKS5 (RFC 1928) and of its user names and passwords (RFC 1929).
//!
//! Read [`connect`]. Every answer has a length that is known before it is read, at most 262 bytes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tur_core::{Fault, Origin, ProxyRefusal};
use tur_http::{Proxy, Userinfo};

use super::{broke, failed, garbled, refused};

/// Where a proxy connects to.
#[derive(Clone, Copy)]
pub(crate) enum Destination<'a> {
    /// An address that was looked up here, or given as such.
    Address(SocketAddr),
    /// A name that the proxy looks up.
    Name(&'a Origin),
}

/// Has `proxy`, which `stream` leads to, connect it to `destination`. The limit of time is the caller's.
///
/// # Errors
/// `ProxyRefused` or `ProxyFailed`; `Resolve` for a name that SOCKS5 cannot tell.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    destination: Destination<'_>,
) -> Result<(), Fault> {
    let request = request(destination)?;
    let mut talk = Talk { stream, proxy };
    talk.greet().await?;
    talk.send(&request).await?;
    talk.outcome().await
}

/// RFC 1928, section 4.
fn request(destination: Destination<'_>) -> Result<Vec<u8>, Fault> {
    let mut request = vec![VERSION, CONNECT, 0];
    let port = match destination {
        Destination::Address(SocketAddr::V4(v4)) => {
            request.push(TYPE_V4);
            request.extend(v4.ip().octets());
            v4.port()
        }
        Destination::Address(SocketAddr::V6(v6)) => {
            request.push(TYPE_V6);
            request.extend(v6.ip().octets());
            v6.port()
        }
        Destination::Name(origin) => {
            let len = u8::try_from(origin.host.len()).map_err(|_too_long| Fault::Resolve {
                host: origin.host.clone(),
                detail: "the name is too long for SOCKS5".to_owned(),
            })?;
            request.extend([TYPE_NAME, len]);
            request.extend(origin.host.as_bytes());
            origin.port
        }
    };
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// A conversation with a proxy.
struct Talk<'a, S> {
    stream: &'a mut S,
    proxy: &'a Proxy,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    /// RFC 1928, section 3. Credentials are sent only if the proxy asks for them.
    async fn greet(&mut self) -> Result<(), Fault> {
        let credentials = self.proxy.credentials.as_ref();
        match credentials {
            None => self.send(&[VERSION, 1, METHOD_NONE]).await?,
            Some(_) => {
                self.send(&[VERSION, 2, METHOD_NONE, METHOD_PASSWORD])
                    .await?
            }
        }
        let [version, method] = self.receive().await?;
        if version != VERSION {
            return Err(self.no_socks());
        }
        match (method, credentials) {
            (METHOD_NONE, _) => Ok(()),
            (METHOD_PASSWORD, Some(credentials)) => self.sign_in(credentials).await,
            (METHOD_REFUSED, given) => Err(self.unwanted(match given {
                None => "it takes nobody without, or by other methods",
                Some(_) => "it wants none of those methods that can be given",
            })),
            _ => Err(garbled(
                self.proxy,
                "it chose a method that was not offered",
            )),
        }
    }

    /// RFC 1929, section 2.
    async fn sign_in(&mut self, credentials: &Userinfo) -> Result<(), Fault> {
        let mut message = vec![PASSWORD_VERSION];
        for part in [&credentials.user, &credentials.password] {
            let part = part.expose();
            let len = u8::try_from(part.len())
                .map_err(|_too_long| self.unwanted("those that its URL has are too long"))?;
            message.push(len);
            message.extend(part);
        }
        let sent = self.send(&message).await;
        // An effort, as that of `Secret`.
        message.fill(0);
        sent?;
        match self.receive().await? {
            [PASSWORD_VERSION, 0] => Ok(()),
            // Some servers say the version of SOCKS here, and mean no harm.
            [VERSION, 0] => Ok(()),
            [PASSWORD_VERSION | VERSION, _] => {
                Err(self.unwanted("it does not take those that its URL has"))
            }
            _ => Err(self.no_socks()),
        }
    }

    /// RFC 1928, section 6. The address that comes with it means nothing to us; it is read, because what follows is the
    /// origin's.
    async fn outcome(&mut self) -> Result<(), Fault> {
        let [version, code, _reserved, kind] = self.receive().await?;
        if version != VERSION {
            return Err(self.no_socks());
        }
        if code != 0 {
            return Err(self.refusal(code));
        }
        let address = match kind {
            TYPE_V4 => 4,
            TYPE_V6 => 16,
            TYPE_NAME => {
                let [len] = self.receive().await?;
                usize::from(len)
            }
            _ => return Err(garbled(self.proxy, "an address of an unknown kind")),
        };
        let mut bytes = vec![0; address + size_of::<u16>()];
        self.receive_into(&mut bytes).await
    }

    /// A message for each code.
    fn refusal(&self, code: u8) -> Fault {
        let could_not = |why: &str| failed(self.proxy, format!("could not connect: {why}"));
        let forbidden = |why: &str| refused(self.proxy, ProxyRefusal::Forbidden(why.to_owned()));
        match code {
            1 => could_not("general failure"),
            2 => forbidden("not allowed by its rules"),
            3 => could_not("network unreachable"),
            4 => could_not("host unreachable, or a name that it cannot look up"),
            5 => could_not("connection refused"),
            6 => could_not("time out (TTL expired)"),
            7 => forbidden("it does not support to connect"),
            8 => forbidden("it does not support this kind of address"),
            other => could_not(&format!("code {other}, which no standard names")),
        }
    }

    fn unwanted(&self, why: &str) -> Fault {
        refused(self.proxy, ProxyRefusal::Credentials(why.to_owned()))
    }

    fn no_socks(&self) -> Fault {
        garbled(self.proxy, "it does not speak SOCKS5")
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let sent = self.stream.write_all(bytes).await;
        let sent = match sent {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        sent.map_err(|error| broke(self.proxy, &error))
    }

    async fn receive<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.receive_into(&mut bytes).await?;
        Ok(bytes)
    }

    /// Exactly so many bytes: what follows may be the origin's already.
    async fn receive_into(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        match self.stream.read_exact(bytes).await {
            Ok(_all) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let text = "closed the connection before it was through";
                Err(failed(self.proxy, text))
            }
            Err(error) => Err(broke(self.proxy, &error)),
        }
    }
}

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const METHOD_NONE: u8 = 0;
const METHOD_PASSWORD: u8 = 2;
const METHOD_REFUSED: u8 = 0xff;
const TYPE_V4: u8 = 1;
const TYPE_NAME: u8 = 3;
const TYPE_V6: u8 = 4;

#[cfg(test)]
mod tests;
