//! What can be set about the network, and what can be wrong with it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tur_core::Secret;
use tur_http::{HostEntry, Proxies};

/// Settings of an [`HttpTransport`](crate::HttpTransport).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetConfig {
    /// Limit for name resolution, TCP and TLS, or QUIC, together. Default: 10 s.
    pub connect_timeout: Duration,
    /// Certificates (PEM) to trust **instead of** the system's. Default: none, the system's roots are used.
    pub roots_pem: Option<Vec<u8>>,
    /// Value of `User-Agent`. Default: `tur/VERSION`.
    pub user_agent: String,
    /// Largest header section taken, in bytes; at least 8 KiB. Default: 256 KiB.
    pub head_limit: usize,
    /// Most interim (1xx) answers taken before a final one; together they may also have no more than 64 KiB. Default:
    /// 100.
    pub interim_limit: usize,
    /// Largest read from one connection, in bytes; a power of two from 8 KiB to 1 MiB, rounded up. A connection holds
    /// at most three buffers of this size. Default: 128 KiB.
    pub read_buffer: usize,
    /// What the system may keep of a connection that nobody has read yet, in bytes, set before connecting. The system may
    /// take twice of it for its own accounts, and allows no more than its administrator does. A read is then no larger
    /// than an eighth of it. Default: none, the system finds a size by measurement.
    pub receive_buffer: Option<usize>,
    /// Which protocols are spoken. Default: [`Protocols::Auto`].
    pub protocols: Protocols,
    /// Bytes of one stream of HTTP/2 or HTTP/3 that a peer may send before they were taken; from 16 KiB to 1 GiB, and never more than
    /// the connection's. Default: 16 MiB, which is 128 MB/s at a round trip of 130 ms. With a `receive_buffer` it is
    /// no larger than that.
    pub h2_stream_window: u32,
    /// Bytes of all streams of one connection of HTTP/2 or HTTP/3 that a peer may send before they were taken; from 64 KiB to
    /// 1 GiB. All connections of a transport share 64 MiB: each gets what is set here, or a quarter of what is left, at least
    /// 512 KiB; or an equal part, where it is known how many there will be. Where connections to the origin were
    /// measured, it is at most three times of what was on its way at once, or 4 MiB; over HTTP/3 it grows to that while the
    /// connection runs.
    /// Default: 32 MiB. With a `receive_buffer` it is no larger than that.
    pub h2_connection_window: u32,
    /// True to connect to public addresses alone: not to loopback, private, link-local, shared, documentation and multicast
    /// networks, in any form, nor to other special-purpose ones. Each connection is checked after its name was resolved;
    /// others than public addresses are left out, and a host that has no public one is refused. Default: false.
    ///
    /// Where a proxy looks names up, only an origin that is given by its address can be checked, and others are refused.
    /// The proxy itself is not checked: the user has named it.
    pub no_private: bool,
    /// Which origins are asked through which proxies. Default: none.
    pub proxies: Proxies,
    /// Addresses of hosts, in place of what a resolver would say. Default: none.
    pub hosts: Vec<HostEntry>,
    /// The only family of addresses that is connected to. Default: either.
    pub family: Option<IpFamily>,
    /// An address of this machine, or (on Linux) the name of one of its interfaces, that connections leave from. Default:
    /// what the routes say.
    pub interface: Option<String>,
    /// True to take any certificate of an origin, from anybody: whoever is on the way can then read and change
    /// everything. Proxies that are reached over TLS are checked all the same. Default: false.
    pub insecure: bool,
    /// A certificate of the client, shown to origins that downloads begin at
    /// ([`Transport::begin_at`](tur_core::port::Transport::begin_at)) and that ask for one; to no other, and to no proxy.
    /// Default: none.
    pub client: Option<ClientIdentity>,
    /// The oldest version of TLS that is spoken. Default: 1.2.
    pub tls_min: TlsVersion,
    /// Who is told the keys of all TLS connections. Default: nobody.
    pub key_log: Option<KeyLog>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// True if the address is of this family.
    pub(crate) fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == IpFamily::V4)
    }
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IpFamily::V4 => "IPv4",
            IpFamily::V6 => "IPv6",
        })
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    V12,
    /// RFC 8446.
    V13,
}

/// A certificate of the client and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, then those that lead from it to an authority.
    pub certificates_pem: Vec<u8>,
    /// The private key of the first one, not encrypted; other sections are skipped.
    pub key_pem: Secret,
}

/// Who is told the keys of TLS connections, for whoever debugs their own traffic: with them all that is sent can be read.
#[derive(Clone)]
pub struct KeyLog(Arc<dyn Fn(&str) + Send + Sync>);

impl KeyLog {
    /// `told` is called with each key: a line of the format of `SSLKEYLOGFILE`, line feed and all, in the middle of a
    /// handshake.
    pub fn new(told: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    pub(crate) fn tell(&self, line: &str) {
        (self.0)(line);
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLog")
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            roots_pem: None,
            user_agent: concat!("tur/", env!("CARGO_PKG_VERSION")).to_owned(),
            head_limit: HEAD_BYTES_MAX,
            interim_limit: INTERIM_MAX,
            // Beyond 128 KiB a read costs no less per byte.
            read_buffer: 128 * 1024,
            receive_buffer: None,
            protocols: Protocols::Auto,
            h2_stream_window: H2_STREAM_WINDOW,
            h2_connection_window: H2_CONNECTION_WINDOW,
            no_private: false,
            proxies: Proxies::default(),
            hosts: Vec::new(),
            family: None,
            interface: None,
            insecure: false,
            client: None,
            tls_min: TlsVersion::default(),
            key_log: None,
        }
    }
}

/// Which protocols a transport speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocols {
    /// HTTP/2 where TLS agrees to it (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone: over TLS it must be agreed to, in clear text it is spoken without asking (RFC 9113, section 3.3).
    /// Where that cannot be, `open` fails with `ProtocolUnavailable`.
    Http2,
    /// HTTP/3 alone, over QUIC: `https` origins are connected to by UDP without being asked over TCP first. Where nothing
    /// answers by UDP, `open` fails with `Connect`; at `http` origins and where it is not agreed to, with
    /// `ProtocolUnavailable`.
    #[cfg(feature = "http3")]
    Http3,
}

impl NetConfig {
    /// Sets the limit for name resolution, TCP and TLS together.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Trusts the certificates in `pem` instead of the system's.
    #[must_use]
    pub fn roots_pem(mut self, pem: Vec<u8>) -> Self {
        self.roots_pem = Some(pem);
        self
    }

    /// Sets the value of `User-Agent`.
    #[must_use]
    pub fn user_agent(mut self, value: impl Into<String>) -> Self {
        self.user_agent = value.into();
        self
    }

    /// Sets the largest header section taken, in bytes.
    #[must_use]
    pub fn head_limit(mut self, bytes: usize) -> Self {
        self.head_limit = bytes;
        self
    }

    /// Sets how many interim answers are taken before a final one.
    #[must_use]
    pub fn interim_limit(mut self, count: usize) -> Self {
        self.interim_limit = count;
        self
    }

    /// Sets the largest read from one connection, in bytes.
    #[must_use]
    pub fn read_buffer(mut self, bytes: usize) -> Self {
        self.read_buffer = bytes;
        self
    }

    /// Sets what the system may keep of a connection that nobody has read yet, in bytes.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Sets which protocols are spoken.
    #[must_use]
    pub fn protocols(mut self, protocols: Protocols) -> Self {
        self.protocols = protocols;
        self
    }

    /// Sets the window of an HTTP/2 stream, in bytes.
    #[must_use]
    pub fn h2_stream_window(mut self, bytes: u32) -> Self {
        self.h2_stream_window = bytes;
        self
    }

    /// Sets the window of an HTTP/2 connection, in bytes.
    #[must_use]
    pub fn h2_connection_window(mut self, bytes: u32) -> Self {
        self.h2_connection_window = bytes;
        self
    }

    /// Sets whether only public addresses are connected to.
    #[must_use]
    pub fn no_private(mut self, yes: bool) -> Self {
        self.no_private = yes;
        self
    }

    /// Sets which origins are asked through which proxies.
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Sets addresses of hosts, in place of what a resolver would say.
    #[must_use]
    pub fn hosts(mut self, entries: Vec<HostEntry>) -> Self {
        self.hosts = entries;
        self
    }

    /// Sets the only family of addresses that is connected to.
    #[must_use]
    pub fn family(mut self, family: Option<IpFamily>) -> Self {
        self.family = family;
        self
    }

    /// Sets the address or the interface of this machine that connections leave from.
    #[must_use]
    pub fn interface(mut self, name_or_address: Option<String>) -> Self {
        self.interface = name_or_address;
        self
    }

    /// Sets whether any certificate of an origin is taken.
    #[must_use]
    pub fn insecure(mut self, yes: bool) -> Self {
        self.insecure = yes;
        self
    }

    /// Sets the certificate of the client.
    #[must_use]
    pub fn client(mut self, identity: Option<ClientIdentity>) -> Self {
        self.client = identity;
        self
    }

    /// Sets the oldest version of TLS that is spoken.
    #[must_use]
    pub fn tls_min(mut self, version: TlsVersion) -> Self {
        self.tls_min = version;
        self
    }

    /// Sets who is told the keys of TLS connections.
    #[must_use]
    pub fn key_log(mut self, log: Option<KeyLog>) -> Self {
        self.key_log = log;
        self
    }

    /// The same with every size inside its bounds.
    pub(crate) fn bounded(mut self) -> Self {
        self.head_limit = self.head_limit.clamp(BUFFER_MIN, HEAD_MAX);
        self.receive_buffer = self
            .receive_buffer
            .map(|bytes| bytes.clamp(BUFFER_MIN, RECEIVE_MAX));
        // Of a connection that is read slowly, each read takes little: then bytes come steadily.
        let most = self.receive_buffer.map_or(BUFFER_MAX, |bytes| bytes / 8);
        self.read_buffer = self
            .read_buffer
            .min(most)
            .clamp(BUFFER_MIN, BUFFER_MAX)
            .next_power_of_two();
        // The windows hold back what the socket no longer does: a driver reads it as it comes.
        let most = self.receive_buffer.map_or(WINDOW_MAX, |bytes| {
            u32::try_from(bytes).unwrap_or(WINDOW_MAX)
        });
        let stream = self.h2_stream_window.min(most);
        self.h2_stream_window = stream.clamp(STREAM_WINDOW_MIN, WINDOW_MAX);
        let connection = self.h2_connection_window.min(most);
        self.h2_connection_window = connection.clamp(CONNECTION_WINDOW_MIN, WINDOW_MAX);
        self
    }
}

/// Why an [`HttpTransport`](crate::HttpTransport) could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetError {
    /// `roots_pem` holds no certificate, or one that cannot be read.
    #[error("the CA certificates cannot be used: {0}")]
    Roots(String),
    /// The certificate of the client or its key cannot be read, or they do not belong together.
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(String),
    /// `interface` is none of this machine's.
    #[error("the interface cannot be used: {0}")]
    Interface(String),
    /// `user_agent` holds a byte that may not stand in a field value.
    #[error("the User-Agent holds a forbidden character")]
    UserAgent,
}

/// Default limit for name resolution, TCP and TLS together: slow resolvers and far hosts answer within some seconds, and
/// a person waits no longer than this.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of the largest header section, in bytes, status line included; of the trailers of a chunked body too. Larger
/// than any seen in the wild, small enough for many lanes at once.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;
/// Most field lines of a header section, and of trailers. hyper reserves 32 bytes for each, twice, while a head is read.
pub const FIELDS_MAX: usize = 1024;
/// Default of the most interim (1xx) answers before a final one.
pub const INTERIM_MAX: usize = 100;
/// Most bytes of interim answers before a final one.
pub const INTERIM_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of chunk extensions in one body. The bound is hyper's; a test keeps it.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 16 * 1024;

/// Default window of an HTTP/2 stream, in bytes.
pub const H2_STREAM_WINDOW: u32 = 16 * 1024 * 1024;
/// Default window of an HTTP/2 connection, in bytes.
pub const H2_CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// Most bytes of a proxy's answer to CONNECT.
pub const PROXY_HEAD_BYTES_MAX: usize = 16 * 1024;

/// hyper's first buffer; it takes no smaller one.
const BUFFER_MIN: usize = 8 * 1024;
const BUFFER_MAX: usize = 1024 * 1024;
/// Beyond it there is no reason not to leave the size to the system.
const RECEIVE_MAX: usize = 64 * 1024 * 1024;
const HEAD_MAX: usize = 16 * 1024 * 1024;
/// One frame of the smallest size that a peer may always send.
const STREAM_WINDOW_MIN: u32 = 16 * 1024;
/// A connection begins with so much, and cannot take it back (RFC 9113, section 6.9.2).
const CONNECTION_WINDOW_MIN: u32 = 65_535;
const WINDOW_MAX: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_with_a_small_buffer_is_read_in_small_steps() {
        for (receive, read, kept, step) in [
            (None, 128 * 1024, None, 128 * 1024),
            (Some(0), 128 * 1024, Some(8 * 1024), 8 * 1024),
            (Some(64 * 1024), 128 * 1024, Some(64 * 1024), 8 * 1024),
            (Some(192 * 1024), 128 * 1024, Some(192 * 1024), 32 * 1024),
            (Some(192 * 1024), 8 * 1024, Some(192 * 1024), 8 * 1024),
            (Some(4 << 20), 128 * 1024, Some(4 << 20), 128 * 1024),
        ] {
            let config = NetConfig {
                receive_buffer: receive,
                read_buffer: read,
                ..NetConfig::default()
            }
            .bounded();
            assert_eq!((config.receive_buffer, config.read_buffer), (kept, step));
        }
    }
}
