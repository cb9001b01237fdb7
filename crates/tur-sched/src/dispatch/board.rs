//! Who waits and who runs: peers, tickets, origins and their counts.
//!
//! Read [`Board`]. It decides nothing: it keeps counts, caps and lines in step, whatever it is told, and says which
//! ticket stands first among those that the caps let start.

mod giving;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use tur_core::Timestamp;

use super::lines::{Age, Candidate, Entry, Lines, Place, Room, SiteId, Slot, slot};
use super::{Demand, DispatchConfig, PeerId, Priority, TicketId, Whose};

/// What a peer or ticket was said to be, and what it is now.
#[derive(Clone, Copy, Debug)]
struct Asked {
    said: Priority,
    now: Priority,
}

#[derive(Clone, Debug)]
pub(super) struct Peer {
    priority: Asked,
    limit: usize,
    /// By command priority and origin, oldest first.
    queues: BTreeMap<(Priority, SiteId), BTreeMap<Age, TicketId>>,
    pub(super) running: BTreeSet<TicketId>,
    /// When it had its last turn in each slot: a number that only grows.
    turns: [u64; 4],
    left: bool,
}

impl Peer {
    /// Permits that its own cap leaves it.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.running.len())
    }

    /// Tickets that wait in a slot for an origin.
    pub(super) fn waiting(&self, slot: Slot, site: SiteId) -> usize {
        let commands = [Priority::High, Priority::Low];
        let queue = self.queues.get(&(commands[slot.0 % 2], site));
        queue.map_or(0, BTreeMap::len)
    }

    fn slot(&self, command: Priority) -> Slot {
        slot(self.priority.now, command)
    }

    /// Where its first ticket of one queue stands; nowhere while the peer is at its cap.
    fn head(&self, id: PeerId, queue: (Priority, SiteId)) -> Option<(Place, Candidate)> {
        if self.room() == 0 {
            return None;
        }
        let (age, ticket) = self.queues.get(&queue)?.first_key_value()?;
        let slot = self.slot(queue.0);
        let turn = self.turns[slot.0];
        let who = Candidate {
            ticket: *ticket,
            peer: id,
            site: queue.1,
            slot,
        };
        Some((Place { turn, age: *age }, who))
    }

    fn heads(&self, id: PeerId) -> impl Iterator<Item = (Place, Candidate)> {
        self.queues
            .keys()
            .filter_map(move |key| self.head(id, *key))
    }

    fn is_over(&self) -> bool {
        self.left && self.running.is_empty()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Its number among all starts.
    pub(super) started: u64,
    /// Not to be preempted before.
    pub(super) spared: Option<Timestamp>,
    /// It was told to give its permit back.
    pub(super) closing: bool,
    /// It keeps its permit to its end.
    kept: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) peer: PeerId,
    pub(super) site: SiteId,
    command: Asked,
    live: bool,
    age: Age,
    /// None while it waits.
    pub(super) run: Option<Run>,
}

impl Ticket {
    /// Since when it has waited, or had waited before it began.
    pub(super) fn since(&self) -> Timestamp {
        self.age.0
    }
}

/// An origin that somebody waits for or runs at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Site {
    /// Tickets that wait or run.
    tickets: usize,
    pub(super) running: usize,
    /// Those of them that run for peers of low priority.
    prefetches: usize,
    pub(super) closing: usize,
    /// Starts at this origin that passed over each slot since it last had one.
    pub(super) passed: [u32; 4],
}

/// Peers, tickets and origins.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) config: DispatchConfig,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) tickets: BTreeMap<TicketId, Ticket>,
    pub(super) sites: BTreeMap<SiteId, Site>,
    pub(super) lines: Lines,
    pub(super) running: BTreeSet<TicketId>,
    /// Those that run for peers of low priority.
    pub(super) prefetches: usize,
    /// Those of them that were not told to give their permit back.
    pub(super) victims: BTreeSet<TicketId>,
    /// Those that were told to give their permit back.
    pub(super) closing: usize,
    /// Tickets that are still to be answered.
    pub(super) dropped: BTreeSet<TicketId>,
    /// Origins that nobody waits for or runs at any more.
    pub(super) vacant: Vec<SiteId>,
    /// Peers that have tickets, as a copy of their priority that is quick to walk through.
    asked: BTreeMap<PeerId, Asked>,
    /// Tickets that wait and are to be asked, likewise.
    live: BTreeMap<TicketId, Asked>,
    /// Caps of origins that have their own.
    limits: BTreeMap<SiteId, usize>,
    /// Numbers turns, ages and starts.
    count: u64,
}

impl Board {
    pub(super) fn new(config: DispatchConfig) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            tickets: BTreeMap::new(),
            sites: BTreeMap::new(),
            lines: Lines::default(),
            running: BTreeSet::new(),
            prefetches: 0,
            victims: BTreeSet::new(),
            closing: 0,
            dropped: BTreeSet::new(),
            vacant: Vec::new(),
            asked: BTreeMap::new(),
            live: BTreeMap::new(),
            limits: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn join(&mut self, id: PeerId, priority: Priority, limit: Option<usize>) {
        let limit = limit.or(self.config.per_peer).unwrap_or(usize::MAX).max(1);
        let turn = self.number();
        let asked = Asked {
            said: priority,
            now: priority,
        };
        self.peers.entry(id).or_insert_with(|| Peer {
            priority: asked,
            limit,
            queues: BTreeMap::new(),
            running: BTreeSet::new(),
            turns: [turn; 4],
            left: false,
        });
        self.relist(id, |peer| {
            peer.limit = limit;
            peer.left = false;
            peer.priority.said = priority;
        });
        self.set_peer(id, priority);
        self.watch(id);
    }

    pub(super) fn leave(&mut self, id: PeerId) {
        let mut queues = BTreeMap::new();
        self.relist(id, |peer| {
            queues = core::mem::take(&mut peer.queues);
            peer.left = true;
        });
        for ticket in queues.into_values().flat_map(BTreeMap::into_values) {
            self.dropped.insert(ticket);
            self.forget(ticket);
        }
        // Nobody waits any more for what still runs.
        self.set_peer(id, Priority::Low);
        self.watch(id);
    }

    pub(super) fn enqueue(&mut self, entry: Entry, site: SiteId) {
        let number = self.number();
        let (id, age) = (entry.ticket, (entry.since, number));
        let command = Asked {
            said: entry.priority,
            now: entry.priority,
        };
        self.sites.entry(site).or_default().tickets += 1;
        let ticket = Ticket {
            peer: entry.peer,
            site,
            command,
            live: entry.live,
            age,
            run: None,
        };
        self.tickets.insert(id, ticket);
        if entry.live {
            self.live.insert(id, command);
        }
        self.requeue(entry.peer, (entry.priority, site), |queue| {
            queue.insert(age, id);
        });
        self.watch(entry.peer);
    }

    /// True if such a ticket waits, runs, or is still to be answered.
    pub(super) fn knows(&self, ticket: TicketId) -> bool {
        self.tickets.contains_key(&ticket) || self.dropped.contains(&ticket)
    }

    pub(super) fn has_peer(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| !peer.left)
    }

    pub(super) fn withdraw(&mut self, id: TicketId) {
        if self.dropped.remove(&id) {
            return;
        }
        let Some(ticket) = self.tickets.get(&id).filter(|t| t.run.is_none()) else {
            return;
        };
        let ticket = *ticket;
        self.requeue(ticket.peer, (ticket.command.now, ticket.site), |queue| {
            queue.remove(&ticket.age);
        });
        self.forget(id);
        self.watch(ticket.peer);
    }

    pub(super) fn end(&mut self, id: TicketId) {
        let Some(ticket) = self.tickets.get(&id).filter(|t| t.run.is_some()) else {
            return;
        };
        let ticket = *ticket;
        self.count_run(&ticket, usize::wrapping_sub);
        self.running.remove(&id);
        self.victims.remove(&id);
        self.relist(ticket.peer, |peer| {
            peer.running.remove(&id);
        });
        self.settle(ticket.site);
        self.forget(id);
        self.watch(ticket.peer);
    }

    /// A running ticket goes on at another origin, whether that has room or not.
    pub(super) fn travel(&mut self, id: TicketId, site: SiteId) {
        self.sites.entry(site).or_default().tickets += 1;
        let Some(ticket) = self.tickets.get_mut(&id).filter(|t| t.run.is_some()) else {
            self.leave_site(site);
            return;
        };
        let old = *ticket;
        ticket.site = site;
        let new = *ticket;
        self.count_run(&old, usize::wrapping_sub);
        self.count_run(&new, usize::wrapping_add);
        self.settle(old.site);
        self.settle(site);
        self.leave_site(old.site);
    }

    pub(super) fn set_per_origin(&mut self, limit: usize) {
        self.config.per_origin = limit.max(1);
        for site in self.sites.keys().copied().collect::<Vec<_>>() {
            self.settle(site);
        }
    }

    /// Sets the cap of one origin; `None`: that of all.
    pub(super) fn set_at(&mut self, site: SiteId, limit: Option<usize>) {
        match limit {
            Some(limit) => self.limits.insert(site, limit),
            None => self.limits.remove(&site),
        };
        self.settle(site);
    }

    /// Permits at an origin.
    pub(super) fn limit_at(&self, site: SiteId) -> usize {
        let own = self.limits.get(&site);
        own.copied().unwrap_or(self.config.per_origin)
    }

    pub(super) fn set_reserve(&mut self, reserve: bool) {
        self.config.reserve = reserve;
        self.set_per_origin(self.config.per_origin);
    }

    /// What prefetches may hold of a cap: all but one, if there is more than one and a reserve.
    fn for_prefetches(&self, cap: usize) -> usize {
        cap - usize::from(self.config.reserve && cap > 1)
    }

    /// Asks every peer that has tickets, and every live ticket that waits; says who has changed.
    pub(super) fn ask(&mut self, demand: &dyn Demand) -> Vec<(Whose, Priority)> {
        let mut changes = Vec::new();
        for (id, asked) in &self.asked {
            let now = demand.peer(*id).unwrap_or(asked.said);
            if now != asked.now {
                changes.push((Whose::Peer(*id), now));
            }
        }
        for (id, asked) in &self.live {
            let now = demand.ticket(*id).unwrap_or(asked.said);
            if now != asked.now {
                changes.push((Whose::Ticket(*id), now));
            }
        }
        for (whose, priority) in &changes {
            match whose {
                Whose::Peer(id) => {
                    self.set_peer(*id, *priority);
                    self.watch(*id);
                }
                Whose::Ticket(id) => self.set_ticket(*id, *priority),
            }
        }
        changes
    }

    /// The slot of a running ticket as it is now.
    pub(super) fn slot_now(&self, id: TicketId, demand: &dyn Demand) -> Option<Slot> {
        let ticket = self.tickets.get(&id)?;
        let asked = ticket.live.then(|| demand.ticket(id)).flatten();
        let peer = self.peers.get(&ticket.peer)?;
        Some(peer.slot(asked.unwrap_or(ticket.command.said)))
    }

    /// The first ticket of a slot that every cap lets start.
    pub(super) fn first(&self, slot: Slot) -> Option<Candidate> {
        self.has_room(slot).then(|| self.lines.first(slot))?
    }

    /// The same, of those for one origin.
    pub(super) fn first_at(&self, slot: Slot, site: SiteId) -> Option<Candidate> {
        self.has_room(slot)
            .then(|| self.lines.first_at(slot, site))?
    }

    /// A ticket that waits gets a permit; its peer goes to the end of the slot.
    pub(super) fn start(&mut self, who: Candidate, spared: Option<Timestamp>) {
        let started = self.number();
        let run = Run {
            started,
            spared,
            closing: false,
            kept: false,
        };
        let Some(ticket) = self.tickets.get_mut(&who.ticket) else {
            return;
        };
        ticket.run = Some(run);
        let ticket = *ticket;
        self.live.remove(&who.ticket);
        self.running.insert(who.ticket);
        self.relist(who.peer, |peer| {
            let key = (ticket.command.now, who.site);
            if let Some(queue) = peer.queues.get_mut(&key) {
                queue.remove(&ticket.age);
                if queue.is_empty() {
                    peer.queues.remove(&key);
                }
            }
            peer.turns[who.slot.0] = started;
            peer.running.insert(who.ticket);
        });
        self.count_run(&ticket, usize::wrapping_add);
        self.settle(who.site);
        self.weigh(who.ticket);
    }

    /// Whether the process has a permit for a slot: the last one is not for prefetches.
    fn has_room(&self, slot: Slot) -> bool {
        self.running.len() < self.config.permits
            && (slot.is_urgent() || self.prefetches < self.for_prefetches(self.config.permits))
    }

    fn set_peer(&mut self, id: PeerId, priority: Priority) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if peer.priority.now == priority {
            return;
        }
        let tickets = peer.running.iter();
        let runs = tickets.filter_map(|id| Some((*id, *self.tickets.get(id)?)));
        let runs: Vec<(TicketId, Ticket)> = runs.collect();
        for (_, ticket) in &runs {
            self.count_run(ticket, usize::wrapping_sub);
        }
        self.relist(id, |peer| peer.priority.now = priority);
        for (id, ticket) in &runs {
            self.count_run(ticket, usize::wrapping_add);
            self.settle(ticket.site);
            self.weigh(*id);
        }
    }

    fn set_ticket(&mut self, id: TicketId, priority: Priority) {
        let Some(ticket) = self.tickets.get_mut(&id) else {
            return;
        };
        let was = *ticket;
        ticket.command.now = priority;
        if let Some(asked) = self.live.get_mut(&id) {
            asked.now = priority;
        }
        self.requeue(was.peer, (was.command.now, was.site), |queue| {
            queue.remove(&was.age);
        });
        self.requeue(was.peer, (priority, was.site), |queue| {
            queue.insert(was.age, id);
        });
    }

    /// Takes a peer out of all lines, changes it, and lets it stand where it now belongs.
    fn relist(&mut self, id: PeerId, change: impl FnOnce(&mut Peer)) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        for (place, who) in peer.heads(id) {
            self.lines.remove(who.slot, who.site, place);
        }
        change(peer);
        for (place, who) in peer.heads(id) {
            self.lines.insert(place, who);
        }
    }

    /// The same for one queue of it.
    fn requeue(
        &mut self,
        id: PeerId,
        key: (Priority, SiteId),
        change: impl FnOnce(&mut BTreeMap<Age, TicketId>),
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let before = peer.head(id, key);
        let queue = peer.queues.entry(key).or_default();
        change(queue);
        if queue.is_empty() {
            peer.queues.remove(&key);
        }
        let after = peer.head(id, key);
        if before == after {
            return;
        }
        if let Some((place, who)) = before {
            self.lines.remove(who.slot, who.site, place);
        }
        if let Some((place, who)) = after {
            self.lines.insert(place, who);
        }
    }

    /// Counts a run in or out, where it is and as what it is.
    fn count_run(&mut self, ticket: &Ticket, by: fn(usize, usize) -> usize) {
        let peer = self.peers.get(&ticket.peer);
        let prefetch = usize::from(peer.is_none_or(|p| p.priority.now == Priority::Low));
        let closing = usize::from(ticket.run.is_some_and(|run| run.closing));
        self.prefetches = by(self.prefetches, prefetch);
        self.closing = by(self.closing, closing);
        if let Some(site) = self.sites.get_mut(&ticket.site) {
            site.running = by(site.running, 1);
            site.prefetches = by(site.prefetches, prefetch);
            site.closing = by(site.closing, closing);
        }
    }

    /// Keeps the list of those that may be preempted.
    fn weigh(&mut self, id: TicketId) {
        let ticket = self.tickets.get(&id);
        let lawful = |run: Run| !run.closing && !run.kept;
        let open = ticket.filter(|ticket| ticket.run.is_some_and(lawful));
        let peer = open.and_then(|ticket| self.peers.get(&ticket.peer));
        if peer.is_some_and(|peer| peer.priority.now == Priority::Low) {
            self.victims.insert(id);
        } else {
            self.victims.remove(&id);
        }
    }

    /// Says to the lines whether an origin has room.
    fn settle(&mut self, id: SiteId) {
        let Some(site) = self.sites.get(&id) else {
            return;
        };
        let room = self.room_at(id, site);
        self.lines.set_room(id, room);
    }

    /// For whom an origin has room.
    fn room_at(&self, id: SiteId, site: &Site) -> Room {
        let limit = self.limit_at(id);
        if site.running >= limit {
            Room::Nobody
        } else if site.prefetches >= self.for_prefetches(limit) {
            Room::Urgent
        } else {
            Room::Everybody
        }
    }

    /// Keeps the list of those that are asked, and forgets a peer that has left and has nothing running.
    fn watch(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if peer.left || (peer.queues.is_empty() && peer.running.is_empty()) {
            self.asked.remove(&id);
        } else {
            self.asked.insert(id, peer.priority);
        }
        if peer.is_over() {
            self.peers.remove(&id);
        }
    }

    fn forget(&mut self, id: TicketId) {
        self.live.remove(&id);
        if let Some(ticket) = self.tickets.remove(&id) {
            self.leave_site(ticket.site);
        }
    }

    fn leave_site(&mut self, id: SiteId) {
        let Some(site) = self.sites.get_mut(&id) else {
            return;
        };
        site.tickets -= 1;
        if site.tickets == 0 {
            self.sites.remove(&id);
            self.limits.remove(&id);
            self.lines.set_room(id, Room::Everybody);
            self.vacant.push(id);
        }
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}
