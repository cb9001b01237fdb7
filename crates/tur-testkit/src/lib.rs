//! A loopback origin that can misbehave, and a simulated one that misbehaves in the same words.
//!
//! Read [`Behaviour`] first: it says how one path of an origin behaves. [`Loopback`] plays it over real sockets,
//! [`sim::SimTransport`] in memory on tokio's clock. Both write down what they saw, as [`Seen`]. A [`ProxyServer`] stands
//! between.
//!
//! For tests and benchmarks only. Nothing is published.
#![forbid(unsafe_code)]

mod behaviour;
mod clock;
pub mod conformance;
mod content;
mod date;
mod distance;
mod gate;
mod log;
mod loopback;
mod pace;
mod play;
mod proxy;
mod scene;
pub mod sim;
mod stage;
mod strike;

pub use behaviour::{
    Behaviour, Beyond, Crowd, Deed, Framing, IfRange, Link, Ranges, TODAY, When, strong, weak,
};
pub use content::{byte_at, content};
pub use date::http_date;
pub use distance::{Distance, Way};
pub use gate::Gate;
pub use log::Seen;
pub use loopback::{Loopback, Refusing, Setup, Speaks, Tls};
pub use proxy::{ProxyDeed, ProxySeen, ProxyServer, ProxySetup, ProxySpeech};
pub use strike::Strike;
