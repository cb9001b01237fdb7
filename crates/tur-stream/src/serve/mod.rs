//! A local HTTP endpoint for players that read URLs: [`Endpoint`].
//!
//! Read `ask.rs` for what a request comes to (RFC 9110, sections 13 and 14), `answer.rs` for what is said to it, `flow.rs` for
//! how the bytes go out. Every client's position is a reader of the one download.
//!
//! - A file stands at `http://127.0.0.1:PORT/TOKEN/NAME`. The token is 128 bits of the system's random source: who does not
//!   know it gets 404. A `Host` that is not this address gets 421, so that no web page reaches it through a name of its own
//!   that leads here (DNS rebinding).
//! - `GET` and `HEAD`, one byte range (206, or 416), `If-Range`, `If-Match` and `If-None-Match` with a strong entity tag.
//!   Several ranges, and what is not understood as a range, get the whole (section 14.2 lets a server ignore `Range`).
//! - Where the length is not known, or not yet, the answer is whole and chunked, and `Range` is ignored.
//! - An answer that cannot be completed ends with its connection: neither its length nor its last chunk is there. HTTP/1.0,
//!   which has no chunks, is refused (505) where only the end of the connection would tell the end of the file.
//! - Nothing permits other origins to read it with scripts (CORS): `<video src>` needs no permission, and a page that was not
//!   given the bytes is not to have what was fetched with somebody's credentials. What is no picture, sound or film is shown
//!   without scripts (`Content-Security-Policy: sandbox`).
//! - A client that closes its connection, or its half of it, loses its reader at once. One that does not read is waited for:
//!   128 KiB are under way to it here, and the sockets' buffers. A client that asks for nothing is let go.

mod answer;
mod ask;
mod door;
mod endpoint;
mod flow;
mod shelf;

pub use endpoint::{Endpoint, EndpointOptions};
