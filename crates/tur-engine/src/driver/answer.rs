//! What the network says, turned into events.

use std::sync::Arc;

use tur_core::port::{Reply, Session, Transport};
use tur_core::{Answer, BodyKind, Fault, Identity, Representation, RetryAfter};
use tur_http::{Admitted, Asked, admit, follow};
use tur_sched::{Ended, Event, FetchOrder, LaneId};
use tur_storage::{Disk, StorageError};

use super::lane::{Done, drained};
use super::slot::stoppable;
use super::store::Store;
use super::{Driver, End};
use crate::ahead::Ahead;
use crate::clock::Clock;
use crate::decode::Plain;
use crate::metrics::blend;
use crate::passport::Shown;
use crate::region::{Flow, Flowed, Region};
use crate::{LaneState, What};

pub(super) type BodyOf<T> = <<T as Transport>::Session as Session>::Body;

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    pub(super) fn answered(&mut self, lane: LaneId, result: Result<Reply<BodyOf<T>>, Fault>) {
        let Some(order) = self.order(lane) else {
            return;
        };
        if result.is_ok() {
            self.tell_answered(lane);
        }
        let reply = match result {
            Ok(reply) => reply,
            Err(fault) => {
                self.count_refusal(lane, &fault);
                return self.refused(lane, &order, fault, false);
            }
        };
        self.hear(lane, &order, &reply.answer);
        if matches!(reply.answer, Answer::Refused { status: 421, .. }) {
            self.leave_session(lane);
        }
        if let Answer::Moved { location, .. } = &reply.answer {
            return match follow(&order.target, location, self.errand.redirects) {
                Ok(hop) => {
                    let session = self.settle_session(lane, drained(reply.body));
                    self.tell_machine(Event::Moved {
                        lease: order.lease,
                        target: hop.target,
                        session,
                    });
                }
                Err(fault) => self.refused(lane, &order, fault, false),
            };
        }
        if let Some(kind) = reply.answer.asides().and_then(|asides| asides.challenge) {
            let session = drained(reply.body);
            return self.refused(lane, &order, Fault::Challenged(kind), session);
        }
        if !matches!(reply.answer, Answer::Refused { .. }) && B::looked_at(self, &reply.answer) {
            return;
        }
        if self.is_worth_a_look(&order, &reply.answer) {
            return self.look(lane, reply);
        }
        self.judge(lane, &order, (reply.answer, Ahead::new(reply.body)));
    }

    /// Nobody is to have this session after its lane: 421 is the answer to a connection (RFC 9110, section 15.5.20).
    fn leave_session(&mut self, lane: LaneId) {
        let lane = self.lanes.get_mut(&lane);
        if let Some(lent) = lane.and_then(|lane| lane.lent.as_mut()) {
            lent.unwanted = true;
        }
    }

    /// A stream that ends before its head comes may have found no place beside others, and finds one elsewhere. Where that
    /// happens again on the same session, nobody is to have it after this one: another connection may fare better.
    fn count_refusal(&mut self, lane: LaneId, fault: &Fault) {
        let lane = self.lanes.get_mut(&lane);
        let Some(lent) = lane.and_then(|lane| lane.lent.as_mut()) else {
            return;
        };
        let streams = lent.facts.protocol != "h1";
        if streams && matches!(fault, Fault::Lost(_) | Fault::StreamRefused(_)) {
            lent.unwanted |= !self.refused_on.insert(lent.id);
        }
    }

    /// What the head says of who asks.
    fn hear(&mut self, lane: LaneId, order: &FetchOrder, answer: &Answer) {
        if let Some(asides) = answer.asides() {
            self.passport.heard(&order.target, asides);
            if let Some(advert) = &asides.advert {
                self.world.origins.heard(&order.target.origin, advert);
            }
        }
        if !matches!(answer, Answer::Refused { status: 401, .. }) {
            let shown = self.shown(lane);
            self.passport.accepted(shown);
        }
    }

    pub(super) fn shown(&self, lane: LaneId) -> Shown {
        let fetching = self
            .lanes
            .get(&lane)
            .and_then(|lane| lane.fetching.as_ref());
        fetching.map_or(Shown::default(), |fetching| fetching.shown)
    }

    /// Whether an answer is of the file.
    pub(super) fn judge(
        &mut self,
        lane: LaneId,
        order: &FetchOrder,
        (answer, body): (Answer, Ahead<BodyOf<T>>),
    ) {
        let first = self.identity().is_none();
        match admit(&answer, &self.asked(order)) {
            Ok(admitted) => {
                self.agrees(lane, first);
                self.open(lane, order, (admitted, answer, body));
            }
            Err(fault) => {
                let fault = self.disagrees(lane, fault);
                let session = drained(body);
                self.refused(lane, order, fault, session);
            }
        }
    }

    /// What an answer is the answer to.
    pub(super) fn asked(&self, order: &FetchOrder) -> Asked<'_> {
        Asked {
            ask: order.ask,
            if_range: order.if_range,
            identity: self.identity(),
            terms: self.errand.terms,
        }
    }

    /// The lane begins to wait for this side, or ceases to.
    fn hold(&mut self, lane: LaneId, held: bool) {
        let now = self.now();
        self.store.hold(now, held);
        // What waits for a limit is under way all the same: no more than that is to be had.
        let for_reader = held && !self.world.limits.is_set();
        let fetching = self.lanes.get_mut(&lane);
        if let Some(fetching) = fetching.and_then(|lane| lane.fetching.as_mut()) {
            fetching.underway.stand(for_reader);
        }
    }

    pub(super) fn order(&self, lane: LaneId) -> Option<FetchOrder> {
        Some(self.lanes.get(&lane)?.fetching.as_ref()?.order.clone())
    }

    /// Ends a lane's fetch; returns whether its session can be used again, and returns it to the pool if not.
    pub(super) fn settle_session(&mut self, id: LaneId, body_over: bool) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return false;
        };
        lane.fetching = None;
        let usable = body_over
            && lane
                .lent
                .as_ref()
                .is_some_and(|lent| !lent.unwanted && lent.session.is_open());
        if !usable {
            self.return_session(id);
        }
        usable
    }

    pub(super) fn refused(
        &mut self,
        lane: LaneId,
        order: &FetchOrder,
        fault: Fault,
        body_over: bool,
    ) {
        if let Fault::Challenged(kind) = fault {
            self.challenge = Some(kind);
            self.tell(What::Challenge { kind });
        }
        let session = self.settle_session(lane, body_over);
        self.tell_machine(Event::Refused {
            lease: order.lease,
            fault: with_delay(fault),
            session,
        });
    }

    /// An admitted answer: its body may be written.
    fn open(
        &mut self,
        lane_id: LaneId,
        order: &FetchOrder,
        (admitted, answer, body): (Admitted, Answer, Ahead<BodyOf<T>>),
    ) {
        if !B::admitted(self, order, (&admitted, &answer)) {
            return;
        }
        let lanes = self.lanes.len();
        let Some(lane) = self.lanes.get(&lane_id) else {
            return;
        };
        let Some(gate) = lane
            .fetching
            .as_ref()
            .map(|fetching| Arc::clone(&fetching.gate))
        else {
            return;
        };
        let Some(sink) = self.store.sink(lane_id, order) else {
            return;
        };
        let place = admitted.place();
        if admitted.body() == BodyKind::UntilClose && admitted.identity().total.is_none() {
            self.tally.unverifiable = true;
            let text = "length unknown: only the end of the connection ends the file";
            self.tell(What::Note(text.to_owned()));
        }
        let region = Region::new(Arc::clone(&gate), &admitted, sink);
        let limits = self.world.limits.clone();
        let coding = admitted.coding();
        let flow = Box::new(Flow::new(
            Plain::new(body, coding),
            region,
            lanes,
            limits,
            self.world.clock,
        ));
        self.run_flow(lane_id, flow);
        self.set_state(lane_id, LaneState::Receiving);
        if coding.is_some() {
            self.tell_machine(Event::Decoded);
        }
        let partial = admitted.is_partial();
        let identity = admitted.into_identity();
        self.tell_machine(Event::Opened {
            lease: order.lease,
            place,
            identity,
            partial,
        });
        // The total may have become known with this answer: the gate learns where the lease really ends.
        if let Some(end) = self
            .transfer
            .ledger()
            .lease(order.lease)
            .map(|lease| lease.rest.end)
        {
            gate.cut(end);
        }
    }

    fn run_flow(&mut self, lane_id: LaneId, mut flow: Box<Flow<Plain<Ahead<BodyOf<T>>>, D>>) {
        let (op, running) = stoppable(async move {
            let said = flow.run().await;
            Done::Flowed {
                lane: lane_id,
                flow,
                said,
            }
        });
        if let Some(lane) = self.lanes.get_mut(&lane_id) {
            lane.runs(op);
            self.ops.push(running);
        }
    }

    /// What a flow has to say.
    pub(super) fn flowed(
        &mut self,
        lane: LaneId,
        mut flow: Box<Flow<Plain<Ahead<BodyOf<T>>>, D>>,
        said: Flowed,
    ) {
        self.tally.wasted += flow.take_wasted();
        if let Some(write) = flow.take_write() {
            blend(&mut self.tally.metrics.write, write);
        }
        let Some(order) = self.order(lane) else {
            return;
        };
        let lease = order.lease;
        self.tell_first_byte(order.grant.start, &said);
        match said {
            Flowed::Landed { upto, busy } => {
                self.run_flow(lane, flow);
                self.tell_landed(lane, upto, busy);
                self.tell_machine(Event::Landed { lease, upto, busy });
            }
            Flowed::Held => {
                self.run_flow(lane, flow);
                self.hold(lane, true);
                self.set_state(lane, LaneState::Held);
                self.tell_machine(Event::Held { lease });
            }
            Flowed::Released => {
                self.run_flow(lane, flow);
                self.hold(lane, false);
                self.set_state(lane, LaneState::Receiving);
                self.tell_machine(Event::Released { lease });
            }
            Flowed::Ended { at, how } => {
                self.tell_last(lane, at);
                // The writer ends first: its slot is free, and its claim on record, before anything else is decided.
                drop(flow);
                let session = self.settle_session(lane, how == Ended::Clean);
                self.tell_machine(Event::Ended {
                    lease,
                    at,
                    how,
                    session,
                });
                B::flow_ended(self);
            }
            Flowed::Differs { at } => {
                drop(flow);
                self.settle_session(lane, false);
                self.tell_machine(Event::Differs { lease, at });
            }
            // What a failed sync has lost is told by the checkpoint that failed.
            Flowed::Disk {
                at,
                error: StorageError::Lost { .. },
            } => {
                drop(flow);
                self.settle_session(lane, false);
                self.tell_machine(Event::Ended {
                    lease,
                    at,
                    how: Ended::Cut,
                    session: false,
                });
            }
            Flowed::Disk { error, .. } => {
                drop(flow);
                self.broken(error);
            }
            Flowed::Fallen(fallen) => {
                drop(flow);
                self.end = Some(End::Broken(fallen.into()));
            }
        }
    }

    fn set_state(&mut self, lane: LaneId, state: LaneState) {
        let lane = self.lanes.get_mut(&lane);
        if let Some(fetching) = lane.and_then(|lane| lane.fetching.as_mut()) {
            fetching.state = state;
        }
    }

    /// Tells the first byte of all that comes.
    fn tell_first_byte(&mut self, from: u64, said: &Flowed) {
        let (Flowed::Landed { upto: at, .. }
        | Flowed::Ended { at, .. }
        | Flowed::Differs { at }
        | Flowed::Disk { at, .. }) = said
        else {
            return;
        };
        if *at > from && !std::mem::replace(&mut self.flowing, true) {
            self.tell(What::FirstByte { at: from });
        }
    }
}

pub(super) fn representation(answer: &Answer) -> Option<&Representation> {
    match answer {
        Answer::Partial { content, .. } | Answer::Whole(content) => Some(&content.representation),
        _ => None,
    }
}

/// Entity tag or date of an identity, for people.
pub(super) fn validator(identity: &Identity) -> Option<String> {
    let tag = identity.etag.as_ref().map(|tag| {
        let weak = if tag.weak { "W/" } else { "" };
        format!("{weak}{}", String::from_utf8_lossy(&tag.opaque))
    });
    let date = identity.last_modified.as_ref();
    tag.or_else(|| date.map(|date| date.text.clone()))
}

/// The machine has no wall clock: a date to come back at becomes a delay.
fn with_delay(mut fault: Fault) -> Fault {
    if let Fault::Status {
        retry_after: Some(when),
        ..
    } = &mut fault
        && let RetryAfter::At(date) = *when
    {
        *when = RetryAfter::Delay(Clock::wall().until(date));
    }
    fault
}
