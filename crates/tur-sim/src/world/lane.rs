//! What the world holds for each lane and each connection.

use std::sync::Arc;

use tur_core::{ByteRange, Origin};
use tur_sched::{FetchOrder, Gate, LaneId, SessionId};

use crate::net::ConnId;

/// Something a lane has begun, so that an answer that comes too late is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) download: usize,
    pub(super) lane: LaneId,
    pub(super) number: u64,
}

/// What a pool says to a lane, or the lanes of an origin to a transfer. As in the engine it arrives a little later, when the lane may want something else.
#[derive(Debug)]
pub(super) enum Word {
    Open {
        download: usize,
        lane: LaneId,
        id: SessionId,
        origin: Origin,
    },
    Lend {
        download: usize,
        lane: LaneId,
        id: SessionId,
        origin: Origin,
    },
    /// So many lanes may work.
    Width { download: usize, lanes: u16 },
    /// The process has room for so many lanes to the origin.
    Room { origin: Origin, lanes: u16 },
}

/// A connection, seen from both ends.
#[derive(Debug)]
pub(super) struct Socket {
    /// True while the origin answers on it.
    pub(super) answering: bool,
    /// True once it has carried an answer.
    pub(super) answered: bool,
    /// Body bytes it has carried.
    pub(super) carried: u64,
    /// When its last answer was over; nothing before the first: an origin waits longer for a first request.
    pub(super) used_at: Option<u64>,
    /// How long its set-up took, until that is told: zero stands for a session that was there.
    pub(super) set_up: u64,
}

/// A session that a pool has lent.
#[derive(Clone, Debug)]
pub(super) struct Lent {
    pub(super) id: SessionId,
    pub(super) origin: Origin,
    pub(super) conn: ConnId,
}

/// One lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The origin that a session is wanted for.
    pub(super) wanting: Option<Origin>,
    pub(super) lent: Option<Lent>,
    pub(super) fetching: Option<Fetching>,
    /// What runs.
    pub(super) op: Option<Op>,
    /// The connection that is being set up.
    pub(super) dialling: Option<ConnId>,
}

impl Lane {
    pub(super) fn is_at_work(&self) -> bool {
        self.wanting.is_some() || self.fetching.is_some()
    }
}

/// A request that runs.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) order: FetchOrder,
    pub(super) gate: Arc<Gate>,
    pub(super) conn: ConnId,
    pub(super) asked_at: u64,
    pub(super) body: Option<Body>,
}

/// A body on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    /// Where it belongs.
    pub(super) place: ByteRange,
    /// One past the last byte written.
    pub(super) at: u64,
    /// Where it ends, one way or the other.
    pub(super) end: u64,
    /// True if it ends there as its framing says.
    pub(super) clean: bool,
    /// Nothing comes from here on.
    pub(super) stall: Option<u64>,
    pub(super) version: u32,
    /// True if the connection can be used again after a clean end.
    pub(super) keeps: bool,
    /// What was told last: up to where, and when.
    pub(super) told: (u64, u64),
    /// Where it stands with the rate limits, if there are any.
    pub(super) turn: Turn,
    /// True while the machine believes that it waits for them.
    pub(super) held: bool,
    /// True once bytes came that are not those that are there, in a fetch that compares.
    pub(super) differs: bool,
}

/// Where a lane stands with the rate limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has to ask.
    #[default]
    Wanted,
    /// It waits in line since a time, at the limit of its download or (`last`) already at that of the process, for a
    /// draw of `most` bytes.
    Waiting { since: u64, most: u64, last: bool },
    /// It was let through at a time, and has yet to draw.
    Granted { since: u64, most: u64 },
}
