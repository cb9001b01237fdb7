//! The tur download engine: many connections, one trusted file.
//!
//! A [`Downloader`] owns the network and the engine's data thread; [`Downloader::download`] begins a download, whose
//! [`Handle`] tells its progress and events and waits for its outcome.
//!
//! ```no_run
//! # async fn example() -> Result<(), tur_engine::Error> {
//! use tur_engine::Downloader;
//!
//! let downloader = Downloader::builder().build()?;
//! let done = downloader
//!     .download("https://example.org/big.iso")
//!     .dir("downloads")
//!     .lanes(8)
//!     .start()
//!     .wait()
//!     .await?;
//! println!("{} bytes in {}", done.bytes, done.path.display());
//! # Ok(())
//! # }
//! ```
//!
//! This is the only crate below the program that spawns and wires. Decisions are tur-sched's, messages tur-http's,
//! sockets tur-net's, bytes on disk tur-storage's; the driver only carries events and actions between
//! them.
#![forbid(unsafe_code)]

mod adapt;
mod ahead;
mod board;
pub mod bounds;
mod bus;
mod cancel;
mod careful;
mod checksum;
mod clock;
mod command;
mod compute;
mod connections;
mod credentials;
mod decode;
mod delivery;
mod desk;
mod download;
mod downloader;
mod driver;
mod error;
mod event;
mod fetch;
mod filed;
mod floor;
mod hand;
mod handle;
#[cfg(feature = "http3")]
mod http3;
mod hub;
mod job;
mod keys;
mod limits;
mod lookout;
mod metrics;
mod network;
mod origins;
mod overlap;
mod passport;
mod peer;
mod permits;
mod pipe;
mod pressure;
mod reading;
mod region;
mod sampler;
mod scaling;
mod seats;
mod sessions;
mod tenants;
mod unfinished;

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub use adapt::{Abr, AbrHandle};
pub use cancel::CancelToken;
pub use checksum::{Checksum, ChecksumError};
pub use command::Command;
pub use download::{Download, OnExists};
pub use downloader::{Downloader, DownloaderBuilder};
pub use error::Error;
pub use event::{Completed, Event, Events, LaneState, LaneView, PeerNo, PhaseWord, Progress, What};
pub use fetch::{Fetched, Head};
pub use handle::Handle;
pub use metrics::{DownloaderMetrics, Metrics, ProtocolMetrics, Steals, WindowMetrics};
pub use origins::{Http3Record, OriginRecord};
pub use peer::{Peer, PeerHandle, Response, WeakPeerHandle};
pub use pipe::Body;
pub use reading::{Demand, Reading, Status, Version, Wait};
pub use tur_core::{ByteRange, Challenge, Kind, RangeSet, Rate, Secret};
pub use tur_http::{
    CookieFile, CookieLineError, HostEntry, HostEntryError, Netrc, NetrcError, NoProxy, Proxies,
    ProxiesError, Proxy, ProxyError, ProxyKind, TypeGlob, TypeGlobError, is_hidden, printable,
};
pub use tur_net::{ClientIdentity, IpFamily, Protocols, TlsVersion};
pub use tur_sched::abr;
pub use tur_sched::{OnChange, Priority, RetryPolicy, Schedule, SpeedFloor, WaitsFor};
pub use tur_storage::{Stay, StorageKind, Unfinished};
