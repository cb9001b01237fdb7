//! Who wants bytes: the [`Peer`] that is asked for commands, and the [`PeerHandle`] that gives them.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tur_core::Kind;
use tur_sched::Priority;

use crate::adapt::AbrHandle;
use crate::bus::{ROOM, Scope};
use crate::command::Demand;
use crate::fetch::{Fetched, Head};
use crate::hub::Message;
use crate::pipe::Body;
use crate::{Abr, CancelToken, Command, Error, Events, PeerNo};

/// Something that wants bytes over a longer time: a player, a list of segments, a prefetcher. The downloader asks it for
/// commands when it has room for more; it decides what comes next as late as possible.
///
/// Both methods run on the engine's thread: they are to be quick, and must not block. One that panics costs the peer its
/// turn to be asked ([`PeerHandle::wake`] gives it back), and nobody else anything.
pub trait Peer: Abr {
    /// The next commands. `Pending` if there are none for now: the waker is woken when there are. `None`, or an empty list,
    /// if there will be none until [`PeerHandle::wake`] says otherwise.
    fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Vec<Command>>> {
        let _ = cx;
        Poll::Ready(None)
    }

    /// How urgent it is now: `High` for what is being played or read. Asked at decisions, at most once a millisecond, and
    /// every 50 ms while anybody waits, under a lock: it must only look. [`PeerHandle::wake`] has it asked at once. Default:
    /// `Low`.
    fn priority(&self) -> Priority {
        Priority::Low
    }
}

/// A peer's way to the downloader. Cheap to clone. When the last clone goes, the peer is gone: what it has asked for is
/// cancelled, and it is not asked again.
///
/// A peer that keeps its own handle would keep itself: it keeps a [`WeakPeerHandle`].
#[derive(Clone)]
pub struct PeerHandle {
    shared: Arc<Shared>,
}

/// A handle that does not keep its peer.
#[derive(Clone)]
pub struct WeakPeerHandle {
    shared: Weak<Shared>,
}

pub(crate) struct Shared {
    peer: PeerNo,
    hub: mpsc::UnboundedSender<Message>,
    /// Room for commands that have not begun.
    room: Room,
    scope: Scope,
    abr: AbrHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The downloader may be gone before.
        drop(self.hub.send(Message::Unregister(self.peer)));
    }
}

/// Room for commands that have not begun: urgent ones have their own, so that they never wait for room behind others.
struct Room {
    urgent: Arc<Semaphore>,
    others: Arc<Semaphore>,
    /// Notified when what is asked for may have become urgent.
    news: Notify,
}

impl Room {
    fn new(queue: usize) -> Self {
        let room = || Arc::new(Semaphore::new(queue.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            urgent: room(),
            others: room(),
            news: Notify::new(),
        }
    }

    /// Waits for room for one command.
    async fn take(&self, priority: Priority, demand: Option<&Demand>) -> OwnedSemaphorePermit {
        let room = match priority {
            Priority::High => Arc::clone(&self.urgent).acquire_owned().await,
            // Of its own on the heap: urgent commands wait by the thousand, and would each be as large as this.
            Priority::Low => Box::pin(self.take_either(demand)).await,
        };
        room.expect("room is never closed")
    }

    /// Waits for room among the others, or, as soon as somebody waits for what it brings, among the urgent.
    async fn take_either(
        &self,
        demand: Option<&Demand>,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let becomes_urgent = async {
            loop {
                let mut told = pin!(self.news.notified());
                // From here on no news is missed.
                told.as_mut().enable();
                if demand.is_some_and(|demand| demand()) {
                    return;
                }
                told.await;
            }
        };
        let others = Arc::clone(&self.others).acquire_owned();
        match select(pin!(becomes_urgent), pin!(others)).await {
            Either::Left(_) => Arc::clone(&self.urgent).acquire_owned().await,
            Either::Right((room, _)) => room,
        }
    }
}

/// What a command has brought, in memory.
#[derive(Clone, Debug)]
pub struct Response {
    /// The answer; `None` for an empty range, for which nobody is asked.
    pub head: Option<Head>,
    /// The bytes; none if the command had a callback for them.
    pub body: Vec<u8>,
    /// From the acceptance of the command to its end.
    pub elapsed: Duration,
}

impl PeerHandle {
    pub(crate) fn new(
        peer: PeerNo,
        hub: mpsc::UnboundedSender<Message>,
        queue: usize,
        (scope, abr): (Scope, AbrHandle),
    ) -> Self {
        let shared = Shared {
            peer,
            hub,
            room: Room::new(queue),
            scope,
            abr,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The number that its events carry.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.peer.0
    }

    /// Carries out a command and keeps its bytes in memory, 64 MiB at most unless the command says otherwise. Waits for
    /// room first if the peer has as many commands of its priority waiting as it may have; one whose
    /// [`demand`](Command::demand) says that somebody waits counts as `High` (asked now, and after each
    /// [`wake`](Self::wake)). Dropping the future cancels the command.
    ///
    /// # Errors
    /// Why the fetch failed; [`Kind::Signal`] if it was cancelled, or the downloader is gone.
    pub async fn execute(&self, mut command: Command) -> Result<Response, Error> {
        let body = Arc::new(Mutex::new(Vec::new()));
        if command.is_buffered() {
            let sink = Arc::clone(&body);
            command.bound();
            command = command.on_data(move |bytes| {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(bytes);
            });
        }
        let (told, end) = oneshot::channel();
        let command = command.on_complete(move |result| drop(told.send(result)));
        let guard = CancelOnDrop(CancelToken::new());
        self.send(command, Some(guard.0.clone())).await?;
        let fetched: Fetched = end.await.unwrap_or_else(|_gone| Err(Error::cancelled()))?;
        let body = std::mem::take(&mut *body.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Response {
            head: fetched.head,
            body,
            elapsed: fetched.elapsed,
        })
    }

    /// Carries out commands at once; their results come in the order of the commands, and each fails or succeeds alone.
    pub async fn batch(&self, commands: Vec<Command>) -> Vec<Result<Response, Error>> {
        join_all(commands.into_iter().map(|command| self.execute(command))).await
    }

    /// Carries out a command whose body is read while it arrives. Comes back with the answer.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), as far as it is known with the answer; what comes later is told by the body.
    pub async fn stream(&self, mut command: Command) -> Result<(Option<Head>, Body), Error> {
        let cancel = CancelToken::new();
        let (pipe, body) = Body::new(cancel.clone());
        command.hooks().pipe = Some(Arc::clone(&pipe));
        let command = command.on_complete(move |result| pipe.end(result));
        self.send(command, Some(cancel)).await?;
        let head = body.head().await?;
        Ok((head, body))
    }

    /// Hands a command over without waiting for its end, which its own callback is told.
    ///
    /// # Errors
    /// The downloader is gone: the command's callback has been told so too.
    pub async fn submit(&self, command: Command) -> Result<(), Error> {
        self.send(command, None).await
    }

    /// Cancels all commands that were accepted by now. The peer stays, and may ask for more.
    pub fn cancel(&self) {
        self.tell(Message::CancelPeer(self.shared.peer));
    }

    /// Says that the peer has news: it is asked for commands again, also after it has said that there are no more, and its
    /// priority is looked at.
    pub fn wake(&self) {
        self.shared.room.news.notify_waiters();
        self.tell(Message::Revive(self.shared.peer));
    }

    /// The choice among variants: mode, cap, lock, and what was decided.
    #[must_use]
    pub fn abr(&self) -> &AbrHandle {
        &self.shared.abr
    }

    /// Events of this peer's fetches, from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.shared.scope.subscribe(ROOM))
    }

    /// A handle that does not keep the peer.
    #[must_use]
    pub fn downgrade(&self) -> WeakPeerHandle {
        WeakPeerHandle {
            shared: Arc::downgrade(&self.shared),
        }
    }

    async fn send(&self, command: Command, cancel: Option<CancelToken>) -> Result<(), Error> {
        let (priority, demand) = command.urgency();
        let room = self.shared.room.take(priority, demand);
        // What is not wanted any more waits for no room.
        let room = match command.token() {
            Some(token) => match select(pin!(room), pin!(token.cancelled())).await {
                Either::Left((room, _)) => room,
                Either::Right(_) => return Err(Error::cancelled()),
            },
            None => room.await,
        };
        let message = Message::Command {
            peer: self.shared.peer,
            command: Box::new(command),
            cancel,
            room,
        };
        // A command that comes back is dropped here, and so told to be cancelled.
        self.shared
            .hub
            .send(message)
            .map_err(|_gone| Error::new(Kind::Signal, "the downloader is gone"))
    }

    fn tell(&self, message: Message) {
        // Without a downloader there is nothing to cancel, and nobody to ask.
        drop(self.shared.hub.send(message));
    }
}

impl WeakPeerHandle {
    /// A handle that works while a handle elsewhere keeps the peer; `None` after that.
    #[must_use]
    pub fn upgrade(&self) -> Option<PeerHandle> {
        self.shared.upgrade().map(|shared| PeerHandle { shared })
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PeerHandle")
            .field(&self.shared.peer.0)
            .finish()
    }
}

impl fmt::Debug for WeakPeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakPeerHandle")
    }
}

/// Cancels with the future that owns it.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
