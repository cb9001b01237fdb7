//! How many items wait and how many run, on the hub's side: told when that has changed, and watched for what never runs.
//!
//! Read [`Hub::poll_lookout`]. The permits say once that something is different from what was looked at; so looking costs
//! nothing while nothing changes, and comes five times a second at most while everything does.

use std::task::{Context, Poll};
use std::time::Duration;

use tur_core::Timestamp;
use tur_core::port::Transport;
use tur_sched::{Observation, WaitsFor, Watchdog};
use tur_storage::Disk;

use super::Hub;
use super::adapting::Alarm;
use crate::What;
use crate::permits::Depth;

/// The numbers are looked at so often at most: nobody reads faster.
const PERIOD: Duration = Duration::from_millis(200);

/// What was seen of the permits.
pub(super) struct Lookout {
    alarm: Alarm,
    dog: Watchdog,
    /// True if there is something new to see.
    changed: bool,
    looked: Timestamp,
    seen: Depth,
    /// What those who listen know; `None` while nobody does.
    told: Option<(usize, usize)>,
}

impl Lookout {
    /// Items may wait for `hang` while none runs.
    pub(super) fn new(hang: Duration) -> Self {
        Self {
            alarm: Alarm::default(),
            dog: Watchdog::new(hang),
            changed: true,
            looked: Timestamp::ZERO,
            seen: Depth::default(),
            told: Some((0, 0)),
        }
    }

    /// The numbers are others than when they were looked at last.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    fn next(&self) -> Option<Timestamp> {
        let changed = self.changed.then(|| self.looked + PERIOD);
        changed.into_iter().chain(self.dog.next_wakeup()).min()
    }
}

impl<T: Transport, D: Disk + Clone> Hub<T, D> {
    /// Looks at what waits and what runs, if it is time. True if it was.
    pub(super) fn poll_lookout(&mut self, cx: &mut Context<'_>) -> bool {
        let clock = self.ground.clock;
        let at = self.lookout.next().map(|at| (at, clock.instant(at)));
        if self.lookout.alarm.poll(cx, at) == Poll::Pending {
            return false;
        }
        self.look(clock.now());
        true
    }

    fn look(&mut self, now: Timestamp) {
        let mut depth = Depth::default();
        self.permits(|permits, _| depth = permits.watch_depth());
        let lookout = &mut self.lookout;
        let before = std::mem::replace(&mut lookout.seen, depth);
        (lookout.changed, lookout.looked) = (false, now);
        self.tell_depth(depth);
        let seen = Observation {
            // What runs is watched by its own driver.
            in_flight: 0,
            queued: depth.waiting,
            moved: depth.running > 0 || depth.started > before.started,
            waits_for: Some(WaitsFor::Permit),
        };
        self.lookout.dog.observe(now, seen);
        let Some(stall) = self.lookout.dog.poll_stall() else {
            return;
        };
        let (waiting, lasted) = (depth.waiting, stall.lasted);
        tracing::warn!(waiting, ?lasted, "items wait, and none runs");
        let told = || What::Stalled {
            lane: None,
            waits_for: stall.seen.waits_for,
            lasted,
        };
        self.ground.scope.publish(0, Duration::ZERO, told);
    }

    fn tell_depth(&mut self, depth: Depth) {
        let Depth {
            waiting, running, ..
        } = depth;
        if !self.ground.scope.is_heard() {
            self.lookout.told = None;
            return;
        }
        if self.lookout.told.replace((waiting, running)) != Some((waiting, running)) {
            let told = || What::QueueDepth { waiting, running };
            self.ground.scope.publish(0, Duration::ZERO, told);
        }
    }
}
