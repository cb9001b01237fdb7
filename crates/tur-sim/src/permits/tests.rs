//! Rows of behaviour of the dispatch, in virtual time: tests are named by the row.

use super::*;
use std::collections::BTreeSet;
use tur_sched::STARTS_BOUND;

use Priority::{High, Low};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test.
const STALLED: Duration = Duration::from_secs(86_400);

fn world(permits: usize) -> World {
    let config = DispatchConfig {
        permits,
        per_origin: 1_000,
        ..DispatchConfig::default()
    };
    World::new(config, Dice::new(1))
}

#[test]
fn d1_a_thousand_fetches_at_most_five_at_a_time() -> Result<(), Violation> {
    let mut world = world(5);
    world.join(0, High)?;
    for _ in 0..1_000 {
        world.want((0, 0), 0, SECOND)?;
    }
    world.run()?;
    let report = world.judge()?;
    assert_eq!((report.started, report.peak), (1_000, 5));
    assert_eq!(report.time, SECOND * 200);
    Ok(())
}

#[test]
fn d2_the_active_peer_is_done_first() -> Result<(), Violation> {
    let mut world = world(2);
    world.join(0, Low)?;
    world.join(1, High)?;
    for _ in 0..20 {
        world.want((0, 0), 0, SECOND)?;
        world.want((1, 0), 0, SECOND)?;
    }
    world.run()?;
    let places = |peer| {
        let all = world.starts.iter().enumerate();
        let places = all.filter(move |(_, start)| start.1 == peer);
        places.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let (background, active) = (places(0), places(1));
    assert_eq!(active.len(), 20);
    assert!(background.len() >= 20, "what was preempted starts again");
    assert!(active[10] < background[10] / 2, "{active:?} {background:?}");
    Ok(())
}

#[test]
fn d3_a_peer_that_turns_active_overtakes() -> Result<(), Violation> {
    let mut world = world(1);
    world.join(0, Low)?;
    world.join(1, Low)?;
    for _ in 0..20 {
        world.want((0, 0), 0, SECOND)?;
    }
    for _ in 0..5 {
        world.want((1, 0), 0, SECOND)?;
    }
    while world.starts.len() < 4 {
        world.step()?;
    }
    world.turn(1, High)?;
    world.run()?;
    let peers: Vec<u64> = world.starts.iter().map(|(_, peer)| *peer).collect();
    assert_eq!(peers[..8], [0, 1, 0, 1, 1, 1, 1, 0]);
    Ok(())
}

#[test]
fn d5_an_urgent_fetch_starts_while_five_prefetches_stall() -> Result<(), Violation> {
    let mut worst = Duration::ZERO;
    for seed in 0..100 {
        // Room for six, or for five: then the fifth stalls in the queue, or holds all there is when it is read no more.
        for (permits, reader) in [(6, false), (5, false), (5, true)] {
            let mut world = world(permits);
            world.dice = Dice::new(seed);
            world.join(0, if reader { High } else { Low })?;
            world.join(1, High)?;
            for _ in 0..5 {
                world.want((0, 0), 0, STALLED)?;
            }
            world.now = world.now + SECOND;
            world.turn(0, Low)?;
            // What runs beside them takes the reserve.
            if permits == 6 || !reader {
                world.want((1, 0), 0, STALLED)?;
            }
            let asked = world.now;
            let urgent = world.want((1, 1), 0, SECOND)?;
            while world
                .wishes
                .get(&urgent)
                .is_some_and(|w| w.started.is_none())
            {
                assert!(world.step()?);
            }
            let delay = world.now.since(asked);
            assert!(
                delay <= Duration::from_millis(100),
                "seed {seed}: {delay:?}"
            );
            worst = worst.max(delay);
            assert_eq!(world.report.preempted, 1);
        }
    }
    assert!(worst > Duration::ZERO, "some had to wait for a permit");
    Ok(())
}

#[test]
fn d6_a_low_ticket_starts_among_endless_urgent_work() -> Result<(), Violation> {
    for permits in [1, 2, 5] {
        let mut world = world(permits);
        world.join(0, High)?;
        world.join(1, Low)?;
        for _ in 0..200 {
            world.want((0, 0), 0, SECOND)?;
        }
        world.want((1, 0), 0, SECOND)?;
        let before = world.starts.len();
        world.run()?;
        let low = world.starts[before..]
            .iter()
            .position(|(_, peer)| *peer == 1);
        assert!(low.is_some_and(|at| at < STARTS_BOUND as usize), "{low:?}");
    }
    Ok(())
}

#[test]
fn d8_what_a_dropped_peer_had_ends_once() -> Result<(), Violation> {
    let mut world = world(3);
    world.join(0, High)?;
    for _ in 0..13 {
        world.want((0, 0), 0, STALLED)?;
    }
    assert_eq!((world.dispatch.running(), world.dispatch.queued()), (3, 10));
    world.leave(0)?;
    let once: BTreeSet<u64> = world.dropped.iter().copied().collect();
    assert_eq!((world.dropped.len(), once.len()), (10, 10));
    assert!(
        world.wishes.is_empty(),
        "every ticket has had its last word"
    );
    world.run()?;
    world.judge()?;
    Ok(())
}

#[test]
fn d9_a_shutdown_answers_everything_that_waits() -> Result<(), Violation> {
    let mut world = world(4);
    for peer in 0..5 {
        world.join(peer, if peer % 2 == 0 { High } else { Low })?;
        for _ in 0..10 {
            world.want((peer, 0), 0, STALLED)?;
        }
    }
    for peer in 0..5 {
        world.leave(peer)?;
    }
    let started: BTreeSet<u64> = world.starts.iter().map(|(id, _)| *id).collect();
    let dropped: BTreeSet<u64> = world.dropped.iter().copied().collect();
    assert!(started.is_disjoint(&dropped), "one answer each");
    assert_eq!(started.len() + world.dropped.len(), 50);
    assert_eq!((world.dispatch.running(), world.dispatch.queued()), (0, 0));
    Ok(())
}

#[test]
fn d10_a_cancelled_epoch_takes_nothing_else_with_it() -> Result<(), Violation> {
    let mut world = world(2);
    world.join(0, High)?;
    let mut kept = BTreeSet::new();
    for n in 0..20 {
        let id = world.want((0, n % 2), 0, SECOND)?;
        if n % 2 == 1 {
            kept.insert(id);
        }
    }
    world.cancel(0, 0)?;
    assert!(world.wishes.keys().all(|id| kept.contains(id)));
    world.run()?;
    let started: BTreeSet<u64> = world.starts.iter().map(|(id, _)| *id).collect();
    assert!(kept.is_subset(&started));
    assert_eq!((started.len(), world.report.withdrawn), (11, 9));
    world.judge()?;
    Ok(())
}

#[test]
fn d12_who_joins_while_all_is_full_is_accepted_at_once() -> Result<(), Violation> {
    let mut world = world(2);
    world.join(0, High)?;
    for _ in 0..2 {
        world.want((0, 0), 0, SECOND)?;
    }
    world.join(1, High)?;
    let id = world.want((1, 0), 0, SECOND)?;
    assert_eq!((world.dispatch.running(), world.dispatch.queued()), (2, 1));
    world.step()?;
    assert_eq!(world.starts.last(), Some(&(id, 1)));
    Ok(())
}

#[test]
fn ten_thousand_worlds_break_no_promise() {
    let (mut sum, mut broken) = (PermitsReport::default(), Vec::new());
    for seed in 0..10_000 {
        match permits(seed) {
            Ok(report) => {
                sum.started += report.started;
                sum.dropped += report.dropped;
                sum.withdrawn += report.withdrawn;
                sum.preempted += report.preempted;
                sum.stalls += report.stalls;
            }
            Err(why) => broken.push((seed, why)),
        }
    }
    assert!(
        broken.is_empty(),
        "{} worlds: {:?}",
        broken.len(),
        &broken[..broken.len().min(5)]
    );
    // They go where it matters.
    assert!(sum.started > 100_000 && sum.preempted > 2_000, "{sum:?}");
    assert!(sum.dropped > 1_000 && sum.withdrawn > 1_000, "{sum:?}");
    assert_eq!(permits(7), permits(7), "a seed is a world");
}
