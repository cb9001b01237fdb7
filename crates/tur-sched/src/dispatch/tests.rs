//! Each rule by itself; all of them together against a naive dispatch are in `oracle`.

use super::*;
use std::vec;
use std::vec::Vec;

mod caps;
mod oracle;
mod patience;

use DispatchAction::{Dropped, Preempt, Start};
use Priority::{High, Low};

const T0: Timestamp = Timestamp::ZERO;

/// Priorities that override what was said.
#[derive(Default)]
struct Now {
    peers: BTreeMap<u64, Priority>,
    tickets: BTreeMap<u64, Priority>,
}

impl Demand for Now {
    fn peer(&self, peer: PeerId) -> Option<Priority> {
        self.peers.get(&peer.0).copied()
    }

    fn ticket(&self, ticket: TicketId) -> Option<Priority> {
        self.tickets.get(&ticket.0).copied()
    }
}

struct Desk {
    dispatch: Dispatch<u8>,
    now: Timestamp,
    demand: Now,
}

impl Desk {
    fn new(permits: usize, per_origin: usize) -> Self {
        let config = DispatchConfig {
            permits,
            per_origin,
            ..DispatchConfig::default()
        };
        Self::with(config)
    }

    fn with(config: DispatchConfig) -> Self {
        Self {
            dispatch: Dispatch::new(config),
            now: T0,
            demand: Now::default(),
        }
    }

    fn tell(&mut self, event: DispatchEvent<u8>) {
        self.dispatch.handle(self.now, event);
    }

    fn join(&mut self, peer: u64, priority: Priority) {
        self.join_with(peer, priority, None);
    }

    fn join_with(&mut self, peer: u64, priority: Priority, per_peer: Option<usize>) {
        self.tell(DispatchEvent::Joined {
            peer: PeerId(peer),
            priority,
            per_peer,
        });
    }

    /// Enqueues tickets of low priority.
    fn want(&mut self, peer: u64, origin: u8, tickets: impl IntoIterator<Item = u64>) {
        self.want_as(peer, origin, Low, tickets);
    }

    fn want_as(
        &mut self,
        peer: u64,
        origin: u8,
        priority: Priority,
        tickets: impl IntoIterator<Item = u64>,
    ) {
        for ticket in tickets {
            self.tell(DispatchEvent::Enqueued {
                ticket: TicketId(ticket),
                peer: PeerId(peer),
                origin,
                priority,
                live: self.demand.tickets.contains_key(&ticket),
                waited_since: None,
            });
        }
    }

    fn end(&mut self, ticket: u64) {
        self.tell(DispatchEvent::Ended {
            ticket: TicketId(ticket),
        });
    }

    /// Everything that is to be done now, but for what is said to people.
    fn actions(&mut self) -> Vec<DispatchAction> {
        let mut actions = Vec::new();
        while let Some(action) = self.dispatch.poll_action(self.now, &self.demand) {
            if !matches!(action, DispatchAction::PriorityChanged { .. }) {
                actions.push(action);
            }
        }
        actions
    }

    /// The numbers of what starts now, if nothing else is to be done.
    fn starts(&mut self) -> Vec<u64> {
        let actions = self.actions().into_iter();
        let number = |action| match action {
            Start { ticket } => ticket.0,
            other => panic!("{other:?}"),
        };
        actions.map(number).collect()
    }

    /// Ends what started last, again and again: the order in which everything starts that a single permit lets start.
    fn one_by_one(&mut self, n: usize) -> Vec<u64> {
        let mut order = self.starts();
        while order.len() < n {
            let Some(last) = order.last().copied() else {
                break;
            };
            self.end(last);
            let more = self.starts();
            if more.is_empty() {
                break;
            }
            order.extend(more);
        }
        order
    }

    fn wait(&mut self, by: Duration) {
        self.now = self.now + by;
        self.tell(DispatchEvent::Tick);
    }
}

fn preempt(ticket: u64) -> DispatchAction {
    Preempt {
        ticket: TicketId(ticket),
    }
}

fn start(ticket: u64) -> DispatchAction {
    Start {
        ticket: TicketId(ticket),
    }
}

fn dropped(ticket: u64) -> DispatchAction {
    Dropped {
        ticket: TicketId(ticket),
    }
}

#[test]
fn the_peer_decides_before_the_command() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, Low);
    desk.join(2, High);
    desk.want_as(1, 0, Low, [33]);
    desk.want_as(1, 0, High, [22]);
    desk.want_as(2, 0, Low, [11]);
    desk.want_as(2, 0, High, [0]);
    assert_eq!(desk.one_by_one(4), [0, 11, 22, 33]);
}

#[test]
fn peers_of_a_slot_take_turns_whoever_came_with_more() {
    let mut desk = Desk::new(1, 32);
    for peer in 1..=3 {
        desk.join(peer, High);
    }
    desk.want(1, 0, 100..110);
    desk.want(2, 0, 200..202);
    desk.want(3, 1, 300..301);
    assert_eq!(desk.one_by_one(8), [100, 200, 300, 101, 201, 102, 103, 104]);
}

#[test]
fn what_was_preempted_keeps_its_age() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, Low);
    desk.now = T0 + Duration::from_secs(5);
    desk.want(1, 0, [1]);
    desk.tell(DispatchEvent::Enqueued {
        ticket: TicketId(2),
        peer: PeerId(1),
        origin: 0,
        priority: Low,
        live: false,
        waited_since: Some(T0),
    });
    assert_eq!(desk.one_by_one(2), [2, 1]);
}

#[test]
fn a_peer_that_turns_active_overtakes_with_all_it_has_waiting() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, Low);
    desk.join(2, Low);
    desk.want(1, 0, 10..14);
    desk.want(2, 0, 20..23);
    assert_eq!(desk.one_by_one(2), [10, 20]);
    desk.demand.peers.insert(2, High);
    desk.end(20);
    assert_eq!(desk.one_by_one(5), [21, 22, 11, 12, 13]);
    // What has begun is not what it was said to be either: a prefetch of a peer that is being read is none.
    desk.join(3, High);
    desk.demand.peers.insert(1, High);
    desk.want(3, 0, [30]);
    assert_eq!(desk.actions(), []);
}

#[test]
fn only_live_tickets_are_asked_and_go_first_when_they_matter() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, High);
    desk.demand.tickets.insert(3, Low);
    desk.want(1, 0, [1, 2, 3]);
    desk.demand.tickets = [(2, High), (3, High)].into();
    let changed = DispatchAction::PriorityChanged {
        whose: Whose::Ticket(TicketId(3)),
        priority: High,
    };
    let said = desk.dispatch.poll_action(T0, &desk.demand);
    assert_eq!(said, Some(changed));
    assert_eq!(desk.one_by_one(3), [3, 1, 2]);
}

#[test]
fn the_last_permit_of_process_and_origin_is_for_urgent_work() {
    for (permits, per_origin) in [(3, 32), (32, 3)] {
        let mut desk = Desk::new(permits, per_origin);
        desk.join(1, Low);
        desk.join(2, High);
        desk.want(1, 0, 10..20);
        assert_eq!(desk.starts(), [10, 11]);
        desk.want(2, 0, [20]);
        assert_eq!(desk.starts(), [20]);
        desk.end(20);
        assert_eq!(desk.starts(), []);
    }
    // Where there is but one, anybody may have it.
    let mut desk = Desk::new(1, 32);
    desk.join(1, Low);
    desk.want(1, 0, [10]);
    assert_eq!(desk.starts(), [10]);
}

#[test]
fn urgent_work_takes_the_permit_of_the_least_valuable_prefetch_and_no_more() {
    let mut desk = Desk::new(5, 32);
    desk.join(1, Low);
    desk.join(2, Low);
    desk.join(3, High);
    desk.want_as(1, 0, High, [10]);
    desk.want(1, 0, [11]);
    desk.want(2, 1, [20, 21]);
    assert_eq!(desk.starts(), [10, 11, 20, 21]);
    desk.want(3, 0, [30, 31]);
    // Of the lowest slot; of the peer that runs most (both run two); the one that started last.
    assert_eq!(desk.actions(), [start(30), preempt(21)]);
    desk.tell(DispatchEvent::Tick);
    assert_eq!(desk.actions(), [], "one permit is on its way back");
    desk.want(3, 0, [32, 33, 34, 35]);
    assert_eq!(
        desk.actions(),
        [preempt(11), preempt(20), preempt(10)],
        "of the peer that now runs more; urgent work never"
    );
    desk.end(21);
    assert_eq!(desk.starts(), [31]);
    desk.end(20);
    assert_eq!(desk.starts(), [32]);
}

#[test]
fn what_keeps_its_permit_is_not_asked_again_and_another_one_is() {
    let mut desk = Desk::new(3, 3);
    desk.join(1, Low);
    desk.join(2, High);
    desk.want(1, 0, [1, 2]);
    assert_eq!(desk.starts(), [1, 2]);
    desk.want(2, 0, [10, 11]);
    assert_eq!(desk.actions(), [start(10), preempt(2)]);
    desk.tell(DispatchEvent::Kept {
        ticket: TicketId(2),
    });
    assert_eq!(
        desk.actions(),
        [preempt(1)],
        "another one, and that one once"
    );
    desk.tell(DispatchEvent::Kept {
        ticket: TicketId(1),
    });
    desk.end(2);
    assert_eq!(desk.actions(), [start(11)]);
}

#[test]
fn a_permit_is_taken_where_it_is_missing() {
    let mut desk = Desk::new(10, 3);
    desk.join(1, Low);
    desk.join(2, Low);
    desk.join_with(3, High, Some(3));
    desk.want(1, 0, [10, 11]);
    desk.want(2, 1, [20, 21]);
    assert_eq!(desk.starts(), [10, 20, 11, 21]);
    desk.want(3, 0, [30, 31]);
    assert_eq!(desk.actions(), [start(30), preempt(11)]);
    // The cap of a peer is no reason to preempt others: with the permit that is on its way back it has all of its own.
    desk.want(3, 1, [32, 33]);
    assert_eq!(desk.actions(), [start(32)]);
    desk.join(4, High);
    desk.want(4, 1, [40]);
    assert_eq!(desk.actions(), [preempt(21)]);
    desk.end(11);
    assert_eq!(desk.starts(), [31]);
    desk.end(21);
    assert_eq!(desk.starts(), [40]);
}

#[test]
fn a_withdrawn_urgent_ticket_costs_nobody_a_permit() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, Low);
    desk.join(2, High);
    desk.want(1, 0, [1]);
    assert_eq!(desk.starts(), [1]);
    desk.want(2, 0, [2]);
    desk.tell(DispatchEvent::Withdrawn {
        ticket: TicketId(2),
    });
    assert_eq!(desk.actions(), []);
}

#[test]
fn d6_a_low_ticket_among_endless_urgent_work_starts_within_the_bound() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, High);
    desk.join(2, Low);
    desk.want_as(1, 0, High, 0..100);
    desk.want_as(2, 0, High, [200]);
    desk.want_as(2, 0, Low, [300]);
    let order = desk.one_by_one(50);
    let at = |ticket| order.iter().position(|other| *other == ticket);
    let max = STARTS_MAX as usize;
    assert_eq!((at(200), at(300)), (Some(max), Some(max + 1)));
}

#[test]
fn who_waits_for_a_crowded_origin_is_not_made_up_for_elsewhere() {
    // Urgent work holds origin 0, where one low ticket waits; another low peer has all it wants at origin 1.
    let mut desk = Desk::new(3, 1);
    desk.join(1, High);
    desk.join(2, Low);
    desk.join(3, Low);
    desk.want(1, 0, 1_000..1_100);
    desk.want(2, 0, [2_000]);
    desk.want(3, 1, 3_000..3_100);
    let (mut here, mut running) = (Vec::new(), desk.starts());
    for _ in 0..80 {
        running.sort_unstable();
        here.extend(running.iter().copied().filter(|ticket| *ticket < 3_000));
        let mut after = Vec::new();
        for ticket in running {
            desk.end(ticket);
            after.extend(desk.starts());
        }
        running = after;
    }
    let at = here.iter().position(|ticket| *ticket == 2_000);
    assert!(at.is_some_and(|at| at <= STARTS_BOUND as usize), "{at:?}");
}

#[test]
fn what_ageing_has_started_is_spared_for_a_while() {
    let mut desk = Desk::new(1, 32);
    desk.join(1, High);
    desk.join(2, Low);
    desk.want(1, 0, 0..100);
    desk.want(2, 0, [200]);
    let order = desk.one_by_one(STARTS_MAX as usize + 1);
    assert_eq!(order.last(), Some(&200));
    assert_eq!(desk.dispatch.next_wakeup(), Some(T0 + GRACE));
    desk.wait(GRACE - Duration::from_micros(1));
    assert_eq!(desk.actions(), []);
    desk.wait(Duration::from_micros(1));
    assert_eq!(desk.actions(), [preempt(200)]);
    assert_eq!(desk.dispatch.next_wakeup(), None);
}

#[test]
fn prefetches_wait_for_the_throttle_and_urgent_work_ends_it() {
    let throttle = Duration::from_millis(100);
    let config = DispatchConfig {
        permits: 4,
        throttle,
        ..DispatchConfig::default()
    };
    let mut desk = Desk::with(config);
    desk.join(1, Low);
    desk.join(2, High);
    desk.want(1, 0, [10, 11]);
    assert_eq!(desk.starts(), []);
    assert_eq!(desk.dispatch.next_wakeup(), Some(T0 + throttle));
    desk.wait(throttle - Duration::from_micros(1));
    assert_eq!(desk.starts(), []);
    desk.wait(Duration::from_micros(1));
    assert_eq!(desk.starts(), [10, 11], "together");
    assert_eq!(desk.dispatch.next_wakeup(), None);
    desk.want(1, 0, [12]);
    assert_eq!(desk.starts(), []);
    desk.want(2, 0, [20]);
    assert_eq!(desk.starts(), [20, 12]);
    // Nobody waits for what was withdrawn.
    desk.end(12);
    desk.want(1, 0, [13]);
    assert_eq!(desk.starts(), []);
    desk.tell(DispatchEvent::Withdrawn {
        ticket: TicketId(13),
    });
    assert_eq!((desk.starts(), desk.dispatch.next_wakeup()), (vec![], None));
}

#[test]
fn each_ticket_is_answered_once_and_a_withdrawn_one_never() {
    let mut desk = Desk::new(2, 32);
    desk.join(1, High);
    desk.want(1, 0, 1..=5);
    desk.want(1, 1, [2, 3]);
    desk.tell(DispatchEvent::Withdrawn {
        ticket: TicketId(3),
    });
    assert_eq!(desk.starts(), [1, 2]);
    desk.tell(DispatchEvent::Withdrawn {
        ticket: TicketId(1),
    });
    desk.tell(DispatchEvent::Left { peer: PeerId(1) });
    desk.tell(DispatchEvent::Left { peer: PeerId(1) });
    // Dropped, and withdrawn before that was said.
    desk.tell(DispatchEvent::Withdrawn {
        ticket: TicketId(5),
    });
    // Of nobody, twice.
    desk.want(1, 0, [6, 6]);
    desk.want(9, 0, [7]);
    assert_eq!(desk.actions(), [4, 6, 7].map(dropped));
    assert_eq!(desk.dispatch.running(), 2, "permits come back by Ended");
    for ticket in [1, 1, 2, 77] {
        desk.end(ticket);
    }
    assert_eq!((desk.dispatch.running(), desk.dispatch.queued()), (0, 0));
    let board = &desk.dispatch.board;
    assert!(board.peers.is_empty() && board.sites.is_empty() && desk.dispatch.names.is_empty());
}

#[test]
fn what_a_peer_leaves_running_goes_first_when_urgent_work_comes() {
    let mut desk = Desk::new(2, 32);
    desk.join(1, High);
    desk.join(2, High);
    desk.want(1, 0, [10, 11]);
    assert_eq!(desk.starts(), [10, 11]);
    desk.want(2, 0, [20]);
    assert_eq!(desk.actions(), []);
    desk.tell(DispatchEvent::Left { peer: PeerId(1) });
    assert_eq!(desk.actions(), [preempt(11)]);
}

/// Counts questions.
#[derive(Default)]
struct Counting(std::cell::Cell<u64>, std::cell::Cell<u64>);

impl Demand for Counting {
    fn peer(&self, peer: PeerId) -> Option<Priority> {
        self.0.set(self.0.get() + 1);
        Some(if peer.0.is_multiple_of(10) { High } else { Low })
    }

    fn ticket(&self, _: TicketId) -> Option<Priority> {
        self.1.set(self.1.get() + 1);
        None
    }
}

#[test]
fn a_decision_asks_each_peer_once_however_much_waits() {
    let mut dispatch = Dispatch::<u16>::new(DispatchConfig::default());
    let demand = Counting::default();
    let enqueue = |dispatch: &mut Dispatch<u16>, ticket: u64, peer: u64| {
        dispatch.handle(
            T0,
            DispatchEvent::Enqueued {
                ticket: TicketId(ticket),
                peer: PeerId(peer),
                origin: (peer % 97) as u16,
                priority: if ticket.is_multiple_of(3) { High } else { Low },
                live: ticket < 100,
                waited_since: None,
            },
        );
    };
    for peer in 0..PEERS {
        dispatch.handle(
            T0,
            DispatchEvent::Joined {
                peer: PeerId(peer),
                priority: Low,
                per_peer: None,
            },
        );
        (0..32).for_each(|n| enqueue(&mut dispatch, peer * 32 + n, peer));
    }
    let (mut running, mut next, mut rounds) = (VecDeque::new(), PEERS * 32, 0);
    for decision in 0..DECISIONS {
        rounds += 1;
        while let Some(action) = dispatch.poll_action(T0, &demand) {
            if let Start { ticket } = action {
                running.push_back(ticket);
            }
        }
        let ticket = running.pop_front().expect("there is always somebody");
        dispatch.handle(T0, DispatchEvent::Ended { ticket });
        enqueue(&mut dispatch, next, decision % PEERS);
        next += 1;
    }
    assert!(running.len() > 100 && dispatch.queued() > 31_000);
    assert!(demand.0.get() <= PEERS * rounds, "{}", demand.0.get());
    // Live ones that wait, and the prefetches among which a victim is sought.
    assert!(demand.1.get() <= 2 * 128 * rounds, "{}", demand.1.get());
}

const PEERS: u64 = 1_000;
/// Each asks a thousand peers: without optimisation as many as are over in a moment.
const DECISIONS: u64 = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};
