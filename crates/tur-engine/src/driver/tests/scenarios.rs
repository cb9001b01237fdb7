//! Scenarios in which time matters, each named by its row: stalls, drops, pauses, other widths.
//!
//! Those that need no clock are in `tests/scenarios`, over real sockets.

use std::time::Duration;

use tur_core::{Kind, Rate, RetryAfter};
use tur_testkit::{Behaviour, Deed, When};

use super::stand::{DIR, KIB, MIB, RTT, Ran, Stand, Want, check, job, job_of, origin};
use crate::job::{Destination, Job};
use crate::{Event, Handle, What};

fn lanes(most: u16) -> Job {
    Job {
        lanes_max: most,
        lanes_start: Some(most),
        ..job()
    }
}

/// Where each request begins.
fn starts(stand: &Stand) -> Vec<u64> {
    let seen = stand.transport.seen();
    seen.iter()
        .map(|seen| seen.range.map_or(0, |range| range.start))
        .collect()
}

/// What was told of trouble, in order.
fn told(ran: &Ran) -> Vec<(&'static str, u64)> {
    let trouble = |event: &Event| match event.what {
        What::Stalled {
            lane: Some(lane), ..
        } => Some(("stalled", u64::from(lane))),
        What::Retrying { attempt, .. } => Some(("retrying", u64::from(attempt))),
        What::Resumed { at } => Some(("resumed", at)),
        _ => None,
    };
    ran.events.iter().filter_map(trouble).collect()
}

/// What came for nothing is within the bound: two in a hundred, or what was under way on each connection that closed.
fn assert_waste(stand: &Stand, size: u64) {
    let twice = stand.transport.bytes_sent() - size;
    assert!(twice <= size / 50, "{twice} bytes twice");
}

/// A4: told as a stall, gone on with from where it stalled, in this order.
#[tokio::test(start_paused = true)]
async fn a4_a_stall_is_told_and_resumed_at_its_byte() {
    const SIZE: u64 = 1_024_000;
    let behaviour = Behaviour::new(SIZE).rule(When::Only(1), Deed::StallAfter(64 * KIB));
    let (stand, ran) = check(behaviour, lanes(1), Want::File(0, SIZE)).await;
    assert_eq!(
        told(&ran),
        [("stalled", 0), ("retrying", 1), ("resumed", 65_536)]
    );
    assert_eq!(starts(&stand), [0, 65_536]);
    assert_eq!(stand.transport.bytes_sent(), SIZE, "no byte twice");
}

/// A4, in company: the lane that brings nothing is not waited for, what it brought is kept, and it is its own byte that
/// is told to come again.
#[tokio::test(start_paused = true)]
async fn a4_a_stall_of_the_second_lane_holds_nobody_up() {
    const SIZE: u64 = 8 * MIB;
    const STALL: u64 = SIZE / 2 + 64 * KIB;
    let behaviour = origin(SIZE)
        .pace(Rate::per_second(MIB))
        .rule(When::Only(2), Deed::StallAfter(64 * KIB));
    let (stand, ran) = check(behaviour, lanes(2), Want::File(0, SIZE)).await;
    assert_eq!(told(&ran), [("stalled", 1), ("resumed", STALL)]);
    assert_eq!(starts(&stand)[..3], [0, SIZE / 2, STALL]);
    assert!(
        ran.elapsed() < Duration::from_secs(10),
        "{:?}",
        ran.elapsed()
    );
    assert_waste(&stand, SIZE);
}

/// A6: what is lost again and again comes in the end, as long as each attempt brings something.
#[tokio::test(start_paused = true)]
async fn a6_twenty_drops_with_progress_between_them_are_survived() {
    let behaviour = Behaviour::new(21 * MIB).rule(When::Always, Deed::CutAfter(MIB));
    let (stand, ran) = check(behaviour, lanes(1), Want::File(0, 21 * MIB)).await;
    let meant: Vec<_> = (0..21).map(|n| n * MIB).collect();
    assert_eq!(starts(&stand), meant);
    assert_eq!(stand.transport.bytes_sent(), 21 * MIB, "no byte twice");
    let attempts: Vec<_> = ran
        .events
        .iter()
        .filter_map(|event| match event.what {
            What::Retrying { attempt, .. } => Some(attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1; 20], "the budget is whole after each progress");
}

/// A6, to the limit: five attempts after the last progress, and not one more.
#[tokio::test(start_paused = true)]
async fn a6_the_budget_is_five_between_two_bytes_of_progress() {
    const SIZE: u64 = 3 * MIB;
    let drops = |empty: u64| {
        let nothing = When::After(1).and(When::First(1 + empty));
        Behaviour::new(SIZE)
            .rule(When::Always, Deed::CutAfter(MIB))
            .rule(nothing, Deed::Hangup)
    };
    let (stand, _) = check(drops(4), lanes(1), Want::File(0, SIZE)).await;
    let first = [0, MIB, MIB, MIB, MIB, MIB];
    assert_eq!(starts(&stand)[..6], first);
    assert_eq!(starts(&stand)[6..], [2 * MIB]);
    let (stand, _) = check(drops(5), lanes(1), Want::Part(Kind::Network)).await;
    assert_eq!(starts(&stand), first);
}

const WIDE: u64 = 16 * MIB;

/// Eight lanes of 1 MiB/s, in full work, a quarter done.
async fn eight_lanes() -> (Stand, Handle) {
    let mut stand = Stand::new(origin(WIDE).pace(Rate::per_second(MIB)));
    let handle = stand.start(lanes(8));
    stand.transport.bytes_reach(WIDE / 4).await;
    assert_eq!((handle.progress().lanes, stand.transport.sockets()), (8, 8));
    (stand, handle)
}

/// Lets the driver take its turns, and next to no time pass.
async fn a_moment(stand: &Stand) {
    stand.pass(Duration::from_millis(1)).await;
}

/// How fast bytes come now, in bytes per second.
async fn flow(stand: &Stand) -> u64 {
    let before = stand.transport.bytes_sent();
    stand.pass(Duration::from_millis(500)).await;
    2 * (stand.transport.bytes_sent() - before)
}

/// F3: the lanes beyond the new ceiling are closed before any time passes, and no other takes their place.
#[tokio::test(start_paused = true)]
async fn f3_fewer_lanes_are_in_force_within_one_decision() {
    let (mut stand, handle) = eight_lanes().await;
    handle.set_lanes(1..=2);
    a_moment(&stand).await;
    assert_eq!(stand.transport.sockets(), 2);
    let rate = flow(&stand).await;
    assert!(rate <= 2 * MIB + 64 * KIB, "{rate} B/s");
    assert_eq!((handle.progress().lanes, stand.transport.sockets()), (2, 2));
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, WIDE));
    assert_waste(&stand, WIDE);
}

/// F3, and up again: the connections are asked for before any time passes.
#[tokio::test(start_paused = true)]
async fn f3_more_lanes_again_are_asked_for_at_once() {
    let (mut stand, handle) = eight_lanes().await;
    handle.set_lanes(1..=2);
    a_moment(&stand).await;
    let connections = stand.transport.connections();
    handle.set_lanes(6..=8);
    a_moment(&stand).await;
    assert!(stand.transport.connections() >= connections + 4);
    stand.pass(10 * RTT).await;
    let rate = flow(&stand).await;
    assert!(rate >= 6 * MIB - 64 * KIB, "{rate} B/s");
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, WIDE));
    assert_waste(&stand, WIDE);
}

/// F3, at odd moments: before the first answer, and during a pause.
#[tokio::test(start_paused = true)]
async fn f3_bounds_that_are_set_while_nothing_runs_hold_from_the_first_byte() {
    let paced = origin(WIDE / 2).pace(Rate::per_second(MIB));
    let slow = Deed::FirstByte(Duration::from_secs(1));
    let mut stand = Stand::new(paced.rule(When::Only(1), slow));
    let handle = stand.start(lanes(8));
    stand.pass(Duration::from_millis(500)).await;
    handle.set_lanes(1..=2);
    stand.transport.bytes_reach(MIB).await;
    assert_eq!(stand.transport.sockets_peak(), 2);
    handle.pause();
    a_moment(&stand).await;
    handle.set_lanes(3..=3);
    a_moment(&stand).await;
    handle.resume();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, WIDE / 2));
    assert_eq!(ran.done().lanes_max, 3);
    assert_waste(&stand, WIDE / 2);
}

/// What was decided about how many lanes work, from a moment on.
fn widths(ran: &Ran, from: Duration) -> Vec<&str> {
    let late = ran.events.iter().filter(|event| event.t >= from);
    let width = |text: &&str| text.contains("may work") || text.contains("trying");
    late.filter_map(|event| match &event.what {
        What::Decision(text) => Some(text.as_str()).filter(width),
        _ => None,
    })
    .collect()
}

/// F4: the width was searched for once. After the pause all lanes are back in one step, and ask for what is missing.
#[tokio::test(start_paused = true)]
async fn f4_a_pause_of_a_minute_costs_no_width_and_no_byte() {
    let mut stand = Stand::new(origin(WIDE).pace(Rate::per_second(MIB)));
    let handle = stand.start(Job {
        lanes_start: None,
        ..lanes(8)
    });
    stand.transport.bytes_reach(WIDE / 4).await;
    assert_eq!(stand.transport.sockets(), 8, "it has found them");
    handle.pause();
    a_moment(&stand).await;
    let sent = stand.transport.bytes_sent();
    stand.pass_and_expire(60).await;
    assert_eq!(stand.transport.bytes_sent(), sent);
    let (requests, connections) = (stand.transport.requests(), stand.transport.connections());
    handle.resume();
    // One round trip to connect, one to be answered.
    stand.pass(3 * RTT).await;
    assert_eq!(stand.transport.requests(), requests + 8);
    // A body that is given up closes its connection (RFC 9112, section 9.3): those eight are made anew, and no more.
    assert_eq!(stand.transport.connections(), connections + 8);
    let rate = flow(&stand).await;
    assert!(rate >= 8 * MIB - 256 * KIB, "{rate} B/s");
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, WIDE));
    assert_waste(&stand, WIDE);
    let late = Duration::from_secs(60);
    assert_eq!(widths(&ran, late), [""; 0], "it was searched for once");
    assert_eq!(told(&ran), [], "a pause is no failure");
}

/// F4: a connection that carries nothing when the pause begins outlives it, unless the origin has closed it.
#[tokio::test(start_paused = true)]
async fn f4_a_warm_connection_is_used_again_after_a_pause() {
    let later = Deed::Status {
        status: 503,
        retry_after: Some(RetryAfter::Delay(Duration::from_secs(5))),
    };
    for (secs, connections) in [(10, 1), (60, 1), (200, 2)] {
        let mut stand = Stand::new(Behaviour::new(MIB).rule(When::Only(1), later.clone()));
        let handle = stand.start(lanes(1));
        stand.pass(Duration::from_secs(1)).await;
        handle.pause();
        stand.pass_and_expire(secs).await;
        handle.resume();
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, MIB));
        assert_eq!(stand.transport.connections(), connections, "{secs} s");
        assert_eq!(stand.transport.requests(), 2);
    }
}

/// F4, before the first answer: asked once more, and nothing is a failure.
#[tokio::test(start_paused = true)]
async fn f4_a_pause_before_the_first_answer_asks_once_more() {
    let mut stand = Stand::new(origin(MIB).first_byte(Duration::from_secs(2)));
    let handle = stand.start(lanes(1));
    stand.pass(Duration::from_secs(1)).await;
    handle.pause();
    stand.pass_and_expire(60).await;
    assert_eq!(
        (stand.transport.requests(), stand.transport.bytes_sent()),
        (1, 0)
    );
    handle.resume();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, MIB));
    assert_eq!((starts(&stand), told(&ran)), (vec![0, 0], vec![]));
    assert_eq!(stand.transport.bytes_sent(), MIB);
}

/// F4, beside another download: that one gets the lanes of the one that is paused, and gives them back after it.
#[tokio::test(start_paused = true)]
async fn f4_what_is_paused_leaves_its_lanes_to_others() {
    let paced = || origin(WIDE).pace(Rate::per_second(MIB));
    let mut stand = Stand::with([("/a", paced()), ("/b", paced())]);
    let handles = ["a", "b"].map(|name| {
        stand.start(Job {
            destination: Destination::Directory(DIR.into()),
            lanes_max: 8,
            lanes_start: Some(8),
            ..job_of(&format!("http://origin.test/{name}"))
        })
    });
    let lanes = || handles.each_ref().map(|handle| handle.progress().lanes);
    stand.pass_and_expire(1).await;
    assert_eq!(lanes(), [4, 4]);
    handles[0].pause();
    stand.pass_and_expire(1).await;
    assert!(lanes()[0] == 0 && lanes()[1] > 4, "{:?}", lanes());
    handles[0].resume();
    stand.pass(Duration::from_millis(500)).await;
    assert_eq!(lanes(), [4, 4]);
    for mut handle in handles {
        handle.wait().await.expect("it succeeds");
    }
    stand.settle().await;
    for name in ["a", "b"] {
        stand.assert_file(name, 0, WIDE);
    }
}
