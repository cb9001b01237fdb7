//! Deadlines: each is a reason of `next_wakeup`, judged by `tick`.

use alloc::vec::Vec;
use core::time::Duration;

use tur_core::{Fault, Kind, Timestamp, Wait};

use super::{Phase, Transfer};
use crate::crew::{Abort, Fetch, Lane};
use crate::word::sooner;
use crate::{Action, Decision, Failure, LaneId, LeaseId, Reason};

/// A body is silent for too long beside others after this, so many round trips, and so many times the longest silence
/// that any lane of the transfer has come back from.
const STALL_MIN: Duration = Duration::from_secs(2);
const STALL_TRIPS: u32 = 8;
const STALL_GAPS: u32 = 4;

impl Transfer {
    /// When the machine wants a [`Tick`](crate::Event::Tick), and why; `None` if only events can move it.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<(Timestamp, Reason)> {
        if matches!(self.phase, Phase::Complete | Phase::Failed) {
            return None;
        }
        let mut next = self.deadline_of_lanes();
        for (at, lane) in self.stalls() {
            next = sooner(next, Some((at, Reason::Stall(lane))));
        }
        next = sooner(
            next,
            self.config
                .waits
                .total
                .map(|total| (self.started + total, Reason::MaxTime)),
        );
        next = sooner(
            next,
            self.speed
                .as_ref()
                .and_then(|s| s.deadline())
                .map(|at| (at, Reason::MinSpeed)),
        );
        if matches!(self.phase, Phase::Running)
            && self.crew.wanting() > 0
            && let Some((lane, hold)) = self.crew.next_warm(&self.route.target().origin)
            && hold > self.fed_at
        {
            // There may be no session to come for those that wait: this one has one.
            next = sooner(next, Some((hold, Reason::Retry(lane))));
        }
        if matches!(self.phase, Phase::Running)
            && let Some(at) = self.turn_over.filter(|at| *at > self.fed_at)
        {
            next = sooner(next, Some((at, Reason::Turn)));
        }
        if matches!(self.phase, Phase::Running)
            && self.has_room()
            && let Some((lane, hold)) = self.crew.next_hold()
        {
            let why = if self.route.is_resolving() {
                Reason::Resolve
            } else {
                Reason::Retry(lane)
            };
            next = sooner(next, Some((hold, why)));
        }
        next
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        if self
            .config
            .waits
            .total
            .is_some_and(|total| now >= self.started + total)
        {
            let limit = self.config.waits.total.unwrap_or_default().as_secs_f32();
            return self.too_slow(alloc::format!("not complete after {limit} s"));
        }
        if self.speed.as_mut().is_some_and(|speed| !speed.judge(now)) {
            return self.too_slow("below the minimum speed for too long".into());
        }
        self.expire_lanes(now);
        self.close_stalled(now);
    }

    fn too_slow(&mut self, message: alloc::string::String) {
        let keep = self.can_keep();
        self.fail(Failure {
            kind: Kind::Network,
            message,
            keep,
            retry_after: None,
            challenge: None,
        });
    }

    /// Ends the fetches that are silent while others are not, or while a free lane could do the work. Without either,
    /// the network as a whole may be silent: then only the read time-out speaks.
    fn close_stalled(&mut self, now: Timestamp) {
        let due: Vec<_> = self.stalls().filter(|(at, _)| now >= *at).collect();
        for (_, id) in due {
            if let Some(lease) = self.crew.get(id).and_then(Lane::fetch).map(|f| f.lease) {
                self.note_stall(id, lease);
                self.stop(lease);
            }
        }
    }

    /// When each lane that could be replaced is to be taken for stalled.
    fn stalls(&self) -> impl Iterator<Item = (Timestamp, LaneId)> + '_ {
        let patience = STALL_MIN
            .max(STALL_TRIPS * self.rtt)
            .max(STALL_GAPS * self.crew.longest_gap());
        let spare = self.crew.working() < usize::from(self.crew.cap());
        let heard = self.crew.iter().filter_map(|(_, lane)| {
            let stream = lane.fetch()?.stream?;
            stream.flows.then_some(stream.last)
        });
        let latest = heard.max().unwrap_or_default();
        let able = self.divides() && matches!(self.phase, Phase::Running);
        let lanes = self.crew.iter().filter(move |_| able);
        lanes.filter_map(move |(id, lane)| {
            let fetch = lane.fetch()?;
            let stream = fetch.stream.filter(|stream| stream.flows && !stream.held)?;
            // Bytes of others that came well after this lane's last ones show that the network is there.
            let alone = latest.since(stream.last) < patience / 2;
            (fetch.abort.is_none() && (spare || !alone)).then_some((stream.last + patience, id))
        })
    }

    fn deadline_of_lanes(&self) -> Option<(Timestamp, Reason)> {
        let busy = self
            .crew
            .iter()
            .filter_map(|(id, lane)| Some((id, lane.fetch()?)));
        busy.filter_map(|(id, fetch)| self.deadline(id, fetch))
            .fold(None, |next, one| sooner(next, Some(one)))
    }

    fn deadline(&self, id: LaneId, fetch: &Fetch) -> Option<(Timestamp, Reason)> {
        if fetch.abort.is_some() {
            return None;
        }
        Some(match &fetch.stream {
            None => (
                fetch.asked_at + self.config.waits.read,
                Reason::FirstByte(id),
            ),
            Some(stream) if stream.held => return None,
            Some(stream) => (stream.last + self.config.waits.read, Reason::Idle(id)),
        })
    }

    /// A lane begins to wait for a rate limit, or ceases to. Its silence is counted from here on.
    pub(super) fn hold(&mut self, now: Timestamp, lease: LeaseId, held: bool) {
        if let Some((_, fetch)) = self.fetch_of(lease)
            && let Some(stream) = &mut fetch.stream
        {
            stream.held = held;
            stream.last = now;
            self.held_at = Some(now);
        }
    }

    /// Ends the fetches whose deadline has passed.
    fn expire_lanes(&mut self, now: Timestamp) {
        let limit = self.config.waits.read;
        let due: Vec<_> = self
            .crew
            .iter()
            .filter_map(|(id, lane)| self.deadline(id, lane.fetch()?))
            .filter(|(at, _)| now >= *at)
            .collect();
        for (_, reason) in due {
            let (id, wait) = match reason {
                Reason::FirstByte(id) => (id, Wait::FirstByte),
                Reason::Idle(id) => (id, Wait::Body),
                _ => continue,
            };
            let Some(fetch) = self.crew.get_mut(id).and_then(|lane| lane.fetch_mut()) else {
                continue;
            };
            fetch.abort = Some(Abort::Fault(Fault::TimedOut(wait, limit)));
            let lease = fetch.lease;
            if wait == Wait::Body {
                self.note_stall(id, lease);
            }
            self.actions.push_back(Action::Abort { lease });
        }
    }

    /// Says that a lane has stalled, and remembers the byte that it owes.
    fn note_stall(&mut self, lane: LaneId, lease: LeaseId) {
        if let Some(lease) = self.ledger.lease(lease) {
            self.stalled.insert(lease.rest.start);
        }
        self.note(Decision::Stalled { lane });
    }
}
