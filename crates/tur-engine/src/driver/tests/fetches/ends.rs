//! How fetches end that do not go well: refused, changed, cancelled, or by a panic.

use std::time::Duration;

use tur_core::port::Field;
use tur_core::{Kind, RetryAfter};
use tur_sched::RetryPolicy;
use tur_testkit::{Behaviour, Deed, Framing, Ranges, When};

use super::super::stand::{KIB, MIB, Stand, origin};
use super::cup::{Cup, In, fetch_job, tried};
use super::{SIZE, span};
use crate::What;
use crate::fetch::FetchJob;

const WANTED: tur_core::ByteRange = span(100_000, 900_000);

fn job() -> FetchJob {
    fetch_job(Some(WANTED))
}

fn status(status: u16, retry_after: Option<u64>) -> Deed {
    Deed::Status {
        status,
        retry_after: retry_after.map(|secs| RetryAfter::Delay(Duration::from_secs(secs))),
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_are_tried_again_as_those_of_downloads() {
    let retries = |what: &What| matches!(what, What::Retrying { .. });
    let behaviour = origin(SIZE).rule(When::First(2), status(503, None));
    let (stand, done) = tried(behaviour, job(), Cup::new()).await;
    done.assert_bytes(0, WANTED);
    assert_eq!(stand.transport.requests(), 3);
    assert_eq!(done.count(retries), 2);

    let behaviour = origin(SIZE).rule(When::Always, status(404, None));
    let (stand, failed) = tried(behaviour, job(), Cup::new()).await;
    failed.error(Kind::Server);
    assert_eq!(stand.transport.requests(), 1);
    assert_eq!(failed.count(retries), 0);

    let behaviour = origin(SIZE).rule(When::Only(1), status(429, Some(1)));
    let (_, done) = tried(behaviour, job(), Cup::new()).await;
    done.assert_bytes(0, WANTED);
    assert!(done.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_the_taker_refuses_is_asked_for_once_and_not_delivered() {
    let page = origin(SIZE).rule(When::Always, Deed::Page);
    for behaviour in [page.clone(), page.ranges(Ranges::Ignored)] {
        let cup = Cup::refusing("a page is no segment");
        let (stand, failed) = tried(behaviour, fetch_job(None), cup).await;
        let error = failed.error(Kind::Server);
        assert_eq!(error.to_string(), "not taken: a page is no segment");
        assert_eq!(failed.log.heads.len(), 1);
        assert_eq!(failed.log.heads[0].media_type.as_deref(), Some("text/html"));
        assert!(failed.log.bytes.is_empty());
        assert_eq!(stand.transport.requests(), 1);
    }
    // The same by the terms of the job.
    let job = FetchJob {
        terms: tur_http::Terms {
            types: vec!["video/*".parse().expect("a pattern")],
            ..Default::default()
        },
        ..job()
    };
    let (stand, failed) = tried(origin(SIZE), job, Cup::new()).await;
    failed.error(Kind::Server);
    assert!(failed.log.heads.is_empty() && failed.log.bytes.is_empty());
    assert_eq!(stand.transport.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_after_the_first_byte_is_an_error_and_no_splice() {
    for deed in [Deed::CutAfter(50_000), Deed::ResetAfter(1)] {
        for framing in [Framing::Length, Framing::Chunked] {
            let behaviour = origin(SIZE)
                .framing(framing)
                .changes_after(1, 1)
                .rule(When::Only(1), deed.clone());
            let (stand, failed) = tried(behaviour, job(), Cup::new()).await;
            failed.error(Kind::Changed);
            failed.assert_begun(0);
            assert!(!failed.log.bytes.is_empty());
            assert!(stand.transport.requests() <= 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_before_the_first_byte_is_another_beginning() {
    let behaviour = origin(SIZE)
        .changes_after(1, 1)
        .rule(When::Only(1), Deed::ResetAfter(0));
    let (_, done) = tried(behaviour, job(), Cup::new()).await;
    done.assert_bytes(1, WANTED);
    let validators: Vec<_> = done.log.heads.iter().map(|h| h.validator.clone()).collect();
    assert_eq!(validators, [Some("\"v0\"".into()), Some("\"v1\"".into())]);
    assert_eq!(done.count(|what| matches!(what, What::Restarted { .. })), 1);
    assert_eq!(done.count(|what| matches!(what, What::Opened { .. })), 2);
}

#[tokio::test(start_paused = true)]
async fn what_nothing_identifies_is_not_gone_on_with() {
    let behaviour = Behaviour::new(SIZE)
        .no_validators()
        .ranges(Ranges::Ignored)
        .framing(Framing::Chunked)
        .rule(When::Only(1), Deed::CutAfter(50_000));
    let (_, failed) = tried(behaviour, fetch_job(None), Cup::new()).await;
    failed.error(Kind::NotResumable);
    failed.assert_begun(0);
    assert_eq!(failed.log.bytes.len(), 50_000);
}

#[tokio::test(start_paused = true)]
async fn secrets_go_to_the_first_origin_and_the_head_names_the_last() {
    let to = Deed::Redirect {
        status: 302,
        location: "http://cdn.test/part?sig=1".into(),
    };
    let mut stand = Stand::with([
        (
            "origin.test/file.bin",
            Behaviour::new(0).rule(When::Always, to),
        ),
        ("cdn.test/part?sig=1", origin(SIZE)),
    ]);
    let field = Field {
        name: "Authorization".into(),
        value: "s3cret".into(),
    };
    let job = FetchJob {
        fields: vec![field],
        ..job()
    };
    let done = stand.try_fetch(job, Cup::new()).await;
    done.assert_bytes(0, WANTED);
    let head = &done.log.heads[0];
    assert_eq!(head.url, "http://cdn.test/part?sig=1");
    assert!(!format!("{head:?}").contains("sig"));
    let seen = stand.transport.seen();
    let secrets: Vec<_> = seen
        .iter()
        .map(|seen| (&*seen.host, seen.field("authorization").is_some()))
        .collect();
    assert_eq!(secrets, [("origin.test", true), ("cdn.test", false)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_taker_costs_its_own_fetch_alone() {
    for place in [In::Head, In::Room, In::Take, In::Slow, In::Drop] {
        println!("{place:?}");
        let mut stand = Stand::new(origin(SIZE).first_byte(Duration::from_secs(3)));
        let other = stand.begin_fetch(job(), Cup::new());
        let running = stand.begin_fetch(job(), Cup::panicking(place));
        let fallen = stand.end_fetch(running).await;
        if place == In::Drop {
            fallen.assert_bytes(0, WANTED);
        } else {
            let error = fallen.error(Kind::Other);
            let text = "who takes the bytes panicked: as the test wants it";
            assert_eq!(error.to_string(), text);
            assert!(fallen.log.bytes.is_empty());
        }
        stand.end_fetch(other).await.assert_bytes(0, WANTED);
        stand.settle().await;
        stand.assert_idle();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_any_phase_gives_everything_back() {
    let slow = Duration::from_secs(20);
    let body = Deed::BodyAfter(slow);
    let rows = [
        // While it connects, waits for an answer, for the body, and for its next try.
        (origin(SIZE), Duration::from_millis(5), Cup::new()),
        (
            origin(SIZE).first_byte(slow),
            Duration::from_secs(2),
            Cup::new(),
        ),
        (
            origin(SIZE).rule(When::Always, body),
            Duration::from_secs(2),
            Cup::new(),
        ),
        (
            origin(SIZE).rule(When::Always, status(503, Some(20))),
            Duration::from_secs(2),
            Cup::new(),
        ),
        (
            origin(SIZE).rule(When::Always, Deed::StallAfter(90_000)),
            Duration::from_secs(2),
            Cup::new(),
        ),
        // While the bytes are not taken.
        (origin(SIZE), Duration::from_secs(2), Cup::of(1)),
    ];
    for (behaviour, after, cup) in rows {
        for whole_life in [false, true] {
            println!("{:?} after {after:?}", behaviour.rules);
            let mut stand = Stand::new(behaviour.clone());
            let running = stand.begin_fetch(job(), cup_like(&cup));
            stand.pass(after).await;
            let began = stand.clock.now();
            if whole_life {
                stand.end_life();
            } else {
                running
                    .caller
                    .commands
                    .send_modify(|wish| wish.cancelled = true);
            }
            let ended = stand.end_fetch(running).await;
            ended.error(Kind::Signal);
            ended.assert_begun(0);
            assert_eq!(stand.clock.now(), began, "at once");
            stand.settle().await;
            stand.assert_idle();
        }
    }
}

/// Another one with as much room.
fn cup_like(cup: &Cup) -> Cup {
    Cup::of(cup.room())
}

#[tokio::test(start_paused = true)]
async fn a_fetch_without_retries_is_tried_once() {
    let job = FetchJob {
        retry: RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        },
        ..job()
    };
    for deed in [
        Deed::BlackHole,
        Deed::Hangup,
        Deed::CutAfter(10),
        status(500, None),
    ] {
        let behaviour = origin(SIZE).rule(When::Always, deed);
        let (stand, failed) = tried(behaviour, job.clone(), Cup::new()).await;
        assert!(failed.result.is_err());
        failed.assert_begun(0);
        assert_eq!(stand.transport.requests(), 1);
    }
}

/// Fetches of all kinds at one origin beside a download: none disturbs another, and nothing is left of any.
#[tokio::test(start_paused = true)]
async fn fetches_and_a_download_share_an_origin() {
    let size = 16 * MIB;
    let mut stand = Stand::new(origin(size));
    let download = stand.start(super::super::stand::job());
    let spans: Vec<_> = (0..20)
        .map(|i| span(i * 777 * KIB, i * 777 * KIB + 5_000))
        .collect();
    let running: Vec<_> = spans
        .iter()
        .map(|span| stand.begin_fetch(fetch_job(Some(*span)), Cup::new()))
        .collect();
    for (running, span) in running.into_iter().zip(spans) {
        let done = stand.end_fetch(running).await;
        done.assert_bytes(0, span);
        assert_eq!(done.done().requests, 1);
    }
    let ran = stand.end(download).await;
    stand.assert_left(&ran, super::super::stand::Want::File(0, size));
    assert_eq!(ran.done().lanes_max, 4, "it found its width all the same");
    assert_eq!(ran.count(|what| matches!(what, What::Retrying { .. })), 0);
    stand.assert_idle();
}
