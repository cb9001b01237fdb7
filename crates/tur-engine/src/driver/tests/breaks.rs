//! Bodies that break off, stall or never begin: gone on with where they ended, and given up in bounded time.

use std::time::Duration;

use tur_core::{Kind, Rate};
use tur_sched::{RetryPolicy, SpeedFloor};
use tur_testkit::{Behaviour, Deed, Framing, Link, Ranges, When};

use super::stand::{KIB, MIB, PATH, Stand, Want, check, job, origin};
use crate::What;
use crate::job::Job;

const SIZE: u64 = 1_024_000;
const HALF: u64 = 512_000;

fn one_lane() -> Job {
    Job {
        lanes_max: 1,
        ..job()
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_cut_short_is_gone_on_with_from_there() {
    let plain_cut = Behaviour::new(SIZE).rule(When::Only(1), Deed::CutAfter(HALF));
    let reset = Behaviour::new(SIZE).rule(When::Only(1), Deed::ResetAfter(HALF));
    for behaviour in [plain_cut, reset] {
        let (stand, ran) = check(behaviour, one_lane(), Want::File(0, SIZE)).await;
        let starts: Vec<_> = stand
            .transport
            .seen()
            .iter()
            .map(|seen| seen.range)
            .collect();
        let starts: Vec<_> = starts
            .iter()
            .map(|range| range.map_or(0, |r| r.start))
            .collect();
        assert_eq!(starts, [0, HALF]);
        assert_eq!(stand.transport.bytes_sent(), SIZE);
        assert_eq!(
            ran.count(|what| matches!(what, What::Retrying { attempt: 1, .. })),
            1
        );
        assert_eq!(
            ran.count(|what| matches!(what, What::Resumed { at: HALF })),
            1
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_told_and_gone_on_with() {
    let behaviour = origin(SIZE).rule(When::Only(1), Deed::StallAfter(64 * KIB));
    let (stand, ran) = check(behaviour, one_lane(), Want::File(0, SIZE)).await;
    assert_eq!(
        ran.count(|what| matches!(what, What::Stalled { lane: Some(0), .. })),
        1
    );
    assert_eq!(
        ran.count(|what| matches!(what, What::Resumed { at: 65_536 })),
        1
    );
    assert_eq!(stand.transport.bytes_sent(), SIZE);
    let thirty = Duration::from_secs(30);
    assert!(
        ran.elapsed() >= thirty && ran.elapsed() < 2 * thirty,
        "{:?}",
        ran.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn one_stalled_lane_of_four_costs_no_byte() {
    let job = Job {
        lanes_start: Some(4),
        read_timeout: Duration::from_secs(3),
        ..job()
    };
    for deed in [
        Deed::StallAfter(100_000),
        Deed::BlackHole,
        Deed::CutAfter(1),
        Deed::Hangup,
    ] {
        let behaviour = origin(4 * MIB).rule(When::Only(3), deed);
        check(behaviour, job.clone(), Want::File(0, 4 * MIB)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_ends_in_bounded_time() {
    let read_timeout = Duration::from_secs(10);
    let deeds = [
        Deed::StallAfter(0),
        Deed::BlackHole,
        Deed::Hangup,
        Deed::CutAfter(0),
    ];
    for lanes_max in [1, 4] {
        for deed in deeds.clone() {
            let job = Job {
                read_timeout,
                lanes_max,
                ..job()
            };
            let behaviour = origin(SIZE).rule(When::Always, deed.clone());
            let (stand, ran) = check(behaviour, job, Want::Nothing(Kind::Network)).await;
            let requests = stand.transport.requests();
            let tries = 6 * u64::from(lanes_max);
            assert!(
                (6..=tries).contains(&requests),
                "{deed:?}: {requests} requests"
            );
            let backoffs = Duration::from_millis(500) * 31;
            assert!(
                ran.elapsed() <= 6 * read_timeout + backoffs,
                "{:?}",
                ran.elapsed()
            );
            let retries = ran.count(|what| matches!(what, What::Retrying { .. }));
            assert!(
                (5..tries as usize).contains(&retries),
                "{deed:?}: {retries}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_behind_the_first_bytes_keeps_them() {
    let behaviour = origin(SIZE)
        .rule(When::Only(1), Deed::StallAfter(HALF))
        .rule(When::After(1), Deed::BlackHole);
    let mut stand = Stand::new(behaviour);
    stand.check(one_lane(), Want::Part(Kind::Network)).await;
    // The origin is well again: what is there is not asked for.
    stand.transport.swap(PATH, origin(SIZE));
    let before = stand.transport.bytes_sent();
    let ran = stand.check(one_lane(), Want::File(0, SIZE)).await;
    assert!(ran.done().resumed_bytes >= HALF);
    assert_eq!(
        stand.transport.bytes_sent() - before,
        SIZE - ran.done().resumed_bytes
    );
}

#[tokio::test(start_paused = true)]
async fn progress_forgives_earlier_failures() {
    let job = Job {
        retry: RetryPolicy {
            retries: 1,
            ..RetryPolicy::default()
        },
        ..one_lane()
    };
    let behaviour = Behaviour::new(21 * MIB).rule(When::Always, Deed::CutAfter(MIB));
    let (stand, ran) = check(behaviour, job, Want::File(0, 21 * MIB)).await;
    assert_eq!(stand.transport.requests(), 21);
    assert_eq!(ran.count(|what| matches!(what, What::Retrying { .. })), 20);
    assert_eq!(stand.transport.bytes_sent(), 21 * MIB);
}

#[tokio::test(start_paused = true)]
async fn no_retries_means_none() {
    let job = Job {
        retry: RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        },
        ..one_lane()
    };
    let behaviour = origin(SIZE).rule(When::Only(1), Deed::CutAfter(HALF));
    let (stand, _) = check(behaviour, job, Want::Part(Kind::Network)).await;
    assert_eq!(stand.transport.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chunked_body_is_complete_only_with_its_last_chunk() {
    let chunked = || {
        Behaviour::new(SIZE)
            .framing(Framing::Chunked)
            .ranges(Ranges::Ignored)
    };
    let cut_once = chunked().rule(When::Only(1), Deed::CutAfter(HALF));
    check(cut_once, job(), Want::File(0, SIZE)).await;
    let cut_at_the_end = chunked().rule(When::Only(1), Deed::CutAfter(SIZE));
    check(cut_at_the_end, job(), Want::File(0, SIZE)).await;
    let mut stand = Stand::new(chunked().rule(When::Always, Deed::CutAfter(HALF)));
    let ran = stand.run(job()).await;
    assert_eq!(
        ran.result.map(|done| done.bytes).map_err(|e| e.kind()),
        Err(Kind::Network)
    );
    assert!(!stand.exists("file.bin"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_exactly_the_end_completes() {
    let behaviour = Behaviour::new(SIZE)
        .framing(Framing::Chunked)
        .rule(When::Only(1), Deed::Ranges(Ranges::Ignored))
        .rule(When::Only(1), Deed::CutAfter(SIZE));
    let (stand, _) = check(behaviour, one_lane(), Want::File(0, SIZE)).await;
    assert_eq!(stand.transport.bytes_sent(), SIZE, "nothing was sent twice");
    let statuses: Vec<_> = stand
        .transport
        .seen()
        .iter()
        .map(|seen| seen.status)
        .collect();
    assert_eq!(statuses, [200, 416]);
}

#[tokio::test(start_paused = true)]
async fn refused_connections_are_tried_again() {
    for k in [1, 3, 5] {
        let link = Link {
            refuse_first: k,
            ..Link::default()
        };
        let mut stand = Stand::over(link, [(PATH, origin(SIZE))]);
        let ran = stand.check(job(), Want::File(0, SIZE)).await;
        assert!(ran.count(|what| matches!(what, What::Retrying { .. })) >= 1);
    }
    let link = Link {
        refuse_first: u64::MAX,
        ..Link::default()
    };
    let mut stand = Stand::over(link, [(PATH, origin(SIZE))]);
    stand.check(job(), Want::Nothing(Kind::Network)).await;
    assert_eq!(stand.transport.connections(), 6, "one try and five retries");
}

#[tokio::test(start_paused = true)]
async fn one_connection_is_enough() {
    let link = Link {
        refuse_after: Some(1),
        ..Link::default()
    };
    let mut stand = Stand::over(link, [(PATH, origin(4 * MIB))]);
    stand.check(one_lane(), Want::File(0, 4 * MIB)).await;
}

#[tokio::test(start_paused = true)]
async fn a_download_below_its_floor_is_given_up() {
    let floor = SpeedFloor {
        rate: Rate::per_second(100 * KIB),
        over: Duration::from_secs(10),
    };
    let job = Job {
        speed_floor: Some(floor),
        ..job()
    };
    let slow = Behaviour::new(SIZE).rule(When::Always, Deed::Pace(Rate::per_second(KIB)));
    let (_, ran) = check(slow, job.clone(), Want::Part(Kind::Network)).await;
    assert!(
        ran.elapsed() >= floor.over && ran.elapsed() < 2 * floor.over,
        "{:?}",
        ran.elapsed()
    );
    // Time in which nothing is received because the origin said so does not count.
    let busy = Deed::Status {
        status: 503,
        retry_after: Some(tur_core::RetryAfter::Delay(Duration::from_secs(50))),
    };
    let quick = origin(SIZE).rule(When::First(2), busy);
    check(quick, job, Want::File(0, SIZE)).await;
}

#[tokio::test(start_paused = true)]
async fn a_download_has_no_more_than_its_time() {
    let limit = Duration::from_secs(20);
    let job = Job {
        max_time: Some(limit),
        ..one_lane()
    };
    let slow = Behaviour::new(SIZE).pace(Rate::per_second(10_000));
    let (_, ran) = check(slow, job.clone(), Want::Part(Kind::Network)).await;
    assert!(ran.elapsed() >= limit && ran.elapsed() < limit + Duration::from_secs(1));
    let silent = origin(SIZE).rule(When::Always, Deed::BlackHole);
    let (_, ran) = check(silent, job, Want::Nothing(Kind::Network)).await;
    assert!(ran.elapsed() >= limit && ran.elapsed() < limit + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_answer_is_told_once() {
    let behaviour = origin(SIZE).first_byte(Duration::from_secs(5));
    let (_, ran) = check(behaviour, one_lane(), Want::File(0, SIZE)).await;
    assert_eq!(ran.count(|what| matches!(what, What::Slow)), 1);
    let (_, ran) = check(origin(SIZE), one_lane(), Want::File(0, SIZE)).await;
    assert_eq!(ran.count(|what| matches!(what, What::Slow)), 0);
}
