//! What follows from an event, under the lock: permits, pools and budget in turn, until none of them has anything to say.
//!
//! Read [`Shared::settle`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tur_core::{Origin, Timestamp};
use tur_sched::{
    Asker, BudgetAction, Pool, PoolAction, PoolEvent, SessionId, Shortage, Standing, TicketId,
};

use super::{Drivers, Entry, IDLE_MAX, PerOrigin, Shared, User, Word};
use crate::permits::{Permits, Turn};

impl<S> Shared<S> {
    pub(super) fn tell(&mut self, now: Timestamp, origin: &Origin, event: PoolEvent) {
        self.heed(now, origin, event);
        self.report(origin);
        self.settle();
    }

    /// Brings an event to permits and pool.
    pub(super) fn heed(&mut self, now: Timestamp, origin: &Origin, event: PoolEvent) {
        self.now = self.now.max(now);
        match event {
            PoolEvent::Want(asker) => {
                let sent = self.on_its_way(origin, asker);
                if let Some(ticket) = sent.and_then(|user| user.ticket)
                    && self.permits.attach(asker, ticket)
                {
                    return;
                }
                if !self.permits.want(now, asker, origin) {
                    return;
                }
            }
            PoolEvent::Withdraw(asker) => {
                if self.on_its_way(origin, asker).is_some() {
                    // The session is on its way to the lane, which will send it back, and the permit with it.
                    self.permits.detach(asker);
                } else {
                    self.permits.withdraw(now, asker);
                }
            }
            PoolEvent::Failed(id) => {
                let entry = self.origins.get(origin);
                let mut users = entry.into_iter().flat_map(|entry| entry.users.keys());
                if let Some((_, opener)) = users.find(|(session, _)| *session == id).copied() {
                    self.rest(now, origin, (id, opener));
                }
            }
            PoolEvent::Returned { session, asker, .. } => self.rest(now, origin, (session, asker)),
            PoolEvent::Opened { .. } | PoolEvent::Room { .. } | PoolEvent::Tick => {}
        }
        if matches!(event, PoolEvent::Want(_)) {
            self.ask_rooms(origin);
        }
        self.entry(origin).pool.handle(now, event);
        self.allow_crowd(origin);
    }

    /// Has the sessions of an origin say how many requests they run at once. Where that is one it stays one.
    fn ask_rooms(&mut self, origin: &Origin) {
        let (now, entry) = (self.now, self.origins.get_mut(origin));
        let (Some(entry), Some(room_of)) = (entry, self.room_of) else {
            return;
        };
        if entry.pool.room() == Some(1) {
            return;
        }
        for (id, session) in &entry.live {
            let (session, room) = (*id, room_of(session));
            entry.pool.handle(now, PoolEvent::Room { session, room });
        }
    }

    /// What is lent to somebody who wants it no longer, or wants something again: it has not come there yet.
    fn on_its_way(&self, origin: &Origin, asker: Asker) -> Option<&User> {
        let users = &self.origins.get(origin)?.users;
        let mut lent = users.iter().filter(|(_, user)| user.lent);
        lent.find(|((_, user), _)| *user == asker)
            .map(|(_, user)| user)
    }

    /// What somebody used a session for is over.
    fn rest(&mut self, now: Timestamp, origin: &Origin, who: (SessionId, Asker)) {
        let entry = self.origins.get_mut(origin);
        let user = entry.and_then(|entry| entry.users.remove(&who));
        if let Some(ticket) = user.and_then(|user| user.ticket) {
            self.permits.rest(now, ticket);
        }
    }

    /// Where sessions run many requests at once it is they that are counted by origin, and not the requests: of those there
    /// may be as many as the process may have.
    fn allow_crowd(&mut self, origin: &Origin) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return;
        };
        let roomy = entry.pool.room().is_some_and(|room| room > 1);
        if roomy != entry.roomy {
            entry.roomy = roomy;
            let permits = roomy.then_some(usize::MAX);
            self.permits.set_at(self.now, origin, permits);
        }
    }

    fn entry(&mut self, origin: &Origin) -> &mut Entry<S> {
        let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = self.per_origin;
        let rooms = &self.rooms;
        self.origins.entry(origin.clone()).or_insert_with(|| Entry {
            pool: Pool::new(limit, IDLE_MAX, rooms(origin)),
            roomy: false,
            live: BTreeMap::new(),
            paused: BTreeSet::new(),
            users: BTreeMap::new(),
        })
    }

    /// Brings whose turn it is to the pools.
    fn dispatch(&mut self) {
        let mut turns = 0_u32;
        while let Some(turn) = self.permits.decide(self.now) {
            turns += 1;
            debug_assert!(turns < 100_000, "it goes round and round: {turn:?}");
            match turn {
                Turn::Want(asker, origin) => {
                    let now = self.now;
                    self.ask_rooms(&origin);
                    self.entry(&origin).pool.handle(now, PoolEvent::Want(asker));
                    self.report(&origin);
                }
                Turn::GiveWay(asker, ticket, origin) => self.give_way(asker, ticket, &origin),
            }
        }
    }

    /// The lane gives its place to somebody more urgent, and waits for another one.
    fn give_way(&mut self, asker: Asker, ticket: TicketId, origin: &Origin) {
        let now = self.now;
        let users = self.origins.get(origin).map(|entry| &entry.users);
        let user = users
            .into_iter()
            .flatten()
            .find(|(_, user)| user.ticket == Some(ticket))
            .map(|((id, _), user)| (*id, user.lent));
        if let Some((id, _)) = user {
            let lane = asker.lane;
            say(&self.drivers, asker, Word::GiveWay { lane, id });
        }
        if user.is_some_and(|(_, lent)| lent) {
            return;
        }
        // It only waits for a session, or connects: it waits behind the other one, and what it connects is dropped.
        self.entry(origin)
            .pool
            .handle(now, PoolEvent::Withdraw(asker));
        self.permits.withdraw(now, asker);
        self.permits.want(now, asker, origin);
        self.report(origin);
    }

    /// Passes on what an origin's pool has decided, and tells the budget how the origin stands now.
    pub(super) fn report(&mut self, origin: &Origin) {
        let awaited = self.permits.is_awaited(origin);
        let Some(entry) = self.origins.get_mut(origin) else {
            let standing = Standing {
                awaited,
                ..Standing::default()
            };
            return self.budget.tell(origin, standing);
        };
        carry(origin, entry, (&self.drivers, &self.permits));
        let pool = &entry.pool;
        let standing = Standing {
            held: pool.len(),
            idle: pool.idle_len(),
            wants: pool.wants(),
            awaited,
            owed: pool.owed(),
        };
        self.budget.tell(origin, standing);
    }

    /// Does what permits and budget say, until they say nothing more.
    pub(super) fn settle(&mut self) {
        loop {
            self.dispatch();
            for origin in self.permits.take_changed() {
                self.report(&origin);
            }
            self.spend();
            let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = self.per_origin;
            let told = (self.budget.allowed(), limit);
            if self.told == told {
                return;
            }
            self.told = told;
            self.permits.set(self.now, told.0, told.1);
        }
    }

    /// Does what the budget says, until it says nothing more.
    fn spend(&mut self) {
        while let Some(action) = self.budget.poll_action() {
            match action {
                BudgetAction::Open(origin) => self.with(&origin, Pool::allow),
                BudgetAction::Close(origin) => self.with(&origin, Pool::close_idle),
                BudgetAction::Owe(origin, n) => self.narrow(&origin, n),
                BudgetAction::Shrunk { allowed, why } => {
                    self.changes.push((allowed, Some(why)));
                    self.note(&few(allowed, why));
                }
                BudgetAction::Grown { allowed } => {
                    self.changes.push((allowed, None));
                    self.make_room(allowed);
                    self.note(&format!("up to {} again", connections(allowed)));
                }
            }
        }
    }

    pub(super) fn settle_all(&mut self) {
        for origin in self.origins.keys().cloned().collect::<Vec<_>>() {
            self.report(&origin);
        }
        self.settle();
    }

    /// The origin's transfers are to do with `n` sessions fewer: their drivers tell its scaler, and what comes back is
    /// closed.
    fn narrow(&mut self, origin: &Origin, n: usize) {
        let held = self.origins.get(origin).map_or(0, |entry| entry.pool.len());
        if n > 0 {
            self.say_room(origin, held.saturating_sub(n));
        } else {
            let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = self.per_origin;
            self.say_room(origin, limit.min(self.budget.allowed()));
        }
        self.with(origin, |pool| pool.owe(n));
    }

    /// There is room again.
    fn make_room(&mut self, allowed: usize) {
        let (PerOrigin::AtLeast(limit) | PerOrigin::Given(limit)) = self.per_origin;
        for origin in self.origins.keys() {
            self.say_room(origin, limit.min(allowed));
        }
    }

    fn say_room(&self, origin: &Origin, lanes: usize) {
        let lanes = u16::try_from(lanes).unwrap_or(u16::MAX);
        for driver in self.drivers.values() {
            let origin = origin.clone();
            // One that is about to leave has nothing to narrow.
            drop(driver.send(Word::Room { origin, lanes }));
        }
    }

    fn with(&mut self, origin: &Origin, how: impl FnOnce(&mut Pool)) {
        if let Some(entry) = self.origins.get_mut(origin) {
            how(&mut entry.pool);
        }
        self.report(origin);
    }

    fn note(&self, text: &str) {
        tracing::info!("{text}");
        for driver in self.drivers.values() {
            // One that is about to leave has nobody to tell.
            drop(driver.send(Word::Note(text.to_owned())));
        }
    }
}

pub(super) fn few(allowed: usize, why: Shortage) -> String {
    format!("at most {} for now: {why}", connections(allowed))
}

fn connections(n: usize) -> String {
    match n {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    }
}

/// Passes on what a pool has decided.
fn carry<S>(origin: &Origin, entry: &mut Entry<S>, (drivers, permits): (&Drivers<S>, &Permits)) {
    while let Some(action) = entry.pool.poll_action() {
        let (asker, id, session) = match action {
            PoolAction::Close(id) => {
                entry.live.remove(&id);
                entry.users.retain(|(session, _), _| *session != id);
                continue;
            }
            PoolAction::Open(id, asker) => (asker, id, None),
            PoolAction::Lend(id, asker) => match entry.live.get(&id) {
                Some(session) => (asker, id, Some(Arc::clone(session))),
                None => continue,
            },
        };
        let user = User {
            ticket: permits.ticket(asker),
            lent: session.is_some(),
        };
        entry.users.insert((id, asker), user);
        let (lane, origin) = (asker.lane, origin.clone());
        let word = match session {
            Some(session) => Word::Lend {
                lane,
                id,
                origin,
                session,
            },
            None => Word::Open { lane, id, origin },
        };
        say(drivers, asker, word);
    }
}

/// A driver that has left gave everything back first, so no word can be for it.
fn say<S>(drivers: &Drivers<S>, asker: Asker, word: Word<S>) {
    if drivers
        .get(&asker.transfer)
        .is_none_or(|driver| driver.send(word).is_err())
    {
        tracing::error!(?asker, "a pool spoke to a transfer that has left");
    }
}
