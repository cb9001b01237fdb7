//! The local endpoint over real sockets: what is answered, and what becomes of clients, downloads and limits.
//!
//! Every body is compared, byte by byte, with what the origin has.

mod answers;
mod client;
mod ends;
mod lives;
#[path = "../stream/stand.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod stand;
