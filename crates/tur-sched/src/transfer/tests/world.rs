//! A small world that obeys a transfer's actions and keeps the truth that they are judged by.

use std::collections::BTreeMap;
use std::time::Duration;
use std::vec::Vec;

use tur_core::{
    Ask, ByteRange, ETag, Fault, Identity, Origin, RangeSet, Refusal, RetryAfter, Scheme, Target,
    Timestamp,
};

use super::super::*;
use crate::{Ended, FetchOrder, Gate};

pub(super) const KIB: u64 = 1024;

pub(super) fn target(path: &str) -> Target {
    Target {
        origin: Origin {
            scheme: Scheme::Http,
            host: "origin".into(),
            port: 80,
        },
        path: path.into(),
    }
}

pub(super) fn config(lanes: u16) -> TransferConfig {
    TransferConfig {
        lanes_max: lanes,
        lanes_start: Some(lanes),
        ..TransferConfig::new(target("/file"))
    }
}

pub(super) fn identity(total: u64) -> Identity {
    let etag = Some(ETag {
        weak: false,
        opaque: b"\"a\"".to_vec(),
    });
    Identity {
        total: Some(total),
        etag,
        ..Identity::default()
    }
}

pub(super) fn status(status: u16, retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status {
        status,
        reason: "no".into(),
        retry_after,
        challenge: false,
    }
}

/// A request that runs.
pub(super) struct Running {
    pub(super) order: FetchOrder,
    pub(super) gate: Gate,
    pub(super) at: u64,
    pub(super) body_end: Option<u64>,
}

/// Obeys the transfer's actions and keeps the truth that they are judged by.
pub(super) struct World {
    pub(super) transfer: Transfer,
    pub(super) now: Timestamp,
    pub(super) total: u64,
    /// What answers tell; that of [`identity`] unless set.
    pub(super) identity: Option<Identity>,
    pub(super) wanting: Vec<LaneId>,
    /// The origin of the session that each lane wants or holds.
    pub(super) sessions: BTreeMap<LaneId, Origin>,
    pub(super) running: BTreeMap<LeaseId, Running>,
    pub(super) written: RangeSet,
    /// Bytes that were compared with what is there.
    pub(super) compared: u64,
    pub(super) requests: usize,
    pub(super) notes: Vec<Decision>,
    pub(super) end: Option<Result<u64, Failure>>,
}

impl World {
    pub(super) fn new(config: TransferConfig, total: u64) -> Self {
        Self::resumed(config, total, None)
    }

    pub(super) fn resumed(config: TransferConfig, total: u64, resumed: Option<Resumed>) -> Self {
        let written = resumed
            .as_ref()
            .map(|r| r.landed.clone())
            .unwrap_or_default();
        let mut world = Self {
            transfer: Transfer::new(config, resumed, Timestamp::ZERO),
            now: Timestamp::ZERO,
            total,
            identity: None,
            wanting: Vec::new(),
            sessions: BTreeMap::new(),
            running: BTreeMap::new(),
            written,
            compared: 0,
            requests: 0,
            notes: Vec::new(),
            end: None,
        };
        world.obey();
        world
    }

    /// One whose lanes all receive, and have brought so many bytes each.
    pub(super) fn at_work(config: TransferConfig, total: u64, bytes: u64) -> Self {
        let mut world = Self::new(config, total);
        world.grant_all();
        world.open(world.first());
        world.grant_all();
        for lease in world.running.keys().copied().collect::<Vec<_>>() {
            if world.running[&lease].body_end.is_none() {
                world.open(lease);
            }
            world.flow(lease, bytes);
        }
        world
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.transfer.handle(self.now, event);
        self.obey();
    }

    pub(super) fn obey(&mut self) {
        while let Some(action) = self.transfer.poll_action() {
            match action {
                Action::Want { lane, origin } => {
                    assert!(self.sessions.insert(lane, origin).is_none(), "wanted twice");
                    self.wanting.push(lane);
                }
                Action::Yield { lane } => {
                    self.sessions.remove(&lane);
                    self.wanting.retain(|wanting| *wanting != lane);
                }
                Action::Fetch(order) => {
                    self.requests += 1;
                    // Credentials follow the target, so the session must be to the target's origin.
                    assert_eq!(self.sessions.get(&order.lane), Some(&order.target.origin));
                    if let Ask::Range(asked) = order.ask {
                        let inside = asked.intersect(self.transfer.ledger().span());
                        assert_eq!(inside, asked, "nothing outside of the span is asked for");
                    }
                    let gate = Gate::new(order.grant.start, order.grant.end);
                    let at = order.grant.start;
                    self.running.insert(
                        order.lease,
                        Running {
                            order,
                            gate,
                            at,
                            body_end: None,
                        },
                    );
                }
                Action::Cut { lease, at } => {
                    let at = self.running[&lease].gate.cut(at);
                    self.transfer.handle(self.now, Event::CutAt { lease, at });
                }
                Action::Extend { lease, end } => self.running[&lease].gate.extend(end),
                Action::Abort { lease } => {
                    let run = self
                        .running
                        .remove(&lease)
                        .expect("only a running fetch is aborted");
                    let event = Event::Ended {
                        lease,
                        at: run.at,
                        how: Ended::Cut,
                        session: false,
                    };
                    self.transfer.handle(self.now, event);
                }
                Action::Restart { .. } => self.written = RangeSet::new(),
                Action::Forget { range } => {
                    self.written.remove(range);
                }
                Action::Note(decision) => self.notes.push(decision),
                Action::Complete { total } => self.end = Some(Ok(total)),
                Action::Fail(failure) => self.end = Some(Err(failure)),
            }
        }
    }

    pub(super) fn grant_all(&mut self) {
        while let Some(lane) = self.wanting.pop() {
            self.tell(Event::Granted {
                lane,
                handshake: Duration::from_millis(10),
            });
        }
    }

    /// Answers a request as an honest origin with ranges does.
    pub(super) fn open(&mut self, lease: LeaseId) {
        let total = self.total;
        let run = self.running.get_mut(&lease).expect("runs");
        let partial = run.order.ask != Ask::Whole;
        if partial && run.at >= total && run.at > 0 {
            return self.refuse(lease, Fault::NotAdmitted(Refusal::AtEnd { total }));
        }
        let end = run.order.ask.range().end.min(total);
        run.body_end = Some(end);
        let place = ByteRange::new(run.at, end);
        let identity = self
            .identity
            .clone()
            .unwrap_or_else(|| identity(self.total));
        self.tell(Event::Opened {
            lease,
            place,
            identity,
            partial,
        });
    }

    /// Writes up to `n` bytes; ends the fetch where body or gate end.
    pub(super) fn flow(&mut self, lease: LeaseId, n: u64) {
        let Some(run) = self.running.get_mut(&lease) else {
            return;
        };
        let body_end = run.body_end.expect("an answer came");
        let granted = run.gate.take(run.at, n.min(body_end - run.at));
        let fresh = ByteRange::new(run.at, run.at + granted);
        if run.order.compare {
            assert!(self.written.covers(fresh), "nothing to compare: {fresh}");
            self.compared += granted;
        } else {
            assert_eq!(
                self.written.insert(fresh),
                granted,
                "written twice: {fresh}"
            );
        }
        run.at += granted;
        let (at, end) = (run.at, run.gate.end());
        if at == body_end || at >= end {
            let (how, session) = if at == body_end {
                (Ended::Clean, true)
            } else {
                (Ended::Cut, false)
            };
            self.running.remove(&lease);
            self.tell(Event::Ended {
                lease,
                at,
                how,
                session,
            });
        } else {
            self.tell(Event::Landed {
                lease,
                upto: at,
                busy: Duration::from_millis(1 + granted / 1_000),
            });
        }
    }

    pub(super) fn break_off(&mut self, lease: LeaseId, fault: Fault) {
        let run = self.running.remove(&lease).expect("runs");
        self.tell(Event::Ended {
            lease,
            at: run.at,
            how: Ended::Fault(fault),
            session: false,
        });
    }

    pub(super) fn refuse(&mut self, lease: LeaseId, fault: Fault) {
        self.running.remove(&lease).expect("runs");
        self.tell(Event::Refused {
            lease,
            fault,
            session: true,
        });
    }

    /// The session of a lane that has one and does nothing is taken from it. False if there is none.
    pub(super) fn lose_unused(&mut self, nth: usize) -> bool {
        let busy = |lane: &LaneId| {
            let mut running = self.running.values();
            self.wanting.contains(lane) || running.any(|run| run.order.lane == *lane)
        };
        let unused: Vec<_> = self.sessions.keys().filter(|lane| !busy(lane)).collect();
        let Some(lane) = unused.get(nth % unused.len().max(1)).map(|lane| **lane) else {
            return false;
        };
        self.sessions.remove(&lane);
        self.tell(Event::Gone { lane });
        true
    }

    /// Jumps to the next deadline. False if there is none.
    pub(super) fn jump(&mut self) -> bool {
        let Some((at, _)) = self.transfer.next_wakeup() else {
            return false;
        };
        self.now = self.now.max(at);
        self.tell(Event::Tick);
        true
    }

    pub(super) fn first(&self) -> LeaseId {
        *self.running.keys().next().expect("a fetch runs")
    }

    /// From now on everything works. Runs to the end.
    pub(super) fn finish(&mut self) {
        for _ in 0..5_000 {
            if self.end.is_some() {
                return;
            }
            self.grant_all();
            let Some(lease) = self.running.keys().next_back().copied() else {
                // What a lane was given may have shown that there is no way.
                let goes_on = self.end.is_some() || self.jump();
                assert!(goes_on, "nothing pends: {:?}", self.transfer);
                continue;
            };
            self.now = self.now + Duration::from_millis(5);
            if self.running[&lease].body_end.is_none() {
                self.open(lease);
            } else {
                self.flow(lease, 200 * KIB);
            }
        }
        panic!("no end: {:?}", self.transfer);
    }

    /// All of the span that there is has come, or the failure says that there is nothing of it.
    pub(super) fn assert_span(&self, span: ByteRange) {
        match self.end.as_ref().expect("an end") {
            Ok(total) => {
                assert!(*total == self.total || *total == span.end, "{total}");
                let there = span.intersect(ByteRange::new(0, self.total));
                assert!(self.written.covers(there), "{span}: {:?}", self.written);
                assert!(
                    !there.is_empty() || span.start == 0 || span.is_empty(),
                    "nothing of {span} is there"
                );
            }
            Err(failure) => assert!(!failure.keep || !self.written.is_empty(), "{failure}"),
        }
    }

    pub(super) fn assert_whole(&self) {
        assert_eq!(self.end, Some(Ok(self.total)));
        assert!(self.written.covers(ByteRange::new(0, self.total)));
    }
}
