//! Sessions of several origins: whatever lanes, connections and the machine do, no session is lent to more lanes than it has
//! room for, none is opened over what is allowed, and in the end everybody who still wants one is served.
//!
//! The input is two bytes (ceiling and room of a session, limit of each pool) and a list of turns, two bytes each: what
//! happens, and to whom.
//! Pools and budget are joined as the engine joins them.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::Timestamp;
use tur_sched::{
    Asker, Budget, BudgetAction, LaneId, Pool, PoolAction, PoolEvent, SessionId, Sign, Standing,
};

const ORIGINS: u8 = 3;
const TURNS_MAX: usize = 300;
/// After so many actions in a row it will never come to rest.
const ACTIONS_MAX: usize = 2_000;
const IDLE_MAX: Duration = Duration::from_secs(5);

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((&[ceiling, limit], turns)) = data.split_first_chunk() else {
        return;
    };
    let room = usize::from(ceiling / 8 % 4) + 1;
    let limits = (usize::from(ceiling % 8) + 1, usize::from(limit % 6) + 1);
    let mut world = World::new(limits, room, ceiling < 128);
    for turn in turns.chunks_exact(2).take(TURNS_MAX) {
        world.turn(turn[0], turn[1]);
    }
    world.finish();
});

/// What the world has of one origin.
struct Place {
    pool: Pool,
    /// Connections on their way, and for whom.
    opening: BTreeMap<SessionId, Asker>,
    lent: BTreeSet<(SessionId, Asker)>,
    /// Requests that a session runs at once.
    room: usize,
    /// Who wants one. A lane asks once, and asks again only after it was served or has withdrawn.
    wanting: BTreeSet<Asker>,
    known: BTreeSet<SessionId>,
}

struct World {
    budget: Budget<u8>,
    places: BTreeMap<u8, Place>,
    now: Timestamp,
}

impl World {
    fn new((ceiling, limit): (usize, usize), room: usize, known: bool) -> Self {
        let place = || Place {
            pool: Pool::new(limit, IDLE_MAX, known.then_some(room)),
            opening: BTreeMap::new(),
            lent: BTreeSet::new(),
            room,
            wanting: BTreeSet::new(),
            known: BTreeSet::new(),
        };
        Self {
            budget: Budget::new(ceiling),
            places: (0..ORIGINS).map(|origin| (origin, place())).collect(),
            now: Timestamp::ZERO,
        }
    }

    /// One thing happens.
    fn turn(&mut self, what: u8, whom: u8) {
        self.now = self.now + Duration::from_millis(u64::from(whom) * 20);
        let origin = whom % ORIGINS;
        let asker = Asker {
            transfer: u64::from(whom >> 6),
            lane: LaneId(u16::from(whom / ORIGINS % 8)),
        };
        let now = self.now;
        let place = self.place(origin);
        match what % 16 {
            0..=3 => {
                let busy = place.lent.iter().any(|(_, lent)| *lent == asker);
                if !busy && place.wanting.insert(asker) {
                    place.pool.handle(now, PoolEvent::Want(asker));
                }
            }
            4 => {
                if place.wanting.remove(&asker) {
                    place.pool.handle(now, PoolEvent::Withdraw(asker));
                }
            }
            5 | 6 => {
                place.open(now);
            }
            7 => place.fail(now),
            8 | 9 => place.give_back(now, what % 16 == 8),
            10 => {
                place
                    .wanting
                    .retain(|other| other.transfer != asker.transfer);
                place.pool.forget(now, asker.transfer);
            }
            11 => place.pool.set_limit(usize::from(whom % 6)),
            12 => place.pool.handle(now, PoolEvent::Tick),
            13 => self.exhaust(origin),
            14 => self.budget.pressure(now, &signs(whom)),
            _ => self.budget.set_ceiling(usize::from(whom % 9)),
        }
        self.settle();
    }

    /// A connection could not be made for want of something here; its lane waits for another one to go, if any will.
    fn exhaust(&mut self, origin: u8) {
        let (now, waits) = (self.now, self.budget.held() > 1);
        let place = self.place(origin);
        let Some(id) = place.first_opening() else {
            return;
        };
        if waits {
            place.opening.remove(&id);
            place.pool.postpone(id);
        } else {
            place.fail(now);
        }
        self.report(origin);
        self.budget.exhausted(now);
    }

    fn place(&mut self, origin: u8) -> &mut Place {
        self.places.get_mut(&origin).expect("it was made")
    }

    /// Does what pools and budget say, until there is nothing more.
    fn settle(&mut self) {
        for origin in 0..ORIGINS {
            self.report(origin);
        }
        for _ in 0..ACTIONS_MAX {
            let Some(action) = self.budget.poll_action() else {
                return self.check();
            };
            let held = self.held();
            match action {
                BudgetAction::Open(origin) => {
                    assert!(held < self.budget.allowed(), "over what is allowed");
                    let place = self.place(origin);
                    assert!(place.pool.wants() > 0, "opened for nobody");
                    place.pool.allow();
                    self.report(origin);
                }
                BudgetAction::Close(origin) => {
                    let place = self.place(origin);
                    assert!(place.pool.idle_len() > 0, "closed what is in use");
                    place.pool.close_idle();
                    self.report(origin);
                }
                BudgetAction::Owe(origin, n) => {
                    self.place(origin).pool.owe(n);
                    self.report(origin);
                }
                BudgetAction::Shrunk { allowed, .. } | BudgetAction::Grown { allowed } => {
                    assert_eq!(allowed, self.budget.allowed());
                }
            }
        }
        panic!("it never comes to rest: {:?}", self.budget);
    }

    /// Obeys a pool and tells the budget how it stands.
    fn report(&mut self, origin: u8) {
        let place = self.place(origin);
        place.obey();
        let pool = &place.pool;
        let standing = Standing {
            held: pool.len(),
            idle: pool.idle_len(),
            wants: pool.wants(),
            awaited: false,
            owed: pool.owed(),
        };
        self.budget.tell(&origin, standing);
    }

    fn held(&self) -> usize {
        self.places.values().map(|place| place.pool.len()).sum()
    }

    /// What holds whenever there is nothing to do.
    fn check(&self) {
        assert_eq!(self.budget.held(), self.held(), "the mirror is true");
        let wants: usize = self.places.values().map(|place| place.pool.wants()).sum();
        let owed: usize = self.places.values().map(|place| place.pool.owed()).sum();
        let free = self.budget.allowed().saturating_sub(self.held());
        assert!(
            wants == 0 || free == 0 || owed > 0,
            "somebody wants, and there is room: {:?}",
            self.budget
        );
        for place in self.places.values() {
            let pool = &place.pool;
            assert_eq!(
                pool.len(),
                place.opening.len() + place.used().len() + pool.idle_len(),
                "every session is somewhere"
            );
            assert!(
                pool.idle_len() == 0 || pool.wants() == 0,
                "one waits beside a session that nobody uses"
            );
            assert_eq!(pool.idle_len() > 0, pool.next_wakeup().is_some());
        }
    }

    /// From now on everything works and comes back: everybody is served, and then nothing is left.
    fn finish(&mut self) {
        self.budget.set_ceiling(8);
        for place in self.places.values_mut() {
            place.pool.set_limit(4);
        }
        let is_over = |place: &Place| {
            place.wanting.is_empty() && place.lent.is_empty() && place.opening.is_empty()
        };
        for _ in 0..2 * usize::from(ORIGINS) * 8 * 4 {
            if self.places.values().all(is_over) {
                break;
            }
            for origin in 0..ORIGINS {
                let now = self.now;
                let place = self.place(origin);
                place.open(now);
                place.obey();
                place.give_back(now, true);
                self.settle();
            }
        }
        for (origin, place) in &self.places {
            assert!(
                place.wanting.is_empty(),
                "{origin}: {:?} wait for ever",
                place.wanting
            );
            assert!(place.lent.is_empty() && place.opening.is_empty());
        }
        self.now = self.now + IDLE_MAX;
        for origin in 0..ORIGINS {
            let now = self.now;
            self.place(origin).pool.handle(now, PoolEvent::Tick);
        }
        self.settle();
        assert!(self.places.values().all(|place| place.pool.is_empty()));
        assert_eq!(self.budget.held(), 0, "no slot has leaked");
    }
}

impl Place {
    fn obey(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                PoolAction::Open(id, asker) => {
                    assert!(self.wanting.contains(&asker), "opened for nobody");
                    assert!(self.known.insert(id), "a number is used twice");
                    self.opening.insert(id, asker);
                }
                PoolAction::Lend(id, asker) => {
                    self.opening.remove(&id);
                    assert!(self.known.contains(&id), "lent what never was");
                    assert!(self.wanting.remove(&asker), "lent to nobody");
                    assert!(self.lent.insert((id, asker)), "lent twice");
                    let lanes = self.lent.iter().filter(|(other, _)| *other == id);
                    assert!(lanes.count() <= self.room, "more lanes than there is room");
                }
                PoolAction::Close(id) => {
                    self.opening.remove(&id);
                    assert!(!self.used().contains(&id), "closed while lent");
                }
            }
        }
    }

    /// A connection fails: the lane that it was for is told, and asks no more.
    fn fail(&mut self, now: Timestamp) {
        let Some((id, asker)) = self.opening.pop_first() else {
            return;
        };
        let before = self.pool.len();
        self.pool.handle(now, PoolEvent::Failed(id));
        assert_eq!(self.pool.len() + 1, before);
        self.wanting.remove(&asker);
    }

    /// A connection is there.
    fn open(&mut self, now: Timestamp) {
        if let Some(session) = self.first_opening() {
            let room = self.room;
            self.pool.handle(now, PoolEvent::Opened { session, room });
        }
    }

    /// The sessions that lanes have.
    fn used(&self) -> BTreeSet<SessionId> {
        self.lent.iter().map(|(id, _)| *id).collect()
    }

    fn first_opening(&self) -> Option<SessionId> {
        self.opening.keys().next().copied()
    }

    fn give_back(&mut self, now: Timestamp, open: bool) {
        if let Some((session, asker)) = self.lent.pop_first() {
            let back = PoolEvent::Returned {
                session,
                asker,
                room: if open { self.room } else { 0 },
            };
            self.pool.handle(now, back);
        }
    }
}

/// What is left on the machine.
fn signs(whom: u8) -> [Sign; 2] {
    let memory = 1 << (20 + whom % 12);
    [
        Sign::Available(memory),
        Sign::Descriptors(u64::from(whom / 8)),
    ]
}
