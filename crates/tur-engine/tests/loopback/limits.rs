//! Rate limits through the public interface: set before, changed while it runs, for one download and for all.

use tur_core::Rate;
use tur_engine::{Downloader, Events, Progress, What};
use tur_testkit::{Behaviour, Loopback};

use crate::stand::{KIB, LIMIT, MIB, PATH, Stand, events_of, outcome};

/// At this rate the file would take more than two minutes: longer than any test here waits.
const SLOW: Rate = Rate::per_second(64 * KIB);
const SIZE: u64 = 8 * MIB + 7;

/// Waits until more than so many bytes are told to have landed.
async fn landed(events: &mut Events, bytes: u64) -> Progress {
    let told = async {
        loop {
            match events.next().await.expect("it runs").what {
                What::Progress(progress) if progress.landed > bytes => break progress,
                _ => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, told).await.expect("in time")
}

#[tokio::test]
async fn a_limit_holds_until_it_is_lifted() {
    for of_process in [false, true] {
        let downloader = Downloader::builder()
            .limit(of_process.then_some(SLOW))
            .build()
            .expect("a downloader");
        let stand = Stand::with(Loopback::start([(PATH, Behaviour::new(SIZE))]), downloader);
        let mut download = stand.download().lanes(4).start_lanes(4);
        if !of_process {
            download = download.limit(SLOW);
        }
        let mut handle = download.start();
        let mut events = handle.events();
        let seen = landed(&mut events, 128 * KIB).await;
        let (landed, elapsed) = (seen.landed, seen.elapsed);
        // One read beyond the rate for each lane, at most.
        let most = SLOW.bytes_in(elapsed) + 4 * 8 * KIB + SLOW.bytes_per_second() / 10;
        assert!(landed <= most, "{landed} of {most} in {elapsed:?}");
        if of_process {
            stand.downloader.set_limit(None);
        } else {
            handle.set_limit(None);
        }
        outcome(&mut handle).await.expect("it succeeds");
        stand.assert_file(0, SIZE);
    }
}

#[tokio::test]
async fn a_limit_can_come_later_and_a_limited_download_can_be_cancelled() {
    let pace = Rate::per_second(MIB);
    let stand = Stand::new(Behaviour::new(16 * MIB).pace(pace));
    let mut handle = stand.download().lanes(2).start_lanes(2).start();
    let mut events = handle.events();
    // What is kept is what landed: before that there is nothing to keep.
    landed(&mut events, 0).await;
    handle.set_limit(Some(Rate::per_second(1)));
    handle.cancel();
    let (_, result) = events_of(&mut handle).await;
    assert!(result.is_err());
    assert_eq!(stand.names(), ["file.bin.part", "file.bin.tur"]);
}
