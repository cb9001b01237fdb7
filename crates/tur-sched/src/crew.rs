//! The lanes of a transfer: what each holds and is doing.

use alloc::collections::BTreeMap;
use core::time::Duration;

use tur_core::{Fault, Origin, Rate, Timestamp};

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
    /// True once a byte has.
    pub(crate) flows: bool,
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
    /// What it brings.
    pub(crate) rate: Option<Rate>,
}

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

    /// True while a body is being received.
    pub(crate) fn is_streaming(&self) -> bool {
        self.fetch()
            .is_some_and(|fetch| fetch.stream.is_some() && fetch.abort.is_none())
    }

    /// Notes what the lane brought: an average that forgets.
    pub(crate) fn brought(&mut self, bytes: u64, busy: Duration) {
        let Some(sample) = Rate::of(bytes, busy) else {
            return;
        };
        let old = self.rate.unwrap_or(sample);
        self.rate = Some(Rate::per_second(
            (old.bytes_per_second() / 10 * 7).saturating_add(sample.bytes_per_second() / 10 * 3),
        ));
    }
}

/// All lanes of a transfer, and how many may work.
#[derive(Clone, Debug)]
pub(crate) struct Crew {
    lanes: BTreeMap<LaneId, Lane>,
    /// Lanes that the plan wants.
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

    /// The free lane to use next at `now`: one with a session to `origin` before others, a new one last.
    pub(crate) fn pick(&mut self, now: Timestamp, origin: &Origin) -> Option<LaneId> {
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
        if self.lanes.len() >= usize::from(self.cap()) {
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

    /// The largest rate any lane has shown.
    pub(crate) fn best_rate(&self) -> Option<Rate> {
        self.lanes.values().filter_map(|lane| lane.rate).max()
    }
}
