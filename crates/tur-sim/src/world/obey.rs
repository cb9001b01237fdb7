//! Obeying the machines, as the engine's driver does: each action becomes an operation, or a word to a pool.

use std::sync::Arc;

use core::time::Duration;

use tur_core::{ByteRange, Fault, Origin};
use tur_sched::{
    Action, Asker, Decision, Ended, Event, FetchOrder, Gate, LaneId, LanesEvent, LeaseId,
    PoolEvent, SessionId,
};

use super::lane::{Fetching, Lent, Op, Socket, Word};
use super::life::End;
use super::{Due, World};
use crate::net::ConnId;
use crate::violation::Violation;

impl World<'_> {
    /// An event for a machine; its actions follow at once.
    pub(super) fn tell(&mut self, d: usize, event: Event) {
        if self.downloads[d].transfer.is_some() {
            self.hand(d, event);
            self.obey(d);
        }
    }

    fn hand(&mut self, d: usize, event: Event) {
        let now = self.timestamp();
        self.trace.event(self.now, d, &event);
        if let Some(transfer) = &mut self.downloads[d].transfer {
            transfer.handle(now, event);
        }
    }

    /// Does everything a machine wants.
    pub(super) fn obey(&mut self, d: usize) {
        while let Some(action) = self.downloads[d]
            .transfer
            .as_mut()
            .and_then(|t| t.poll_action())
        {
            self.trace.action(&action);
            self.act(d, action);
        }
        self.look(d);
        self.attend(d);
    }

    fn act(&mut self, d: usize, action: Action) {
        match action {
            Action::Want { lane, origin } => {
                let entry = self.downloads[d].lanes.entry(lane).or_default();
                if entry.is_at_work() {
                    self.broken(Violation::Impossible(format!(
                        "lane {} wants twice",
                        lane.0
                    )));
                    return;
                }
                entry.wanting = Some(origin.clone());
                self.tell_pool(&origin, PoolEvent::Want(asker(d, lane)));
            }
            Action::Yield { lane } => self.give_back(d, lane),
            Action::Fetch(order) => self.fetch(d, order),
            Action::Cut { lease, at } => {
                let at = match self.running(d, lease) {
                    Some(lane) => {
                        self.write(d, lane);
                        self.gate(d, lane).map_or(at, |gate| gate.cut(at))
                    }
                    None => at,
                };
                self.hand(d, Event::CutAt { lease, at });
                self.gates_are_disjoint(d);
            }
            Action::Extend { lease, end } => {
                match self.running(d, lease).and_then(|lane| self.gate(d, lane)) {
                    Some(gate) => gate.extend(end),
                    None => self.broken(Violation::Impossible(format!("extend {lease:?}"))),
                }
                self.gates_are_disjoint(d);
            }
            Action::Abort { lease } => self.abort(d, lease),
            Action::Restart { .. } => self.downloads[d].truth.forget(ByteRange::from(0)),
            Action::Forget { range } => self.downloads[d].truth.forget(range),
            Action::Note(Decision::Fewer { .. }) => {
                self.tell_home(d, LanesEvent::Refused { transfer: d as u64 });
            }
            Action::Note(_) => {}
            Action::Complete { total } => self.downloads[d].end = Some(End::Landed(total)),
            Action::Fail(failure) => self.downloads[d].end = Some(End::Failed(failure)),
        }
    }

    pub(super) fn gate(&self, d: usize, lane: LaneId) -> Option<Arc<Gate>> {
        let fetching = self.downloads[d].lanes.get(&lane)?.fetching.as_ref()?;
        Some(Arc::clone(&fetching.gate))
    }

    /// The lane that fetches a lease.
    fn running(&self, d: usize, lease: LeaseId) -> Option<LaneId> {
        let lanes = self.downloads[d].lanes.iter();
        let fetches = |fetching: &Fetching| fetching.order.lease == lease;
        lanes
            .filter(|(_, lane)| lane.fetching.as_ref().is_some_and(fetches))
            .map(|(id, _)| *id)
            .next()
    }

    fn fetch(&mut self, d: usize, order: FetchOrder) {
        let (lane_id, lease) = (order.lane, order.lease);
        let lent = self.downloads[d]
            .lanes
            .get(&lane_id)
            .and_then(|lane| lane.lent.clone());
        let Some(lent) = lent.filter(|lent| lent.origin == order.target.origin) else {
            // Credentials are chosen by the target: they must not travel on a session to anybody else.
            return self.broken(Violation::Impossible(format!(
                "{lease:?} without a session"
            )));
        };
        let (op, asked_at) = (self.new_op(d, lane_id), self.now);
        let download = &mut self.downloads[d];
        download.tally.requests += 1;
        let requests = download.tally.requests;
        let gate = Arc::new(Gate::new(order.grant.start, order.grant.end));
        let lane = download.lanes.entry(lane_id).or_default();
        if lane.fetching.is_some() {
            return self.broken(Violation::Impossible(format!(
                "lane {} fetches twice",
                lane_id.0
            )));
        }
        lane.op = Some(op);
        lane.fetching = Some(Fetching {
            order,
            gate,
            conn: lent.conn,
            asked_at,
            body: None,
        });
        if requests > self.scenario.bounds.requests {
            self.broken(Violation::TooManyRequests(requests));
        }
        self.plan(self.there(), Due::Request(op, lent.conn));
        self.gates_are_disjoint(d);
    }

    fn abort(&mut self, d: usize, lease: LeaseId) {
        let mut at = None;
        if let Some(lane) = self.running(d, lease) {
            self.write(d, lane);
            at = self.gate(d, lane).map(|gate| gate.taken());
            self.stop(d, lane);
            self.return_session(d, lane, false);
        }
        let ledger = self.downloads[d]
            .transfer
            .as_ref()
            .map(|transfer| transfer.ledger());
        let rest = ledger
            .and_then(|ledger| ledger.lease(lease))
            .map(|lease| lease.rest.start);
        let event = Event::Ended {
            lease,
            at: at.or(rest).unwrap_or_default(),
            how: Ended::Cut,
            session: false,
        };
        self.hand(d, event);
    }

    /// Drops what a lane runs. What is under way on its connection is wasted.
    pub(super) fn stop(&mut self, d: usize, lane: LaneId) {
        let Some(entry) = self.downloads[d].lanes.get_mut(&lane) else {
            return;
        };
        entry.op = None;
        let (fetching, dialling) = (entry.fetching.take(), entry.dialling.take());
        if let Some(conn) = dialling {
            self.drop_conn(conn);
        }
        if let Some(fetching) = fetching
            && let Some(body) = fetching.body
        {
            let coming = self.net.in_flight(fetching.conn) + self.net.arrived(fetching.conn);
            self.downloads[d].tally.wasted += coming.min(body.end.saturating_sub(body.at));
            self.net.stop(fetching.conn);
        }
    }

    /// Returns what a lane holds to its pool, and takes back what it asked for.
    pub(super) fn give_back(&mut self, d: usize, id: LaneId) {
        let idle = self.downloads[d]
            .lanes
            .get(&id)
            .is_some_and(|lane| lane.fetching.is_none());
        self.stop(d, id);
        let wanting = self.downloads[d]
            .lanes
            .get_mut(&id)
            .and_then(|lane| lane.wanting.take());
        if let Some(origin) = wanting {
            self.tell_pool(&origin, PoolEvent::Withdraw(asker(d, id)));
        }
        self.return_session(d, id, idle);
    }

    /// Returns a lane's session; `open` if it can be used again.
    pub(super) fn return_session(&mut self, d: usize, id: LaneId, open: bool) {
        let lent = self.downloads[d]
            .lanes
            .get_mut(&id)
            .and_then(|lane| lane.lent.take());
        let Some(Lent {
            id: session,
            origin,
            conn,
        }) = lent
        else {
            return;
        };
        let open = open && self.is_open(conn);
        self.tell_pool(&origin, returned(session, asker(d, id), open));
    }

    /// True unless we know that the far end has closed the connection.
    fn is_open(&self, conn: ConnId) -> bool {
        let Some(socket) = self.sockets.get(&conn) else {
            return false;
        };
        let idle_max = self
            .desk
            .server()
            .idle_max
            .map_or(u64::MAX, crate::origin::micros);
        // The news travels, so a connection may be gone without our knowing it.
        let known = idle_max.saturating_add(2 * self.net.rtt());
        socket
            .used_at
            .is_none_or(|used_at| self.now.saturating_sub(used_at) <= known)
    }

    /// What a pool says, or the lanes of an origin.
    pub(super) fn word(&mut self, word: Word) {
        match word {
            Word::Open {
                download,
                lane,
                id,
                origin,
            } => self.connect(download, lane, id, origin),
            Word::Lend {
                download,
                lane,
                id,
                origin,
            } => self.lend(download, lane, id, origin),
            Word::Width { download, lanes } => self.tell(download, Event::Width(lanes)),
            Word::Room { origin, lanes } => self.make_room(&origin, lanes),
        }
    }

    fn wants(&self, d: usize, lane: LaneId, origin: &Origin) -> bool {
        let lane = self.downloads[d].lanes.get(&lane);
        lane.is_some_and(|lane| lane.wanting.as_ref() == Some(origin))
    }

    fn connect(&mut self, d: usize, lane: LaneId, id: SessionId, origin: Origin) {
        if !self.wants(d, lane, &origin) {
            return self.tell_pool(&origin, PoolEvent::Failed(id));
        }
        if self.dice.chance(self.scenario.caps.exhausted) {
            return self.is_short(d, lane, (id, origin));
        }
        let op = self.new_op(d, lane);
        self.stop(d, lane);
        self.downloads[d].lanes.entry(lane).or_default().op = Some(op);
        self.plan(self.there(), Due::Knock(op, id, origin));
    }

    /// This machine has nothing left for a connection.
    fn is_short(&mut self, d: usize, lane: LaneId, (id, origin): (SessionId, Origin)) {
        if self.exhausted(&origin, id) {
            return;
        }
        if let Some(entry) = self.downloads[d].lanes.get_mut(&lane) {
            entry.wanting = None;
        }
        let fault = Fault::Exhausted("no descriptor".into());
        self.tell(d, Event::Denied { lane, fault });
    }

    /// The first packet of a connection arrives at the origin, which takes it or refuses it.
    pub(super) fn knocks(&mut self, op: Op, id: SessionId, origin: Origin) {
        if !self.is_running(op) {
            return;
        }
        let handshake = crate::origin::micros(self.scenario.link.handshake());
        let sent = self.now.saturating_sub(self.net.rtt() / 2);
        if !self.desk.accepts() {
            return self.plan(self.there(), Due::Connected(op, id, origin, None));
        }
        self.desk.connected += 1;
        let conn = self.net.open(self.receive_buffer(op.download));
        let at = (sent + handshake).max(self.there());
        self.sockets.insert(
            conn,
            Socket {
                answering: false,
                answered: false,
                carried: 0,
                used_at: None,
                set_up: (at - sent).max(1),
            },
        );
        if let Some(lane) = self.downloads[op.download].lanes.get_mut(&op.lane) {
            lane.dialling = Some(conn);
        }
        self.plan(at, Due::Connected(op, id, origin, Some(conn)));
    }

    pub(super) fn connected(
        &mut self,
        op: Op,
        id: SessionId,
        origin: &Origin,
        conn: Option<ConnId>,
    ) {
        if !self.is_running(op) {
            return;
        }
        let download = &mut self.downloads[op.download];
        let lane = download.lanes.entry(op.lane).or_default();
        (lane.op, lane.dialling) = (None, None);
        if let Some(conn) = conn {
            download.tally.connections += 1;
            if let Some(side) = self.origins.get_mut(origin) {
                side.live.insert(id, conn);
            }
            let opened = PoolEvent::Opened {
                session: id,
                room: 1,
            };
            return self.tell_pool(origin, opened);
        }
        lane.wanting = None;
        self.tell_pool(origin, PoolEvent::Failed(id));
        let fault = Fault::Connect {
            host: origin.authority(),
            detail: "refused".into(),
        };
        let lane = op.lane;
        self.tell(op.download, Event::Denied { lane, fault });
    }

    fn lend(&mut self, d: usize, lane: LaneId, id: SessionId, origin: Origin) {
        let Some(conn) = self
            .origins
            .get(&origin)
            .and_then(|side| side.live.get(&id))
            .copied()
        else {
            return;
        };
        let open = self.is_open(conn);
        if !self.wants(d, lane, &origin) {
            return self.tell_pool(&origin, returned(id, asker(d, lane), open));
        }
        if !open {
            // Closed by the origin while nobody looked: another one, then.
            self.tell_pool(&origin, returned(id, asker(d, lane), open));
            return self.tell_pool(&origin, PoolEvent::Want(asker(d, lane)));
        }
        let entry = self.downloads[d].lanes.entry(lane).or_default();
        entry.wanting = None;
        entry.lent = Some(Lent { id, origin, conn });
        let set_up = self
            .sockets
            .get_mut(&conn)
            .map_or(0, |socket| std::mem::take(&mut socket.set_up));
        let handshake = Duration::from_micros(set_up);
        if set_up > 0 {
            self.tell_home(d, LanesEvent::Opened { handshake });
        }
        self.tell(d, Event::Granted { lane, handshake });
    }

    /// A connection is closed by us. The origin notices later.
    pub(super) fn drop_conn(&mut self, conn: ConnId) {
        self.net.close(conn);
        if let Some(socket) = self.sockets.remove(&conn) {
            let answering = socket.answering;
            self.plan(self.there(), Due::Gone { answering });
        }
    }
}

/// The name of a lane at a pool.
pub(super) fn asker(d: usize, lane: LaneId) -> Asker {
    Asker {
        transfer: d as u64,
        lane,
    }
}

/// A lane gives its connection back.
fn returned(session: SessionId, asker: Asker, open: bool) -> PoolEvent {
    PoolEvent::Returned {
        session,
        asker,
        room: usize::from(open),
    }
}
