//! The sessions of a downloader: one pool per origin decides, this keeps the connections and carries its words to the
//! drivers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tur_core::{Origin, Timestamp};
use tur_sched::{Asker, LaneId, Pool, PoolAction, PoolEvent, SessionId};

/// How long an unused connection is kept: origins close theirs after 5 to 75 s.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// What a pool says to the driver of a transfer.
#[derive(Debug)]
pub(crate) enum Word<S> {
    /// Connect, and tell the pool how it went.
    Open {
        lane: LaneId,
        id: SessionId,
        origin: Origin,
    },
    /// The session is yours until you give it back.
    Lend {
        lane: LaneId,
        id: SessionId,
        origin: Origin,
        session: Arc<S>,
    },
}

/// All sessions, by origin. Clones share them.
pub(crate) struct Sessions<S> {
    shared: Arc<Mutex<Shared<S>>>,
    returned: Arc<Notify>,
}

struct Shared<S> {
    limit: usize,
    origins: BTreeMap<Origin, Entry<S>>,
    drivers: BTreeMap<u64, mpsc::UnboundedSender<Word<S>>>,
}

struct Entry<S> {
    pool: Pool,
    live: BTreeMap<SessionId, Arc<S>>,
}

impl<S> Clone for Sessions<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            returned: Arc::clone(&self.returned),
        }
    }
}

impl<S> Sessions<S> {
    /// Sessions, at most `limit` per origin.
    pub(crate) fn new(limit: usize) -> Self {
        let shared = Shared {
            limit,
            origins: BTreeMap::new(),
            drivers: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            returned: Arc::default(),
        }
    }

    /// Joins a transfer to the pools. The words are bounded by what it asks for: one per wish.
    pub(crate) fn join(&self, transfer: u64) -> mpsc::UnboundedReceiver<Word<S>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().drivers.insert(transfer, sender);
        receiver
    }

    /// The transfer is over: it has given back what it had, and what it asked for is not wanted any more.
    pub(crate) fn leave(&self, transfer: u64) {
        let mut shared = self.lock();
        shared.drivers.remove(&transfer);
        for entry in shared.origins.values_mut() {
            entry.pool.forget(transfer);
        }
        shared.carry_all();
    }

    /// Raises the number of sessions per origin to at least `n`.
    pub(crate) fn raise_limit(&self, n: usize) {
        let mut shared = self.lock();
        shared.limit = shared.limit.max(n);
        let limit = shared.limit;
        for entry in shared.origins.values_mut() {
            entry.pool.set_limit(limit);
        }
        shared.carry_all();
    }

    /// Ends when a session has come back since this was called last.
    pub(crate) async fn returned(&self) {
        self.returned.notified().await;
    }

    /// Tells the origin's pool what happened and passes on what it decides.
    pub(crate) fn tell(&self, now: Timestamp, origin: &Origin, event: PoolEvent) {
        self.lock().tell(now, origin, event);
        if matches!(event, PoolEvent::Returned { .. }) {
            self.returned.notify_one();
        }
    }

    /// A connection that the pool asked for is there.
    pub(crate) fn opened(&self, now: Timestamp, origin: &Origin, id: SessionId, session: Arc<S>) {
        let mut shared = self.lock();
        if let Some(entry) = shared.origins.get_mut(origin) {
            entry.live.insert(id, session);
        }
        shared.tell(now, origin, PoolEvent::Opened(id));
    }

    /// Closes what has been unused for too long and says when to look again.
    pub(crate) fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        let mut shared = self.lock();
        let due = |entry: &Entry<S>| entry.pool.next_wakeup().is_some_and(|at| now >= at);
        let origins: Vec<Origin> = shared
            .origins
            .iter()
            .filter(|(_, entry)| due(entry))
            .map(|(origin, _)| origin.clone())
            .collect();
        for origin in origins {
            shared.tell(now, &origin, PoolEvent::Tick);
        }
        shared.origins.retain(|_, entry| !entry.pool.is_empty());
        shared
            .origins
            .values()
            .filter_map(|entry| entry.pool.next_wakeup())
            .min()
    }

    fn lock(&self) -> MutexGuard<'_, Shared<S>> {
        // Each step leaves pool and map whole, so a panic elsewhere spoils nothing.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Shared<S> {
    fn tell(&mut self, now: Timestamp, origin: &Origin, event: PoolEvent) {
        let limit = self.limit;
        let entry = self.origins.entry(origin.clone()).or_insert_with(|| Entry {
            pool: Pool::new(limit, IDLE_MAX),
            live: BTreeMap::new(),
        });
        entry.pool.handle(now, event);
        carry(origin, entry, &self.drivers);
    }

    /// Passes on what all pools have decided.
    fn carry_all(&mut self) {
        for (origin, entry) in &mut self.origins {
            carry(origin, entry, &self.drivers);
        }
    }
}

/// Passes on what a pool has decided.
fn carry<S>(
    origin: &Origin,
    entry: &mut Entry<S>,
    drivers: &BTreeMap<u64, mpsc::UnboundedSender<Word<S>>>,
) {
    while let Some(action) = entry.pool.poll_action() {
        let (asker, word) = match action {
            PoolAction::Close(id) => {
                entry.live.remove(&id);
                continue;
            }
            PoolAction::Open(id, asker) => (
                asker,
                Word::Open {
                    lane: asker.lane,
                    id,
                    origin: origin.clone(),
                },
            ),
            PoolAction::Lend(id, asker) => {
                let Some(session) = entry.live.get(&id).cloned() else {
                    continue;
                };
                (
                    asker,
                    Word::Lend {
                        lane: asker.lane,
                        id,
                        origin: origin.clone(),
                        session,
                    },
                )
            }
        };
        say(drivers, asker, word);
    }
}

/// A driver that has left gave everything back first, so no word can be for it.
fn say<S>(drivers: &BTreeMap<u64, mpsc::UnboundedSender<Word<S>>>, asker: Asker, word: Word<S>) {
    if drivers
        .get(&asker.transfer)
        .is_none_or(|driver| driver.send(word).is_err())
    {
        tracing::error!(?asker, "a pool spoke to a transfer that has left");
    }
}
