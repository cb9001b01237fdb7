//! Crashes and failures at every point of a download: what is claimed afterwards is true, and the target is whole.
//!
//! [`sweep`] makes every state that a loss of power may leave of several short downloads; read it first. [`script`] is
//! one longer download, which [`cuts`] kills and lets fail at each call, and whose journal [`bytes`] damages.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod bytes;
#[path = "../common/mod.rs"]
mod common;
mod cuts;
mod recorder;
mod scenes;
mod script;
mod sweep;
