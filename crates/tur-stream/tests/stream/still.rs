//! Standing still: scenarios F, as readers see them.

use std::io::Read as _;

use tur_core::Rate;
use tur_engine::{Downloader, Kind, What};
use tur_stream::{Activity, Media, Options, Status};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::stand::{
    KIB, MIB, NAME, PATH, SIZE, Stand, aside, assert_at, assert_next, download_error, range,
};

#[test]
fn f1_when_all_is_committed_a_seek_is_served_from_disk() {
    for size in [SIZE, 10_000] {
        let stand = Stand::new(Behaviour::new(size));
        let media = stand.media();
        let mut reader = media.reader();
        assert_next(&mut reader, 0, range(0, size));
        media.wait_committed().expect("it is complete");
        assert!(matches!(media.status(), Status::Committed { len } if len == size));
        let requests = stand.origin.requests();
        assert_at(&mut reader, 0, range(size / 2, size));
        assert_at(&mut media.reader(), 0, range(0, size));
        assert_eq!(stand.origin.requests(), requests);
        media.cancel();
        assert_at(&mut reader, 0, range(1, size));
        stand.assert_file(0, size);
    }
}

/// The last downloader goes while somebody waits.
#[test]
fn f2_a_downloader_that_goes_takes_its_readers_waits_along() {
    let hold = Deed::Hold(Gate::at(100));
    let origin = Loopback::start([(PATH, Behaviour::new(SIZE).rule(When::Always, hold))]);
    let dir = tempfile::TempDir::new().expect("a directory");
    let downloader = Downloader::builder().build().expect("a downloader");
    let options = Options::new().dir(dir.path()).file(NAME);
    let media = Media::open(&downloader, &origin.url(PATH), options);
    let mut reader = media.reader();
    let (done, has_read) = std::sync::mpsc::channel();
    let read = aside(move || {
        assert_next(&mut reader, 0, range(0, 100));
        done.send(()).expect("it is waited for");
        reader.read(&mut [0; 8]).expect_err("nobody fetches it")
    });
    // What had come is not read any more once the download is cancelled.
    has_read.recv().expect("it reads what comes");
    drop(downloader);
    assert_eq!(download_error(&read.join()).kind(), Kind::Signal);
}

/// Nobody is left who could read: the download is cancelled, and what landed is gone on with by the next.
#[test]
fn f2_the_last_reader_that_goes_ends_it_and_loses_nothing() {
    let gate = Gate::at(HELD);
    const HELD: u64 = 300 * KIB;
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone())));
    let media = stand.single();
    let mut reader = media.reader();
    drop(media);
    assert_next(&mut reader, 0, range(0, HELD));
    drop(reader);
    gate.open();
    let media = loop {
        // The part is let go a moment after the last of them.
        let media = stand.single();
        match media.wait_ready(range(0, 0)) {
            Ok(()) => break media,
            Err(error) => assert_eq!(error.kind(), Kind::Busy, "{error}"),
        }
    };
    assert_next(&mut media.reader(), 0, range(0, SIZE));
    assert_eq!(stand.starts().last(), Some(&HELD));
}

#[test]
fn f4_what_is_there_is_read_during_a_pause_and_the_rest_after_it() {
    let stand = Stand::new(Behaviour::new(4 * MIB).pace(Rate::per_second(2 * MIB)));
    let media = stand.media();
    media.priority(Activity::Background);
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, 100 * KIB));
    media.pause();
    assert_at(&mut reader, 0, range(0, 100 * KIB));
    let rest = aside(move || {
        assert_next(&mut reader, 0, range(100 * KIB, 4 * MIB));
    });
    media.resume();
    media.priority(Activity::Active);
    rest.join();
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, 4 * MIB);
}

/// While a reader reads: what is closed is no error to it, and next to nothing comes twice.
#[test]
fn f3_fewer_lanes_while_a_reader_reads() {
    const WIDE: u64 = 16 * MIB;
    let stand = Stand::new(Behaviour::new(WIDE).pace(Rate::per_second(MIB)));
    let download = stand.download().lanes(8).start_lanes(8);
    let media = Media::of(download, stand.options());
    let mut events = media.events();
    let mut reader = media.reader();
    let mut at = 0;
    let mut next = |reader: &mut tur_stream::Reader| {
        assert_next(reader, 0, range(at, at + 64 * KIB));
        at += 64 * KIB;
        at
    };
    while media.progress().lanes < 6 {
        assert!(next(&mut reader) < WIDE / 2, "it never had many lanes");
    }
    media.set_lanes(1..=2);
    while media.progress().lanes > 2 {
        assert!(next(&mut reader) < WIDE, "they are never closed");
    }
    let landed = media.progress().landed;
    assert!(
        landed < WIDE / 4 * 3,
        "only when the work was done: {landed}"
    );
    while next(&mut reader) < WIDE {
        assert!(media.progress().lanes <= 2, "no other takes their place");
    }
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, WIDE);
    let done = loop {
        if let Some(What::Completed(done)) = block_on(events.next()).map(|event| event.what) {
            break done;
        }
    };
    // What was received and not used: 2 %.
    assert!(done.wasted_bytes <= WIDE / 50, "{}", done.wasted_bytes);
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}
