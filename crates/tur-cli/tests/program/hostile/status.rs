//! Rows 058 to 065: statuses, waiting and asking again.

use std::time::Duration;

use tur_core::RetryAfter;
use tur_testkit::{Behaviour, Deed, Loopback, When};

use super::{Row, SIZE, paced, status};

#[test]
fn r058_retry_after() {
    let (row, _) = Row::new(paced(SIZE).rule(When::First(2), status(503, Some(1)))).succeeds();
    let seen = row.origin.seen();
    for pair in seen[..3].windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap >= Duration::from_secs(1), "{gap:?}");
    }
}

#[test]
fn r060_conn_limit() {
    let busy = Deed::Busy {
        limit: 2,
        retry_after: Some(RetryAfter::Delay(Duration::from_secs(1))),
    };
    let (row, _) = Row::new(paced(SIZE).rule(When::Always, busy)).succeeds();
    let seen = row.origin.seen();
    let refused = seen.iter().filter(|seen| seen.status == 429).count();
    // Two of the first four, and a try now and then whether more are served by now.
    assert!((1..=8).contains(&refused), "{seen:?}");
}

#[test]
fn r061_404() {
    let row = Row::new(Behaviour::new(0).rule(When::Always, status(404, None)));
    let (row, _) = row.refused(8, "404");
    assert_eq!(row.origin.requests(), 1);
}

/// Each URL that the redirect signs is good for two requests, and each body breaks off.
#[test]
fn r063_signed_expiry() {
    let signed = |n: u64| format!("/signed?sig={n}");
    let mut entrance = Behaviour::new(0);
    let mut paths = Vec::new();
    for n in 1..=40 {
        let to = Deed::Redirect {
            status: 302,
            location: signed(n),
        };
        entrance = entrance.rule(When::Only(n), to);
        let expires = paced(SIZE)
            .rule(When::Always, Deed::CutAfter(SIZE / 4))
            .rule(When::After(2), status(403, None));
        paths.push((signed(n), expires));
    }
    paths.push(("/file.bin".to_owned(), entrance));
    let (row, _) = Row::of(Loopback::start(paths)).succeeds();
    let seen = row.origin.seen();
    let resolved = seen.iter().filter(|seen| seen.path == "/file.bin").count();
    assert!((2..=20).contains(&resolved), "{seen:?}");
}

/// What a HEAD would have met does not matter, because none is sent.
#[track_caller]
fn only_get_is_fine(code: u16) {
    let head = When::Method("HEAD".to_owned());
    let (row, _) = Row::new(paced(SIZE).rule(head, status(code, None))).succeeds();
    let seen = row.origin.seen();
    assert!(seen.iter().all(|seen| seen.method == "GET"), "{seen:?}");
}

#[test]
fn r064_head_405() {
    only_get_is_fine(405);
}

#[test]
fn r065_head_403() {
    only_get_is_fine(403);
}
