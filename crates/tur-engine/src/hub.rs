//! The peers of a downloader, on its data thread: asks them for commands, and begins those whose turn it is.
//!
//! Read [`Hub::poll`]. Who goes first is decided by the permits (`permits.rs`); this keeps what waits for them, and begins a
//! transfer for each command that gets one. What waits is owned here, never by a future that could be dropped halfway: so
//! each command that was accepted is completed once, whatever becomes of its peer.

mod adapting;
mod looking;
mod post;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::coop::poll_proceed;
use tracing::Instrument as _;
use tur_core::Timestamp;
use tur_core::port::Transport;
use tur_sched::Priority;
use tur_storage::Disk;

use self::adapting::Rounds;
use self::looking::Lookout;
use self::post::{Bell, Expected, Over};
pub(crate) use self::post::{Making, Message, Newcomer};
use crate::adapt::AbrHandle;
use crate::board::Board;
use crate::bus::{Bus, Scope};
use crate::careful::{Careful, caught};
use crate::clock::Clock;
use crate::command::{Accepted, Waits};
use crate::driver::{Outside, World, fetch};
use crate::handle::Wish;
use crate::metrics::Totals;
use crate::permits::{News, Permits, Waiting};
use crate::sampler::Sampler;
use crate::sessions::Sessions;
use crate::{CancelToken, Command, Error, Peer, PeerNo, What};

/// Settings of the hub.
#[derive(Clone, Debug)]
pub(crate) struct HubConfig {
    /// Commands of a peer that may wait, before it is asked for no more.
    pub(crate) queue: usize,
    /// Permits that one peer may have.
    pub(crate) per_peer: Option<usize>,
    pub(crate) waits: Waits,
    /// How long items may wait while none runs before that is told.
    pub(crate) hang: Duration,
}

/// A future that the data thread runs.
pub(crate) type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes what a fetch works with, and what tells it that the downloader is gone.
pub(crate) type Worlds<T, D> = Box<dyn Fn() -> (World<T, D>, watch::Receiver<()>) + Send>;

/// The peers.
pub(crate) struct Hub<T: Transport, D: Disk + Clone> {
    config: HubConfig,
    ground: Ground<T, D>,
    inbox: mpsc::UnboundedReceiver<Message>,
    news: mpsc::UnboundedReceiver<News>,
    peers: BTreeMap<PeerNo, Entry>,
    expected: Expected,
    queued: BTreeMap<u64, Queued>,
    running: BTreeMap<u64, Running>,
    /// One for each token of a command that waits.
    epochs: FuturesUnordered<Epoch>,
    /// Peers that are to be asked.
    due: BTreeSet<PeerNo>,
    rounds: Rounds,
    lookout: Lookout,
    /// When the peers with variants were looked at last.
    looked: Timestamp,
}

/// What the hub stands on.
pub(crate) struct Ground<T: Transport, D: Disk + Clone> {
    pub(crate) sessions: Sessions<T::Session>,
    pub(crate) clock: Clock,
    /// What the network brings.
    pub(crate) sampler: Sampler,
    pub(crate) totals: Totals,
    /// Where is told what concerns all of them.
    pub(crate) scope: Scope,
    /// Where fetches and wakers write to.
    pub(crate) post: mpsc::WeakUnboundedSender<Message>,
    /// Makes what a fetch works with.
    pub(crate) worlds: Worlds<T, D>,
    /// A number that nothing else has.
    pub(crate) number: Box<dyn Fn() -> u64 + Send>,
}

/// Ends with the number of the command whose token was cancelled; as aborted once it waits no more.
type Epoch = Pin<Box<dyn Future<Output = Option<u64>> + Send>>;

struct Entry {
    who: Arc<Careful<Arc<dyn Peer>>>,
    abr: AbrHandle,
    bus: Bus,
    /// True if it has variants to choose from.
    adapts: bool,
    bell: Arc<Bell>,
    /// Its commands that wait or run.
    ids: BTreeSet<u64>,
    /// How many of them wait.
    waiting: usize,
    /// How many of those are urgent.
    urgent: usize,
    /// True while its waker is waited for.
    pending: bool,
    /// True after it has said that there is no more.
    exhausted: bool,
}

struct Queued {
    peer: PeerNo,
    /// True if somebody waits for it.
    urgent: bool,
    accepted: Box<Accepted>,
    board: Board,
    /// Keeps the peer's events open until the last one.
    bus: Bus,
    cancels: Vec<CancelToken>,
    watches: Vec<AbortHandle>,
    _room: Option<OwnedSemaphorePermit>,
}

struct Running {
    wishes: Arc<watch::Sender<Wish>>,
}

impl Entry {
    /// Whether it may have another command waiting: one that is played may have an urgent one, behind which nothing else
    /// stands.
    fn has_room(&self, queue: usize) -> bool {
        let is_active = || caught(|| self.who.priority()) == Ok(Priority::High);
        self.waiting < queue
            || (self.urgent == 0 && self.waiting < queue.saturating_mul(2) && is_active())
    }
}

impl<T, D> Hub<T, D>
where
    T: Transport,
    D: Disk + Clone,
{
    pub(crate) fn new(
        config: HubConfig,
        ground: Ground<T, D>,
        inbox: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        ground
            .sessions
            .permits(ground.clock.now(), |permits| permits.tell_news(sender));
        Self {
            lookout: Lookout::new(config.hang),
            config,
            ground,
            inbox,
            news,
            peers: BTreeMap::new(),
            expected: Expected::default(),
            queued: BTreeMap::new(),
            running: BTreeMap::new(),
            epochs: FuturesUnordered::new(),
            due: BTreeSet::new(),
            rounds: Rounds::default(),
            looked: Timestamp::ZERO,
        }
    }

    /// Does everything there is to do now; ready if there was something, with what is to be run.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Run>> {
        let (mut runs, mut worked) = (Vec::new(), false);
        loop {
            let mut moved = false;
            while let Poll::Ready(Some(message)) = self.inbox.poll_recv(cx) {
                moved = true;
                self.heed(message);
            }
            let mut cancelled = Vec::new();
            while let Poll::Ready(Some(id)) = self.epochs.poll_next_unpin(cx) {
                moved = true;
                cancelled.extend(id);
            }
            self.cancel(cancelled);
            while let Poll::Ready(Some(news)) = self.news.poll_recv(cx) {
                moved = true;
                runs.extend(self.hear(news));
            }
            // A peer that always has more must leave time for everybody else.
            while !self.due.is_empty()
                && let Poll::Ready(turn) = poll_proceed(cx)
                && let Some(peer) = self.due.pop_first()
            {
                moved = true;
                self.ask(peer);
                turn.made_progress();
            }
            moved |= self.poll_round(cx);
            moved |= self.poll_lookout(cx);
            if !moved {
                return if worked {
                    Poll::Ready(runs)
                } else {
                    Poll::Pending
                };
            }
            worked = true;
        }
    }

    /// The downloader is gone: what waits is cancelled. What runs is told by its own world.
    pub(crate) fn shut_down(&mut self) {
        self.cancel(self.queued.keys().copied().collect());
        for (peer, gone) in std::mem::take(&mut self.peers) {
            self.permits(|permits, now| permits.unregister(now, peer.0));
            drop(gone);
        }
        self.expected = Expected::default();
        self.inbox.close();
        // A command that is dropped is told to be cancelled.
        while self.inbox.try_recv().is_ok() {}
    }

    fn heed(&mut self, message: Message) {
        let Some(message) = self.expected.keep(message) else {
            return;
        };
        match message {
            Message::Expect(peer) => self.expected.expect(peer),
            Message::Register(peer, newcomer) => {
                self.register(peer, *newcomer);
                let said = self.expected.take(peer).into_iter();
                said.for_each(|message| self.heed(message));
            }
            Message::Unregister(peer) => {
                // Commands that were kept are told to be cancelled.
                drop(self.expected.take(peer));
                self.cancel_all(peer);
                // It is dropped when no lock is held any more.
                let gone = self.peers.remove(&peer);
                self.permits(|permits, now| permits.unregister(now, peer.0));
                drop(gone);
            }
            Message::Command {
                peer,
                command,
                cancel,
                room,
            } => {
                let waiting = self.accept(peer, *command, (cancel, Some(room)));
                self.enqueue(waiting);
            }
            Message::CancelPeer(peer) => self.cancel_all(peer),
            Message::Ask(peer) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.pending = false;
                    self.due.insert(peer);
                }
            }
            Message::Revive(peer) => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    (entry.pending, entry.exhausted) = (false, false);
                    self.due.insert(peer);
                }
                self.look_at_variants(peer);
                // Its priority may be another one: who waits is looked at anew.
                self.permits(|permits, now| permits.tick(now));
            }
            Message::Decided(peer, action) => self.decided(peer, &action),
            Message::Say(peer, what) => {
                if let Some(entry) = self.peers.get(&peer) {
                    entry.bus.scope().publish(0, Duration::ZERO, || *what);
                }
            }
            Message::Over { peer, id } => {
                self.running.remove(&id);
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.ids.remove(&id);
                }
                self.permits(|permits, now| permits.forget(now, id));
            }
        }
    }

    fn register(&mut self, peer: PeerNo, newcomer: Newcomer) {
        let Newcomer { who, abr, bus } = newcomer;
        let who = Arc::new(who);
        let asked = Arc::clone(&who);
        let look = Box::new(move || caught(|| asked.priority()).unwrap_or(Priority::Low));
        let per_peer = self.config.per_peer;
        self.permits(|permits, now| permits.register(now, peer.0, look, per_peer));
        let bell = Arc::new(Bell {
            peer,
            rung: AtomicBool::new(false),
            post: self.ground.post.clone(),
        });
        let entry = Entry {
            who,
            abr,
            bus,
            adapts: false,
            bell,
            ids: BTreeSet::new(),
            waiting: 0,
            urgent: 0,
            pending: false,
            exhausted: false,
        };
        self.peers.insert(peer, entry);
        self.due.insert(peer);
        self.look_at_variants(peer);
    }

    /// Asks a peer for commands, if it may have more.
    fn ask(&mut self, peer: PeerNo) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if entry.pending || entry.exhausted || !entry.has_room(self.config.queue) {
            return;
        }
        entry.bell.rung.store(false, Ordering::Release);
        let (who, waker) = (&entry.who, Waker::from(Arc::clone(&entry.bell)));
        let answer = caught(|| who.poll_next(&mut Context::from_waker(&waker)));
        match answer {
            Ok(Poll::Pending) => entry.pending = true,
            Ok(Poll::Ready(Some(commands))) if !commands.is_empty() => {
                let accept = |command| self.accept(peer, command, (None, None));
                let waiting: Vec<_> = commands.into_iter().filter_map(accept).collect();
                self.enqueue(waiting);
                self.due.insert(peer);
            }
            Ok(Poll::Ready(_)) => entry.exhausted = true,
            Err(panic) => {
                entry.exhausted = true;
                tracing::error!(
                    panic,
                    peer = peer.0,
                    "a peer panicked when it was asked for commands"
                );
            }
        }
    }

    /// Takes a command; from here on it is completed once. Returns what is to wait for its turn.
    fn accept(
        &mut self,
        peer: PeerNo,
        command: Command,
        (cancel, room): (Option<CancelToken>, Option<OwnedSemaphorePermit>),
    ) -> Option<Waiting> {
        let mut accepted = command.accepted(self.config.waits)?;
        let cancels: Vec<_> = accepted.epoch.take().into_iter().chain(cancel).collect();
        let Some(entry) = self.peers.get_mut(&peer) else {
            // Its last handle went while the command was under way.
            accepted.done.tell(Err(Error::cancelled()));
            return None;
        };
        let id = (self.ground.number)();
        if cancels.iter().any(CancelToken::is_cancelled) {
            accepted.done.tell(Err(Error::cancelled()));
            return None;
        }
        let board = Board::new(id, entry.bus.scope().clone());
        board.tell(Duration::ZERO, What::Enqueued);
        entry.ids.insert(id);
        entry.waiting += 1;
        let urgent = accepted.priority == Priority::High;
        entry.urgent += usize::from(urgent);
        let watch = |token: &CancelToken| {
            let (handle, registration) = AbortHandle::new_pair();
            let cancelled = Abortable::new(token.cancelled(), registration);
            let epoch: Epoch = Box::pin(async move { cancelled.await.ok().map(|()| id) });
            (handle, epoch)
        };
        let (watches, epochs): (Vec<_>, Vec<_>) = cancels.iter().map(watch).unzip();
        self.epochs.extend(epochs);
        let waiting = Waiting {
            transfer: id,
            peer: peer.0,
            origin: accepted.job.target.origin.clone(),
            priority: accepted.priority,
            demand: accepted.demand.take(),
        };
        let queued = Queued {
            peer,
            urgent,
            accepted: Box::new(accepted),
            board,
            bus: entry.bus.clone(),
            cancels,
            watches,
            _room: room,
        };
        self.queued.insert(id, queued);
        Some(waiting)
    }

    /// Commands wait for their turn: all of a batch before anything is decided, for a decision may ask each of them.
    fn enqueue(&mut self, waiting: impl IntoIterator<Item = Waiting>) {
        self.permits(|permits, now| {
            for waiting in waiting {
                permits.enqueue(now, waiting);
            }
        });
    }

    /// What the permits say.
    fn hear(&mut self, news: News) -> Option<Run> {
        match news {
            News::Granted(id) => return self.begin(id),
            News::Peer { peer, urgent } => {
                if let Some(entry) = self.peers.get(&PeerNo(peer)) {
                    let scope = entry.bus.scope();
                    scope.publish(0, Duration::ZERO, || What::PriorityChanged { urgent });
                    // It may have room that it had not before.
                    self.due.insert(PeerNo(peer));
                }
            }
            News::Command { transfer, urgent } => {
                // One that has begun meanwhile waits no more.
                if let Some(queued) = self.queued.get_mut(&transfer) {
                    let told = What::PriorityChanged { urgent };
                    queued.board.tell(Duration::ZERO, told);
                    let was = std::mem::replace(&mut queued.urgent, urgent);
                    if let Some(entry) = self.peers.get_mut(&queued.peer) {
                        entry.urgent += usize::from(urgent);
                        entry.urgent -= usize::from(was);
                    }
                }
            }
            News::Depth => self.lookout.changed(),
        }
        None
    }

    /// A command has its permit: the transfer that carries it out.
    fn begin(&mut self, id: u64) -> Option<Run> {
        let Some(queued) = self.unqueue(id) else {
            self.permits(|permits, now| permits.forget(now, id));
            return None;
        };
        let Queued {
            peer,
            accepted,
            cancels,
            board,
            bus,
            ..
        } = queued;
        let (wishes, commands) = watch::channel(Wish::default());
        let wishes = Arc::new(wishes);
        let running = Running {
            wishes: Arc::clone(&wishes),
        };
        self.running.insert(id, running);
        let (world, life) = (self.ground.worlds)();
        let counted = self.ground.totals.enter(id, board.metrics().clone());
        let over = Over {
            post: self.ground.post.clone(),
            peer,
            id,
        };
        let outside = Outside {
            board,
            commands,
            life,
        };
        let Accepted {
            job,
            delivery,
            done,
            ..
        } = *accepted;
        let carry = async move {
            let work = Box::pin(fetch(world, job, Box::new(delivery), outside));
            let result = heeding(work, cancels, &wishes).await;
            done.tell(result);
            drop((counted, bus, over));
        };
        let span = tracing::info_span!("fetch", id, peer = peer.0);
        Some(Box::pin(carry.instrument(span)))
    }

    /// Cancels commands that wait, or run.
    fn cancel(&mut self, ids: Vec<u64>) {
        if ids.is_empty() {
            return;
        }
        for id in &ids {
            self.cancel_one(*id);
        }
        self.permits(|permits, now| {
            let waited = ids.iter().filter(|id| !self.running.contains_key(id));
            for id in waited {
                permits.forget(now, *id);
            }
        });
    }

    fn cancel_one(&mut self, id: u64) {
        if let Some(running) = self.running.get(&id) {
            running.wishes.send_modify(|wish| wish.cancelled = true);
        }
        if let Some(queued) = self.unqueue(id) {
            if let Some(entry) = self.peers.get_mut(&queued.peer) {
                entry.ids.remove(&id);
            }
            let error = Error::cancelled();
            let told = What::Cancelled(error.clone());
            queued.board.tell(Duration::ZERO, told);
            queued.accepted.done.tell(Err(error));
        }
    }

    fn cancel_all(&mut self, peer: PeerNo) {
        let ids = self.peers.get(&peer).map(|entry| &entry.ids);
        self.cancel(ids.into_iter().flatten().copied().collect());
    }

    /// Takes a command out of those that wait; its peer may have one more.
    fn unqueue(&mut self, id: u64) -> Option<Queued> {
        let queued = self.queued.remove(&id)?;
        for watch in &queued.watches {
            watch.abort();
        }
        if let Some(entry) = self.peers.get_mut(&queued.peer) {
            entry.waiting -= 1;
            entry.urgent -= usize::from(queued.urgent);
            self.due.insert(queued.peer);
        }
        Some(queued)
    }

    fn permits(&self, how: impl FnOnce(&mut Permits, Timestamp)) {
        let now = self.ground.clock.now();
        self.ground
            .sessions
            .permits(now, |permits| how(permits, now));
    }
}

/// Runs `work`; a token that is cancelled meanwhile becomes a wish.
async fn heeding<R>(
    mut work: Pin<Box<impl Future<Output = R>>>,
    cancels: Vec<CancelToken>,
    wishes: &watch::Sender<Wish>,
) -> R {
    let mut cancelled: FuturesUnordered<_> = cancels.iter().map(CancelToken::cancelled).collect();
    poll_fn(|cx| {
        if let Poll::Ready(Some(())) = cancelled.poll_next_unpin(cx) {
            wishes.send_modify(|wish| wish.cancelled = true);
        }
        work.as_mut().poll(cx)
    })
    .await
}
