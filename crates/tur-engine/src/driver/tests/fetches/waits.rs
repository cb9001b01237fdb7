//! Time: slow origins, silent ones, rate limits, and readers that do not read.

use std::time::Duration;

use tur_core::{Kind, Rate};
use tur_testkit::{Behaviour, Deed, When};

use super::super::stand::{KIB, MIB, Stand, origin};
use super::cup::{Cup, fetch_job, tried};
use super::{SIZE, WHOLE, span};
use crate::What;
use crate::fetch::FetchJob;
use crate::region::FILL_MAX;

const MS: Duration = Duration::from_millis(1);
const SLOW: fn(&What) -> bool = |what| matches!(what, What::Slow);

fn soft(slow_after: Duration) -> FetchJob {
    FetchJob {
        slow_after,
        ..fetch_job(Some(span(0, SIZE)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_is_called_so_once_and_waited_for() {
    let late_head = Behaviour::new(SIZE).first_byte(500 * MS);
    let late_body = Behaviour::new(SIZE).rule(When::Always, Deed::BodyAfter(500 * MS));
    let slow_throughout = late_head.clone().rule(When::First(1), Deed::CutAfter(9));
    for behaviour in [late_head, late_body, slow_throughout] {
        let (_, done) = tried(behaviour, soft(50 * MS), Cup::new()).await;
        done.assert_bytes(0, span(0, SIZE));
        assert_eq!((done.log.slow, done.count(SLOW)), (1, 1));
        let slow_at = done.events.iter().find(|event| SLOW(&event.what));
        assert_eq!(slow_at.map(|event| event.t), Some(50 * MS));
        let first = done.done().first_byte.expect("bytes came");
        assert!(first >= 500 * MS && first < 550 * MS, "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_keeps_bringing_bytes_is_not_slow() {
    // Ten milliseconds' worth at a time, over seconds.
    let behaviour = Behaviour::new(SIZE).pace(Rate::per_second(256 * KIB));
    let (_, done) = tried(behaviour, soft(45 * MS), Cup::new()).await;
    assert!(done.elapsed() > Duration::from_secs(4));
    assert_eq!((done.log.slow, done.count(SLOW)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_stall_and_the_rest_is_asked_for_again() {
    let behaviour = origin(SIZE).rule(When::Only(1), Deed::StallAfter(64 * KIB));
    let (stand, done) = tried(behaviour, soft(2_000 * MS), Cup::new()).await;
    done.assert_bytes(0, span(0, SIZE));
    assert_eq!(done.count(|what| matches!(what, What::Stalled { .. })), 1);
    assert_eq!(done.log.slow, 1);
    let thirty = Duration::from_secs(30);
    assert!(done.elapsed() >= thirty && done.elapsed() < 2 * thirty);
    let asked: Vec<_> = stand.transport.seen().iter().map(|s| s.range).collect();
    assert_eq!(asked, [Some(span(0, SIZE)), Some(span(64 * KIB, SIZE))]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_an_error_and_never_an_end() {
    for deed in [Deed::BlackHole, Deed::StallAfter(0)] {
        let behaviour = origin(SIZE).rule(When::Always, deed);
        let (stand, failed) = tried(behaviour, fetch_job(Some(span(0, 101))), Cup::new()).await;
        failed.error(Kind::Network);
        failed.assert_begun(0);
        assert!(stand.transport.requests() <= 12);
        let job = FetchJob {
            max_time: Some(Duration::from_secs(7)),
            ..fetch_job(None)
        };
        let (_, failed) = tried(
            origin(SIZE).rule(When::Always, Deed::BlackHole),
            job,
            Cup::new(),
        )
        .await;
        failed.error(Kind::Network);
        assert_eq!(failed.elapsed(), Duration::from_secs(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_stops_the_origin_and_is_not_its_fault() {
    let size = 8 * MIB;
    let job = FetchJob {
        read_timeout: Duration::from_secs(5),
        ..fetch_job(None)
    };
    let room = 300 * 1024;
    let mut stand = Stand::new(Behaviour::new(size));
    let running = stand.begin_fetch(job, Cup::of(room));
    for n in 1..=4_u32 {
        stand.pass(Duration::from_secs(60)).await;
        let room = room * n as usize;
        let taken = running.cup.log().bytes.len();
        assert!(taken >= room && taken < room + FILL_MAX, "{taken}");
        assert_eq!(
            stand.transport.bytes_sent(),
            taken as u64,
            "nothing is held between"
        );
        running.cup.make_room(300 * 1024);
    }
    running.cup.make_room(usize::MAX);
    let done = stand.end_fetch(running).await;
    stand.assert_idle();
    done.assert_bytes(0, span(0, size));
    assert!(done.log.gulp <= FILL_MAX + 16 * 1024, "{}", done.log.gulp);
    assert_eq!(done.done().requests, 1);
    for is in [SLOW, |what: &What| {
        matches!(what, What::Retrying { .. } | What::Stalled { .. })
    }] {
        assert_eq!(done.count(is), 0);
    }
}

/// What is silent after the reader has made room is silent all the same.
#[tokio::test(start_paused = true)]
async fn the_clock_of_the_origin_runs_on_when_there_is_room_again() {
    let behaviour = Behaviour::new(SIZE).rule(When::Only(1), Deed::StallAfter(400_000));
    let mut stand = Stand::new(behaviour);
    let running = stand.begin_fetch(soft(2_000 * MS), Cup::of(100_000));
    stand.pass(Duration::from_secs(100)).await;
    running.cup.make_room(usize::MAX);
    let done = stand.end_fetch(running).await;
    done.assert_bytes(0, span(0, SIZE));
    assert_eq!(done.done().requests, 2);
    assert_eq!(done.log.slow, 1);
    let spent = done.elapsed() - Duration::from_secs(100);
    assert!(
        spent >= Duration::from_secs(30) && spent < Duration::from_secs(35),
        "{spent:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_need_no_room_behind_them() {
    for framing in [tur_testkit::Framing::Length, tur_testkit::Framing::Chunked] {
        let wanted = span(1_000, 51_000);
        let behaviour = Behaviour::new(SIZE).framing(framing);
        let (_, done) = tried(behaviour, fetch_job(Some(wanted)), Cup::of(50_000)).await;
        done.assert_bytes(0, wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_the_process_holds_and_is_no_slowness() {
    let mut stand = Stand::new(Behaviour::new(MIB));
    stand.limit.set(Some(Rate::per_second(10 * KIB)));
    let job = FetchJob {
        slow_after: 500 * MS,
        read_timeout: Duration::from_secs(3),
        ..fetch_job(Some(span(0, 200 * KIB)))
    };
    let done = stand.try_fetch(job, Cup::new()).await;
    done.assert_bytes(0, span(0, 200 * KIB));
    let took = done.elapsed();
    assert!(
        took > Duration::from_secs(18) && took < Duration::from_secs(22),
        "{took:?}"
    );
    assert_eq!(done.done().requests, 1);
    assert_eq!(done.log.slow, 0);
}

/// A body that broke off while it waited for a limit holds nobody up any more.
#[tokio::test(start_paused = true)]
async fn silence_after_a_break_under_a_limit_is_slow() {
    let behaviour = Behaviour::new(MIB)
        .rule(When::Only(1), Deed::CutAfter(50 * KIB))
        .rule(When::Only(2), Deed::FirstByte(Duration::from_secs(10)));
    let mut stand = Stand::new(behaviour);
    stand.limit.set(Some(Rate::per_second(10 * KIB)));
    let job = FetchJob {
        slow_after: Duration::from_secs(3),
        ..fetch_job(Some(span(0, 100 * KIB)))
    };
    let done = stand.try_fetch(job, Cup::new()).await;
    done.assert_bytes(0, span(0, 100 * KIB));
    assert_eq!((done.done().requests, done.log.slow), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_nobodys_silence() {
    let mut stand = Stand::new(Behaviour::new(SIZE).pace(Rate::per_second(MIB)));
    let running = stand.begin_fetch(soft(500 * MS), Cup::new());
    stand.transport.bytes_reach(300_000).await;
    running
        .caller
        .commands
        .send_modify(|wish| wish.paused = true);
    stand.pass(Duration::from_secs(60)).await;
    running
        .caller
        .commands
        .send_modify(|wish| wish.paused = false);
    let done = stand.end_fetch(running).await;
    done.assert_bytes(0, span(0, SIZE));
    assert_eq!(done.log.slow, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_of_the_origin_is_remembered() {
    let mut stand = Stand::new(origin(SIZE));
    let running = stand.begin_fetch(fetch_job(Some(WHOLE)), Cup::new());
    stand.end_fetch(running).await.done();
    let target = fetch_job(None).target;
    let hint = stand.origins.hint(&target.origin).expect("remembered");
    assert!(hint.rtt.is_some() && hint.handshake.is_some());
    // A second fetch finds the connection of the first one.
    let running = stand.begin_fetch(fetch_job(Some(span(5, 10))), Cup::new());
    let done = stand.end_fetch(running).await;
    assert_eq!(done.done().connections, 0);
    assert_eq!(stand.transport.connections(), 1);
    stand.assert_idle();
}
