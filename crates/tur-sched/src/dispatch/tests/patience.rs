//! Who waits behind what does not end: one permit of who has many, and nothing goes back and forth.

use super::*;

/// A download with every permit of the origin but the reserve, and a peer whose one fetch waits. Returns the lane that is
/// told to give way, and when.
fn starved(desk: &mut Desk) -> u64 {
    desk.join(1, Low);
    desk.want(1, 0, 0..10);
    assert_eq!(desk.starts(), [0, 1, 2]);
    desk.join(2, Low);
    desk.want(2, 0, [20, 21]);
    let began = desk.now;
    let yields = loop {
        let actions = desk.actions();
        if !actions.is_empty() {
            break actions;
        }
        desk.now = desk.dispatch.next_wakeup().expect("it is looked at again");
        desk.tell(DispatchEvent::Tick);
    };
    assert_eq!(
        yields,
        [preempt(2)],
        "the last one that started, and no other"
    );
    let waited = desk.now.since(began);
    assert!((PATIENCE..=PATIENCE + LOOK_EVERY).contains(&waited));
    2
}

/// Lets time pass as the caller does.
fn pass(desk: &mut Desk, time: Duration) {
    let until = desk.now + time;
    while let Some(at) = desk.dispatch.next_wakeup().filter(|at| *at <= until) {
        desk.now = at;
        desk.tell(DispatchEvent::Tick);
        assert_eq!(desk.actions(), [], "nothing goes back and forth");
    }
    desk.now = until;
}

/// What gave way comes again, as old as it was.
fn again(desk: &mut Desk, ticket: u64) {
    desk.tell(DispatchEvent::Enqueued {
        ticket: TicketId(ticket),
        peer: PeerId(1),
        origin: 0,
        priority: Low,
        live: false,
        waited_since: Some(T0),
    });
}

#[test]
fn who_has_nothing_gets_one_permit_of_who_has_most_and_keeps_it() {
    let mut desk = Desk::new(10, 4);
    let lane = starved(&mut desk);
    again(&mut desk, 30);
    desk.end(lane);
    assert_eq!(desk.starts(), [20], "what gave way does not get it back");
    // One permit is nothing to take, and who has one waits for its turn.
    pass(&mut desk, 10 * (PATIENCE + LOOK_EVERY));
    desk.end(20);
    let next = desk.starts();
    assert_eq!(next.len(), 1, "{next:?}");
    // It goes on as long as anybody wants anything.
    desk.end(0);
    assert_eq!(desk.starts().len(), 1);
}

#[test]
fn a_permit_on_its_way_back_is_waited_for_and_one_that_stays_is_not() {
    let mut desk = Desk::new(10, 4);
    let lane = starved(&mut desk);
    pass(&mut desk, 10 * PATIENCE);
    desk.tell(DispatchEvent::Kept {
        ticket: TicketId(lane),
    });
    assert!(desk.dispatch.promised.is_empty(), "nothing comes back");
    desk.now = desk.now + LOOK_EVERY;
    desk.tell(DispatchEvent::Tick);
    assert_eq!(desk.actions(), [preempt(1)], "another one is told");
    assert_eq!(desk.dispatch.promised.len(), 1);
}

#[test]
fn many_that_wait_are_heard_one_after_the_other_until_nobody_has_two() {
    let mut desk = Desk::with(DispatchConfig {
        permits: 4,
        reserve: false,
        ..DispatchConfig::default()
    });
    desk.join(1, Low);
    desk.want(1, 0, 0..4);
    assert_eq!(desk.starts(), [0, 1, 2, 3]);
    // At other origins: it is the process that is full.
    for peer in 2..=6 {
        desk.join(peer, Low);
        desk.want(peer, 1, [10 * peer]);
    }
    let (mut given, until) = (Vec::new(), desk.now + PATIENCE + 3 * LOOK_EVERY);
    loop {
        for action in desk.actions() {
            match action {
                Preempt { ticket } => desk.end(ticket.0),
                Start { ticket } => given.push(ticket.0),
                other => panic!("{other:?}"),
            }
        }
        let Some(at) = desk.dispatch.next_wakeup().filter(|at| *at <= until) else {
            break;
        };
        desk.now = desk.now.max(at);
        desk.tell(DispatchEvent::Tick);
    }
    assert_eq!(given, [20, 30, 40]);
    assert_eq!(desk.actions(), [], "one lane each");
}

/// Where those who gave way ask again for something that goes before whoever has waited, each gift would be theirs again.
#[test]
fn what_is_given_goes_to_the_one_for_whom_it_was_taken_whatever_others_ask_for() {
    let mut desk = Desk::with(DispatchConfig {
        permits: 4,
        reserve: false,
        ..DispatchConfig::default()
    });
    for peer in [1, 2] {
        desk.join(peer, Low);
        desk.want(peer, 0, [10 * peer, 10 * peer + 1]);
    }
    assert_eq!(desk.starts().len(), 4);
    desk.want_as(1, 0, High, [12]);
    desk.join(3, Low);
    desk.want(3, 1, [30]);
    assert_eq!(desk.starts(), []);
    desk.now = desk.now + PATIENCE + LOOK_EVERY;
    desk.tell(DispatchEvent::Tick);
    let (mut started, mut next) = (Vec::new(), 100);
    for _ in 0..100 {
        let Some(action) = desk.dispatch.poll_action(desk.now, &desk.demand) else {
            break;
        };
        match action {
            Preempt { ticket } => {
                let peer = if ticket.0 < 20 { 1 } else { 2 };
                desk.end(ticket.0);
                desk.want_as(peer, 0, High, [next]);
                next += 1;
            }
            Start { ticket } => started.push(ticket.0),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(started, [30], "and nobody else, so nothing goes round");
}

#[test]
fn nobody_gives_who_is_urgent_or_has_only_one() {
    for (priority, permits) in [(High, 4), (Low, 2)] {
        let mut desk = Desk::new(10, permits);
        desk.join(1, priority);
        desk.want(1, 0, 0..10);
        let held = desk.starts().len();
        assert_eq!(held, if priority == High { 4 } else { 1 });
        desk.join(2, Low);
        desk.want(2, 0, [20]);
        assert_eq!(desk.starts(), []);
        pass(&mut desk, 10 * PATIENCE);
        desk.tell(DispatchEvent::Tick);
        assert_eq!(desk.actions(), []);
    }
}
