//! The words that a transfer and the engine exchange.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use tur_core::{
    Ask, ByteRange, Challenge, Fault, Identity, Kind, Origin, RangeSet, Target, Timestamp,
};

/// A lane: a slot that runs one request at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u16);

/// A lease: a range granted to a lane. Never used twice within a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u32);

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The framing of the body said so.
    Clean,
    /// We stopped: the gate's end was reached, or the machine asked for it.
    Cut,
    /// It broke.
    Fault(Fault),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The lane now holds a session that took `handshake` to set up (zero for a used one).
    Granted {
        /// Whose.
        lane: LaneId,
        /// Connect and TLS.
        handshake: Duration,
    },
    /// What sessions of this origin carry are streams (`true`), or requests that end with their connection when they are cut,
    /// which is what is assumed at first. Told before `Granted` where it is another than before.
    Streams(bool),
    /// The session that the lane holds and does not use is gone: somebody else needed it more.
    Gone {
        /// Whose.
        lane: LaneId,
    },
    /// No session could be opened for the lane.
    Denied {
        /// Whose.
        lane: LaneId,
        /// Why.
        fault: Fault,
    },
    /// An answer was admitted; its body is being written from `place.start` on.
    Opened {
        /// The lease that was asked for.
        lease: LeaseId,
        /// Where the body belongs; open if its end is not told.
        place: ByteRange,
        /// The identity, first or confirmed.
        identity: Identity,
        /// True for a 206.
        partial: bool,
    },
    /// The body that opens next is decoded while it is written: from now on, until a restart, only the whole can be asked
    /// for. Told right before its `Opened`.
    Decoded,
    /// An answer that brings no bytes: a status, or one that was not admitted. The fetch is over.
    Refused {
        /// The lease that was asked for.
        lease: LeaseId,
        /// Why.
        fault: Fault,
        /// True if the lane's session can be used again.
        session: bool,
    },
    /// The answer says what the request has to have beside, and the next one for the same bytes will have it. The fetch is
    /// over, and that is no failure: who tells this sees to it that it ends.
    Again {
        /// The lease that was asked for.
        lease: LeaseId,
        /// True if the lane's session can be used again.
        session: bool,
    },
    /// A redirect that policy allows. The fetch is over.
    Moved {
        /// The lease that was asked for.
        lease: LeaseId,
        /// Where to.
        target: Target,
        /// True if the lane's session can be used again.
        session: bool,
    },
    /// Bytes up to `upto` are written. Batched: at most every 50 ms or 1 MiB per lane, or before a wait for
    /// a rate limit.
    Landed {
        /// Whose.
        lease: LeaseId,
        /// One past the last written byte.
        upto: u64,
        /// How long the lane was busy with them; waiting for a rate limit is not.
        busy: Duration,
    },
    /// A fetch ended; bytes up to `at` are written.
    Ended {
        /// Whose.
        lease: LeaseId,
        /// One past the last written byte.
        at: u64,
        /// How.
        how: Ended,
        /// True if the lane's session can be used again.
        session: bool,
    },
    /// The lane waits for a rate limit of ours, not for the origin: its clock stands until it is `Released`, whatever lands
    /// meanwhile. Told only of a body that is being received.
    Held {
        /// Whose.
        lease: LeaseId,
    },
    /// The limit has let the lane through, and the origin has nothing ready: the clock of the lane runs again.
    Released {
        /// Whose.
        lease: LeaseId,
    },
    /// What came is not what is there, from `at` on, in a fetch that was to compare. The fetch is over, and so is its
    /// session.
    Differs {
        /// The lease that was compared.
        lease: LeaseId,
        /// The first byte that differs, or one before it.
        at: u64,
    },
    /// The answer to [`Action::Cut`]: the lease now ends at `at`.
    CutAt {
        /// Whose.
        lease: LeaseId,
        /// Its new end.
        at: u64,
    },
    /// Storage found that these bytes are gone.
    Lost {
        /// Which.
        range: ByteRange,
    },
    /// So many lanes may work from now on; more than the transfer's ceiling is the ceiling.
    Width(u16),
    /// The transfer's ceiling of lanes from now on.
    Ceiling(u16),
    /// A reader waits for these bytes: they come before all others.
    Demand(ByteRange),
    /// No reader waits for these bytes any more: the demand of this very range is taken back.
    Withdrawn(ByteRange),
    /// Readers will want these bytes soon: they come after all demands, and before the rest of the file.
    Ahead(RangeSet),
    /// Only these bytes may be fetched, or all of them. A demand does not open the window: who waits for bytes outside moves
    /// it as well.
    Window(Option<RangeSet>),
    /// Stop fetching, keep everything.
    Pause,
    /// Go on.
    Unpause,
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// One request to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchOrder {
    /// By which lane.
    pub lane: LaneId,
    /// For which lease.
    pub lease: LeaseId,
    /// The bytes the lane may write: its gate's start and end.
    pub grant: ByteRange,
    /// Where.
    pub target: Target,
    /// What to ask for.
    pub ask: Ask,
    /// True if `If-Range` is to carry the identity's validator.
    pub if_range: bool,
    /// True after a change: caches are to ask the origin.
    pub no_cache: bool,
    /// True if the bytes are there already and are to be compared with what comes, not written. Equal ones have landed;
    /// a difference is told by [`Event::Differs`].
    pub compare: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Get a session to `origin` for the lane: answered by `Granted` or `Denied`.
    Want {
        /// For whom.
        lane: LaneId,
        /// To where.
        origin: Origin,
    },
    /// Give back what the lane holds or waits for.
    Yield {
        /// Whose.
        lane: LaneId,
    },
    /// Make one request: answered by `Opened`, `Refused` or `Moved`, then (after `Opened`) by `Ended`.
    Fetch(FetchOrder),
    /// Move the end of a lease's gate down, at most to what is taken: answered by `CutAt` in the same turn.
    Cut {
        /// Whose.
        lease: LeaseId,
        /// Where it is to end.
        at: u64,
    },
    /// Move the end of a lease's gate up.
    Extend {
        /// Whose.
        lease: LeaseId,
        /// Its new end.
        end: u64,
    },
    /// Drop the lease's fetch: answered by `Ended` with `Cut`.
    Abort {
        /// Whose.
        lease: LeaseId,
    },
    /// The representation changed: everything on disk is void, a new identity follows with the next `Opened`.
    Restart {
        /// What differed.
        why: String,
    },
    /// The claims in `range` are void: it will be written again.
    Forget {
        /// Which.
        range: ByteRange,
    },
    /// A decision, for people, tests and traces.
    Note(Decision),
    /// All bytes `0..total` have landed, or all of the span that lie in it.
    Complete {
        /// Length of the representation; where that is not known, the end of the span.
        total: u64,
    },
    /// The transfer failed for good.
    Fail(Failure),
}

/// Why a transfer failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind reported.
    pub kind: Kind,
    /// One line.
    pub message: String,
    /// True if what has landed can be used by a later run.
    pub keep: bool,
    /// What the origin asked to wait, if that is why.
    pub retry_after: Option<Duration>,
    /// What came instead of the file, if that is why.
    pub challenge: Option<Challenge>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A decision worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The work was divided.
    Planned {
        /// Lanes.
        lanes: u16,
        /// Bytes per piece.
        piece: u64,
    },
    /// A free lane takes the tail of a lease that would have finished last.
    Stole {
        /// From which lane.
        from: LaneId,
        /// Where the tail begins.
        at: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// A lane brings so little that all it has left is given to others.
    Revoked {
        /// Which.
        lane: LaneId,
        /// What it had left, in bytes.
        len: u64,
    },
    /// From now on so many lanes may work.
    Width {
        /// How many.
        lanes: u16,
    },
    /// An attempt failed and will be repeated.
    Retrying {
        /// On which lane.
        lane: LaneId,
        /// Attempts without progress so far.
        attempt: u32,
        /// When.
        after: Duration,
        /// Why.
        why: Fault,
    },
    /// A lane brought nothing for much longer than others do, or for the whole read time-out.
    Stalled {
        /// Which.
        lane: LaneId,
    },
    /// Bytes flow again after a stall or a failure.
    Resumed {
        /// From where.
        at: u64,
    },
    /// The origin allows fewer lanes.
    Fewer {
        /// The new limit.
        lanes: u16,
        /// Why.
        why: Fault,
    },
    /// A derived URL went stale: the user's URL is asked again.
    Resolving {
        /// Why.
        why: Fault,
    },
    /// The origin has no (usable) ranges: one stream.
    SingleStream {
        /// Why.
        why: String,
    },
    /// What an earlier run left is compared, so many bytes of it: no strong validator says that it is the same file.
    Comparing {
        /// How many.
        bytes: u64,
    },
    /// What was compared is equal: the rest is gone on with.
    Agreed {
        /// How many bytes.
        bytes: u64,
    },
    /// The representation changed.
    Restarted {
        /// What differed.
        why: String,
    },
    /// No packet leaves this machine: the network is waited for.
    Away {
        /// What was noticed.
        why: Fault,
    },
    /// The network is back.
    Back,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Planned { lanes, piece } => write!(f, "{lanes} lanes, {piece} bytes each"),
            Decision::Stole { from, at, len } => {
                write!(f, "{len} bytes from {at} on are taken from lane {}", from.0)
            }
            Decision::Revoked { lane, len } => {
                write!(
                    f,
                    "lane {} is too slow: its last {len} bytes go to others",
                    lane.0
                )
            }
            Decision::Width { lanes } => write!(f, "{lanes} lanes may work"),
            Decision::Retrying {
                lane,
                attempt,
                after,
                why,
            } => {
                write!(
                    f,
                    "lane {} tries again in {:.1} s ({attempt}): {why}",
                    lane.0,
                    after.as_secs_f32()
                )
            }
            Decision::Stalled { lane } => write!(f, "lane {} stalled", lane.0),
            Decision::Resumed { at } => write!(f, "data again, from byte {at}"),
            Decision::Fewer { lanes, why } => write!(f, "at most {lanes} lanes from now on: {why}"),
            Decision::Resolving { why } => write!(f, "asking the first URL again: {why}"),
            Decision::SingleStream { why } => write!(f, "one stream: {why}"),
            Decision::Comparing { bytes } => write!(
                f,
                "no strong validator proves that it is the same file: {bytes} bytes are compared"
            ),
            Decision::Agreed { bytes } => write!(f, "{bytes} bytes are equal: going on"),
            Decision::Restarted { why } => write!(f, "starting again from zero: {why}"),
            Decision::Away { why } => write!(f, "the network is away: waiting ({why})"),
            Decision::Back => f.write_str("the network is back"),
        }
    }
}

/// Why a machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The head of an answer is overdue.
    FirstByte(LaneId),
    /// A body has been silent for too long.
    Idle(LaneId),
    /// A lane may try again.
    Retry(LaneId),
    /// The first URL may be asked again.
    Resolve,
    /// A body is silent while others are not: it may have stalled.
    Stall(LaneId),
    /// A lane may be taken from one reader for another.
    Turn,
    /// The download may be below its minimum speed.
    MinSpeed,
    /// The download may have used up its time.
    MaxTime,
}

/// The earlier of two wake-ups.
pub(crate) fn sooner(
    a: Option<(Timestamp, Reason)>,
    b: Option<(Timestamp, Reason)>,
) -> Option<(Timestamp, Reason)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
