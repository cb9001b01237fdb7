//! What a download tells while it runs.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::ReusableBoxFuture;
use tur_core::Rate;

use crate::Error;

/// One event of one download.
#[derive(Clone, Debug)]
pub struct Event {
    /// The download, numbered by its downloader.
    pub id: u64,
    /// Time since it began.
    pub t: Duration,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// It began.
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
    /// A lane brought nothing for the whole read time-out.
    Stalled {
        /// Which.
        lane: u16,
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
    /// It is complete, verified and in place.
    Completed(Completed),
    /// It failed.
    Failed(Error),
    /// So many events were missed, because they were not taken in time.
    Lagged(u64),
}

/// What a lane is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// The lane.
    pub lane: u16,
    /// How far it has written.
    pub at: u64,
    /// Where it must stop, if that is known.
    pub end: Option<u64>,
    /// The peer.
    pub address: String,
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
}

/// The events of one download, from its beginning or from the call of [`events`](crate::Handle::events) on. Bounded:
/// who does not take them in time gets [`What::Lagged`]. Ends after the last event.
#[derive(Debug)]
pub struct Events {
    next: ReusableBoxFuture<'static, Taken>,
}

/// The future's result: the receiver comes back for the next one.
type Taken = (Result<Event, RecvError>, broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new(receiver: broadcast::Receiver<Event>) -> Self {
        Self {
            next: ReusableBoxFuture::new(take(receiver)),
        }
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

async fn take(mut receiver: broadcast::Receiver<Event>) -> Taken {
    (receiver.recv().await, receiver)
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let (result, receiver) = std::task::ready!(self.next.poll(cx));
        self.next.set(take(receiver));
        Poll::Ready(match result {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(n)) => Some(Event {
                id: 0,
                t: Duration::ZERO,
                what: What::Lagged(n),
            }),
            Err(RecvError::Closed) => None,
        })
    }
}
