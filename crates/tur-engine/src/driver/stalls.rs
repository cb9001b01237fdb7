//! Whether anything moves in one driver: what it sees of its lanes, five times a second, and what the watchdog says to that.
//!
//! Read [`Driver::look_for_stalls`]. It only tells: time-outs are the machine's, and a stall that outlives them is a fault of
//! this program, or of who is to take the bytes.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout_at;
use tur_core::Timestamp;
use tur_core::port::Transport;
use tur_sched::{LaneId, LeaseId, Observation, Reason, WaitsFor, Watchdog};
use tur_storage::Disk;

use super::Driver;
use super::store::Store;
use crate::board::Board;
use crate::clock::Clock;
use crate::desk::{Desk, PATIENCE};
use crate::{LaneState, What};

/// What was seen of the lanes, and the watchdog.
pub(super) struct Stalls {
    dog: Watchdog,
    hang: Duration,
    /// Something began, brought bytes or ended since the last look.
    moved: bool,
    lanes: BTreeMap<LaneId, Seen>,
}

/// A lane, as it was seen last.
#[derive(Clone, Copy)]
struct Seen {
    waits_for: WaitsFor,
    /// What it fetches, and how far it was.
    at: Option<(LeaseId, u64)>,
    /// It has been so since then.
    since: Timestamp,
}

impl Stalls {
    /// Nothing may move for `hang`.
    pub(super) fn new(hang: Duration) -> Self {
        Self {
            dog: Watchdog::new(hang),
            hang,
            moved: false,
            lanes: BTreeMap::new(),
        }
    }

    /// Something began, brought bytes or ended.
    pub(super) fn moved(&mut self) {
        self.moved = true;
    }

    /// The lane that has waited longest, and what for.
    fn longest(&self) -> Option<(LaneId, WaitsFor)> {
        let (lane, seen) = self.lanes.iter().min_by_key(|(_, seen)| seen.since)?;
        Some((*lane, seen.waits_for))
    }
}

/// Who says that the disk takes long.
pub(super) struct OnDisk {
    pub(super) board: Board,
    pub(super) clock: Clock,
    pub(super) began: Timestamp,
    pub(super) hang: Duration,
    pub(super) desk: Desk,
}

impl OnDisk {
    /// Waits for what other threads do with the disk. If that takes for `hang` it is told, and at each doubling.
    pub(super) async fn wait<R>(self, work: impl Future<Output = R>) -> R {
        let mut work = pin!(work);
        let since = self.clock.now();
        let soon = self.clock.instant(since + PATIENCE);
        if let Ok(done) = timeout_at(soon, &mut work).await {
            return done;
        }
        self.desk.hurry();
        let mut lasted = self.hang.max(PATIENCE);
        loop {
            let at = self.clock.instant(since + lasted);
            if let Ok(done) = timeout_at(at, &mut work).await {
                return done;
            }
            tracing::warn!(id = self.board.id(), ?lasted, "the disk does not answer");
            let what = What::Stalled {
                lane: None,
                waits_for: Some(WaitsFor::Disk),
                lasted,
            };
            self.board.tell(self.clock.now().since(self.began), what);
            lasted = lasted.saturating_mul(2);
        }
    }
}

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    /// For a wait in which the driver looks at nothing else.
    pub(super) fn on_disk(&self) -> OnDisk {
        OnDisk {
            board: self.board.clone(),
            clock: self.world.clock,
            began: self.began,
            hang: self.stalls.hang,
            desk: self.world.desk.clone(),
        }
    }

    /// Looks at all lanes, and tells it if nothing has moved for too long.
    pub(super) fn look_for_stalls(&mut self, now: Timestamp) {
        if self.paused || self.transfer.rests() || self.waits_for_readers() {
            self.stalls = Stalls::new(self.stalls.hang);
            return;
        }
        let seen = self.observe(now);
        self.stalls.dog.observe(now, seen);
        let Some(stall) = self.stalls.dog.poll_stall() else {
            return;
        };
        let waits_for = match self.stalls.longest() {
            Some((lane, WaitsFor::Session)) if self.awaits_permit(lane) => Some(WaitsFor::Permit),
            _ => stall.seen.waits_for,
        };
        tracing::warn!(id = self.id, lasted = ?stall.lasted, ?waits_for, "nothing moves");
        self.tell(What::Stalled {
            lane: None,
            waits_for,
            lasted: stall.lasted,
        });
    }

    /// Says that a lane has been silent for too long.
    pub(super) fn tell_silent(&self, lane: LaneId) {
        let seen = self.stalls.lanes.get(&lane);
        self.tell(What::Stalled {
            lane: Some(lane.0),
            waits_for: Some(WaitsFor::Body),
            lasted: seen.map_or(Duration::ZERO, |seen| self.now().since(seen.since)),
        });
    }

    /// True while readers hold a lane up: that is no stall.
    fn waits_for_readers(&self) -> bool {
        let mut fetching = self.lanes.values().flat_map(|lane| &lane.fetching);
        fetching.any(|fetching| fetching.state == LaneState::Held) && self.store.waits_for_readers()
    }

    fn observe(&mut self, now: Timestamp) -> Observation {
        let (held, before) = (
            self.store.holds_for(),
            std::mem::take(&mut self.stalls.lanes),
        );
        for (id, lane) in &self.lanes {
            let Some(waits_for) = lane.waits_for(held) else {
                continue;
            };
            let fetching = lane.fetching.as_ref();
            let at = fetching.map(|fetching| (fetching.order.lease, fetching.gate.taken()));
            let same = |seen: &&Seen| (seen.waits_for, seen.at) == (waits_for, at);
            let since = before.get(id).filter(same).map_or(now, |seen| seen.since);
            let seen = Seen {
                waits_for,
                at,
                since,
            };
            self.stalls.lanes.insert(*id, seen);
        }
        let in_flight = self
            .lanes
            .values()
            .filter(|lane| lane.is_in_flight())
            .count();
        let queued = self.stalls.lanes.len().saturating_sub(in_flight);
        let longest = self.stalls.longest().map(|(_, waits_for)| waits_for);
        Observation {
            in_flight,
            // A transfer without any lane at work is not over yet: its next attempt waits for its time.
            queued: queued + usize::from(self.stalls.lanes.is_empty()),
            moved: std::mem::take(&mut self.stalls.moved),
            waits_for: longest.or_else(|| self.backs_off().then_some(WaitsFor::Backoff)),
        }
    }

    fn backs_off(&self) -> bool {
        let why = self.transfer.next_wakeup().map(|(_, why)| why);
        matches!(why, Some(Reason::Retry(_) | Reason::Resolve))
    }

    fn awaits_permit(&self, lane: LaneId) -> bool {
        self.world.sessions.awaits_permit(self.asker(lane))
    }
}
