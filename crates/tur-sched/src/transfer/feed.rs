//! Who fetches what next.

use tur_core::{Ask, ByteRange, Origin, Timestamp};

use super::{After, Phase, Ranges, Transfer};
use crate::coordinator::plan;
use crate::crew::{Fetch, Lane, State};
use crate::{Action, FetchOrder, LaneId, LeaseId};

/// With less than this to come, in bytes, nobody who seeks waits for long: no connection is made for that.
const SPARE_MIN: u64 = 1 << 20;
/// What is asked for outside of a window to have what is there confirmed: no more than one lease has at least.
const CONFIRMING: u64 = 64 << 10;

impl Transfer {
    /// Completes the transfer, or gives free lanes work while there is any.
    pub(super) fn feed(&mut self, now: Timestamp) {
        self.fed_at = now;
        self.finish_drain();
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        if self.ends_before_span() {
            return;
        }
        if self.ledger.is_complete() {
            let total = self.ledger.total().unwrap_or(self.ledger.extent().end);
            self.phase = Phase::Complete;
            self.actions.push_back(Action::Complete { total });
            return;
        }
        self.crew.width = if self.divides() { self.allowed } else { 1 };
        if self.has_spare() {
            self.crew.width = self.crew.width.min(self.config.lanes_max - 1);
        }
        self.withdraw();
        self.prefer_warm(now);
        self.absorb();
        self.divide(now);
        while let Some(lane) = self.next_lane(now) {
            if self
                .crew
                .get(lane)
                .is_some_and(|lane| lane.session.as_ref() == Some(&self.route.target().origin))
            {
                if !self.start(now, lane) {
                    return;
                }
            } else {
                self.want(now, lane);
            }
        }
        if !self.cutting {
            self.keep_spare(now);
            self.release_idle();
        }
    }

    /// The lane that should get work now, if there is work that it may do.
    fn next_lane(&mut self, now: Timestamp) -> Option<LaneId> {
        self.openings = self.count_openings(now);
        if self.cutting || !self.has_room() {
            return None;
        }
        let origin = self.route.target().origin.clone();
        self.crew.pick(now, &origin, self.places())
    }

    /// True if there is work, and a lane may do it as soon as one is ready.
    pub(super) fn has_room(&self) -> bool {
        let waits = self.is_solo() && self.crew.trying() > 0;
        self.crew.working() < self.places()
            && self.pieces().saturating_add(self.openings) > self.crew.wanting()
            && !waits
    }

    /// Lanes that may work now. What a reader waits for and nobody fetches is worth one more than there are, up to the
    /// ceiling: those who work go on with what they have, and get nothing new before there are few enough again.
    pub(super) fn places(&self) -> usize {
        let cap = usize::from(self.crew.cap());
        if !self.has_spare() || !self.is_wanted_at_once() {
            return cap;
        }
        let most = usize::from(self.config.lanes_max.min(self.crew.limit));
        (self.crew.working() + 1).clamp(cap, most.max(cap))
    }

    /// True if a lane of the ceiling is left to readers.
    pub(super) fn has_spare(&self) -> bool {
        self.config.spare && self.config.lanes_max > 1 && self.divides()
    }

    /// True if a reader waits for bytes that nobody fetches.
    fn is_wanted_at_once(&self) -> bool {
        if self.demands.is_idle() {
            return false;
        }
        let holes = self.demands.allowed(self.ledger.holes());
        self.demands.urgent(&holes).next().is_some()
    }

    /// Sees to a session for the spare lane: while others receive, so that connecting hinders nobody and a refusal is not the
    /// last word.
    fn keep_spare(&mut self, now: Timestamp) {
        let left = self.ledger.extent().len() - self.ledger.landed().len();
        let is_needed = self.has_spare()
            && left > SPARE_MIN
            && !self.is_solo()
            && self.crew.streaming() > 0
            && self.crew.wanting() == 0
            && now >= self.spare_after
            // There may be lanes from before the ceiling came down.
            && self.crew.active() < usize::from(self.config.lanes_max)
            && !self.has_warm();
        if !is_needed {
            return;
        }
        let origin = self.route.target().origin.clone();
        if let Some(lane) = self
            .crew
            .pick(now, &origin, usize::from(self.config.lanes_max))
        {
            self.want(now, lane);
        }
    }

    /// True if a free lane has a session that can be used.
    pub(super) fn has_warm(&self) -> bool {
        let origin = &self.route.target().origin;
        let is_warm = |lane: &Lane| {
            matches!(lane.state, State::Free) && lane.session.as_ref() == Some(origin)
        };
        self.crew.iter().any(|(_, lane)| is_warm(lane))
    }

    /// True while all that the window allows is there: nothing is to be done before it moves.
    #[must_use]
    pub fn rests(&self) -> bool {
        matches!(self.phase, Phase::Running) && !self.unconfirmed && self.window_is_there()
    }

    fn window_is_there(&self) -> bool {
        self.demands.is_windowed()
            && !self.is_proving()
            && self.ledger.leases().next().is_none()
            && self.demands.allowed(self.ledger.holes()).is_empty()
    }

    /// What is asked for although the window does not have it: nobody reads what an earlier run left before an answer has
    /// confirmed it, and where all of the window is there nothing else would be asked for.
    fn confirming(&self) -> Option<ByteRange> {
        let is_due = self.unconfirmed && self.window_is_there();
        let hole = self.ledger.holes().iter().next().filter(|_| is_due)?;
        let end = hole.end.min(hole.start.saturating_add(CONFIRMING));
        Some(ByteRange::new(hole.start, end))
    }

    /// True while one lane tries for all: nothing is known yet, an expired URL is asked again, or the last attempts
    /// brought nothing.
    pub(super) fn is_solo(&self) -> bool {
        self.identity.is_none()
            || self.route.is_resolving()
            || self.pace.failures() > 0
            || self.pace.away().is_some()
    }

    /// How many leases the holes are good for.
    pub(super) fn pieces(&self) -> usize {
        if self.is_proving() {
            return usize::from(self.next_sample().is_some());
        }
        if self.confirming().is_some() {
            return 1;
        }
        let holes = self.demands.allowed(self.ledger.holes());
        let most = self.demands.lease_max(self.crew.width);
        let leases = holes.iter().map(|hole| {
            let planned = self.geometry.map_or(1, |plan| plan.leases_of(hole.len()));
            planned.max(hole.len().div_ceil(most))
        });
        usize::try_from(leases.fold(0, u64::saturating_add)).unwrap_or(usize::MAX)
    }

    /// True if a lane may ask for more of its lease on the session it has.
    pub(super) fn may_go_on(&self, id: LaneId) -> bool {
        let session = self.crew.get(id).and_then(|lane| lane.session.as_ref());
        session == Some(&self.route.target().origin) && self.may_ask_from_the_middle()
    }

    /// Takes back wishes for another origin. While nothing flows and one lane tries for all, takes back those that stand
    /// in its way: all if a free lane has a session already, else all but one.
    fn withdraw(&mut self) {
        let origin = self.route.target().origin.clone();
        let solo = self.is_solo() && self.crew.streaming() == 0;
        let has_warm = |lane: &Lane| {
            matches!(lane.state, State::Free) && lane.session.as_ref() == Some(&origin)
        };
        let mut tried_for = solo && self.crew.iter().any(|(_, lane)| has_warm(lane));
        let mut idle = alloc::vec::Vec::new();
        for (id, lane) in self.crew.iter() {
            if let State::Wanting(wanted) = &lane.state {
                if *wanted != origin || tried_for {
                    idle.push(id);
                } else {
                    tried_for = solo;
                }
            }
        }
        for id in idle {
            self.release(id);
        }
    }

    /// Takes back wishes whose work a lane that has a session can do now. There may be no session to come: then lanes
    /// that have one would wait for ever for those that have none.
    fn prefer_warm(&mut self, now: Timestamp) {
        let origin = &self.route.target().origin;
        let warm = self.crew.iter().filter(|(_, lane)| {
            let free = matches!(lane.state, State::Free) && lane.hold <= now;
            free && lane.session.as_ref() == Some(origin)
        });
        let warm = warm.count();
        if warm == 0 {
            return;
        }
        let work = self.pieces().saturating_add(self.count_openings(now));
        let busy = self.crew.working() - self.crew.wanting();
        let mut room = work.min(usize::from(self.crew.cap()).saturating_sub(busy));
        if self.is_solo() {
            // One lane tries for all, and this one can at once.
            let trying = self.crew.trying() - self.crew.wanting();
            room = room.min(1_usize.saturating_sub(trying));
        }
        let needless = (self.crew.wanting() + warm).saturating_sub(room);
        let wanting = self
            .crew
            .iter()
            .filter(|(_, lane)| matches!(lane.state, State::Wanting(_)));
        // Those that came last are served last.
        let ids: alloc::vec::Vec<_> = wanting.map(|(id, _)| id).collect();
        for id in ids.into_iter().rev().take(needless) {
            self.release(id);
        }
    }

    fn want(&mut self, now: Timestamp, id: LaneId) {
        self.release(id);
        let origin = self.route.target().origin.clone();
        if let Some(lane) = self.crew.get_mut(id) {
            lane.state = State::Wanting(origin.clone());
            lane.started = now;
        }
        self.actions.push_back(Action::Want { lane: id, origin });
    }

    /// Grants the next hole, or a piece of it, to a lane with a session, and asks for it; where there is none, begins to
    /// take from another lane. False if nothing more can be given out now.
    fn start(&mut self, now: Timestamp, lane: LaneId) -> bool {
        let sample = self.next_sample();
        if self.is_proving() && sample.is_none() {
            // The last sample is on its way.
            return false;
        }
        let anywhere = self.may_ask_from_the_middle();
        let hole = match anywhere {
            _ if sample.is_some() => sample,
            true => {
                let hole = self.demands.next_hole(self.ledger.holes());
                hole.or_else(|| self.confirming())
            }
            // Bytes come from the front, whatever a reader waits for.
            false => self.ledger.holes().iter().next(),
        };
        let Some(hole) = hole else {
            self.steal(now, lane);
            return false;
        };
        if hole.start > self.front() && !anywhere {
            self.drain(After::Adopt, None);
            self.feed(now);
            return false;
        }
        let mut len = hole.len();
        if let Some(geometry) = &mut self.geometry
            && geometry.leases_of(len) > 1
        {
            len = geometry.next_len();
            geometry.take();
        }
        // The whole can only be taken in one go. The first request of all tells whether it must be.
        if sample.is_none() && (anywhere || self.identity.is_none()) {
            len = len.min(self.demands.lease_max(self.crew.width));
        }
        let range = ByteRange::new(hole.start, hole.start.saturating_add(len));
        let lease = self.ledger.grant(lane, range);
        self.ask(now, lane, lease);
        true
    }

    pub(super) fn may_ask_from_the_middle(&self) -> bool {
        self.ranges != Ranges::Absent && self.is_recognisable()
    }

    /// True if an answer could be told to be of another representation.
    pub(super) fn is_recognisable(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| {
            identity.total.is_some() || identity.etag.is_some() || identity.last_modified.is_some()
        })
    }

    /// Sends the next request of a lease.
    pub(super) fn ask(&mut self, now: Timestamp, id: LaneId, lease_id: LeaseId) {
        let Some(lease) = self.ledger.lease(lease_id).copied() else {
            return;
        };
        let rest = lease.rest;
        let ask = if let Some(first) = self.config.first_ask {
            Ask::Range(first)
        } else if self.ranges == Ranges::Absent {
            Ask::Whole
        } else if rest.is_open() || self.crew.width == 1 || self.route.was_resolved() {
            Ask::Range(rest)
        } else {
            let rate = self.crew.get(id).and_then(|lane| lane.rate);
            Ask::Range(ByteRange::new(
                rest.start,
                rest.start + plan::request_len(rest.len(), rate, self.rtt),
            ))
        };
        let if_range = !self.if_range_off
            && ask != Ask::Whole
            && self
                .identity
                .as_ref()
                .is_some_and(|identity| identity.if_range().is_some());
        self.ledger.asked(lease_id, ask.range().end);
        let Some(lane) = self.crew.get_mut(id) else {
            return;
        };
        lane.started = now;
        lane.state = State::Busy(Fetch {
            lease: lease_id,
            start: rest.start,
            asked_at: now,
            stream: None,
            abort: None,
            generation: self.generation,
        });
        self.actions.push_back(Action::Fetch(FetchOrder {
            lane: id,
            lease: lease_id,
            grant: rest,
            target: self.route.target().clone(),
            ask,
            if_range,
            no_cache: self.no_cache,
            compare: self.is_proving(),
        }));
    }

    /// When the origin allows no lane for a hole, a body that runs on into it takes it over.
    fn absorb(&mut self) {
        let free = self.crew.working() < usize::from(self.crew.cap());
        if self.crew.limit >= self.crew.width || free || self.is_proving() {
            return;
        }
        // A reader waits for it: it was cut off to be fetched at once, and is not to be put back.
        let allowed = self.demands.allowed(self.ledger.holes());
        if self.demands.urgent(&allowed).next().is_some() {
            return;
        }
        let running = self
            .crew
            .iter()
            .filter(|(_, lane)| lane.is_streaming())
            .filter_map(|(_, lane)| {
                let fetch = lane.fetch()?;
                Some((fetch.lease, fetch.stream?.end))
            });
        let next = running.into_iter().find_map(|(id, body_end)| {
            let end = self.ledger.lease(id)?.rest.end;
            let hole = self.ledger.holes().range_at(end)?;
            (hole.start == end && hole.end <= body_end).then_some(id)
        });
        if let Some(id) = next {
            self.extend(id);
        }
    }

    /// A lease takes the hole that follows it; its body brings that too.
    pub(super) fn extend(&mut self, id: LeaseId) {
        if let Some(end) = self.ledger.extend(id) {
            self.ledger.asked(id, end);
            self.actions.push_back(Action::Extend { lease: id, end });
        }
    }

    /// Lanes without work give their sessions back, and so do those that the origin does not allow any more. Sessions to
    /// another origin than the file is asked for at are given back in any case: where sessions are short, whoever keeps
    /// one that is of no use may wait for ever for another.
    fn release_idle(&mut self) {
        if self.pieces() + self.openings == 0 || self.crew.working() >= self.places() {
            self.release_free();
        } else {
            let home = self.route.target().origin.clone();
            self.release_free_if(|origin| *origin != home);
        }
    }

    /// Free lanes give their sessions back, but for the one that is left to readers.
    pub(super) fn release_free(&mut self) {
        let home = &self.route.target().origin;
        let stays =
            |lane: &&Lane| matches!(lane.state, State::Free) && lane.session.as_ref() == Some(home);
        let runs = matches!(self.phase, Phase::Running) && self.has_spare();
        let spare = self.crew.iter().find(|(_, lane)| runs && stays(lane));
        let spare = spare.map(|(id, _)| id);
        let free = self.crew.iter().filter(|(id, lane)| {
            Some(*id) != spare && matches!(lane.state, State::Free) && lane.session.is_some()
        });
        for id in free.map(|(id, _)| id).collect::<alloc::vec::Vec<_>>() {
            self.release(id);
        }
    }

    fn release_free_if(&mut self, is_due: impl Fn(&Origin) -> bool) {
        let free = self.crew.iter().filter(|(_, lane)| {
            matches!(lane.state, State::Free) && lane.session.as_ref().is_some_and(&is_due)
        });
        for id in free.map(|(id, _)| id).collect::<alloc::vec::Vec<_>>() {
            self.release(id);
        }
    }
}
