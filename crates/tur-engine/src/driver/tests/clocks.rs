//! A wall clock that jumps by years: no time-out comes early, none late, and nothing else changes either.

use std::time::Duration;

use tur_core::{Kind, Rate, RetryAfter, Wall};
use tur_sched::SpeedFloor;
use tur_testkit::{Behaviour, Deed, When};

use super::stand::{KIB, MIB, Ran, Stand, Want, check, job, origin};
use crate::What;
use crate::clock::{Clock, jumps};
use crate::job::Job;

const SIZE: u64 = 2 * MIB;
const SECOND: Duration = Duration::from_secs(1);
const TEN_YEARS: i64 = 10 * 365 * 86_400;

/// Everything that waits: silence, pauses between attempts, a wait that was asked for, a floor, a limit of the whole.
fn waits() -> Vec<(Behaviour, Job, Want)> {
    let stalls = origin(SIZE).rule(When::First(2), Deed::StallAfter(200 * KIB));
    let breaks = origin(SIZE).rule(When::First(3), Deed::CutAfter(SIZE / 8));
    let busy = |secs| Deed::Status {
        status: 503,
        retry_after: Some(RetryAfter::Delay(secs * SECOND)),
    };
    let silent = || origin(SIZE).rule(When::Always, Deed::BlackHole);
    let floor = SpeedFloor {
        rate: Rate::per_second(KIB),
        over: 4 * SECOND,
    };
    vec![
        (stalls, job(), Want::File(0, SIZE)),
        (breaks, job(), Want::File(0, SIZE)),
        (
            origin(SIZE).rule(When::First(2), busy(20)),
            job(),
            Want::File(0, SIZE),
        ),
        (silent(), job(), Want::Nothing(Kind::Network)),
        (
            silent(),
            Job {
                speed_floor: Some(floor),
                ..job()
            },
            Want::Nothing(Kind::Network),
        ),
        (
            silent(),
            Job {
                max_time: Some(7 * SECOND),
                ..job()
            },
            Want::Nothing(Kind::Network),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn r177_a_wall_clock_that_jumps_decides_nothing() {
    for (row, (behaviour, job, want)) in waits().into_iter().enumerate() {
        jumps::by(0);
        let (_, steady) = check(behaviour.clone(), job.clone(), want).await;
        for by in [TEN_YEARS, -TEN_YEARS] {
            jumps::by(by);
            let first = Clock::wall().unix_secs();
            assert!(
                first.abs_diff(Clock::wall().unix_secs()) > 1_000_000,
                "it jumps"
            );
            let (_, jumping) = check(behaviour.clone(), job.clone(), want).await;
            assert_eq!(jumping.elapsed(), steady.elapsed(), "row {row}");
            // What is remembered ages by the wall clock: only whether it is told may differ.
            let told = |ran: &Ran| {
                ran.events.len() - ran.count(|what| matches!(what, What::OriginLearned(_)))
            };
            assert_eq!(told(&jumping), told(&steady), "row {row}");
        }
    }
    jumps::by(0);
}

/// A date to come back at is read once; what the clock says later does not matter.
#[tokio::test(start_paused = true)]
async fn a_jump_while_a_date_is_waited_for_changes_nothing() {
    for by in [TEN_YEARS, -TEN_YEARS] {
        jumps::by(0);
        let date = Wall::from_unix_secs(Clock::wall().unix_secs() + 50);
        let behaviour = origin(SIZE).rule(
            When::Only(1),
            Deed::Status {
                status: 503,
                retry_after: Some(RetryAfter::At(date)),
            },
        );
        let mut stand = Stand::new(behaviour);
        let handle = stand.start(job());
        stand.pass(5 * SECOND).await;
        assert_eq!(stand.transport.requests(), 1);
        jumps::by(by);
        let ran = stand.end(handle).await;
        jumps::by(0);
        stand.assert_left(&ran, Want::File(0, SIZE));
        // The date is a real one, and a slow machine shortens the wait.
        assert!(ran.elapsed() >= 20 * SECOND, "{:?}", ran.elapsed());
        assert!(ran.elapsed() < 53 * SECOND, "{:?}", ran.elapsed());
    }
}
