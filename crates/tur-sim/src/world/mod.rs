//! The world: it lets time pass, obeys the machines, and judges.
//!
//! Read [`run`], then [`World::turn`]. As in the engine, `obey.rs` carries out what machines want, `answer.rs` turns
//! what the far end does into events, `flow.rs` moves bytes,
//! `limits.rs` as fast as rate limits allow, and `life.rs` begins and ends downloads.

mod answer;
mod flow;
mod lane;
mod life;
mod limits;
mod obey;
mod pools;
mod scaling;
#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use tur_core::{Fault, Origin, Timestamp, Wall};
use tur_sched::{Budget, Event, LaneId, LanesEvent, OriginMemory, SessionId};

use self::lane::{Op, Socket, Word};
use self::life::Download;
use self::limits::Limit;
use self::pools::OriginSide;
use crate::dice::Dice;
use crate::net::{ConnId, Net};
use crate::origin::{Desk, Reply};
use crate::report::Report;
use crate::scenario::{Scenario, Wish};
use crate::trace::Trace;
use crate::violation::Violation;

/// Turns without any time passing that are no loop yet.
const STILL_MAX: u64 = 20_000;

/// Runs a world to its end.
///
/// # Errors
/// The first promise that was broken, and with `Trace::on` the lines that led to it.
pub fn run(scenario: &Scenario, seed: u64, trace: &mut Trace) -> Result<Report, Violation> {
    visit(scenario, seed, &mut OriginMemory::new(), trace)
}

/// Runs a world to its end, with what earlier visits have left in `memory`, and leaves there what this one has learned.
///
/// # Errors
/// As [`run`].
pub fn visit(
    scenario: &Scenario,
    seed: u64,
    memory: &mut OriginMemory,
    trace: &mut Trace,
) -> Result<Report, Violation> {
    let mut world = World::new(scenario, seed, trace);
    std::mem::swap(&mut world.memory, memory);
    let (result, learned) = world.run();
    *memory = learned;
    result
}

/// The wall clock of every world: it stands still, because nothing in a run depends on a date.
const WALL: Wall = Wall::from_unix_secs(1_800_000_000);

/// Something that will happen.
#[derive(Debug)]
enum Due {
    /// A download is asked for, or begun again.
    Begin(usize),
    /// A user does something, in the run of this number.
    Wish(usize, u32, Wish),
    Crash,
    /// The disk loses bytes.
    Loss,
    /// The process looks at what is left of memory.
    Look,
    /// The change of this number.
    Change(usize),
    /// The process gets the other limit of this number.
    Relimit(usize),
    /// A connection's first packet arrives at the origin.
    Knock(Op, SessionId, Origin),
    Connected(Op, SessionId, Origin, Option<ConnId>),
    /// A request arrives at the origin.
    Request(Op, ConnId),
    /// The head of an answer arrives.
    Head(Op, Box<Reply>),
    /// The connection broke before a head came.
    Broke(Op, Fault),
    /// The origin notices that a connection is gone.
    Gone {
        answering: bool,
    },
}

struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    seed: u64,
    dice: Dice,
    net: Net,
    desk: Desk,
    sockets: BTreeMap<ConnId, Socket>,
    origins: BTreeMap<Origin, OriginSide>,
    budget: Budget<Origin>,
    downloads: Vec<Download>,
    /// What all downloads together may receive.
    limit: Limit,
    queue: BTreeMap<(u64, u64), Due>,
    queued: u64,
    words: VecDeque<Word>,
    ops: u64,
    space: Option<u64>,
    memory: OriginMemory,
    wall: Wall,
    trace: &'a mut Trace,
    violation: Option<Violation>,
    steps: u64,
    still: u64,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, seed: u64, trace: &'a mut Trace) -> Self {
        let dice = Dice::new(seed);
        let mut world = Self {
            now: 0,
            seed,
            net: Net::new(
                &scenario.link,
                scenario.disk.bytes_per_second(),
                dice.fork(1),
            ),
            desk: Desk::new(scenario.server.clone(), dice.fork(2)),
            dice: dice.fork(3),
            sockets: BTreeMap::new(),
            origins: BTreeMap::new(),
            budget: Budget::new(scenario.caps.process),
            downloads: Vec::new(),
            limit: Limit::new(Timestamp::from_micros(0), scenario.limit),
            queue: BTreeMap::new(),
            queued: 0,
            words: VecDeque::new(),
            ops: 0,
            space: scenario.disk.space,
            memory: OriginMemory::new(),
            wall: WALL,
            trace,
            violation: None,
            steps: 0,
            still: 0,
            scenario,
        };
        world.enrol();
        world
    }

    fn run(mut self) -> (Result<Report, Violation>, OriginMemory) {
        while self.violation.is_none() && self.downloads.iter().any(|d| d.outcome.is_none()) {
            self.turn();
        }
        let memory = std::mem::take(&mut self.memory);
        let result = match self.violation {
            Some(violation) => Err(violation),
            None => Ok(self.report()),
        };
        (result, memory)
    }

    /// Goes to the next instant at which something happens. Data comes before deadlines, as in the engine's driver: a
    /// deadline is judged only when no lane had anything to say.
    fn turn(&mut self) {
        self.line_up();
        self.net.settle();
        let next = self.next();
        if !self.may_go_on(next) {
            return;
        }
        self.net.advance(next);
        self.now = next;
        self.happen();
        self.flow();
        self.wake();
        self.heed();
    }

    /// When something happens next.
    fn next(&self) -> u64 {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let wakeups = self.downloads.iter().filter_map(Download::next_wakeup);
        let pools = self
            .origins
            .values()
            .flat_map(OriginSide::wakeups)
            .flatten();
        let deadlines = wakeups.chain(pools).map(Timestamp::as_micros).min();
        let times = [queued, deadlines, self.net.next(), self.next_flow()];
        times
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
            .max(self.now)
    }

    /// Judges whether the world may go on to `next`.
    fn may_go_on(&mut self, next: u64) -> bool {
        self.steps += 1;
        self.still = if next > self.now { 0 } else { self.still + 1 };
        let bounds = self.scenario.bounds;
        let broken = if next == u64::MAX {
            Some(Violation::Hang(self.standing()))
        } else if self.still > STILL_MAX {
            Some(Violation::Spin(self.still))
        } else if self.steps > bounds.steps {
            Some(Violation::TooManySteps(self.steps))
        } else if next > crate::origin::micros(bounds.time) {
            Some(Violation::TooLong(next / 1_000_000))
        } else {
            None
        };
        match broken {
            Some(violation) => self.broken(violation),
            None => return true,
        }
        false
    }

    /// The first promise that breaks is the one that is told.
    fn broken(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn plan(&mut self, at: u64, due: Due) {
        self.queued += 1;
        self.queue.insert((at, self.queued), due);
    }

    /// Half a round trip from now.
    fn there(&self) -> u64 {
        self.now + self.net.rtt() / 2
    }

    /// Everything whose time has come happens.
    fn happen(&mut self) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > self.now {
                return;
            }
            let due = entry.remove();
            self.happens(due);
            self.heed();
        }
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Begin(download) => self.begin(download),
            Due::Wish(download, run, wish) => self.wished(download, run, wish),
            Due::Crash => self.crash(),
            Due::Loss => self.loses(),
            Due::Look => self.looks(),
            Due::Change(n) => self.changes(n),
            Due::Relimit(n) => {
                if let Some((_, rate)) = self.scenario.relimits.get(n) {
                    self.relimit(None, *rate);
                }
            }
            Due::Knock(op, id, origin) => self.knocks(op, id, origin),
            Due::Connected(op, id, origin, conn) => self.connected(op, id, &origin, conn),
            Due::Request(op, conn) => self.request_arrives(op, conn),
            Due::Head(op, reply) => self.head(op, *reply),
            Due::Broke(op, fault) => self.broke(op, fault),
            Due::Gone { answering } => {
                self.desk.connected -= 1;
                self.desk.answering -= usize::from(answering);
            }
        }
    }

    /// Wakes the machines whose time has come.
    fn wake(&mut self) {
        let now = self.timestamp();
        for d in 0..self.downloads.len() {
            if self.downloads[d].next_wakeup().is_some_and(|at| at <= now) {
                self.tell(d, Event::Tick);
                self.heed();
            }
        }
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        for origin in self.origins.keys().cloned().collect::<Vec<_>>() {
            let [pool, lanes] = self.origins[&origin].wakeups();
            if is_due(pool) {
                self.tell_pool(&origin, tur_sched::PoolEvent::Tick);
            }
            if is_due(lanes) {
                self.tell_lanes(&origin, LanesEvent::Tick);
            }
        }
    }

    /// Carries words from pools to lanes, and ends what is over, until there is neither.
    fn heed(&mut self) {
        loop {
            if let Some(word) = self.words.pop_front() {
                self.word(word);
            } else if let Some(d) = self.downloads.iter().position(|d| d.end.is_some()) {
                self.conclude(d);
            } else {
                return;
            }
        }
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// A line of the world itself.
    fn log(&mut self, args: fmt::Arguments<'_>) {
        self.trace.line(self.now, |text| {
            text.push_str("world ");
            fmt::Write::write_fmt(text, args)
        });
    }

    /// The lane that runs an operation, if it still runs it.
    fn is_running(&self, op: Op) -> bool {
        let lane = self.downloads[op.download].lanes.get(&op.lane);
        lane.is_some_and(|lane| lane.op == Some(op))
    }

    fn new_op(&mut self, download: usize, lane: LaneId) -> Op {
        self.ops += 1;
        Op {
            download,
            lane,
            number: self.ops,
        }
    }
}
