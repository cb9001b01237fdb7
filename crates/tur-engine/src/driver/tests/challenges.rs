//! Pages that come instead of the file: nothing of them is taken, and what they ask for is told.

use std::time::Duration;

use tur_core::{Challenge, Kind, Rate};
use tur_testkit::{Behaviour, Deed, When};

use super::stand::{DIR, KIB, MIB, Ran, Stand, Want, check, job, job_of, origin};
use super::terms::{gzip, zlib};
use crate::job::{Destination, Job};
use crate::{Event, What};

const SIZE: u64 = 4 * MIB;

const CHECK: &str =
    "<!doctype html><title>Just a moment...</title><script>window._cf_chl_opt={}</script>";
const LOGIN: &str =
    "<html><title>Members</title><form><input type=\"password\" name=p></form></html>";
const PLAIN: &str = "<html><title>Busy</title>Just a moment... we are busy.</html>";

fn html(status: u16, text: &str) -> Deed {
    Deed::Html(status, text.to_owned())
}

fn kinds(ran: &Ran) -> Vec<Challenge> {
    let kind = |what: &What| match what {
        What::Challenge { kind } => Some(*kind),
        _ => None,
    };
    ran.events
        .iter()
        .filter_map(|event| kind(&event.what))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn on_the_first_request_it_ends_the_download() {
    let rows = [
        (html(200, CHECK), Challenge::BrowserCheck, Kind::Server),
        (html(403, CHECK), Challenge::BrowserCheck, Kind::Server),
        (html(429, CHECK), Challenge::BrowserCheck, Kind::Server),
        (html(503, CHECK), Challenge::BrowserCheck, Kind::Server),
        (html(200, LOGIN), Challenge::Login, Kind::Auth),
        (html(403, LOGIN), Challenge::Login, Kind::Auth),
    ];
    for (deed, challenge, kind) in rows {
        let behaviour = origin(SIZE).rule(When::Always, deed.clone());
        let (stand, ran) = check(behaviour, job(), Want::Nothing(kind)).await;
        assert_eq!(kinds(&ran), [challenge], "{deed:?}");
        let error = ran.result.expect_err("a page is not the file");
        assert_eq!(error.challenge(), Some(challenge));
        assert_eq!(error.to_string(), challenge.advice());
        assert_eq!(stand.transport.requests(), 1, "nobody is asked again");
    }
}

/// Coded although nobody asked for it, and longer than what is looked at once it is decoded.
#[tokio::test(start_paused = true)]
async fn coded_pages_are_seen_through() {
    let page = format!("{CHECK}{}", "<p>wait</p>".repeat(20_000));
    let whole = gzip(page.as_bytes());
    let rows = [
        ("gzip", 200, whole.clone(), true),
        ("gzip", 403, whole.clone(), true),
        ("deflate", 503, zlib(page.as_bytes()), true),
        // The beginning is enough; what is damaged, or in another coding, is no page that anybody knows.
        ("gzip", 200, whole[..whole.len() / 2].to_vec(), true),
        ("gzip", 403, page.clone().into_bytes(), false),
        ("br", 403, whole, false),
    ];
    for (coding, status, bytes, known) in rows {
        let behaviour = origin(SIZE)
            .rule(When::Always, html(status, ""))
            .rule(When::Always, Deed::PageCoded(coding.to_owned(), bytes));
        let (_, ran) = check(behaviour, job(), Want::Nothing(Kind::Server)).await;
        let expected: &[_] = if known {
            &[Challenge::BrowserCheck]
        } else {
            &[]
        };
        assert_eq!(kinds(&ran), expected, "{coding} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_trickles_or_breaks_off_is_known_all_the_same() {
    for how in [Deed::StallAfter(80), Deed::CutAfter(80)] {
        let behaviour = origin(SIZE)
            .rule(
                When::Always,
                html(200, &format!("{CHECK}{}", " ".repeat(9_000))),
            )
            .rule(When::Always, how);
        let (_, ran) = check(behaviour, job(), Want::Nothing(Kind::Server)).await;
        assert_eq!(kinds(&ran), [Challenge::BrowserCheck]);
        assert!(ran.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(start_paused = true)]
async fn while_others_are_served_the_file_comes_all_the_same() {
    for deed in [html(200, CHECK), html(403, CHECK), html(503, CHECK)] {
        // To the second connection and all later ones.
        let behaviour = origin(SIZE).rule(When::After(1), deed);
        let job = Job {
            lanes_max: 4,
            lanes_start: Some(4),
            ..job()
        };
        let (_, ran) = check(behaviour, job, Want::File(0, SIZE)).await;
        assert!(
            kinds(&ran)
                .iter()
                .all(|kind| *kind == Challenge::BrowserCheck)
        );
        assert!(!kinds(&ran).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn when_going_on_it_keeps_what_has_landed() {
    for deed in [html(200, CHECK), html(403, CHECK)] {
        let behaviour = origin(SIZE)
            .rule(When::Only(1), Deed::CutAfter(MIB))
            .rule(When::After(1), deed);
        let job = Job {
            lanes_max: 1,
            ..job()
        };
        let (stand, ran) = check(behaviour, job, Want::Part(Kind::Server)).await;
        assert_eq!(kinds(&ran), [Challenge::BrowserCheck]);
        assert_eq!(stand.transport.requests(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_page_is_trouble_that_passes() {
    let behaviour = origin(SIZE).rule(When::First(2), html(503, PLAIN));
    let (_, ran) = check(behaviour, job(), Want::File(0, SIZE)).await;
    assert_eq!(kinds(&ran), []);
}

/// A page under the name of a page is what was asked for, with whatever forms it has.
#[tokio::test(start_paused = true)]
async fn a_page_that_was_asked_for_comes_whole() {
    for size in [0, 1, 100, 15 * KIB, 16 * KIB, 16 * KIB + 1, MIB] {
        let behaviour = Behaviour::new(size).media_type("text/html; charset=utf-8");
        let (_, ran) = check(behaviour, job(), Want::File(0, size)).await;
        assert_eq!(kinds(&ran), [], "{size}");
    }
    let behaviour = Behaviour::of(LOGIN.as_bytes()).media_type("text/html");
    let mut stand = Stand::with([("/login.html", behaviour)]);
    let job = Job {
        destination: Destination::Directory(DIR.into()),
        ..job_of("http://origin.test/login.html")
    };
    let ran = stand.run(job).await;
    assert_eq!(
        ran.result.map(|done| done.bytes).ok(),
        Some(LOGIN.len() as u64)
    );
}

/// Who asks for HTML by its type gets it.
#[tokio::test(start_paused = true)]
async fn html_that_is_asked_for_by_type_is_not_looked_at() {
    let behaviour = Behaviour::of(CHECK.as_bytes()).media_type("text/html");
    let mut stand = Stand::new(behaviour);
    let mut wanted = job();
    wanted.terms.types = vec!["text/html".parse().expect("a type")];
    let ran = stand.run(wanted).await;
    assert_eq!(
        ran.result.map(|done| done.bytes).ok(),
        Some(CHECK.len() as u64)
    );
}

/// Of what does not begin as a page does no more is waited for: its first byte is handed on when it comes.
#[tokio::test(start_paused = true)]
async fn what_begins_as_no_page_is_taken_at_once() {
    let slow = Behaviour::new(8 * KIB).pace(Rate::per_second(KIB));
    let mut untyped = slow.clone();
    untyped.media_type = None;
    let mut first = Vec::new();
    for behaviour in [slow, untyped] {
        let (_, ran) = check(behaviour, job(), Want::File(0, 8 * KIB)).await;
        let begins = |event: &&Event| matches!(event.what, What::FirstByte { .. });
        first.push(ran.events.iter().find(begins).expect("it came").t);
    }
    // It is told with the next report; a page is waited for for two seconds.
    let [typed, untyped] = first[..] else {
        panic!("{first:?}");
    };
    assert!(untyped <= typed + Duration::from_millis(50), "{first:?}");
}
