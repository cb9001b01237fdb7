//! Sessions of one origin, lent to the lanes of every transfer that asks.
//!
//! ```text
//!  Want ─▶ a session with room? ─ yes ─▶ Lend ─▶ (lent) ─ Returned ─▶ unused ─ too long, or close_idle ─▶ Close
//!              │ no                       ▲                  └─ owed, or not open: with its last lane ─▶ Close
//!              ├─ below the limit, and allow ─▶ Open ─ Opened ─┘
//!              └─ at the limit ───▶ waits for room
//! ```
//!
//! A session has room for one lane, or for many where its protocol runs many requests at once. Lanes of different
//! transfers share such a session, the fullest one first: many small files need one handshake. Lanes of the same transfer
//! take a session each while more may be opened, because what a second lane is to bring is a second congestion window
//! (RFC 9113 has one connection and thus one window for all its streams); beyond that they share too.
//!
//! A pool opens nothing by itself: [`Pool::wants`] says how many sessions it would open, and whoever sees all origins
//! allows them one by one. While it is not known whether sessions have room for many it counts on it, so that one is opened
//! where one may be enough; the first that is there, or fails, tells.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
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
    Opened {
        /// Which.
        session: SessionId,
        /// Requests that it runs at once, as far as it knows; 1 at least.
        room: usize,
    },
    /// A session says how many requests it runs at once by now; what is lent stays lent.
    Room {
        /// Which.
        session: SessionId,
        /// Requests that it runs at once; 1 at least.
        room: usize,
    },
    /// It could not be.
    Failed(SessionId),
    /// A lane gives its session back.
    Returned {
        /// Which.
        session: SessionId,
        /// Who has had it.
        asker: Asker,
        /// Requests that it runs at once by now; 0 if it can take no other one.
        room: usize,
    },
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolAction {
    /// Connect, on behalf of the asker: answered by `Opened` or `Failed`.
    Open(SessionId, Asker),
    /// The session is the asker's until it comes back; others may have it too.
    Lend(SessionId, Asker),
    /// Drop the session, or stop connecting it.
    Close(SessionId),
}

#[derive(Clone, Debug)]
enum State {
    Opening(Asker),
    Up(Up),
}

/// An established session.
#[derive(Clone, Debug)]
struct Up {
    /// Requests that it runs at once; 0 if it takes no more, and goes with its last lane.
    room: usize,
    lent: BTreeSet<Asker>,
    /// When it was used last.
    since: Timestamp,
}

impl Up {
    fn has_room(&self) -> bool {
        self.lent.len() < self.room
    }

    fn is_used_by(&self, transfer: u64) -> bool {
        let from = Asker {
            transfer,
            lane: LaneId(0),
        };
        let first = self.lent.range(from..).next();
        first.is_some_and(|asker| asker.transfer == transfer)
    }
}

/// All sessions to one origin.
#[derive(Debug)]
pub struct Pool {
    limit: usize,
    idle_max: Duration,
    /// Requests that a session runs at once, as far as it is known.
    room: Option<usize>,
    sessions: BTreeMap<SessionId, State>,
    waiting: VecDeque<Asker>,
    owed: usize,
    actions: VecDeque<PoolAction>,
    next: u64,
}

impl Pool {
    /// A pool of at most `limit` sessions, that keeps unused ones for `idle_max`. `room` is how many requests each runs at
    /// once: 1 where the protocol knows no other way, `None` where that is to be seen.
    #[must_use]
    pub fn new(limit: usize, idle_max: Duration, room: Option<usize>) -> Self {
        Self {
            limit: limit.max(1),
            idle_max,
            room,
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
            PoolEvent::Opened { session, room } => self.opened(now, session, room),
            PoolEvent::Room { session, room } => self.widen(session, room),
            PoolEvent::Failed(id) => {
                self.sessions.remove(&id);
                // Nothing is known by it, and those that wait must not all fail one after the other.
                self.room = self.room.or(Some(1));
            }
            PoolEvent::Returned {
                session,
                asker,
                room,
            } => self.returned(now, session, asker, room),
            PoolEvent::Tick => self.expire(now),
        }
        self.serve(now);
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
            self.close(id);
        }
    }

    /// So many sessions are to be closed when they come back, whoever waits for them: one that is shared takes no other lane
    /// from then on. Replaces what was said before.
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
    pub fn forget(&mut self, now: Timestamp, transfer: u64) {
        let waiting = self
            .waiting
            .iter()
            .filter(|asker| asker.transfer == transfer);
        let opening = self.sessions.values().filter_map(|state| match state {
            State::Opening(asker) if asker.transfer == transfer => Some(asker),
            _ => None,
        });
        let askers: Vec<Asker> = waiting.chain(opening).copied().collect();
        for asker in askers {
            self.withdraw(asker);
        }
        self.serve(now);
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

    /// Requests that its sessions run at once, each; `None` while that is not known.
    #[must_use]
    pub fn room(&self) -> Option<usize> {
        self.room
    }

    /// Sessions that would be opened now if that were allowed.
    #[must_use]
    pub fn wants(&self) -> usize {
        let most = self.limit.saturating_sub(self.sessions.len());
        if self.room == Some(1) {
            return self.waiting.len().min(most);
        }
        most.min(self.short_of())
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

    /// Sessions that are missing where each has room for many: those that are being opened will have it too, and each lane of
    /// one transfer is to have its own.
    fn short_of(&self) -> usize {
        let opening = self.sessions.values().filter_map(|state| match state {
            State::Opening(asker) => Some(*asker),
            State::Up(_) => None,
        });
        let coming: Vec<Asker> = opening.collect();
        let room = self.room.unwrap_or(usize::MAX);
        let places = coming.len().saturating_mul(room - 1);
        // Who waits by now found no room: nobody will be served without a new session, or one that comes back.
        let crowd = self.waiting.len().saturating_sub(places).div_ceil(room);
        let mut lanes: BTreeMap<u64, usize> = BTreeMap::new();
        for asker in &self.waiting {
            *lanes.entry(asker.transfer).or_default() += 1;
        }
        let widest = lanes.into_iter().map(|(transfer, lanes)| {
            let others = coming.iter().filter(|asker| asker.transfer != transfer);
            lanes.saturating_sub(others.count())
        });
        crowd.max(widest.max().unwrap_or_default())
    }

    fn idle(&self) -> impl Iterator<Item = (SessionId, Timestamp)> {
        self.sessions.iter().filter_map(|(id, state)| match state {
            State::Up(up) if up.lent.is_empty() => Some((*id, up.since)),
            _ => None,
        })
    }

    /// Serves the waiting in order, as far as there is room.
    fn serve(&mut self, now: Timestamp) {
        let mut passed = 0;
        while let Some(asker) = self.waiting.get(passed).copied() {
            match self.place(asker) {
                Some(id) => {
                    self.waiting.remove(passed);
                    self.lend(now, id, asker);
                }
                // Another one may find room where this one has a lane already; nobody does where there is none at all.
                None if self.room.is_some_and(|room| room > 1) && self.has_room() => passed += 1,
                None => return,
            }
        }
    }

    fn has_room(&self) -> bool {
        self.up().any(|(_, up)| up.has_room())
    }

    fn up(&self) -> impl Iterator<Item = (SessionId, &Up)> {
        self.sessions.iter().filter_map(|(id, state)| match state {
            State::Up(up) => Some((*id, up)),
            State::Opening(_) => None,
        })
    }

    /// The session for a lane: the fullest one with room, so that others are left unused and go; of those that nobody uses,
    /// the one used last (its path is warm).
    fn place(&self, asker: Asker) -> Option<SessionId> {
        let may_share = self.sessions.len() >= self.limit;
        let fitting = self.up().filter(|(_, up)| {
            let has = up.lent.contains(&asker);
            up.has_room() && !has && (may_share || !up.is_used_by(asker.transfer))
        });
        let best = fitting.max_by_key(|(id, up)| {
            let own = up.is_used_by(asker.transfer);
            (!own, up.lent.len(), up.since, *id)
        });
        best.map(|(id, _)| id)
    }

    fn lend(&mut self, now: Timestamp, id: SessionId, asker: Asker) {
        if let Some(State::Up(up)) = self.sessions.get_mut(&id) {
            up.lent.insert(asker);
            up.since = now;
            self.actions.push_back(PoolAction::Lend(id, asker));
        }
    }

    fn returned(&mut self, now: Timestamp, id: SessionId, asker: Asker, room: usize) {
        let Some(State::Up(up)) = self.sessions.get_mut(&id) else {
            return;
        };
        up.lent.remove(&asker);
        up.since = now;
        if up.room > 0 {
            up.room = room;
            if room == 0 || self.owed > 0 {
                up.room = 0;
                self.owed = self.owed.saturating_sub(1);
            } else {
                self.room = Some(room);
            }
        }
        if up.room == 0 && up.lent.is_empty() {
            self.close(id);
        }
    }

    fn opened(&mut self, now: Timestamp, id: SessionId, room: usize) {
        let Some(state) = self.sessions.get_mut(&id) else {
            return self.actions.push_back(PoolAction::Close(id));
        };
        let State::Opening(asker) = *state else {
            return;
        };
        let room = room.max(1);
        self.room = Some(room);
        *state = State::Up(Up {
            room,
            lent: BTreeSet::new(),
            since: now,
        });
        self.lend(now, id, asker);
    }

    fn widen(&mut self, id: SessionId, room: usize) {
        if let Some(State::Up(up)) = self.sessions.get_mut(&id)
            && up.room > 0
        {
            up.room = room.max(1);
            self.room = Some(up.room);
        }
    }

    fn withdraw(&mut self, asker: Asker) {
        self.waiting.retain(|waiting| *waiting != asker);
        let opening = |state: &State| matches!(state, State::Opening(who) if *who == asker);
        let ids: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| opening(s))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.close(id);
        }
    }

    fn expire(&mut self, now: Timestamp) {
        let old = self
            .idle()
            .filter(|(_, since)| now >= *since + self.idle_max);
        for id in old.map(|(id, _)| id).collect::<Vec<_>>() {
            self.close(id);
        }
    }

    fn close(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        self.actions.push_back(PoolAction::Close(id));
    }
}

#[cfg(test)]
mod tests;
