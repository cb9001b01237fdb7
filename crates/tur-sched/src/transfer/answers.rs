//! What an answer means to a transfer.

use alloc::string::ToString;
use core::time::Duration;

use tur_core::{ByteRange, Fault, Identity, Kind, Refusal, Target, Timestamp};

use super::{After, OnChange, Ranges, Transfer};
use crate::crew::{Fetch, State, Stream};
use crate::{Decision, Failure, LaneId, LeaseId};

/// Wrongly placed answers that are put down to one bad node before ranges are given up.
const STRIKES_MAX: u32 = 3;

/// After somebody more urgent has taken a spare session none is asked for so long: that one may well come again.
const SPARE_AGAIN: Duration = Duration::from_secs(5);

/// Requests that are made again at once and count for nothing, until a byte comes: sessions that others have left behind
/// and that are closed just then, which the first request on each finds out.
const EXCUSED_MAX: u32 = 16;

/// An admitted answer.
pub(super) struct Opening {
    pub(super) place: ByteRange,
    pub(super) identity: Identity,
    pub(super) partial: bool,
}

impl Transfer {
    pub(super) fn granted(&mut self, id: LaneId, handshake: Duration) {
        if handshake > Duration::ZERO {
            self.handshake = handshake;
            self.network_back();
        }
        if let Some(lane) = self.crew.get_mut(id)
            && let State::Wanting(origin) = &lane.state
        {
            // `feed` gives it work, or gives the session back if the work is gone. The session is to the origin it was
            // wanted for, wherever the file is asked for by now.
            lane.session = Some(origin.clone());
            lane.state = State::Free;
            lane.used = handshake.is_zero();
        }
    }

    pub(super) fn gone(&mut self, now: Timestamp, id: LaneId) {
        if let Some(lane) = self.crew.get_mut(id)
            && matches!(lane.state, State::Free)
        {
            lane.session = None;
            self.spare_after = now + SPARE_AGAIN;
        }
    }

    pub(super) fn denied(&mut self, now: Timestamp, id: LaneId, fault: Fault) {
        let Some(lane) = self.crew.get_mut(id) else {
            return;
        };
        if matches!(lane.state, State::Wanting(_)) {
            lane.state = State::Free;
            let (started, generation) = (lane.started, self.generation);
            self.fault(
                now,
                id,
                super::ends::Attempt {
                    started,
                    generation,
                    fault,
                },
            );
        }
    }

    /// The fetch that runs for a lease.
    pub(super) fn fetch_of(&mut self, lease: LeaseId) -> Option<(LaneId, &mut Fetch)> {
        let lane = self.ledger.lease(lease)?.lane;
        let fetch = self.crew.get_mut(lane)?.fetch_mut()?;
        (fetch.lease == lease).then_some((lane, fetch))
    }

    /// Ends the fetch of a lease without a body: the lease is a hole again, the lane is free.
    pub(super) fn close(&mut self, lease: LeaseId, session: bool) -> Option<(LaneId, Fetch)> {
        let (id, fetch) = self.fetch_of(lease)?;
        let fetch = fetch.clone();
        self.ledger.end(lease);
        let lane = self.crew.get_mut(id)?;
        lane.state = State::Free;
        lane.used = true;
        if !session {
            self.release(id);
        }
        Some((id, fetch))
    }

    pub(super) fn opened(&mut self, now: Timestamp, lease_id: LeaseId, opening: Opening) {
        let Opening {
            place,
            identity,
            partial,
        } = opening;
        let Some((_, fetch)) = self.fetch_of(lease_id) else {
            return;
        };
        if fetch.abort.is_some() {
            return;
        }
        assert_eq!(
            place.start, fetch.start,
            "an admitted answer begins where it was asked to"
        );
        fetch.stream = Some(Stream {
            end: place.end,
            partial,
            last: now,
            held: false,
            flows: false,
            spent: false,
        });
        let generation = fetch.generation;
        let rtt = now.since(fetch.asked_at);
        self.rtt = if self.rtt.is_zero() {
            rtt
        } else {
            self.rtt.min(rtt)
        };
        if generation == self.generation {
            self.route.opened();
        }
        if let Some(total) = identity
            .total
            .filter(|total| *total < self.ledger.total_min())
        {
            let why = alloc::format!("size at least {} -> {total}", self.ledger.total_min());
            self.changed(why);
            return;
        }
        self.unconfirmed &= self.is_proving();
        let first = self.identity.is_none();
        if let Some(total) = identity.total {
            self.ledger.set_total(total);
        }
        self.identity = Some(identity);
        self.ledger.asked(lease_id, place.end);
        self.ledger.reaches(place.end);
        if !partial {
            // While an overlap is compared, a sample from further behind will tell whether there are ranges.
            self.whole(first);
            if first && !self.is_proving() {
                self.run_on(lease_id, place.end);
            }
            return;
        }
        if self.ranges == Ranges::Absent {
            // A part in answer to a request for the whole: it is taken, and proves nothing about ranges.
            return;
        }
        self.ranges = Ranges::Proven;
        self.strikes = 0;
        self.offset_proven |= place.start > 0;
    }

    /// The whole representation is coming, from 0.
    fn whole(&mut self, first: bool) {
        if self.is_empty() {
            return;
        }
        if self.ranges != Ranges::Absent {
            self.ranges = Ranges::Ignored;
        }
        if first && self.config.lanes_max > 1 && !self.decoded {
            self.note(Decision::SingleStream {
                why: "the server does not serve ranges".to_string(),
            });
        }
    }

    /// True if the file is known to have no bytes: then no answer can tell whether there are ranges.
    pub(super) fn is_empty(&self) -> bool {
        self.ledger.total() == Some(0)
    }

    /// A lease that a window has bounded takes all that the body brings: asked for later, it would come from 0 again.
    fn run_on(&mut self, id: LeaseId, body_end: u64) {
        let behind = self.ledger.lease(id).map(|lease| lease.rest.end);
        let hole = behind.and_then(|at| self.ledger.holes().range_at(at));
        if hole.is_some_and(|hole| hole.end <= body_end) {
            self.extend(id);
        }
    }

    /// What is written is not what the origin counts: only the whole may be asked for, and nothing of it can be kept.
    pub(super) fn take_decoded(&mut self) {
        self.ranges = Ranges::Absent;
        if !core::mem::replace(&mut self.decoded, true) && self.config.lanes_max > 1 {
            self.note(Decision::SingleStream {
                why: "the file comes coded and is decoded".to_string(),
            });
        }
    }

    pub(super) fn moved(&mut self, now: Timestamp, lease: LeaseId, target: Target, session: bool) {
        let Some((id, fetch)) = self.close(lease, session) else {
            return;
        };
        if fetch.abort.is_some() || fetch.generation != self.generation {
            return;
        }
        self.generation += 1;
        if let Err(fault) = self.route.moved(target) {
            let generation = self.generation;
            self.fault(
                now,
                id,
                super::ends::Attempt {
                    started: fetch.asked_at,
                    generation,
                    fault,
                },
            );
        }
    }

    pub(super) fn refused(&mut self, now: Timestamp, lease: LeaseId, fault: Fault, session: bool) {
        let owner = self
            .ledger
            .lease(lease)
            .and_then(|lease| self.crew.get(lease.lane));
        let used = owner.is_some_and(|lane| lane.used);
        let Some((id, fetch)) = self.close(lease, session) else {
            return;
        };
        if fetch.abort.is_some() {
            return;
        }
        match &fault {
            // An idle connection that the origin had closed: nobody's failure, and the request is idempotent
            // (RFC 9112, section 9.3.1). The next connection is another one, so this ends; but others may have warmed
            // that one too.
            Fault::Lost(_) | Fault::StreamRefused(_)
                if used && !session && self.excused < EXCUSED_MAX =>
            {
                self.excused += 1;
            }
            // Totals of `*` all along, and nonsense behind what is there: only the whole can tell where it ends.
            Fault::Malformed(_) if self.is_past_a_starred_end(&fetch) => {
                self.ranges_fail(now, id, &fetch, Refusal::NoContentRange);
            }
            Fault::Challenged(_) if self.open_stream().is_some() => self.page(fault.to_string()),
            Fault::NotAdmitted(refusal) => {
                let refusal = refusal.clone();
                self.not_admitted(now, id, &fetch, refusal);
            }
            _ => self.blame(now, id, &fetch, fault),
        }
    }

    /// What was missing from the request is known now: it is asked again, and that is nobody's failure.
    pub(super) fn again(&mut self, lease: LeaseId, session: bool) {
        self.close(lease, session);
    }

    pub(super) fn blame(&mut self, now: Timestamp, id: LaneId, fetch: &Fetch, fault: Fault) {
        let attempt = super::ends::Attempt {
            started: fetch.asked_at,
            generation: fetch.generation,
            fault,
        };
        self.fault(now, id, attempt);
    }

    fn not_admitted(&mut self, now: Timestamp, id: LaneId, fetch: &Fetch, refusal: Refusal) {
        match refusal {
            Refusal::AtEnd { total }
                if fetch.start == total && total > 0 && self.may_end_at(total) =>
            {
                self.ledger.set_total(total);
            }
            // That there is nothing is believed when the whole is empty too: some origins say so of any range.
            Refusal::AtEnd { total: 0 }
                if self.identity.is_none() && self.ranges != Ranges::Absent =>
            {
                self.ranges = Ranges::Absent;
            }
            Refusal::AtEnd { total } if self.may_end_before_span(fetch.start, total) => {
                self.ledger.set_total(total);
            }
            Refusal::Changed(why) => self.changed(why),
            // RFC 9110, section 13.1.5: the whole comes if the validator does not match; an equal one means that the
            // origin does not understand If-Range in this form.
            Refusal::RangeIgnored { if_range: true } => self.if_range_off = true,
            Refusal::Page if self.open_stream().is_none() => {
                self.blame(now, id, fetch, Fault::NotAdmitted(Refusal::Page));
            }
            Refusal::Page => self.page(Refusal::Page.to_string()),
            // Nothing shows that it is the file that was kept.
            Refusal::ValidatorMissing(_) if self.is_proving() => self.changed(refusal.to_string()),
            // The user's terms: another attempt would break them too.
            Refusal::LengthUnknown
            | Refusal::TypeRefused { .. }
            | Refusal::CodingUnknown(_)
            | Refusal::NotResumable(_) => self.give_up(Fault::NotAdmitted(refusal), None),
            Refusal::ValidatorMissing(_) | Refusal::Contradiction(_) => {
                self.blame(now, id, fetch, Fault::NotAdmitted(refusal));
            }
            _ => self.ranges_fail(now, id, fetch, refusal),
        }
    }

    /// Pages come where data came before: the stream that still brings data gets all it can reach. Ranges are not to
    /// blame, so what has landed can be gone on with.
    fn page(&mut self, why: alloc::string::String) {
        if let Some(lease) = self.open_stream() {
            self.sealed = true;
            self.note(Decision::SingleStream { why });
            self.drain(After::Widen(lease), Some(lease));
        }
    }

    fn is_past_a_starred_end(&self, fetch: &Fetch) -> bool {
        self.ranges == Ranges::Proven && self.ends_at(fetch.start)
    }

    /// True if nothing speaks against the file ending at `at`: no total, and no answer that told of bytes behind it.
    pub(super) fn may_end_at(&self, at: u64) -> bool {
        self.ledger
            .total()
            .map_or(at >= self.ledger.total_min(), |total| total == at)
    }

    fn ends_at(&self, at: u64) -> bool {
        let start = self.ledger.extent().start;
        at > start
            && self.ledger.total().is_none()
            && self.may_end_at(at)
            && self.ledger.landed().covers(ByteRange::new(start, at))
    }

    /// The representation changed.
    pub(super) fn changed(&mut self, why: alloc::string::String) {
        if self.stranger {
            // Another URL may well serve another file.
            self.drain(After::Restart(why), None);
            return;
        }
        if self.config.on_change == OnChange::Fail || self.given || self.restarts > 0 {
            let again = if self.restarts > 0 {
                " again, after one restart"
            } else {
                ""
            };
            let keep = self.can_keep() && self.restarts == 0;
            let message = alloc::format!("the file changed on the server{again}: {why}");
            self.fail(Failure {
                kind: Kind::Changed,
                message,
                keep,
                retry_after: None,
                challenge: None,
            });
            return;
        }
        self.drain(After::Restart(why), None);
    }

    /// A range was not served as asked: one bad node, or an origin without ranges.
    fn ranges_fail(&mut self, now: Timestamp, id: LaneId, fetch: &Fetch, refusal: Refusal) {
        self.strikes += 1;
        let tolerated =
            self.offset_proven && self.strikes < STRIKES_MAX && self.open_stream().is_none();
        if tolerated || self.ranges == Ranges::Absent {
            self.blame(now, id, fetch, Fault::NotAdmitted(refusal));
            return;
        }
        if self.config.require_resume {
            // Before ranges are given up: what has landed stays as it is.
            let refusal = Refusal::NotResumable(refusal.to_string());
            return self.give_up(Fault::NotAdmitted(refusal), None);
        }
        self.ranges = Ranges::Absent;
        self.note(Decision::SingleStream {
            why: refusal.to_string(),
        });
        match self.open_stream() {
            Some(lease) => self.drain(After::Widen(lease), Some(lease)),
            None if self.identity.is_some() => self.drain(After::Adopt, None),
            None => {}
        }
    }

    /// A body that runs to the end of all that is wanted.
    fn open_stream(&self) -> Option<LeaseId> {
        if self.is_proving() {
            return None;
        }
        let wanted = self.ledger.extent().end;
        self.crew
            .iter()
            .filter(|(_, lane)| lane.is_streaming())
            .find_map(|(_, lane)| {
                let fetch = lane.fetch()?;
                let end = fetch.stream?.end;
                (end >= wanted).then_some(fetch.lease)
            })
    }
}
