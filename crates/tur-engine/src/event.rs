//! What a download tells while it runs.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tur_core::{Challenge, Rate};
use tur_sched::WaitsFor;

use crate::bus::Listener;
use crate::{Error, Metrics, OriginRecord};

/// One event, and where it belongs.
#[derive(Clone, Debug)]
pub struct Event {
    /// The peer whose item it is about; `None` if there is none.
    pub peer: Option<PeerNo>,
    /// The download, numbered by its downloader from 1 on; 0 for what concerns the downloader itself, and for
    /// [`What::Lagged`].
    pub id: u64,
    /// Its place among all events of the downloader: a later one has a higher number. Numbers between those that are heard
    /// belong to what was heard elsewhere; what was missed is told by [`What::Lagged`] alone.
    pub seq: u64,
    /// Time since the downloader began.
    pub at: Duration,
    /// Time since the download began, which is when its turn came; zero before that, and without one.
    pub t: Duration,
    /// What happened.
    pub what: What,
}

/// A peer: one of those who share a downloader, numbered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerNo(pub u64);

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// It was accepted, and waits for its turn.
    Enqueued,
    /// Its turn came.
    Started {
        /// The user's URL without userinfo.
        url: String,
    },
    /// The first answer was admitted.
    Opened {
        /// Length in bytes, if told.
        len: Option<u64>,
        /// The file's name.
        name: String,
        /// Entity tag or date that later answers must agree with.
        validator: Option<String>,
        /// `h1`.
        protocol: &'static str,
        /// Bytes that an earlier run had left.
        resumed_bytes: u64,
    },
    /// The first byte of its content arrived. An empty file, and one that nothing is fetched of, have none.
    FirstByte {
        /// Its place in the file.
        at: u64,
    },
    /// Where it stands; at most five times a second.
    Progress(Progress),
    /// An attempt failed and is made again.
    Retrying {
        /// Why.
        why: String,
        /// When.
        after: Duration,
        /// Attempts without progress so far.
        attempt: u32,
    },
    /// The first answer is slow to come.
    Slow,
    /// Nothing moves. A lane that is silent for too long is told once, and its work is done again; that nothing at all moves
    /// is told after [`hang_after`](crate::DownloaderBuilder::hang_after) and at each doubling, and changes nothing. Of the
    /// downloader itself: items wait for their turn, and none runs.
    Stalled {
        /// Which lane; `None` if nothing at all moves.
        lane: Option<u16>,
        /// What is waited for, by what has waited longest; `None` if that is not known, which is a fault of this program.
        waits_for: Option<WaitsFor>,
        /// How long it has lasted; of a lane to within the time between two looks, a fifth of a second.
        lasted: Duration,
    },
    /// A page came instead of the file, and none of it was taken. What becomes of the download is told by what follows.
    Challenge {
        /// What it asks for.
        kind: Challenge,
    },
    /// Bytes flow again.
    Resumed {
        /// From where.
        at: u64,
    },
    /// The representation changed: from zero.
    Restarted {
        /// What differed.
        why: String,
    },
    /// It waits for [`resume`](crate::Handle::resume).
    Paused,
    /// It goes on.
    Unpaused,
    /// All bytes are there; digest and disk are waited for.
    Verifying,
    /// Something that a person may want to know.
    Note(String),
    /// A decision of the scheduler.
    Decision(String),
    /// What each lane is doing.
    Lanes(Vec<LaneView>),
    /// There is less free space than what is still to come and a margin; told once, and only a warning.
    DiskLow {
        /// Bytes free.
        available: u64,
        /// Bytes still to be written.
        missing: u64,
    },
    /// What is remembered of an origin from now on.
    OriginLearned(Box<OriginRecord>),
    /// The downloader may have more, or fewer, connections than before.
    BudgetChanged {
        /// How many now.
        allowed: usize,
        /// How many it was given.
        configured: usize,
        /// What is short; `None` if nothing is any more.
        why: Option<String>,
    },
    /// An item that waits has become urgent, or is not any more.
    PriorityChanged {
        /// True if it comes before those that are not.
        urgent: bool,
    },
    /// How many items of a downloader wait and how many run, when that has changed; not more often than a person reads.
    QueueDepth {
        /// Accepted, and not begun.
        waiting: usize,
        /// Begun, and not over.
        running: usize,
    },
    /// What the network brings a peer, over all its items.
    BandwidthEstimate {
        /// The estimate.
        rate: Rate,
    },
    /// A peer goes on with another variant of what it plays.
    VariantSwitch {
        /// The variant it leaves, by its number.
        from: u32,
        /// The variant it takes.
        to: u32,
        /// Why.
        why: String,
    },
    /// It is complete, verified and in place. One of this, `Failed` and `Cancelled` is a download's last event.
    Completed(Box<Completed>),
    /// It failed.
    Failed(Error),
    /// The caller, or the whole downloader, wanted no more; the error, of kind [`Signal`](crate::Kind::Signal), says what
    /// is kept.
    Cancelled(Error),
    /// So many events were missed, because they were not taken in time.
    Lagged(u64),
}

/// What a lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// The lane.
    pub lane: u16,
    /// What it is about.
    pub state: LaneState,
    /// How far it has written; `None` while it has nothing to fetch.
    pub at: Option<u64>,
    /// Where it must stop, if that is known.
    pub end: Option<u64>,
    /// What it brought lately.
    pub rate: Rate,
    /// `h1`; empty without a connection.
    pub protocol: &'static str,
    /// Whom it is connected to; empty without a connection.
    pub address: String,
}

/// What a lane is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaneState {
    /// It waits: for a connection that others have, or until it may try again.
    Waiting,
    /// Its connection is being made.
    Connecting,
    /// Its request is under way.
    Asking,
    /// Bytes arrive.
    Receiving,
    /// Its rate limit holds it.
    Held,
}

impl LaneState {
    /// The stable word: `waiting`, `connecting`, `asking`, `receiving`, `held`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            LaneState::Waiting => "waiting",
            LaneState::Connecting => "connecting",
            LaneState::Asking => "asking",
            LaneState::Receiving => "receiving",
            LaneState::Held => "held",
        }
    }
}

/// What a download is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PhaseWord {
    /// No answer yet.
    #[default]
    Starting,
    /// Bytes arrive.
    Running,
    /// Paused.
    Paused,
    /// All bytes are there.
    Verifying,
    /// Over.
    Done,
}

/// Where a download stands.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What it is about.
    pub phase: PhaseWord,
    /// The file's name, once known.
    pub name: Option<String>,
    /// Bytes written.
    pub landed: u64,
    /// Bytes in all, if known.
    pub total: Option<u64>,
    /// Recent speed.
    pub rate: Rate,
    /// Lanes that receive.
    pub lanes: u16,
    /// What each is doing.
    pub lane_map: Vec<LaneView>,
    /// Time since it began.
    pub elapsed: Duration,
}

/// A download that is complete, verified and in place.
#[derive(Clone, Debug, Default)]
pub struct Completed {
    /// The user's URL without userinfo.
    pub url: String,
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Time it took in all.
    pub elapsed: Duration,
    /// Time after the last byte: digest and disk.
    pub verify: Duration,
    /// `h1`.
    pub protocol: &'static str,
    /// Connections opened.
    pub connections: u32,
    /// Most lanes that received at once.
    pub lanes_max: u16,
    /// Requests sent.
    pub requests: u32,
    /// Bytes that an earlier run had left.
    pub resumed_bytes: u64,
    /// Bytes received and not used.
    pub wasted_bytes: u64,
    /// SHA-256 in hexadecimal, if that digest was asked for.
    pub sha256: Option<String>,
    /// True if the file was there, complete: nothing was fetched.
    pub already: bool,
    /// True if only the end of a connection told the length.
    pub unverifiable: bool,
    /// What was counted and measured.
    pub metrics: Metrics,
}

/// Events of one download, or of all of a downloader. Bounded: who does not take them in time misses the oldest, and is
/// told how many by [`What::Lagged`]; the downloader never waits. A download's end after its last event, a downloader's
/// when it is gone and what it ran is over.
#[derive(Debug)]
pub struct Events(Listener);

impl Events {
    pub(crate) fn new(listener: Listener) -> Self {
        Self(listener)
    }

    /// The same without what `wanted` says no to: nobody is woken for that. It is asked while events are told, on the
    /// engine's thread, so it must only look; one that panics has said yes. [`What::Lagged`] always comes.
    #[must_use]
    pub fn only(self, wanted: impl Fn(&What) -> bool + Send + Sync + 'static) -> Self {
        self.0.want(Box::new(wanted));
        self
    }

    /// The next event; `None` after the last. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.0.poll_take(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_take(cx)
    }
}
