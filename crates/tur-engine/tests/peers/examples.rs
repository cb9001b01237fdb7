//! The examples run, and do what they say.

use tempfile::TempDir;
use tur_testkit::{Behaviour, Loopback};

use crate::stand::{read, soon};

#[path = "../../examples/embed.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod embed;

#[path = "../../examples/peers.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod peers;

#[tokio::test]
async fn embed_downloads_and_tells() {
    let origin = Loopback::start([("/file.bin", Behaviour::new(300_000))]);
    let dir = TempDir::new().expect("a directory");
    let done = soon(embed::fetch(&origin.url("/file.bin"), dir.path()))
        .await
        .expect("a download");
    let have = read(&dir.path().join("file.bin"));
    assert_eq!(have, crate::stand::bytes(0..300_000));
    assert_eq!(done.bytes, 300_000);
}

/// The one that plays goes first, before the change and after it.
#[tokio::test]
async fn peers_change_places() {
    let order = soon(peers::play()).await.expect("all came");
    assert_eq!(order.len(), 40);
    let early = order[..10].iter().filter(|name| **name == "a").count();
    let late = order[12..30].iter().filter(|name| **name == "b").count();
    assert!(early >= 8 && late >= 15, "{order:?}");
}

#[path = "../../examples/crowd.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod crowd;

/// A small one of what the example does with a thousand peers.
#[tokio::test]
async fn a_crowd_is_served_fairly_and_each_fetch_ends_once() {
    let report = soon(crowd::gather(50, 20, None))
        .await
        .expect("a downloader");
    assert_eq!((report.ends, report.failed), (1_000, 0));
    assert!(report.peak <= 32, "{} at once", report.peak);
    assert!(report.connections.is_some_and(|n| n <= 32));
    // They take turns, so all of them are done nearly together.
    assert!(report.unfairness() < 2.0, "{report}");
}
