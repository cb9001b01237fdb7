//! What a caller holds of a running download.

use std::future::IntoFuture;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::{oneshot, watch};
use tur_core::{Kind, Rate};
use tur_sched::Priority;

use crate::board::Board;
use crate::bus::{Listener, ROOM};
use crate::limits::Limit;
use crate::{Completed, Error, Events, Metrics, Progress};

/// What a caller wants of a driver. Only the latest wish counts, and a cancel is never taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) paused: bool,
    pub(crate) cancelled: bool,
    /// Lanes: at least, at most.
    pub(crate) lanes: Option<(u16, u16)>,
    /// Another priority than it began with.
    pub(crate) priority: Option<Priority>,
    /// What stands before this will not be read again.
    pub(crate) passed: u64,
}

/// A running download. Dropping it cancels the download and keeps what landed.
#[derive(Debug)]
pub struct Handle {
    board: Board,
    commands: watch::Sender<Wish>,
    limit: Arc<Limit>,
    outcome: Option<oneshot::Receiver<Result<Completed, Error>>>,
    first: Mutex<Option<Listener>>,
}

impl Handle {
    pub(crate) fn new(
        board: Board,
        commands: watch::Sender<Wish>,
        limit: Arc<Limit>,
        outcome: oneshot::Receiver<Result<Completed, Error>>,
        first: Listener,
    ) -> Self {
        Self {
            board,
            commands,
            limit,
            outcome: Some(outcome),
            first: Mutex::new(Some(first)),
        }
    }

    /// The number that its events carry.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.board.id()
    }

    /// Where it stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.board.progress().clone()
    }

    /// What it has counted and measured: up to 200 ms old while it runs, exact once its outcome is told. Waits for nobody,
    /// wherever it is called.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.board.metrics().look()
    }

    /// Its events: the first call gets them from the beginning, later ones from now on. 1 024 are kept until they are
    /// taken.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events_with_room(ROOM)
    }

    /// As [`events`](Handle::events), with room for `n` events, one at least.
    #[must_use]
    pub fn events_with_room(&self, n: usize) -> Events {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Events::new(match first {
            Some(first) => {
                first.set_room(n);
                first
            }
            None => self.board.subscribe(n),
        })
    }

    /// Stops fetching and keeps everything, until [`resume`](Handle::resume): what landed, the number of lanes that was
    /// found to be best, and, for 90 s, connections that carry nothing. One that carries a body is closed, because HTTP/1
    /// knows no other way to have no more of it.
    pub fn pause(&self) {
        self.commands.send_modify(|wish| wish.paused = true);
    }

    /// Goes on after a [`pause`](Handle::pause).
    pub fn resume(&self) {
        self.commands.send_modify(|wish| wish.paused = false);
    }

    /// Allows so many bytes per second from now on, over all lanes; `None` lifts the limit. That of the downloader holds
    /// beside it.
    pub fn set_limit(&self, rate: Option<Rate>) {
        self.limit.set(rate);
    }

    /// Uses at least and at most so many lanes from now on: fewer at once, more as soon as they are connected. The
    /// number between is the scaler's. At most 256; a limit per origin that the downloader was given holds.
    pub fn set_lanes(&self, lanes: RangeInclusive<u16>) {
        let most = (*lanes.end()).clamp(1, crate::bounds::LANES);
        let least = (*lanes.start()).clamp(1, most);
        self.commands
            .send_modify(|wish| wish.lanes = Some((least, most)));
    }

    /// How much its lanes matter from now on beside the fetches of peers and other downloads; see
    /// [`Download::priority`](crate::Download::priority).
    pub fn set_priority(&self, priority: Priority) {
        self.commands
            .send_modify(|wish| wish.priority = Some(priority));
    }

    /// What stands before `at` will not be read again. Of a download that is [`Stay::Passing`](crate::Stay::Passing) its room is
    /// given back, and reading it is an error from then on; for others this means nothing.
    pub fn passed(&self, at: u64) {
        self.commands
            .send_modify(|wish| wish.passed = wish.passed.max(at));
    }

    /// Ends the download and keeps what landed. Its outcome is an error of kind [`Kind::Signal`], unless it was
    /// complete already.
    pub fn cancel(&self) {
        self.commands.send_modify(|wish| wish.cancelled = true);
    }

    /// Waits for the outcome. Cancel-safe; asked again after it was told, it is an error.
    ///
    /// # Errors
    /// Why the download failed; [`Kind::Signal`] if it was cancelled or its downloader is gone.
    pub async fn wait(&mut self) -> Result<Completed, Error> {
        let Some(outcome) = &mut self.outcome else {
            return Err(Error::new(Kind::Usage, "the outcome was told already"));
        };
        let result = outcome.await;
        self.outcome = None;
        result.unwrap_or_else(|_gone| {
            Err(Error::new(Kind::Other, "the engine stopped: this is a bug"))
        })
    }
}

impl IntoFuture for Handle {
    type Output = Result<Completed, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        // Nobody can ask for its events any more.
        self.first = Mutex::default();
        Box::pin(async move { self.wait().await })
    }
}
