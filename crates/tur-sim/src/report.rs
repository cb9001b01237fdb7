//! What a run was like.

use core::time::Duration;

use tur_core::Kind;

/// A run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each download.
    pub downloads: Vec<DownloadReport>,
    /// Virtual time until the last one ended.
    pub time: Duration,
    /// Turns of the world.
    pub steps: u64,
}

/// A download.
#[derive(Clone, Debug)]
pub struct DownloadReport {
    /// How it ended.
    pub outcome: Outcome,
    /// From being asked for to its end.
    pub time: Duration,
    /// Bytes of the file.
    pub bytes: u64,
    /// Requests sent.
    pub requests: u32,
    /// Connections set up for it.
    pub connections: u32,
    /// Lanes that were receiving, at most.
    pub lanes_max: usize,
    /// Lanes that were receiving when nine tenths had landed: at the very end they run out of work.
    pub lanes_end: usize,
    /// Bytes received and not used.
    pub wasted: u64,
    /// Runs it took.
    pub runs: u32,
    /// How it went, about five times a second.
    pub series: Vec<Sample>,
}

/// A moment of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Since it was asked for.
    pub at: Duration,
    /// Bytes that have landed.
    pub landed: u64,
    /// Lanes that are receiving.
    pub lanes: usize,
}

/// How a download ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte is there.
    Complete,
    /// It gave up.
    Failed {
        /// What kind of failure.
        kind: Kind,
        /// Its message.
        message: String,
    },
    /// The disk was full.
    DiskFull,
    /// The user wanted no more.
    Cancelled,
}
