//! The sessions of a downloader: one pool per origin decides, this keeps the connections and carries its words to the
//! drivers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
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
        }
    }

    /// Joins a transfer to the pools. The words are bounded by what it asks for: one per wish.
    pub(crate) fn join(&self, transfer: u64) -> mpsc::UnboundedReceiver<Word<S>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().drivers.insert(transfer, sender);
        receiver
    }

    /// The transfer is over; it has given everything back.
    pub(crate) fn leave(&self, transfer: u64) {
        self.lock().drivers.remove(&transfer);
    }

    /// Raises the number of sessions per origin to at least `n`.
    pub(crate) fn raise_limit(&self, n: usize) {
        let mut shared = self.lock();
        shared.limit = shared.limit.max(n);
    }

    /// Tells the origin's pool what happened and passes on what it decides.
    pub(crate) fn tell(&self, now: Timestamp, origin: &Origin, event: PoolEvent) {
        self.lock().tell(now, origin, event);
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
            say(&self.drivers, asker, word);
        }
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
