//! What the driver holds for each lane: its session, its gate and what runs on it.

use std::sync::Arc;

use tur_core::port::{Body, Fill, Reply, Session, SessionFacts};
use tur_core::{Answer, Chunks, Fault, Origin, Rate, Timestamp};
use tur_sched::{FetchOrder, Gate, LaneId, LeaseId, SessionId, WaitsFor};

use super::slot::Slot;
use super::tally::Meter;
use crate::ahead::Ahead;
use crate::bounds::REDIRECT_BODY_BYTES;
use crate::decode::Plain;
use crate::passport::Shown;
use crate::region::{Flow, Flowed};
use crate::sampler::UnderWay;
use crate::{LaneState, LaneView};

/// What an operation of a lane brings.
pub(super) enum Done<S: Session, D: tur_storage::Disk> {
    /// A connection, or none.
    Connected {
        lane: LaneId,
        id: SessionId,
        origin: Origin,
        result: Result<S, Fault>,
    },
    /// An answer, or none.
    Answered {
        lane: LaneId,
        result: Box<Result<Reply<S::Body>, Fault>>,
    },
    /// An answer whose body was looked into, and the first bytes of that.
    Looked {
        lane: LaneId,
        answer: Box<(Answer, Ahead<S::Body>)>,
        seen: Vec<u8>,
    },
    /// Bytes, or the end of them.
    Flowed {
        lane: LaneId,
        flow: Box<Flow<Plain<Ahead<S::Body>>, D>>,
        said: Flowed,
    },
}

impl<S: Session, D: tur_storage::Disk> Done<S, D> {
    /// True if bytes came, or something ended: not if a flow only begins to wait for this side, or ceases to.
    pub(super) fn moves(&self) -> bool {
        let waits = |said: &Flowed| matches!(said, Flowed::Held | Flowed::Released);
        !matches!(self, Done::Flowed { said, .. } if waits(said))
    }
}

/// A session that the pool has lent.
pub(super) struct Lent<S> {
    pub(super) id: SessionId,
    pub(super) origin: Origin,
    pub(super) session: Arc<S>,
    pub(super) facts: SessionFacts,
    /// True if it has carried a request that was answered.
    pub(super) used: bool,
    /// True if it has carried a request.
    pub(super) asked: bool,
    /// True if nobody is to have it after this one.
    pub(super) unwanted: bool,
}

/// A request that runs.
pub(super) struct Fetching {
    pub(super) order: FetchOrder,
    pub(super) gate: Arc<Gate>,
    /// What its request has shown.
    pub(super) shown: Shown,
    pub(super) asked_at: Timestamp,
    pub(super) state: LaneState,
    /// Bytes up to here have been told to the scaler.
    pub(super) landed: u64,
    pub(super) underway: UnderWay,
}

/// One lane.
pub(super) struct Lane<S: Session, D: tur_storage::Disk> {
    /// The origin that a session is wanted for.
    pub(super) wanting: Option<Origin>,
    /// The connection that this lane has opened last: new if it is lent at once.
    pub(super) connected: Option<SessionId>,
    pub(super) lent: Option<Lent<S>>,
    pub(super) fetching: Option<Fetching>,
    op: Option<Slot<Done<S, D>>>,
    /// Its speed, and the lease that it is of.
    meter: (Meter, Option<LeaseId>),
}

impl<S: Session, D: tur_storage::Disk> Default for Lane<S, D> {
    fn default() -> Self {
        Self {
            wanting: None,
            connected: None,
            lent: None,
            fetching: None,
            op: None,
            meter: Default::default(),
        }
    }
}

impl<S: Session, D: tur_storage::Disk> Lane<S, D> {
    /// Something else runs now; what ran before is dropped.
    pub(super) fn runs(&mut self, op: Slot<Done<S, D>>) {
        self.stop();
        self.op = Some(op);
    }

    /// Drops what runs, at once.
    pub(super) fn stop(&mut self) {
        if let Some(op) = self.op.take() {
            op.stop();
        }
    }

    /// What it is doing; `None` if it does nothing and wants nothing.
    pub(super) fn view(&mut self, lane: LaneId, now: Timestamp) -> Option<LaneView> {
        let state = match &self.fetching {
            Some(fetching) => fetching.state,
            None if self.wanting.is_some() && self.op.is_some() => LaneState::Connecting,
            None if self.wanting.is_some() || self.lent.is_some() => LaneState::Waiting,
            None => return None,
        };
        let end = self.fetching.as_ref().map(|fetching| fetching.gate.end());
        let facts = self.lent.as_ref().map(|lent| &lent.facts);
        Some(LaneView {
            lane: lane.0,
            state,
            at: self.fetching.as_ref().map(|fetching| fetching.gate.taken()),
            end: end.filter(|end| *end != u64::MAX),
            protocol: facts.map_or("", |facts| facts.protocol),
            address: facts.map_or_else(String::new, |facts| facts.address.clone()),
            rate: self.rate(now),
        })
    }

    /// What it waits for; `held` if its bytes wait for this side. `None` if it does nothing and wants nothing.
    pub(super) fn waits_for(&self, held: WaitsFor) -> Option<WaitsFor> {
        let Some(fetching) = &self.fetching else {
            return self.wanting.is_some().then_some(WaitsFor::Session);
        };
        Some(match fetching.state {
            LaneState::Asking => WaitsFor::Answer,
            LaneState::Held => held,
            LaneState::Receiving => WaitsFor::Body,
            LaneState::Waiting | LaneState::Connecting => WaitsFor::Session,
        })
    }

    /// True while something runs for it.
    pub(super) fn is_in_flight(&self) -> bool {
        self.fetching.is_some() || (self.wanting.is_some() && self.op.is_some())
    }

    fn rate(&mut self, now: Timestamp) -> Rate {
        let Some(fetching) = &self.fetching else {
            return Rate::default();
        };
        let (meter, lease) = &mut self.meter;
        if *lease != Some(fetching.order.lease) {
            *lease = Some(fetching.order.lease);
            meter.go_on(fetching.asked_at, fetching.order.grant.start);
        }
        meter.rate(now, fetching.gate.taken())
    }
}

/// Reads what is there of a body that nobody wants. True if that was all of it, so that its session can be used again.
pub(super) fn drained<B: Body>(mut body: B) -> bool {
    use futures_util::FutureExt as _;
    let (mut chunks, mut read) = (Chunks::new(), 0);
    while read < REDIRECT_BODY_BYTES {
        match body
            .fill(&mut chunks, REDIRECT_BODY_BYTES - read)
            .now_or_never()
        {
            Some(Ok(Fill::End)) => return true,
            Some(Ok(Fill::More)) => {
                read += chunks.len();
                chunks.truncate(0);
            }
            Some(Err(_)) | None => return false,
        }
    }
    false
}
