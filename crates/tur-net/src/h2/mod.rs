//! HTTP/2: many requests on one connection, which runs by itself.
//!
//! Read [`H2Session`]. [`open`] sets it up, [`driver`] runs it, [`shared`] is what session, bodies and driver share,
//! [`meter`] watches the frames that come in, [`resets`] counts streams that are given up, [`setbacks`] those that the peer ends,
//! [`faults`] names what went wrong.
//!
//! Bounds on what a peer may do, and who keeps them:
//!
//! | what comes | bound | kept by |
//! |---|---|---|
//! | header section | [`NetConfig::head_limit`](crate::NetConfig::head_limit) decoded, and as many bytes on the wire | [`session`], [`meter`]; h2 keeps four times as much at most (`SETTINGS_MAX_HEADER_LIST_SIZE`) |
//! | CONTINUATION frames | those of one such section in frames of 16 KiB and a quarter more | h2 |
//! | interim answers | as over HTTP/1.1 | [`session`], [`meter`] |
//! | body bytes that nobody reads | the windows | h2; [`Windows`](crate::windows::Windows) over all connections |
//! | small DATA frames that nobody reads | half of the connection's window in overhead | h2 |
//! | empty DATA frames | 100 in a connection | h2 |
//! | PING, SETTINGS, PRIORITY, WINDOW_UPDATE, RST_STREAM, unknown | 1 000 between two frames of an answer | [`meter`] |
//! | answers to those | one of each waits to be written, and nothing is read meanwhile | h2 |
//! | stream errors of its making | 1 024 in a connection | h2 |
//! | PUSH_PROMISE | none | h2 (`SETTINGS_ENABLE_PUSH = 0`) |

mod body;
mod driver;
mod faults;
mod meter;
mod open;
mod resets;
mod session;
pub(crate) mod setbacks;
mod shared;

pub(crate) use body::H2Body;
pub(crate) use open::{Opening, open};
pub(crate) use session::H2Session;
pub(crate) use shared::Terms;
