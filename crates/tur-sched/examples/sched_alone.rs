//! tur-sched without a runtime: a download in which there is no socket, no thread, no file and no clock.
//!
//! Read [`Program::run`]: it is the loop of every driver, however real its connections are. Here an origin in memory has
//! three connections of different speed, one of which breaks. Run it with
//! `cargo run -p tur-sched --example sched_alone`: it prints what is decided, and how the bytes came together.

use std::collections::BTreeMap;
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
    gate: Gate,
    /// Where the body belongs: to where the request said, or to the end of the file.
    place: ByteRange,
    /// When its answer comes, until it has.
    answer: Option<Timestamp>,
}

/// The machine, and the little world that obeys it.
struct Program {
    transfer: Transfer,
    now: Timestamp,
    /// Lanes that wait for a connection, and when they have it.
    connecting: BTreeMap<LaneId, Timestamp>,
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
            let due = |lane: &LaneId| self.connecting[lane] <= self.now;
            for lane in Vec::from_iter(self.connecting.keys().copied().filter(due)) {
                self.connecting.remove(&lane);
                let handshake = WAY;
                self.tell(Event::Granted { lane, handshake });
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
                    self.connecting.insert(lane, self.now + WAY);
                }
                Action::Yield { lane } => {
                    self.connecting.remove(&lane);
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

    fn request(&mut self, order: FetchOrder) {
        let (lane, start) = (order.lane, order.grant.start);
        self.say(&format!("lane {} asks for {}", lane.0, order.ask.range()));
        let fetch = Fetch {
            lane,
            gate: Gate::new(start, order.grant.end),
            place: ByteRange::new(start, order.ask.range().end.min(TOTAL)),
            answer: Some(self.now + WAY),
        };
        self.fetches.insert(order.lease, fetch);
    }

    /// The head of an answer says what the file is and where the body belongs; a real one passes `tur_http::admit` first.
    fn open(&mut self, lease: LeaseId, place: ByteRange) {
        // The tag is strong: bytes of several answers may be joined.
        let etag = Some(ETag {
            weak: false,
            opaque: b"\"v1\"".to_vec(),
        });
        self.tell(Event::Opened {
            lease,
            place,
            identity: Identity {
                total: Some(TOTAL),
                etag,
                ..Identity::default()
            },
            partial: true,
        });
    }

    /// One turn's bytes of one connection: taken from the gate, written, told.
    fn flow(&mut self, lease: LeaseId) {
        let Some(fetch) = self.fetches.get_mut(&lease) else {
            return; // What another lane brought in this turn has ended it.
        };
        if fetch.answer.is_some_and(|at| self.now < at) {
            return;
        }
        if fetch.answer.take().is_some() {
            let place = fetch.place;
            return self.open(lease, place);
        }
        let at = fetch.gate.taken();
        let arrived = PER_TURN[usize::from(fetch.lane.0)].min(fetch.place.end - at);
        let upto = at + fetch.gate.take(at, arrived);
        for at in at..upto {
            self.file[usize::try_from(at).expect("below TOTAL")] = byte(at);
        }
        if upto == fetch.place.end {
            self.end(lease, Ended::Clean, true);
        } else if upto == fetch.gate.end() {
            // The rest of the body is on its way and belongs to another lane: the connection is of no more use.
            self.end(lease, Ended::Cut, false);
        } else if self.breaks && fetch.lane == LaneId(1) && upto > fetch.place.start + 300_000 {
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
        let fetch = self.fetches.remove(&lease).expect("it is under way");
        let at = fetch.gate.taken();
        let came = ByteRange::new(fetch.place.start, at);
        self.came.push((fetch.lane, came));
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
        connecting: BTreeMap::new(),
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
