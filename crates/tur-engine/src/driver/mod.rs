//! The driver: one loop that carries events to the machine and its actions to the world.
//!
//! Read [`run`] for a download and [`fetch`] for one small range, then [`Driver::turn`]. It decides nothing about either:
//! `act.rs` obeys the machine, `answer.rs` turns what the network says into events. Where the bytes go is a
//! [`Store`](store::Store): `file.rs` and `finish.rs` take a download to its file, `fetch.rs` a fetch to its taker.

mod act;
mod alarm;
mod answer;
mod digest;
mod existing;
mod fetch;
mod file;
mod filing;
mod finish;
mod keep;
mod lane;
mod look;
mod readers;
mod servers;
mod slot;
mod stalls;
mod store;
mod tally;
#[cfg(test)]
mod tests;
mod widths;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tur_core::port::{Session, Transport};
use tur_core::{Challenge, Identity, Kind, Timestamp};
use tur_sched::{
    Event, Failure, LaneId, LanesEvent, Priority, SessionId, Transfer, TransferConfig,
};
use tur_storage::Disk;

use crate::board::Board;
use crate::careful::unharmed;
use crate::clock::Clock;
use crate::compute::Compute;
use crate::desk::Desk;
use crate::filed::Filed;
use crate::handle::Wish;
use crate::job::Job;
use crate::limits::Limits;
use crate::lookout::Lookout;
use crate::origins::Origins;
use crate::passport::Passport;
use crate::sampler::Sampler;
use crate::scaling::{Order, Scaling};
use crate::sessions::{Sessions, Word};
use crate::{Completed, Error, PhaseWord, What};

use self::alarm::Alarm;
pub(crate) use self::fetch::fetch;
pub(crate) use self::finish::or_cancelled;
use self::lane::{Done, Lane};
pub(crate) use self::servers::Pin;
use self::servers::Server;
use self::slot::Running;
use self::stalls::Stalls;
use self::store::{Errand, Store};
use self::tally::Tally;
use self::widths::Membership;

/// Snapshots and progress events come so often at most.
const PUBLISH: Duration = Duration::from_millis(200);

/// What drivers work with: the ports, and what they share.
pub(crate) struct World<T: Transport, D: Disk> {
    pub(crate) transport: Arc<T>,
    pub(crate) pin: Pin,
    pub(crate) sessions: Sessions<T::Session>,
    pub(crate) origins: Origins,
    pub(crate) disk: D,
    pub(crate) filed: Filed,
    pub(crate) compute: Compute,
    pub(crate) desk: Desk,
    pub(crate) lookout: Lookout,
    pub(crate) limits: Limits,
    pub(crate) scaling: Scaling,
    pub(crate) sampler: Sampler,
    pub(crate) clock: Clock,
    /// How long nothing may move before that is told.
    pub(crate) hang: Duration,
}

impl<T: Transport, D: Disk + Clone> Clone for World<T, D> {
    fn clone(&self) -> Self {
        Self {
            transport: Arc::clone(&self.transport),
            pin: self.pin.clone(),
            sessions: self.sessions.clone(),
            origins: self.origins.clone(),
            disk: self.disk.clone(),
            filed: self.filed.clone(),
            compute: self.compute.clone(),
            desk: self.desk.clone(),
            lookout: self.lookout.clone(),
            limits: self.limits.clone(),
            scaling: self.scaling.clone(),
            sampler: self.sampler.clone(),
            clock: self.clock,
            hang: self.hang,
        }
    }
}

/// The driver's side of a handle.
pub(crate) struct Outside {
    pub(crate) board: Board,
    pub(crate) commands: watch::Receiver<Wish>,
    /// Closed when the downloader is gone.
    pub(crate) life: watch::Receiver<()>,
}

/// How a driver's loop ended.
enum End<E> {
    /// All bytes have landed.
    Landed(u64),
    /// The store ended it.
    Own(E),
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
    // It is over when neither this nor a reader has the part any more.
    let path = filing::first_path(&job);
    let tenure = Arc::new(world.filed.enter(path, outside.commands.clone()));
    let working = finish::download(world, &job, Arc::clone(&tenure), outside);
    let result = unharmed(working).await;
    let result = result.and_then(|result| result);
    let elapsed = clock.now().since(began);
    if let Some(readers) = &job.reading {
        finish::let_readers_go(readers, &result).await;
    }
    drop(tenure);
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
pub(crate) fn refuse(board: &Board, error: Error) -> Result<Completed, Error> {
    let result = Err(error);
    conclude(board, Duration::ZERO, &result);
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
            Ok(done) => What::Completed(Box::new(done.clone())),
            Err(error) if error.kind() == Kind::Signal => What::Cancelled(error.clone()),
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

/// One transfer being driven.
struct Driver<'a, T: Transport, D: Disk + Clone, B: Store<D>> {
    world: &'a World<T, D>,
    errand: Errand<'a>,
    board: Board,
    id: u64,
    began: Timestamp,
    transfer: Transfer,
    passport: Passport,
    lanes: BTreeMap<LaneId, Lane<T::Session, D>>,
    ops: FuturesUnordered<Running<Done<T::Session, D>>>,
    words: mpsc::UnboundedReceiver<Word<T::Session>>,
    orders: mpsc::UnboundedReceiver<Order>,
    membership: Membership,
    store: B,
    tally: Tally,
    stalls: Stalls,
    /// What the machine was told of the origin's sessions: they carry streams.
    streams: bool,
    /// Sessions on which a stream ended before its head came, and none was answered since.
    refused_on: BTreeSet<SessionId>,
    /// Sessions that were closed when they were lent, since one was not.
    closed_in_a_row: u32,
    alarm: Alarm,
    published: Timestamp,
    opened: bool,
    /// Whose file it is.
    server: Option<Server>,
    /// True once its first byte was told.
    flowing: bool,
    paused: bool,
    /// What its handle has said of it, after the beginning.
    priority: Option<Priority>,
    /// What came instead of the file last.
    challenge: Option<Challenge>,
    /// True once it was said what is remembered of the origin.
    hinted: bool,
    slow_told: bool,
    disk_told: bool,
    /// What stands before this will not be read again.
    passed: u64,
    end: Option<End<B::End>>,
}

/// What a driver waits for.
enum Happened<S: Session, D: Disk, N> {
    /// The handle says something, or is gone.
    Heard(bool),
    /// The downloader is gone.
    Gone,
    Word(Word<S>),
    /// The origin's scaler says something.
    Order(Order),
    /// An operation ended; `None` for one that was stopped.
    Done(Option<Done<S, D>>),
    /// The store has heard of something.
    Stored(N),
    /// Some deadline has come, or what happened is to be shown.
    Wakeup,
}

impl<'a, T: Transport, D: Disk + Clone, B: Store<D>> Driver<'a, T, D, B> {
    fn new(
        world: &'a World<T, D>,
        errand: Errand<'a>,
        config: TransferConfig,
        board: Board,
        store: B,
    ) -> Self {
        let id = board.id();
        let began = world.clock.now();
        world.transport.begin_at(&errand.target.origin);
        Self {
            world,
            errand,
            board,
            id,
            began,
            transfer: Transfer::new(config, None, began),
            passport: Passport::new(&errand.target.origin, errand.fields, errand.sign_in),
            lanes: BTreeMap::new(),
            ops: FuturesUnordered::new(),
            words: world.sessions.join(id),
            orders: world.scaling.enlist(id),
            membership: Membership::default(),
            store,
            tally: Tally::default(),
            stalls: Stalls::new(world.hang),
            streams: false,
            refused_on: BTreeSet::new(),
            closed_in_a_row: 0,
            alarm: Alarm::new(world.clock.instant(began + PUBLISH)),
            published: began,
            opened: false,
            server: None,
            flowing: false,
            paused: false,
            priority: None,
            challenge: None,
            hinted: false,
            slow_told: false,
            disk_told: false,
            passed: 0,
            end: None,
        }
    }

    /// Runs until something ends it.
    async fn drive(&mut self, outside: &mut Outside) -> End<B::End> {
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
            Happened::Stored(news) => B::heard(self, news),
            // A tick too many does no harm; a machine that is asked now and then cannot be forgotten.
            Happened::Wakeup => {
                self.tell_scaler(LanesEvent::Tick);
                self.tell_machine(Event::Tick);
            }
        }
        B::follow(self);
        self.be_slow();
        self.publish();
    }

    /// The next thing that happens. Data comes before deadlines: a deadline is judged only when no lane had anything
    /// to say.
    async fn next(&mut self, outside: &mut Outside) -> Happened<T::Session, D, B::News> {
        let machine = self.transfer.next_wakeup().map(|(at, _)| at);
        let origin = self.membership.origin.as_ref();
        let scaler = origin.and_then(|origin| self.world.scaling.next_wakeup(origin));
        let publish = self.published + PUBLISH;
        let wakeup = [machine, scaler, self.slow_at()].into_iter().flatten();
        let wakeup = self.world.clock.instant(wakeup.fold(publish, Ord::min));
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
            if let Poll::Ready(news) = self.store.poll(cx) {
                return Poll::Ready(Happened::Stored(news));
            }
            self.alarm.poll(cx, wakeup).map(|()| Happened::Wakeup)
        })
        .await
    }

    /// Does what the handle wants by now: only its latest wish counts.
    fn heed(&mut self, wish: Wish) {
        if wish.cancelled {
            self.end = Some(End::Cancelled);
            return;
        }
        self.passed = wish.passed;
        if wish.lanes.is_some() && wish.lanes != self.membership.bounds {
            self.set_bounds(wish.lanes.unwrap_or_default());
        }
        if let Some(priority) = wish.priority.filter(|_| wish.priority != self.priority) {
            self.priority = wish.priority;
            let (now, id) = (self.now(), self.id);
            let permits = &self.world.sessions;
            permits.permits(now, |permits| permits.declare_anew(now, id, priority));
        }
        if wish.paused != self.paused {
            self.paused = wish.paused;
            let (event, phase, what) = if wish.paused {
                (Event::Pause, PhaseWord::Paused, What::Paused)
            } else {
                (Event::Unpause, PhaseWord::Running, What::Unpaused)
            };
            let now = self.now();
            self.store.hold(now, wish.paused);
            self.tell_machine(event);
            let origin = &self.transfer.target().origin;
            let paused_at = self.paused.then_some(origin);
            self.world.sessions.pause(self.id, paused_at);
            self.board.progress().phase = phase;
            self.tell(what);
        }
    }

    /// Leaves what was measured to the transfers to come, however this one ended.
    fn remember(&mut self) {
        let origin = self.transfer.target().origin.clone();
        let facts = self.with_needs(&origin, self.transfer.facts());
        self.world.origins.note(&origin, facts);
        self.release_all();
        if self.membership.origin.is_some() {
            self.leave_origin();
        } else if !facts.is_empty() {
            self.tell_learned(&origin);
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

    fn slow_at(&self) -> Option<Timestamp> {
        let at = self.store.slow_at(self.began, self.opened);
        at.filter(|_| !self.slow_told)
    }

    /// Says, once, that it takes long.
    fn be_slow(&mut self) {
        if self.slow_at().is_some_and(|at| self.now() >= at) {
            self.slow_told = true;
            self.tell(What::Slow);
            B::slow(self);
        }
    }

    /// Puts a snapshot on the board, and sends it to whoever listens.
    fn publish(&mut self) {
        let now = self.now();
        if now.since(self.published) < PUBLISH {
            return;
        }
        self.published = now;
        self.look_for_stalls(now);
        let snapshot = self.snapshot(now);
        // On the board first: who is told of it and looks sees nothing older.
        self.board.progress().clone_from(&snapshot);
        self.board.metrics().put(self.tally.metrics());
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
            name: self.opened.then(|| self.store.name().to_owned()),
            landed,
            total,
            rate: self.tally.rate(now, landed),
            lanes,
            lane_map: self
                .lanes
                .iter_mut()
                .filter_map(|(id, lane)| lane.view(*id, now))
                .collect(),
            elapsed: now.since(self.began),
        }
    }
}

/// However it ended, by a panic too: what it had is given back, and nobody counts on it any more.
impl<T: Transport, D: Disk + Clone, B: Store<D>> Drop for Driver<'_, T, D, B> {
    fn drop(&mut self) {
        let steps: [fn(&mut Self); 4] = [
            Self::release_all,
            |driver| driver.world.sessions.leave(driver.id),
            Self::leave_origin,
            |driver| driver.world.scaling.discharge(driver.id),
        ];
        // Each step is worth as much without the others, and looks at nothing that another one may have left half done.
        let done = steps.map(|step| catch_unwind(AssertUnwindSafe(|| step(self))));
        let panicked = done.into_iter().find_map(Result::err);
        // While one panic unwinds, a second one would end the process.
        if let Some(panic) = panicked.filter(|_| !std::thread::panicking()) {
            resume_unwind(panic);
        }
    }
}
