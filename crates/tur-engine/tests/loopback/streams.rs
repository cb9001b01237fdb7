//! HTTP/2: many downloads on one connection, and many lanes of one download on several.

use tur_core::Rate;
use tur_engine::Downloader;
use tur_testkit::{Behaviour, Deed, Loopback, Setup, Speaks, Tls, When};

use crate::stand::{KIB, MIB, PATH, Stand, assert_content, outcome};

/// An origin that speaks both protocols over TLS, and a downloader that trusts it.
fn stand(behaviour: Behaviour) -> Stand {
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks: Speaks::Both,
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [(PATH, behaviour)]);
    let pem = origin.ca_pem().expect("a TLS origin").as_bytes().to_vec();
    let downloader = Downloader::builder().roots_pem(pem).build();
    Stand::with(origin, downloader.expect("a downloader"))
}

#[tokio::test]
async fn many_small_files_need_one_connection() {
    let size = 10 * KIB + 7;
    let stand = stand(Behaviour::new(size));
    let download = |n: usize| stand.download().file(format!("f{n}")).start();
    let mut handles: Vec<_> = (0..60).map(download).collect();
    for handle in &mut handles {
        let done = outcome(handle).await.expect("it succeeds");
        assert_eq!((done.protocol, done.requests), ("h2", 1));
    }
    for n in 0..60 {
        assert_content(&stand.path(&format!("f{n}")), 0, size);
    }
    assert_eq!(
        (stand.origin.connections(), stand.origin.requests()),
        (1, 60)
    );
}

#[tokio::test]
async fn lanes_of_one_file_have_connections_of_their_own() {
    let size = 8 * MIB + 4_321;
    let stand = stand(Behaviour::new(size).pace(Rate::per_second(8 * MIB)));
    let mut handle = stand.download().lanes(4).start_lanes(4).start();
    let done = outcome(&mut handle).await.expect("it succeeds");
    stand.assert_file(0, size);
    assert_eq!((done.protocol, done.bytes), ("h2", size));
    assert!((3..=8).contains(&stand.origin.connections()), "{done:?}");
}

/// What an origin gives up, one stream or a whole connection, is fetched again, and no lane waits for it for ever.
#[tokio::test]
async fn streams_and_connections_that_end_early_are_survived() {
    for deed in [Deed::ResetStream(2), Deed::ResetStream(7), Deed::GoAway(0)] {
        let size = 4 * MIB + 99;
        let stand = stand(Behaviour::new(size).rule(When::Every(2), deed.clone()));
        let mut handle = stand.download().lanes(4).start_lanes(4).start();
        let done = outcome(&mut handle).await;
        let done = done.unwrap_or_else(|error| panic!("{deed:?}: {error}"));
        stand.assert_file(0, size);
        assert_eq!(done.protocol, "h2", "{deed:?}");
        assert_eq!(stand.downloader.metrics().running, 0);
    }
}

/// What was on its way at once sizes the windows of later connections, of this process and of the next one.
#[tokio::test]
async fn windows_are_sized_by_what_was_on_its_way() {
    let size = 12 * MIB;
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks: Speaks::Both,
        ..Setup::default()
    };
    let paced = Behaviour::new(size).pace(Rate::per_second(24 * MIB));
    let origin = Loopback::start_with(setup, [(PATH, paced)]);
    let pem = origin.ca_pem().expect("a TLS origin").as_bytes().to_vec();
    let dir = tempfile::TempDir::new().expect("a directory");
    let memory = dir.path().join("origins");
    for (file, source) in [("a", "default"), ("b", "remembered")] {
        let builder = Downloader::builder().roots_pem(pem.clone());
        let downloader = builder.origin_memory(Some(memory.clone())).build();
        let downloader = downloader.expect("a downloader");
        let download = downloader.download(&origin.url(PATH)).dir(dir.path());
        let mut handle = download.file(file).lanes(1).start();
        let done = outcome(&mut handle).await.expect("it succeeds");
        assert_content(&dir.path().join(file), 0, size);
        let windows = done.metrics.windows;
        assert_eq!(windows.sources, [(source, 1)].into(), "{file}");
        let (least, most) = windows.bytes.expect("there was one");
        assert_eq!(least, most);
        // A loopback has next to nothing on its way, and the least that is known of is 4 MiB.
        assert!(file == "a" || u64::from(most) == 4 * MIB, "{most}");
        downloader.flush_origins(crate::stand::LIMIT).expect("kept");
        let record = downloader.origins().expect("records").pop();
        let product = record.and_then(|record| record.window);
        assert!(product.is_some_and(|bytes| bytes > 0), "{product:?}");
    }
}
