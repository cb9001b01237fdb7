//! What a lane that is free takes from the others.

use std::time::Duration;

use super::world::{KIB, World, config};
use crate::{Event, LeaseId};

const MIB: u64 = 1024 * KIB;
const RTT: Duration = Duration::from_millis(400);

/// Lets every lane that waits connect, which takes a second.
fn connect(world: &mut World) {
    while let Some(lane) = world.wanting.pop() {
        let handshake = Duration::from_secs(1);
        world.tell(Event::Granted { lane, handshake });
    }
}

/// The newest request is answered a round trip later.
fn answered(world: &mut World) -> LeaseId {
    let newest = *world.running.keys().next_back().expect("one runs");
    world.now = world.now + RTT;
    world.open(newest);
    newest
}

/// To cut a request that is no stream costs a connection: it has to save twice as much. Both lanes bring 1 MB/s, a new
/// connection costs 3 s, and what is left would take 10 s.
#[test]
fn a_stream_is_cut_sooner_than_a_connection() {
    for streams in [false, true] {
        let mut world = World::new(config(2), 40 * MIB);
        world.tell(Event::Streams(streams));
        connect(&mut world);
        let first = answered(&mut world);
        connect(&mut world);
        let second = answered(&mut world);
        world.flow(second, 9 * MIB);
        world.flow(second, MIB);
        let second = answered(&mut world);
        world.flow(second, 64 * KIB);
        assert_eq!(world.running[&second].body_end, Some(40 * MIB));
        world.flow(first, 20 * MIB);
        assert_eq!(world.wanting.len(), usize::from(streams));
        world.finish();
        world.assert_whole();
    }
}
