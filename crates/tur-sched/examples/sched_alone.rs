//! tur-sched without a runtime: a download in which there is no socket, no thread, no file and no clock.
//!
//! Read [`Program::run`]: it is the loop of every driver, however real its connections are. Here an origin in memory has
//! three connections of different speed, one of which breaks. Run it with
//! `cargo run -p tur-sched --example sched_alone`: it prints what is decided, and how the bytes came together.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tur_core::{ByteRange, ETag, Fault, Identity, Origin, Scheme, Target, Timestamp};
use tur_sched::{
    Action, Ended, Event, FetchOrder, Gate, LaneId, LeaseId, Transfer, TransferConfig,
};

/// Length of the file.
const TOTAL: u64 = 4 << 20;
/// How far time moves in one turn.
const TURN: Duration = Duration::from_millis(10);
/// It takes two seconds.
const LIMIT: Timestamp = Timestamp::from_micros(60_000_000);
/// From a wish to a connection, and from a request to its answer.
const WAY: Duration = Duration::from_millis(40);
/// Bytes that the connection of each lane brings in a turn.
const PER_TURN: [u64; 3] = [4_000, 16_000, 8_000];

/// The file of the origin: every byte tells where it belongs.
fn byte(at: u64) -> u8 {
    u8::try_from(at % 251).expect("below 251")
}

/// A request that is under way. The gate is what a real driver shares between its decider and the code that reads from
/// the connection: the machine may move its end at any time, and the reader never passes it.
struct Fetch {
    lane: LaneId,
    start: u64,
    gate: Gate,
    /// Where the body ends: where the request said, or with the file.
    body_end: u64,
    /// True once its answer has come.
    open: bool,
}

/// The machine, and the little world that obeys it.
struct Program {
    transfer: Transfer,
    now: Timestamp,
    /// What is on its way, and when it arrives: in order, because every way is as long as the others.
    coming: VecDeque<(Timestamp, Event)>,
    fetches: BTreeMap<LeaseId, Fetch>,
    file: Vec<u8>,
    /// How the bytes came together.
    came: Vec<(LaneId, ByteRange)>,
    /// True until a connection has broken.
    breaks: bool,
    done: bool,
}

impl Program {
    /// Obey, let the world move, tell what happened: until the machine says that every byte has landed.
    fn run(&mut self) {
        self.obey();
        while !self.done {
            self.now = self.now + TURN;
            while let Some((at, _)) = self.coming.front()
                && *at <= self.now
                && let Some((_, event)) = self.coming.pop_front()
            {
                self.arrive(event);
            }
            for lease in Vec::from_iter(self.fetches.keys().copied()) {
                self.flow(lease);
            }
            // Deadlines, retries and stalls. A program without turns would sleep until the first of them.
            let wakeup = self.transfer.next_wakeup();
            if wakeup.is_some_and(|(at, _why)| at <= self.now) {
                self.tell(Event::Tick);
            }
            assert!(self.now < LIMIT, "it stands still: {wakeup:?}");
        }
    }

    /// The first of the three verbs, and right after it the second: actions are drained before the next event.
    fn tell(&mut self, event: Event) {
        self.transfer.handle(self.now, event);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(action) = self.transfer.poll_action() {
            match action {
                // A `Pool` would look for a session to lend; this program always connects.
                Action::Want { lane, .. } => {
                    let handshake = WAY;
                    self.later(Event::Granted { lane, handshake });
                }
                Action::Yield { lane } => {
                    let is_for = |event: &Event| matches!(event, Event::Granted { lane: to, .. } if *to == lane);
                    self.coming.retain(|(_, event)| !is_for(event));
                }
                Action::Fetch(order) => self.request(order),
                // The one action that is answered within the turn: where the cut fell.
                Action::Cut { lease, at } => {
                    let at = self.fetches[&lease].gate.cut(at);
                    self.transfer.handle(self.now, Event::CutAt { lease, at });
                }
                Action::Extend { lease, end } => self.fetches[&lease].gate.extend(end),
                Action::Abort { lease } => self.end(lease, Ended::Cut, false),
                Action::Note(decision) => self.say(&decision.to_string()),
                Action::Complete { .. } => self.done = true,
                // This origin neither changes its file nor refuses anything for good.
                Action::Restart { .. } | Action::Forget { .. } | Action::Fail(_) => {
                    panic!("{action:?}")
                }
            }
        }
    }

    /// Sends a request. Its answer says what the file is; a real one passes `tur_http::admit` before it is told.
    fn request(&mut self, order: FetchOrder) {
        let (lane, lease, grant) = (order.lane, order.lease, order.grant);
        self.say(&format!("lane {} asks for {}", lane.0, order.ask.range()));
        let fetch = Fetch {
            lane,
            start: grant.start,
            gate: Gate::new(grant.start, grant.end),
            body_end: order.ask.range().end.min(TOTAL),
            open: false,
        };
        let place = ByteRange::new(grant.start, fetch.body_end);
        self.fetches.insert(lease, fetch);
        // The tag is strong: bytes of several answers may be joined.
        let etag = Some(ETag {
            weak: false,
            opaque: b"\"v1\"".to_vec(),
        });
        let identity = Identity {
            total: Some(TOTAL),
            etag,
            ..Identity::default()
        };
        self.later(Event::Opened {
            lease,
            place,
            identity,
            partial: true,
        });
    }

    fn later(&mut self, event: Event) {
        self.coming.push_back((self.now + WAY, event));
    }

    fn arrive(&mut self, event: Event) {
        if let Event::Opened { lease, .. } = &event {
            match self.fetches.get_mut(lease) {
                Some(fetch) => fetch.open = true,
                None => return, // It was aborted meanwhile.
            }
        }
        self.tell(event);
    }

    /// One turn's bytes of one connection: taken from the gate, written, told.
    fn flow(&mut self, lease: LeaseId) {
        let Some(fetch) = self.fetches.get(&lease).filter(|fetch| fetch.open) else {
            return;
        };
        let at = fetch.gate.taken();
        let arrived = PER_TURN[usize::from(fetch.lane.0)].min(fetch.body_end - at);
        let upto = at + fetch.gate.take(at, arrived);
        for at in at..upto {
            self.file[usize::try_from(at).expect("below TOTAL")] = byte(at);
        }
        if upto == fetch.body_end {
            self.end(lease, Ended::Clean, true);
        } else if upto == fetch.gate.end() {
            // The rest of the body is on its way and belongs to another lane: the connection is of no more use.
            self.end(lease, Ended::Cut, false);
        } else if self.breaks && fetch.lane == LaneId(1) && upto > fetch.start + 300_000 {
            self.breaks = false;
            self.end(lease, Ended::Fault(Fault::Lost("reset".into())), false);
        } else {
            self.tell(Event::Landed {
                lease,
                upto,
                busy: TURN,
            });
        }
    }

    /// A fetch is over; what it wrote is good, however it ended. A `session` that is still good can be used again.
    fn end(&mut self, lease: LeaseId, how: Ended, session: bool) {
        let Fetch {
            lane, start, gate, ..
        } = self.fetches.remove(&lease).expect("it is under way");
        let at = gate.taken();
        self.came.push((lane, ByteRange::new(start, at)));
        self.tell(Event::Ended {
            lease,
            at,
            how,
            session,
        });
    }

    fn say(&self, what: &str) {
        println!("{:6} ms  {what}", self.now.as_micros() / 1_000);
    }
}

/// Downloads the file. What each lane brought, in the order of the file.
pub(crate) fn run() -> Vec<(LaneId, ByteRange)> {
    let origin = Origin {
        scheme: Scheme::Http,
        host: "origin.example".into(),
        port: 80,
    };
    let target = Target {
        origin,
        path: "/file".into(),
    };
    // With a `Scaler` the number of lanes would be found by measurement, and told by `Event::Width`.
    let config = TransferConfig {
        lanes_max: 3,
        lanes_start: Some(3),
        ..TransferConfig::new(target)
    };
    let mut program = Program {
        transfer: Transfer::new(config, None, Timestamp::ZERO),
        now: Timestamp::ZERO,
        coming: VecDeque::new(),
        fetches: BTreeMap::new(),
        file: vec![0; usize::try_from(TOTAL).expect("it fits in memory")],
        came: Vec::new(),
        breaks: true,
        done: false,
    };
    program.run();
    program.came.sort_by_key(|(_, range)| range.start);
    for (lane, range) in &program.came {
        program.say(&format!("lane {} has brought {range}", lane.0));
    }
    let right = (0..TOTAL).map(byte);
    assert!(
        program.file.iter().copied().eq(right),
        "every byte is where it belongs"
    );
    program.came
}

fn main() {
    run();
}
