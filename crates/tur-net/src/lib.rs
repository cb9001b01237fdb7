//! HTTP/1.1 over TCP and TLS, behind the transport port of tur-core.
//!
//! Read [`HttpTransport`] first; [`NetConfig`] says what can be set. The traits it keeps are in
//! [`tur_core::port`]: one attempt yields one fault, nothing is retried here, and no redirect is followed.
//!
//! Nothing here spawns. A connection moves only while somebody awaits [`HttpSession::fetch`](tur_core::port::Session)
//! or [`HttpBody::fill`](tur_core::port::Body): reading happens on the caller, and a connection dies with its owner.
#![forbid(unsafe_code)]

mod body;
mod config;
mod dial;
mod h1;
mod head;
mod message;
mod public;
mod session;
mod stream;
mod tls;
mod transport;

pub use body::HttpBody;
pub use config::{
    CHUNK_EXTENSION_BYTES_MAX, CONNECT_TIMEOUT, FIELDS_MAX, HEAD_BYTES_MAX, INTERIM_BYTES_MAX,
    INTERIM_MAX, NetConfig, NetError,
};
pub use session::HttpSession;
pub use transport::HttpTransport;
