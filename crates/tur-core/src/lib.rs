//! The words and the ports of the tur download engine.
//!
//! Every other layer speaks in these types: [`ByteRange`] and [`RangeSet`] for bytes, [`Timestamp`] and [`Wall`] for
//! time, [`Identity`] for *which* representation the bytes belong to, [`Answer`] for what an origin said, [`Fault`]
//! for why an attempt failed and [`Kind`] for how it is reported, [`Secret`] for what is shown to nobody. The ports a transport implements are in [`port`].
//!
//! Read [`RangeSet`] first, then [`Identity`], then [`port::Transport`].
//!
//! What is absent: no clock, no file, no socket, no thread. The crate is `no_std` + `alloc`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod alternative;
mod answer;
mod challenge;
mod chunks;
mod fault;
mod identity;
pub mod port;
mod range;
mod range_set;
mod rate;
mod secret;
mod target;
mod time;

pub use alternative::{Advert, Alternative, Approach, Http3News, Offer};
pub use answer::{Answer, Asides, Ask, BodyKind, Content, ContentRange, Representation};
pub use challenge::Challenge;
pub use chunks::Chunks;
pub use fault::{Fault, Kind, ProxyRefusal, Refusal, RetryAfter, TlsCause, Wait};
pub use identity::{ETag, Identity, LastModified};
pub use range::ByteRange;
pub use range_set::RangeSet;
pub use rate::Rate;
pub use secret::Secret;
pub use target::{Origin, Scheme, Target};
pub use time::{Timestamp, Wall};
