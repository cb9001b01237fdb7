//! Permits: whatever peers, tickets and the caller do, in whatever order, no start breaks a cap, each ticket has one answer,
//! only prefetches are preempted, and in the end everybody who waits is served.
//!
//! The input is two bytes (permits, and permits at an origin with the throttle) and a list of turns, two bytes each: what
//! happens, and to whom. Numbers of tickets are few, so that they come again while they are known, and afterwards.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tur_core::Timestamp;
use tur_sched::{
    Demand, Dispatch, DispatchAction, DispatchConfig, DispatchEvent, PeerId, Priority, TicketId,
};

const PEERS: u8 = 4;
const ORIGINS: u8 = 3;
const TURNS_MAX: usize = 400;
/// After so many actions in a row it will never come to rest.
const ACTIONS_MAX: usize = 2_000;

fuzz_target!(|data: &[u8]| {
    tur_fuzz::remember(data);
    let Some((&[permits, caps], turns)) = data.split_first_chunk() else {
        return;
    };
    let mut world = World::new(permits, caps);
    for turn in turns.chunks_exact(2).take(TURNS_MAX) {
        world.turn(turn[0], turn[1]);
        world.obey();
    }
    world.finish();
});

#[derive(Clone, Copy)]
struct Wish {
    peer: u8,
    origin: u8,
    runs: bool,
    closing: bool,
}

#[derive(Default)]
struct Live {
    peers: BTreeMap<u64, Priority>,
    tickets: BTreeMap<u64, Priority>,
}

impl Demand for Live {
    fn peer(&self, peer: PeerId) -> Option<Priority> {
        self.peers.get(&peer.0).copied()
    }

    fn ticket(&self, ticket: TicketId) -> Option<Priority> {
        self.tickets.get(&ticket.0).copied()
    }
}

struct World {
    dispatch: Dispatch<u8>,
    config: DispatchConfig,
    now: Timestamp,
    live: Live,
    /// Peers that are there, as they were said to be.
    peers: BTreeMap<u8, Priority>,
    wishes: BTreeMap<u64, Wish>,
    /// Tickets that must be dropped.
    dropped: BTreeSet<u64>,
}

impl World {
    fn new(permits: u8, caps: u8) -> Self {
        let config = DispatchConfig {
            permits: usize::from(permits % 8),
            per_origin: usize::from(caps % 5),
            per_peer: None,
            throttle: Duration::from_millis(u64::from(caps / 128) * 100),
            reserve: caps % 3 > 0,
        };
        Self {
            dispatch: Dispatch::new(config),
            config,
            now: Timestamp::ZERO,
            live: Live::default(),
            peers: BTreeMap::new(),
            wishes: BTreeMap::new(),
            dropped: BTreeSet::new(),
        }
    }

    /// One thing happens.
    fn turn(&mut self, what: u8, whom: u8) {
        self.now = self.now + Duration::from_millis(u64::from(whom) * 3);
        let (peer, ticket) = (whom % PEERS, TicketId(u64::from(whom / PEERS)));
        let priority = [Priority::High, Priority::Low][usize::from(what / 16 % 2)];
        match what % 16 {
            0 => {
                self.peers.insert(peer, priority);
                self.tell(DispatchEvent::Joined {
                    peer: PeerId(u64::from(peer)),
                    priority,
                    per_peer: (what / 32 > 0).then_some(usize::from(what / 32)),
                });
            }
            1 => self.leave(peer),
            2..=6 => self.enqueue(ticket.0, peer, what),
            7 => {
                self.wishes.retain(|id, wish| wish.runs || *id != ticket.0);
                self.dropped.remove(&ticket.0);
                self.tell(DispatchEvent::Withdrawn { ticket });
            }
            8..=10 => self.end(ticket.0),
            11 => {
                let origin = what / 16 % ORIGINS;
                if let Some(wish) = self.wishes.get_mut(&ticket.0).filter(|wish| wish.runs) {
                    wish.origin = origin;
                }
                self.tell(DispatchEvent::Moved { ticket, origin });
            }
            12 => {
                self.live.peers.insert(u64::from(peer), priority);
            }
            13 => {
                self.live.tickets.insert(ticket.0, priority);
            }
            14 => {
                self.config.permits = usize::from(whom % 8);
                self.tell(DispatchEvent::Permits(self.config.permits));
            }
            _ => {
                self.config.per_origin = usize::from(whom % 5);
                self.tell(DispatchEvent::PerOrigin(self.config.per_origin));
            }
        }
    }

    fn tell(&mut self, event: DispatchEvent<u8>) {
        self.dispatch.handle(self.now, event);
    }

    fn enqueue(&mut self, ticket: u64, peer: u8, what: u8) {
        let origin = what / 16 % ORIGINS;
        if !self.wishes.contains_key(&ticket) && !self.dropped.contains(&ticket) {
            if self.peers.contains_key(&peer) {
                let wish = Wish {
                    peer,
                    origin,
                    runs: false,
                    closing: false,
                };
                self.wishes.insert(ticket, wish);
            } else {
                self.dropped.insert(ticket);
            }
        }
        self.tell(DispatchEvent::Enqueued {
            ticket: TicketId(ticket),
            peer: PeerId(u64::from(peer)),
            origin,
            priority: [Priority::High, Priority::Low][usize::from(what / 64 % 2)],
            live: what >= 128,
            waited_since: (what % 16 == 6).then_some(Timestamp::ZERO),
        });
    }

    fn leave(&mut self, peer: u8) {
        self.peers.remove(&peer);
        let waits = |wish: &Wish| wish.peer == peer && !wish.runs;
        let gone = self.wishes.iter().filter(|(_, wish)| waits(wish));
        self.dropped.extend(gone.map(|(id, _)| *id));
        self.wishes.retain(|_, wish| !waits(wish));
        self.tell(DispatchEvent::Left {
            peer: PeerId(u64::from(peer)),
        });
    }

    fn end(&mut self, ticket: u64) {
        self.wishes.retain(|id, wish| !wish.runs || *id != ticket);
        self.tell(DispatchEvent::Ended {
            ticket: TicketId(ticket),
        });
    }

    fn obey(&mut self) {
        for _ in 0..ACTIONS_MAX {
            match self.dispatch.poll_action(self.now, &self.live) {
                Some(DispatchAction::Start { ticket }) => self.start(ticket.0),
                Some(DispatchAction::Preempt { ticket }) => {
                    let low = self.is_low(self.wishes[&ticket.0].peer);
                    let wish = self.wishes.get_mut(&ticket.0).expect("it runs");
                    assert!(wish.runs && !wish.closing && low, "{ticket:?}");
                    wish.closing = true;
                }
                Some(DispatchAction::Dropped { ticket }) => {
                    assert!(self.dropped.remove(&ticket.0), "{ticket:?}");
                }
                Some(DispatchAction::PriorityChanged { .. }) => {}
                None => {
                    let runs = self.wishes.values().filter(|wish| wish.runs).count();
                    let told = (self.dispatch.running(), self.dispatch.queued());
                    assert_eq!(told, (runs, self.wishes.len() - runs));
                    assert!(self.dropped.is_empty());
                    return;
                }
            }
        }
        panic!("it never comes to rest");
    }

    fn is_low(&self, peer: u8) -> bool {
        let Some(said) = self.peers.get(&peer) else {
            return true;
        };
        let now = self.live.peers.get(&u64::from(peer));
        *now.unwrap_or(said) == Priority::Low
    }

    fn start(&mut self, ticket: u64) {
        let wish = self.wishes.get_mut(&ticket).expect("nobody wants it");
        assert!(!wish.runs, "started twice");
        wish.runs = true;
        let (origin, peer) = (wish.origin, wish.peer);
        let low = self.is_low(peer);
        for (cap, at) in [
            (self.config.permits, None),
            (self.config.per_origin, Some(origin)),
        ] {
            let here = |wish: &&Wish| wish.runs && at.is_none_or(|at| wish.origin == at);
            let running = || self.wishes.values().filter(here);
            assert!(running().count() <= cap.max(1), "over a cap");
            let prefetches = running().filter(|wish| self.is_low(wish.peer)).count();
            let reserved = self.config.reserve && low && cap > 1;
            assert!(!reserved || prefetches < cap, "the reserve is gone");
        }
    }

    /// Everything that runs ends, again and again: then everybody has had a permit, and nothing is left.
    fn finish(&mut self) {
        for _ in 0..=self.wishes.len() {
            self.now = self.now + Duration::from_secs(1);
            self.tell(DispatchEvent::Tick);
            self.obey();
            let running = self.wishes.iter().filter(|(_, wish)| wish.runs);
            for id in running.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.end(id);
            }
            self.obey();
        }
        self.now = self.now + Duration::from_secs(1);
        self.tell(DispatchEvent::Tick);
        self.obey();
        let waits = self.wishes.values().filter(|wish| !wish.runs).count();
        assert_eq!(waits, 0, "somebody waits for ever");
        assert_eq!(self.dispatch.next_wakeup(), None);
    }
}
