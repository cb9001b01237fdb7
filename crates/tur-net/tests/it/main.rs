//! The transport on real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up fails")]

mod bounds;
mod conformance;
mod floods;
mod frames;
mod framing;
#[cfg(feature = "http3")]
mod h3;
mod identity;
mod proxy;
mod script;
mod session;
mod streams;
mod tls;
