//! Where data lives: files that are gone with who reads them.

use std::io::Read as _;

use tur_engine::{Error, Kind};
use tur_stream::{Fill, Media, Place, Status};
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::stand::{
    HALF, KIB, MIB, SIZE, Stand, aside, assert_at, assert_next, download_error, range,
};

/// Nothing of it is ever seen, and all of it can be sought in, also when it is complete.
#[test]
fn a_temporary_media_is_read_like_any_and_leaves_nothing() {
    for size in [SIZE, 10_000] {
        let gate = Gate::at(HALF);
        let stand = Stand::new(Behaviour::new(size).rule(When::Always, Deed::Hold(gate.clone())));
        let options = stand.options().place(Place::Temporary);
        let media = Media::of(stand.download().lanes(4), options);
        let mut reader = media.reader();
        assert_next(&mut reader, 0, range(0, size.min(HALF)));
        assert_eq!(stand.names(), [""; 0]);
        gate.open();
        assert_at(&mut reader, 0, range(size / 2, size));
        assert_at(&mut reader, 0, range(0, size));
        media.wait_committed().expect("it is complete");
        assert!(matches!(media.status(), Status::Committed { len } if len == size));
        assert_at(&mut media.reader(), 0, range(size / 3, size));
        assert_eq!(stand.names(), [""; 0]);
    }
}

/// It is no cache: the next one begins anew, beside one that is open too.
#[test]
fn two_temporary_media_of_one_name_know_nothing_of_each_other() {
    let stand = Stand::new(Behaviour::new(SIZE));
    let open = || Media::of(stand.download(), stand.options().place(Place::Temporary));
    let (a, b) = (open(), open());
    assert_next(&mut a.reader(), 0, range(0, SIZE));
    assert_next(&mut b.reader(), 0, range(0, SIZE));
    drop((a, b));
    assert_next(&mut open().reader(), 0, range(0, SIZE));
    assert!(stand.origin.bytes_sent() >= 3 * SIZE);
    assert_eq!(stand.names(), [""; 0]);
}

#[test]
fn what_has_passed_is_an_error_and_the_rest_goes_on() {
    const LONG: u64 = 24 * MIB;
    let stand = Stand::new(Behaviour::new(LONG));
    let options = stand.options().place(Place::Passing).fill(Fill::Window);
    let media = Media::of(stand.download(), options.look_ahead(2 * MIB));
    let mut reader = media.reader();
    for n in 0..LONG / MIB {
        assert_next(&mut reader, 0, range(n * MIB, (n + 1) * MIB));
        media.passed((n + 1) * MIB);
    }
    media.wait_committed().expect("it is complete");
    let mut late = media.reader();
    let error = late.read(&mut [0; 8]).expect_err("it is gone");
    assert_eq!(download_error(&error).kind(), Kind::Other);
    assert!(error.to_string().contains("given back"), "{error}");
    assert_at(&mut late, 0, range(LONG - 100 * KIB, LONG));
    assert_eq!(stand.names(), [""; 0]);
}

/// Who asks where bytes are, or waits for them, hears what a read would say.
#[test]
fn what_has_passed_is_not_buffered_and_never_ready() {
    const LONG: u64 = 24 * MIB;
    let gate = Gate::at(12 * MIB);
    let stand = Stand::new(Behaviour::new(LONG).rule(When::Always, Deed::Hold(gate.clone())));
    let options = stand.options().place(Place::Passing).fill(Fill::Window);
    let media = Media::of(stand.download(), options.look_ahead(2 * MIB));
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, 10 * MIB));
    // It ends although the rest does not come.
    let waits = media.clone();
    let waits = aside(move || waits.wait_ready(range(MIB, LONG)));
    media.passed(8 * MIB + 5);
    let is_given_back = |waited: Result<(), Error>| {
        let error = waited.expect_err("it is gone");
        assert_eq!(error.kind(), Kind::Other);
        assert!(error.to_string().contains("given back"), "{error}");
    };
    is_given_back(waits.join());
    for start in [0, 5 * MIB, 8 * MIB - 1] {
        is_given_back(media.wait_ready(range(start, 10 * MIB)));
    }
    let there = range(8 * MIB, 10 * MIB);
    media.wait_ready(there).expect("it is there");
    let buffered = media.buffered();
    assert!(buffered.covers(there) && !buffered.overlaps(range(0, 8 * MIB)));
    assert_at(&mut media.reader(), 0, there);
    gate.open();
    assert_next(&mut reader, 0, range(10 * MIB, LONG));
    media.wait_committed().expect("it is complete");
    is_given_back(media.wait_ready(range(0, 1)));
    let left = media.buffered();
    assert!(left.iter().eq([range(8 * MIB, LONG)]), "{left:?}");
}
