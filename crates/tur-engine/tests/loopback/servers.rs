//! Two servers behind one name: both are used, and where they disagree one is.
#![cfg(target_os = "linux")]

use tempfile::TempDir;
use tur_core::Rate;
use tur_engine::{Completed, Downloader, Error, Event, What};
use tur_testkit::{Behaviour, Loopback, Setup};

use crate::stand::{MIB, PATH, assert_content, events_of};

const SIZE: u64 = 4 * MIB;

/// Servers at 127.0.0.1 and 127.0.0.2, the second with this version of the file.
fn servers(version: u8) -> [Loopback; 2] {
    let behaviour = |version| {
        let paced = Behaviour::new(SIZE).pace(Rate::per_second(8 * MIB));
        [(PATH, paced.version(version))]
    };
    let first = Loopback::start(behaviour(0));
    let setup = Setup {
        address: Some([127, 0, 0, 2].into()),
        port: first.port(),
        ..Setup::default()
    };
    [first, Loopback::start_with(setup, behaviour(version))]
}

/// Downloads the file of both with eight lanes.
async fn download(port: u16, dir: &TempDir) -> (Vec<Event>, Result<Completed, Error>) {
    let entry = format!("a.example:{port}:127.0.0.1,127.0.0.2");
    let entry = entry.parse().expect("an entry");
    let downloader = Downloader::builder().hosts(vec![entry]).build();
    let downloader = downloader.expect("a downloader");
    let url = format!("http://a.example:{port}{PATH}");
    let download = downloader.download(&url).dir(dir.path()).file("file.bin");
    events_of(&mut download.lanes(8).start_lanes(8).start()).await
}

#[tokio::test]
async fn connections_are_spread_over_servers_that_agree() {
    let both = servers(0);
    let dir = TempDir::new().expect("a directory");
    let (_events, result) = download(both[0].port(), &dir).await;
    result.expect("it succeeds");
    assert_content(&dir.path().join("file.bin"), 0, SIZE);
    for server in &both {
        let sent = server.bytes_sent();
        assert!(sent >= SIZE / 4, "{sent} from one of them");
    }
}

#[tokio::test]
async fn a_server_with_another_version_is_left_out_and_nothing_restarts() {
    let both = servers(1);
    let dir = TempDir::new().expect("a directory");
    let (events, result) = download(both[0].port(), &dir).await;
    let done = result.expect("it succeeds");
    assert_content(&dir.path().join("file.bin"), 0, SIZE);
    let told =
        |event: &&Event| matches!(&event.what, What::Note(text) if text.contains("disagree"));
    assert!(events.iter().any(|event| told(&event)), "{events:?}");
    let again = |event: &Event| matches!(event.what, What::Restarted { .. });
    assert!(!events.iter().any(again), "{events:?}");
    assert!(done.wasted_bytes < SIZE, "{done:?}");
}
