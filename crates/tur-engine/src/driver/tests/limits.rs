//! Rate limits: how fast, who is blamed for it, and what pause, cancel and a change do to those who wait.

use std::time::Duration;

use tur_core::{Kind, Rate};
use tur_sched::SpeedFloor;
use tur_testkit::{Behaviour, Deed, When};

use super::stand::{KIB, MIB, PATH, Stand, Want, job, job_of};
use crate::job::{Destination, Job};
use crate::{PhaseWord, What};

/// A download with four lanes from the start.
fn four(limit: Option<u64>) -> Job {
    Job {
        lanes_start: Some(4),
        limit: limit.map(Rate::per_second),
        ..job()
    }
}

/// The time that `size` takes at `rate`, within `percent`.
#[track_caller]
fn assert_took(took: Duration, size: u64, rate: u64, percent: u32) {
    let should = Rate::per_second(rate).time_for(size);
    let off = took.abs_diff(should);
    assert!(off <= should * percent / 100, "{took:?} for {should:?}");
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_kept_within_three_percent() {
    // The download's limit, the process's, and both, of which the lower one counts.
    for (process, own) in [
        (None, Some(50_000)),
        (None, Some(500 * KIB)),
        (Some(500 * KIB), None),
        (Some(500 * KIB), Some(5 * MIB)),
        (Some(50 * MIB), Some(5 * MIB)),
    ] {
        let rate = process.into_iter().chain(own).min().expect("a limit");
        let size = (20 * rate).min(32 * MIB);
        let mut stand = Stand::new(Behaviour::new(size));
        stand.limit.set(process.map(Rate::per_second));
        let ran = stand.check(four(own), Want::File(0, size)).await;
        assert_took(ran.elapsed(), size, rate, 3);
        assert_eq!(ran.done().lanes_max, 4);
        let sent = stand.transport.bytes_sent();
        assert!(sent - size <= 256 * KIB, "{sent}: a cut wastes one draw");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_above_what_comes_changes_nothing() {
    let slow = || Behaviour::new(8 * MIB).pace(Rate::per_second(MIB));
    let free = Stand::new(slow())
        .check(four(None), Want::File(0, 8 * MIB))
        .await;
    let under = Stand::new(slow())
        .check(four(Some(100 * MIB)), Want::File(0, 8 * MIB))
        .await;
    let (free, under) = (free.elapsed(), under.elapsed());
    assert!(under.abs_diff(free) <= free / 50, "{under:?} and {free:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_felt_at_once_in_both_directions() {
    let mut stand = Stand::new(Behaviour::new(24 * MIB));
    let handle = stand.start(four(Some(KIB)));
    stand.pass(Duration::from_secs(60)).await;
    let early = handle.progress().landed;
    assert!(early <= 60 * KIB + 64 * KIB, "{early}");
    handle.set_limit(Some(Rate::per_second(MIB)));
    stand.pass(Duration::from_secs(10)).await;
    let faster = handle.progress().landed - early;
    assert!(faster.abs_diff(10 * MIB) < MIB, "{faster}");
    stand.limit.set(Some(Rate::per_second(100 * KIB)));
    let before = handle.progress().landed;
    stand.pass(Duration::from_secs(10)).await;
    let slower = handle.progress().landed - before;
    assert!(slower.abs_diff(1_000 * KIB) < 500 * KIB, "{slower}");
    handle.set_limit(None);
    stand.limit.set(None);
    let now = stand.clock.now();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, 24 * MIB));
    let rest = stand.clock.now().since(now);
    assert!(rest < Duration::from_secs(1), "{rest:?}");
}

/// Lanes are silent for minutes, because of the limit and not of the origin.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_limit_is_not_silent_and_not_slow() {
    let size = 512 * KIB;
    let mut stand = Stand::new(Behaviour::new(size));
    let job = Job {
        read_timeout: Duration::from_millis(200),
        speed_floor: Some(SpeedFloor {
            rate: Rate::per_second(10 * KIB),
            over: Duration::from_secs(3),
        }),
        ..four(Some(KIB))
    };
    let ran = stand.check(job, Want::File(0, size)).await;
    assert_took(ran.elapsed(), size, KIB, 10);
    let blamed = |what: &What| matches!(what, What::Stalled { .. } | What::Retrying { .. });
    assert_eq!(ran.count(blamed), 0);
    assert_eq!(stand.transport.bytes_sent(), size);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_falls_silent_under_a_limit_is_noticed() {
    let size = 4 * MIB;
    let silent = Behaviour::new(size).rule(When::Only(1), Deed::StallAfter(MIB));
    let mut stand = Stand::new(silent);
    let job = Job {
        lanes_max: 1,
        lanes_start: None,
        read_timeout: Duration::from_secs(5),
        ..four(Some(MIB))
    };
    let ran = stand.check(job, Want::File(0, size)).await;
    assert_eq!(ran.count(|what| matches!(what, What::Stalled { .. })), 1);
    let took = ran.elapsed();
    assert!(
        (9..=11).contains(&took.as_secs()),
        "4 s, and 5 s of silence: {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn pause_and_cancel_do_not_wait_for_the_limit() {
    let size = 4 * MIB;
    let mut stand = Stand::new(Behaviour::new(size));
    let handle = stand.start(four(Some(KIB)));
    stand.pass(Duration::from_secs(30)).await;
    handle.pause();
    stand.pass(Duration::from_millis(1)).await;
    assert_eq!(handle.progress().phase, PhaseWord::Paused);
    let at = handle.progress().landed;
    stand.pass(Duration::from_secs(600)).await;
    assert_eq!(handle.progress().landed, at);
    handle.resume();
    stand.pass(Duration::from_secs(30)).await;
    assert!(handle.progress().landed > at, "and it goes on");
    let now = stand.clock.now();
    handle.cancel();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::Signal));
    assert!(stand.clock.now().since(now) < Duration::from_millis(10));
    // A later run takes what landed, without a limit.
    let mut next = Stand::new(Behaviour::new(size));
    next.disk = stand.disk.clone();
    let ran = next.check(job(), Want::File(0, size)).await;
    assert!(ran.done().resumed_bytes > at);
}

#[tokio::test(start_paused = true)]
async fn a_silent_origin_keeps_no_turn_from_others() {
    let size = 4 * MIB;
    let silent = Behaviour::new(size).rule(When::Always, Deed::StallAfter(64 * KIB));
    let mut stand = Stand::with([(PATH, Behaviour::new(size)), ("/silent", silent)]);
    stand.limit.set(Some(Rate::per_second(MIB)));
    let mut waiting = job_of("http://origin.test/silent");
    waiting.destination = Destination::Directory("/elsewhere".into());
    let waiting = stand.start(waiting);
    stand.pass(Duration::from_secs(5)).await;
    assert!(waiting.progress().landed > 0);
    let now = stand.clock.now();
    let handle = stand.start(four(None));
    while handle.progress().phase != PhaseWord::Done {
        assert!(stand.clock.now().since(now) < Duration::from_secs(60));
        stand.pass(Duration::from_millis(50)).await;
    }
    stand.assert_file("file.bin", 0, size);
    assert_took(stand.clock.now().since(now), size, MIB, 5);
}
