//! What the end of a fetch means: more of the same lease, a hole, another attempt, or the end of the transfer.

use core::time::Duration;

use tur_core::{ByteRange, Fault, Timestamp};

use super::{After, Phase, Ranges, Transfer};
use crate::crew::{Abort, Fetch, State};
use crate::retry::asked_wait;
use crate::{Action, Decision, Ended, Failure, LaneId, LeaseId, Remedy, remedy};

/// Pause of a lane that found no way to the network while others receive.
const AWAY_PAUSE: Duration = Duration::from_secs(5);

/// How a fetch ended.
pub(super) struct Ending {
    pub(super) at: u64,
    pub(super) how: Ended,
    pub(super) session: bool,
}

/// An attempt that failed.
pub(super) struct Attempt {
    pub(super) started: Timestamp,
    pub(super) generation: u32,
    pub(super) fault: Fault,
}

impl Transfer {
    pub(super) fn landed(&mut self, now: Timestamp, lease: LeaseId, upto: u64, busy: Duration) {
        let Some((id, _)) = self.fetch_of(lease) else {
            return;
        };
        if let Some(lane) = self.crew.get_mut(id) {
            lane.heard(now);
        }
        let fresh = self.ledger.land(lease, upto);
        if fresh == 0 {
            return;
        }
        self.fruitless = 0;
        self.excused = 0;
        self.give(ByteRange::new(upto - fresh, upto));
        if self.is_proving() {
            self.agreed(ByteRange::new(upto - fresh, upto));
        } else {
            self.stranger = false;
        }
        if let Some(lane) = self.crew.get_mut(id) {
            lane.faults = 0;
            lane.brought(fresh, busy);
        }
        if let Some(speed) = &mut self.speed {
            speed.landed(fresh);
        }
        self.route.served();
        self.network_back();
        let recovered = self.pace.progress(self.ledger.landed().len());
        // What other lanes bring says nothing about one that stalled: its byte does.
        let stalls = self.stalled.len();
        let came = ByteRange::new(upto - fresh, upto);
        self.stalled.retain(|at| !came.contains(*at));
        if recovered || self.stalled.len() < stalls {
            self.note(Decision::Resumed { at: came.start });
        }
        if busy > Duration::ZERO {
            self.revoke_straggler(now, id);
        }
    }

    pub(super) fn ended(&mut self, now: Timestamp, lease_id: LeaseId, ending: Ending) {
        let Ending { at, how, session } = ending;
        self.landed(now, lease_id, at, Duration::ZERO);
        let Some((id, fetch)) = self.fetch_of(lease_id) else {
            return;
        };
        let fetch = fetch.clone();
        let draining = !matches!(self.phase, Phase::Running);
        let fault = match (how, &fetch.abort) {
            (_, Some(Abort::Quiet)) => None,
            (Ended::Fault(fault), _) => Some(fault),
            (Ended::Cut, Some(Abort::Fault(fault))) => Some(fault.clone()),
            (Ended::Cut, None) => None,
            (Ended::Clean, _) => self.clean_end(&fetch, at),
        };
        let more =
            fault.is_none() && fetch.abort.is_none() && session && !draining && self.may_go_on(id);
        if more
            && self
                .ledger
                .lease(lease_id)
                .is_some_and(|lease| !lease.rest.is_empty())
        {
            // The connection is warm and the lease has more: no need to ask anybody.
            if let Some(lane) = self.crew.get_mut(id) {
                lane.used = true;
            }
            self.ask(now, id, lease_id);
            return;
        }
        self.close(lease_id, session);
        if let Some(fault) = fault.filter(|_| !draining) {
            self.blame(now, id, &fetch, fault);
        }
    }

    /// The framing says that the body is over. Learns the total if it was unknown; a body that brought nothing, or a
    /// whole one that is short, is a fault.
    fn clean_end(&mut self, fetch: &Fetch, at: u64) -> Option<Fault> {
        let stream = fetch.stream?;
        if at >= self.ledger.span().end {
            // All that is wanted has come; whether the body had more behind it tells nothing.
            return None;
        }
        match self.ledger.total() {
            None if !stream.partial || stream.end == ByteRange::OPEN => {
                self.ledger.set_total(at);
                None
            }
            // The whole was asked for, and a part came of nobody knows what.
            None if self.ranges == Ranges::Absent => Some(Fault::Truncated(alloc::format!(
                "{at} bytes of an unknown total"
            ))),
            Some(total) if (!stream.partial || self.ranges == Ranges::Absent) && at < total => {
                Some(Fault::Truncated(alloc::format!("{at} of {total} bytes")))
            }
            _ if at == fetch.start => Some(Fault::Truncated("an empty body".into())),
            _ => None,
        }
    }

    /// An attempt failed: decides whether, when and how it is made again.
    pub(super) fn fault(&mut self, now: Timestamp, id: LaneId, attempt: Attempt) {
        let Attempt {
            started,
            generation,
            fault,
        } = attempt;
        if generation != self.generation {
            // The URL has changed since: its old answers prove nothing, but they are no reason for haste either.
            let after = self.pace.backoff(1);
            if let Some(lane) = self.crew.get_mut(id) {
                lane.hold = now + after;
            }
            return;
        }
        let wait = asked_wait(&fault);
        match remedy(&fault) {
            Remedy::Never => return self.give_up(fault, None),
            Remedy::IfProven if !self.route.is_proven() => return self.give_up(fault, None),
            Remedy::Resolve => return self.resolve_again(now, id, fault),
            Remedy::Await if self.route.is_proven() => {
                return self.await_network(now, id, fault);
            }
            _ if wait.is_some_and(|wait| wait > self.pace.policy().wait_max)
                && self.crew.streaming() == 0 =>
            {
                return self.give_up(fault, wait);
            }
            Remedy::Fewer => self.fewer(id, &fault),
            Remedy::Again | Remedy::AtOnce | Remedy::IfProven | Remedy::Await => {}
        }
        if !self.pace.failed(now, started) {
            return self.give_up(fault, None);
        }
        let Some(lane) = self.crew.get_mut(id) else {
            return;
        };
        lane.faults += 1;
        let nth = lane.faults.max(self.pace.failures());
        let backoff = match remedy(&fault) {
            Remedy::AtOnce if nth <= 1 => Duration::ZERO,
            _ => self.pace.backoff(nth),
        };
        let after = wait
            .map_or(backoff, |wait| wait.max(backoff))
            .min(self.pace.policy().wait_max.max(backoff));
        if let Some(lane) = self.crew.get_mut(id) {
            lane.hold = now + after;
        }
        if self.crew.streaming() == 0 {
            // Nobody gets through: another lane would only use up the attempts sooner.
            self.hold_all(now + after);
        } else if remedy(&fault) == Remedy::Fewer {
            // It is a place that was refused, and not this lane: another one would fare no better.
            self.hold_free(now + after);
        }
        let attempt = self.pace.failures();
        self.note(Decision::Retrying {
            lane: id,
            attempt,
            after,
            why: fault,
        });
    }

    /// No packet leaves this machine, and the file was being served: waits for the network. Nobody has refused
    /// anything, so no attempt is used up.
    fn await_network(&mut self, now: Timestamp, id: LaneId, fault: Fault) {
        if self.crew.streaming() > 0 {
            // Others still receive, or seem to: their bytes, or their silence, will tell what is true.
            if let Some(lane) = self.crew.get_mut(id) {
                lane.hold = now + AWAY_PAUSE;
            }
            return;
        }
        let told = self.pace.away().is_some();
        let Some(after) = self.pace.await_network() else {
            return self.give_up(fault, None);
        };
        self.hold_all(now + after);
        if !told {
            self.note(Decision::Away { why: fault });
        }
    }

    /// A connection was made, or bytes came.
    pub(super) fn network_back(&mut self) {
        if self.pace.network_back() {
            self.note(Decision::Back);
        }
    }

    /// The origin asked everybody to wait.
    fn hold_all(&mut self, until: Timestamp) {
        for (_, lane) in self.crew.iter_mut() {
            lane.hold = lane.hold.max(until);
        }
    }

    fn hold_free(&mut self, until: Timestamp) {
        for (_, lane) in self.crew.iter_mut() {
            if matches!(lane.state, State::Free) {
                lane.hold = lane.hold.max(until);
            }
        }
    }

    /// The origin refuses a lane while others work: only so many from now on.
    fn fewer(&mut self, id: LaneId, fault: &Fault) {
        let streaming = u16::try_from(self.crew.streaming()).unwrap_or(u16::MAX);
        if streaming == 0 {
            return;
        }
        let again = self.crew.get(id).is_some_and(|lane| lane.faults > 0);
        // One refusal may be a connection that the origin has not yet seen closing; a second one is a limit.
        let limit = if again {
            streaming
        } else {
            streaming.max(self.crew.cap().saturating_sub(1))
        };
        if limit < self.crew.cap() {
            self.crew.limit = limit;
            self.note(Decision::Fewer {
                lanes: limit,
                why: fault.clone(),
            });
        }
    }

    fn resolve_again(&mut self, now: Timestamp, id: LaneId, fault: Fault) {
        match self.route.expired(now, self.pace.policy().retries) {
            Some(at) => {
                self.generation += 1;
                self.hold_all(at);
                self.note(Decision::Resolving { why: fault });
            }
            None if self.route.is_resolving() => self.give_up(fault, None),
            // The file is being served to other lanes: one bad answer is an attempt, not a verdict.
            None if self.crew.streaming() > 0 && self.pace.failed(now, now) => {
                let after = self.pace.backoff(self.pace.failures());
                if matches!(
                    fault,
                    Fault::Status { status: 403, .. } | Fault::Challenged(_)
                ) {
                    // Some origins say so to one connection too many; bytes of the others end no such row of refusals.
                    self.fewer(id, &fault);
                }
                if let Some(lane) = self.crew.get_mut(id) {
                    lane.faults += 1;
                    lane.hold = now + after;
                }
                let attempt = self.pace.failures();
                self.note(Decision::Retrying {
                    lane: id,
                    attempt,
                    after,
                    why: fault,
                });
            }
            None => self.give_up(fault, None),
        }
    }

    pub(super) fn give_up(&mut self, fault: Fault, wait: Option<Duration>) {
        let kind = fault.kind();
        let tries = self.pace.failures();
        let mut message = alloc::format!("{fault}");
        if let Some(wait) = wait {
            message = alloc::format!(
                "{message}; asked to wait {} s, longer than allowed",
                wait.as_secs()
            );
        } else if let Some(waited) = self.pace.away() {
            message = alloc::format!("{message}; waited {} s for the network", waited.as_secs());
        } else if tries > 1 {
            message = alloc::format!("{message} ({tries} tries)");
        }
        let keep = self.can_keep();
        let landed = self.kept();
        let wanted = self.ledger.extent();
        if landed > 0 && !wanted.is_open() {
            let fate = match keep && !self.config.transient {
                true => "are kept",
                false => "had come",
            };
            message = alloc::format!("{message}; {landed} of {} bytes {fate}", wanted.len());
        }
        let challenge = match fault {
            Fault::Challenged(kind) => Some(kind),
            _ => None,
        };
        self.fail(Failure {
            kind,
            message,
            keep,
            retry_after: wait,
            challenge,
        });
    }

    /// Does what a drain was for, once the last fetch in the way has ended.
    pub(super) fn finish_drain(&mut self) {
        let Phase::Draining(after) = &self.phase else {
            return;
        };
        let keep = if let After::Widen(lease) = after {
            Some(*lease)
        } else {
            None
        };
        if self.ledger.leases().any(|(id, _)| Some(id) != keep) {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Draining(After::Restart(why)) => self.restart(why),
            Phase::Draining(After::Widen(lease)) if self.ledger.lease(lease).is_some() => {
                self.widen(lease)
            }
            _ => self.adopt(),
        }
    }

    fn restart(&mut self, why: alloc::string::String) {
        let stranger = core::mem::take(&mut self.stranger);
        self.proving = None;
        self.ledger.restart();
        self.pace.restart();
        self.stalled.clear();
        self.identity = None;
        self.ranges = Ranges::Unknown;
        self.offset_proven = false;
        self.strikes = 0;
        self.if_range_off = false;
        self.decoded = false;
        self.sealed = false;
        self.no_cache = !stranger;
        self.restarts += u32::from(!stranger);
        self.single();
        self.actions.push_back(Action::Restart { why: why.clone() });
        self.note(Decision::Restarted { why });
    }

    /// From zero, without ranges: what is there will be written again.
    fn adopt(&mut self) {
        self.ranges = Ranges::Absent;
        if self.begin_at_zero() {
            self.single();
        }
    }

    /// The stream that is alive gets everything behind its lease.
    fn widen(&mut self, lease: LeaseId) {
        self.single();
        let Some(end) = self.ledger.lease(lease).map(|lease| lease.rest.end) else {
            return;
        };
        self.void(ByteRange::from(end));
        self.extend(lease);
    }

    pub(super) fn void(&mut self, range: ByteRange) {
        if self.give_up_proof(range) || self.ledger.landed().overlaps(range) {
            self.ledger.forget(range);
            self.actions.push_back(Action::Forget { range });
        }
    }

    /// Back to one lane and no plan.
    fn single(&mut self) {
        self.crew.width = 1;
        self.geometry = None;
    }
}
