//! The transfer against a small world: chosen answers for the rules, random ones for the invariants.

mod expiry;
mod held;
mod outages;
mod proofs;
mod readers;
mod scarce;
mod spans;
mod steals;
mod terms;
mod world;

use std::string::ToString;
use std::time::Duration;
use std::vec::Vec;

use proptest::prelude::*;
use tur_core::{Ask, ByteRange, Fault, Identity, RangeSet, Refusal, RetryAfter, Timestamp, Wait};

use self::world::*;
use super::*;
use crate::coordinator::plan;

#[test]
fn a_small_file_takes_one_request() {
    let mut world = World::new(TransferConfig::new(target("/file")), KIB);
    world.finish();
    world.assert_whole();
    assert_eq!(world.requests, 1);
}

#[test]
fn a_given_width_starts_at_the_first_answer_and_requests_halve() {
    let mut world = World::new(config(4), 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    assert_eq!(world.wanting.len(), 3);
    world.grant_all();
    let asks: Vec<_> = world.running.values().map(|run| run.order.ask).collect();
    assert_eq!(asks[0], Ask::Range(ByteRange::from(0)));
    assert_eq!(asks[1], Ask::Range(ByteRange::new(1024 * KIB, 1536 * KIB)));
    world.finish();
    world.assert_whole();
}

#[test]
fn lane_zero_is_cut_once_and_an_extended_one_is_not_cut_at_all() {
    let mut world = World::new(config(2), 2048 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.grant_all();
    let second = *world.running.keys().next_back().expect("two run");
    world.refuse(
        second,
        Fault::NotAdmitted(Refusal::RangeIgnored { if_range: true }),
    );
    world.grant_all();
    let second = *world
        .running
        .keys()
        .next_back()
        .expect("asked without If-Range");
    assert!(!world.running[&second].order.if_range);
    world.refuse(
        second,
        Fault::NotAdmitted(Refusal::RangeIgnored { if_range: false }),
    );
    assert!(
        world.wanting.is_empty() && world.running.len() == 1,
        "one stream is left"
    );
    world.finish();
    world.assert_whole();
    assert_eq!(world.requests, 3);
}

#[test]
fn a_change_restarts_once_and_then_fails() {
    let mut world = World::new(config(2), 2048 * KIB);
    for round in 0..2 {
        world.grant_all();
        let first = world.first();
        world.open(first);
        world.flow(first, 100 * KIB);
        world.grant_all();
        let second = *world.running.keys().next_back().expect("two run");
        world.refuse(second, Fault::NotAdmitted(Refusal::Changed("ETag".into())));
        if round == 0 {
            assert!(world.transfer.identity().is_none() && world.written.is_empty());
        }
    }
    let failure = world.end.expect("ended").expect_err("changed twice");
    assert_eq!(failure.kind, tur_core::Kind::Changed);
    assert!(!failure.keep);
}

#[test]
fn the_attempts_of_one_outage_count_once() {
    let mut world = World::new(config(8), 8192 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.grant_all();
    for lease in world.running.keys().copied().collect::<Vec<_>>() {
        if world.running.contains_key(&lease) {
            world.break_off(lease, Fault::Lost("reset".into()));
        }
    }
    assert!(world.end.is_none() && world.running.is_empty());
    let mut tries = 0;
    while world.end.is_none() {
        assert!(world.jump(), "a retry pends");
        assert!(world.wanting.len() <= 1, "one lane tries for all");
        for lane in core::mem::take(&mut world.wanting) {
            tries += 1;
            world.sessions.remove(&lane);
            world.tell(Event::Denied {
                lane,
                fault: Fault::Connect {
                    host: "o".into(),
                    detail: "refused".into(),
                },
            });
        }
    }
    assert_eq!(tries, 5, "five retries after the first failure");
    assert!(
        world.now > Timestamp::from_micros(100_000),
        "with backoff between"
    );
}

#[test]
fn progress_forgives() {
    let mut world = World::new(config(1), 4096 * KIB);
    for _ in 0..20 {
        while world.running.is_empty() {
            world.grant_all();
            if world.running.is_empty() {
                assert!(world.jump());
            }
        }
        let lease = world.first();
        world.open(lease);
        world.flow(lease, 100 * KIB);
        world.break_off(lease, Fault::Truncated("cut".into()));
        assert!(world.end.is_none());
    }
    world.finish();
    world.assert_whole();
}

#[test]
fn too_many_requests_lowers_the_lanes_and_the_stream_takes_over() {
    let mut world = World::new(config(4), 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.grant_all();
    let later: Vec<_> = world.running.keys().copied().skip(2).collect();
    let second = *world.running.keys().nth(1).expect("runs");
    world.open(second);
    for lease in later {
        world.refuse(
            lease,
            status(429, Some(RetryAfter::Delay(Duration::from_secs(1)))),
        );
    }
    assert!(
        world
            .notes
            .iter()
            .any(|note| matches!(note, Decision::Fewer { .. }))
    );
    world.finish();
    world.assert_whole();
}

#[test]
fn silence_is_a_stall_and_the_rest_is_asked_for_again() {
    let mut world = World::new(config(1), 1024 * KIB);
    world.grant_all();
    let lease = world.first();
    world.open(lease);
    world.flow(lease, 64 * KIB);
    assert!(world.jump());
    assert!(world.notes.contains(&Decision::Stalled { lane: LaneId(0) }));
    while world.running.is_empty() {
        world.grant_all();
        if world.running.is_empty() {
            assert!(world.jump());
        }
    }
    assert_eq!(
        world.running[&world.first()].order.ask.range().start,
        64 * KIB
    );
    world.finish();
    world.assert_whole();
    assert!(world.notes.contains(&Decision::Resumed { at: 64 * KIB }));
}

#[test]
fn a_server_that_never_answers_ends_in_bounded_time_and_requests() {
    let mut world = World::new(config(8), KIB);
    while world.end.is_none() {
        world.grant_all();
        assert!(world.jump());
    }
    let failure = world.end.expect("ended").expect_err("nothing came");
    assert_eq!(failure.message, "no answer in 30 s (6 tries)");
    assert_eq!(world.requests, 6);
}

#[test]
fn redirects_are_bounded() {
    let mut world = World::new(config(1), KIB);
    world.grant_all();
    let mut hops = 0;
    while world.end.is_none() {
        let lease = world.first();
        world.running.remove(&lease);
        hops += 1;
        world.tell(Event::Moved {
            lease,
            target: target(&hops.to_string()),
            session: true,
        });
        world.grant_all();
    }
    assert_eq!(hops, 21);
    assert_eq!(
        world.end.expect("ended").expect_err("loop").kind,
        tur_core::Kind::Limit
    );
}

#[test]
fn a_resumed_transfer_asks_for_its_holes_only() {
    let total = 1024 * KIB;
    let landed: RangeSet = [
        ByteRange::new(0, 300 * KIB),
        ByteRange::new(500 * KIB, 600 * KIB),
    ]
    .into_iter()
    .collect();
    let resumed = Resumed {
        identity: identity(total),
        landed,
        proof: Proof::Validator,
    };
    let mut world = World::resumed(config(4), total, Some(resumed));
    world.grant_all();
    let order = &world.running[&world.first()].order;
    assert!(order.if_range);
    assert_eq!(order.ask, Ask::Range(ByteRange::new(300 * KIB, 500 * KIB)));
    world.finish();
    world.assert_whole();
}

#[test]
fn an_empty_file_is_believed_when_the_whole_is_empty_too() {
    let mut world = World::new(config(4), 0);
    world.grant_all();
    let lease = world.first();
    world.refuse(lease, Fault::NotAdmitted(Refusal::AtEnd { total: 0 }));
    assert_eq!(world.running[&world.first()].order.ask, Ask::Whole);
    world.open(world.first());
    assert_eq!(world.end, Some(Ok(0)));
}

#[test]
fn an_empty_file_tells_nothing_of_ranges() {
    for unsatisfiable in [true, false] {
        let mut world = World::new(config(4), 0);
        world.grant_all();
        let lease = world.first();
        if unsatisfiable {
            world.refuse(lease, Fault::NotAdmitted(Refusal::AtEnd { total: 0 }));
            assert_eq!(world.transfer.facts().ranges, None);
            world.open(world.first());
        } else {
            world.tell(Event::Opened {
                lease,
                place: ByteRange::new(0, 0),
                identity: identity(0),
                partial: false,
            });
        }
        assert_eq!(world.end, Some(Ok(0)));
        assert_eq!(world.transfer.facts().ranges, None);
        let single = |note: &&Decision| matches!(note, Decision::SingleStream { .. });
        assert_eq!(world.notes.iter().find(single), None);
    }
}

#[test]
fn a_lane_of_another_origin_does_not_go_on_there() {
    let mut world = World::new(config(2), 4096 * KIB);
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
    // The second lane's request ends well while the first one's URL is found to have expired.
    let second = *world.running.keys().next_back().expect("two run");
    world.open(second);
    world.break_off(first, Fault::Truncated("cut".into()));
    while !world.running.keys().any(|lease| *lease > second) {
        world.grant_all();
        assert!(world.running.keys().any(|lease| *lease > second) || world.jump());
    }
    let third = *world.running.keys().next_back().expect("asked again");
    world.refuse(third, status(403, None));
    // `obey` asserts that each request goes to the origin of its session.
    while world.running.contains_key(&second) {
        world.flow(second, 64 * KIB);
    }
    world.finish();
    world.assert_whole();
}

#[test]
fn a_part_that_seems_complete_is_confirmed_by_its_last_byte() {
    let total = 1024 * KIB;
    let landed: RangeSet = [ByteRange::new(0, total)].into_iter().collect();
    let resumed = Resumed {
        identity: identity(total),
        landed,
        proof: Proof::Validator,
    };
    let mut world = World::resumed(config(4), total, Some(resumed));
    world.grant_all();
    let order = &world.running[&world.first()].order;
    assert!(order.if_range);
    assert_eq!(order.ask, Ask::Range(ByteRange::new(total - 1, total)));
    world.finish();
    world.assert_whole();
}

#[test]
fn bytes_that_storage_lost_are_fetched_again_even_at_the_end() {
    let mut world = World::new(config(2), 1024 * KIB);
    world.finish();
    let lost = ByteRange::new(10 * KIB, 20 * KIB);
    world.end = None;
    world.written.remove(lost);
    world.tell(Event::Lost { range: lost });
    world.finish();
    world.assert_whole();
}

#[test]
fn pause_keeps_everything_and_unpause_goes_on() {
    let mut world = World::new(config(4), 4096 * KIB);
    world.grant_all();
    let first = world.first();
    world.open(first);
    world.flow(first, 100 * KIB);
    world.tell(Event::Pause);
    assert!(world.running.is_empty() && world.wanting.is_empty());
    world.now = world.now + Duration::from_secs(60);
    world.tell(Event::Unpause);
    world.finish();
    world.assert_whole();
}

/// A target on one of three origins.
fn elsewhere(n: u16) -> tur_core::Target {
    let mut there = target(&n.to_string());
    there.origin.port = 80 + n % 3;
    there
}

/// A part of the file: some sixteenths of it, or nothing.
fn stretch(total: u64, size: u16) -> ByteRange {
    let (at, len) = (u64::from(size >> 4 & 15), u64::from(size & 15));
    ByteRange::new(total * at / 16, total * (at + len) / 16)
}

/// One random turn of the world.
fn turn(world: &mut World, choice: (u8, u16)) {
    let (what, size) = choice;
    let running: Vec<_> = world.running.keys().copied().collect();
    let pick = running
        .get(usize::from(size) % running.len().max(1))
        .copied();
    world.now = world.now + Duration::from_millis(u64::from(size % 40));
    match (what % 30, pick) {
        (0..=3, _) => world.grant_all(),
        (4, _) => {
            if let Some(lane) = world.wanting.pop() {
                world.sessions.remove(&lane);
                let fault = match size % 3 {
                    0 => outages::offline(),
                    1 => Fault::Exhausted("too many open files".into()),
                    _ => Fault::TimedOut(Wait::Connect, Duration::ZERO),
                };
                world.tell(Event::Denied { lane, fault });
            }
        }
        (5, _) => drop(world.jump()),
        (6, _) => world.tell(Event::Pause),
        (7, _) => world.tell(Event::Unpause),
        (26, _) => world.tell(Event::Streams(size % 2 == 0)),
        (29, _) => drop(world.lose_unused(usize::from(size))),
        (27, _) => world.tell(Event::Demand(stretch(world.total, size))),
        (28, _) => {
            let window = RangeSet::from_iter([stretch(world.total, size)]);
            world.tell(Event::Window((size % 4 > 0).then_some(window)));
        }
        (_, None) => {}
        (8..=11, Some(lease)) if world.running[&lease].body_end.is_none() => world.open(lease),
        (12, Some(lease)) if world.running[&lease].body_end.is_none() => {
            let fault = status([404, 429, 503, 500, 403, 416][usize::from(size % 6)], None);
            world.refuse(lease, fault);
        }
        (13, Some(lease)) if world.running[&lease].body_end.is_none() => {
            let refusals = [
                Refusal::RangeIgnored { if_range: true },
                Refusal::RangeIgnored { if_range: false },
                Refusal::Unsatisfiable,
                Refusal::Page,
                Refusal::NoContentRange,
                Refusal::Changed("ETag".into()),
            ];
            world.refuse(
                lease,
                Fault::NotAdmitted(refusals[usize::from(size % 6)].clone()),
            );
        }
        (14, Some(lease)) if world.running[&lease].body_end.is_none() => {
            world.running.remove(&lease);
            world.tell(Event::Moved {
                lease,
                target: elsewhere(size),
                session: true,
            });
        }
        (15, Some(lease)) => world.break_off(lease, Fault::Lost("reset".into())),
        (24, Some(lease)) => world.tell(Event::Held { lease }),
        (25, Some(lease)) => world.tell(Event::Released { lease }),
        (_, Some(lease)) if world.running[&lease].body_end.is_some() => {
            world.flow(lease, u64::from(size) * 4);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]
    #[test]
    fn any_events_keep_the_invariants_and_lead_to_an_end(
        lanes in 1u16..6,
        pages in 0u64..40,
        span in spans::any_span(),
        given_away in any::<bool>(),
        left in 0u64..80,
        choices in proptest::collection::vec(any::<(u8, u16)>(), 0..300),
    ) {
        let spare = pages % 2 == 0;
        let config = TransferConfig { span, given_away, spare, ..config(lanes) };
        let total = pages * 64 * KIB + pages;
        // What an earlier run left, which may be all of it.
        let resumed = (span.is_none() && !given_away && left >= 40).then(|| Resumed {
            identity: identity(total),
            landed: RangeSet::from_iter([ByteRange::new(0, total.min((left - 40) * 64 * KIB))]),
            proof: if left % 3 == 0 { Proof::OtherUrl } else { Proof::Validator },
        });
        let mut world = World::resumed(config, total, resumed);
        for choice in choices {
            if world.end.is_some() {
                break;
            }
            turn(&mut world, choice);
        }
        if world.end.is_none() {
            world.tell(Event::Unpause);
            world.tell(Event::Window(None));
            world.finish();
        }
        if let Some(span) = span {
            world.assert_span(span);
        } else if let Some(Ok(total)) = world.end {
            prop_assert_eq!(total, world.total);
            prop_assert!(world.written.covers(ByteRange::new(0, total)));
        }
    }
}

#[test]
fn a_file_does_not_end_before_bytes_that_were_told_of() {
    let mut world = World::new(config(1), 1024 * KIB);
    world.grant_all();
    let lease = world.first();
    let place = ByteRange::new(0, 1024 * KIB);
    let starred = Identity {
        total: None,
        ..identity(0)
    };
    world.running.get_mut(&lease).expect("runs").body_end = Some(place.end);
    world.tell(Event::Opened {
        lease,
        place,
        identity: starred,
        partial: true,
    });
    world.flow(lease, 100 * KIB);
    world.break_off(lease, Fault::Truncated("cut".into()));
    while world.running.is_empty() {
        world.grant_all();
        if world.running.is_empty() {
            assert!(world.jump());
        }
    }
    world.refuse(world.first(), Fault::NotAdmitted(Refusal::Unsatisfiable));
    assert_eq!(world.end, None, "100 KiB of 1 MiB are no file");
    world.finish();
    world.assert_whole();
}

#[test]
fn an_equal_share_keeps_every_lane_busy() {
    for total in [64 << 20, (64 << 20) + 1, 100_000_000, 7 << 20] {
        let mut world = World::new(config(7), total);
        world.grant_all();
        let first = world.first();
        world.open(first);
        world.grant_all();
        assert_eq!(world.running.len(), 7, "{total} bytes");
        let longest = world
            .running
            .values()
            .map(|run| run.gate.end() - run.at)
            .max();
        assert!(
            longest.expect("seven") <= total / 7 + total / 14 + 2 * plan::ALIGN,
            "one lane has more than its share"
        );
        world.finish();
        world.assert_whole();
    }
}

#[test]
fn a_part_of_an_unknown_whole_in_answer_to_all_ends_in_bounded_requests() {
    let mut world = World::new(config(4), 5);
    for _ in 0..200 {
        if world.end.is_some() {
            break;
        }
        world.grant_all();
        let Some(lease) = world.running.keys().next().copied() else {
            assert!(world.jump(), "nothing pends");
            continue;
        };
        let run = world.running.get_mut(&lease).expect("runs");
        run.body_end = Some(5);
        let place = ByteRange::new(run.at, 5);
        world.tell(Event::Opened {
            lease,
            place,
            identity: Identity::default(),
            partial: true,
        });
        if world.running.contains_key(&lease) {
            world.flow(lease, 5);
        }
    }
    let failure = world.end.clone().expect("an end").expect_err("a failure");
    assert_eq!(failure.kind, tur_core::Kind::Network, "{failure}");
    assert!(world.requests < 20, "{} requests", world.requests);
}
