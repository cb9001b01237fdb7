//! What one downloader leaves for the next.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tur_engine::{Downloader, Kind};
use tur_testkit::{Behaviour, Loopback};

use crate::stand::{LIMIT, MIB, PATH, Stand, outcome};

const SIZE: u64 = 2 * MIB;

fn downloader(path: Option<PathBuf>) -> Downloader {
    let builder = Downloader::builder().origin_memory(path);
    builder.build().expect("a downloader")
}

#[tokio::test]
async fn a_second_downloader_knows_what_the_first_one_learned() {
    let state = TempDir::new().expect("a directory");
    let path = state.path().join("a/origins");
    let origin = Loopback::start([(PATH, Behaviour::new(SIZE))]);
    let stand = Stand::with(origin, downloader(Some(path.clone())));
    let done = outcome(&mut stand.download().start()).await;
    done.expect("it succeeds");
    stand.assert_file(0, SIZE);
    stand.downloader.flush_origins(LIMIT).expect("written");

    let second = downloader(Some(path));
    let list = second.origins().expect("it can be read");
    assert_eq!(list.len(), 1);
    let url = stand.origin.url("");
    assert_eq!(list[0].origin, url.trim_end_matches('/'));
    assert_eq!(list[0].ranges, Some(true));
    assert!(list[0].rtt.is_some() && list[0].handshake.is_some());
    assert_eq!(second.notes(), stand.downloader.notes());

    let usage = second.forget_origins(Some("a/b")).expect_err("no origin");
    assert_eq!(usage.kind(), Kind::Usage);
    assert_eq!(
        second.forget_origins(Some("nowhere.test")).expect("a host"),
        0
    );
    assert_eq!(second.forget_origins(Some(&url)).expect("an origin"), 1);
    assert_eq!(stand.downloader.origins().expect("it can be read"), []);
}

#[tokio::test]
async fn without_a_path_nothing_outlives_the_downloader() {
    let origin = Loopback::start([(PATH, Behaviour::new(SIZE))]);
    let stand = Stand::with(origin, downloader(None));
    let done = outcome(&mut stand.download().start()).await;
    done.expect("it succeeds");
    stand.assert_file(0, SIZE);
    stand
        .downloader
        .flush_origins(Duration::ZERO)
        .expect("nothing to do");
    assert_eq!(
        stand.downloader.clone().origins().expect("in memory").len(),
        1
    );
    assert_eq!(downloader(None).origins().expect("in memory"), []);
    assert_eq!(stand.downloader.forget_origins(None).expect("in memory"), 1);
}

#[tokio::test]
async fn a_memory_that_cannot_be_kept_fails_no_download() {
    let state = TempDir::new().expect("a directory");
    // A directory stands where the file is to be.
    let origin = Loopback::start([(PATH, Behaviour::new(SIZE))]);
    let stand = Stand::with(origin, downloader(Some(state.path().to_owned())));
    let done = outcome(&mut stand.download().start()).await;
    done.expect("it succeeds");
    stand.assert_file(0, SIZE);
    let error = stand.downloader.flush_origins(LIMIT).expect_err("no file");
    assert_eq!(error.kind(), Kind::Local);
}
