//! Fewer sessions than lanes: the pool or the process allows no more.

use std::time::Duration;

use super::world::*;
use crate::transfer::Event;

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
