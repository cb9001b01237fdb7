//! The driver: one loop that carries events to the machine and its actions to the world.
//!
//! Read [`run`], then [`Driver::turn`]. It decides nothing about the download: `act.rs` obeys the machine,
//! `answer.rs` turns what the network says into events, `finish.rs` ends a download in order.

mod act;
mod answer;
mod digest;
mod filing;
mod finish;
mod lane;
mod slot;
mod tally;
#[cfg(test)]
mod tests;
mod widths;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tur_core::port::{Session, Transport};
use tur_core::{Identity, Timestamp};
use tur_sched::{Event, Failure, Hint, LaneId, LanesEvent, Transfer, TransferConfig, Waits};
use tur_storage::{Disk, Durable, StorageError};

use crate::board::Board;
use crate::clock::Clock;
use crate::compute::Compute;
use crate::handle::Wish;
use crate::job::Job;
use crate::limits::Limits;
use crate::origins::Origins;
use crate::scaling::{Order, Scaling};
use crate::sessions::{Sessions, Word};
use crate::{Completed, Error, PhaseWord, What};

use self::digest::Follower;
use self::filing::{Existing, Filing, Resumable};
pub(crate) use self::finish::or_cancelled;
use self::lane::{Done, Lane};
use self::slot::Running;
use self::tally::Tally;
use self::widths::Membership;

/// Snapshots and progress events come so often at most.
const PUBLISH: Duration = Duration::from_millis(200);
/// A first answer that takes longer is told to be slow.
const SLOW: Duration = Duration::from_secs(2);

/// What drivers work with: the ports, and what they share.
pub(crate) struct World<T: Transport, D: Disk> {
    pub(crate) transport: Arc<T>,
    pub(crate) sessions: Sessions<T::Session>,
    pub(crate) origins: Origins,
    pub(crate) disk: D,
    pub(crate) compute: Compute,
    pub(crate) limits: Limits,
    pub(crate) scaling: Scaling,
    pub(crate) clock: Clock,
}

/// The driver's side of a handle.
pub(crate) struct Outside {
    pub(crate) board: Board,
    pub(crate) commands: watch::Receiver<Wish>,
    /// Closed when the downloader is gone.
    pub(crate) life: watch::Receiver<()>,
}

/// How a driver's loop ended.
enum End {
    /// All bytes have landed.
    Landed(u64),
    /// The file was there, complete.
    Already(PathBuf),
    /// The existing file was compared: true if it is the same.
    Compared(bool),
    /// The machine gave up.
    Failed(Failure),
    /// Something on this side failed.
    Broken(Error),
    /// The caller, or the whole downloader, wants no more.
    Cancelled,
}

/// Downloads one file. Tells its events; its last one tells the outcome.
pub(crate) async fn run<T, D>(
    world: World<T, D>,
    job: Job,
    outside: Outside,
) -> Result<Completed, Error>
where
    T: Transport,
    D: Disk + Clone,
{
    let board = outside.board.clone();
    let (clock, began) = (world.clock, world.clock.now());
    let url = job.target.to_string();
    board.tell(Duration::ZERO, What::Started { url: url.clone() });
    let result = finish::download(world, &job, outside).await;
    let elapsed = clock.now().since(began);
    let result = result
        .map(|done| Completed {
            url: url.clone(),
            elapsed,
            ..done
        })
        .map_err(|error| error.with_url(&url));
    conclude(&board, elapsed, &result);
    result
}

/// A download that was asked for wrongly.
pub(crate) fn refuse(outside: &Outside, error: Error) -> Result<Completed, Error> {
    let result = Err(error);
    conclude(&outside.board, Duration::ZERO, &result);
    result
}

fn conclude(board: &Board, elapsed: Duration, result: &Result<Completed, Error>) {
    {
        let mut progress = board.progress();
        progress.phase = PhaseWord::Done;
        progress.elapsed = elapsed;
        progress.lanes = 0;
        progress.lane_map.clear();
    }
    board.tell(
        elapsed,
        match result {
            Ok(done) => What::Completed(done.clone()),
            Err(error) => What::Failed(error.clone()),
        },
    );
}

/// Waits until `at`; for ever without one.
pub(crate) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One download being driven.
struct Driver<'a, T: Transport, D: Disk + Clone> {
    world: &'a World<T, D>,
    job: &'a Job,
    board: Board,
    id: u64,
    began: Timestamp,
    transfer: Transfer,
    lanes: BTreeMap<LaneId, Lane<T::Session, D>>,
    ops: FuturesUnordered<Running<Done<T::Session, D>>>,
    words: mpsc::UnboundedReceiver<Word<T::Session>>,
    orders: mpsc::UnboundedReceiver<Order>,
    membership: Membership,
    filing: Filing<D>,
    /// Set while the first answer is only to be compared with the file that is there.
    compare: Option<Existing>,
    follower: Option<Follower>,
    checkpoint: Checkpointing,
    tally: Tally,
    published: Timestamp,
    opened: bool,
    paused: bool,
    slow_told: bool,
    end: Option<End>,
}

/// Making bytes durable now and then.
#[derive(Default)]
struct Checkpointing {
    running: Option<(JoinHandle<Result<Durable, StorageError>>, Timestamp)>,
    next: Option<Timestamp>,
    /// True if the last one failed: a second failure in a row is final.
    failed: bool,
}

impl Checkpointing {
    /// The running checkpoint's result; never ready without one.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Durable, StorageError>> {
        let Some((job, _)) = &mut self.running else {
            return Poll::Pending;
        };
        Pin::new(job).poll(cx).map(|result| match result {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        })
    }
}

/// What a driver waits for.
enum Happened<S: Session, D: Disk> {
    /// The handle says something, or is gone.
    Heard(bool),
    /// The downloader is gone.
    Gone,
    Word(Word<S>),
    /// The origin's scaler says something.
    Order(Order),
    /// An operation ended; `None` for one that was stopped.
    Done(Option<Done<S, D>>),
    Checkpoint(Result<Durable, StorageError>),
    Wakeup,
    Publish,
}

impl<'a, T: Transport, D: Disk + Clone> Driver<'a, T, D> {
    fn new(world: &'a World<T, D>, job: &'a Job, board: Board, filing: Filing<D>) -> Self {
        let id = board.id();
        let began = world.clock.now();
        let algorithm = job.checksum.as_ref().map(|checksum| checksum.algorithm);
        Self {
            world,
            job,
            board,
            id,
            began,
            transfer: Transfer::new(config(job, None, Hint::default()), None, began),
            lanes: BTreeMap::new(),
            ops: FuturesUnordered::new(),
            words: world.sessions.join(id),
            orders: world.scaling.enlist(id),
            membership: Membership::default(),
            filing,
            compare: None,
            follower: algorithm.map(Follower::new),
            checkpoint: Checkpointing::default(),
            tally: Tally::default(),
            published: began,
            opened: false,
            paused: false,
            slow_told: false,
            end: None,
        }
    }

    /// Begins the machine anew: with what an earlier run left, or only to compare an existing file.
    fn begin(&mut self, saved: Option<Resumable>, compare: Option<Existing>) {
        self.release_all();
        // The machine that comes now has not been told how many lanes it may use.
        self.leave_origin();
        let now = self.now();
        self.compare = compare;
        let resumed = saved.map(|Resumable { saved, proof }| {
            for note in saved.notes {
                self.tell(What::Note(note));
            }
            tur_sched::Resumed {
                identity: saved.identity,
                landed: saved.claimed,
                proof,
            }
        });
        self.tally.resumed = resumed.as_ref().map_or(0, |resumed| resumed.landed.len());
        self.tally.start(now, self.tally.resumed);
        self.filing.keep = resumed.is_some();
        // The time limit of the whole counts from the first look at the disk.
        let profile = self.world.origins.hint(&self.job.target.origin);
        let hint = profile.map_or_else(Hint::default, |profile| Hint {
            lane_rate: profile.lane_rate,
            ratio: profile.ratio.value(),
        });
        let config = config(self.job, compare, hint);
        self.transfer = Transfer::new(config, resumed, self.began);
        if let Some((_, most)) = self.membership.bounds {
            self.transfer.handle(now, Event::Ceiling(most));
        }
        if self.paused {
            self.transfer.handle(now, Event::Pause);
        }
    }

    /// Runs until something ends it.
    async fn drive(&mut self, outside: &mut Outside) -> End {
        // What was wished while something else was waited for was seen, and not yet heeded.
        let wish = *outside.commands.borrow_and_update();
        self.heed(wish);
        loop {
            self.obey();
            if let Some(end) = self.end.take() {
                return end;
            }
            self.turn(outside).await;
        }
    }

    /// Waits for one thing to happen and hands it on.
    async fn turn(&mut self, outside: &mut Outside) {
        match self.next(outside).await {
            Happened::Heard(true) => {
                let wish = *outside.commands.borrow_and_update();
                self.heed(wish);
            }
            Happened::Heard(false) => self.end = Some(End::Cancelled),
            Happened::Gone => self.end = Some(End::Cancelled),
            Happened::Word(word) => self.word(word),
            Happened::Order(order) => self.heed_scaler(order),
            Happened::Done(Some(done)) => self.done(done),
            Happened::Done(None) => {}
            Happened::Checkpoint(result) => self.checkpoint_done(result),
            // A tick too many does no harm; a machine that is asked now and then cannot be forgotten.
            Happened::Wakeup | Happened::Publish => {
                self.tell_scaler(LanesEvent::Tick);
                self.tell_machine(Event::Tick);
            }
        }
        self.follow();
        self.publish();
    }

    /// The next thing that happens. Data comes before deadlines: a deadline is judged only when no lane had anything
    /// to say.
    async fn next(&mut self, outside: &mut Outside) -> Happened<T::Session, D> {
        let machine = self.transfer.next_wakeup().map(|(at, _)| at);
        let origin = self.membership.origin.as_ref();
        let scaler = origin.and_then(|origin| self.world.scaling.next_wakeup(origin));
        let wakeup = machine.into_iter().chain(scaler).min();
        let wakeup = wakeup.map(|at| self.world.clock.instant(at));
        let mut wakeup = pin!(until(wakeup));
        let mut publish = pin!(sleep_until(
            self.world.clock.instant(self.published + PUBLISH)
        ));
        let Outside { commands, life, .. } = outside;
        // The sender never sends: a change is its end.
        let mut gone = pin!(life.changed());
        let mut heard = pin!(commands.changed());
        poll_fn(|cx| {
            if let Poll::Ready(heard) = heard.as_mut().poll(cx) {
                return Poll::Ready(Happened::Heard(heard.is_ok()));
            }
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Gone);
            }
            if let Poll::Ready(Some(word)) = self.words.poll_recv(cx) {
                return Poll::Ready(Happened::Word(word));
            }
            if let Poll::Ready(Some(order)) = self.orders.poll_recv(cx) {
                return Poll::Ready(Happened::Order(order));
            }
            if let Poll::Ready(Some(done)) = self.ops.poll_next_unpin(cx) {
                return Poll::Ready(Happened::Done(done));
            }
            if let Poll::Ready(result) = self.checkpoint.poll(cx) {
                return Poll::Ready(Happened::Checkpoint(result));
            }
            if wakeup.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Wakeup);
            }
            publish.as_mut().poll(cx).map(|()| Happened::Publish)
        })
        .await
    }

    /// Does what the handle wants by now: only its latest wish counts.
    fn heed(&mut self, wish: Wish) {
        if wish.cancelled {
            self.end = Some(End::Cancelled);
            return;
        }
        if wish.lanes.is_some() && wish.lanes != self.membership.bounds {
            self.set_bounds(wish.lanes.unwrap_or_default());
        }
        if wish.paused != self.paused {
            self.paused = wish.paused;
            let (event, phase, what) = if wish.paused {
                (Event::Pause, PhaseWord::Paused, What::Paused)
            } else {
                (Event::Unpause, PhaseWord::Running, What::Unpaused)
            };
            self.tell_machine(event);
            self.board.progress().phase = phase;
            self.tell(what);
        }
    }

    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// An event for the machine; its actions follow at once.
    fn tell_machine(&mut self, event: Event) {
        let now = self.now();
        self.transfer.handle(now, event);
        self.obey();
    }

    fn tell(&self, what: What) {
        self.board.tell(self.now().since(self.began), what);
    }

    fn identity(&self) -> Option<&Identity> {
        self.transfer.identity()
    }

    /// Lets digest and checkpoints follow what has landed.
    fn follow(&mut self) {
        let Some(part) = self.filing.part().filter(|_| self.filing.begun) else {
            return;
        };
        if let Some(follower) = &mut self.follower {
            follower.poke(part, &self.world.compute);
        }
        self.checkpoint_if_due();
    }

    /// Puts a snapshot on the board, and sends it to whoever listens.
    fn publish(&mut self) {
        let now = self.now();
        if now.since(self.published) < PUBLISH {
            return;
        }
        self.published = now;
        if !self.opened && !self.slow_told && now.since(self.began) >= SLOW {
            self.slow_told = true;
            self.tell(What::Slow);
        }
        let snapshot = self.snapshot(now);
        // On the board first: who is told of it and looks sees nothing older.
        self.board.progress().clone_from(&snapshot);
        if self.opened {
            let lanes = snapshot.lane_map.clone();
            self.tell(What::Progress(snapshot));
            self.tell(What::Lanes(lanes));
        }
    }

    fn snapshot(&mut self, now: Timestamp) -> crate::Progress {
        let ledger = self.transfer.ledger();
        let (landed, total) = (ledger.landed().len(), ledger.total());
        let lanes = u16::try_from(self.transfer.lanes_streaming()).unwrap_or(u16::MAX);
        let phase = match self.board.progress().phase {
            PhaseWord::Starting if self.opened => PhaseWord::Running,
            phase => phase,
        };
        crate::Progress {
            phase,
            name: self.opened.then(|| self.filing.name().to_owned()),
            landed,
            total,
            rate: self.tally.rate(now, landed),
            lanes,
            lane_map: self
                .lanes
                .iter()
                .filter_map(|(id, lane)| lane.view(*id))
                .collect(),
            elapsed: now.since(self.began),
        }
    }
}

impl<T: Transport, D: Disk + Clone> Drop for Driver<'_, T, D> {
    fn drop(&mut self) {
        self.release_all();
        self.world.sessions.leave(self.id);
        self.leave_origin();
        self.world.scaling.discharge(self.id);
    }
}

/// The machine's settings for a job.
fn config(job: &Job, compare: Option<Existing>, hint: Hint) -> TransferConfig {
    TransferConfig {
        lanes_max: job.lanes_max,
        lanes_start: job.lanes_start,
        schedule: job.schedule,
        hint,
        piece_min: job.piece_min,
        retry: job.retry,
        waits: Waits {
            read: job.read_timeout,
            total: job.max_time,
        },
        speed_floor: job.speed_floor,
        on_change: job.on_change,
        require_resume: job.terms.resume,
        seed: job.seed,
        // An empty file has no last byte to ask for: it is compared with the answer to an ordinary request.
        first_ask: compare
            .filter(|file| file.len > 0)
            .map(|file| tur_core::ByteRange::new(file.len - 1, file.len)),
        ..TransferConfig::new(job.target.clone())
    }
}
