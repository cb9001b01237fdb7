//! A network that goes away and comes back, and origins that ask to wait.

use std::time::Duration;

use tur_core::{Fault, RetryAfter, Timestamp};

use super::world::*;
use crate::transfer::{Event, TransferConfig};
use crate::{Decision, RetryPolicy};

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn offline() -> Fault {
    Fault::Offline {
        host: "origin:80".into(),
        detail: "network unreachable".into(),
    }
}

/// Denies whatever is wanted, once; says how many lanes that was.
fn deny(world: &mut World, fault: &Fault) -> usize {
    let wanting = core::mem::take(&mut world.wanting);
    for lane in &wanting {
        world.sessions.remove(lane);
        world.tell(Event::Denied {
            lane: *lane,
            fault: fault.clone(),
        });
    }
    wanting.len()
}

/// Some bytes have come, and every connection has broken.
fn broken(config: TransferConfig) -> World {
    let mut world = World::new(config, 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.flow(first, 100 * KIB);
    world.grant_all();
    while let Some(lease) = world.running.keys().next().copied() {
        world.break_off(lease, Fault::Lost("reset".into()));
    }
    world
}

fn count(world: &World, is: impl Fn(&Decision) -> bool) -> usize {
    world.notes.iter().filter(|note| is(note)).count()
}

fn aways(world: &World) -> usize {
    count(world, |note| matches!(note, Decision::Away { .. }))
}

fn backs(world: &World) -> usize {
    count(world, |note| *note == Decision::Back)
}

#[test]
fn a_refused_stream_is_asked_for_again_at_once_and_then_with_patience() {
    let mut world = World::new(config(1), 4096 * KIB);
    for nth in 0..4 {
        world.grant_all();
        let lease = world.first();
        world.break_off(lease, Fault::StreamRefused("REFUSED_STREAM".into()));
        let waits: std::vec::Vec<Duration> = world
            .notes
            .iter()
            .filter_map(|note| match note {
                Decision::Retrying { after, .. } => Some(*after),
                _ => None,
            })
            .collect();
        assert_eq!(waits.len(), nth + 1, "each uses up an attempt");
        assert_eq!(waits[nth].is_zero(), nth == 0, "{waits:?}");
        while world.wanting.is_empty() {
            assert!(world.jump(), "a try pends");
        }
    }
    assert!(world.end.is_none(), "{:?}", world.end);
}

#[test]
fn an_outage_of_many_minutes_costs_no_attempt_and_one_lane_waits_for_all() {
    for lanes in [1, 4] {
        let mut world = broken(config(lanes));
        let mut tries = 0;
        while world.now < Timestamp::ZERO + HOUR / 2 {
            assert!(world.wanting.len() <= 1, "one lane tries for all");
            tries += deny(&mut world, &offline());
            assert!(world.end.is_none(), "{:?}", world.end);
            assert!(world.jump(), "a try pends");
        }
        assert!((60..=140).contains(&tries), "{tries} tries in 30 min");
        let lost = |note: &Decision| matches!(note, Decision::Retrying { .. });
        assert_eq!(
            count(&world, lost),
            usize::from(lanes),
            "only the break counts"
        );
        assert_eq!((aways(&world), backs(&world)), (1, 0));
        world.finish();
        world.assert_whole();
        assert_eq!((aways(&world), backs(&world)), (1, 1));
    }
}

#[test]
fn attempts_are_counted_again_once_the_network_is_back() {
    let mut world = broken(config(1));
    for _ in 0..20 {
        deny(&mut world, &offline());
        assert!(world.jump());
    }
    let refused = Fault::Connect {
        host: "o".into(),
        detail: "refused".into(),
    };
    let mut tries = 0;
    while world.end.is_none() {
        tries += deny(&mut world, &refused);
        assert!(world.end.is_some() || world.jump());
    }
    assert_eq!(tries, 5, "the break was the first of six");
}

#[test]
fn the_network_is_not_waited_for_for_ever() {
    let mut world = broken(config(2));
    while world.end.is_none() {
        deny(&mut world, &offline());
        assert!(world.end.is_some() || world.jump());
    }
    let failure = world.end.expect("ended").expect_err("nothing came");
    assert!(world.now >= Timestamp::ZERO + HOUR);
    assert!(world.now < Timestamp::ZERO + HOUR + Duration::from_secs(60));
    assert_eq!(failure.kind, tur_core::Kind::Network);
    assert!(failure.keep);
    assert!(failure.message.contains("waited 36"), "{}", failure.message);
}

#[test]
fn a_limit_of_the_whole_holds_while_the_network_is_away_and_a_minimum_speed_does_not() {
    let mut config = config(1);
    config.waits.total = Some(Duration::from_secs(600));
    config.speed_floor = Some(crate::SpeedFloor {
        rate: tur_core::Rate::per_second(1_000),
        over: Duration::from_secs(5),
    });
    let mut world = broken(config);
    while world.end.is_none() {
        deny(&mut world, &offline());
        assert!(world.end.is_some() || world.jump());
    }
    assert_eq!(world.now, Timestamp::ZERO + Duration::from_secs(600));
    let failure = world.end.expect("ended").expect_err("too late");
    assert!(failure.message.contains("600 s"), "{}", failure.message);
}

#[test]
fn at_first_contact_and_without_retries_it_is_an_ordinary_failure() {
    let mut world = World::new(config(4), 4096 * KIB);
    let mut tries = 0;
    while world.end.is_none() {
        tries += deny(&mut world, &offline());
        assert!(world.end.is_some() || world.jump());
    }
    assert_eq!((tries, aways(&world)), (6, 0));

    let mut none = config(2);
    none.retry = RetryPolicy {
        retries: 0,
        ..RetryPolicy::default()
    };
    let mut world = World::new(none, 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.flow(first, 100 * KIB);
    world.break_off(first, Fault::Lost("reset".into()));
    assert!(world.end.expect("ended").is_err());
}

#[test]
fn a_lane_that_finds_no_way_while_others_receive_costs_nothing() {
    let mut world = World::new(config(2), 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    for _ in 0..50 {
        assert_eq!(deny(&mut world, &offline()), 1);
        let before = world.now;
        while world.wanting.is_empty() {
            world.now = world.now + Duration::from_millis(500);
            world.flow(first, KIB);
            world.tell(Event::Tick);
        }
        assert!(world.now.since(before) >= Duration::from_secs(5));
    }
    assert!(
        world
            .notes
            .iter()
            .all(|note| matches!(note, Decision::Planned { .. }))
    );
    world.finish();
    world.assert_whole();
}

#[test]
fn a_wait_that_is_too_long_is_told_at_once_with_every_error_of_the_server() {
    let asked = Duration::from_secs(61);
    for code in [429, 500, 502, 503, 504, 522] {
        let mut world = World::new(config(2), KIB);
        world.grant_all();
        world.refuse(world.first(), status(code, Some(RetryAfter::Delay(asked))));
        let failure = world.end.expect("ended").expect_err("too long");
        assert_eq!(failure.retry_after, Some(asked), "{code}");
        assert_eq!(failure.kind, tur_core::Kind::Server);
        assert!(failure.message.contains("asked to wait 61 s"));
    }
    // It means nothing with these: an ordinary backoff, which is at most 0.5 s at first.
    for code in [408, 421, 425] {
        let mut world = World::new(config(2), KIB);
        world.grant_all();
        world.refuse(world.first(), status(code, Some(RetryAfter::Delay(asked))));
        while world.requests < 2 {
            world.grant_all();
            assert!(world.requests == 2 || world.jump());
        }
        assert!(world.now <= Timestamp::from_micros(500_000), "{code}");
        world.finish();
        world.assert_whole();
    }
}

/// Others may have warmed each session that it gets: that they all go with the first request is an outage at last.
#[test]
fn sessions_that_others_left_behind_are_excused_so_often_and_no_more() {
    let mut world = World::new(config(4), 8192 * KIB);
    for _ in 0..1_000 {
        if world.end.is_some() {
            break;
        }
        world.now = world.now + Duration::from_millis(1);
        if let Some(lane) = world.wanting.pop() {
            let handshake = Duration::ZERO;
            world.tell(Event::Granted { lane, handshake });
        } else if let Some(lease) = world.running.keys().next().copied() {
            world.running.remove(&lease);
            let fault = Fault::StreamRefused("GOAWAY".into());
            let session = false;
            world.tell(Event::Refused {
                lease,
                fault,
                session,
            });
        } else {
            assert!(world.jump(), "a retry pends");
        }
    }
    assert!(world.end.expect("an end").is_err());
    assert_eq!(world.requests, 16 + 6);
}
