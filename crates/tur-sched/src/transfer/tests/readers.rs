//! What readers ask for: demands and windows, with ranges and without, before and after the first answer.

use super::spans;
use super::world::{KIB, World, config, identity, status};
use crate::{Event, Proof, Resumed, TransferConfig};
use std::vec::Vec;
use tur_core::{Ask, ByteRange, Fault, RangeSet, Refusal};

const MIB: u64 = 1024 * KIB;

#[test]
fn what_a_reader_wants_before_the_first_answer_waits_for_it() {
    for event in [
        Event::Demand(ByteRange::new(2 * MIB, 3 * MIB)),
        Event::Window(Some(RangeSet::from_iter([ByteRange::new(
            2 * MIB,
            3 * MIB,
        )]))),
    ] {
        let mut world = World::new(config(4), 4 * MIB);
        world.tell(event);
        world.grant_all();
        let first = world.first();
        assert_eq!(world.running[&first].order.ask.range().start, 0);
        world.open(first);
        world.flow(first, 2 * MIB);
        world.grant_all();
        let starts = world.running.values().map(|run| run.order.grant.start);
        assert!(starts.into_iter().any(|start| start == 2 * MIB));
        world.tell(Event::Window(None));
        world.finish();
        world.assert_whole();
    }
}

/// Nobody reads what an earlier run left before an answer has confirmed it, which something has to be asked for. Where nothing
/// is missing that is the last byte.
#[test]
fn what_was_left_is_confirmed_although_the_window_lacks_nothing() {
    for (left, asked) in [
        (3 * MIB, ByteRange::new(3 * MIB, 3 * MIB + 64 * KIB)),
        (4 * MIB, ByteRange::new(4 * MIB - 1, 4 * MIB)),
    ] {
        let resumed = Resumed {
            identity: identity(4 * MIB),
            landed: RangeSet::from_iter([ByteRange::new(0, left)]),
            proof: Proof::Validator,
        };
        let mut world = World::resumed(config(4), 4 * MIB, Some(resumed));
        let window = RangeSet::from_iter([ByteRange::new(0, MIB)]);
        world.tell(Event::Window(Some(window)));
        world.grant_all();
        assert!(!world.transfer.rests());
        let orders: Vec<_> = world.running.values().map(|run| run.order.grant).collect();
        assert_eq!(orders, [asked]);
        let lease = world.first();
        world.open(lease);
        world.flow(lease, MIB);
        world.grant_all();
        assert!(world.running.is_empty());
        assert!(world.transfer.rests() || world.end.is_some());
        world.tell(Event::Window(None));
        world.finish();
        world.assert_whole();
    }
}

#[test]
fn without_ranges_the_whole_comes_from_the_front_whatever_a_reader_wants() {
    let mut world = World::new(config(4), 4 * MIB);
    world.grant_all();
    let first = world.first();
    world.refuse(first, Fault::NotAdmitted(Refusal::NoContentRange));
    world.tell(Event::Window(Some(RangeSet::from_iter([ByteRange::new(
        2 * MIB,
        3 * MIB,
    )]))));
    world.tell(Event::Demand(ByteRange::new(2 * MIB, 3 * MIB)));
    world.grant_all();
    while world.running.is_empty() {
        assert!(world.jump());
        world.grant_all();
    }
    let order = &world.running[&world.first()].order;
    assert_eq!((order.ask, order.grant), (Ask::Whole, ByteRange::from(0)));
    world.finish();
    world.assert_whole();
}

/// An origin without ranges answers the first piece of a window with the whole: all of that is taken, and asked for once.
#[test]
fn the_whole_in_answer_to_a_piece_of_a_window_is_all_taken() {
    for total in [Some(8 * MIB), None] {
        let mut world = World::new(config(4), 8 * MIB);
        let window = |end| Event::Window(Some(RangeSet::from_iter([ByteRange::new(0, end)])));
        world.tell(window(2 * MIB));
        world.grant_all();
        let first = world.first();
        assert!(world.running[&first].order.grant.end < 2 * MIB);
        spans::whole(&mut world, first, total, 8 * MIB);
        for end in 3..=8 {
            world.flow(first, MIB);
            world.tell(window(end * MIB));
            world.grant_all();
        }
        world.finish();
        world.assert_whole();
        assert_eq!(world.requests, 1);
    }
}

#[test]
fn what_is_cut_off_for_a_reader_is_not_put_back() {
    let mut world = World::new(config(2), 4 * MIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.flow(first, 64 * KIB);
    world.grant_all();
    let second = *world.running.keys().next_back().expect("two run");
    world.refuse(second, status(503, None));
    // One lane is allowed, and it is busy elsewhere.
    world.tell(Event::Demand(ByteRange::new(MIB, 2 * MIB)));
    world.tell(Event::Demand(ByteRange::new(3 * MIB, 4 * MIB)));
    world.finish();
    world.assert_whole();
}

/// A lane that has nothing to do holds a session for who seeks; what is sought is asked for on it at once, and nobody who
/// works is stopped for that.
#[test]
fn a_spare_lane_asks_for_what_is_sought() {
    let config = TransferConfig {
        spare: true,
        ..config(3)
    };
    let mut world = World::at_work(config, 64 * MIB, 64 * KIB);
    let working = |world: &World| world.running.len();
    world.grant_all();
    assert_eq!((working(&world), world.sessions.len()), (2, 3));
    let before: Vec<_> = world.running.keys().copied().collect();
    world.tell(Event::Demand(ByteRange::new(50 * MIB, 51 * MIB)));
    assert_eq!(working(&world), 3, "without a connection to be made");
    assert!(before.iter().all(|lease| world.running.contains_key(lease)));
    let mut starts = world.running.values().map(|run| run.order.grant.start);
    assert!(starts.any(|start| start == 50 * MIB));
    world.finish();
    world.assert_whole();
}

/// The width may be as low as the ceiling already, with a lane beside it that serves a reader.
#[test]
fn a_ceiling_that_comes_down_to_the_width_stops_the_lane_beside_it() {
    let config = TransferConfig {
        spare: true,
        ..config(3)
    };
    let mut world = World::at_work(config, 64 * MIB, 64 * KIB);
    world.grant_all();
    world.tell(Event::Demand(ByteRange::new(50 * MIB, 51 * MIB)));
    world.tell(Event::Width(2));
    assert_eq!(world.running.len(), 3);
    world.tell(Event::Ceiling(2));
    // One of the two may be on its way to what the reader waits for.
    assert!(world.running.len() <= 2);
    world.finish();
    world.assert_whole();
}

#[test]
fn a_lane_that_is_stopped_is_not_cut_for_a_reader() {
    let mut world = World::at_work(config(3), 12 * MIB, 64 * KIB);
    // Each lane holds a part of what is wanted: whichever is stopped by the width, it is not cut as well.
    for mib in [3, 7, 11] {
        world.tell(Event::Demand(ByteRange::new(mib * MIB, (mib + 1) * MIB)));
        world.tell(Event::Width(1));
        world.tell(Event::Width(3));
    }
    world.finish();
    world.assert_whole();
}

/// Each change of place costs a connection, and a lane that goes from one reader to the other with each report serves nobody.
#[test]
fn one_lane_serves_two_readers_one_after_the_other() {
    for piece in [256 * KIB, MIB] {
        let mut world = World::at_work(config(1), 64 * MIB, 64 * KIB);
        let ends = [48 * MIB, 58 * MIB];
        let mut wanted = [40 * MIB, 50 * MIB].map(|at| ByteRange::new(at, at + piece));
        let before = world.requests;
        for range in wanted {
            world.tell(Event::Demand(range));
        }
        // Each asks for its next piece as soon as it has one.
        while wanted
            .iter()
            .zip(ends)
            .any(|(range, end)| range.start < end)
        {
            world.grant_all();
            let lease = world.first();
            if world.running[&lease].body_end.is_none() {
                world.open(lease);
            }
            world.now = world.now + std::time::Duration::from_millis(20);
            world.flow(lease, 64 * KIB);
            for (range, end) in wanted.iter_mut().zip(ends) {
                if range.start < end && world.written.covers(*range) {
                    *range = ByteRange::new(range.end, range.end + piece);
                    if range.start < end {
                        world.tell(Event::Demand(*range));
                    }
                }
            }
        }
        // 16 MiB in turns of 256 KiB at least.
        let requests = world.requests - before;
        assert!(requests <= 72, "{requests}");
        world.finish();
        world.assert_whole();
    }
}

/// A reader that waits is not held up by a lane that brings nothing to another one.
#[test]
fn a_lane_that_is_silent_is_taken_for_another_reader() {
    let mut world = World::at_work(config(1), 64 * MIB, 64 * KIB);
    world.tell(Event::Demand(ByteRange::new(64 * KIB, MIB)));
    let silent = world.first();
    world.now = world.now + std::time::Duration::from_millis(500);
    world.tell(Event::Demand(ByteRange::new(50 * MIB, 51 * MIB)));
    assert!(world.running.contains_key(&silent), "it has its turn");
    assert!(world.jump());
    assert!(!world.running.contains_key(&silent));
    assert!(world.now < tur_core::Timestamp::from_micros(3_000_000));
    world.grant_all();
    assert_eq!(world.running[&world.first()].order.grant.start, 50 * MIB);
    world.finish();
    world.assert_whole();
}

/// Somebody more urgent took it: it is not counted on, and another one is asked for.
#[test]
fn a_spare_session_that_is_gone_is_not_asked_on() {
    let config = TransferConfig {
        spare: true,
        ..config(3)
    };
    let mut world = World::at_work(config, 64 * MIB, 64 * KIB);
    world.grant_all();
    assert!(world.lose_unused(0));
    assert_eq!(world.wanting.len(), 0, "not at once");
    world.tell(Event::Demand(ByteRange::new(50 * MIB, 51 * MIB)));
    assert_eq!((world.running.len(), world.wanting.len()), (2, 1));
    world.grant_all();
    let mut starts = world.running.values().map(|run| run.order.grant.start);
    assert!(starts.any(|start| start == 50 * MIB));
    world.finish();
    world.assert_whole();
}
