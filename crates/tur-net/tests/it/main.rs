//! The transport on real sockets.

mod conformance;
mod framing;
mod script;
mod session;
mod tls;
