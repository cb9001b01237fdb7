//! Bodies that end early or differently, read on through, or ended with the reason.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use tur_core::ByteRange;
use tur_engine::{Kind, RetryPolicy, What};
use tur_stream::{Media, Status};
use tur_testkit::{Behaviour, Deed, Framing, Gate, Ranges, When, content, strong};

use crate::stand::{
    HALF, KIB, SIZE, Stand, aside, assert_at, assert_next, download_error, held_of, lengthless,
    range,
};

/// Without a range the file seems to be half as long.
#[test]
fn a1_a_seek_beyond_an_early_end_reads_the_right_bytes_and_nothing_is_committed_before() {
    let gate = Gate::at(20 * KIB);
    let half = Deed::Serve {
        version: 0,
        etag: Some(strong("v0")),
        size: HALF,
    };
    let stand = Stand::new(
        Behaviour::new(SIZE)
            .rule(When::Plain, half)
            .rule(When::Only(1), Deed::Hold(gate.clone())),
    );
    let media = stand.media();
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, 10 * KIB));
    assert_at(&mut reader, 0, range(700_000, 700_100));
    let of_seek = stand.starts().into_iter().filter(|at| *at == 700_000);
    assert_eq!(of_seek.count(), 1, "{:?}", stand.starts());
    assert!(matches!(
        media.status(),
        Status::Active {
            expected: Some(SIZE),
            ..
        }
    ));
    assert!(!stand.path().exists());
    gate.open();
    assert_at(&mut reader, 0, range(0, SIZE));
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
}

#[test]
fn a2_a_cut_body_is_read_on_with_exactly_one_more_request() {
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Only(1), Deed::CutAfter(HALF)));
    let media = stand.single();
    assert_next(&mut media.reader(), 0, range(0, SIZE));
    assert_eq!(stand.starts(), [0, HALF]);
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
}

#[test]
fn a3_an_unknown_length_is_known_at_the_end() {
    let (gate, stand) = held_of(lengthless(Behaviour::new(SIZE)), HALF);
    let media = stand.media();
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, HALF));
    assert_eq!(media.len(), None);
    gate.open();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).expect("it ends");
    assert!(rest == content(0, range(HALF, SIZE)));
    assert_eq!(media.len(), Some(SIZE));
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
    assert_eq!(reader.seek(SeekFrom::End(-1)).ok(), Some(SIZE - 1));
}

#[tokio::test]
async fn a4_a_stall_is_told_and_read_through() {
    let stalls = Behaviour::new(SIZE).rule(When::Only(1), Deed::StallAfter(64 * KIB));
    let stand = Stand::new(stalls);
    let download = stand.download().lanes(1);
    let media = Media::of(
        download.read_timeout(Duration::from_millis(300)),
        stand.options(),
    );
    let mut events = media.events();
    let mut reader = media.reader();
    let read = aside(move || assert_next(&mut reader, 0, range(0, SIZE)));
    media.committed().await.expect("it is complete");
    read.join();
    stand.assert_file(0, SIZE);
    assert_eq!(stand.starts()[..2], [0, 64 * KIB]);
    let mut told = false;
    while let Some(event) = events.next().await {
        told |= matches!(event.what, What::Stalled { .. });
        if matches!(event.what, What::Completed(_)) {
            break;
        }
    }
    assert!(told);
}

#[test]
fn a5_a_black_hole_ends_in_an_error_for_who_waits() {
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, Deed::BlackHole));
    let quick = RetryPolicy {
        retries: 2,
        base: Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    let download = stand.download().retry(quick);
    let media = Media::of(
        download.read_timeout(Duration::from_millis(100)),
        stand.options(),
    );
    let mut reader = media.reader();
    let error = aside(move || reader.read(&mut [0; 8]).expect_err("nothing comes")).join();
    assert_eq!(download_error(&error).kind(), Kind::Network, "{error}");
    assert_eq!(stand.origin.requests(), 3);
    assert!(matches!(media.status(), Status::Failed { .. }));
    assert!(stand.names().is_empty(), "{:?}", stand.names());
}

#[test]
fn a6_twenty_drops_with_progress_between_them_are_read_through() {
    let stand = Stand::new(Behaviour::new(21 * 50_000).rule(When::Always, Deed::CutAfter(50_000)));
    let media = stand.single();
    assert_next(&mut media.reader(), 0, range(0, 21 * 50_000));
    let meant: Vec<_> = (0..21).map(|n| n * 50_000).collect();
    assert_eq!(stand.starts(), meant);
    media.wait_committed().expect("it is complete");
}

/// Half of version 0, and then something else under the reader.
fn assert_never_spliced(behaviour: Behaviour, size: u64) {
    let stand = Stand::new(behaviour.rule(When::Only(1), Deed::CutAfter(HALF)));
    let media = stand.single();
    let mut reader = media.reader();
    let mut have = Vec::new();
    let error = reader.read_to_end(&mut have).expect_err("it changed");
    assert_eq!(download_error(&error).kind(), Kind::Changed, "{error}");
    assert!(
        have == content(0, range(0, have.len() as u64)),
        "not one byte of the new one"
    );
    // Neither is it read by going elsewhere; a new reader reads the new version.
    assert!(reader.seek(SeekFrom::Start(0)).is_ok() && reader.read(&mut [0; 8]).is_err());
    assert_next(&mut media.reader(), 1, range(0, size));
    media.wait_committed().expect("it is complete");
    stand.assert_file(1, size);
}

#[test]
fn a8_another_total_is_never_appended() {
    let grown = Deed::Serve {
        version: 1,
        etag: Some(strong("v0")),
        size: SIZE + 7,
    };
    assert_never_spliced(Behaviour::new(SIZE).rule(When::After(1), grown), SIZE + 7);
}

#[test]
fn a9_another_entity_tag_is_never_spliced() {
    assert_never_spliced(Behaviour::new(SIZE).changes_after(1, 1), SIZE);
}

/// Where nothing tells whether it is the same file, and it comes from 0 again, nobody reads on in it.
#[test]
fn a9_what_nothing_vouches_for_is_never_spliced() {
    for framing in [Framing::Length, Framing::Chunked] {
        for size in [SIZE, SIZE + 7] {
            let other = Deed::Serve {
                version: 1,
                etag: None,
                size,
            };
            let behaviour = Behaviour::new(SIZE)
                .no_validators()
                .framing(framing.clone());
            let behaviour = behaviour.ranges(Ranges::Ignored);
            assert_never_spliced(behaviour.rule(When::After(1), other), size);
        }
    }
}

/// Who has read nothing yet when the file changes reads the new one, without an error.
#[test]
fn a9_who_has_read_nothing_begins_with_the_new_version() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SIZE)
        .changes_after(1, 1)
        .rule(When::Only(1), Deed::CutAfter(HALF))
        .rule(When::After(1), Deed::HoldHead(gate.clone()));
    let stand = Stand::new(behaviour);
    let media = stand.single();
    media.wait_ready(range(0, HALF)).expect("it comes");
    let mut reader = media.reader();
    reader.seek(SeekFrom::Start(HALF + 5)).expect("it seeks");
    let read = aside(move || {
        assert_next(&mut reader, 1, range(HALF + 5, SIZE));
    });
    gate.open();
    read.join();
}

/// Nobody says how long it is, and its end is missing although all of it came.
#[test]
fn a12_a_refusal_at_exactly_the_full_length_is_the_end() {
    let stand = Stand::new(
        Behaviour::new(SIZE)
            .framing(Framing::Chunked)
            .rule(When::Only(1), Deed::Ranges(Ranges::Ignored))
            .rule(When::Only(1), Deed::CutAfter(SIZE)),
    );
    let media = stand.single();
    let mut have = Vec::new();
    media.reader().read_to_end(&mut have).expect("it ends");
    assert!(have == content(0, ByteRange::new(0, SIZE)));
    assert_eq!(stand.starts(), [0, SIZE]);
}

#[test]
fn a14_a_page_in_place_of_the_type_that_was_asked_for_is_not_read() {
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, Deed::Page));
    let wanted = "video/*".parse().expect("a type");
    let media = Media::of(stand.download().accept_type(wanted), stand.options());
    let error = media.reader().read(&mut [0; 8]).expect_err("it is a page");
    assert_eq!(download_error(&error).kind(), Kind::Server, "{error}");
    assert_eq!(stand.origin.requests(), 1);
    assert!(stand.names().is_empty(), "{:?}", stand.names());
}
