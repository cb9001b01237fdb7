//! Going on with what an earlier run left, where no strong validator says that it is the same file.

use tur_core::{Ask, ByteRange, Fault, Identity, Kind, RangeSet, Refusal};

use super::world::{KIB, World, config};
use crate::transfer::{OnChange, Proof, Resumed};
use crate::{Decision, Event, LeaseId};

const TOTAL: u64 = 8 * 1024 * KIB;

/// A representation of known length without any validator.
fn bare() -> Identity {
    Identity {
        total: Some(TOTAL),
        ..Identity::default()
    }
}

fn landed() -> RangeSet {
    [
        ByteRange::new(0, 3000 * KIB),
        ByteRange::new(5000 * KIB, 7000 * KIB),
    ]
    .into_iter()
    .collect()
}

fn world_of(landed: RangeSet, proof: Proof, on_change: OnChange) -> World {
    let resumed = Resumed {
        identity: bare(),
        landed,
        proof,
    };
    let mut config = config(4);
    config.on_change = on_change;
    let mut world = World::resumed(config, TOTAL, Some(resumed));
    world.identity = Some(bare());
    world
}

fn world(proof: Proof) -> World {
    world_of(landed(), proof, OnChange::Restart)
}

/// Answers and compares until a sample has come; says its lease.
fn first_sample(world: &mut World) -> LeaseId {
    world.grant_all();
    let lease = world.first();
    assert!(world.running[&lease].order.compare);
    world.open(lease);
    lease
}

#[test]
fn nothing_is_asked_for_but_samples_until_all_agree() {
    let mut world = world(Proof::Overlap);
    let kept = landed();
    while !world
        .notes
        .iter()
        .any(|n| matches!(n, Decision::Agreed { .. }))
    {
        world.grant_all();
        assert_eq!(world.running.len(), 1, "one lane compares");
        let run = &world.running[&world.first()];
        assert!(run.order.compare && !run.order.if_range);
        let Ask::Range(range) = run.order.ask else {
            panic!("a sample is a range");
        };
        assert!(kept.covers(range) && range.len() <= 128 * KIB, "{range}");
        let lease = world.first();
        world.open(lease);
        world.flow(lease, 1024 * KIB);
    }
    assert!(world.compared >= 128 * KIB && world.compared <= 512 * KIB);
    world.finish();
    world.assert_whole();
    assert!(world.running.is_empty());
}

#[test]
fn a_sample_may_come_in_pieces_and_after_faults() {
    let mut world = world(Proof::Overlap);
    let lease = first_sample(&mut world);
    world.flow(lease, 10 * KIB);
    world.break_off(lease, Fault::Truncated("cut".into()));
    world.finish();
    world.assert_whole();
    assert!(
        world
            .notes
            .iter()
            .any(|n| matches!(n, Decision::Agreed { .. }))
    );
}

#[test]
fn one_difference_makes_all_of_it_void() {
    let mut world = world(Proof::Overlap);
    let lease = first_sample(&mut world);
    world.running.remove(&lease);
    world.tell(Event::Differs { lease, at: 0 });
    assert!(world.written.is_empty());
    world.finish();
    world.assert_whole();
    let restarts = |n: &&Decision| matches!(n, Decision::Restarted { .. });
    assert_eq!(world.notes.iter().filter(restarts).count(), 1);
}

#[test]
fn a_difference_is_a_change_only_for_the_same_url() {
    for (proof, fails) in [(Proof::Overlap, true), (Proof::OtherUrl, false)] {
        let mut world = world_of(landed(), proof, OnChange::Fail);
        let lease = first_sample(&mut world);
        world.running.remove(&lease);
        world.tell(Event::Differs { lease, at: 0 });
        if fails {
            let failure = world.end.clone().expect("an end").expect_err("a failure");
            assert_eq!((failure.kind, failure.keep), (Kind::Changed, true));
        } else {
            world.finish();
            world.assert_whole();
        }
    }
}

#[test]
fn an_answer_of_another_file_at_another_url_begins_anew() {
    let mut world = world_of(landed(), Proof::OtherUrl, OnChange::Fail);
    world.grant_all();
    let refusal = Refusal::Changed("size 1 -> 2".into());
    world.refuse(world.first(), Fault::NotAdmitted(refusal));
    world.finish();
    world.assert_whole();
}

#[test]
fn a_server_without_ranges_makes_it_void_too() {
    for at_first in [true, false] {
        let mut world = world(Proof::Overlap);
        world.grant_all();
        let lease = world.first();
        if at_first {
            // The whole, in answer to a sample that begins at 0.
            world.tell(Event::Opened {
                lease,
                place: ByteRange::new(0, TOTAL),
                identity: bare(),
                partial: false,
            });
            // It is compared like a part of it. The next sample tells more.
            world.running.get_mut(&lease).expect("runs").body_end = Some(TOTAL);
            world.flow(lease, TOTAL);
            world.grant_all();
            assert!(!world.written.is_empty());
            let lease = world.first();
            assert!(world.running[&lease].order.compare);
            let refusal = Refusal::RangeIgnored { if_range: false };
            world.refuse(lease, Fault::NotAdmitted(refusal));
        } else {
            let refusal = Refusal::RangeIgnored { if_range: false };
            world.refuse(lease, Fault::NotAdmitted(refusal));
        }
        world.grant_all();
        assert!(world.written.is_empty());
        let order = &world.running[&world.first()].order;
        assert_eq!((order.ask, order.compare), (Ask::Whole, false));
        world.finish();
        world.assert_whole();
    }
}

#[test]
fn a_window_does_not_hold_up_the_proof() {
    let mut world = world(Proof::Overlap);
    world.tell(Event::Window(Some(RangeSet::from_iter([ByteRange::new(
        100 * KIB,
        200 * KIB,
    )]))));
    while !world
        .notes
        .iter()
        .any(|n| matches!(n, Decision::Agreed { .. }))
    {
        world.grant_all();
        let lease = world.first();
        world.open(lease);
        world.flow(lease, 1024 * KIB);
    }
    world.tell(Event::Window(None));
    world.finish();
    world.assert_whole();
}

#[test]
fn what_is_kept_survives_a_failure_while_it_is_compared() {
    // So little that all of it is compared.
    let small: RangeSet = [ByteRange::new(0, 32 * KIB)].into_iter().collect();
    let mut world = world_of(small, Proof::Overlap, OnChange::Restart);
    world.grant_all();
    world.refuse(world.first(), super::world::status(404, None));
    let failure = world.end.clone().expect("an end").expect_err("a failure");
    assert!(failure.keep, "{failure}");
    assert!(failure.message.contains("32768 of"), "{failure}");
}

#[test]
fn samples_that_the_disk_has_lost_prove_nothing() {
    let mut world = world(Proof::Overlap);
    let all = ByteRange::new(0, TOTAL);
    world.written.remove(all);
    world.tell(Event::Lost { range: all });
    world.finish();
    world.assert_whole();
}

#[test]
fn a_weak_identity_is_never_taken_at_its_word() {
    let mut world = world(Proof::Validator);
    world.grant_all();
    assert!(world.running[&world.first()].order.compare);
    world.finish();
    world.assert_whole();
}
