//! Bodies that end early, ends that a refusal tells, and pages where a file was asked for.

use tur_engine::{Kind, What};
use tur_testkit::{Behaviour, Deed, Framing, Ranges, When};

use crate::stand::{PATH, Stand, events_of, outcome};
use crate::{assert_sent, single, starts, statuses};

const SIZE: u64 = 1_024_000;
const HALF: u64 = 512_000;

/// Answers the first request as if it had asked for no range, and breaks off.
fn cut_plain(at: u64) -> Behaviour {
    Behaviour::new(SIZE)
        .rule(When::Only(1), Deed::Ranges(Ranges::Ignored))
        .rule(When::Only(1), Deed::CutAfter(at))
}

/// Answers the first request with all that it asked for, and breaks off.
fn cut_ranged(at: u64) -> Behaviour {
    Behaviour::new(SIZE).rule(When::Only(1), Deed::CutAfter(at))
}

#[tokio::test]
async fn a2_a_cut_body_costs_exactly_one_more_request() {
    for (behaviour, first) in [(cut_plain(HALF), 200), (cut_ranged(HALF), 206)] {
        let stand = Stand::new(behaviour);
        let (events, result) = events_of(&mut single(&stand).start()).await;
        result.expect("it succeeds");
        stand.assert_file(0, SIZE);
        assert_eq!(starts(&stand), [0, HALF]);
        assert_eq!(statuses(&stand), [first, 206]);
        assert_sent(&stand, (PATH, 0), SIZE);
        let resumed = |what: &What| matches!(what, What::Resumed { at: HALF });
        assert_eq!(
            events.iter().filter(|event| resumed(&event.what)).count(),
            1
        );
    }
}

/// A2, wherever it is cut: from where it ended, and nothing if only the end was missing.
#[tokio::test]
async fn a2_a_cut_anywhere_is_gone_on_with_from_its_byte() {
    for at in [0, 1, 65_536, SIZE - 1, SIZE] {
        let stand = Stand::new(cut_ranged(at));
        outcome(&mut single(&stand).start())
            .await
            .expect("it succeeds");
        stand.assert_file(0, SIZE);
        let meant = [0, at];
        let requests = if at == SIZE { 1 } else { 2 };
        assert_eq!(starts(&stand), meant[..requests], "cut at {at}");
        assert_sent(&stand, (PATH, 0), SIZE);
    }
}

/// Nobody says how long it is, and its end is missing although all of it came.
fn endless(then: Deed) -> Behaviour {
    Behaviour::new(SIZE)
        .framing(Framing::Chunked)
        .rule(When::Only(1), Deed::Ranges(Ranges::Ignored))
        .rule(When::Only(1), Deed::CutAfter(SIZE))
        .rule(When::After(1), then)
}

#[tokio::test]
async fn a12_a_refusal_at_exactly_the_full_length_completes() {
    let stand = Stand::new(endless(Deed::Ranges(Ranges::Honest)));
    let done = outcome(&mut single(&stand).start())
        .await
        .expect("it succeeds");
    stand.assert_file(0, SIZE);
    assert_eq!(done.bytes, SIZE);
    assert_eq!(
        (starts(&stand), statuses(&stand)),
        (vec![0, SIZE], vec![200, 416])
    );
    assert_sent(&stand, (PATH, 0), SIZE);
}

/// A12, where the refusal tells another length: that is another file, and the end of nothing.
#[tokio::test]
async fn a12_a_refusal_that_tells_another_length_ends_nothing() {
    for size in [SIZE - 1, HALF] {
        let shorter = Deed::Serve {
            version: 1,
            etag: Some(tur_testkit::strong("v1")),
            size,
        };
        let stand = Stand::new(endless(shorter));
        outcome(&mut single(&stand).start())
            .await
            .expect("it succeeds");
        stand.assert_file(1, size);
    }
}

#[tokio::test]
async fn a14_a_page_in_place_of_the_type_that_was_asked_for_is_refused() {
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, Deed::Page));
    let wanted = "application/*".parse().expect("a type");
    let error = outcome(&mut single(&stand).accept_type(wanted).start())
        .await
        .expect_err("it is a page");
    assert_eq!(error.kind(), Kind::Server, "{error}");
    assert!(error.to_string().contains("text/html"), "{error}");
    assert!(stand.names().is_empty(), "{:?}", stand.names());
    assert_eq!(stand.origin.requests(), 1);
}

/// A14, on the way: a page in place of the rest. What is there stays, and the page never gets into it.
#[tokio::test]
async fn a14_a_page_in_place_of_the_rest_is_not_appended() {
    let stand = Stand::new(cut_ranged(HALF).rule(When::After(1), Deed::Page));
    let wanted = || "application/*".parse().expect("a type");
    let error = outcome(&mut single(&stand).accept_type(wanted()).start())
        .await
        .expect_err("it is a page");
    assert_eq!(error.kind(), Kind::Server, "{error}");
    assert_eq!(stand.names(), ["file.bin.part", "file.bin.tur"]);
    // The origin is well again.
    let asked = starts(&stand).len();
    stand.origin.swap(PATH, Behaviour::new(SIZE));
    let done = outcome(&mut single(&stand).accept_type(wanted()).start())
        .await
        .expect("it succeeds");
    stand.assert_file(0, SIZE);
    assert_eq!(done.resumed_bytes, HALF);
    assert_sent(&stand, (PATH, asked), SIZE - HALF);
}
