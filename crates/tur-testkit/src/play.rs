//! What happens to a request, in words that all worlds can play.
//!
//! A [`Play`] is made by [`play`](crate::scene::play) from a behaviour and what was [`Asked`].

use std::time::Duration;

use bytes::Bytes;
use tur_core::{ByteRange, ETag, Rate, RetryAfter, Wall};

use crate::behaviour::{Deed, Framing};
use crate::gate::Gate;

/// The part of a request that behaviours look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Number of the request for its path, from 1.
    pub(crate) number: u64,
    pub(crate) method: String,
    /// All fields, names in lower case.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) range: Option<Wanted>,
    pub(crate) if_range: Option<Vec<u8>>,
    /// Requests for the path that are being answered, this one counted.
    pub(crate) active: u64,
    /// Number of the connection since the path got its behaviour, from 1; 0 if it is older.
    pub(crate) connection: u64,
    /// What the connection meets because it is one too many.
    pub(crate) turned_away: Option<Deed>,
}

/// A `Range` field with one range (RFC 9110, section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// `a-b` or `a-`.
    Range(ByteRange),
    /// `-n`: the last n bytes.
    Suffix(u64),
}

impl Wanted {
    /// Reads `bytes=a-b`, `bytes=a-` or `bytes=-n`; anything else, several ranges too, is as if no field came.
    pub(crate) fn parse(field: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(field).ok()?.trim();
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            return last.parse().ok().map(Wanted::Suffix);
        }
        let first: u64 = first.parse().ok()?;
        if last.is_empty() {
            return Some(Wanted::Range(ByteRange::from(first)));
        }
        let end = last.parse::<u64>().ok()?.checked_add(1)?;
        (first < end).then(|| Wanted::Range(ByteRange::new(first, end)))
    }

    /// The bytes of a representation of `size` bytes; empty if there are none.
    pub(crate) fn of(self, size: u64) -> ByteRange {
        match self {
            Wanted::Range(range) => range.intersect(ByteRange::new(0, size)),
            Wanted::Suffix(n) => ByteRange::new(size.saturating_sub(n), size),
        }
    }
}

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    pub(crate) delay: Duration,
    pub(crate) gate: Option<Gate>,
    pub(crate) interim: u32,
    pub(crate) act: Act,
}

/// What comes after the delay.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    BlackHole,
    Hangup,
    NotHttp,
    EndlessHead,
    ResetStream(u32),
    GoAway(u32),
    Answer(Box<Script>),
}

/// An answer with its body.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) head: Head,
    pub(crate) source: Source,
    /// Bytes that the source has for this answer.
    pub(crate) length: u64,
    pub(crate) stop: Option<Stop>,
    pub(crate) extra: u64,
    pub(crate) pace: Option<Rate>,
    /// Time between head and body.
    pub(crate) delay: Duration,
    pub(crate) gate: Option<Gate>,
    pub(crate) keep_alive: bool,
    /// True if the body leaves an HTTP/1 connection where no other answer can follow.
    pub(crate) used_up: bool,
}

impl Script {
    /// Offset in the representation of byte `at` of the body.
    pub(crate) fn offset(&self, at: u64) -> u64 {
        match self.source {
            Source::Content { start, .. } => start.saturating_add(at),
            Source::Text(_) => at,
        }
    }

    /// Body bytes that the gate lets pass.
    pub(crate) fn passing(&self) -> u64 {
        self.gate
            .as_ref()
            .map_or(u64::MAX, |gate| gate.limit().saturating_sub(self.offset(0)))
    }

    /// Waits until byte `at` of the body may pass.
    pub(crate) async fn passes(&self, at: u64) {
        if let Some(gate) = &self.gate {
            gate.passes(self.offset(at)).await;
        }
    }
}

/// The head of an answer, not yet in the words of a world.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) framing: Framing,
    pub(crate) label: Option<Label>,
    pub(crate) etag: Option<ETag>,
    pub(crate) last_modified: Option<Wall>,
    pub(crate) date: Option<Wall>,
    pub(crate) media_type: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) disposition: Option<Vec<u8>>,
    pub(crate) accept_ranges: bool,
    pub(crate) location: Option<String>,
    pub(crate) retry_after: Option<RetryAfter>,
    pub(crate) challenge: bool,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

/// A `Content-Range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Range(ByteRange, Option<u64>),
    Unsatisfied(u64),
    Raw(String),
}

/// Where the bytes of a body come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Content { version: u8, start: u64 },
    Text(Bytes),
}

impl Source {
    /// At most `len` bytes from byte `at` of the body on.
    pub(crate) fn chunk(&self, at: u64, len: u64) -> Bytes {
        match self {
            Source::Content { version, start } => {
                crate::content::chunk(*version, start.wrapping_add(at), len)
            }
            Source::Text(text) => {
                let at = usize::try_from(at).map_or(text.len(), |at| at.min(text.len()));
                let len = usize::try_from(len).map_or(text.len(), |len| len.min(text.len() - at));
                text.slice(at..at + len)
            }
        }
    }
}

/// Where a body breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) at: u64,
    pub(crate) how: Break,
}

/// How a body breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    Cut,
    Reset,
    Stall,
}
