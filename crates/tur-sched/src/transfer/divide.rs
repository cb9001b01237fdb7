//! How work moves between lanes: the first division, stealing, demands, and lanes that are too many or too slow.

use core::time::Duration;

use tur_core::{Rate, Timestamp};

use super::{Phase, Ranges, Transfer};
use crate::coordinator::plan::{ALIGN, Geometry};
use crate::coordinator::split::{self, Candidate, Split, Thief};
use crate::crew::{Abort, Lane, State, fade};
use crate::ledger::Lease;
use crate::{Action, Decision, LaneId, LeaseId};

/// No new request is reckoned cheaper than this: what the engine itself takes for one.
const COST_MIN: Duration = Duration::from_millis(10);
/// A lane that found nothing worth taking looks again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A lane this many times slower than a typical one is closed, and another connection tried in its place.
const STRAGGLER: u64 = 4;
/// A request is too young to be judged for this long, or so many times what it costs.
const YOUNG: Duration = Duration::from_millis(500);
const YOUNG_COSTS: u32 = 4;
/// A lane is not called slow before it has had this long, or so many round trips, to get going.
const STRAGGLER_TIME: Duration = Duration::from_secs(1);
const STRAGGLER_TRIPS: u32 = 20;
/// A rate limit is felt for this long.
const HELD: Duration = Duration::from_secs(1);
/// A lane that serves a reader brings it so many bytes before another reader takes it, or brings the rest if no more are left:
/// what a reader of `tur-stream` asks for at least.
const TURN: u64 = 256 * 1024;
/// Unless it is silent for so long.
const TURN_SILENCE: Duration = Duration::from_secs(2);
/// A spare lane that waits for a connection hinders nobody after this.
const SPARE_WAIT: Duration = Duration::from_secs(1);
/// First bytes of a new connection: ten segments (RFC 6928), doubled each round trip.
const INITIAL_WINDOW: u64 = 14_600;

impl Transfer {
    /// True if more than one lane can be of use.
    pub(super) fn divides(&self) -> bool {
        let coded = self.identity.as_ref().is_some_and(|i| i.encoding.is_some());
        let divisible = self.ranges == Ranges::Proven && self.ledger.total().is_some();
        divisible && !coded && !self.sealed && !self.is_proving()
    }

    /// So many lanes would find work now, if they were allowed: at most the ceiling, and none once it is over.
    #[must_use]
    pub fn lanes_useful(&self, now: Timestamp) -> u16 {
        if !matches!(self.phase, Phase::Running | Phase::Draining(_)) {
            return 0;
        }
        if !self.divides() {
            return 1;
        }
        let leases = self.ledger.leases().count();
        if self.held_at.is_some_and(|at| now.since(at) < HELD) {
            // The limit is what is slow: another lane would only share it.
            let lanes = u16::try_from(leases).unwrap_or(u16::MAX);
            return lanes.clamp(1, self.config.lanes_max);
        }
        let more = self.pieces().saturating_add(self.count_openings(now));
        let useful = u16::try_from(leases.saturating_add(more)).unwrap_or(u16::MAX);
        useful.clamp(1, self.config.lanes_max)
    }

    /// The ceiling of lanes from now on.
    pub(super) fn set_ceiling(&mut self, now: Timestamp, lanes: u16) {
        let most = if self.config.given_away { 1 } else { lanes };
        self.config.lanes_max = most.max(1);
        self.set_width(now, self.allowed);
        // Fewer may be allowed already, and one that serves a reader work beside them.
        self.stop_down_to(now, usize::from(self.config.lanes_max));
    }

    /// So many lanes may work from now on. Those that are too many stop at once; what they had left is a hole.
    pub(super) fn set_width(&mut self, now: Timestamp, lanes: u16) {
        let lanes = lanes.clamp(1, self.config.lanes_max);
        // Whoever says how many has heard of every refusal.
        self.crew.limit = self.config.lanes_max;
        if lanes == self.allowed {
            return;
        }
        self.allowed = lanes;
        self.note(Decision::Width { lanes });
        // A lane that serves a reader is beside them.
        let most =
            usize::from(lanes) + usize::from(self.has_spare() && lanes < self.config.lanes_max);
        self.stop_down_to(now, most);
    }

    /// Stops the weakest until so many work at most.
    fn stop_down_to(&mut self, now: Timestamp, most: usize) {
        for _ in most..self.crew.active() {
            let Some(id) = self.crew.weakest(now) else {
                return;
            };
            match self.crew.get(id).and_then(Lane::fetch).map(|f| f.lease) {
                Some(lease) => self.stop(lease),
                None => self.release(id),
            }
        }
    }

    /// Divides the work for the first time, or makes room for what a reader waits for.
    pub(super) fn divide(&mut self, now: Timestamp) {
        if !self.divides() || self.cutting {
            return;
        }
        if self.geometry.is_none() && self.crew.width > 1 {
            self.plan(now);
        }
        // One cut at a time: the answer to it comes back here.
        if !self.cutting {
            self.heed(now);
        }
    }

    /// The first division: the lane that runs keeps the first piece of what is left, the others get the rest.
    fn plan(&mut self, now: Timestamp) {
        let Some((id, lease)) = self.ledger.leases().next().map(|(id, l)| (id, *l)) else {
            return;
        };
        let lane = self.crew.get(lease.lane);
        if lane.is_some_and(|lane| !lane.is_active()) {
            // It is being stopped: what it has left is a hole in this turn, and divided then.
            return;
        }
        let rest = lease.rest.len().saturating_add(self.ledger.holes().len());
        let forced = self.config.lanes_start.is_some();
        let by_size = rest / self.config.piece_min.unwrap_or(ALIGN).max(1);
        let most = if forced {
            u16::try_from(by_size).unwrap_or(u16::MAX)
        } else {
            self.lanes_useful(now)
        };
        let lanes = self.crew.width.min(most);
        if lanes <= 1 {
            // Asked again with the next event: a lane that slows down changes the answer.
            return;
        }
        let mut geometry = Geometry::new(self.config.schedule, rest, lanes, self.config.hint.ratio);
        let piece = geometry.next_len();
        geometry.take();
        self.geometry = Some(geometry);
        self.note(Decision::Planned { lanes, piece });
        let at = lease.rest.start.saturating_add(piece);
        if let Some(at) = at.checked_next_multiple_of(ALIGN)
            && at < lease.rest.end
        {
            self.cut(id, at);
        }
    }

    /// How many lanes would find something to take from others.
    pub(super) fn count_openings(&self, now: Timestamp) -> usize {
        if !self.divides() || self.demands.is_windowed() {
            return 0;
        }
        let thief = self.thief(now, None);
        let forced = self.config.lanes_start.is_some();
        let openings = self
            .candidates(now)
            .filter(|candidate| forced || candidate.rate.is_some())
            .map(|candidate| split::openings(&candidate, &thief));
        usize::try_from(openings.fold(0, u64::saturating_add)).unwrap_or(usize::MAX)
    }

    /// Takes work from another lane for `id`, which has a session and nothing to do.
    pub(super) fn steal(&mut self, now: Timestamp, id: LaneId) {
        let thief = self.thief(now, self.crew.get(id));
        let found = split::steal(self.candidates(now), thief);
        let Some((split, lease)) =
            found.and_then(|split| Some((split, *self.ledger.lease(split.lease)?)))
        else {
            if let Some(lane) = self.crew.get_mut(id) {
                lane.hold = now + LOOK_AGAIN;
            }
            return;
        };
        let Split { lease: victim, at } = split;
        if at <= lease.rest.start {
            // Where every body is silent at first for longer than a lane is given, lanes would take from each other for ever.
            if self.fruitless < 2 * u32::from(self.crew.width) {
                self.fruitless += 1;
                self.revoke(victim, lease.lane);
            } else if let Some(lane) = self.crew.get_mut(id) {
                lane.hold = now + LOOK_AGAIN;
            }
            return;
        }
        self.note(Decision::Stole {
            from: lease.lane,
            at,
            len: lease.rest.end - at,
        });
        self.cut(victim, at);
    }

    /// Closes a lane that is far slower than the others, so that another connection is tried.
    pub(super) fn revoke_straggler(&mut self, now: Timestamp, id: LaneId) {
        let bound = 2 * u32::from(self.crew.width);
        if self.crew.working() < 2 || self.revoked >= bound || !self.divides() {
            return;
        }
        let Some(typical) = self.crew.typical_rate(now) else {
            return;
        };
        let Some(lane) = self.crew.get(id) else {
            return;
        };
        let (Some(rate), Some(fetch)) = (lane.rate_at(now), lane.fetch()) else {
            return;
        };
        let young = now.since(fetch.asked_at)
            < STRAGGLER_TIME.max(STRAGGLER_TRIPS * (self.rtt + self.handshake));
        let slow = rate.bytes_per_second().saturating_mul(STRAGGLER) < typical.bytes_per_second();
        let lease = fetch.lease;
        let rest = self.ledger.lease(lease).map_or(0, |l| l.rest.len());
        let cost = self.cost(Some(typical), true);
        if slow && !young && fetch.abort.is_none() && rate.time_for(rest) > 3 * cost {
            self.revoked += 1;
            self.revoke(lease, id);
        }
    }

    /// What a lane has left is given to others, and its connection closed.
    fn revoke(&mut self, lease: LeaseId, lane: LaneId) {
        let len = self.ledger.lease(lease).map_or(0, |l| l.rest.len());
        self.note(Decision::Revoked { lane, len });
        self.stop(lease);
    }

    /// Ends the fetch of a lease, blaming nobody.
    pub(super) fn stop(&mut self, lease: LeaseId) {
        if let Some((_, fetch)) = self.fetch_of(lease)
            && fetch.abort.is_none()
        {
            fetch.abort = Some(Abort::Quiet);
            self.actions.push_back(Action::Abort { lease });
        }
    }

    fn cut(&mut self, lease: LeaseId, at: u64) {
        self.cutting = true;
        self.actions.push_back(Action::Cut { lease, at });
    }

    pub(super) fn cut_at(&mut self, lease: LeaseId, at: u64) {
        self.cutting = false;
        let before = self.ledger.lease(lease).map(|lease| lease.rest.end);
        self.ledger.shrink(lease, at);
        let after = self.ledger.lease(lease).map(|lease| lease.rest.end);
        if before == after
            && let Some((_, fetch)) = self.fetch_of(lease)
            && let Some(stream) = &mut fetch.stream
        {
            stream.spent = true;
        }
    }

    /// Leases that something may be taken from.
    fn candidates(&self, now: Timestamp) -> impl Iterator<Item = Candidate> + '_ {
        let typical = self.typical(now);
        let patience = YOUNG.max(YOUNG_COSTS * self.cost(typical, true));
        self.ledger.leases().filter_map(move |(id, lease)| {
            let lane = self.crew.get(lease.lane)?;
            let fetch = lane.fetch()?;
            let spent = fetch.stream.is_some_and(|stream| stream.spent);
            let age = now.since(fetch.asked_at);
            let rate = if fetch.stream.is_some_and(|stream| stream.flows) {
                lane.rate_at(now).or(typical)
            } else {
                // Nothing has come yet: like others, and less the longer it takes. Where nothing tells, nothing is it.
                let rate = lane.rate.max(typical).map(|rate| fade(rate, patience, age));
                rate.or_else(|| (age >= patience).then_some(Rate::default()))
            };
            (fetch.abort.is_none() && !spent).then_some(Candidate {
                lease: id,
                rest: lease.rest,
                asked: lease.asked,
                rate,
                young: age < patience,
                closes: !self.streams,
            })
        })
    }

    /// What a lane brings as a rule; what one brought on an earlier visit, before anything is measured.
    fn typical(&self, now: Timestamp) -> Option<Rate> {
        self.crew.typical_rate(now).or(self.config.hint.lane_rate)
    }

    /// A lane that could take something: this one, or any new one.
    fn thief(&self, now: Timestamp, lane: Option<&Lane>) -> Thief {
        let typical = self.typical(now);
        let warm = lane.filter(|lane| lane.session.is_some() && lane.used);
        let rate = warm.and_then(|lane| lane.rate).or(typical);
        Thief {
            rate,
            cost: self.cost(rate, warm.is_none()),
            piece_min: self.config.piece_min.unwrap_or(0),
        }
    }

    /// Time before a lane is at `rate`: a round trip, and for a new connection its set-up and slow start.
    fn cost(&self, rate: Option<Rate>, new: bool) -> Duration {
        let mut cost = self.rtt;
        if new {
            let window = rate.map_or(0, |rate| rate.bytes_in(self.rtt));
            let doublings = (window / INITIAL_WINDOW).checked_ilog2().unwrap_or(0);
            cost += self.handshake + doublings * self.rtt;
        }
        cost.max(COST_MIN)
    }

    /// Sees that what readers wait for is fetched next, the newest demand first: cuts the lease in whose middle it lies, and
    /// takes a lane for it if all are busy elsewhere.
    fn heed(&mut self, now: Timestamp) {
        self.turn_over = None;
        self.demands.served(self.ledger.landed());
        if self.demands.is_idle() {
            return;
        }
        let missing = self.ledger.landed().gaps(self.ledger.extent());
        // What lies outside the window waits for the window.
        let missing = self.demands.allowed(&missing);
        let firsts: alloc::vec::Vec<_> = self.demands.urgent(&missing).collect();
        for (rank, at) in firsts {
            let owner = self
                .ledger
                .leases()
                .find(|(_, lease)| lease.rest.contains(at))
                .map(|(id, lease)| (id, *lease));
            let Some((id, lease)) = owner else {
                let waits = self.crew.trying() > 0 && !self.waits_for_a_spare_alone(now);
                if self.crew.working() < self.places() || waits {
                    return;
                }
                match self.sparable(now, rank) {
                    Some(lease) => return self.stop(lease),
                    None => continue,
                }
            };
            if let Some(cut) = self.cut_for(now, &lease, at) {
                return self.cut(id, cut);
            }
        }
    }

    /// Where a lease is cut, so that another lane fetches the byte at `at` sooner than its own gets there; `None` if that is
    /// soon enough.
    fn cut_for(&self, now: Timestamp, lease: &Lease, at: u64) -> Option<u64> {
        let lane = self.crew.get(lease.lane);
        let fetch = lane.and_then(Lane::fetch);
        if fetch.is_some_and(|fetch| fetch.abort.is_some()) {
            // It is being stopped: in the same turn these bytes are a hole.
            return None;
        }
        let stream = fetch.and_then(|fetch| fetch.stream);
        if stream.is_some_and(|stream| stream.spent) {
            // It has taken more than it has told of: these bytes may be there already.
            return None;
        }
        let soon = lane
            .and_then(|lane| lane.rate_at(now))
            .map_or(ALIGN, |rate| {
                rate.bytes_in(self.cost(Some(rate), !self.has_warm()))
            });
        let cut = at - at % ALIGN;
        (at - lease.rest.start > soon.max(ALIGN) && cut > lease.rest.start).then_some(cut)
    }

    /// True if nothing is tried but for a spare lane, which may wait for hours where others have all connections.
    fn waits_for_a_spare_alone(&self, now: Timestamp) -> bool {
        let wants = |lane: &Lane| matches!(lane.state, State::Wanting(_));
        let long = |lane: &Lane| wants(lane) && now >= lane.started + SPARE_WAIT;
        self.crew.trying() == 1 && self.crew.iter().any(|(_, lane)| long(lane))
    }

    /// The lease that is farthest ahead of every reader, where all lanes are busy elsewhere than where the demand of this
    /// rank is; one that serves a reader only where there is no other, and none whose reader goes before.
    fn sparable(&mut self, now: Timestamp, rank: usize) -> Option<LeaseId> {
        let mut best: Option<((bool, u64), LeaseId)> = None;
        for (id, lease) in self.ledger.leases() {
            let served = self.demands.newest_in(lease.rest);
            let turn = served.and_then(|(_, end)| self.turn_of(now, lease, end));
            let is_newer = served.is_some_and(|(other, _)| other < rank);
            match turn.filter(|until| now < *until) {
                _ if is_newer => {}
                Some(until) => {
                    let sooner = self.turn_over.map_or(until, |at| at.min(until));
                    self.turn_over = Some(sooner);
                }
                None => {
                    let worth = (served.is_none(), lease.rest.start);
                    if best.is_none_or(|(other, _)| worth > other) {
                        best = Some((worth, id));
                    }
                }
            }
        }
        best.map(|(_, id)| id)
    }

    /// Until when a lane that serves a reader keeps to it, unless more bytes come: for so much that it has brought, or has
    /// to bring. Else two readers would take one lane from each other again and again.
    fn turn_of(&self, now: Timestamp, lease: &Lease, end: u64) -> Option<Timestamp> {
        let fetch = self.crew.get(lease.lane).and_then(Lane::fetch)?;
        let brought = lease.rest.start.saturating_sub(fetch.start);
        let left = end - lease.rest.start;
        let last = match fetch.stream {
            Some(stream) if stream.held => now,
            Some(stream) => stream.last,
            None => fetch.asked_at,
        };
        (brought < TURN || left <= TURN).then_some(last + TURN_SILENCE)
    }
}
