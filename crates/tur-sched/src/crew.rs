//! The lanes of a transfer: what each holds and is doing.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use tur_core::{Fault, Origin, Rate, Timestamp};

use crate::coordinator::plan::{as_f64, as_u64};
use crate::{LaneId, LeaseId};

/// A request that a lane is running.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    pub(crate) lease: LeaseId,
    /// First byte asked for.
    pub(crate) start: u64,
    /// When it was sent.
    pub(crate) asked_at: Timestamp,
    /// Set by an admitted answer.
    pub(crate) stream: Option<Stream>,
    /// Set once the machine has asked for its end: what to make of it.
    pub(crate) abort: Option<Abort>,
    /// Which state of the route it was sent to.
    pub(crate) generation: u32,
}

/// The body of an admitted answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Where the body ends; open if not told.
    pub(crate) end: u64,
    /// True for a 206.
    pub(crate) partial: bool,
    /// Last time that bytes landed.
    pub(crate) last: Timestamp,
    /// True while the lane waits for a rate limit instead of the origin.
    pub(crate) held: bool,
    /// True once a byte has.
    pub(crate) flows: bool,
    /// True if a cut has shown that nothing is left to take. New bytes make it false.
    pub(crate) spent: bool,
}

/// Why the machine ended a fetch.
#[derive(Clone, Debug)]
pub(crate) enum Abort {
    /// It failed a deadline.
    Fault(Fault),
    /// It is in the way; nobody is to blame.
    Quiet,
}

/// What a lane is doing.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// Nothing.
    Free,
    /// Waiting for a session to this origin.
    Wanting(Origin),
    /// Running a request.
    Busy(Fetch),
}

/// One lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) state: State,
    /// The origin of the session in hand.
    pub(crate) session: Option<Origin>,
    /// True if that session has carried a request before: an origin may close such a one at any time.
    pub(crate) used: bool,
    /// Not used again before this.
    pub(crate) hold: Timestamp,
    /// Faults since its last good bytes.
    pub(crate) faults: u32,
    /// When the lane last began to want or ask: the start of an attempt.
    pub(crate) started: Timestamp,
    /// What it brings while it is busy.
    pub(crate) rate: Option<Rate>,
    /// What it has brought lately, in bytes and in seconds.
    bytes: f64,
    time: f64,
    /// The longest silence between bytes that it has come back from, up to [`GAP_MAX`].
    pub(crate) gap: Duration,
}

/// Time in which a rate forgets most of what was before, at least and in silences between bursts.
const RATE_MEMORY: Duration = Duration::from_millis(400);
const RATE_GAPS: u32 = 2;
/// Silence that is in the nature of reports: a rate does not fade before it.
const SILENCE: Duration = Duration::from_millis(250);
/// A longer silence than this is a stall, whatever came after it.
const GAP_MAX: Duration = Duration::from_secs(4);

impl Lane {
    fn new() -> Self {
        Self {
            state: State::Free,
            session: None,
            used: false,
            hold: Timestamp::ZERO,
            faults: 0,
            started: Timestamp::ZERO,
            rate: None,
            bytes: 0.0,
            time: 0.0,
            gap: Duration::ZERO,
        }
    }

    pub(crate) fn fetch(&self) -> Option<&Fetch> {
        match &self.state {
            State::Busy(fetch) => Some(fetch),
            _ => None,
        }
    }

    pub(crate) fn fetch_mut(&mut self) -> Option<&mut Fetch> {
        match &mut self.state {
            State::Busy(fetch) => Some(fetch),
            _ => None,
        }
    }

    /// True while an attempt has brought no byte yet.
    pub(crate) fn is_trying(&self) -> bool {
        match &self.state {
            State::Wanting(_) => true,
            State::Busy(fetch) => fetch.stream.is_none_or(|stream| !stream.flows),
            State::Free => false,
        }
    }

    /// True while the lane works or wants to, and is not being stopped.
    pub(crate) fn is_active(&self) -> bool {
        match &self.state {
            State::Free => false,
            State::Wanting(_) => true,
            State::Busy(fetch) => fetch.abort.is_none(),
        }
    }

    /// True while a body is being received.
    pub(crate) fn is_streaming(&self) -> bool {
        self.fetch()
            .is_some_and(|fetch| fetch.stream.is_some() && fetch.abort.is_none())
    }

    /// Notes what the lane brought: bytes over time, both of which fade, so that bursts and the silence between them
    /// count as what they are together.
    pub(crate) fn brought(&mut self, bytes: u64, busy: Duration) {
        if busy.is_zero() {
            return;
        }
        let memory = RATE_MEMORY.max(RATE_GAPS * self.gap).as_secs_f64();
        let stays = libm::exp(-busy.as_secs_f64() / memory);
        self.bytes = self.bytes * stays + as_f64(bytes);
        self.time = self.time * stays + busy.as_secs_f64();
        self.rate = Some(Rate::per_second(as_u64(self.bytes / self.time)));
    }

    /// Notes that bytes came at `now`: how long they were waited for.
    pub(crate) fn heard(&mut self, now: Timestamp) {
        let State::Busy(fetch) = &mut self.state else {
            return;
        };
        if let Some(stream) = &mut fetch.stream {
            self.gap = self.gap.max(now.since(stream.last).min(GAP_MAX));
            stream.last = now;
            stream.flows = true;
            stream.spent = false;
        }
    }

    /// What the lane brings at `now`: its rate, which fades while it is silent.
    pub(crate) fn rate_at(&self, now: Timestamp) -> Option<Rate> {
        let rate = self.rate?;
        let Some(stream) = self.fetch().and_then(|fetch| fetch.stream) else {
            return Some(rate);
        };
        if stream.held {
            return Some(rate);
        }
        Some(fade(
            rate,
            SILENCE.max(2 * self.gap),
            now.since(stream.last),
        ))
    }
}

/// A rate that is halved each time that silence doubles beyond `patience`.
pub(crate) fn fade(rate: Rate, patience: Duration, silence: Duration) -> Rate {
    let (patience, silence) = (patience.as_micros().max(1), silence.as_micros());
    let faded = u128::from(rate.bytes_per_second()) * patience / silence.max(patience);
    Rate::per_second(u64::try_from(faded).unwrap_or(u64::MAX))
}

/// All lanes of a transfer, and how many may work.
#[derive(Clone, Debug)]
pub(crate) struct Crew {
    lanes: BTreeMap<LaneId, Lane>,
    /// Lanes that are wanted.
    pub(crate) width: u16,
    /// Lanes that the origin has been seen to allow.
    pub(crate) limit: u16,
}

impl Crew {
    pub(crate) fn new(limit: u16) -> Self {
        Self {
            lanes: BTreeMap::new(),
            width: 1,
            limit: limit.max(1),
        }
    }

    pub(crate) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.lanes.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.lanes.iter().map(|(id, lane)| (*id, lane))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LaneId, &mut Lane)> {
        self.lanes.iter_mut().map(|(id, lane)| (*id, lane))
    }

    /// How many lanes may work at once.
    pub(crate) fn cap(&self) -> u16 {
        self.width.min(self.limit).max(1)
    }

    /// Lanes that want or run something.
    pub(crate) fn working(&self) -> usize {
        self.lanes
            .values()
            .filter(|lane| !matches!(lane.state, State::Free))
            .count()
    }

    /// Lanes that want or run something, but for those that are being stopped.
    pub(crate) fn active(&self) -> usize {
        self.lanes.values().filter(|lane| lane.is_active()).count()
    }

    pub(crate) fn trying(&self) -> usize {
        self.lanes.values().filter(|lane| lane.is_trying()).count()
    }

    pub(crate) fn wanting(&self) -> usize {
        self.lanes
            .values()
            .filter(|lane| matches!(lane.state, State::Wanting(_)))
            .count()
    }

    pub(crate) fn streaming(&self) -> usize {
        self.lanes
            .values()
            .filter(|lane| lane.is_streaming())
            .count()
    }

    /// Lanes whose body is waited for: not those that a rate limit holds.
    pub(crate) fn receiving(&self) -> usize {
        let held = |lane: &Lane| {
            lane.fetch()
                .and_then(|fetch| fetch.stream)
                .is_some_and(|stream| stream.held)
        };
        self.lanes
            .values()
            .filter(|lane| lane.is_streaming() && !held(lane))
            .count()
    }

    /// The free lane to use next at `now`: one with a session to `origin` before others, a new one last, while there are
    /// fewer than `most`.
    pub(crate) fn pick(&mut self, now: Timestamp, origin: &Origin, most: usize) -> Option<LaneId> {
        let ready = |lane: &Lane| matches!(lane.state, State::Free) && lane.hold <= now;
        let warm = self
            .lanes
            .iter()
            .find(|(_, lane)| ready(lane) && lane.session.as_ref() == Some(origin));
        let any = warm.or_else(|| self.lanes.iter().find(|(_, lane)| ready(lane)));
        if let Some((id, _)) = any {
            return Some(*id);
        }
        // A lane that must wait keeps its place: a new one in its stead would only try sooner than it may.
        if self.lanes.len() >= most {
            return None;
        }
        let id = LaneId(u16::try_from(self.lanes.len()).unwrap_or(u16::MAX));
        self.lanes.insert(id, Lane::new());
        Some(id)
    }

    /// When the first lane that must wait may work again; a time that has passed since anybody looked counts.
    pub(crate) fn next_hold(&self) -> Option<(LaneId, Timestamp)> {
        let waiting = self
            .lanes
            .iter()
            .filter(|(_, lane)| matches!(lane.state, State::Free));
        waiting
            .map(|(id, lane)| (*id, lane.hold))
            .min_by_key(|(_, hold)| *hold)
    }

    /// When the first free lane with a session to `origin` may work again.
    pub(crate) fn next_warm(&self, origin: &Origin) -> Option<(LaneId, Timestamp)> {
        let warm = self.lanes.iter().filter(|(_, lane)| {
            matches!(lane.state, State::Free) && lane.session.as_ref() == Some(origin)
        });
        warm.map(|(id, lane)| (*id, lane.hold))
            .min_by_key(|(_, hold)| *hold)
    }

    /// What a lane brings as a rule: the median of those that bring something.
    pub(crate) fn typical_rate(&self, now: Timestamp) -> Option<Rate> {
        let streaming = self.lanes.values().filter(|lane| lane.is_streaming());
        let mut rates: Vec<Rate> = streaming.filter_map(|lane| lane.rate_at(now)).collect();
        if rates.is_empty() {
            rates = self.lanes.values().filter_map(|lane| lane.rate).collect();
        }
        rates.sort_unstable();
        rates.get(rates.len() / 2).copied()
    }

    /// The longest silence any lane has come back from.
    pub(crate) fn longest_gap(&self) -> Duration {
        let gaps = self.lanes.values().map(|lane| lane.gap);
        gaps.max().unwrap_or_default()
    }

    /// The working lane that would be missed least: one that waits or brings least, the newest of equals.
    pub(crate) fn weakest(&self, now: Timestamp) -> Option<LaneId> {
        let working = self.lanes.iter().filter(|(_, lane)| lane.is_active());
        let brings = |lane: &Lane| match &lane.state {
            State::Busy(fetch) if fetch.stream.is_some() => lane.rate_at(now).unwrap_or_default(),
            _ => Rate::default(),
        };
        working
            .min_by_key(|(id, lane)| (brings(lane), core::cmp::Reverse(**id)))
            .map(|(id, _)| *id)
    }
}
