//! Several lanes, TLS, shared connections: the bytes are the origin's.

use std::time::Duration;

use tur_core::Rate;
use tur_engine::{Checksum, Downloader, Kind};
use tur_testkit::{Behaviour, Deed, Loopback, Ranges, Setup, Tls, When, content};

use crate::stand::{KIB, MIB, PATH, Stand, assert_content, outcome};

#[tokio::test]
async fn lanes_bring_the_file_over_real_sockets() {
    for lanes in [1, 4, 16] {
        let size = 8 * MIB + 4_321;
        let stand = Stand::new(Behaviour::new(size).pace(Rate::per_second(16 * MIB)));
        let mut handle = stand.download().lanes(lanes).start_lanes(lanes).start();
        let done = outcome(&mut handle).await.expect("it succeeds");
        assert_eq!((done.bytes, done.protocol), (size, "h1"));
        assert_eq!(done.path, stand.path("file.bin"));
        // Pieces are whole pages, so that the last lanes may find nothing left.
        assert!(
            (lanes / 2 + 1..=lanes).contains(&done.lanes_max),
            "{done:?}"
        );
        // A lane whose body was cut short for another begins anew.
        assert!(done.connections <= 2 * u32::from(lanes), "{done:?}");
        assert_eq!(u64::from(done.requests), stand.origin.requests());
        stand.assert_file(0, size);
    }
}

#[tokio::test]
async fn tls_is_trusted_only_where_its_authority_is() {
    let size = 4 * MIB + 77;
    let origin = Loopback::start_tls([(PATH, Behaviour::new(size))]);
    let pem = origin.ca_pem().expect("a TLS origin").as_bytes().to_vec();
    let downloader = Downloader::builder()
        .roots_pem(pem.clone())
        .build()
        .expect("a downloader");
    let stand = Stand::with(origin, downloader);
    let mut handle = stand.download().lanes(4).start_lanes(4).start();
    outcome(&mut handle).await.expect("it is trusted");
    stand.assert_file(0, size);

    let stranger = Downloader::builder().build().expect("a downloader");
    let stand = Stand::with(stand.origin, stranger);
    let error = outcome(&mut stand.download().start())
        .await
        .expect_err("nobody vouches");
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    assert!(stand.names().is_empty(), "{:?}", stand.names());

    let setup = Setup {
        tls: Some(Tls {
            names: vec!["elsewhere.example".to_owned()],
        }),
        ..Setup::default()
    };
    let origin = Loopback::start_with(setup, [(PATH, Behaviour::new(size))]);
    let pem = origin.ca_pem().expect("a TLS origin").as_bytes().to_vec();
    let downloader = Downloader::builder()
        .roots_pem(pem)
        .build()
        .expect("a downloader");
    let stand = Stand::with(origin, downloader);
    let error = outcome(&mut stand.download().start())
        .await
        .expect_err("another name");
    assert_eq!(error.kind(), Kind::Tls, "{error}");
}

#[tokio::test]
async fn an_origin_in_trouble_is_survived() {
    let size = 2 * MIB;
    let rows = [
        Behaviour::new(size).ranges(Ranges::Ignored),
        Behaviour::new(size).ranges(Ranges::Refused),
        Behaviour::new(size).rule(When::Only(1), Deed::CutAfter(MIB / 2)),
        Behaviour::new(size).rule(When::Only(1), Deed::ResetAfter(MIB / 2)),
        Behaviour::new(size).rule(When::First(2), Deed::Hangup),
        Behaviour::new(size).no_keep_alive(),
    ];
    for behaviour in rows {
        let stand = Stand::new(behaviour.clone());
        let mut handle = stand.download().lanes(4).start_lanes(4).start();
        let result = outcome(&mut handle).await;
        assert!(result.is_ok(), "{behaviour:?}: {result:?}");
        stand.assert_file(0, size);
    }
}

#[tokio::test]
async fn two_downloads_share_the_connections_of_one_origin() {
    let size = 4 * MIB;
    let file = || Behaviour::new(size).pace(Rate::per_second(8 * MIB));
    let origin = Loopback::start([("/a", file()), ("/b", file())]);
    let downloader = Downloader::builder()
        .connections_per_origin(4)
        .build()
        .expect("built");
    let stand = Stand::with(origin, downloader);
    let start = |path: &str| {
        stand
            .downloader
            .download(&stand.origin.url(path))
            .dir(stand.dir.path())
            .lanes(4)
            .start_lanes(4)
            .start()
    };
    let (mut a, mut b) = (start("/a"), start("/b"));
    let (first, second) = tokio::join!(outcome(&mut a), outcome(&mut b));
    let (first, second) = (first.expect("a succeeds"), second.expect("b succeeds"));
    assert_eq!(stand.names(), ["a", "b"]);
    assert_content(&first.path, 0, size);
    assert_content(&second.path, 0, size);
    assert_ne!(a.id(), b.id());
}

#[tokio::test]
async fn a_connection_is_used_again_by_the_next_download() {
    let stand = Stand::new(Behaviour::new(10 * KIB));
    for name in ["one", "two", "three"] {
        let mut handle = stand.download().file(name).start();
        outcome(&mut handle).await.expect("it succeeds");
        assert_content(&stand.path(name), 0, 10 * KIB);
    }
    assert_eq!(stand.origin.requests(), 3);
    assert_eq!(stand.origin.connections(), 1);
}

#[tokio::test]
async fn a_digest_is_compared_and_told() {
    use sha2::Digest as _;
    let size = 12 * MIB + 3;
    let meant = content(0, tur_core::ByteRange::new(0, size));
    let hex: String = sha2::Sha256::digest(&meant)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let stand = Stand::new(Behaviour::new(size));
    let right: Checksum = format!("sha256:{hex}").parse().expect("a checksum");
    let mut handle = stand
        .download()
        .checksum(right)
        .lanes(4)
        .start_lanes(4)
        .start();
    let done = outcome(&mut handle).await.expect("it matches");
    assert_eq!(done.sha256, Some(hex));
    stand.assert_file(0, size);

    let stand = Stand::new(Behaviour::new(size));
    let wrong: Checksum = format!("sha256:{}", "0".repeat(64))
        .parse()
        .expect("a checksum");
    let error = outcome(&mut stand.download().checksum(wrong).start()).await;
    assert_eq!(error.expect_err("it differs").kind(), Kind::Checksum);
    assert!(stand.names().is_empty());
}

#[tokio::test]
async fn a_handle_is_a_future() {
    let stand = Stand::new(Behaviour::new(KIB));
    let done = tokio::time::timeout(crate::stand::LIMIT, stand.download().start()).await;
    assert_eq!(done.expect("it ends").expect("it succeeds").bytes, KIB);
    let future = stand.download().start().into_future();
    fn send<T: Send>(_: &T) {}
    send(&future);
    let again = tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it ends");
    assert_eq!(again.expect_err("the file is there").kind(), Kind::Local);
}

/// No runtime is needed to start, nor to be dropped in.
#[test]
fn a_download_starts_outside_of_any_runtime() {
    let stand = Stand::new(Behaviour::new(MIB));
    let mut handle = stand.download().start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("built");
    runtime.block_on(outcome(&mut handle)).expect("it succeeds");
    stand.assert_file(0, MIB);
}
