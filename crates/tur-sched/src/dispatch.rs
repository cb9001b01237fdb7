//! Who may run next: permits for requests, given to the tickets of many peers.
//!
//! Read [`Dispatch`]. A peer is whoever wants things fetched: a player, a reader, a whole download. A ticket is one wish
//! of a peer for a permit, and a permit is one request at a time to one origin: it is given by
//! [`Start`](DispatchAction::Start) and comes back with [`Ended`](DispatchEvent::Ended), after a moment or after hours.
//!
//! ```text
//!                     ┌─ Withdrawn ─▶ (gone, no answer)
//!  Enqueued ─▶ waits ─┼─ its peer Left ─▶ Dropped
//!                     └─ Start ─▶ runs ─ Ended ─▶ (gone)
//!                                  └─ Preempt ─▶ closing ─ Ended ─▶ (gone; the caller enqueues the rest)
//! ```
//!
//! The rules, in the order in which they are applied.
//!
//! - **Slots.** Priority of the peer, then of the command: 0 High/High, 1 High/Low, 2 Low/High, 3 Low/Low. 0 and 1 are
//!   *urgent*, 2 and 3 are *prefetches*. A lower number goes first.
//! - **Live demand.** Priorities are those of the moment of the decision ([`Demand`]). A round begins with the first
//!   [`poll_action`](Dispatch::poll_action) after an event, or after one that had nothing; it asks once, and all its
//!   decisions follow from that.
//! - **Caps.** Running tickets never outgrow the caps of process, origin and peer by a start. A cap that shrinks stops
//!   nobody: there is no start until enough have ended. A ticket that cannot start holds up nobody but those behind it
//!   in the same queue: of the same peer, priority and origin.
//! - **Reserve.** Of the permits of the process, and of those of an origin, prefetches hold all but one, if there are
//!   two or more: the last one is for urgent work only. The caller may do without.
//! - **Turns.** Within a slot peers take turns: of those that can start, the one goes next that had its last start in
//!   this slot longest ago (or joined longest ago). So while two can start, their starts differ by one at most, but for
//!   what ageing gives at one origin. Within a peer and slot the oldest goes first.
//! - **Ageing.** A slot that could have started and was passed over by [`STARTS_MAX`] starts of others gets the next one
//!   (the most passed over first). Since there are three slots that can be passed over, one that can always start has a
//!   start among any [`STARTS_BOUND`] in a row, those that were promised not counted; its `k`-th peer has one after at most `k` times as many. The same is counted at
//!   each origin, for its own starts: who waits for a crowded origin is not made up for by starts elsewhere. In return
//!   urgent work is held up by at most six starts in a row: one for each lower slot, of the process and of the origin.
//! - **Preemption.** An urgent ticket that only the caps of process or origin keep from starting takes the permit of the
//!   least valuable prefetch, at its origin if that is what is full: of the lowest slot as it is now, of the peer that
//!   runs most of those, started last. No more permits are on their way back for that than urgent tickets wait. What took the place of an
//!   urgent start by ageing is spared for [`GRACE`]. The cap of a peer is its own affair.
//! - **Patience.** Where nothing ends, nothing starts, and ageing does not help. A prefetch that has waited for [`PATIENCE`],
//!   whose peer has no permit where it is kept from starting (at a full origin, or in a full process), gets one of the peer
//!   that has most there, if that has two or more: the least valuable one, one at a time at an origin. What comes back is
//!   promised: of all prefetches the one for which it was taken starts first once it can, and who gave goes to the end of
//!   its lines. It is looked at each [`LOOK_EVERY`]: the first that waits is heard within both together, the `k`-th within
//!   `k` looks more.
//! - **Throttle.** If it is set, prefetches wait so long once they are the best that could start, each time they come
//!   to be so. The start of an urgent ticket ends the wait. Then all that can start does.
//!
//! Sloppy callers do no harm: a ticket that is known already is not enqueued again; one of a peer that is not there is
//! dropped; ends, withdrawals and moves of tickets that do not run (or wait) are ignored. What is kept is bounded by
//! what the caller has enqueued and joined.
//!
//! Costs, with `n` tickets waiting: an event O(log n) (one of a peer that leaves: for each of its tickets); a round one
//! question for each peer that has tickets and each live ticket that waits; a start O(log n) for each origin that its
//! peer waits for; a preemption O(running), and the first tickets of urgent peers.

mod board;
mod lines;
mod patience;
mod preempt;

use alloc::collections::{BTreeMap, VecDeque};
use core::cmp::Reverse;
use core::time::Duration;

use tur_core::Timestamp;

use board::Board;
use lines::{Candidate, Entry, SiteId, Slot};
use patience::Gift;

/// A slot is passed over by at most so many starts before it is due. One start in seventeen costs urgent work little,
/// and a prefetch that gets it still comes in good time: 16 requests of a player are about a minute of play.
pub const STARTS_MAX: u32 = 16;

/// Among so many starts in a row is one of each slot that could always start: the slot is due after
/// [`STARTS_MAX`], and two others can be due before it.
pub const STARTS_BOUND: u32 = STARTS_MAX + 3;

/// What took the place of an urgent start by ageing runs at least so long before it is preempted: time for a request over
/// a warm connection, or for a handshake and something worth keeping. Only with a single permit does urgent work ever
/// wait for it.
pub const GRACE: Duration = Duration::from_secs(2);

/// A prefetch waits so long for a permit behind a peer that has several of them before it gets one of these. Longer than
/// nearly all requests of others take, and short for who waits.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// It is looked at so often who has waited for that long.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A peer, numbered by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// A wish for one permit, numbered by the caller. Not used again while it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketId(pub u64);

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// A peer that is being played or read now; a command that is needed next.
    High,
    /// Everything else.
    Low,
}

/// The caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DispatchConfig {
    /// Permits of the whole process; at least 1.
    pub permits: usize,
    /// Permits at one origin; at least 1.
    pub per_origin: usize,
    /// Permits of a peer that says nothing else when it joins; at least 1. `None`: as many as there are.
    pub per_peer: Option<usize>,
    /// How long prefetches wait once nothing else could start.
    pub throttle: Duration,
    /// Keep one permit for urgent work. Without anybody who could have such it would lie idle.
    pub reserve: bool,
}

impl Default for DispatchConfig {
    /// As many permits as a process may have connections by default, as many at an origin as the scaler may try, and no
    /// throttle.
    fn default() -> Self {
        Self {
            permits: 128,
            per_origin: 32,
            per_peer: None,
            throttle: Duration::ZERO,
            reserve: true,
        }
    }
}

/// What happened. `K` names an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchEvent<K> {
    /// A peer is there, or what was said of it changes.
    Joined {
        /// Which.
        peer: PeerId,
        /// What it is unless [`Demand`] says otherwise.
        priority: Priority,
        /// Its own cap, at least 1; `None`: that of the configuration.
        per_peer: Option<usize>,
    },
    /// A peer is gone: its waiting tickets are answered by [`Dropped`](DispatchAction::Dropped), the running ones count
    /// until they end, and nobody waits for them any more.
    Left {
        /// Which.
        peer: PeerId,
    },
    /// A ticket waits for a permit.
    Enqueued {
        /// Which.
        ticket: TicketId,
        /// Whose.
        peer: PeerId,
        /// Where the request goes.
        origin: K,
        /// What it is unless [`Demand`] says otherwise.
        priority: Priority,
        /// Whether [`Demand`] is to be asked about it.
        live: bool,
        /// Since when, if not from now on: what was preempted keeps its age.
        waited_since: Option<Timestamp>,
    },
    /// A waiting ticket is no longer wanted: it gets no answer. One that runs is expected to end.
    Withdrawn {
        /// Which.
        ticket: TicketId,
    },
    /// A running ticket gives its permit back.
    Ended {
        /// Which.
        ticket: TicketId,
    },
    /// A ticket that was told to give its permit back would lose too much by it, and keeps it to its end: another one is
    /// told instead, if there is one.
    Kept {
        /// Which.
        ticket: TicketId,
    },
    /// A running ticket goes on at another origin, be there room or not.
    Moved {
        /// Which.
        ticket: TicketId,
        /// Where.
        origin: K,
    },
    /// So many permits from now on; at least 1.
    Permits(usize),
    /// So many at each origin from now on; at least 1.
    PerOrigin(usize),
    /// So many at this one, whatever holds for the others; `None`: as many as at each other one. Kept until it is told
    /// otherwise.
    At {
        /// Which.
        origin: K,
        /// How many; at least 1.
        permits: Option<usize>,
    },
    /// Whether one permit is kept for urgent work.
    Reserve(bool),
    /// The time that `next_wakeup` named has come.
    Tick,
}

/// What peers and tickets are at this moment. Answers are cheap, and say the same throughout a round.
pub trait Demand {
    /// False if nobody is to be asked in this round, and the last answers hold. For callers with so many peers that asking
    /// all of them in each round would cost more than it tells.
    fn has_news(&self) -> bool {
        true
    }

    /// A peer's priority; `None`: as it was said.
    fn peer(&self, peer: PeerId) -> Option<Priority>;

    /// A ticket's; asked only of those that are live. `None`: as it was said.
    fn ticket(&self, ticket: TicketId) -> Option<Priority>;
}

/// Everything is what it was said to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsSaid;

impl Demand for AsSaid {
    fn peer(&self, _: PeerId) -> Option<Priority> {
        None
    }

    fn ticket(&self, _: TicketId) -> Option<Priority> {
        None
    }
}

/// Who has another priority now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A peer, and all its tickets with it.
    Peer(PeerId),
    /// One ticket that waits.
    Ticket(TicketId),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DispatchAction {
    /// The ticket has a permit: it may send its request.
    Start {
        /// Which.
        ticket: TicketId,
    },
    /// The ticket is to give its permit back soon, for urgent work or for who has waited for too long: the caller ends it,
    /// and enqueues another one for what is left. Said once.
    Preempt {
        /// Which.
        ticket: TicketId,
    },
    /// The ticket will not start: its peer is gone.
    Dropped {
        /// Which.
        ticket: TicketId,
    },
    /// Demand has changed a priority. For people: nothing is to be done.
    PriorityChanged {
        /// Whose.
        whose: Whose,
        /// What it is now.
        priority: Priority,
    },
}

/// Gives permits to tickets.
#[derive(Clone, Debug)]
pub struct Dispatch<K> {
    board: Board,
    sites: BTreeMap<K, SiteId>,
    names: BTreeMap<SiteId, K>,
    next_site: u64,
    /// Caps of origins that have their own.
    limits: BTreeMap<K, usize>,
    notes: VecDeque<(Whose, Priority)>,
    /// Starts that passed over each slot since it last had one.
    passed: [u32; 4],
    throttle: Throttle,
    /// Demand was asked in this round.
    asked: bool,
    /// When the first prefetch is spared no longer, while urgent tickets wait.
    grace_over: Option<Timestamp>,
    /// When it is looked at again who has waited for too long; `None` while nobody waits.
    look_at: Option<Timestamp>,
    /// Who has waited for too long, and is the next prefetch to start: others were told to give up permits for that.
    promised: VecDeque<Gift>,
}

impl<K: Ord + Clone> Dispatch<K> {
    /// A dispatch that nobody has joined.
    #[must_use]
    pub fn new(config: DispatchConfig) -> Self {
        let config = DispatchConfig {
            permits: config.permits.max(1),
            per_origin: config.per_origin.max(1),
            ..config
        };
        Self {
            board: Board::new(config),
            sites: BTreeMap::new(),
            names: BTreeMap::new(),
            next_site: 0,
            limits: BTreeMap::new(),
            notes: VecDeque::new(),
            passed: [0; 4],
            throttle: Throttle::default(),
            asked: false,
            grace_over: None,
            look_at: None,
            promised: VecDeque::new(),
        }
    }

    /// Takes what happened. Actions must have been drained before.
    pub fn handle(&mut self, now: Timestamp, event: DispatchEvent<K>) {
        self.asked = false;
        match event {
            DispatchEvent::Joined {
                peer,
                priority,
                per_peer,
            } => self.board.join(peer, priority, per_peer),
            DispatchEvent::Left { peer } => self.board.leave(peer),
            DispatchEvent::Enqueued {
                ticket,
                peer,
                origin,
                priority,
                live,
                waited_since,
            } => {
                let since = waited_since.unwrap_or(now);
                let entry = Entry {
                    ticket,
                    peer,
                    priority,
                    live,
                    since,
                };
                self.enqueue(entry, origin);
            }
            DispatchEvent::Withdrawn { ticket } => self.board.withdraw(ticket),
            DispatchEvent::Ended { ticket } => self.board.end(ticket),
            DispatchEvent::Kept { ticket } => {
                self.promised.retain(|gift| gift.from != ticket);
                self.board.keep(ticket);
            }
            DispatchEvent::Moved { ticket, origin } => {
                let site = self.site(origin);
                self.board.travel(ticket, site);
            }
            DispatchEvent::Permits(permits) => self.board.config.permits = permits.max(1),
            DispatchEvent::PerOrigin(limit) => self.board.set_per_origin(limit),
            DispatchEvent::At { origin, permits } => self.set_at(origin, permits),
            DispatchEvent::Reserve(reserve) => self.board.set_reserve(reserve),
            DispatchEvent::Tick => {}
        }
        // A number may come again, for another wish.
        let board = &self.board;
        self.promised.retain(|gift| board.is_waiting(gift.to));
        while let Some(site) = self.board.vacant.pop() {
            if let Some(name) = self.names.remove(&site) {
                self.sites.remove(&name);
            }
        }
    }

    /// The next thing to do, until there is none. This is where decisions are made, and where `demand` is asked.
    pub fn poll_action(&mut self, now: Timestamp, demand: &dyn Demand) -> Option<DispatchAction> {
        if let Some(ticket) = self.board.dropped.pop_first() {
            return Some(DispatchAction::Dropped { ticket });
        }
        if !self.asked {
            self.asked = true;
            if demand.has_news() {
                self.notes.extend(self.board.ask(demand));
            }
        }
        if let Some((whose, priority)) = self.notes.pop_front() {
            return Some(DispatchAction::PriorityChanged { whose, priority });
        }
        if let Some(ticket) = self.start(now) {
            return Some(DispatchAction::Start { ticket });
        }
        let preempt = preempt::next(&mut self.board, now, demand);
        self.grace_over = preempt.grace_over;
        if let Some(ticket) = preempt.ticket {
            return Some(DispatchAction::Preempt { ticket });
        }
        if let Some(ticket) = self.lose_patience(now, demand) {
            return Some(DispatchAction::Preempt { ticket });
        }
        self.throttle.open = false;
        self.asked = false;
        None
    }

    /// Looks, if it is time, for a permit that is to be given to who has waited for too long.
    fn lose_patience(&mut self, now: Timestamp, demand: &dyn Demand) -> Option<TicketId> {
        if self.look_at.is_some_and(|at| now >= at) {
            if let Some(gift) = patience::next(&mut self.board, now, demand) {
                self.promised.retain(|other| other.to != gift.to);
                self.promised.push_back(gift);
                return Some(gift.from);
            }
            self.look_at = None;
        }
        let at = patience::look_at(&self.board, now);
        self.look_at = at.map(|at| self.look_at.unwrap_or(at));
        None
    }

    /// When a [`Tick`](DispatchEvent::Tick) is wanted: a throttle is over, or a grace that urgent work waits for, or it is
    /// to be looked at who has waited for too long.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        let all = [self.throttle.until, self.grace_over, self.look_at];
        all.into_iter().flatten().min()
    }

    /// Tickets that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.board.tickets.len() - self.board.running.len()
    }

    /// Tickets that have a permit.
    #[must_use]
    pub fn running(&self) -> usize {
        self.board.running.len()
    }

    /// Tickets that have a permit at an origin.
    #[must_use]
    pub fn running_at(&self, origin: &K) -> usize {
        let site = self.sites.get(origin);
        let site = site.and_then(|site| self.board.sites.get(site));
        site.map_or(0, |site| site.running)
    }

    fn enqueue(&mut self, entry: Entry, origin: K) {
        if self.board.knows(entry.ticket) {
            return;
        }
        if !self.board.has_peer(entry.peer) {
            self.board.dropped.insert(entry.ticket);
            return;
        }
        let site = self.site(origin);
        self.board.enqueue(entry, site);
    }

    fn site(&mut self, origin: K) -> SiteId {
        if let Some(site) = self.sites.get(&origin) {
            return *site;
        }
        let site = SiteId(self.next_site);
        self.next_site += 1;
        self.board.set_at(site, self.limits.get(&origin).copied());
        self.names.insert(site, origin.clone());
        self.sites.insert(origin, site);
        site
    }

    fn set_at(&mut self, origin: K, permits: Option<usize>) {
        let permits = permits.map(|permits| permits.max(1));
        if let Some(site) = self.sites.get(&origin) {
            self.board.set_at(*site, permits);
        }
        match permits {
            Some(permits) => self.limits.insert(origin, permits),
            None => self.limits.remove(&origin),
        };
    }

    /// Starts the next ticket, if one may.
    fn start(&mut self, now: Timestamp) -> Option<TicketId> {
        let Some(usual) = Slot::ALL.iter().find_map(|slot| self.board.first(*slot)) else {
            self.throttle.until = None;
            return None;
        };
        if usual.slot.is_urgent() {
            self.throttle.end();
        } else if !self.throttle.lets(now, self.board.config.throttle) {
            return None;
        }
        let aged = self.aged(usual);
        let promised = self.promised(usual);
        let chosen = promised.or(aged).unwrap_or(usual);
        self.count(chosen);
        // What was started in place of urgent work would otherwise be preempted for it at once.
        let spared = aged
            .filter(|aged| usual.slot.is_urgent() && !aged.slot.is_urgent())
            .map(|_| now + GRACE);
        self.board.start(chosen, spared);
        Some(chosen.ticket)
    }

    /// Who was promised the start that another prefetch would have, and can have it.
    fn promised(&self, usual: Candidate) -> Option<Candidate> {
        if usual.slot.is_urgent() {
            return None;
        }
        let mut promised = self.promised.iter();
        promised.find_map(|gift| self.board.startable(gift.to))
    }

    /// Who is due in place of the one whose start it would be.
    fn aged(&self, usual: Candidate) -> Option<Candidate> {
        let due = |passed: &[u32; 4], first: &dyn Fn(Slot) -> Option<Candidate>| {
            let due = Slot::ALL[1..]
                .iter()
                .filter(|slot| **slot != usual.slot && passed[slot.0] >= STARTS_MAX)
                .filter_map(|slot| first(*slot));
            due.max_by_key(|who| (passed[who.slot.0], Reverse(who.slot)))
        };
        let everywhere = due(&self.passed, &|slot| self.board.first(slot));
        everywhere.or_else(|| {
            let site = self.board.sites.get(&usual.site)?;
            due(&site.passed, &|slot| self.board.first_at(slot, usual.site))
        })
    }

    /// Counts a start for every other slot that could have had it.
    fn count(&mut self, chosen: Candidate) {
        let others = Slot::ALL[1..].iter().filter(|slot| **slot != chosen.slot);
        let mut at_site = [0; 4];
        for slot in others {
            let passed = u32::from(self.board.first(*slot).is_some());
            self.passed[slot.0] = self.passed[slot.0].saturating_add(passed);
            at_site[slot.0] = u32::from(self.board.first_at(*slot, chosen.site).is_some());
        }
        self.passed[chosen.slot.0] = 0;
        if let Some(site) = self.board.sites.get_mut(&chosen.site) {
            for (passed, more) in site.passed.iter_mut().zip(at_site) {
                *passed = passed.saturating_add(more);
            }
            site.passed[chosen.slot.0] = 0;
        }
    }
}

/// The wait of prefetches.
#[derive(Clone, Copy, Debug, Default)]
struct Throttle {
    until: Option<Timestamp>,
    /// Prefetches may start for the rest of this round.
    open: bool,
}

impl Throttle {
    /// Whether a prefetch may start that is the best there is.
    fn lets(&mut self, now: Timestamp, delay: Duration) -> bool {
        if self.open || delay.is_zero() {
            return true;
        }
        let until = *self.until.get_or_insert(now + delay);
        if now >= until {
            self.end();
        }
        self.open
    }

    fn end(&mut self) {
        *self = Self {
            until: None,
            open: true,
        };
    }
}

#[cfg(test)]
mod tests;
