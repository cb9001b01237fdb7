//! A naive dispatch: one list of tickets, everything computed anew for each decision. It says which ticket starts next;
//! what must hold whatever starts is checked besides, by counting.

mod walk;

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
struct Person {
    said: Priority,
    limit: usize,
    turns: [u64; 4],
    left: bool,
}

#[derive(Clone, Copy, Debug)]
struct Paper {
    peer: u64,
    origin: u8,
    said: Priority,
    live: bool,
    since: (Timestamp, u64),
    /// Number of its start, until when it is spared, whether it is closing.
    run: Option<(u64, Timestamp, bool)>,
}

/// The list, and what was counted.
struct Naive {
    config: DispatchConfig,
    now: Timestamp,
    demand: Now,
    /// Origins that have a cap of their own.
    own: BTreeMap<u8, usize>,
    people: BTreeMap<u64, Person>,
    papers: BTreeMap<u64, Paper>,
    /// Tickets that are to be dropped.
    dropped: BTreeSet<u64>,
    passed: [u32; 4],
    passed_at: BTreeMap<u8, [u32; 4]>,
    throttle: Option<Timestamp>,
    open: bool,
    count: u64,
    /// Starts of one peer in a slot, while another that could start there had none.
    ahead: BTreeMap<(usize, u64, u64), u32>,
    /// Starts of others while a slot could start.
    waits: [u32; 4],
    starts: u64,
    preemptions: u64,
    /// Permits that were given on because somebody had waited for too long.
    yields: u64,
    /// Since when one could be given on.
    due_since: Option<Timestamp>,
    /// For whom they were taken.
    promised: Vec<u64>,
    kept_promises: u64,
}

/// Why it is that one's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Usual,
    /// Its slot was passed over too often, everywhere or at its origin.
    Aged,
    AgedHere,
    Promised,
}

impl Naive {
    fn new(config: DispatchConfig) -> Self {
        Self {
            config,
            now: T0,
            demand: Now::default(),
            own: BTreeMap::new(),
            people: BTreeMap::new(),
            papers: BTreeMap::new(),
            dropped: BTreeSet::new(),
            passed: [0; 4],
            passed_at: BTreeMap::new(),
            throttle: None,
            open: false,
            count: 0,
            ahead: BTreeMap::new(),
            waits: [0; 4],
            starts: 0,
            preemptions: 0,
            yields: 0,
            due_since: None,
            promised: Vec::new(),
            kept_promises: 0,
        }
    }

    fn is_low(&self, peer: u64) -> bool {
        let person = self.people[&peer];
        person.left || self.demand.peer(PeerId(peer)).unwrap_or(person.said) == Low
    }

    fn slot(&self, ticket: u64) -> usize {
        let paper = self.papers[&ticket];
        let asked = self.demand.ticket(TicketId(ticket)).filter(|_| paper.live);
        let low = asked.unwrap_or(paper.said) == Low;
        2 * usize::from(self.is_low(paper.peer)) + usize::from(low)
    }

    /// Running tickets that have a property.
    fn runs(&self, of: impl Fn(u64, &Paper) -> bool) -> usize {
        let all = self.papers.iter();
        all.filter(|(id, paper)| paper.run.is_some() && of(**id, paper))
            .count()
    }

    fn limit_at(&self, origin: u8) -> usize {
        let own = self.own.get(&origin).copied();
        own.unwrap_or(self.config.per_origin)
    }

    fn peer_has_room(&self, peer: u64) -> bool {
        self.runs(|_, other| other.peer == peer) < self.people[&peer].limit
    }

    fn can_start(&self, ticket: u64) -> bool {
        let paper = self.papers[&ticket];
        let here = |other: &Paper| other.origin == paper.origin;
        let kept = self.config.reserve;
        let reserve = |cap: usize| if kept && cap > 1 { cap - 1 } else { cap };
        let low = |_: u64, other: &Paper| self.is_low(other.peer);
        paper.run.is_none()
            && self.peer_has_room(paper.peer)
            && self.runs(|_, _| true) < self.config.permits
            && self.runs(|_, other| here(other)) < self.limit_at(paper.origin)
            && (!self.is_low(paper.peer)
                || (self.runs(low) < reserve(self.config.permits)
                    && self.runs(|id, other| low(id, other) && here(other))
                        < reserve(self.limit_at(paper.origin))))
    }

    /// Everything that could start, in order: by slot, turn and age.
    fn startable(&self) -> Vec<(usize, u64)> {
        let all = self.papers.keys().copied();
        let mut all: Vec<_> = all
            .filter(|ticket| self.can_start(*ticket))
            .map(|ticket| {
                let (slot, paper) = (self.slot(ticket), self.papers[&ticket]);
                (
                    slot,
                    self.people[&paper.peer].turns[slot],
                    paper.since,
                    ticket,
                )
            })
            .collect();
        all.sort_unstable();
        all.iter()
            .map(|(slot, _, _, ticket)| (*slot, *ticket))
            .collect()
    }

    /// What starts next: the slot and the ticket, whether an urgent one had to give way, and why.
    fn expected(&mut self) -> Option<(usize, u64, bool, Why)> {
        let all = self.startable();
        let Some((slot, ticket)) = all.first().copied() else {
            self.throttle = None;
            return None;
        };
        if slot < 2 {
            (self.open, self.throttle) = (true, None);
        } else if !self.open && !self.config.throttle.is_zero() {
            let until = *self.throttle.get_or_insert(self.now + self.config.throttle);
            if self.now < until {
                return None;
            }
            (self.open, self.throttle) = (true, None);
        }
        let promised = self.promised.iter().copied();
        let mut promised = promised.filter(|ticket| all.iter().any(|(_, id)| id == ticket));
        if slot >= 2
            && let Some(ticket) = promised.next()
        {
            return Some((self.slot(ticket), ticket, false, Why::Promised));
        }
        let origin = self.papers[&ticket].origin;
        let due = |passed: [u32; 4], all: &[(usize, u64)]| {
            let late = (1..4).filter(|s| *s != slot && passed[*s] >= STARTS_MAX);
            let first = |s: usize| all.iter().find(|(slot, _)| *slot == s).copied();
            let mut late: Vec<_> = late.filter_map(|s| Some((passed[s], first(s)?))).collect();
            late.sort_by_key(|(passed, (slot, _))| (Reverse(*passed), *slot));
            late.first().map(|(_, late)| *late)
        };
        if let Some((late, ticket)) = due(self.passed, &all) {
            return Some((late, ticket, slot < 2 && late >= 2, Why::Aged));
        }
        let here: Vec<_> = all
            .iter()
            .copied()
            .filter(|(_, ticket)| self.papers[ticket].origin == origin)
            .collect();
        let passed = self.passed_at.get(&origin).copied().unwrap_or_default();
        if let Some((late, ticket)) = due(passed, &here) {
            return Some((late, ticket, slot < 2 && late >= 2, Why::AgedHere));
        }
        Some((slot, ticket, false, Why::Usual))
    }

    fn start(&mut self, ticket: TicketId) {
        let expected = self.expected();
        let (slot, expected, gave_way, why) = expected.expect("nothing may start");
        assert_eq!(ticket.0, expected, "another one was next");
        let all = self.startable();
        let paper = self.papers[&ticket.0];
        self.check_turns(slot, paper.peer, &all, why);
        let passed_at = self.passed_at.entry(paper.origin).or_default();
        for s in (1..4).filter(|s| *s != slot) {
            let could = all.iter().any(|(other, _)| *other == s);
            let papers = &self.papers;
            let could_here = all
                .iter()
                .any(|(other, id)| *other == s && papers[id].origin == paper.origin);
            self.passed[s] += u32::from(could);
            self.waits[s] += u32::from(could && why != Why::Promised);
            passed_at[s] += u32::from(could_here);
            assert!(self.waits[s] < STARTS_BOUND, "slot {s} is starved");
        }
        (self.passed[slot], passed_at[slot], self.waits[slot]) = (0, 0, 0);
        self.count += 1;
        let spared = if gave_way { self.now + GRACE } else { T0 };
        let run = Some((self.count, spared, false));
        self.papers.get_mut(&ticket.0).expect("it waits").run = run;
        self.people.get_mut(&paper.peer).expect("it is here").turns[slot] = self.count;
        self.starts += 1;
        self.kept_promises += u64::from(why == Why::Promised);
        self.promised.retain(|promised| *promised != ticket.0);
    }

    /// Nobody starts twice while another one that could start in the slot does not at all.
    fn check_turns(&mut self, slot: usize, peer: u64, all: &[(usize, u64)], why: Why) {
        let peers: Vec<u64> = self.people.keys().copied().collect();
        for other in peers {
            for s in 0..4 {
                let could = all
                    .iter()
                    .any(|(slot, id)| *slot == s && self.papers[id].peer == other);
                if !could || (s == slot && other == peer) {
                    self.ahead
                        .retain(|(slot, _, who), _| (*slot, *who) != (s, other));
                } else if s == slot && matches!(why, Why::Usual | Why::Aged) {
                    let ahead = self.ahead.entry((s, peer, other)).or_default();
                    *ahead += 1;
                    assert!(*ahead <= 1, "{other} is passed over by {peer}");
                }
            }
        }
    }

    /// `to` is for whom it is taken, if that was told now.
    fn preempt(&mut self, ticket: TicketId, to: Option<u64>) {
        let paper = self.papers[&ticket.0];
        let here = Some(paper.origin);
        let least = |at: Option<u8>| self.victims(at).first() == Some(&ticket.0);
        // With the permits that the origin has and gets back, urgent tickets for it are still left over.
        let given = self.room_at(paper.origin) + self.closing(here);
        let for_origin = least(here) && self.blocked(here) > given;
        let process_full = self.runs(|_, _| true) >= self.config.permits;
        let for_process = process_full && least(None) && self.blocked(None) > self.closing(None);
        if to.is_some() || (!for_origin && !for_process) {
            let gifts = self.yielding();
            let mut gifts = gifts.iter().filter(|(from, _)| *from == ticket.0);
            let lawful = gifts.any(|(_, late)| to.is_none_or(|to| to == *late));
            assert!(lawful, "{ticket:?} is preempted for nothing, or for {to:?}");
            // Who gives goes to the end of its lines, as if it had started.
            self.count += 1;
            let person = self.people.get_mut(&paper.peer).expect("it is here");
            (person.turns[2], person.turns[3]) = (self.count, self.count);
            self.ahead.retain(|(_, _, who), _| *who != paper.peer);
            self.yields += 1;
        }
        let run = self.papers.get_mut(&ticket.0).and_then(|p| p.run.as_mut());
        run.expect("it runs").2 = true;
        self.preemptions += 1;
        self.promised.retain(|promised| to != Some(*promised));
        self.promised.extend(to);
    }

    /// At rest: nothing may start, and no urgent ticket waits for which something could be done.
    fn rest(&mut self) {
        assert!(self.expected().is_none(), "something could start");
        self.open = false;
        assert!(self.dropped.is_empty());
        if self.yielding().is_empty() {
            self.due_since = None;
        } else {
            let since = *self.due_since.get_or_insert(self.now);
            assert!(self.now < since + LOOK_EVERY, "somebody waits for too long");
        }
        for origin in 0..ORIGINS {
            let (room, here) = (self.room_at(origin), Some(origin));
            let (at, most) = if room == 0 {
                (here, usize::MAX)
            } else {
                (None, room)
            };
            let waits = self.blocked(here).min(most) > self.closing(None);
            let could = waits && !self.victims(at).is_empty();
            assert!(!could, "urgent work waits for a prefetch at {origin}");
        }
    }

    fn room_at(&self, origin: u8) -> usize {
        let runs = self.runs(|_, other| other.origin == origin);
        self.limit_at(origin).saturating_sub(runs)
    }

    fn remove(&mut self, ticket: u64) {
        self.papers.remove(&ticket);
        self.promised.retain(|promised| *promised != ticket);
        let papers = &self.papers;
        self.passed_at
            .retain(|origin, _| papers.values().any(|paper| paper.origin == *origin));
    }
}

const PEERS: u64 = 5;
const ORIGINS: u8 = 3;

/// Both, told the same.
struct Both {
    dispatch: Dispatch<u8>,
    naive: Naive,
    next: u64,
}

impl Both {
    fn new(config: DispatchConfig) -> Self {
        let (dispatch, naive) = (Dispatch::new(config), Naive::new(config));
        Self {
            dispatch,
            naive,
            next: 0,
        }
    }

    fn tell(&mut self, event: DispatchEvent<u8>) {
        self.dispatch.handle(self.naive.now, event);
    }

    fn step(&mut self, (what, a, b): (u8, u8, u8)) {
        let peer = u64::from(a) % PEERS;
        let priority = if b.is_multiple_of(2) { High } else { Low };
        self.naive.now = self.naive.now + Duration::from_millis(u64::from(b) * 2);
        match what % 24 {
            0..=1 => self.join(peer, priority, (b / 2) % 6),
            2 => self.leave(peer),
            3..=11 => self.enqueue(peer, a, b),
            12 => self.withdraw(usize::from(a)),
            13..=18 => self.end(usize::from(a)),
            19 => self.travel(usize::from(a), b % ORIGINS),
            20 => {
                self.naive.demand.peers.insert(peer, priority);
            }
            21 => {
                let live = self.naive.papers.keys().nth(usize::from(a));
                if let Some(ticket) = live.copied() {
                    self.naive.demand.tickets.insert(ticket, priority);
                }
            }
            22 => {
                self.naive.config.permits = usize::from(a % 7).max(1);
                self.tell(DispatchEvent::Permits(usize::from(a % 7)));
            }
            23 if b < 128 => {
                let (origin, permits) = (b % ORIGINS, (a > 40).then_some(usize::from(a % 9)));
                match permits {
                    Some(permits) => self.naive.own.insert(origin, permits.max(1)),
                    None => self.naive.own.remove(&origin),
                };
                self.tell(DispatchEvent::At { origin, permits });
            }
            _ => {
                self.naive.config.per_origin = usize::from(a % 5).max(1);
                self.tell(DispatchEvent::PerOrigin(usize::from(a % 5)));
            }
        }
        self.tell(DispatchEvent::Tick);
        self.drain();
    }

    fn join(&mut self, peer: u64, priority: Priority, limit: u8) {
        let limit = (limit > 0).then_some(usize::from(limit));
        self.naive.count += 1;
        let turns = [self.naive.count; 4];
        let stays = |naive: &Naive| naive.papers.values().any(|paper| paper.peer == peer);
        let old = self.naive.people.get(&peer).copied();
        let old = old.filter(|old| !old.left || stays(&self.naive));
        if old.is_none() {
            // Its turns begin anew: who was ahead of it before is of no matter.
            self.naive.ahead.retain(|(_, _, who), _| *who != peer);
        }
        let person = Person {
            said: priority,
            limit: limit.unwrap_or(usize::MAX),
            turns: old.map_or(turns, |old| old.turns),
            left: false,
        };
        self.naive.people.insert(peer, person);
        self.tell(DispatchEvent::Joined {
            peer: PeerId(peer),
            priority,
            per_peer: limit,
        });
    }

    fn leave(&mut self, peer: u64) {
        if let Some(person) = self.naive.people.get_mut(&peer) {
            person.left = true;
            let waits = |paper: &Paper| paper.peer == peer && paper.run.is_none();
            let all = self.naive.papers.iter();
            let gone: Vec<u64> = all.filter(|(_, p)| waits(p)).map(|(id, _)| *id).collect();
            for ticket in gone {
                self.naive.remove(ticket);
                self.naive.dropped.insert(ticket);
            }
        }
        self.tell(DispatchEvent::Left { peer: PeerId(peer) });
    }

    fn enqueue(&mut self, peer: u64, a: u8, b: u8) {
        // Some come again that are known.
        if !b.is_multiple_of(16) {
            self.next += 1;
        }
        let (ticket, now) = (self.next, self.naive.now);
        let waited_since = (b % 8 == 1).then_some(now - Duration::from_millis(100));
        let origin = a / 32 % ORIGINS;
        let said = if (b / 32).is_multiple_of(2) {
            High
        } else {
            Low
        };
        let live = b % 4 == 3;
        self.tell(DispatchEvent::Enqueued {
            ticket: TicketId(ticket),
            peer: PeerId(peer),
            origin,
            priority: said,
            live,
            waited_since,
        });
        if self.naive.papers.contains_key(&ticket) {
            return;
        }
        if self
            .naive
            .people
            .get(&peer)
            .is_none_or(|person| person.left)
        {
            self.naive.dropped.insert(ticket);
            return;
        }
        self.naive.count += 1;
        let paper = Paper {
            peer,
            origin,
            said,
            live,
            since: (waited_since.unwrap_or(now), self.naive.count),
            run: None,
        };
        self.naive.papers.insert(ticket, paper);
    }

    fn withdraw(&mut self, n: usize) {
        let ticket = self.naive.papers.keys().nth(n).copied().unwrap_or(u64::MAX);
        let waits = |paper: &Paper| paper.run.is_none();
        if self.naive.papers.get(&ticket).is_some_and(waits) {
            self.naive.remove(ticket);
        }
        let ticket = TicketId(ticket);
        self.tell(DispatchEvent::Withdrawn { ticket });
    }

    fn running(&self, n: usize) -> u64 {
        let all = self.naive.papers.iter();
        let mut running = all.filter(|(_, paper)| paper.run.is_some());
        let many = running.clone().count().max(1);
        running.nth(n % many).map_or(u64::MAX, |(id, _)| *id)
    }

    fn end(&mut self, n: usize) {
        let ticket = self.running(n);
        self.naive.remove(ticket);
        let ticket = TicketId(ticket);
        self.tell(DispatchEvent::Ended { ticket });
    }

    fn travel(&mut self, n: usize, origin: u8) {
        let ticket = self.running(n);
        if let Some(paper) = self.naive.papers.get(&ticket).copied() {
            self.naive.remove(ticket);
            self.naive.papers.insert(ticket, Paper { origin, ..paper });
        }
        let ticket = TicketId(ticket);
        self.tell(DispatchEvent::Moved { ticket, origin });
    }

    fn drain(&mut self) {
        loop {
            let action = self
                .dispatch
                .poll_action(self.naive.now, &self.naive.demand);
            match action {
                Some(Start { ticket }) => self.naive.start(ticket),
                Some(Preempt { ticket }) => {
                    let gift = self.dispatch.promised.back();
                    let gift = gift.filter(|gift| gift.from == ticket);
                    self.naive.preempt(ticket, gift.map(|gift| gift.to.0));
                }
                Some(Dropped { ticket }) => {
                    assert!(self.naive.dropped.remove(&ticket.0), "{ticket:?}");
                }
                Some(DispatchAction::PriorityChanged { .. }) => {}
                None => break,
            }
        }
        self.naive.rest();
        let runs = self.naive.runs(|_, _| true);
        let waits = self.naive.papers.len() - runs;
        assert_eq!(
            (self.dispatch.running(), self.dispatch.queued()),
            (runs, waits)
        );
        assert_eq!(self.dispatch.throttle.until, self.naive.throttle);
    }

    /// Everything ends, and everything that waits has its turn.
    fn finish(&mut self) {
        for _ in 0..4 * self.naive.papers.len() {
            self.naive.now = self.naive.now + self.naive.config.throttle;
            self.end(0);
            self.drain();
        }
        assert!(self.naive.papers.is_empty(), "somebody waits for ever");
        for peer in 0..PEERS {
            self.leave(peer);
        }
        self.drain();
        assert!(self.dispatch.board.sites.is_empty() && self.dispatch.names.is_empty());
        assert!(self.dispatch.board.peers.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_decides_as_a_naive_dispatch_does(
        caps in (1..7usize, 1..5usize),
        throttle in prop_oneof![3 => Just(0u64), 1 => Just(150)],
        steps in proptest::collection::vec(any::<(u8, u8, u8)>(), 1..250),
    ) {
        let config = DispatchConfig {
            permits: caps.0,
            per_origin: caps.1,
            per_peer: None,
            throttle: Duration::from_millis(throttle),
            reserve: caps.1 % 2 == 0,
        };
        let mut both = Both::new(config);
        for step in steps {
            both.step(step);
        }
        both.finish();
    }
}
