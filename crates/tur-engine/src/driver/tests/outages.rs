//! A network that goes away and comes back; waits that origins ask for as dates.

use std::time::Duration;

use tur_core::{Kind, RetryAfter, Wall};
use tur_testkit::{Deed, When};

use super::stand::{MIB, Ran, Stand, Want, check, job, origin};
use crate::What;
use crate::clock::Clock;
use crate::job::Job;

const SIZE: u64 = 8 * MIB;
const SECOND: Duration = Duration::from_secs(1);

fn notes(ran: &Ran, start: &str) -> usize {
    ran.count(|what| matches!(what, What::Note(text) if text.starts_with(start)))
}

/// Each body is cut early, so that each lane needs a new connection soon.
fn cut() -> tur_testkit::Behaviour {
    origin(SIZE).rule(When::Always, Deed::CutAfter(MIB / 4))
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_for_without_using_up_attempts() {
    let mut told = 0;
    for (lanes, minutes) in [(1, 1), (4, 1), (1, 20), (4, 20)] {
        let away = minutes * 60 * SECOND;
        let mut stand = Stand::new(cut());
        let handle = stand.start(Job {
            lanes_max: lanes,
            ..job()
        });
        stand.transport.bytes_reach(MIB / 2).await;
        stand.transport.set_away(true);
        stand.pass(away).await;
        stand.transport.set_away(false);
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, SIZE));
        // What nobody takes in time is forgotten, so the notes of a long outage are not among the events.
        if ran.count(|what| matches!(what, What::Lagged(_))) == 0 {
            assert_eq!(notes(&ran, "the network is away: waiting"), 1);
            told += 1;
        }
        assert_eq!(notes(&ran, "the network is back"), 1);
        assert!(ran.elapsed() > away && ran.elapsed() < away + 60 * SECOND);
        assert_eq!(stand.transport.bytes_sent(), SIZE, "nothing is taken twice");
    }
    assert!(told >= 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_without_end_keeps_what_has_landed() {
    let mut stand = Stand::new(cut());
    let handle = stand.start(job());
    stand.transport.bytes_reach(MIB / 2).await;
    stand.transport.set_away(true);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::Network));
    assert!(ran.elapsed() > 3_600 * SECOND && ran.elapsed() < 3_700 * SECOND);
    // With a limit of the whole, that one ends it.
    let mut stand = Stand::new(cut());
    let handle = stand.start(Job {
        max_time: Some(100 * SECOND),
        ..job()
    });
    stand.transport.bytes_reach(MIB / 2).await;
    stand.transport.set_away(true);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::Network));
    assert!(ran.elapsed() >= 100 * SECOND && ran.elapsed() < 101 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn without_a_network_at_the_start_it_fails_soon() {
    let mut stand = Stand::new(origin(SIZE));
    stand.transport.set_away(true);
    let ran = stand.check(job(), Want::Nothing(Kind::Network)).await;
    assert_eq!(
        ran.count(|what| matches!(what, What::Retrying { .. })),
        5,
        "an ordinary failure"
    );
    assert!(ran.elapsed() < 16 * SECOND);
    let error = ran.result.expect_err("there is no network").to_string();
    assert!(error.starts_with("cannot reach"), "{error}");
}

fn in_seconds(secs: i64) -> Deed {
    let date = Wall::from_unix_secs(Clock::wall().unix_secs() + secs);
    Deed::Status {
        status: 503,
        retry_after: Some(RetryAfter::At(date)),
    }
}

/// The wall clock of a test is real: a slow machine shortens these waits, so the dates leave room.
#[tokio::test(start_paused = true)]
async fn a_retry_after_may_be_a_date() {
    let behaviour = origin(SIZE).rule(When::Only(1), in_seconds(50));
    let (_, ran) = check(behaviour, job(), Want::File(0, SIZE)).await;
    assert!(ran.elapsed() >= 20 * SECOND, "{:?}", ran.elapsed());
    assert!(ran.elapsed() < 53 * SECOND, "{:?}", ran.elapsed());
    // One that has passed asks for nothing: an ordinary backoff.
    for past in [-1, -100_000, i64::MIN / 2] {
        let behaviour = origin(SIZE).rule(When::Only(1), in_seconds(past));
        let (_, ran) = check(behaviour, job(), Want::File(0, SIZE)).await;
        assert!(ran.elapsed() < 3 * SECOND, "{:?}", ran.elapsed());
    }
    // One that is too far, in any sense, is told.
    for future in [1_000, 100_000_000_000, i64::MAX / 2] {
        let behaviour = origin(SIZE).rule(When::Always, in_seconds(future));
        let (stand, ran) = check(behaviour, job(), Want::Nothing(Kind::Server)).await;
        assert_eq!(stand.transport.requests(), 1);
        let error = ran.result.expect_err("it is busy");
        let told = error.retry_after().expect("the wait is told").as_secs();
        assert!(told > 900 && told <= future.unsigned_abs(), "{told}");
        assert!(error.to_string().contains("asked to wait"), "{error}");
    }
}
