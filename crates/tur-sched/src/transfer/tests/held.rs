//! Lanes that wait for a rate limit: the clocks that stand meanwhile, and run again afterwards.

use std::time::Duration;

use tur_core::Rate;

use super::world::{KIB, World, config};
use crate::{Event, Reason, SpeedFloor, TransferConfig};

const SEC: Duration = Duration::from_secs(1);

/// One lane that has brought 64 KiB, under a floor of 1 MiB/s.
fn streaming() -> World {
    let mut world = World::new(
        TransferConfig {
            speed_floor: Some(SpeedFloor {
                rate: Rate::per_second(1024 * KIB),
                over: 10 * SEC,
            }),
            ..config(1)
        },
        1024 * KIB,
    );
    world.grant_all();
    let lease = world.first();
    world.open(lease);
    world.flow(lease, 64 * KIB);
    world
}

#[test]
fn a_held_lane_is_neither_silent_nor_slow() {
    let mut world = streaming();
    let lease = world.first();
    world.tell(Event::Held { lease });
    assert_eq!(world.transfer.next_wakeup(), None, "no clock runs");
    for _ in 0..10 {
        world.now = world.now + 3_600 * SEC;
        world.tell(Event::Tick);
        world.flow(lease, KIB);
    }
    assert!(
        world.notes.is_empty() && world.end.is_none(),
        "{:?}",
        world.notes
    );
    assert_eq!(
        world.transfer.next_wakeup(),
        None,
        "still held: only bytes landed"
    );
}

#[test]
fn a_lane_that_was_released_has_its_whole_time_again() {
    let mut world = streaming();
    let lease = world.first();
    world.tell(Event::Held { lease });
    world.now = world.now + 100 * SEC;
    world.tell(Event::Released { lease });
    let (at, reason) = world.transfer.next_wakeup().expect("clocks run");
    assert_eq!((at, reason), (world.now + 10 * SEC, Reason::MinSpeed));
    world.flow(lease, 900 * KIB);
    world.now = world.now + 30 * SEC;
    world.tell(Event::Tick);
    let failure = world.end.expect("it ends").expect_err("silent and slow");
    assert!(failure.message.contains("minimum speed"), "{failure}");
}

#[test]
fn nothing_is_held_that_does_not_run() {
    let mut world = streaming();
    let lease = world.first();
    world.tell(Event::Held { lease });
    world.tell(Event::Pause);
    world.tell(Event::Released { lease });
    world.tell(Event::Held { lease });
    world.tell(Event::Unpause);
    world.finish();
    world.assert_whole();
}
