//! What can be read after a download has failed, and what never again.

use std::io::{Read as _, Seek as _, SeekFrom};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tur_engine::{Downloader, Kind, OnChange, StorageKind};
use tur_stream::{Media, Status};
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::stand::{
    HALF, KIB, PATH, SIZE, Stand, aside, assert_at, assert_next, download_error, range,
};

/// Half of the file comes, and then the origin has lost it.
fn lost_midway(size: u64) -> Behaviour {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    Behaviour::new(size)
        .rule(When::Only(1), Deed::CutAfter(size / 2))
        .rule(When::After(1), gone)
}

/// It has failed, and this much of it was there.
fn failed(media: &Media) -> u64 {
    let error = media.wait_committed().expect_err("it fails");
    assert_eq!(error.kind(), Kind::Server, "{error}");
    assert!(matches!(media.status(), Status::Failed { .. }));
    let there = media.buffered();
    assert_eq!(there, [range(0, there.len())].into_iter().collect());
    assert!(!there.is_empty());
    there.len()
}

#[test]
fn after_a_failure_what_is_there_is_read_and_a_hole_tells_why() {
    for (storage, size) in [
        (StorageKind::Pwrite, SIZE),
        (StorageKind::Mmap, SIZE),
        // Short enough to wait in memory.
        (StorageKind::Pwrite, 100 * KIB),
    ] {
        let stand = Stand::on(storage, lost_midway(size));
        let media = stand.single();
        let mut waits = media.reader();
        let waits = aside(move || waits.read_to_end(&mut Vec::new()).expect_err("a hole"));
        let end = failed(&media);
        assert_eq!(download_error(&waits.join()).kind(), Kind::Server);
        let mut reader = media.reader();
        for _ in 0..2 {
            assert_at(&mut reader, 0, range(0, end));
            let error = reader.read(&mut [0; 8]).expect_err("a hole");
            assert_eq!(download_error(&error).kind(), Kind::Server, "{error}");
            assert!(reader.try_read(&mut [0; 8]).is_ready(), "nothing comes");
        }
        assert_at(&mut reader, 0, range(end - 10, end));
        reader.seek(SeekFrom::End(-5)).expect("the length is known");
        reader.read(&mut [0; 8]).expect_err("a hole");
        media.wait_ready(range(5, end)).expect("it is there");
        media.wait_ready(range(5, end + 1)).expect_err("it is not");
    }
}

#[tokio::test]
async fn after_a_failure_an_async_reader_reads_the_same() {
    let stand = Stand::new(lost_midway(SIZE));
    let media = stand.single();
    let error = media.committed().await.expect_err("it fails");
    assert_eq!(error.kind(), Kind::Server);
    let end = media.buffered().len();
    let mut reader = media.async_reader();
    reader.seek(SeekFrom::Start(7)).await.expect("it seeks");
    let mut have = Vec::new();
    let error = reader.read_to_end(&mut have).await.expect_err("a hole");
    assert_eq!(download_error(&error).kind(), Kind::Server);
    assert!(have == tur_testkit::content(0, range(7, end)));
}

/// The part is taken over: readers of the failed one read no bytes of what the new one writes there.
#[test]
fn whoever_goes_on_in_the_same_place_takes_the_part_over() {
    let stand = Stand::new(lost_midway(SIZE));
    let old = stand.single();
    let end = failed(&old);
    let mut reader = old.reader();
    assert_next(&mut reader, 0, range(0, 100));
    // Somebody else is not let in while it is read, and hears why.
    let other = Downloader::builder().build().expect("a downloader");
    let busy = Media::open(&other, &stand.origin.url(PATH), stand.options());
    let error = busy.wait_committed().expect_err("it is read");
    assert_eq!(error.kind(), Kind::Busy, "{error}");
    assert_at(&mut reader, 0, range(0, end));
    stand.origin.swap(PATH, Behaviour::new(SIZE).version(1));
    let new = stand.media();
    assert_next(&mut new.reader(), 1, range(0, SIZE));
    new.wait_committed().expect("it is complete");
    stand.assert_file(1, SIZE);
    reader.rewind().expect("it seeks");
    let error = reader.read(&mut [0; 8]).expect_err("it was taken over");
    assert_eq!(download_error(&error).kind(), Kind::Server, "{error}");
    assert!(old.buffered().is_empty());
}

/// What the failed one had is not fetched again by who takes it over.
#[test]
fn what_is_taken_over_is_gone_on_with() {
    let stand = Stand::new(lost_midway(SIZE));
    let old = stand.single();
    let end = failed(&old);
    assert_eq!(end, HALF);
    stand.origin.swap(PATH, Behaviour::new(SIZE));
    let before = stand.origin.bytes_sent();
    let new = stand.single();
    assert_next(&mut new.reader(), 0, range(0, SIZE));
    new.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
    assert_eq!(stand.origin.bytes_sent() - before, SIZE - HALF);
    assert_eq!(old.len(), Some(SIZE));
}

/// Others find the place free as soon as nobody reads there.
#[test]
fn the_last_reader_of_a_failed_download_leaves_the_part_free() {
    let stand = Stand::new(lost_midway(SIZE));
    let media = stand.single();
    failed(&media);
    let mut reader = media.reader();
    drop(media);
    assert_next(&mut reader, 0, range(0, 100));
    drop(reader);
    stand.origin.swap(PATH, Behaviour::new(SIZE));
    let other = Downloader::builder().build().expect("a downloader");
    let media = Media::open(&other, &stand.origin.url(PATH), stand.options());
    media.wait_committed().expect("nobody has it");
    stand.assert_file(0, SIZE);
}

#[test]
fn what_was_cancelled_is_read_by_nobody() {
    let hold = Deed::Hold(Gate::at(HALF));
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, hold));
    let media = stand.single();
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, HALF));
    media.cancel();
    media.wait_committed().expect_err("it is cancelled");
    reader.rewind().expect("it seeks");
    let error = reader.read(&mut [0; 8]).expect_err("it is cancelled");
    assert_eq!(download_error(&error).kind(), Kind::Signal, "{error}");
    assert!(media.buffered().is_empty());
}

#[test]
fn what_is_known_to_be_wrong_is_read_by_nobody() {
    let stand = Stand::new(Behaviour::new(SIZE));
    let wrong = format!("sha256:{}", "00".repeat(32));
    let wrong = wrong.parse().expect("a digest");
    let media = Media::of(stand.download().checksum(wrong), stand.options());
    let error = media.wait_committed().expect_err("it differs");
    assert_eq!(error.kind(), Kind::Checksum, "{error}");
    let error = media.reader().read(&mut [0; 8]).expect_err("it differs");
    assert_eq!(download_error(&error).kind(), Kind::Checksum, "{error}");
    assert!(media.buffered().is_empty());
}

/// Nor by who begins only then: there is no other version that it could begin with.
#[test]
fn what_has_changed_for_good_is_told_to_who_has_read_nothing() {
    let changes = Behaviour::new(SIZE).changes_after(1, 1);
    let stand = Stand::new(changes.rule(When::Only(1), Deed::CutAfter(HALF)));
    let download = stand.download().lanes(1).on_change(OnChange::Fail);
    let media = Media::of(download, stand.options());
    let error = media.wait_committed().expect_err("it changes");
    assert_eq!(error.kind(), Kind::Changed, "{error}");
    let mut reader = media.reader();
    let read = aside(move || reader.read(&mut [0; 8]).expect_err("it has changed"));
    let error = read.join();
    assert_eq!(download_error(&error).kind(), Kind::Changed, "{error}");
}
