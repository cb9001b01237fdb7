//! What the network says, turned into events.

use std::sync::Arc;

use tur_core::port::{Reply, Session, Transport};
use tur_core::{Answer, BodyKind, ByteRange, Content, Fault, Representation, RetryAfter};
use tur_http::{Admitted, Asked, admit, follow, is_surprising_page};
use tur_sched::{Ended, Event, FetchOrder, LaneId};
use tur_storage::{Disk, StorageError};

use super::filing::Named;
use super::lane::{Done, drained};
use super::slot::stoppable;
use super::{Driver, End};
use crate::What;
use crate::clock::Clock;
use crate::decode::Plain;
use crate::overlap::Overlap;
use crate::region::{Flow, Flowed, Region, Sink};

type BodyOf<T> = <<T as Transport>::Session as Session>::Body;

impl<T: Transport, D: Disk + Clone> Driver<'_, T, D> {
    pub(super) fn answered(&mut self, lane: LaneId, result: Result<Reply<BodyOf<T>>, Fault>) {
        let Some(order) = self.order(lane) else {
            return;
        };
        if result.is_ok() {
            self.tell_answered(lane);
        }
        let reply = match result {
            Ok(reply) => reply,
            Err(fault) => return self.refused(lane, &order, fault, false),
        };
        if let Answer::Moved { location } = &reply.answer {
            return match follow(&order.target, location, &self.job.redirects) {
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
        if self.compare.is_some() && !matches!(reply.answer, Answer::Refused { .. }) {
            return self.compared(&reply.answer);
        }
        let asked = Asked {
            ask: order.ask,
            if_range: order.if_range,
            identity: self.identity(),
            terms: &self.job.terms,
        };
        match admit(&reply.answer, &asked) {
            Ok(admitted) => self.open(lane, &order, (admitted, reply)),
            Err(fault) => {
                let session = drained(reply.body);
                self.refused(lane, &order, fault, session);
            }
        }
    }

    fn order(&self, lane: LaneId) -> Option<FetchOrder> {
        Some(self.lanes.get(&lane)?.fetching.as_ref()?.order.clone())
    }

    /// Ends a lane's fetch; returns whether its session can be used again, and returns it to the pool if not.
    fn settle_session(&mut self, id: LaneId, body_over: bool) -> bool {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return false;
        };
        lane.fetching = None;
        let usable = body_over
            && lane
                .lent
                .as_ref()
                .is_some_and(|lent| lent.session.is_open());
        if !usable {
            self.return_session(id);
        }
        usable
    }

    fn refused(&mut self, lane: LaneId, order: &FetchOrder, fault: Fault, body_over: bool) {
        let session = self.settle_session(lane, body_over);
        self.tell_machine(Event::Refused {
            lease: order.lease,
            fault: with_delay(fault),
            session,
        });
    }

    /// The answer to the last byte of an existing file, or to whatever else was asked about it.
    fn compared(&mut self, answer: &Answer) {
        let Some(existing) = self.compare else { return };
        // What is coded there would be decoded here: its length is another one.
        let coded = representation(answer).is_some_and(|found| found.encoding.is_some());
        let same = match answer {
            _ if coded && self.job.terms.decode => false,
            Answer::Partial {
                range: Some(range),
                content,
            } => existing.is(range.total, &content.representation),
            Answer::Whole(content) => existing.is(length(content), &content.representation),
            _ => false,
        };
        self.end = Some(End::Compared(same));
    }

    /// An admitted answer: its body may be written.
    fn open(
        &mut self,
        lane_id: LaneId,
        order: &FetchOrder,
        (admitted, reply): (Admitted, Reply<BodyOf<T>>),
    ) {
        // What is only compared proves nothing yet: the part goes on belonging to what it was of.
        if !order.compare && !self.filing.begun && !self.first(&admitted, &reply.answer) {
            return;
        }
        let lanes = self.lanes.len();
        let Some(lane) = self.lanes.get_mut(&lane_id) else {
            return;
        };
        let Some(gate) = lane
            .fetching
            .as_ref()
            .map(|fetching| Arc::clone(&fetching.gate))
        else {
            return;
        };
        let Some(part) = self.filing.part() else {
            return;
        };
        // The gate, not the writer, knows where a lease ends: it may still grow.
        let range = ByteRange::from(order.grant.start);
        let sink = if order.compare {
            Sink::Overlap(Overlap::new(part.reader(), range.start))
        } else {
            Sink::Part(part.writer(lane_id.0, order.lease.0, range))
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
            Plain::new(reply.body, coding),
            region,
            lanes,
            limits,
            self.world.clock,
        ));
        self.run_flow(lane_id, flow);
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

    /// The first answer of a representation: names the file and begins its part. False if nothing is to be written.
    fn first(&mut self, admitted: &Admitted, answer: &Answer) -> bool {
        let none = Representation::default();
        let representation = representation(answer).unwrap_or(&none);
        match self
            .filing
            .name_by(admitted.identity().total, representation, self.job)
        {
            Ok(Named::Go) => {}
            Ok(Named::Already(path)) => {
                self.end = Some(End::Already(path));
                return false;
            }
            Ok(Named::Resume(saved)) => {
                self.begin(Some(saved), None);
                self.obey();
                return false;
            }
            Err(error) => {
                self.end = Some(End::Broken(error));
                return false;
            }
        }
        if let Err(error) = self.filing.begin(admitted.identity()) {
            self.broken(error);
            return false;
        }
        self.opened = true;
        self.slow_told = true;
        let identity = admitted.identity();
        let validator = identity.etag.as_ref().map(|tag| {
            let weak = if tag.weak { "W/" } else { "" };
            format!("{weak}{}", String::from_utf8_lossy(&tag.opaque))
        });
        self.tell(What::Opened {
            len: identity.total,
            name: self.filing.name().to_owned(),
            validator: validator.or_else(|| {
                identity
                    .last_modified
                    .as_ref()
                    .map(|date| date.text.clone())
            }),
            protocol: self.tally.protocol,
            resumed_bytes: self.tally.resumed,
        });
        self.warn(admitted, representation);
        true
    }

    /// Says what is odd about the first answer, and no reason to refuse it.
    fn warn(&self, admitted: &Admitted, representation: &Representation) {
        let name = self.filing.name();
        if let Some(coding) = &representation.encoding {
            let fate = match admitted.coding() {
                Some(_) => "it is decoded",
                None => "it is kept as it comes",
            };
            self.tell(What::Note(format!(
                "the server sends the file coded ({coding}); {fate}"
            )));
        }
        if is_surprising_page(name, representation.media_type.as_deref()) {
            self.tell(What::Note(format!(
                "{name} is an HTML page, says the server: a login or error page, perhaps"
            )));
        }
    }

    fn run_flow(&mut self, lane_id: LaneId, mut flow: Box<Flow<Plain<BodyOf<T>>, D>>) {
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
        mut flow: Box<Flow<Plain<BodyOf<T>>, D>>,
        said: Flowed,
    ) {
        self.tally.wasted += flow.take_wasted();
        let Some(order) = self.order(lane) else {
            return;
        };
        let lease = order.lease;
        match said {
            Flowed::Landed { upto, busy } => {
                self.run_flow(lane, flow);
                self.tell_landed(lane, upto, busy);
                self.tell_machine(Event::Landed { lease, upto, busy });
            }
            Flowed::Held => {
                self.run_flow(lane, flow);
                self.tell_machine(Event::Held { lease });
            }
            Flowed::Released => {
                self.run_flow(lane, flow);
                self.tell_machine(Event::Released { lease });
            }
            Flowed::Ended { at, how } => {
                // The writer ends first: its slot is free, and its claim on record, before anything else is decided.
                drop(flow);
                let session = self.settle_session(lane, how == Ended::Clean);
                self.tell_machine(Event::Ended {
                    lease,
                    at,
                    how,
                    session,
                });
                self.check_if_cut();
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
        }
    }

    fn check_if_cut(&mut self) {
        if self.end.is_none() && self.filing.begun {
            self.check_storage();
        }
    }
}

/// The total that a whole answer's framing tells.
fn length(content: &Content) -> Option<u64> {
    match content.body {
        BodyKind::Length(length) => Some(length),
        BodyKind::Marked | BodyKind::UntilClose => None,
    }
}

fn representation(answer: &Answer) -> Option<&Representation> {
    match answer {
        Answer::Partial { content, .. } | Answer::Whole(content) => Some(&content.representation),
        _ => None,
    }
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
