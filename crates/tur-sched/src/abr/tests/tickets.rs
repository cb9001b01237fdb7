//! Tickets: which commit changes something, which does not, and when what is pending is given up.

use std::format;
use std::string::String;

use super::*;

/// A controller with a pending switch from 1 up to 2.
fn going_up() -> (Abr, Ticket) {
    let mut abr = playing(1);
    drain(&mut abr, at(30), ahead(20));
    drain(&mut abr, at(30), estimate(780));
    assert_eq!(intent(&abr), Ok((2, Why::Up)));
    let ticket = abr.pending().expect("a ticket");
    (abr, ticket)
}

fn assert_stale(abr: &mut Abr, now: Timestamp, ticket: Ticket) {
    let (before, valid) = (abr.current(), abr.pending());
    assert_eq!(abr.commit(now, ticket), Commit::Stale { valid });
    assert_eq!((abr.current(), abr.pending()), (before, valid));
}

#[test]
fn a_ticket_is_good_for_one_commit() {
    let (mut abr, ticket) = going_up();
    let committed = Commit::Committed {
        from: id(1),
        to: id(2),
        why: Why::Up,
    };
    assert_eq!(abr.commit(at(33), ticket), committed);
    assert_eq!(abr.current(), Some(id(2)));
    assert_stale(&mut abr, at(34), ticket);
}

#[test]
fn what_is_no_longer_right_is_retracted_and_cannot_commit() {
    for (event, skip) in [
        (estimate(599), Skip::Optimal),
        (AbrEvent::Estimate(None), Skip::NoEstimate),
        (AbrEvent::Locked(true), Skip::Locked),
        (AbrEvent::Cap(Some(kilo(399))), Skip::Optimal),
        (AbrEvent::Mode(Mode::Manual(id(1))), Skip::Chosen),
        (AbrEvent::Variants(ladder(2)), Skip::Optimal),
    ] {
        let (mut abr, ticket) = going_up();
        let actions = drain(&mut abr, at(31), event.clone());
        assert_eq!(actions[0], AbrAction::Retract { ticket }, "{event:?}");
        assert_eq!(intent(&abr), Err(skip), "{event:?}");
        assert_stale(&mut abr, at(32), ticket);
    }
}

#[test]
fn a_ticket_for_the_same_variant_is_another_one() {
    let (mut abr, first) = going_up();
    drain(&mut abr, at(31), estimate(10));
    drain(&mut abr, at(32), estimate(780));
    assert_eq!(intent(&abr), Ok((2, Why::Up)));
    assert_stale(&mut abr, at(33), first);
    commit_pending(&mut abr, at(33));
    assert_eq!(abr.current(), Some(id(2)));
}

#[test]
fn a_seek_between_does_not_revive_a_ticket() {
    let (mut abr, ticket) = going_up();
    drain(&mut abr, at(31), AbrEvent::Locked(true));
    assert_stale(&mut abr, at(31), ticket);
    drain(&mut abr, at(32), AbrEvent::Locked(false));
    assert_eq!(intent(&abr), Ok((2, Why::Up)));
    assert_stale(&mut abr, at(32), ticket);
}

#[test]
fn a_ticket_of_another_session_does_not_fit() {
    let (mut abr, ticket) = going_up();
    let other = Ticket {
        session: 6,
        ..ticket
    };
    assert_stale(&mut abr, at(31), other);
    commit_pending(&mut abr, at(31));
}

#[test]
fn an_estimate_that_trembles_keeps_the_ticket() {
    let (mut abr, ticket) = going_up();
    for kilobytes in [780, 600, 779, 1_000, 601] {
        drain(&mut abr, at(31), estimate(kilobytes));
        assert_eq!(abr.pending(), Some(ticket), "{kilobytes}");
    }
    drain(&mut abr, at(31), ahead(9));
    assert_eq!(abr.pending(), Some(ticket), "less is ahead than at first");
    // The same way and farther: another ticket, once.
    let actions = drain(&mut abr, at(32), estimate(1_560));
    assert_eq!(actions, [], "too little is ahead for a new decision");
    let actions = drain(&mut abr, at(32), ahead(10));
    assert_eq!(actions[0], AbrAction::Retract { ticket });
    assert_eq!(intent(&abr), Ok((3, Why::Up)));
    let higher = abr.pending();
    drain(&mut abr, at(33), estimate(1_200));
    assert_eq!(abr.pending(), higher, "it bears the highest still");
    drain(&mut abr, at(33), estimate(1_199));
    assert_eq!(intent(&abr), Ok((2, Why::Up)));
}

#[test]
fn an_escape_under_way_is_not_bettered() {
    let mut abr = playing(1);
    drain(&mut abr, at(2), undelivered(1));
    let ticket = abr.pending();
    drain(&mut abr, at(3), estimate(10_000));
    assert_eq!(
        (intent(&abr), abr.pending()),
        (Ok((0, Why::Escape)), ticket)
    );
}

#[test]
fn on_the_way_down_the_lower_target_is_kept() {
    let mut abr = playing(3);
    drain(&mut abr, at(30), ahead(20));
    drain(&mut abr, at(30), estimate(599));
    assert_eq!(intent(&abr), Ok((1, Why::Down)));
    let ticket = abr.pending();
    drain(&mut abr, at(31), estimate(700));
    assert_eq!(abr.pending(), ticket);
    drain(&mut abr, at(31), estimate(200));
    assert_eq!(intent(&abr), Ok((0, Why::Down)));
    drain(&mut abr, at(31), estimate(1_200));
    assert_eq!(intent(&abr), Err(Skip::Optimal));
}

#[test]
fn under_a_cap_too_the_lower_target_is_kept() {
    let mut abr = playing(3);
    drain(&mut abr, at(1), AbrEvent::Cap(Some(kilo(500))));
    assert_eq!(intent(&abr), Ok((2, Why::Cap)));
    drain(&mut abr, at(1), estimate(599));
    assert_eq!(intent(&abr), Ok((1, Why::Cap)));
    let ticket = abr.pending();
    drain(&mut abr, at(1), estimate(600));
    assert_eq!(abr.pending(), ticket);
    drain(&mut abr, at(1), AbrEvent::Cap(None));
    assert_eq!(intent(&abr), Err(Skip::TooSoon(at(30))));
}

#[test]
fn a_reason_is_told_when_it_changes_and_not_each_time() {
    let mut abr = playing(0);
    let told = |abr: &mut Abr, event| drain(abr, at(40), event);
    assert_eq!(
        told(&mut abr, estimate(100)),
        [AbrAction::Note(Skip::Optimal)]
    );
    assert_eq!(told(&mut abr, estimate(101)), []);
    assert_eq!(told(&mut abr, ahead(1)), []);
    assert_eq!(
        told(&mut abr, estimate(780)),
        [AbrAction::Note(Skip::ShortAhead)]
    );
}

/// A session as one would write it down: events, and what follows from each.
#[test]
fn a_session_is_the_same_each_time() {
    let script = [
        (0, AbrEvent::Variants(ladder(1))),
        (1, estimate(900)),
        (4, ahead(12)),
        (30, AbrEvent::Tick),
        (50, estimate(400)),
        (51, ahead(4)),
        (60, undelivered(1)),
        (95, estimate(900)),
        (96, ahead(20)),
        (97, AbrEvent::Locked(true)),
        (98, AbrEvent::Locked(false)),
        (99, AbrEvent::Cap(Some(kilo(150)))),
    ];
    let run = || {
        let mut abr = Abr::new(AbrConfig::default(), 1, at(0));
        let mut lines: Vec<String> = Vec::new();
        for (now, event) in script.clone() {
            for action in drain(&mut abr, at(now), event) {
                lines.push(match action {
                    AbrAction::Switch {
                        ticket, to, why, ..
                    } => {
                        format!("{now}: {to} because {why} ({ticket})")
                    }
                    AbrAction::Retract { ticket } => format!("{now}: {ticket} is void"),
                    AbrAction::Note(skip) => format!("{now}: {skip}"),
                });
            }
            // The boundary comes a second later.
            if let Some(ticket) = abr.pending().filter(|_| now != 96) {
                assert!(matches!(
                    abr.commit(at(now + 1), ticket),
                    Commit::Committed { .. }
                ));
                while abr.poll_action().is_some() {}
            }
        }
        lines
    };
    assert_eq!(run(), run());
    assert_eq!(
        run(),
        [
            "0: the bandwidth is not known",
            "1: the last switch was a moment ago",
            "30: variant 2 because there is bandwidth for more (ticket 1.0)",
            "50: the last switch was a moment ago",
            "51: variant 1 because there is not bandwidth enough, and little left to play (ticket 1.1)",
            "60: variant 0 because it does not deliver (ticket 1.2)",
            "95: too little is ahead of the reader to go up",
            "96: variant 2 because there is bandwidth for more (ticket 1.3)",
            "97: ticket 1.3 is void",
            "97: a seek is under way",
            "98: variant 2 because there is bandwidth for more (ticket 1.4)",
            "99: variant 0 because it is above the cap (ticket 1.5)",
        ]
    );
}
