//! Caps of process, origin and peer: what they let start, and what happens when they change.

use super::*;

#[test]
fn caps_hold_and_an_origin_at_its_cap_holds_up_nobody_else() {
    let mut desk = Desk::new(10, 2);
    desk.join_with(1, High, None);
    desk.join_with(2, High, Some(1));
    desk.want(1, 0, [1, 2, 3]);
    desk.want(1, 1, [4]);
    desk.want(2, 2, [5, 6]);
    assert_eq!(desk.starts(), [1, 5, 2, 4]);
    assert_eq!((desk.dispatch.running(), desk.dispatch.queued()), (4, 2));
    assert_eq!(desk.dispatch.running_at(&0), 2);
    desk.end(4);
    assert_eq!(desk.starts(), []);
    desk.end(1);
    assert_eq!(desk.starts(), [3]);
    desk.end(5);
    assert_eq!(desk.starts(), [6]);
    // One that moves takes its permit with it, and opens the door behind it.
    desk.want(1, 0, [7]);
    assert_eq!(desk.starts(), []);
    desk.tell(DispatchEvent::Moved {
        ticket: TicketId(2),
        origin: 2,
    });
    assert_eq!(desk.starts(), [7]);
    desk.want(1, 2, [8]);
    assert_eq!(desk.starts(), []);
}

#[test]
fn fewer_permits_stop_nobody_and_start_nobody() {
    let mut desk = Desk::new(4, 32);
    desk.join(1, High);
    desk.want(1, 0, 0..6);
    assert_eq!(desk.starts(), [0, 1, 2, 3]);
    desk.tell(DispatchEvent::Permits(2));
    for ticket in 0..2 {
        desk.end(ticket);
        assert_eq!(desk.starts(), []);
    }
    desk.end(2);
    assert_eq!(desk.starts(), [4]);
    desk.tell(DispatchEvent::Permits(4));
    desk.tell(DispatchEvent::PerOrigin(2));
    assert_eq!(desk.starts(), []);
    desk.tell(DispatchEvent::PerOrigin(0));
    desk.end(3);
    desk.end(4);
    assert_eq!(desk.starts(), [5], "none at all would be for ever");
}

/// Where a connection runs many requests, more of them may go than elsewhere.
#[test]
fn an_origin_may_have_a_cap_of_its_own() {
    let mut desk = Desk::new(9, 2);
    desk.join(1, High);
    let at = |permits| DispatchEvent::At { origin: 0, permits };
    // Said before anybody asks for it, and kept while nobody does.
    desk.tell(at(Some(4)));
    desk.want(1, 0, 0..1);
    assert_eq!(desk.starts(), [0]);
    desk.end(0);
    desk.want(1, 0, 1..6);
    desk.want(1, 1, 10..13);
    assert_eq!(desk.starts(), [1, 2, 3, 4, 10, 11]);
    desk.tell(at(Some(5)));
    assert_eq!(desk.starts(), [5]);
    desk.tell(at(None));
    desk.want(1, 0, 20..21);
    for ticket in 1..4 {
        desk.end(ticket);
        assert_eq!(desk.starts(), []);
    }
    desk.end(4);
    assert_eq!(desk.starts(), [20]);
}
