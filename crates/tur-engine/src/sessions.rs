//! The sessions of a downloader: a pool per origin and one budget for all decide, this keeps the connections and carries
//! the words to the drivers.
//!
//! Read [`Sessions`]. A wish goes through the [`Permits`] first, and to the pool of its origin when its turn comes. After
//! each event the origin's standing is told to the budget anew, and what the budget then says is done before the lock is
//! let go: so a slot is free as soon as its pool has forgotten the session, on any path.

mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tur_core::{Origin, Timestamp};
use tur_sched::{
    Asker, Budget, DispatchConfig, LaneId, Pool, PoolEvent, SessionId, Shortage, Sign, TicketId,
};

use self::settle::few;
use crate::What;
use crate::bounds;
use crate::bus::Scope;
use crate::metrics::Gauge;
use crate::permits::Permits;

/// How long an unused connection is kept: origins close theirs after 5 to 75 s.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// The same while a download of that origin is paused, and may want them again at any time: a little longer than nearly all
/// origins keep theirs, so that it is they who decide. Who needs the room gets it, as from all that nobody uses.
const IDLE_MAX_PAUSED: Duration = Duration::from_secs(90);

/// How many sessions there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// In the whole process.
    pub(crate) process: usize,
    /// To one origin.
    pub(crate) per_origin: PerOrigin,
}

/// A limit per origin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PerOrigin {
    /// The default, which a download with more lanes raises.
    AtLeast(usize),
    /// One that was given, which holds.
    Given(usize),
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            process: bounds::CONNECTIONS,
            per_origin: PerOrigin::AtLeast(bounds::CONNECTIONS_PER_ORIGIN),
        }
    }
}

/// What a pool, or the budget, says to the driver of a transfer.
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
    /// Somebody more urgent needs the place: give this session back, and ask for another one.
    GiveWay { lane: LaneId, id: SessionId },
    /// Something that a person may want to know.
    Note(String),
    /// The process has room for so many lanes to the origin, whatever its scaler finds.
    Room { origin: Origin, lanes: u16 },
}

/// How many requests a session to an origin will run at once, as far as that is known before there is one.
pub(crate) type Rooms = Box<dyn Fn(&Origin) -> Option<usize> + Send>;

/// All sessions, by origin. Clones share them.
pub(crate) struct Sessions<S> {
    shared: Arc<Mutex<Shared<S>>>,
    returned: Arc<Notify>,
    gauge: Arc<Gauge>,
    /// Where changes of the budget are told.
    scope: Option<Scope>,
}

struct Shared<S> {
    /// The latest time that was told.
    now: Timestamp,
    per_origin: PerOrigin,
    budget: Budget<Origin>,
    permits: Permits,
    /// Permits there are, and for one origin, as was told last.
    told: (usize, usize),
    origins: BTreeMap<Origin, Entry<S>>,
    drivers: Drivers<S>,
    rooms: Rooms,
    /// Says how many requests a session runs at once by now.
    room_of: Option<fn(&S) -> usize>,
    /// What the budget came to, and why it shrank; told when the lock is let go.
    changes: Vec<(usize, Option<Shortage>)>,
}

/// Bounded by what transfers ask for, one word per wish, and by changes of the budget, which take seconds.
type Drivers<S> = BTreeMap<u64, mpsc::UnboundedSender<Word<S>>>;

struct Entry<S> {
    pool: Pool,
    /// True if its sessions run many requests at once, and permits are given accordingly.
    roomy: bool,
    live: BTreeMap<SessionId, Arc<S>>,
    /// Transfers that are paused here.
    paused: BTreeSet<u64>,
    /// Who has a session, or will have it: many may, where it has room for many.
    users: BTreeMap<(SessionId, Asker), User>,
}

/// How somebody has a session, or will.
#[derive(Clone, Copy)]
struct User {
    /// The permit it uses.
    ticket: Option<TicketId>,
    /// False while it is being opened.
    lent: bool,
}

impl<S> Clone for Sessions<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            returned: Arc::clone(&self.returned),
            gauge: Arc::clone(&self.gauge),
            scope: self.scope.clone(),
        }
    }
}

impl<S> Sessions<S> {
    /// No sessions yet, and at most so many.
    #[cfg(test)]
    pub(crate) fn new(caps: Caps) -> Self {
        Self::with_dispatch(caps, DispatchConfig::default())
    }

    /// No sessions yet. Permits are as many as there may be sessions, whatever `dispatch` says.
    pub(crate) fn with_dispatch(caps: Caps, dispatch: DispatchConfig) -> Self {
        let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = caps.per_origin;
        let dispatch = DispatchConfig {
            permits: caps.process,
            per_origin: limit,
            ..dispatch
        };
        let shared = Shared {
            now: Timestamp::ZERO,
            per_origin: caps.per_origin,
            budget: Budget::new(caps.process),
            permits: Permits::new(dispatch),
            told: (caps.process, limit),
            origins: BTreeMap::new(),
            drivers: BTreeMap::new(),
            rooms: Box::new(|_| Some(1)),
            room_of: None,
            changes: Vec::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            returned: Arc::default(),
            gauge: Arc::new(Gauge::new(caps.process)),
            scope: None,
        }
    }

    /// Asks `rooms` what a session to an origin will be; otherwise each runs one request at a time.
    pub(crate) fn with_rooms(self, rooms: Rooms) -> Self {
        self.lock().rooms = rooms;
        self
    }

    /// Has each session say how many requests it runs at once, whenever somebody wants one.
    pub(crate) fn asking(self, room_of: fn(&S) -> usize) -> Self {
        self.lock().room_of = Some(room_of);
        self
    }

    /// Tells in `scope` how the budget changes.
    pub(crate) fn told_in(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// How the budget stands.
    pub(crate) fn gauge(&self) -> &Gauge {
        &self.gauge
    }

    /// Does something with the permits, and what follows from it.
    pub(crate) fn permits<R>(&self, now: Timestamp, how: impl FnOnce(&mut Permits) -> R) -> R {
        let mut shared = self.lock();
        shared.now = shared.now.max(now);
        let result = how(&mut shared.permits);
        shared.settle();
        result
    }

    /// Joins a transfer to the pools.
    pub(crate) fn join(&self, transfer: u64) -> mpsc::UnboundedReceiver<Word<S>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut shared = self.lock();
        shared.drivers.insert(transfer, sender);
        let now = shared.now;
        shared.permits.begin(now, transfer);
        receiver
    }

    /// The transfer is over: it has given back what it had, and what it asked for is not wanted any more.
    pub(crate) fn leave(&self, transfer: u64) {
        self.pause(transfer, None);
        let mut shared = self.lock();
        shared.drivers.remove(&transfer);
        let now = shared.now;
        for entry in shared.origins.values_mut() {
            entry.pool.forget(now, transfer);
        }
        shared.permits.forget(now, transfer);
        shared.settle_all();
    }

    /// The transfer is paused at this origin, or at none: what is unused there is kept for longer.
    pub(crate) fn pause(&self, transfer: u64, at: Option<&Origin>) {
        for (origin, entry) in &mut self.lock().origins {
            if Some(origin) == at {
                entry.paused.insert(transfer);
            } else {
                entry.paused.remove(&transfer);
            }
            entry.pool.set_idle_max(if entry.paused.is_empty() {
                IDLE_MAX
            } else {
                IDLE_MAX_PAUSED
            });
        }
        // What expires next may be another one now.
        self.returned.notify_one();
    }

    /// Raises the number of sessions per origin to at least `n`, unless one was given.
    pub(crate) fn raise_limit(&self, n: usize) {
        let mut shared = self.lock();
        let PerOrigin::AtLeast(limit) = &mut shared.per_origin else {
            return;
        };
        *limit = n.max(*limit);
        let limit = *limit;
        for entry in shared.origins.values_mut() {
            entry.pool.set_limit(limit);
        }
        shared.settle_all();
    }

    /// Most lanes that an origin can have.
    pub(crate) fn lanes_max(&self) -> u16 {
        let shared = self.lock();
        let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = shared.per_origin;
        let lanes = limit.min(shared.budget.allowed());
        u16::try_from(lanes).unwrap_or(u16::MAX).max(1)
    }

    /// What is to be said to who could use so many lanes of an origin and gets fewer. One that asks for no more than there
    /// are never feels it, and would not be told later.
    pub(crate) fn shortage(&self, lanes: u16) -> Option<String> {
        let shared = self.lock();
        let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = shared.per_origin;
        let most = limit.min(usize::from(lanes));
        let (allowed, why) = shared.budget.shortage()?;
        (allowed < most).then(|| few(allowed, why))
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

    /// A connection that the pool asked for is there, and runs so many requests at once.
    pub(crate) fn opened(
        &self,
        now: Timestamp,
        origin: &Origin,
        (id, room): (SessionId, usize),
        session: Arc<S>,
    ) {
        let mut shared = self.lock();
        if let Some(entry) = shared.origins.get_mut(origin) {
            entry.live.insert(id, session);
        }
        let opened = PoolEvent::Opened { session: id, room };
        shared.tell(now, origin, opened);
    }

    /// A connection that the pool asked for could not be made for want of descriptors or memory. True if its lane waits
    /// for another session of the process to go; false if there is none, so that only time can help.
    pub(crate) fn exhausted(&self, now: Timestamp, origin: &Origin, id: SessionId) -> bool {
        let mut shared = self.lock();
        let waits = shared.budget.held() > 1;
        if !waits {
            shared.heed(now, origin, PoolEvent::Failed(id));
        } else if let Some(entry) = shared.origins.get_mut(origin) {
            // Its lane keeps the permit, and waits in front of all others.
            entry.users.retain(|(session, _), _| *session != id);
            entry.pool.postpone(id);
        }
        shared.report(origin);
        shared.budget.exhausted(now);
        tracing::info!(
            allowed = shared.budget.allowed(),
            "no descriptor or memory for a connection"
        );
        shared.settle();
        waits
    }

    /// The lane that uses this session was told to give way, and would lose what it has: somebody else is to.
    pub(crate) fn keep(&self, now: Timestamp, origin: &Origin, (id, asker): (SessionId, Asker)) {
        let mut shared = self.lock();
        shared.now = shared.now.max(now);
        let user = shared
            .origins
            .get(origin)
            .and_then(|entry| entry.users.get(&(id, asker)));
        if let Some(ticket) = user.and_then(|user| user.ticket) {
            shared.permits.keep(now, ticket);
        }
        shared.settle();
    }

    /// Takes what is left of memory and descriptors.
    pub(crate) fn pressure(&self, now: Timestamp, signs: &[Sign]) {
        let mut shared = self.lock();
        let before = shared.budget.allowed();
        shared.budget.pressure(now, signs);
        let allowed = shared.budget.allowed();
        if allowed != before {
            tracing::info!(before, allowed, ?signs, "connections of the process");
        }
        shared.settle();
    }

    /// Closes what has been unused for too long, lets go what was held back, and says when to look again.
    pub(crate) fn expire(&self, now: Timestamp) -> Option<Timestamp> {
        let mut shared = self.lock();
        shared.now = shared.now.max(now);
        if shared.permits.next_wakeup().is_some_and(|at| now >= at) {
            shared.permits.tick(now);
            shared.settle();
        }
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
        let Shared {
            origins, permits, ..
        } = &mut *shared;
        origins.retain(|origin, entry| {
            let stays = !entry.pool.is_empty();
            if !stays && entry.roomy {
                permits.set_at(now, origin, None);
            }
            stays
        });
        let pools = shared.origins.values();
        let pools = pools.filter_map(|entry| entry.pool.next_wakeup());
        pools.chain(shared.permits.next_wakeup()).min()
    }

    /// True if the lane has not got its permit yet.
    pub(crate) fn awaits_permit(&self, asker: Asker) -> bool {
        self.lock().permits.is_waiting(asker)
    }

    /// Sessions that count against the budget, and how many it allows.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        let shared = self.lock();
        (shared.budget.held(), shared.budget.allowed())
    }

    /// Transfers that have joined and not left.
    #[cfg(test)]
    pub(crate) fn members(&self) -> usize {
        self.lock().drivers.len()
    }

    fn lock(&self) -> Locked<'_, S> {
        // Each step leaves pool and map whole, so a panic elsewhere spoils nothing.
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        Locked {
            shared: Some(shared),
            sessions: self,
        }
    }
}

/// The lock. Who listens is told of changes of the budget when it is let go, and may ask for anything then.
struct Locked<'a, S> {
    shared: Option<MutexGuard<'a, Shared<S>>>,
    sessions: &'a Sessions<S>,
}

impl<S> Deref for Locked<'_, S> {
    type Target = Shared<S>;

    fn deref(&self) -> &Shared<S> {
        self.shared.as_ref().expect("it is held until the drop")
    }
}

impl<S> DerefMut for Locked<'_, S> {
    fn deref_mut(&mut self) -> &mut Shared<S> {
        self.shared.as_mut().expect("it is held until the drop")
    }
}

impl<S> Drop for Locked<'_, S> {
    fn drop(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let Sessions { gauge, scope, .. } = self.sessions;
        gauge.show(self.budget.allowed(), self.budget.held());
        self.shared = None;
        let Some(scope) = scope else { return };
        for (allowed, why) in changes {
            scope.publish(0, Duration::ZERO, || What::BudgetChanged {
                allowed,
                configured: gauge.configured,
                why: why.map(|why| why.to_string()),
            });
        }
    }
}

#[cfg(test)]
mod tests;
