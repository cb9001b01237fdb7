//! Sessions of one origin, lent to the lanes of every transfer that asks.
//!
//! ```text
//!  Want ─▶ idle session? ── yes ─▶ Lend ─▶ (lent) ─ Returned ─▶ idle ─ too long, or close_idle ─▶ Close
//!              │ no                 ▲                  └─ owed ─▶ Close
//!              ├─ below the limit, and allow ─▶ Open ─ Opened ─┘
//!              └─ at the limit ───▶ waits for a session to come back
//! ```
//!
//! A pool opens nothing by itself: [`Pool::wants`] says how many sessions it would open, and whoever sees all origins
//! allows them one by one.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use tur_core::Timestamp;

use crate::LaneId;

/// A session, numbered by its pool. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Who asks: a lane of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker {
    /// The transfer, numbered by the engine.
    pub transfer: u64,
    /// Its lane.
    pub lane: LaneId,
}

/// What happened to a session or a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// A lane wants a session.
    Want(Asker),
    /// It no longer does.
    Withdraw(Asker),
    /// A connection that was asked for is established.
    Opened(SessionId),
    /// It could not be.
    Failed(SessionId),
    /// A lane gives its session back; `open` if it can take another request.
    Returned {
        /// Which.
        session: SessionId,
        /// Whether it can be used again.
        open: bool,
    },
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolAction {
    /// Connect, on behalf of the asker: answered by `Opened` or `Failed`.
    Open(SessionId, Asker),
    /// The session is the asker's until it comes back.
    Lend(SessionId, Asker),
    /// Drop the session, or stop connecting it.
    Close(SessionId),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Opening(Asker),
    Lent,
    Idle(Timestamp),
}

/// All sessions to one origin.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    idle_max: Duration,
    sessions: BTreeMap<SessionId, State>,
    waiting: VecDeque<Asker>,
    owed: usize,
    actions: VecDeque<PoolAction>,
    next: u64,
}

impl Pool {
    /// A pool of at most `limit` sessions, that keeps unused ones for `idle_max`.
    #[must_use]
    pub fn new(limit: usize, idle_max: Duration) -> Self {
        Self {
            limit: limit.max(1),
            idle_max,
            sessions: BTreeMap::new(),
            waiting: VecDeque::new(),
            owed: 0,
            actions: VecDeque::new(),
            next: 0,
        }
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Timestamp, event: PoolEvent) {
        match event {
            PoolEvent::Want(asker) => self.waiting.push_back(asker),
            PoolEvent::Withdraw(asker) => self.withdraw(asker),
            PoolEvent::Opened(id) => self.opened(now, id),
            PoolEvent::Failed(id) => {
                self.sessions.remove(&id);
            }
            PoolEvent::Returned { session, open } => self.returned(now, session, open),
            PoolEvent::Tick => self.expire(now),
        }
        self.serve();
    }

    /// Allows at most `limit` sessions from now on; those that are there stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Keeps unused sessions for so long from now on, those that are there too.
    pub fn set_idle_max(&mut self, idle_max: Duration) {
        self.idle_max = idle_max;
    }

    /// One session more may be opened: for who has waited longest, if anybody does.
    pub fn allow(&mut self) {
        if self.wants() == 0 {
            return;
        }
        let Some(asker) = self.waiting.pop_front() else {
            return;
        };
        let id = SessionId(self.next);
        self.next += 1;
        self.sessions.insert(id, State::Opening(asker));
        self.actions.push_back(PoolAction::Open(id, asker));
    }

    /// The session that has been unused for longest is to be closed.
    pub fn close_idle(&mut self) {
        let oldest = self.idle().min_by_key(|(_, since)| *since);
        if let Some((id, _)) = oldest {
            self.sessions.remove(&id);
            self.actions.push_back(PoolAction::Close(id));
        }
    }

    /// So many sessions are to be closed when they come back, whoever waits for them. Replaces what was said before.
    pub fn owe(&mut self, n: usize) {
        self.owed = n;
    }

    /// A session could not be opened for want of something on this machine: its asker waits in front of all others.
    pub fn postpone(&mut self, id: SessionId) {
        if let Some(State::Opening(asker)) = self.sessions.remove(&id) {
            self.waiting.push_front(asker);
        }
    }

    /// Takes back every wish of a transfer that is over.
    pub fn forget(&mut self, transfer: u64) {
        let waiting = self
            .waiting
            .iter()
            .filter(|asker| asker.transfer == transfer);
        let opening = self.sessions.values().filter_map(|state| match state {
            State::Opening(asker) if asker.transfer == transfer => Some(asker),
            _ => None,
        });
        let askers: alloc::vec::Vec<Asker> = waiting.chain(opening).copied().collect();
        for asker in askers {
            self.withdraw(asker);
        }
        self.serve();
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<PoolAction> {
        self.actions.pop_front()
    }

    /// When the longest unused session is to be closed.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        self.idle().map(|(_, since)| since + self.idle_max).min()
    }

    /// Sessions that exist or are being opened.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions that nobody uses.
    #[must_use]
    pub fn idle_len(&self) -> usize {
        self.idle().count()
    }

    /// Sessions that would be opened now if that were allowed.
    #[must_use]
    pub fn wants(&self) -> usize {
        let room = self.limit.saturating_sub(self.sessions.len());
        self.waiting.len().min(room)
    }

    /// Sessions that will be closed when they come back.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// True if there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.waiting.is_empty()
    }

    fn idle(&self) -> impl Iterator<Item = (SessionId, Timestamp)> {
        self.sessions.iter().filter_map(|(id, state)| match state {
            State::Idle(since) => Some((*id, *since)),
            _ => None,
        })
    }

    /// Serves the waiting in order, while there are sessions that nobody uses: with the one used last (its path is
    /// warm).
    fn serve(&mut self) {
        while let Some(asker) = self.waiting.front().copied() {
            let warm = self.idle().max_by_key(|(_, since)| *since);
            let Some((id, _)) = warm else { return };
            self.sessions.insert(id, State::Lent);
            self.actions.push_back(PoolAction::Lend(id, asker));
            self.waiting.pop_front();
        }
    }

    fn returned(&mut self, now: Timestamp, id: SessionId, open: bool) {
        let Some(state) = self.sessions.get_mut(&id) else {
            return;
        };
        if open && self.owed == 0 {
            *state = State::Idle(now);
            return;
        }
        self.owed = self.owed.saturating_sub(1);
        self.sessions.remove(&id);
        self.actions.push_back(PoolAction::Close(id));
    }

    fn opened(&mut self, now: Timestamp, id: SessionId) {
        match self.sessions.get(&id) {
            Some(State::Opening(asker)) => {
                let asker = *asker;
                self.sessions.insert(id, State::Lent);
                self.actions.push_back(PoolAction::Lend(id, asker));
            }
            Some(_) => {
                self.sessions.insert(id, State::Idle(now));
            }
            None => self.actions.push_back(PoolAction::Close(id)),
        }
    }

    fn withdraw(&mut self, asker: Asker) {
        self.waiting.retain(|waiting| *waiting != asker);
        let opening = |state: &State| matches!(state, State::Opening(who) if *who == asker);
        let ids: alloc::vec::Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| opening(s))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.sessions.remove(&id);
            self.actions.push_back(PoolAction::Close(id));
        }
    }

    fn expire(&mut self, now: Timestamp) {
        let old = self
            .idle()
            .filter(|(_, since)| now >= *since + self.idle_max);
        for id in old.map(|(id, _)| id).collect::<alloc::vec::Vec<_>>() {
            self.sessions.remove(&id);
            self.actions.push_back(PoolAction::Close(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    const LIMIT: usize = 3;

    /// What the world does with the pool's actions, driven by random choices.
    #[derive(Default)]
    struct World {
        opening: BTreeSet<SessionId>,
        lent: BTreeMap<SessionId, Asker>,
        wanting: BTreeSet<Asker>,
        served: usize,
    }

    impl World {
        fn obey(&mut self, pool: &mut Pool) {
            while let Some(action) = pool.poll_action() {
                match action {
                    PoolAction::Open(id, _) => assert!(self.opening.insert(id), "opened twice"),
                    PoolAction::Lend(id, asker) => {
                        self.opening.remove(&id);
                        assert!(self.wanting.remove(&asker), "lent to nobody");
                        assert!(self.lent.insert(id, asker).is_none(), "lent twice");
                        self.served += 1;
                    }
                    PoolAction::Close(id) => {
                        self.opening.remove(&id);
                        assert!(!self.lent.contains_key(&id), "closed while lent");
                    }
                }
            }
            assert!(pool.len() <= LIMIT);
        }

        /// Allows what is wanted, but for a limit of the whole.
        fn allow(&mut self, pool: &mut Pool, allowed: usize) {
            self.obey(pool);
            while pool.wants() > 0 && pool.len() < allowed {
                pool.allow();
                self.obey(pool);
            }
        }

        fn step(&mut self, pool: &mut Pool, choice: u8, now: Timestamp) {
            let asker = Asker {
                transfer: u64::from(choice % 2),
                lane: LaneId(u16::from(choice / 8)),
            };
            let event = match choice % 12 {
                0..=2
                    if !self.wanting.contains(&asker)
                        && !self.lent.values().any(|a| *a == asker) =>
                {
                    self.wanting.insert(asker);
                    PoolEvent::Want(asker)
                }
                3 if self.wanting.remove(&asker) => PoolEvent::Withdraw(asker),
                4 if let Some(id) = self.opening.first() => PoolEvent::Opened(*id),
                5 if let Some(id) = self.opening.pop_first() => {
                    // Its asker is told of the failure and stops wanting.
                    let before: Vec<_> = self.wanting.iter().copied().collect();
                    if let Some(State::Opening(asker)) = pool.sessions.get(&id) {
                        assert!(before.contains(asker));
                        self.wanting.remove(asker);
                    }
                    PoolEvent::Failed(id)
                }
                6 if let Some((id, _)) = self.lent.pop_first() => PoolEvent::Returned {
                    session: id,
                    open: choice.is_multiple_of(3),
                },
                other => {
                    match other {
                        7 => pool.close_idle(),
                        8 => pool.owe(usize::from(choice) % 3),
                        9 => {
                            if let Some(id) = self.opening.pop_first() {
                                pool.postpone(id);
                            }
                        }
                        _ => pool.allow(),
                    }
                    PoolEvent::Tick
                }
            };
            pool.handle(now, event);
            self.allow(pool, usize::from(choice % 4));
        }
    }

    fn asker(lane: u16) -> Asker {
        Asker {
            transfer: 1,
            lane: LaneId(lane),
        }
    }

    #[test]
    fn nothing_is_opened_before_it_is_allowed_and_what_is_owed_goes() {
        let mut pool = Pool::new(LIMIT, Duration::from_secs(5));
        for lane in 0..5 {
            pool.handle(Timestamp::ZERO, PoolEvent::Want(asker(lane)));
        }
        assert_eq!((pool.poll_action(), pool.wants()), (None, LIMIT));
        for n in 0..LIMIT as u64 {
            pool.allow();
            let id = SessionId(n);
            assert_eq!(
                pool.poll_action(),
                Some(PoolAction::Open(id, asker(n as u16)))
            );
        }
        pool.allow();
        assert_eq!((pool.poll_action(), pool.wants()), (None, 0));
        // One that could not be opened here and now is opened for the same lane later.
        pool.postpone(SessionId(1));
        pool.allow();
        let again = PoolAction::Open(SessionId(3), asker(1));
        assert_eq!(pool.poll_action(), Some(again));
        pool.handle(Timestamp::ZERO, PoolEvent::Opened(SessionId(0)));
        assert!(matches!(pool.poll_action(), Some(PoolAction::Lend(..))));
        // Owed: two lanes wait, and still the session goes.
        pool.owe(1);
        let back = PoolEvent::Returned {
            session: SessionId(0),
            open: true,
        };
        pool.handle(Timestamp::ZERO, back);
        assert_eq!(pool.poll_action(), Some(PoolAction::Close(SessionId(0))));
        assert_eq!((pool.poll_action(), pool.owed(), pool.len()), (None, 0, 2));
    }

    proptest! {
        #[test]
        fn nothing_is_lent_twice_and_nobody_is_forgotten(choices in proptest::collection::vec(any::<u8>(), 1..200)) {
            let mut pool = Pool::new(LIMIT, Duration::from_secs(5));
            let mut world = World::default();
            for (i, choice) in choices.iter().enumerate() {
                world.step(&mut pool, *choice, Timestamp::from_micros(i as u64 * 500_000));
            }
            // Everything that is out comes back: then everybody who still wants is served.
            pool.owe(0);
            for _ in 0..500 {
                if let Some(id) = world.opening.first().copied() {
                    pool.handle(Timestamp::ZERO, PoolEvent::Opened(id));
                } else if let Some((id, _)) = world.lent.pop_first() {
                    pool.handle(Timestamp::ZERO, PoolEvent::Returned { session: id, open: false });
                }
                world.allow(&mut pool, LIMIT);
            }
            prop_assert!(world.wanting.is_empty(), "left waiting: {:?}", world.wanting);
            pool.handle(Timestamp::NEVER, PoolEvent::Tick);
            world.obey(&mut pool);
            prop_assert!(pool.is_empty());
        }
    }
}
