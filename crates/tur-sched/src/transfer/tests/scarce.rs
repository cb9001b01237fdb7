//! Fewer sessions than lanes: the pool or the process allows no more.

use std::time::Duration;
use std::vec::Vec;

use tur_core::Fault;

use super::elsewhere;
use super::world::*;
use crate::transfer::{Decision, Event};

/// Runs to the end with at most `sessions` sessions, granted in the order of the wishes.
fn finish_with(world: &mut World, sessions: usize) {
    for _ in 0..5_000 {
        if world.end.is_some() {
            return;
        }
        while world.sessions.len() - world.wanting.len() < sessions && !world.wanting.is_empty() {
            let lane = world.wanting.remove(0);
            world.tell(Event::Granted {
                lane,
                handshake: Duration::from_millis(10),
            });
        }
        let Some(lease) = world.running.keys().next_back().copied() else {
            panic!(
                "nothing runs, {} lanes wait: {:?}",
                world.wanting.len(),
                world.transfer
            );
        };
        world.now = world.now + Duration::from_millis(5);
        if world.running[&lease].body_end.is_none() {
            world.open(lease);
        } else {
            world.flow(lease, 64 * KIB);
        }
    }
    panic!("no end");
}

/// A lane that has a session does the work that others still wait for a session to do.
#[test]
fn lanes_that_wait_for_sessions_do_not_stop_those_that_have_one() {
    for (lanes, sessions) in [(4, 1), (4, 2), (8, 3), (16, 1), (32, 8)] {
        let mut world = World::new(config(lanes), 16_384 * KIB);
        finish_with(&mut world, sessions);
        world.assert_whole();
    }
}

/// Lanes that were there before the ceiling came down are no lanes too many: they do nothing.
#[test]
fn a_ceiling_comes_down_on_lanes_that_are_there() {
    for lower in 1..8 {
        let mut world = World::new(config(8), 16_384 * KIB);
        world.grant_all();
        let first = world.first();
        world.open(first);
        world.grant_all();
        assert_eq!(world.running.len(), 8);
        world.tell(Event::Ceiling(lower));
        assert_eq!(world.running.len(), usize::from(lower));
        world.tell(Event::Ceiling(8));
        world.tell(Event::Width(8));
        world.finish();
        world.assert_whole();
    }
}

/// Where sessions are short, whoever keeps one that is of no use may wait for ever for another.
#[test]
fn sessions_to_another_origin_are_not_kept_while_one_is_wanted_here() {
    let mut world = World::new(config(4), 4096 * KIB);
    world.grant_all();
    let lease = world.first();
    world.running.remove(&lease);
    world.tell(Event::Moved {
        lease,
        target: elsewhere(1),
        session: true,
    });
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.grant_all();
    let others: Vec<_> = world.running.keys().copied().skip(1).collect();
    assert_eq!(others.len(), 3);
    for lease in &others {
        world.open(*lease);
        world.flow(*lease, 64 * KIB);
    }
    // The URL there is found to have expired; what runs there ends well.
    world.break_off(first, Fault::Truncated("cut".into()));
    let newest = |world: &World| *world.running.keys().next_back().expect("three run");
    while others.contains(&newest(&world)) {
        world.grant_all();
        assert!(!others.contains(&newest(&world)) || world.jump());
    }
    let again = newest(&world);
    world.refuse(again, status(403, None));
    for lease in others {
        while world.running.contains_key(&lease) {
            world.flow(lease, 64 * KIB);
        }
    }
    let home = target("/file").origin;
    let kept = world.sessions.values().filter(|origin| **origin != home);
    assert_eq!(kept.count(), 0, "{:?}", world.sessions);
    world.finish();
    world.assert_whole();
}

/// Some origins say 403 to one connection too many: that is a limit, and not asked about again and again.
#[test]
fn forbidden_beside_lanes_that_receive_is_a_limit() {
    let mut world = World::new(config(4), 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.flow(first, 64 * KIB);
    let limited = |world: &World| {
        let fewer = |note: &Decision| matches!(note, Decision::Fewer { lanes: 1, .. });
        world.notes.iter().any(fewer)
    };
    while !limited(&world) {
        world.grant_all();
        let others: Vec<_> = world.running.keys().copied().skip(1).collect();
        for lease in others {
            world.refuse(lease, status(403, None));
        }
        world.flow(first, KIB);
        assert!(world.requests < 12, "{} requests", world.requests);
        assert!(limited(&world) || world.jump());
    }
    world.finish();
    world.assert_whole();
}
