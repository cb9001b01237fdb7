//! Whole downloads through the public interface: real sockets, real files.

#[cfg(feature = "http3")]
mod alternatives;
mod breaks;
mod events;
mod files;
mod lanes;
mod limits;
mod metrics;
mod origins;
mod secrets;
mod servers;
mod stand;
mod streams;
