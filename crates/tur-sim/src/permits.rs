//! A world of peers that want permits: requests that take their time or stall, readers that come and go, epochs that are
//! cancelled, permits that become fewer, and the production dispatch and watchdog in the middle of it.
//!
//! Read [`permits`]: it makes such a world of a seed, runs it, and judges every start by the caps and every ticket by its
//! answers. Tickets are obeyed as the engine obeys them: what is preempted ends a little later, and its rest waits again
//! with the age of the first.

use std::collections::BTreeMap;
use std::time::Duration;

use tur_core::Timestamp;
use tur_sched::{
    Demand, Dispatch, DispatchAction, DispatchConfig, DispatchEvent, Observation, PeerId, Priority,
    Pulse, TicketId, WaitsFor, Watchdog,
};

use crate::dice::Dice;
use crate::violation::Violation;

/// What a world came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PermitsReport {
    /// Tickets that had a permit.
    pub started: u64,
    /// Tickets whose peer left before.
    pub dropped: u64,
    /// Tickets that were taken back before.
    pub withdrawn: u64,
    /// Permits that were taken for urgent work.
    pub preempted: u64,
    /// Stalls that the watchdog told.
    pub stalls: u64,
    /// The most that ran at a time.
    pub peak: usize,
    /// How long it took, in virtual time.
    pub time: Duration,
    /// Happenings.
    pub steps: u64,
}

/// Runs the world of a seed until nobody wants anything any more.
///
/// # Errors
/// The first promise that was broken.
pub fn permits(seed: u64) -> Result<PermitsReport, Violation> {
    let mut dice = Dice::new(seed).fork(0xD15);
    let config = DispatchConfig {
        permits: one_of(&mut dice, &[1, 2, 3, 5, 8, 16]),
        per_origin: one_of(&mut dice, &[1, 2, 4, 32]),
        per_peer: dice.chance(200).then_some(2),
        throttle: Duration::from_millis(dice.pick(&[0, 0, 50])),
        reserve: true,
    };
    let mut world = World::new(config, dice);
    let peers = world.dice.between(1, 6);
    for peer in 0..peers {
        let at = Duration::from_millis(world.dice.below(2_000));
        world.later(at, Happening::Joins(peer));
    }
    for _ in 0..world.dice.below(4) {
        let at = Duration::from_millis(world.dice.below(20_000));
        let permits = one_of(&mut world.dice, &[1, 2, 4, 9]);
        world.later(at, Happening::Permits(permits));
    }
    world.run()?;
    world.judge()
}

/// What happens at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    Joins(u64),
    /// It has other things to show or to read now.
    Turns(u64, Priority),
    /// So many wishes of a peer, in one epoch.
    Wants(u64, u64),
    /// What it wanted in an epoch it no longer wants.
    Cancels(u64, u64),
    Leaves(u64),
    /// The body of a ticket is over.
    Ends(u64),
    /// A preempted lane has closed.
    Closes(u64),
    Permits(usize),
    Tick,
}

/// One ticket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    peer: u64,
    origin: u8,
    epoch: u64,
    priority: Priority,
    since: Timestamp,
    /// How long its request takes.
    takes: Duration,
    pub(crate) started: Option<Timestamp>,
    /// It was preempted, or its peer does not want it any more.
    closing: bool,
}

/// Who is being read.
#[derive(Debug, Default)]
struct Live(BTreeMap<u64, Priority>);

impl Demand for Live {
    fn peer(&self, peer: PeerId) -> Option<Priority> {
        self.0.get(&peer.0).copied()
    }

    fn ticket(&self, _: TicketId) -> Option<Priority> {
        None
    }
}

pub(crate) struct World {
    dispatch: Dispatch<u8>,
    dog: Watchdog,
    config: DispatchConfig,
    pub(crate) now: Timestamp,
    agenda: BTreeMap<(Timestamp, u64), Happening>,
    /// The wake-up that is on the agenda.
    alarm: Option<Timestamp>,
    live: Live,
    /// Tickets that have had no last word.
    pub(crate) wishes: BTreeMap<u64, Wish>,
    /// Every start, in order: which, and whose.
    pub(crate) starts: Vec<(u64, u64)>,
    pub(crate) dropped: Vec<u64>,
    report: PermitsReport,
    count: u64,
    dice: Dice,
}

impl World {
    pub(crate) fn new(config: DispatchConfig, dice: Dice) -> Self {
        Self {
            dispatch: Dispatch::new(config),
            dog: Watchdog::default(),
            config,
            now: Timestamp::ZERO,
            agenda: BTreeMap::new(),
            alarm: None,
            live: Live::default(),
            wishes: BTreeMap::new(),
            starts: Vec::new(),
            dropped: Vec::new(),
            report: PermitsReport::default(),
            count: 0,
            dice,
        }
    }

    /// A peer that is there from now on.
    pub(crate) fn join(&mut self, peer: u64, priority: Priority) -> Result<(), Violation> {
        self.live.0.insert(peer, priority);
        let event = DispatchEvent::Joined {
            peer: PeerId(peer),
            priority,
            per_peer: None,
        };
        self.tell(event)
    }

    /// A peer's priority changes; dispatch is not told, it asks.
    pub(crate) fn turn(&mut self, peer: u64, priority: Priority) -> Result<(), Violation> {
        self.live.0.insert(peer, priority);
        self.tell(DispatchEvent::Tick)
    }

    /// One more ticket of a peer.
    pub(crate) fn want(
        &mut self,
        (peer, epoch): (u64, u64),
        origin: u8,
        takes: Duration,
    ) -> Result<u64, Violation> {
        let wish = Wish {
            peer,
            origin,
            epoch,
            priority: Priority::Low,
            since: self.now,
            takes,
            started: None,
            closing: false,
        };
        self.enqueue(wish)
    }

    pub(crate) fn cancel(&mut self, peer: u64, epoch: u64) -> Result<(), Violation> {
        let of = |wish: &Wish| (wish.peer, wish.epoch) == (peer, epoch);
        let all = self.wishes.iter().filter(|(_, wish)| of(wish));
        let (running, waiting): (Vec<u64>, Vec<u64>) = all
            .map(|(id, _)| *id)
            .partition(|id| self.wishes[id].started.is_some());
        // First what waits: it would start in place of what ends.
        for id in waiting {
            // Time has passed: it may have started because a throttle was over.
            if self.wishes[&id].started.is_some() {
                self.end(id)?;
                continue;
            }
            self.wishes.remove(&id);
            self.report.withdrawn += 1;
            let ticket = TicketId(id);
            self.tell(DispatchEvent::Withdrawn { ticket })?;
        }
        for id in running {
            self.end(id)?;
        }
        Ok(())
    }

    /// A peer's last handle is dropped: what runs is stopped.
    pub(crate) fn leave(&mut self, peer: u64) -> Result<(), Violation> {
        self.live.0.remove(&peer);
        self.tell(DispatchEvent::Left { peer: PeerId(peer) })?;
        let all = self.wishes.iter().filter(|(_, wish)| wish.peer == peer);
        let running: Vec<u64> = all.map(|(id, _)| *id).collect();
        for id in running {
            self.end(id)?;
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, id: u64) -> Result<(), Violation> {
        if self.wishes.get(&id).is_none_or(|w| w.started.is_none()) {
            return Ok(());
        }
        self.wishes.remove(&id);
        self.tell(DispatchEvent::Ended {
            ticket: TicketId(id),
        })
    }

    pub(crate) fn later(&mut self, by: Duration, what: Happening) {
        self.count += 1;
        self.agenda.insert((self.now + by, self.count), what);
    }

    /// Lets time pass until nothing is on the agenda.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        while self.step()? {
            if self.report.steps > STEPS_MAX {
                return Err(Violation::TooManySteps(self.report.steps));
            }
        }
        Ok(())
    }

    /// The next thing that happens. False if nothing will.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        let Some(((at, _), what)) = self.agenda.pop_first() else {
            return Ok(false);
        };
        self.now = at.max(self.now);
        self.report.steps += 1;
        self.happen(what)?;
        Ok(true)
    }

    /// What is left when nothing happens any more.
    pub(crate) fn judge(mut self) -> Result<PermitsReport, Violation> {
        let left = (self.dispatch.running(), self.dispatch.queued());
        if !self.wishes.is_empty() || left != (0, 0) {
            let why = format!(
                "{} tickets without a last word, {left:?}",
                self.wishes.len()
            );
            return Err(Violation::Hang(why));
        }
        self.report.time = self.now.since(Timestamp::ZERO);
        Ok(self.report)
    }

    fn happen(&mut self, what: Happening) -> Result<(), Violation> {
        match what {
            Happening::Joins(peer) => self.begin(peer),
            Happening::Turns(peer, priority) if self.live.0.contains_key(&peer) => {
                self.turn(peer, priority)
            }
            Happening::Wants(peer, epoch) if self.live.0.contains_key(&peer) => {
                for _ in 0..self.dice.between(1, 6) {
                    let stalls = self.dice.chance(100);
                    let millis = if stalls { 120_000 } else { 3_000 };
                    let takes = Duration::from_millis(self.dice.log_uniform(5, millis));
                    let origin = self.dice.pick(&[0, 0, 1, 2]);
                    self.want((peer, epoch), origin, takes)?;
                }
                Ok(())
            }
            Happening::Turns(..) | Happening::Wants(..) => Ok(()),
            Happening::Cancels(peer, epoch) => self.cancel(peer, epoch),
            Happening::Leaves(peer) => self.leave(peer),
            Happening::Ends(id) if self.wishes.get(&id).is_some_and(|wish| wish.closing) => Ok(()),
            Happening::Ends(id) => self.end(id),
            Happening::Closes(id) => self.close(id),
            Happening::Permits(permits) => {
                self.config.permits = permits;
                self.tell(DispatchEvent::Permits(permits))
            }
            Happening::Tick => {
                self.alarm = None;
                self.tell(DispatchEvent::Tick)
            }
        }
    }

    /// A peer joins, and all that it will do is put on the agenda.
    fn begin(&mut self, peer: u64) -> Result<(), Violation> {
        let priorities = [Priority::High, Priority::Low];
        let priority = self.dice.pick(&priorities);
        self.join(peer, priority)?;
        let life = self.dice.between(100, 30_000);
        for epoch in 0..self.dice.between(1, 4) {
            let at = self.dice.below(life);
            self.later(Duration::from_millis(at), Happening::Wants(peer, epoch));
            if self.dice.chance(300) {
                let at = Duration::from_millis(at + self.dice.below(3_000));
                self.later(at, Happening::Cancels(peer, epoch));
            }
        }
        for _ in 0..self.dice.below(4) {
            let (at, priority) = (self.dice.below(life), self.dice.pick(&priorities));
            self.later(Duration::from_millis(at), Happening::Turns(peer, priority));
        }
        if self.dice.chance(500) {
            self.later(Duration::from_millis(life), Happening::Leaves(peer));
        }
        Ok(())
    }

    fn enqueue(&mut self, wish: Wish) -> Result<u64, Violation> {
        self.count += 1;
        let id = self.count;
        self.wishes.insert(id, wish);
        self.tell(DispatchEvent::Enqueued {
            ticket: TicketId(id),
            peer: PeerId(wish.peer),
            origin: wish.origin,
            priority: wish.priority,
            live: false,
            waited_since: Some(wish.since),
        })?;
        Ok(id)
    }

    /// A preempted ticket ends; its rest waits again.
    fn close(&mut self, id: u64) -> Result<(), Violation> {
        let Some(wish) = self.wishes.get(&id).copied() else {
            return Ok(());
        };
        self.end(id)?;
        let ran = wish.started.map_or(Duration::ZERO, |at| self.now.since(at));
        let takes = wish.takes.saturating_sub(ran);
        let rest = Wish {
            takes,
            started: None,
            closing: false,
            ..wish
        };
        self.enqueue(rest)?;
        Ok(())
    }

    fn tell(&mut self, event: DispatchEvent<u8>) -> Result<(), Violation> {
        self.dispatch.handle(self.now, event);
        let mut moved = matches!(event, DispatchEvent::Ended { .. });
        while let Some(action) = self.dispatch.poll_action(self.now, &self.live) {
            moved = true;
            match action {
                DispatchAction::Start { ticket } => self.start(ticket.0)?,
                DispatchAction::Preempt { ticket } => self.preempt(ticket.0)?,
                DispatchAction::Dropped { ticket } => {
                    let wish = self.wishes.remove(&ticket.0);
                    if wish.is_none_or(|wish| wish.started.is_some()) {
                        return Err(breach("dropped what did not wait", ticket.0));
                    }
                    self.dropped.push(ticket.0);
                    self.report.dropped += 1;
                }
                DispatchAction::PriorityChanged { .. } => {}
            }
        }
        self.watch(moved)?;
        let alarm = self.dispatch.next_wakeup();
        if let Some(at) = alarm.filter(|_| alarm != self.alarm) {
            self.later(at.since(self.now), Happening::Tick);
        }
        self.alarm = alarm;
        Ok(())
    }

    fn start(&mut self, id: u64) -> Result<(), Violation> {
        let now = self.now;
        let Some(wish) = self.wishes.get_mut(&id).filter(|w| w.started.is_none()) else {
            return Err(breach("started what did not wait", id));
        };
        wish.started = Some(now);
        let wish = *wish;
        self.later(wish.takes, Happening::Ends(id));
        self.starts.push((id, wish.peer));
        self.report.started += 1;
        let is_low = |wish: &Wish| self.live.0.get(&wish.peer) != Some(&Priority::High);
        let runs = |of: &dyn Fn(&Wish) -> bool| {
            let running = self.wishes.values().filter(|wish| wish.started.is_some());
            running.filter(|wish| of(wish)).count()
        };
        let here = |other: &Wish| other.origin == wish.origin;
        let reserve = |cap: usize| if cap > 1 { cap - 1 } else { cap };
        let (permits, per_origin) = (self.config.permits, self.config.per_origin);
        let per_peer = self.config.per_peer.unwrap_or(usize::MAX);
        let all = runs(&|_| true);
        self.report.peak = self.report.peak.max(all);
        let over = all > permits
            || runs(&here) > per_origin
            || runs(&|other| other.peer == wish.peer) > per_peer
            || (is_low(&wish)
                && (runs(&is_low) > reserve(permits)
                    || runs(&|other| is_low(other) && here(other)) > reserve(per_origin)));
        if over {
            return Err(breach("started over a cap", id));
        }
        Ok(())
    }

    fn preempt(&mut self, id: u64) -> Result<(), Violation> {
        let is_low = |peer| self.live.0.get(&peer) != Some(&Priority::High);
        let lawful = |wish: &Wish| wish.started.is_some() && !wish.closing && is_low(wish.peer);
        if !self.wishes.get(&id).is_some_and(lawful) {
            return Err(breach("preempted what is no prefetch", id));
        }
        if let Some(wish) = self.wishes.get_mut(&id) {
            wish.closing = true;
        }
        self.report.preempted += 1;
        let takes = Duration::from_millis(self.dice.between(1, 50));
        self.later(takes, Happening::Closes(id));
        Ok(())
    }

    fn watch(&mut self, moved: bool) -> Result<(), Violation> {
        let seen = Observation {
            in_flight: self.dispatch.running(),
            queued: self.dispatch.queued(),
            moved,
            waits_for: Some(WaitsFor::Body),
        };
        let pulse = self.dog.observe(self.now, seen);
        if pulse == Pulse::Idle && seen.in_flight + seen.queued > 0 {
            return Err(Violation::Hang("called idle with work to do".into()));
        }
        self.report.stalls += u64::from(self.dog.poll_stall().is_some());
        Ok(())
    }
}

fn breach(what: &str, ticket: u64) -> Violation {
    Violation::Impossible(format!("ticket {ticket}: {what}"))
}

fn one_of(dice: &mut Dice, choices: &[usize]) -> usize {
    dice.pick(choices)
}

/// Worlds are over after some thousand happenings.
const STEPS_MAX: u64 = 200_000;

#[cfg(test)]
mod tests;
