//! HTTP/3: many requests on one QUIC connection, which runs by itself.
//!
//! Read [`H3Session`]. [`open`] connects and sets it up, [`endpoint`] holds the UDP sockets, [`turns`] says who runs when,
//! [`adapter`] is quinn behind the traits of h3, [`meter`] watches the frames that come in, [`shared`] is what a session, its
//! streams and bodies know in common, [`faults`] names what went wrong, [`race`] is where TCP is tried beside it. No request is
//! sent before the handshake has ended (0-RTT), and nothing that has no meaning (GREASE).
//!
//! Bounds on what a peer may do, and who keeps them:
//!
//! | what comes | bound | kept by |
//! |---|---|---|
//! | header section | [`NetConfig::head_limit`](crate::NetConfig::head_limit) decoded, and as many bytes on the wire | h3, [`meter`] |
//! | interim answers | as over HTTP/1.1 | [`session`] |
//! | body bytes that nobody reads | the windows | quinn; [`Windows`](crate::windows::Windows) over all connections |
//! | frames without content on one stream | 1 000 between two frames of an answer, 16 KiB each | [`meter`] |
//! | frames of the control stream | 1 000, 16 KiB each | [`meter`] |
//! | a frame that ends before its length | none: the body is cut | [`meter`] |
//! | streams of its own | 16 at once, 1 000 in all; none that go both ways | quinn, [`adapter`] |
//! | datagrams | none | quinn |
//! | silence | 30 s | quinn |

mod adapter;
mod body;
mod endpoint;
mod faults;
mod meter;
mod open;
pub(crate) mod race;
mod session;
mod shared;
mod turns;

pub(crate) use body::H3Body;
pub(crate) use endpoint::Endpoints;
pub(crate) use open::{Opened, Opening, open};
pub use race::Guide;
pub(crate) use session::H3Session;
