//! Answers that are not the file: which are tried again, when, and which are final.

use std::time::Duration;

use tur_core::{Kind, RetryAfter};
use tur_testkit::{Deed, When};

use super::stand::{MIB, Ran, Stand, Want, check, job, origin};
use crate::What;
use crate::job::Job;

const SIZE: u64 = 2 * MIB;
const SECOND: Duration = Duration::from_secs(1);

fn status(status: u16, retry_after: Option<u64>) -> Deed {
    Deed::Status {
        status,
        retry_after: retry_after.map(|secs| RetryAfter::Delay(Duration::from_secs(secs))),
    }
}

fn one_lane() -> Job {
    Job {
        lanes_max: 1,
        ..job()
    }
}

fn retries(ran: &Ran) -> usize {
    ran.count(|what| matches!(what, What::Retrying { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_tried_again() {
    for code in [408, 429, 500, 502, 503, 504, 521] {
        let behaviour = origin(SIZE).rule(When::First(2), status(code, None));
        let (_, ran) = check(behaviour, job(), Want::File(0, SIZE)).await;
        assert_eq!(retries(&ran), 2, "{code}");
        let behaviour = origin(SIZE).rule(When::Always, status(code, None));
        let (stand, _) = check(behaviour, job(), Want::Nothing(Kind::Server)).await;
        assert_eq!(
            stand.transport.requests(),
            6,
            "{code}: one try and five retries"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_final_takes_one_request() {
    let rows = [
        (status(400, None), Kind::Server),
        (status(403, None), Kind::Server),
        (status(404, None), Kind::Server),
        (status(410, None), Kind::Server),
        (status(451, None), Kind::Server),
        (status(505, None), Kind::Server),
        (status(401, None), Kind::Auth),
        (status(407, None), Kind::Auth),
        (Deed::Challenge, Kind::Auth),
        (Deed::Reason(404, "No\x1b[31m".to_owned()), Kind::Server),
        (Deed::NotHttp, Kind::Protocol),
        (Deed::EndlessHead, Kind::Limit),
        (Deed::Interim(1_000), Kind::Limit),
    ];
    for (deed, kind) in rows {
        let behaviour = origin(SIZE).rule(When::Always, deed.clone());
        let (stand, ran) = check(behaviour, job(), Want::Nothing(kind)).await;
        assert_eq!(stand.transport.requests(), 1, "{deed:?}");
        assert_eq!(retries(&ran), 0, "{deed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_final_later_keeps_what_has_landed() {
    for code in [404, 410, 451, 401] {
        let behaviour = origin(SIZE)
            .rule(When::Only(1), Deed::CutAfter(MIB))
            .rule(When::After(1), status(code, None));
        let job = one_lane();
        let kind = if code == 401 {
            Kind::Auth
        } else {
            Kind::Server
        };
        let (_, ran) = check(behaviour, job, Want::Part(kind)).await;
        let text = ran.result.expect_err("it fails").to_string();
        assert!(
            text.contains(&format!("{MIB} of {SIZE} bytes are kept")),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nonsense_later_is_tried_again() {
    let behaviour = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(MIB))
        .rule(When::Only(2), Deed::NotHttp);
    check(behaviour, job(), Want::File(0, SIZE)).await;
}

/// The gaps are as long as asked for.
#[tokio::test(start_paused = true)]
async fn a_retry_after_is_kept() {
    for code in [429, 503] {
        let behaviour = origin(SIZE).rule(When::First(2), status(code, Some(7)));
        let (stand, _) = check(behaviour, job(), Want::File(0, SIZE)).await;
        let seen = stand.transport.seen();
        for pair in seen[..3].windows(2) {
            let gap = pair[1].at - pair[0].at;
            assert!(gap >= 7 * SECOND && gap < 8 * SECOND, "{gap:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_that_is_too_long_is_told() {
    for after in [61, 3_600, u64::MAX] {
        let behaviour = origin(SIZE).rule(When::Always, status(503, Some(after)));
        let (stand, ran) = check(behaviour, job(), Want::Nothing(Kind::Server)).await;
        assert_eq!(stand.transport.requests(), 1);
        let error = ran.result.as_ref().expect_err("it is busy");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(after)));
        assert!(ran.elapsed() < SECOND);
    }
    let behaviour = origin(SIZE).rule(When::Only(1), status(503, Some(60)));
    let (_, ran) = check(behaviour, job(), Want::File(0, SIZE)).await;
    assert!(ran.elapsed() >= 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn as_many_lanes_work_as_the_origin_serves() {
    for limit in [1, 2, 3] {
        let busy = Deed::Busy {
            limit,
            retry_after: None,
        };
        let behaviour = origin(8 * MIB).rule(When::Always, busy);
        let job = Job {
            lanes_max: 8,
            lanes_start: Some(8),
            ..job()
        };
        let (stand, ran) = check(behaviour, job, Want::File(0, 8 * MIB)).await;
        assert!(u64::from(ran.done().lanes_max) <= limit);
        let refused = stand
            .transport
            .seen()
            .iter()
            .filter(|seen| seen.status == 429)
            .count();
        assert!(
            (1..=16).contains(&refused),
            "{refused} refusals at a limit of {limit}"
        );
    }
}

/// Later ranges are answered with a page of 503, and then served.
#[tokio::test(start_paused = true)]
async fn trouble_in_the_middle_costs_time_and_no_byte() {
    let behaviour = origin(4 * MIB)
        .rule(When::Only(2), status(503, Some(1)))
        .rule(When::Only(3), status(503, None))
        .rule(When::Only(4), status(500, None));
    check(behaviour, job(), Want::File(0, 4 * MIB)).await;
}

#[tokio::test(start_paused = true)]
async fn a_page_is_not_the_file() {
    // The good stream goes on.
    let behaviour = origin(4 * MIB).rule(When::After(1), Deed::Page);
    check(behaviour, job(), Want::File(0, 4 * MIB)).await;
    // There is none: what has landed is kept.
    let behaviour = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(MIB))
        .rule(When::After(1), Deed::Page);
    let (stand, _) = check(behaviour, one_lane(), Want::Part(Kind::Server)).await;
    assert!(stand.transport.requests() <= 7);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_with_the_url_and_without_userinfo() {
    let behaviour = origin(SIZE).rule(When::Always, status(404, None));
    let mut stand = Stand::new(behaviour);
    let job = super::stand::job_of("http://user:secret@origin.test/file.bin");
    let ran = stand.check(job, Want::Nothing(Kind::Server)).await;
    let error = ran.result.expect_err("there is none");
    assert_eq!(error.url(), "http://origin.test/file.bin");
    assert_eq!(error.to_string(), "404 Not Found");
    let told = format!("{:?}", ran.events);
    assert!(!told.contains("secret"), "{told}");
}
