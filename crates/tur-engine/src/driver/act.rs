//! Obeying the machine: each action becomes an operation, a word to a pool, or a call to storage.

use std::sync::Arc;
use std::time::Duration;

use tur_core::port::{Request, Session, Transport};
use tur_core::{Fault, Origin};
use tur_sched::{
    Action, Asker, Decision, Ended, Event, Facts, FetchOrder, Gate, LaneId, LanesEvent, LeaseId,
    PoolEvent, SessionId,
};
use tur_storage::{Disk, StorageError};

use super::lane::{Done, Fetching, Lane, Lent};
use super::slot::stoppable;
use super::store::Store;
use super::{Driver, End};
use crate::metrics::blend;
use crate::passport::Shown;
use crate::sessions::Word;
use crate::{LaneState, What};

impl<T: Transport, D: Disk + Clone, B: Store<D>> Driver<'_, T, D, B> {
    /// Does everything the machine wants.
    pub(super) fn obey(&mut self) {
        while let Some(action) = self.transfer.poll_action() {
            self.act(action);
        }
        let lanes = u16::try_from(self.transfer.lanes_streaming()).unwrap_or(u16::MAX);
        self.tally.lanes_max = self.tally.lanes_max.max(lanes);
        self.follow_origin();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Want { lane, origin } => self.want(lane, origin),
            Action::Yield { lane } => self.give_back(lane),
            Action::Fetch(order) => self.fetch(order),
            Action::Cut { lease, at } => {
                let at = self.gate(lease).map_or(at, |gate| gate.cut(at));
                let now = self.now();
                self.transfer.handle(now, Event::CutAt { lease, at });
            }
            Action::Extend { lease, end } => {
                if let Some(gate) = self.gate(lease) {
                    gate.extend(end);
                }
            }
            Action::Abort { lease } => self.abort(lease),
            Action::Restart { why } => {
                self.opened = false;
                self.fetched_anew();
                B::restart(self, &why);
            }
            Action::Forget { range } => {
                self.fetched_anew();
                B::forget(self, range);
            }
            Action::Note(decision) => self.note(decision),
            Action::Complete { total } => self.end = Some(End::Landed(total)),
            Action::Fail(failure) => self.end = Some(End::Failed(failure)),
        }
    }

    pub(super) fn broken(&mut self, error: StorageError) {
        self.end = Some(End::Broken(error.into()));
    }

    /// What was said of an earlier beginning does not hold for this one.
    fn fetched_anew(&mut self) {
        let landed = self.transfer.ledger().landed().len();
        self.tally.resumed = self.tally.resumed.min(landed);
        self.tally.unverifiable = false;
    }

    fn note(&mut self, decision: Decision) {
        tracing::debug!(id = self.id, %decision);
        self.tally.decision(&decision);
        self.tell(What::Decision(decision.to_string()));
        match decision {
            Decision::Retrying {
                attempt,
                after,
                why,
                ..
            } => {
                self.tell(What::Retrying {
                    why: why.to_string(),
                    after,
                    attempt,
                });
            }
            Decision::Stalled { lane } => {
                self.tell_silent(lane);
                let lent = self.lanes.get(&lane).and_then(|lane| lane.lent.as_ref());
                if let Some(lent) = lent {
                    lent.session.stalled();
                }
            }
            Decision::Resumed { at } => self.tell(What::Resumed { at }),
            Decision::Restarted { why } => self.tell(What::Restarted { why }),
            Decision::Fewer { .. } => {
                let transfer = self.id;
                self.tell_scaler(LanesEvent::Refused { transfer });
            }
            Decision::SingleStream { .. }
            | Decision::Comparing { .. }
            | Decision::Resolving { .. }
            | Decision::Away { .. }
            | Decision::Back => self.tell(What::Note(decision.to_string())),
            Decision::Planned { .. }
            | Decision::Agreed { .. }
            | Decision::Stole { .. }
            | Decision::Revoked { .. }
            | Decision::Width { .. } => {}
        }
    }

    pub(super) fn asker(&self, lane: LaneId) -> Asker {
        Asker {
            transfer: self.id,
            lane,
        }
    }

    fn want(&mut self, lane: LaneId, origin: Origin) {
        self.lanes.entry(lane).or_default().wanting = Some(origin.clone());
        let asker = self.asker(lane);
        self.world
            .sessions
            .tell(self.now(), &origin, PoolEvent::Want(asker));
    }

    /// Returns what a lane holds to its pool, and takes back what it asked for.
    fn give_back(&mut self, id: LaneId) {
        let (now, asker) = (self.now(), self.asker(id));
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.stop();
        if let Some(origin) = lane.wanting.take() {
            self.world
                .sessions
                .tell(now, &origin, PoolEvent::Withdraw(asker));
        }
        self.return_session(id);
    }

    /// Returns a lane's session; it can be used again if it is still open.
    pub(super) fn return_session(&mut self, id: LaneId) {
        let (now, asker) = (self.now(), self.asker(id));
        let Some(lent) = self.lanes.get_mut(&id).and_then(|lane| lane.lent.take()) else {
            return;
        };
        let room = match lent.unwanted {
            true => 0,
            false => room(&*lent.session),
        };
        self.learn_window(&lent);
        let Lent {
            id: session,
            origin,
            session: ours,
            ..
        } = lent;
        drop(ours);
        self.world
            .sessions
            .tell(now, &origin, returned(session, asker, room));
    }

    /// Notes what was on its way at once, where a session has measured more than was noted of it before.
    fn learn_window(&mut self, lent: &Lent<T::Session>) {
        let window = lent.session.facts().window;
        let Some(product) = window.and_then(|window| window.product) else {
            return;
        };
        if self.tally.product < Some(product) {
            self.tally.product = Some(product);
            let facts = Facts {
                window: Some(product),
                ..Facts::default()
            };
            self.world.origins.note(&lent.origin, facts);
        }
    }

    /// Stops everything and returns everything.
    pub(super) fn release_all(&mut self) {
        // Words that are under way are for lanes that want nothing any more; what they lend goes back.
        for id in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.give_back(id);
        }
        while let Ok(word) = self.words.try_recv() {
            self.word(word);
        }
        self.lanes.clear();
        if !self.ops.is_empty() {
            // An empty set is made anew by this, too.
            self.ops.clear();
        }
    }

    /// What a pool says.
    pub(super) fn word(&mut self, word: Word<T::Session>) {
        match word {
            Word::Note(text) => self.tell(What::Note(text)),
            Word::GiveWay { lane, id } => self.give_way(lane, id),
            Word::Room { origin, lanes } => {
                let now = self.now();
                let event = LanesEvent::Room { lanes };
                self.world.scaling.tell(now, &origin, event);
            }
            Word::Open { lane, id, origin } => self.connect(lane, id, origin),
            Word::Lend {
                lane,
                id,
                origin,
                session,
            } => self.lend(
                lane,
                Lent {
                    id,
                    origin,
                    facts: session.facts(),
                    session,
                    used: false,
                    asked: false,
                    unwanted: false,
                },
            ),
        }
    }

    /// Gives a lane's place to somebody more urgent. What it was doing is cut, and asked for again when its turn comes.
    fn give_way(&mut self, id: LaneId, session: SessionId) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        let Some(lent) = lane.lent.as_ref().filter(|lent| lent.id == session) else {
            if lane.wanting.is_some() {
                // It was connecting. What comes of that is nobody's, and says nothing of the wish that waits now.
                lane.stop();
            }
            // Else it has given it back meanwhile.
            return;
        };
        let brought = lane
            .fetching
            .as_ref()
            .map_or(0, |f| f.gate.taken().saturating_sub(f.order.grant.start));
        if !self.transfer.may_give_way(brought) {
            // All of it would have to come again, and might never come to its end.
            let (now, origin) = (self.world.clock.now(), lent.origin.clone());
            let asker = self.asker(id);
            return self.world.sessions.keep(now, &origin, (session, asker));
        }
        // Stopped first: then nothing is between what the gate has granted and what is written.
        lane.stop();
        if let Some(upto) = lane.fetching.as_ref().map(|f| f.gate.taken()) {
            self.tell_last(id, upto);
        }
        let fetching = self
            .lanes
            .get_mut(&id)
            .and_then(|lane| lane.fetching.take());
        self.return_session(id);
        let event = match fetching {
            Some(fetching) => {
                self.tell(What::Decision(format!("lane {} gives way", id.0)));
                Event::Ended {
                    lease: fetching.order.lease,
                    at: fetching.gate.taken(),
                    how: Ended::Cut,
                    session: false,
                }
            }
            None => Event::Gone { lane: id },
        };
        self.tell_machine(event);
    }

    fn connect(&mut self, lane_id: LaneId, id: SessionId, origin: Origin) {
        let Some(lane) = self
            .lanes
            .get_mut(&lane_id)
            .filter(|lane| lane.wanting.as_ref() == Some(&origin))
        else {
            // Not wanted any more; the pool must not wait for it.
            let now = self.world.clock.now();
            return self
                .world
                .sessions
                .tell(now, &origin, PoolEvent::Failed(id));
        };
        let transport = Arc::clone(&self.world.transport);
        let (op, running) = stoppable(async move {
            let result = transport.open(&origin).await;
            Done::Connected {
                lane: lane_id,
                id,
                origin,
                result,
            }
        });
        lane.runs(op);
        self.ops.push(running);
        self.stalls.moved();
    }

    fn lend(&mut self, lane_id: LaneId, lent: Lent<T::Session>) {
        let (now, asker) = (self.now(), self.asker(lane_id));
        let wanted = self
            .lanes
            .get_mut(&lane_id)
            .filter(|lane| lane.wanting.as_ref() == Some(&lent.origin));
        let Some(lane) = wanted else {
            let back = returned(lent.id, asker, room(&*lent.session));
            return self.world.sessions.tell(now, &lent.origin, back);
        };
        let fresh = lane.connected == Some(lent.id);
        if !lent.session.is_open() {
            let sessions = &self.world.sessions;
            sessions.tell(now, &lent.origin, returned(lent.id, asker, 0));
            if !fresh && self.closed_in_a_row < CLOSED_MAX {
                // Closed by the origin while nobody looked: another one, then.
                self.closed_in_a_row += 1;
                return sessions.tell(now, &lent.origin, PoolEvent::Want(asker));
            }
            lane.wanting = None;
            let text = "the server closed the connection before anything was asked";
            let fault = Fault::Lost(text.to_owned());
            return self.tell_machine(Event::Denied {
                lane: lane_id,
                fault,
            });
        }
        lane.wanting = None;
        lane.connected = None;
        self.closed_in_a_row = 0;
        let lent = Lent {
            used: !fresh,
            asked: !fresh,
            ..lent
        };
        // Zero stands for a session that was there; a fresh one never takes no time at all.
        let handshake = if fresh {
            lent.facts.handshake.max(Duration::from_micros(1))
        } else {
            Duration::ZERO
        };
        let protocol = lent.facts.protocol;
        self.tally.speaks(protocol);
        lane.lent = Some(lent);
        if fresh {
            blend(&mut self.tally.metrics.handshake, handshake);
            self.tell_scaler(LanesEvent::Opened { handshake });
        }
        let streams = protocol != "h1";
        if std::mem::replace(&mut self.streams, streams) != streams {
            self.tell_machine(Event::Streams(streams));
        }
        self.tell_machine(Event::Granted {
            lane: lane_id,
            handshake,
        });
    }

    /// What an operation brought.
    pub(super) fn done(&mut self, done: Done<T::Session, D>) {
        if done.moves() {
            self.stalls.moved();
        }
        match done {
            Done::Connected {
                lane,
                id,
                origin,
                result,
            } => self.connected(lane, (id, origin), result),
            Done::Answered { lane, result } => self.answered(lane, *result),
            Done::Looked { lane, answer, seen } => self.looked(lane, *answer, &seen),
            Done::Flowed { lane, flow, said } => self.flowed(lane, flow, said),
        }
    }

    fn connected(
        &mut self,
        lane: LaneId,
        (id, origin): (SessionId, Origin),
        result: Result<T::Session, Fault>,
    ) {
        let now = self.now();
        match result {
            Ok(session) => {
                let facts = session.facts();
                self.tally.connection(facts.protocol);
                if let Some(window) = facts.window {
                    self.tally.metrics.windows.count(window);
                }
                self.lanes.entry(lane).or_default().connected = Some(id);
                let room = room(&session);
                self.world
                    .sessions
                    .opened(now, &origin, (id, room), Arc::new(session));
            }
            Err(fault) => {
                let short = matches!(fault, Fault::Exhausted(_));
                if short && self.world.sessions.exhausted(now, &origin, id) {
                    // The lane goes on waiting: another connection of this process will go.
                    return;
                }
                self.lanes.entry(lane).or_default().wanting = None;
                self.world
                    .sessions
                    .tell(now, &origin, PoolEvent::Failed(id));
                self.tell_machine(Event::Denied { lane, fault });
            }
        }
    }

    fn fetch(&mut self, order: FetchOrder) {
        let (request, shown) = self.request(&order);
        let (lane_id, asked_at) = (order.lane, self.now());
        let lane = self.lanes.entry(lane_id).or_default();
        // Credentials are chosen by the target: they must not travel on a session to anybody else.
        let lent = lane
            .lent
            .as_mut()
            .filter(|lent| lent.origin == order.target.origin);
        let Some(lent) = lent else {
            self.return_session(lane_id);
            return self.tell_machine(Event::Again {
                lease: order.lease,
                session: false,
            });
        };
        let session = Arc::clone(&lent.session);
        let reused = std::mem::replace(&mut lent.asked, true);
        self.tally.request(lent.facts.protocol, reused);
        let gate = Arc::new(Gate::new(order.grant.start, order.grant.end));
        lane.fetching = Some(Fetching {
            landed: order.grant.start,
            order,
            gate,
            shown,
            asked_at,
            state: LaneState::Asking,
            underway: self.world.sampler.fetch_began(),
        });
        let (op, running) = stoppable(async move {
            let result = Box::new(session.fetch(request).await);
            Done::Answered {
                lane: lane_id,
                result,
            }
        });
        lane.runs(op);
        self.ops.push(running);
        self.stalls.moved();
    }

    /// The request of an order, and what it shows. What the user added, secrets among it, goes to the first origin alone.
    fn request(&mut self, order: &FetchOrder) -> (Request, Shown) {
        let (fields, shown) = self.passport.fields(&order.target);
        let if_range = self
            .identity()
            .filter(|_| order.if_range)
            .and_then(tur_core::Identity::if_range);
        let request = Request {
            target: order.target.clone(),
            ask: order.ask,
            if_range,
            no_cache: order.no_cache,
            fields,
        };
        (request, shown)
    }

    fn lane_of(&mut self, lease: LeaseId) -> Option<(LaneId, &mut Lane<T::Session, D>)> {
        let runs = |lane: &Lane<T::Session, D>| {
            lane.fetching
                .as_ref()
                .is_some_and(|f| f.order.lease == lease)
        };
        self.lanes
            .iter_mut()
            .find(|(_, lane)| runs(lane))
            .map(|(id, lane)| (*id, lane))
    }

    pub(super) fn gate(&mut self, lease: LeaseId) -> Option<Arc<Gate>> {
        let (_, lane) = self.lane_of(lease)?;
        lane.fetching
            .as_ref()
            .map(|fetching| Arc::clone(&fetching.gate))
    }

    fn abort(&mut self, lease: LeaseId) {
        let mut at = None;
        let now = self.now();
        if let Some((id, lane)) = self.lane_of(lease) {
            // Stopped first: then nothing is between what the gate has granted and what is written.
            lane.stop();
            let fetching = lane.fetching.take();
            // What was asked just now, and is not wanted any more, says nothing of a session that had rested.
            let unanswered = |fetching: &Fetching| {
                fetching.state == LaneState::Asking && now.since(fetching.asked_at) >= UNANSWERED
            };
            if let Some(lent) = lane
                .lent
                .as_ref()
                .filter(|_| fetching.as_ref().is_some_and(unanswered))
            {
                lent.session.unanswered();
            }
            at = fetching.map(|fetching| fetching.gate.taken());
            self.return_session(id);
        }
        let at = at.or_else(|| {
            self.transfer
                .ledger()
                .lease(lease)
                .map(|lease| lease.rest.start)
        });
        let event = Event::Ended {
            lease,
            at: at.unwrap_or_default(),
            how: Ended::Cut,
            session: false,
        };
        self.transfer.handle(now, event);
    }
}

/// So many sessions in a row may be found closed without that being anybody's failure.
const CLOSED_MAX: u32 = 16;

/// A request that is given up sooner than this does not tell its session that no answer came.
const UNANSWERED: Duration = Duration::from_secs(1);

/// Requests that a session runs at once; 0 if it can take no other one.
fn room<S: Session>(session: &S) -> usize {
    match session.is_open() {
        true => session.capacity().max(1),
        false => 0,
    }
}

/// A lane gives its session back.
fn returned(session: SessionId, asker: Asker, room: usize) -> PoolEvent {
    PoolEvent::Returned {
        session,
        asker,
        room,
    }
}
