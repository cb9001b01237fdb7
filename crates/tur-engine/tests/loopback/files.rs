//! Files: never there before they are whole, gone on with, not fetched twice.

use std::time::Duration;

use tur_core::{Rate, Wall};
use tur_engine::{Downloader, Kind, OnExists, StorageKind, What};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, TODAY, When};

use crate::stand::{KIB, LIMIT, MIB, PATH, Stand, assert_content, outcome, read};

const SIZE: u64 = 4 * MIB;

fn dated() -> Behaviour {
    let yesterday = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);
    Behaviour::new(SIZE).last_modified(Some(yesterday))
}

#[tokio::test]
async fn a_name_appears_only_with_the_whole_file() {
    let gate = Gate::at(SIZE / 2);
    let stand = Stand::new(dated().rule(When::Always, Deed::Hold(gate.clone())));
    let mut handle = stand.download().lanes(1).start();
    let reached = tokio::time::timeout(LIMIT, stand.origin.bytes_reach(SIZE / 2)).await;
    reached.expect("half of it is sent");
    assert_eq!(stand.names(), ["file.bin.part", "file.bin.tur"]);
    gate.open();
    outcome(&mut handle).await.expect("it succeeds");
    stand.assert_file(0, SIZE);
}

#[tokio::test]
async fn a_complete_file_is_not_fetched_twice_and_a_deleted_one_is() {
    let stand = Stand::new(dated());
    let first = outcome(&mut stand.download().start())
        .await
        .expect("it succeeds");
    assert!(!first.already);
    let (requests, sent) = (stand.origin.requests(), stand.origin.bytes_sent());
    let again = outcome(&mut stand.download().start())
        .await
        .expect("it is there");
    assert!(again.already);
    assert_eq!(stand.origin.requests() - requests, 1);
    assert!(stand.origin.bytes_sent() - sent <= 1);
    stand.assert_file(0, SIZE);

    remove(&stand);
    let fetched = outcome(&mut stand.download().start())
        .await
        .expect("it succeeds");
    assert!(!fetched.already);
    stand.assert_file(0, SIZE);
}

#[expect(clippy::disallowed_methods, reason = "somebody else's hand")]
fn remove(stand: &Stand) {
    std::fs::remove_file(stand.path("file.bin")).expect("removed");
}

#[tokio::test]
async fn a_changed_file_is_replaced_only_if_that_is_wanted() {
    let stand = Stand::new(dated());
    outcome(&mut stand.download().start())
        .await
        .expect("it succeeds");
    let newer = Behaviour::new(SIZE + 1)
        .version(1)
        .last_modified(Some(TODAY));
    stand.origin.swap(PATH, newer);
    let error = outcome(&mut stand.download().start())
        .await
        .expect_err("it is another file");
    assert_eq!(error.kind(), Kind::Local);
    stand.assert_file(0, SIZE);

    let rename = stand.download().on_exists(OnExists::Rename).start();
    let done = tokio::time::timeout(LIMIT, rename)
        .await
        .expect("it ends")
        .expect("it succeeds");
    assert_eq!(done.path, stand.path("file.bin.1"));
    assert_content(&stand.path("file.bin.1"), 1, SIZE + 1);
    assert_content(&stand.path("file.bin"), 0, SIZE);

    let mut over = stand.download().on_exists(OnExists::Overwrite).start();
    outcome(&mut over).await.expect("it succeeds");
    assert_content(&stand.path("file.bin"), 1, SIZE + 1);
}

/// Dropping the handle, or the downloader, ends the work and keeps what landed.
#[tokio::test]
async fn what_was_dropped_is_gone_on_with() {
    for drop_downloader in [false, true] {
        let gate = Gate::at(SIZE / 2);
        let mut stand = Stand::new(dated().rule(When::Always, Deed::Hold(gate)));
        let mut handle = stand.download().lanes(1).start();
        let mut events = handle.events();
        let reached = tokio::time::timeout(LIMIT, stand.origin.bytes_reach(SIZE / 2)).await;
        reached.expect("half of it is sent");
        let fresh = tur_engine::Downloader::builder()
            .build()
            .expect("a downloader");
        if drop_downloader {
            drop(std::mem::replace(&mut stand.downloader, fresh));
            let error = outcome(&mut handle).await.expect_err("it is cancelled");
            assert_eq!(error.kind(), Kind::Signal);
        } else {
            drop(handle);
        }
        // The stream of events ends when the driver has left.
        let over = async { while events.next().await.is_some() {} };
        tokio::time::timeout(LIMIT, over).await.expect("it ends");
        assert_eq!(stand.names(), ["file.bin.part", "file.bin.tur"]);

        stand.origin.swap(PATH, dated());
        let sent = stand.origin.bytes_sent();
        let done = outcome(&mut stand.download().start())
            .await
            .expect("it succeeds");
        assert!(done.resumed_bytes > 0);
        let fetched = stand.origin.bytes_sent() - sent;
        assert!(
            fetched <= SIZE - done.resumed_bytes + 512 * KIB,
            "{fetched} fetched"
        );
        stand.assert_file(0, SIZE);
    }
}

#[tokio::test]
async fn a_cancelled_download_may_begin_again_at_once() {
    let stand = Stand::new(dated().pace(Rate::per_second(2 * MIB)));
    for _ in 0..3 {
        let mut handle = stand.download().lanes(2).start();
        let sent = stand.origin.bytes_sent();
        let reached = stand.origin.bytes_reach(sent + 256 * KIB);
        tokio::time::timeout(LIMIT, reached)
            .await
            .expect("bytes flow");
        handle.cancel();
        let error = outcome(&mut handle).await.expect_err("it is cancelled");
        assert_eq!(error.kind(), Kind::Signal);
    }
    outcome(&mut stand.download().start())
        .await
        .expect("it succeeds");
    stand.assert_file(0, SIZE);
    let twice = stand.origin.bytes_sent() - SIZE;
    assert!(twice <= 3 * MIB / 2, "{twice} bytes twice");
}

#[tokio::test]
async fn a_pause_holds_the_bytes_back() {
    let stand = Stand::new(dated().pace(Rate::per_second(4 * MIB)));
    let mut handle = stand.download().lanes(2).start();
    tokio::time::timeout(LIMIT, stand.origin.bytes_reach(MIB))
        .await
        .expect("bytes flow");
    handle.pause();
    // How soon it comes to rest is the machine's. That it would be over without the pause is not.
    let rests = async {
        let mut before = None;
        while before.replace(stand.origin.bytes_sent()) != Some(stand.origin.bytes_sent()) {
            let waited = tokio::time::timeout(Duration::from_millis(300), handle.wait()).await;
            assert!(waited.is_err(), "it is paused, and waiting can be given up");
        }
    };
    tokio::time::timeout(LIMIT, rests).await.expect("it rests");
    assert!(stand.origin.bytes_sent() < SIZE);
    handle.resume();
    outcome(&mut handle).await.expect("it succeeds");
    stand.assert_file(0, SIZE);
}

#[tokio::test]
async fn each_way_to_store_brings_the_file_and_goes_on_with_that_of_another() {
    let kinds = [StorageKind::Mmap, StorageKind::Pwrite, StorageKind::Auto];
    for (first, second) in kinds.into_iter().zip(kinds.into_iter().cycle().skip(1)) {
        let gate = Gate::at(SIZE / 2);
        let held = dated().rule(When::Always, Deed::Hold(gate.clone()));
        let downloader = |kind| Downloader::builder().storage(kind).build();
        let origin = Loopback::start([(PATH, held)]);
        let mut stand = Stand::with(origin, downloader(first).expect("a downloader"));
        let mut handle = stand.download().lanes(3).start();
        let mut events = handle.events();
        let landed = async {
            while let Some(event) = events.next().await {
                if matches!(event.what, What::Progress(progress) if progress.landed > 0) {
                    break;
                }
            }
        };
        let reached = tokio::time::timeout(LIMIT, landed).await;
        reached.expect("some of it lands");
        handle.cancel();
        let error = outcome(&mut handle).await.expect_err("it was cancelled");
        assert_eq!(error.kind(), Kind::Signal, "{error}");
        gate.open();
        stand.downloader = downloader(second).expect("a downloader");
        let mut handle = stand.download().lanes(3).start();
        let done = outcome(&mut handle).await.expect("it succeeds");
        assert!(done.resumed_bytes > 0, "{first:?}, then {second:?}");
        stand.assert_file(0, SIZE);
    }
}

#[tokio::test]
async fn two_downloaders_do_not_write_one_file() {
    let gate = Gate::at(SIZE / 2);
    let stand = Stand::new(dated().rule(When::Always, Deed::Hold(gate.clone())));
    let mut first = stand.download().start();
    let reached = tokio::time::timeout(LIMIT, stand.origin.bytes_reach(SIZE / 4)).await;
    reached.expect("a quarter of it is sent");
    let other = tur_engine::Downloader::builder()
        .build()
        .expect("a downloader");
    let mut second = other
        .download(&stand.origin.url(PATH))
        .file(stand.path("file.bin"))
        .start();
    let error = outcome(&mut second).await.expect_err("the first has it");
    assert_eq!(error.kind(), Kind::Busy, "{error}");
    gate.open();
    outcome(&mut first).await.expect("it succeeds");
    assert_eq!(read(&stand.path("file.bin")).len() as u64, SIZE);
    stand.assert_file(0, SIZE);
}
