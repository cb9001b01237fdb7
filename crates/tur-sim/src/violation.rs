//! What a world must never show.

use thiserror::Error;
use tur_core::ByteRange;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// Called complete with a hole.
    #[error("called complete without {0}")]
    Missing(ByteRange),
    /// Called complete with bytes of several versions.
    #[error("bytes of versions {0:?} in one file")]
    Mixed(Vec<u32>),
    /// Called complete under the name of another version.
    #[error("bytes of version {0} under another name")]
    WrongVersion(u32),
    /// Called complete at a length that no version has.
    #[error("called complete at {0} bytes, which is no version's length")]
    WrongLength(u64),
    /// A byte that was there was written again.
    #[error("written twice: {0}")]
    WrittenTwice(ByteRange),
    /// Two lanes own one byte.
    #[error("two gates hold {0}")]
    GatesOverlap(ByteRange),
    /// More lanes than allowed.
    #[error("{lanes} lanes at work, {limit} allowed")]
    TooManyLanes {
        /// At work.
        lanes: usize,
        /// Allowed.
        limit: usize,
    },
    /// Nothing is pending and nothing has ended.
    #[error("nothing is pending: {0}")]
    Hang(String),
    /// Time stands still.
    #[error("{0} steps without any time passing")]
    Spin(u64),
    /// The run takes more steps than such a world needs.
    #[error("no end after {0} steps")]
    TooManySteps(u64),
    /// The run takes longer than such a world needs.
    #[error("no end after {0} s")]
    TooLong(u64),
    /// More requests than such a world needs.
    #[error("{0} requests")]
    TooManyRequests(u32),
    /// Gave up where nothing was in the way.
    #[error("gave up in a world that allows the download: {0}")]
    GaveUp(String),
    /// An action that does not fit what the machine was told.
    #[error("an impossible order: {0}")]
    Impossible(String),
}
