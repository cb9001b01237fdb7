//! Redirects: how far, where to, and with what.

use std::time::Duration;

use tur_core::Kind;
use tur_core::port::Field;
use tur_testkit::{Behaviour, Deed, When};

use super::stand::{MIB, Stand, Want, job, job_of, origin};
use crate::What;
use crate::job::Job;

const SIZE: u64 = 4 * MIB;

fn to(location: &str) -> Deed {
    Deed::Redirect {
        status: 302,
        location: location.to_owned(),
    }
}

fn always_to(location: &str) -> Behaviour {
    Behaviour::new(0).rule(When::Always, to(location))
}

fn with_secrets(job: Job) -> Job {
    let field = |name: &str| Field {
        name: name.to_owned(),
        value: "s3cret".into(),
    };
    Job {
        fields: vec![field("Authorization"), field("Cookie")],
        ..job
    }
}

/// How many requests to `host` carried secrets, and how many did not.
fn secrets(stand: &Stand, host: &str) -> (usize, usize) {
    let seen = stand.transport.seen();
    let there: Vec<_> = seen.iter().filter(|seen| seen.host == host).collect();
    let with = there
        .iter()
        .filter(|seen| seen.field("authorization").is_some() && seen.field("cookie").is_some());
    let without = there
        .iter()
        .filter(|seen| seen.field("authorization").is_none() && seen.field("cookie").is_none());
    (with.count(), without.count())
}

#[tokio::test(start_paused = true)]
async fn a_chain_is_followed_once_for_all_lanes() {
    let mut stand = Stand::with([
        ("/file.bin", always_to("one")),
        ("/one", always_to("/two?x=1")),
        ("/two?x=1", always_to("//origin.test/three")),
        ("/three", origin(SIZE)),
    ]);
    let ran = stand.check(job(), Want::File(0, SIZE)).await;
    assert_eq!(ran.done().lanes_max, 4);
    let paths: Vec<_> = stand
        .transport
        .seen()
        .iter()
        .map(|seen| seen.path.clone())
        .collect();
    assert_eq!(paths[..4], ["/file.bin", "/one", "/two?x=1", "/three"]);
    assert!(paths[4..].iter().all(|path| path == "/three"), "{paths:?}");
    assert_eq!(
        stand.transport.bytes_sent() - ran.done().wasted_bytes,
        SIZE + 3 * page()
    );
}

/// Length of the page that redirects come with.
fn page() -> u64 {
    b"<!doctype html><title>Sign in</title><p>This is a page and not the file.</p>\n".len() as u64
}

#[tokio::test(start_paused = true)]
async fn redirects_have_a_bound() {
    let mut stand = Stand::with([("/file.bin", always_to("/file.bin"))]);
    stand.check(job(), Want::Nothing(Kind::Limit)).await;
    assert_eq!(stand.transport.requests(), 21, "twenty are followed");
    // Exactly twenty are fine.
    let hop = |n: usize| match n {
        0 => ("/file.bin".to_owned(), always_to("/1")),
        20 => ("/20".to_owned(), origin(SIZE)),
        n => (format!("/{n}"), always_to(&format!("/{}", n + 1))),
    };
    let mut stand = Stand::with((0..=20).map(hop));
    stand.check(job(), Want::File(0, SIZE)).await;
}

#[tokio::test(start_paused = true)]
async fn policy_refuses_some_places() {
    for location in [
        "http://origin.test/plain",
        "file:///etc/hostname",
        "ftp://origin.test/file.bin",
        "javascript:alert(1)",
    ] {
        let mut stand = Stand::with([("/file.bin", always_to(location)), ("/plain", origin(SIZE))]);
        let job = job_of("https://origin.test/file.bin");
        stand.check(job, Want::Nothing(Kind::Policy)).await;
        assert_eq!(stand.transport.requests(), 1, "{location}");
    }
    let mut stand = Stand::with([
        ("/file.bin", always_to("https://origin.test/tls")),
        ("/tls", origin(SIZE)),
    ]);
    stand.check(job(), Want::File(0, SIZE)).await;
}

#[tokio::test(start_paused = true)]
async fn secrets_stay_with_the_first_origin() {
    let mut stand = Stand::with([
        ("origin.test/file.bin", always_to("/moved")),
        ("origin.test/moved", always_to("http://other.test/real.bin")),
        ("other.test/real.bin", origin(SIZE)),
    ]);
    stand.check(with_secrets(job()), Want::File(0, SIZE)).await;
    assert_eq!(secrets(&stand, "origin.test"), (2, 0));
    let (with, without) = secrets(&stand, "other.test");
    assert!(with == 0 && without > 0);
    // Another port or scheme is another origin too.
    for location in [
        "http://origin.test:8080/real.bin",
        "https://origin.test/real.bin",
    ] {
        let mut stand = Stand::with([
            ("/file.bin", always_to(location)),
            ("/real.bin", origin(SIZE)),
        ]);
        stand.check(with_secrets(job()), Want::File(0, SIZE)).await;
        for seen in stand.transport.seen() {
            assert_eq!(
                seen.path == "/file.bin",
                seen.field("authorization").is_some()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_to_the_first_origin_has_its_fields() {
    let mut stand = Stand::with([("/file.bin", origin(SIZE))]);
    stand.check(with_secrets(job()), Want::File(0, SIZE)).await;
    let (with, without) = secrets(&stand, "origin.test");
    assert!(with >= 4 && without == 0);
}

/// The signed URL dies after two requests, and the first URL gives another one.
#[tokio::test(start_paused = true)]
async fn an_expired_url_is_asked_for_again() {
    for status in [401, 403, 404, 410] {
        let expired = Deed::Status {
            status,
            retry_after: None,
        };
        let front = Behaviour::new(0)
            .rule(When::Only(1), to("http://cdn.test/a"))
            .rule(When::After(1), to("http://cdn.test/b"));
        let signed = origin(SIZE)
            .rule(When::First(2), Deed::CutAfter(MIB))
            .rule(When::After(2), expired);
        let mut stand = Stand::with([
            ("origin.test/file.bin", front),
            ("cdn.test/a", signed),
            ("cdn.test/b", origin(SIZE)),
        ]);
        let job = with_secrets(job());
        let ran = stand.check(job, Want::File(0, SIZE)).await;
        let seen = stand.transport.seen();
        let fronts = seen.iter().filter(|seen| seen.path == "/file.bin").count();
        assert_eq!(fronts, 2, "{status}");
        assert_eq!(secrets(&stand, "cdn.test").0, 0);
        assert!(ran.count(|what| matches!(what, What::Note(_))) >= 1);
        assert!(ran.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_that_stays_expired_is_given_up() {
    let expired = Deed::Status {
        status: 403,
        retry_after: None,
    };
    let signed = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(MIB))
        .rule(When::After(1), expired);
    let mut stand = Stand::with([
        ("origin.test/file.bin", always_to("http://cdn.test/a")),
        ("cdn.test/a", signed),
    ]);
    stand.check(job(), Want::Part(Kind::Server)).await;
    assert!(
        stand.transport.requests() < 50,
        "{}",
        stand.transport.requests()
    );
}

/// A node behind the redirect that is gone: nothing is derived from nothing.
#[tokio::test(start_paused = true)]
async fn a_redirect_to_nowhere_is_final() {
    let gone = origin(SIZE).rule(
        When::Always,
        Deed::Status {
            status: 404,
            retry_after: None,
        },
    );
    let mut stand = Stand::with([("/file.bin", always_to("/gone")), ("/gone", gone)]);
    stand.check(job(), Want::Nothing(Kind::Server)).await;
    assert_eq!(stand.transport.requests(), 2);
}
