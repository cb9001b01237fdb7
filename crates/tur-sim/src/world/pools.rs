//! Sessions: a pool for each origin, and one budget for all of them.
//!
//! Read [`World::tell_pool`]. As in the engine, after each event the origin's standing is told to the budget anew, and
//! what the budget then says is done at once.

use core::time::Duration;
use std::collections::BTreeMap;

use tur_core::{Origin, Timestamp};
use tur_sched::{BudgetAction, LanesEvent, Pool, PoolAction, PoolEvent, SessionId, Sign, Standing};

use super::lane::Word;
use super::scaling::Scaling;
use super::{Due, World};
use crate::net::ConnId;
use crate::violation::Violation;

/// How long the engine keeps an unused connection.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// How often the engine looks at what is left of memory.
const LOOK_US: u64 = 5_000_000;
/// Sessions to one origin, unless a download wants more or the caller says otherwise.
const PER_ORIGIN: usize = 32;

/// One origin: the pool decides about sessions, `live` holds the connections, `lanes` says who may use how many.
#[derive(Debug)]
pub(super) struct OriginSide {
    pub(super) pool: Pool,
    pub(super) live: BTreeMap<SessionId, ConnId>,
    pub(super) lanes: Option<Scaling>,
}

impl OriginSide {
    /// When something is to be done by itself: by the pool, by the lanes.
    pub(super) fn wakeups(&self) -> [Option<Timestamp>; 2] {
        let lanes = self.lanes.as_ref().and_then(Scaling::next_wakeup);
        [self.pool.next_wakeup(), lanes]
    }
}

impl World<'_> {
    /// Sessions that one origin may have.
    fn per_origin(&self) -> usize {
        let lanes = self
            .scenario
            .jobs
            .iter()
            .map(|job| usize::from(job.lanes_max));
        let wanted = lanes.max().unwrap_or(1).max(PER_ORIGIN);
        self.scenario.caps.per_origin.unwrap_or(wanted).max(1)
    }

    /// Most lanes that an origin can have now.
    pub(super) fn lanes_max(&self) -> u16 {
        let lanes = self.per_origin().min(self.budget.allowed());
        u16::try_from(lanes).unwrap_or(u16::MAX).max(1)
    }

    /// Tells an origin's pool what happened and passes on what it decides.
    pub(super) fn tell_pool(&mut self, origin: &Origin, event: PoolEvent) {
        let (now, limit) = (self.timestamp(), self.per_origin());
        let side = self
            .origins
            .entry(origin.clone())
            .or_insert_with(|| OriginSide {
                pool: Pool::new(limit, IDLE_MAX, Some(1)),
                live: BTreeMap::new(),
                lanes: None,
            });
        side.pool.handle(now, event);
        self.settle(origin);
    }

    /// A connection that a pool asked for could not be made for want of descriptors or memory. True if its lane waits
    /// for another session of the process to go.
    pub(super) fn exhausted(&mut self, origin: &Origin, id: SessionId) -> bool {
        let (now, waits) = (self.timestamp(), self.budget.held() > 1);
        if let Some(side) = self.origins.get_mut(origin) {
            if waits {
                side.pool.postpone(id);
            } else {
                side.pool.handle(now, PoolEvent::Failed(id));
            }
        }
        self.tell_standing(origin);
        self.budget.exhausted(now);
        self.settle(origin);
        waits
    }

    /// The process looks at what is left of memory, and does so again.
    pub(super) fn looks(&mut self) {
        let now = self.now;
        let mut told = self.scenario.caps.memory.iter();
        let left = told.rfind(|(at, _)| crate::origin::micros(*at) <= now);
        let signs: Vec<Sign> = left
            .map(|(_, left)| Sign::Available(*left))
            .into_iter()
            .collect();
        self.budget.pressure(self.timestamp(), &signs);
        self.spend();
        if !self.scenario.caps.memory.is_empty() {
            self.plan(now + LOOK_US, Due::Look);
        }
    }

    /// A download takes nothing any more: its wishes go from every pool.
    pub(super) fn forget_wishes(&mut self, d: usize) {
        let now = self.timestamp();
        for origin in self.origins.keys().cloned().collect::<Vec<_>>() {
            if let Some(side) = self.origins.get_mut(&origin) {
                side.pool.forget(now, d as u64);
            }
            self.settle(&origin);
        }
    }

    fn settle(&mut self, origin: &Origin) {
        self.tell_standing(origin);
        self.spend();
        let (held, limit) = (self.budget.held(), self.scenario.caps.process.max(1));
        let most = self.origins.get(origin).map_or(0, |side| side.pool.len());
        if held > limit || most > self.per_origin() {
            let limit = limit.min(self.per_origin());
            self.broken(Violation::TooManyLanes {
                lanes: held.max(most),
                limit,
            });
        }
    }

    /// Passes on what an origin's pool has decided, and tells the budget how the origin stands now.
    fn tell_standing(&mut self, origin: &Origin) {
        self.carry(origin);
        let pool = self.origins.get(origin).map(|side| &side.pool);
        let standing = pool.map_or_else(Standing::default, |pool| Standing {
            held: pool.len(),
            idle: pool.idle_len(),
            wants: pool.wants(),
            awaited: false,
            owed: pool.owed(),
        });
        self.budget.tell(origin, standing);
    }

    /// Does what the budget says, until it says nothing more.
    fn spend(&mut self) {
        while let Some(action) = self.budget.poll_action() {
            match action {
                BudgetAction::Open(origin) => self.with_pool(&origin, Pool::allow),
                BudgetAction::Close(origin) => self.with_pool(&origin, Pool::close_idle),
                BudgetAction::Owe(origin, n) => {
                    let held = self.origins.get(&origin).map_or(0, |side| side.pool.len());
                    self.room(&origin, held.saturating_sub(n));
                    self.with_pool(&origin, |pool| pool.owe(n));
                }
                BudgetAction::Shrunk { allowed, why } => {
                    self.log(format_args!("at most {allowed} connections: {why}"));
                }
                BudgetAction::Grown { allowed } => {
                    let lanes = self.per_origin().min(allowed);
                    for origin in self.origins.keys().cloned().collect::<Vec<_>>() {
                        self.room(&origin, lanes);
                    }
                }
            }
        }
    }

    /// The process has room for so many lanes to an origin: a word, as in the engine.
    fn room(&mut self, origin: &Origin, lanes: usize) {
        self.words.push_back(Word::Room {
            origin: origin.clone(),
            lanes: u16::try_from(lanes).unwrap_or(u16::MAX),
        });
    }

    fn with_pool(&mut self, origin: &Origin, how: impl FnOnce(&mut Pool)) {
        if let Some(side) = self.origins.get_mut(origin) {
            how(&mut side.pool);
        }
        self.tell_standing(origin);
    }

    /// Passes on what a pool has decided.
    fn carry(&mut self, origin: &Origin) {
        while let Some(side) = self.origins.get_mut(origin)
            && let Some(action) = side.pool.poll_action()
        {
            let word = match action {
                PoolAction::Close(id) => {
                    if let Some(conn) = side.live.remove(&id) {
                        self.drop_conn(conn);
                    }
                    continue;
                }
                PoolAction::Open(id, asker) => Word::Open {
                    download: index(asker.transfer),
                    lane: asker.lane,
                    id,
                    origin: origin.clone(),
                },
                PoolAction::Lend(id, asker) => Word::Lend {
                    download: index(asker.transfer),
                    lane: asker.lane,
                    id,
                    origin: origin.clone(),
                },
            };
            self.words.push_back(word);
        }
    }

    /// What the process has room for, told to the lanes of an origin.
    pub(super) fn make_room(&mut self, origin: &Origin, lanes: u16) {
        self.tell_lanes(origin, LanesEvent::Room { lanes });
    }
}

/// The download that a machine means.
pub(super) fn index(transfer: u64) -> usize {
    usize::try_from(transfer).expect("made of an index")
}
