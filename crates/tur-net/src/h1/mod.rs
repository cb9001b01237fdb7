//! HTTP/1.1: one connection, one request at a time, driven by whoever awaits on it.
//!
//! Read [`H1Session`]. [`link`] owns hyper's connection, [`wire`] the bytes under it, [`framing`] says where a body ends,
//! [`diagnosis`] why a head could not be read.

mod body;
mod diagnosis;
mod framing;
mod link;
mod session;
mod wire;

pub(crate) use body::H1Body;
pub(crate) use session::H1Session;
