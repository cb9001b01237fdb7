//! A part of a file instead of the whole: what is asked for, when it is over, and what becomes of origins without ranges.

use std::time::Duration;
use std::vec::Vec;

use proptest::prelude::*;
use tur_core::{Ask, ByteRange, Fault, Identity, Kind, RangeSet, Refusal};

use super::super::*;
use super::world::*;
use crate::Ended;

/// None, or any span of a file of some 2.5 MiB, behind its end and empty ones among them.
pub(super) fn any_span() -> impl Strategy<Value = Option<ByteRange>> {
    let start = prop_oneof![Just(0), 0..2_700 * KIB];
    let len = prop_oneof![Just(0), Just(u64::MAX), 0..2_700 * KIB];
    let span =
        (start, len).prop_map(|(start, len)| ByteRange::new(start, start.saturating_add(len)));
    proptest::option::of(span)
}

fn of(start: u64, end: u64, total: u64) -> World {
    let config = TransferConfig {
        span: Some(ByteRange::new(start, end)),
        given_away: true,
        ..config(1)
    };
    World::new(config, total)
}

/// Waits out pauses until a request runs.
fn ask(world: &mut World) -> (LeaseId, Ask) {
    while world.running.is_empty() {
        world.grant_all();
        if world.running.is_empty() {
            assert!(world.jump(), "a request pends");
        }
    }
    let lease = world.first();
    (lease, world.running[&lease].order.ask)
}

fn ignored() -> Fault {
    Fault::NotAdmitted(Refusal::RangeIgnored { if_range: false })
}

fn failure(world: &World) -> &Failure {
    let end = world.end.as_ref().expect("an end");
    end.as_ref().expect_err("a failure")
}

/// An answer with the whole, of which `end` bytes are told if any are.
pub(super) fn whole(world: &mut World, lease: LeaseId, total: Option<u64>, body_end: u64) {
    let run = world.running.get_mut(&lease).expect("runs");
    run.body_end = Some(body_end);
    let identity = Identity {
        total,
        ..identity(0)
    };
    world.tell(Event::Opened {
        lease,
        place: identity.extent(),
        identity,
        partial: false,
    });
}

#[test]
fn a_span_is_asked_for_and_nothing_else() {
    for (start, end, total, there) in [
        (100, 200, 1_000, 100),
        (0, 200, 1_000, 200),
        (100, 200, 150, 50),
        (999, 1_000, 1_000, 1),
        (100, ByteRange::OPEN, 1_000, 900),
        (0, 200, 0, 0),
    ] {
        let span = ByteRange::new(start, end);
        let mut world = of(start, end, total);
        let (_, asked) = ask(&mut world);
        assert_eq!(asked, Ask::Range(span));
        world.finish();
        world.assert_span(span);
        assert!(world.end.as_ref().is_some_and(Result::is_ok));
        assert_eq!(world.requests, 1, "{span} of {total}");
        assert_eq!(world.written.len(), there);
        assert_eq!(world.transfer.next_wakeup(), None);
    }
}

#[test]
fn a_span_that_broke_off_is_gone_on_with_from_there() {
    let span = ByteRange::new(100 * KIB, 900 * KIB);
    let mut world = of(span.start, span.end, 1_000 * KIB);
    let (lease, _) = ask(&mut world);
    world.open(lease);
    world.flow(lease, 300 * KIB);
    world.break_off(lease, Fault::Truncated("cut".into()));
    let (lease, asked) = ask(&mut world);
    assert_eq!(asked, Ask::Range(ByteRange::new(400 * KIB, 900 * KIB)));
    assert!(world.running[&lease].order.if_range);
    world.finish();
    world.assert_span(span);
    assert_eq!(world.requests, 2);
}

#[test]
fn a_span_behind_the_end_is_what_the_origin_says_to_it() {
    for (start, total) in [(150, 150), (151, 150), (1, 0), (u64::MAX - 5, 150)] {
        let mut world = of(start, start + 5, total);
        world.finish();
        let failure = failure(&world);
        assert_eq!(failure.kind, Kind::Server);
        assert!(failure.message.starts_with("416 "), "{failure}");
        assert!(world.requests <= 2, "{} requests", world.requests);
    }
}

#[test]
fn an_empty_span_needs_nobody() {
    for start in [0, 7, u64::MAX] {
        let world = of(start, start, 5);
        assert_eq!(world.end, Some(Ok(start)));
        assert_eq!(world.requests, 0);
        assert!(world.wanting.is_empty());
    }
}

#[test]
fn the_whole_is_read_up_to_the_end_of_a_span_from_zero() {
    // A length that is told, and one that is not, in steps and at once.
    for total in [Some(10_000 * KIB), None] {
        for step in [100 * KIB, 20_000 * KIB] {
            let mut world = of(0, 500 * KIB, 10_000 * KIB);
            let (lease, _) = ask(&mut world);
            whole(&mut world, lease, total, 10_000 * KIB);
            while world.running.contains_key(&lease) {
                world.flow(lease, step);
            }
            assert_eq!(world.end, Some(Ok(total.unwrap_or(500 * KIB))));
            assert_eq!(world.written.len(), 500 * KIB);
            assert_eq!(world.requests, 1);
        }
    }
}

#[test]
fn a_body_that_ended_with_more_than_was_wanted_is_no_failure() {
    for total in [Some(150), None] {
        let mut world = of(0, 100, 150);
        let (lease, _) = ask(&mut world);
        whole(&mut world, lease, total, 150);
        world.running.remove(&lease);
        world.written.insert(ByteRange::new(0, 100));
        world.tell(Event::Ended {
            lease,
            at: 100,
            how: Ended::Clean,
            session: true,
        });
        assert_eq!(world.end, Some(Ok(total.unwrap_or(100))));
        let retried = |note: &Decision| matches!(note, Decision::Retrying { .. });
        assert!(!world.notes.iter().any(retried));
    }
}

#[test]
fn an_unknown_length_ends_a_span_too() {
    let mut world = of(0, 500, 100);
    let (lease, _) = ask(&mut world);
    whole(&mut world, lease, None, 100);
    world.flow(lease, 100);
    assert_eq!(world.end, Some(Ok(100)));
    // It may end before the span begins.
    let mut world = of(300, 500, 100);
    let (lease, _) = ask(&mut world);
    world.refuse(lease, ignored());
    let (lease, asked) = ask(&mut world);
    assert_eq!(asked, Ask::Whole);
    whole(&mut world, lease, None, 100);
    world.flow(lease, 100);
    assert_eq!(failure(&world).kind, Kind::Server);
}

#[test]
fn without_ranges_a_little_before_the_span_is_read_in_vain() {
    let span = ByteRange::new(LEAD_MAX, LEAD_MAX + 10 * KIB);
    let total = 10 * LEAD_MAX;
    let mut world = of(span.start, span.end, total);
    let (lease, _) = ask(&mut world);
    world.refuse(lease, ignored());
    let (lease, asked) = ask(&mut world);
    assert_eq!(asked, Ask::Whole);
    assert_eq!(
        world.running[&lease].order.grant,
        ByteRange::new(0, span.end)
    );
    world.finish();
    world.assert_span(span);
    assert_eq!(world.end, Some(Ok(total)));
    assert_eq!(
        world.written,
        [ByteRange::new(0, span.end)]
            .into_iter()
            .collect::<RangeSet>()
    );
    assert_eq!(world.requests, 2);
}

#[test]
fn without_ranges_much_before_the_span_is_a_failure() {
    let start = LEAD_MAX + 1;
    let mut world = of(start, start + 10, 10 * LEAD_MAX);
    let (lease, _) = ask(&mut world);
    world.refuse(lease, ignored());
    let failure = failure(&world);
    assert_eq!(failure.kind, Kind::Protocol);
    assert!(
        failure.message.contains("1048577 bytes lie before"),
        "{failure}"
    );
    assert_eq!(world.requests, 1);
}

#[test]
fn a_change_restarts_until_something_was_given_away() {
    let mut world = of(100, 1_000 * KIB, 2_000 * KIB);
    let (lease, _) = ask(&mut world);
    world.open(lease);
    world.break_off(lease, Fault::Lost("reset".into()));
    let (lease, _) = ask(&mut world);
    world.refuse(lease, Fault::NotAdmitted(Refusal::Changed("ETag".into())));
    assert!(world.end.is_none(), "nobody has anything of the old one");
    let (lease, asked) = ask(&mut world);
    assert_eq!(asked, Ask::Range(ByteRange::new(100, 1_000 * KIB)));
    world.open(lease);
    world.flow(lease, KIB);
    world.break_off(lease, Fault::Lost("reset".into()));
    let (lease, _) = ask(&mut world);
    world.refuse(lease, Fault::NotAdmitted(Refusal::Changed("ETag".into())));
    assert_eq!(failure(&world).kind, Kind::Changed);
    assert!(!failure(&world).keep);
}

#[test]
fn what_was_given_away_is_not_joined_with_what_nothing_identifies() {
    // A body of unknown length and without validators breaks off: before anything was given away it is asked for again.
    for (given, want) in [(0, None), (10, Some(Kind::NotResumable))] {
        let mut world = of(0, 500, 1_000);
        let (lease, _) = ask(&mut world);
        world.running.get_mut(&lease).expect("runs").body_end = Some(1_000);
        world.tell(Event::Opened {
            lease,
            place: ByteRange::from(0),
            identity: Identity::default(),
            partial: false,
        });
        if given > 0 {
            world.flow(lease, given);
        }
        world.break_off(lease, Fault::Lost("reset".into()));
        for _ in 0..10 {
            world.grant_all();
            if world.end.is_some() || !world.running.is_empty() || !world.jump() {
                break;
            }
        }
        let kind = world.end.as_ref().map(|_| failure(&world).kind);
        assert_eq!(kind, want);
    }
}

#[test]
fn what_is_given_away_goes_in_order_whatever_the_ceiling() {
    let config = TransferConfig {
        given_away: true,
        ..config(4)
    };
    let mut world = World::new(config, 40_000 * KIB);
    world.grant_all();
    let lease = world.first();
    world.open(lease);
    for event in [Event::Ceiling(8), Event::Width(8)] {
        world.tell(event);
        world.flow(lease, 1_000 * KIB);
        world.grant_all();
        assert_eq!(world.running.len(), 1);
    }
    world.finish();
    world.assert_whole();
    assert_eq!(world.requests, 1);
}

#[test]
fn lanes_share_a_span_and_stay_inside() {
    let span = ByteRange::new(1_000_001, 30_000_007);
    let config = TransferConfig {
        span: Some(span),
        ..config(4)
    };
    let mut world = World::new(config, 40_000_000);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.grant_all();
    let asked: Vec<_> = world.running.values().map(|run| run.order.grant).collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    // What a reader wants outside of the span disturbs nobody.
    world.tell(Event::Demand(ByteRange::new(0, 10)));
    world.tell(Event::Demand(ByteRange::new(35_000_000, 35_000_010)));
    world.now = world.now + Duration::from_millis(5);
    assert_eq!(world.running.len(), 4);
    world.finish();
    world.assert_span(span);
    assert_eq!(world.written, [span].into_iter().collect::<RangeSet>());
}
