//! HTTP/1.1 and HTTP/2 over TCP and TLS, and HTTP/3 over QUIC, behind the transport port of tur-core.
//!
//! Read [`HttpTransport`] first; [`NetConfig`] says what can be set. The traits it keeps are in
//! [`tur_core::port`]: one attempt yields one fault, nothing is retried here, and no redirect is followed.
//!
//! Nothing here spawns. An HTTP/1.1 connection moves only while somebody awaits
//! [`HttpSession::fetch`](tur_core::port::Session) or [`HttpBody::fill`](tur_core::port::Body): reading happens on the
//! caller. One with many streams is driven by futures that the caller's [`Spawner`] runs. Either dies with its session; the
//! UDP sockets of HTTP/3 live as long as their transport.
//!
//! The first handshake of a process takes some 40 ms of computing, unless the environment of the build has
//! `AWS_LC_SYS_NO_JITTER_ENTROPY=1`: then aws-lc takes its seeds from the operating system alone. This workspace is built so.
//!
//! HTTP/3 is there with the feature `http3`. The modules `h1`, `h2` and `h3` hold what differs by protocol; `session` and `body` choose between them.
#![forbid(unsafe_code)]

mod body;
mod carrier;
mod config;
mod dial;
mod h1;
mod h2;
#[cfg(feature = "http3")]
mod h3;
mod head;
mod local;
mod message;
mod proxy;
mod public;
mod race;
mod recent;
mod session;
mod spawner;
mod spread;
mod stream;
mod tls;
mod transport;
mod wanted;
mod way;
mod windows;

pub use body::HttpBody;
pub use config::{
    CHUNK_EXTENSION_BYTES_MAX, CONNECT_TIMEOUT, ClientIdentity, FIELDS_MAX, H2_CONNECTION_WINDOW,
    H2_STREAM_WINDOW, HEAD_BYTES_MAX, INTERIM_BYTES_MAX, INTERIM_MAX, IpFamily, KeyLog, NetConfig,
    NetError, PROXY_HEAD_BYTES_MAX, Protocols, TlsVersion,
};
#[cfg(feature = "http3")]
pub use h3::Guide;
pub use session::HttpSession;
pub use spawner::{Driver, Spawner};
pub use transport::HttpTransport;
