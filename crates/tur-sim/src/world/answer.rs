//! What the far end does, turned into events, as the engine's driver does it.

use core::time::Duration;

use tur_core::{Answer, Fault, Target};
use tur_sched::{Event, LanesEvent};

use super::lane::{Body, Op, Turn};
use super::{Due, World};
use crate::admit::{Admitted, admit};
use crate::net::ConnId;
use crate::origin::{Asked, Feed, Head, Reply};

/// A body up to this length is read to its end although nobody wants it, to keep its connection.
const DRAIN_MAX: u64 = 64 * 1024;

impl World<'_> {
    /// A request arrives at the origin.
    pub(super) fn request_arrives(&mut self, op: Op, conn: ConnId) {
        let idle_max = self
            .desk
            .server()
            .idle_max
            .map_or(u64::MAX, crate::origin::micros);
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(&conn).filter(|_| {
            let lane = self.downloads[op.download].lanes.get(&op.lane);
            lane.is_some_and(|lane| lane.op == Some(op))
        }) else {
            return;
        };
        if socket
            .used_at
            .is_some_and(|used_at| now.saturating_sub(used_at) > idle_max)
        {
            let fault = Fault::Lost("closed while idle".into());
            return self.plan(self.there(), Due::Broke(op, fault));
        }
        socket.answering = true;
        self.desk.answering += 1;
        let reply = self.reply(op);
        let at = self.there() + crate::origin::micros(reply.after);
        match &reply.head {
            Head::Nothing => {}
            Head::Broken(fault) => {
                let fault = fault.clone();
                self.plan(at, Due::Broke(op, fault));
            }
            Head::Answer(_) => self.plan(at, Due::Head(op, Box::new(reply))),
        }
    }

    fn reply(&mut self, op: Op) -> Reply {
        let download = &self.downloads[op.download];
        let order = download
            .lanes
            .get(&op.lane)
            .and_then(|lane| lane.fetching.as_ref())
            .map(|fetching| &fetching.order)
            .expect("the operation of a lane that fetches is its request");
        let identity = download
            .transfer
            .as_ref()
            .and_then(|transfer| transfer.identity());
        let asked = Asked {
            target: &order.target,
            ask: order.ask,
            if_range: identity
                .filter(|_| order.if_range)
                .and_then(tur_core::Identity::if_range),
        };
        self.desk.answer(self.now, &asked)
    }

    /// The connection broke before a head came.
    pub(super) fn broke(&mut self, op: Op, fault: Fault) {
        if self.is_running(op) {
            self.refused(op, fault, false);
        }
    }

    fn refused(&mut self, op: Op, fault: Fault, session: bool) {
        let Some(lease) = self.settle_session(op, session) else {
            return;
        };
        let event = Event::Refused {
            lease,
            fault,
            session,
        };
        self.tell(op.download, event);
    }

    /// Ends a lane's fetch, and returns its session to the pool if it cannot be used again.
    pub(super) fn settle_session(&mut self, op: Op, usable: bool) -> Option<tur_sched::LeaseId> {
        let lane = self.downloads[op.download].lanes.get_mut(&op.lane)?;
        lane.op = None;
        let fetching = lane.fetching.take()?;
        self.net.stop(fetching.conn);
        if usable {
            let now = self.now;
            if let Some(socket) = self.sockets.get_mut(&fetching.conn) {
                socket.used_at = Some(now);
                self.desk.answering -= usize::from(std::mem::take(&mut socket.answering));
            }
        } else {
            self.return_session(op.download, op.lane, false);
        }
        Some(fetching.order.lease)
    }

    /// The head of an answer arrives.
    pub(super) fn head(&mut self, op: Op, reply: Reply) {
        if !self.is_running(op) {
            return;
        }
        let Head::Answer(answer) = &reply.head else {
            return;
        };
        let download = &self.downloads[op.download];
        let fetching = download
            .lanes
            .get(&op.lane)
            .and_then(|lane| lane.fetching.as_ref());
        let Some((order, asked_at, conn)) = fetching.map(|f| (f.order.clone(), f.asked_at, f.conn))
        else {
            return;
        };
        let socket = self.sockets.get_mut(&conn);
        let reused = socket.is_some_and(|socket| std::mem::replace(&mut socket.answered, true));
        let answered = LanesEvent::Answered {
            rtt: Duration::from_micros(self.now - asked_at),
            reused,
        };
        self.tell_home(op.download, answered);
        let short =
            reply.feed.len <= DRAIN_MAX && reply.feed.clean && reply.feed.stall_after.is_none();
        let session = reply.keeps && short;
        if let Answer::Moved { location, .. } = answer {
            let target = self.follow(&order.target, location);
            if let Some(lease) = self.settle_session(op, session) {
                let event = Event::Moved {
                    lease,
                    target,
                    session,
                };
                self.tell(op.download, event);
            }
            return;
        }
        let transfer = self.downloads[op.download].transfer.as_ref();
        let identity = transfer.and_then(|transfer| transfer.identity());
        match admit(answer, order.ask, order.if_range, identity) {
            Ok(admitted) => self.open(op, admitted, &reply),
            Err(fault) => {
                // Bytes of a body that is not drained are received for nothing.
                if !session {
                    let first = 10 * 1460;
                    self.downloads[op.download].tally.wasted += reply.feed.len.min(first);
                }
                self.refused(op, fault, session);
            }
        }
    }

    fn follow(&self, from: &Target, location: &str) -> Target {
        let mut origin = from.origin.clone();
        if self
            .desk
            .server()
            .signed
            .is_some_and(|signed| signed.elsewhere)
        {
            origin.host = "mirror.example".into();
        }
        Target {
            origin,
            path: location.to_owned(),
        }
    }

    /// An admitted answer: its body may be written.
    fn open(&mut self, op: Op, admitted: Admitted, reply: &Reply) {
        let (now, d) = (self.now, op.download);
        let reset_every = self.desk.server().reset_every;
        let lane = self.downloads[d].lanes.get_mut(&op.lane);
        let Some(fetching) = lane.and_then(|lane| lane.fetching.as_mut()) else {
            return;
        };
        let Feed {
            version,
            len,
            mut clean,
            stall_after,
        } = reply.feed;
        let start = admitted.place.start;
        let mut end = start + len;
        let carried = self
            .sockets
            .get(&fetching.conn)
            .map_or(0, |socket| socket.carried);
        if let Some(left) = reset_every
            .map(|every| every.saturating_sub(carried))
            .filter(|left| *left < len)
        {
            (end, clean) = (start + left, false);
        }
        fetching.body = Some(Body {
            place: admitted.place,
            at: start,
            end,
            clean,
            stall: stall_after.map(|n| start + n),
            version,
            keeps: reply.keeps,
            told: (start, now),
            turn: Turn::Wanted,
            held: false,
            differs: false,
        });
        let (lease, gate) = (fetching.order.lease, fetching.gate.clone());
        self.net.start(fetching.conn);
        let event = Event::Opened {
            lease,
            place: admitted.place,
            identity: admitted.identity,
            partial: admitted.partial,
        };
        self.tell(d, event);
        // The total may have become known with this answer: the gate learns where the lease really ends.
        let ledger = self.downloads[d]
            .transfer
            .as_ref()
            .map(|transfer| transfer.ledger());
        if let Some(end) = ledger
            .and_then(|ledger| ledger.lease(lease))
            .map(|lease| lease.rest.end)
        {
            gate.cut(end);
        }
    }
}
