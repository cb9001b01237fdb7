//! Moves one representation: the conductor of ledger, crew, route and pace.
//!
//! ```text
//!            Start                 Opened, total known          all landed
//!  (nothing) ─────▶ one lane asks ────────────────────▶ divided ──────────▶ Complete
//!                      ▲   ▲                               │ │
//!                      │   └── Adopt: no ranges, from 0 ───┘ │
//!                      └────── Restart: changed, once ───────┘      any final fault ▶ Fail
//! ```
//!
//! Read [`Transfer::handle`], then `answers.rs` (what an answer means), `ends.rs` (what the end of a fetch means),
//! `feed.rs` (who fetches what next), `divide.rs` (how work moves between lanes), `prove.rs` (whether what an earlier run
//! left may be gone on with), `span.rs` (a part of the file instead of the whole) and `clock.rs` (deadlines).

mod answers;
mod clock;
mod divide;
mod ends;
mod feed;
mod prove;
mod span;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use core::time::Duration;

use tur_core::{ByteRange, Identity, RangeSet, Rate, Target, Timestamp};

use crate::coordinator::demand::Demands;
use crate::coordinator::plan::Geometry;
use crate::crew::{Abort, Crew, State};
use crate::pace::{Pace, SpeedWatch};
use crate::route::Route;
use crate::{
    Action, Decision, Event, Facts, Failure, LaneId, LeaseId, Ledger, RetryPolicy, Schedule,
    SpeedFloor,
};

pub use prove::Proof;
use prove::Proving;
pub use span::LEAD_MAX;

/// What to do when the representation changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// Start again from zero, once.
    #[default]
    Restart,
    /// Fail.
    Fail,
}

/// How long to wait, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// First byte of an answer, and silence of a body.
    pub read: Duration,
    /// The whole transfer.
    pub total: Option<Duration>,
}

impl Default for Waits {
    /// 30 s for a byte, no limit for the whole.
    fn default() -> Self {
        Self {
            read: Duration::from_secs(30),
            total: None,
        }
    }
}

/// What is remembered of the origin, from before anything has been measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    /// What a lane brought.
    pub lane_rate: Option<Rate>,
    /// The phi ratio: how unequal the shares of the adaptive plan are, largest to smallest.
    pub ratio: f64,
}

impl Default for Hint {
    /// Nothing but the ratio 1.5.
    fn default() -> Self {
        Self {
            lane_rate: None,
            ratio: 1.5,
        }
    }
}

/// How a transfer works.
#[derive(Clone, Debug)]
pub struct TransferConfig {
    /// The user's URL.
    pub target: Target,
    /// Only these bytes are wanted, as far as there are that many; `None` is the whole. Nothing outside is asked for,
    /// unless the origin has no ranges: then it is read from 0, over [`LEAD_MAX`] bytes before the span at most. A span
    /// that begins behind the end is a failure of kind `Server` (416), an empty one is complete without a request.
    pub span: Option<ByteRange>,
    /// Bytes are given away as they land and cannot be taken back: after the first one a change is a failure whatever
    /// `on_change` says. What comes again after that is for the engine to drop. So that they come in order, one lane works,
    /// whatever the ceiling.
    pub given_away: bool,
    /// What lands is of use to nobody after this run: a failure does not say that it is kept.
    pub transient: bool,
    /// Ceiling of lanes.
    pub lanes_max: u16,
    /// Start with so many lanes as soon as the first answer allows it, whatever the measurements say. Without it one
    /// lane works until [`Event::Width`] says otherwise.
    pub lanes_start: Option<u16>,
    /// Geometry of the first division.
    pub schedule: Schedule,
    /// What an earlier visit has learned of the origin.
    pub hint: Hint,
    /// Never split below this many bytes.
    pub piece_min: Option<u64>,
    /// Retries and backoff.
    pub retry: RetryPolicy,
    /// Deadlines.
    pub waits: Waits,
    /// Minimum speed of the whole.
    pub speed_floor: Option<SpeedFloor>,
    /// What to do about a change.
    pub on_change: OnChange,
    /// Fail where ranges do not work, instead of going on as one stream that could not be resumed.
    pub require_resume: bool,
    /// Readers may seek: one lane of the ceiling, if that is two at least, is left to what they demand, and holds a session
    /// ready while others receive.
    pub spare: bool,
    /// Seed of the jitter.
    pub seed: u64,
    /// What the very first request asks for, where the answer is only to be looked at (an existing file is compared by
    /// its last byte). Its answer must not be handed to the machine.
    pub first_ask: Option<ByteRange>,
}

impl TransferConfig {
    /// The defaults for `target`: a ceiling of 32 lanes.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            span: None,
            given_away: false,
            transient: false,
            lanes_max: 32,
            lanes_start: None,
            schedule: Schedule::default(),
            hint: Hint::default(),
            piece_min: None,
            retry: RetryPolicy::default(),
            waits: Waits::default(),
            speed_floor: None,
            on_change: OnChange::default(),
            require_resume: false,
            spare: false,
            seed: 0,
            first_ask: None,
        }
    }
}

/// What an earlier run left: bytes that are there, of a representation whose length is known.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// Of which representation.
    pub identity: Identity,
    /// Which bytes.
    pub landed: RangeSet,
    /// What has to show that they belong to what the origin serves now.
    pub proof: Proof,
}

/// Whether the origin serves ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ranges {
    /// Not asked yet, or only from byte 0.
    Unknown,
    /// A 206 has come.
    Proven,
    /// `bytes=0-` was answered with 200: a later range may still work.
    Ignored,
    /// They do not work: only the whole is asked for.
    Absent,
}

/// What the transfer is doing.
#[derive(Clone, Debug)]
enum Phase {
    Running,
    /// Waits for aborted fetches to end, then does `After`.
    Draining(After),
    Paused,
    Complete,
    Failed,
}

/// What happens once the aborted fetches have ended.
#[derive(Clone, Debug)]
enum After {
    /// From zero, another representation.
    Restart(String),
    /// From zero, the same representation, without ranges.
    Adopt,
    /// One stream that is alive gets everything behind it.
    Widen(LeaseId),
}

/// One representation being moved.
#[derive(Clone, Debug)]
pub struct Transfer {
    config: TransferConfig,
    ledger: Ledger,
    crew: Crew,
    route: Route,
    pace: Pace,
    speed: Option<SpeedWatch>,
    identity: Option<Identity>,
    /// Set while samples of what an earlier run left are compared.
    proving: Option<Proving>,
    /// True while what is there came from another URL, and nothing has shown that it is the same file.
    stranger: bool,
    ranges: Ranges,
    phase: Phase,
    actions: VecDeque<Action>,
    started: Timestamp,
    /// How the work was divided at first.
    geometry: Option<Geometry>,
    /// Lanes that may work, if the work can be divided.
    allowed: u16,
    /// Lanes that would find something to take, as of the last look.
    openings: usize,
    /// True between a cut and its answer.
    cutting: bool,
    /// One stream has to do: others get pages instead of the file.
    sealed: bool,
    /// Lanes closed because they were much slower than the others.
    revoked: u32,
    /// Leases that a free lane took whole since a byte has landed.
    fruitless: u32,
    /// Requests in a row without a new byte that were made again because a session went, which is nobody's failure.
    excused: u32,
    demands: Demands,
    /// When lanes were last given work.
    fed_at: Timestamp,
    /// When a lane may be taken from one reader for another that waits.
    turn_over: Option<Timestamp>,
    /// No spare session is asked for before.
    spare_after: Timestamp,
    /// When a rate limit last held a lane, or let it go.
    held_at: Option<Timestamp>,
    /// What setting up a lane costs, as last seen.
    handshake: Duration,
    rtt: Duration,
    /// A request that is cut leaves its connection as it was.
    streams: bool,
    /// No answer has confirmed what an earlier run left, but for samples that were compared.
    unconfirmed: bool,
    if_range_off: bool,
    /// What comes is decoded: offsets in it are none that a range could name.
    decoded: bool,
    no_cache: bool,
    restarts: u32,
    /// True once a 206 from beyond byte 0 was admitted.
    offset_proven: bool,
    /// Answers that placed a range wrongly since the last good one.
    strikes: u32,
    /// Counts changes of the route, so that late answers of an old URL blame nobody.
    generation: u32,
    /// Bytes were given away.
    given: bool,
    /// Bytes that lanes stalled at and that have not come since: as many as there are holes, at most.
    stalled: BTreeSet<u64>,
}

impl Transfer {
    /// A transfer that begins at `now`, from nothing or from what an earlier run left.
    #[must_use]
    pub fn new(mut config: TransferConfig, resumed: Option<Resumed>, now: Timestamp) -> Self {
        if config.given_away {
            config.lanes_max = 1;
        }
        let mut transfer = Self {
            ledger: config.span.map_or_else(Ledger::new, Ledger::of),
            crew: Crew::new(config.lanes_max),
            route: Route::new(config.target.clone()),
            pace: Pace::new(config.retry, config.seed),
            speed: config.speed_floor.map(SpeedWatch::new),
            identity: None,
            proving: None,
            stranger: false,
            ranges: Ranges::Unknown,
            phase: Phase::Running,
            actions: VecDeque::new(),
            started: now,
            geometry: None,
            allowed: config.lanes_start.unwrap_or(1),
            openings: 0,
            cutting: false,
            sealed: false,
            revoked: 0,
            fruitless: 0,
            excused: 0,
            demands: Demands::default(),
            fed_at: now,
            turn_over: None,
            spare_after: now,
            held_at: None,
            handshake: Duration::ZERO,
            rtt: Duration::ZERO,
            streams: false,
            unconfirmed: false,
            if_range_off: false,
            decoded: false,
            no_cache: false,
            restarts: 0,
            offset_proven: false,
            strikes: 0,
            generation: 0,
            given: false,
            stalled: BTreeSet::new(),
            config,
        };
        if let Some(resumed) = resumed {
            transfer.take_up(resumed);
        }
        transfer.feed(now);
        transfer
    }

    /// Goes on with what an earlier run left.
    fn take_up(&mut self, resumed: Resumed) {
        let Resumed {
            identity,
            landed,
            proof,
        } = resumed;
        let Some(total) = identity.total else { return };
        self.ledger = Ledger::resumed(self.ledger.span(), total, &landed);
        let proven = proof == Proof::Validator && identity.is_strong();
        self.identity = Some(identity);
        if self.ledger.landed().is_empty() {
            return;
        }
        self.unconfirmed = true;
        if !proven {
            self.begin_proof(proof == Proof::OtherUrl);
        } else if self.ledger.is_complete() {
            // Nothing is complete before the origin has confirmed what it is: the last byte is asked for.
            let end = self.ledger.extent().end;
            self.void(ByteRange::new(end - 1, end));
        }
        self.pace.progress(self.ledger.landed().len());
    }

    /// Takes what happened. Actions must have been drained before.
    pub fn handle(&mut self, now: Timestamp, event: Event) {
        match self.phase {
            Phase::Failed => return,
            // Storage may find bytes gone when it looks for the last time.
            Phase::Complete if matches!(event, Event::Lost { .. }) => self.phase = Phase::Running,
            Phase::Complete => return,
            _ => {}
        }
        match event {
            Event::Granted { lane, handshake } => self.granted(lane, handshake),
            Event::Streams(streams) => self.streams = streams,
            Event::Denied { lane, fault } => self.denied(now, lane, fault),
            Event::Opened {
                lease,
                place,
                identity,
                partial,
            } => {
                self.opened(
                    now,
                    lease,
                    answers::Opening {
                        place,
                        identity,
                        partial,
                    },
                );
            }
            Event::Refused {
                lease,
                fault,
                session,
            } => self.refused(now, lease, fault, session),
            Event::Gone { lane } => self.gone(now, lane),
            Event::Again { lease, session } => self.again(lease, session),
            Event::Moved {
                lease,
                target,
                session,
            } => self.moved(now, lease, target, session),
            Event::Landed { lease, upto, busy } => self.landed(now, lease, upto, busy),
            Event::Ended {
                lease,
                at,
                how,
                session,
            } => self.ended(now, lease, ends::Ending { at, how, session }),
            Event::Decoded => self.take_decoded(),
            Event::Held { lease } => self.hold(now, lease, true),
            Event::Released { lease } => self.hold(now, lease, false),
            Event::Differs { lease, at } => self.differs(lease, at),
            Event::CutAt { lease, at } => self.cut_at(lease, at),
            Event::Width(lanes) => self.set_width(now, lanes),
            Event::Ceiling(lanes) => self.set_ceiling(now, lanes),
            Event::Demand(range) => self.demands.want(range),
            Event::Withdrawn(range) => self.demands.withdraw(range),
            Event::Ahead(ranges) => self.demands.set_ahead(ranges),
            Event::Window(window) => self.demands.set_window(window),
            Event::Lost { range } => {
                self.ledger.forget(range);
                self.cannot_compare(range);
            }
            Event::Pause => self.pause(),
            Event::Unpause => self.unpause(),
            Event::Tick => self.tick(now),
        }
        self.feed(now);
        if let Some(speed) = &mut self.speed {
            speed.run(now, self.crew.receiving() > 0);
        }
        #[cfg(any(test, feature = "check"))]
        self.check();
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The identity that every answer must agree with; `None` until the first one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Who owns which byte.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where the file is asked for now.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.route.target()
    }

    /// True while an expired URL is asked for anew: where that leads is not known yet, and other lanes may still receive
    /// from where it led before.
    #[must_use]
    pub fn is_resolving(&self) -> bool {
        self.route.is_resolving()
    }

    /// Lanes that are receiving a body.
    #[must_use]
    pub fn lanes_streaming(&self) -> usize {
        self.crew.streaming()
    }

    /// What was measured of the origin that serves it, for its memory.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let measured = |time: Duration| (!time.is_zero()).then_some(time);
        Facts {
            rtt: measured(self.rtt),
            handshake: measured(self.handshake),
            ranges: match self.ranges {
                _ if self.is_empty() || self.identity.is_none() => None,
                Ranges::Unknown => None,
                Ranges::Proven => Some(true),
                Ranges::Ignored | Ranges::Absent => Some(false),
            },
            ..Facts::default()
        }
    }

    fn note(&mut self, decision: Decision) {
        self.actions.push_back(Action::Note(decision));
    }

    fn fail(&mut self, failure: Failure) {
        self.phase = Phase::Failed;
        self.actions.push_back(Action::Fail(failure));
    }

    /// True if bytes may be joined with those of a later run, by a validator or by an overlap.
    #[must_use]
    pub fn is_joinable(&self) -> bool {
        self.ranges != Ranges::Absent && self.ledger.total().is_some()
    }

    /// True if a fetch that has brought so many bytes may be cut for others: it is known to go on where it was, or begins
    /// anew for little, and does not fail for that.
    #[must_use]
    pub fn may_give_way(&self, brought: u64) -> bool {
        let resumes = self.ranges == Ranges::Proven && self.may_ask_from_the_middle();
        let begins_anew = brought <= LEAD_MAX && (!self.given || self.is_validated());
        brought == 0 || resumes || begins_anew
    }

    /// True if there are bytes that may be joined with those of a later run.
    fn can_keep(&self) -> bool {
        self.is_joinable() && self.kept() > 0 && !self.config.given_away
    }

    /// Bytes that are there.
    fn kept(&self) -> u64 {
        self.ledger.landed().len() + self.unproven()
    }

    /// Ends every fetch but `keep`'s, blaming nobody, and takes back what lanes wait for.
    fn abort_all(&mut self, keep: Option<LeaseId>) {
        let mut idle = alloc::vec::Vec::new();
        for (id, lane) in self.crew.iter_mut() {
            match &mut lane.state {
                State::Busy(fetch) if Some(fetch.lease) != keep && fetch.abort.is_none() => {
                    fetch.abort = Some(Abort::Quiet);
                    self.actions.push_back(Action::Abort { lease: fetch.lease });
                }
                State::Wanting(_) => idle.push(id),
                _ => {}
            }
        }
        for id in idle {
            self.release(id);
        }
    }

    /// Gives back what a lane holds or waits for.
    fn release(&mut self, id: LaneId) {
        let Some(lane) = self.crew.get_mut(id) else {
            return;
        };
        let wanted = matches!(lane.state, State::Wanting(_));
        if wanted {
            lane.state = State::Free;
        }
        if lane.session.take().is_some() || wanted {
            self.actions.push_back(Action::Yield { lane: id });
        }
    }

    fn pause(&mut self) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Paused;
            self.abort_all(None);
            // Sessions are for who can use them now.
            self.release_free();
        }
    }

    fn unpause(&mut self) {
        if matches!(self.phase, Phase::Paused) {
            self.phase = Phase::Running;
        }
    }

    fn drain(&mut self, after: After, keep: Option<LeaseId>) {
        self.phase = Phase::Draining(after);
        self.abort_all(keep);
    }

    /// Panics if an invariant does not hold.
    #[cfg(any(test, feature = "check"))]
    fn check(&self) {
        self.ledger.check();
        for (id, lease) in self.ledger.leases() {
            let owner = self.crew.get(lease.lane).and_then(|lane| lane.fetch());
            assert_eq!(
                owner.map(|fetch| fetch.lease),
                Some(id),
                "a lease without a fetch: {id:?}"
            );
        }
        // A lane that does nothing keeps its place when the ceiling comes down, and one that was stopped ends this turn.
        assert!(
            self.crew.active() <= usize::from(self.config.lanes_max.max(1)),
            "more lanes than allowed"
        );
        let idle = matches!(self.phase, Phase::Running)
            && self.crew.working() == 0
            && self.actions.is_empty();
        if idle && !self.rests() {
            assert!(self.next_wakeup().is_some(), "nothing is pending: {self:?}");
        }
        assert!(
            !matches!(self.phase, Phase::Complete) || self.ledger.is_complete(),
            "complete only with every byte"
        );
    }
}
