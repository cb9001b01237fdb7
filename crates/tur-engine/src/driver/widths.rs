//! How a driver follows the scaler of the origin it works at.

use tur_core::port::{Expected, Transport};
use tur_core::{Origin, Timestamp};
use tur_sched::{Event, Facts, Http3Fact, LaneId, LanesEvent, ScalerConfig, ScalerNote};
use tur_storage::Disk;

use super::Driver;
use super::store::Store;
use crate::What;
use crate::metrics::blend;
use crate::scaling::Order;

/// What the scaler has been told, and where.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// The origin that the transfer works at.
    pub(super) origin: Option<Origin>,
    told: Option<(u16, u16)>,
    /// Bounds that the caller has set since: at least, at most.
    pub(super) bounds: Option<(u16, u16)>,
}

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    /// Tells the scaler what the transfer does now. A redirect takes the transfer to another origin, and so to another
    /// scaler.
    pub(super) fn follow_origin(&mut self) {
        if self.store.only_looks() {
            return;
        }
        let now = self.now();
        let moved = self.membership.origin.as_ref() != Some(&self.transfer.target().origin);
        if moved && !self.transfer.is_resolving() {
            self.leave_origin();
            self.join_origin(now);
        }
        let streaming = u16::try_from(self.transfer.lanes_streaming()).unwrap_or(u16::MAX);
        let told = (streaming, self.transfer.lanes_useful(now));
        if self.membership.told != Some(told) {
            self.membership.told = Some(told);
            let (streaming, useful) = told;
            let transfer = self.id;
            self.tell_scaler(LanesEvent::Lanes {
                transfer,
                streaming,
                useful,
            });
        }
    }

    fn join_origin(&mut self, now: Timestamp) {
        let origin = self.transfer.target().origin.clone();
        let profile = self.world.origins.hint(&origin);
        if profile.is_some() {
            self.tally.metrics.memory_hits += 1;
        } else {
            self.tally.metrics.memory_misses += 1;
        }
        let told = self.errand.lanes_start.filter(|lanes| *lanes > 1);
        let expected = Expected {
            product: profile.and_then(|profile| profile.window),
            lanes: told.or(profile.map(|profile| profile.lanes)),
        };
        self.world.transport.expect(&origin, expected);
        let event = self.join_event(now, self.errand.lanes_start);
        let config = ScalerConfig {
            lanes_max: self.world.sessions.lanes_max(),
            lanes_start: profile.map_or(1, |profile| profile.lanes),
            limit: profile.and_then(|profile| Some(profile.lanes_limit?.lanes)),
        };
        self.world.scaling.join(now, &origin, event, config);
        let (_, most) = self.membership.bounds.unwrap_or((1, self.errand.lanes_max));
        if let Some(text) = self.world.sessions.shortage(most) {
            self.tell(What::Note(text));
        }
        self.membership.origin = Some(origin);
        self.membership.told = None;
    }

    fn join_event(&self, now: Timestamp, start: Option<u16>) -> LanesEvent {
        let (least, most) = self.membership.bounds.unwrap_or((1, self.errand.lanes_max));
        LanesEvent::Join {
            transfer: self.id,
            least,
            most,
            start,
            useful: self.transfer.lanes_useful(now),
        }
    }

    /// The caller wants at least and at most so many lanes from now on.
    pub(super) fn set_bounds(&mut self, (least, most): (u16, u16)) {
        let now = self.now();
        self.membership.bounds = Some((least, most));
        self.world.sessions.raise_limit(usize::from(most));
        self.tell_machine(Event::Ceiling(most));
        if self.membership.origin.is_some() {
            let lanes = self.world.sessions.lanes_max();
            self.tell_scaler(LanesEvent::Room { lanes });
            self.tell_scaler(self.join_event(now, None));
        }
    }

    /// Leaves the origin's scaler; what it has measured is remembered.
    pub(super) fn leave_origin(&mut self) {
        let Some(origin) = self.membership.origin.take() else {
            return;
        };
        let now = self.now();
        if let Some(facts) = self.world.scaling.part(now, &origin, self.id) {
            // What one request tells is remembered with the outcome.
            let facts = Facts {
                rtt: None,
                handshake: None,
                ..facts
            };
            self.world.origins.note(&origin, facts);
            let (http3, tcp) = self.tally.take_rates();
            let http3 = http3.map(Http3Fact::Rate);
            for rate in http3.into_iter().chain(tcp.map(Http3Fact::TcpRate)) {
                self.world.origins.note_http3(&origin, rate);
            }
            self.tell_learned(&origin);
        }
    }

    /// Tells what is remembered of an origin by now.
    pub(super) fn tell_learned(&self, origin: &Origin) {
        if !self.board.is_heard() {
            return;
        }
        if let Some(record) = self.world.origins.recall(origin) {
            self.tell(What::OriginLearned(Box::new(record)));
        }
    }

    pub(super) fn tell_scaler(&self, event: LanesEvent) {
        if let Some(origin) = &self.membership.origin {
            self.world.scaling.tell(self.now(), origin, event);
        }
    }

    /// A lane has brought bytes up to `upto`.
    pub(super) fn tell_landed(&mut self, id: LaneId, upto: u64, busy: std::time::Duration) {
        let lane = self.asker(id);
        let Some(found) = self.lanes.get_mut(&id) else {
            return;
        };
        let Some(fetching) = found.fetching.as_mut() else {
            return;
        };
        let bytes = upto.saturating_sub(fetching.landed);
        fetching.landed = fetching.landed.max(upto);
        fetching.underway.landed(bytes);
        if let Some(lent) = &found.lent {
            self.tally.carried(lent.facts.protocol, bytes, Some(busy));
        }
        let Some(fetching) = &found.fetching else {
            return;
        };
        if self.membership.origin.as_ref() != Some(&fetching.order.target.origin) {
            return;
        }
        self.tell_scaler(LanesEvent::Landed { lane, bytes, busy });
    }

    /// A lane's fetch is over, and bytes up to `upto` came: the last of them are told here.
    pub(super) fn tell_last(&mut self, id: LaneId, upto: u64) {
        let Some(lane) = self.lanes.get(&id) else {
            return;
        };
        if let Some(fetching) = &lane.fetching {
            let bytes = upto.saturating_sub(fetching.landed);
            fetching.underway.landed(bytes);
            if let Some(lent) = &lane.lent {
                self.tally.carried(lent.facts.protocol, bytes, None);
            }
        }
    }

    /// A lane's request was answered.
    pub(super) fn tell_answered(&mut self, id: LaneId) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        if let Some(lent) = &lane.lent {
            self.refused_on.remove(&lent.id);
        }
        let here = self.membership.origin.as_ref();
        let fetching = lane.fetching.as_ref();
        if let Some(fetching) = fetching {
            blend(&mut self.tally.metrics.rtt, now.since(fetching.asked_at));
        }
        let Some(rtt) = fetching
            .filter(|fetching| Some(&fetching.order.target.origin) == here)
            .map(|fetching| now.since(fetching.asked_at))
        else {
            return;
        };
        let reused = lane
            .lent
            .as_mut()
            .is_some_and(|lent| std::mem::replace(&mut lent.used, true));
        self.tell_scaler(LanesEvent::Answered { rtt, reused });
    }

    /// What the scaler says.
    pub(super) fn heed_scaler(&mut self, order: Order) {
        match order {
            Order::Width(lanes) => self.tell_machine(Event::Width(lanes)),
            Order::Note(note) => {
                tracing::debug!(id = self.id, %note);
                let told = note.to_string();
                self.tell(match note {
                    ScalerNote::Limited { .. } => What::Note(told),
                    _ => What::Decision(told),
                });
            }
        }
    }
}
