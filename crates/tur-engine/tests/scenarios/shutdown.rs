//! The last downloader goes while work is in flight.

use std::time::Duration;

use tokio::time::timeout;
use tur_core::{ByteRange, RetryAfter};
use tur_engine::{
    Checksum, Completed, Downloader, Error, Event, Events, Handle, Kind, PhaseWord, What,
};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When, content};

use crate::stand::{LIMIT, MIB, Stand, assert_content, outcome};
use crate::{assert_sent, quick, sent};

const SIZE: u64 = 4 * MIB;

/// Bytes that every running download may have when its downloader goes.
const HELD: u64 = MIB;

/// A path for each thing that a download may be about.
const RUNNING: [&str; 3] = ["/a", "/b", "/c"];
const PAUSED: &str = "/paused";
const UNANSWERED: &str = "/unanswered";
const WAITING: &str = "/waiting";

fn downloader() -> Downloader {
    Downloader::builder().build().expect("a downloader")
}

fn busy() -> Behaviour {
    let later = Deed::Status {
        status: 503,
        retry_after: Some(RetryAfter::Delay(Duration::from_secs(50))),
    };
    Behaviour::new(SIZE).rule(When::Always, later)
}

/// All paths: bytes up to the gate, no head, no service.
fn origin() -> Loopback {
    let held = || Behaviour::new(SIZE).rule(When::Always, Deed::Hold(Gate::at(HELD)));
    let silent = Behaviour::new(SIZE).rule(When::Always, Deed::HoldHead(Gate::at(0)));
    let running = RUNNING
        .into_iter()
        .chain([PAUSED])
        .map(|path| (path, held()));
    Loopback::start(running.chain([(UNANSWERED, silent), (WAITING, busy())]))
}

/// A download and what it has told so far.
struct Told {
    path: &'static str,
    handle: Handle,
    stream: Events,
    events: Vec<Event>,
}

impl Told {
    fn start(stand: &Stand, path: &'static str, lanes: u16) -> Self {
        let download = stand.downloader.download(&stand.origin.url(path));
        let handle = download
            .dir(stand.dir.path())
            .file(&path[1..])
            .lanes(lanes)
            .start_lanes(lanes)
            .retry(quick())
            .start();
        Self::of(path, handle)
    }

    fn of(path: &'static str, handle: Handle) -> Self {
        Self {
            path,
            stream: handle.events(),
            handle,
            events: Vec::new(),
        }
    }

    /// Waits for an event; panics if it does not come.
    async fn until(&mut self, is: impl Fn(&What) -> bool) {
        loop {
            let next = timeout(LIMIT, self.stream.next()).await;
            let next = next.expect("it happens").expect("before the end");
            self.events.push(next.clone());
            if is(&next.what) {
                return;
            }
        }
    }

    /// Waits for the end: told once, as an event and as a result, and nothing after it.
    async fn end(&mut self) -> Result<Completed, Error> {
        let result = outcome(&mut self.handle).await;
        while let Some(event) = self.stream.next().await {
            self.events.push(event);
        }
        let over = |event: &&Event| {
            let what = &event.what;
            matches!(
                what,
                What::Completed(_) | What::Failed(_) | What::Cancelled(_)
            )
        };
        assert_eq!(self.events.iter().filter(over).count(), 1, "{}", self.path);
        assert!(
            self.events.last().as_ref().is_some_and(over),
            "{}",
            self.path
        );
        result
    }

    async fn assert_cancelled(&mut self) {
        let error = self.end().await.expect_err("it is cancelled");
        assert_eq!(error.kind(), Kind::Signal, "{}: {error}", self.path);
    }
}

fn landed(bytes: u64) -> impl Fn(&What) -> bool {
    move |what| matches!(what, What::Progress(progress) if progress.landed >= bytes)
}

/// Waits until a path has been asked for.
fn asked(stand: &Stand, path: &str) {
    loop {
        let requests = stand.origin.requests();
        if stand.origin.seen().iter().any(|seen| seen.path == path) {
            return;
        }
        assert!(stand.origin.wait_for_requests(requests + 1, LIMIT));
    }
}

/// One download of each kind, in flight.
async fn in_flight(stand: &Stand) -> Vec<Told> {
    let mut all = Vec::new();
    for path in RUNNING.into_iter().chain([PAUSED]) {
        let mut told = Told::start(stand, path, 1);
        told.until(landed(HELD)).await;
        all.push(told);
    }
    let last = all.last_mut().expect("the paused one");
    last.handle.pause();
    last.until(|what| matches!(what, What::Paused)).await;
    all.push(Told::start(stand, UNANSWERED, 1));
    asked(stand, UNANSWERED);
    let mut waiting = Told::start(stand, WAITING, 1);
    waiting
        .until(|what| matches!(what, What::Retrying { .. }))
        .await;
    all.push(waiting);
    all
}

#[tokio::test]
async fn f2_the_last_clone_ends_each_download_once_and_keeps_what_landed() {
    let mut stand = Stand::with(origin(), downloader());
    let mut all = in_flight(&stand).await;
    // One clone of two is not the last.
    let clone = stand.downloader.clone();
    drop(std::mem::replace(&mut stand.downloader, downloader()));
    assert!(
        all.iter()
            .all(|told| told.handle.progress().phase != PhaseWord::Done)
    );
    drop(clone);
    for told in &mut all {
        told.assert_cancelled().await;
    }
    let kept = RUNNING.into_iter().chain([PAUSED]);
    let mut names: Vec<_> = kept
        .clone()
        .flat_map(|path| ["part", "tur"].map(|side| format!("{}.{side}", &path[1..])))
        .collect();
    names.sort();
    assert_eq!(stand.names(), names, "{:?}", stand.origin.seen());

    for path in kept {
        // The gate stays: what a closed connection waited for would still be counted as sent.
        stand.origin.swap(path, Behaviour::new(SIZE));
        let mut again = Told::start(&stand, path, 1);
        let done = again.end().await.expect("it goes on");
        assert_eq!(done.resumed_bytes, HELD, "{path}");
        assert_sent(&stand, (path, 0), SIZE);
        assert_content(&done.path, 0, SIZE);
    }
}

/// F2, before anything was asked: whatever the download is about, nothing is left of it.
#[tokio::test]
async fn f2_a_shutdown_at_once_leaves_nothing() {
    for _ in 0..20 {
        let mut stand = Stand::with(Loopback::start([("/a", busy())]), downloader());
        let mut told = Told::start(&stand, "/a", 1);
        drop(std::mem::replace(&mut stand.downloader, downloader()));
        told.assert_cancelled().await;
        assert!(stand.names().is_empty(), "{:?}", stand.names());
    }
}

/// F2, with several lanes: the bytes of all of them are kept, and only the holes are fetched.
#[tokio::test]
async fn f2_what_each_lane_brought_is_kept() {
    let each = MIB / 2;
    let stalling = Behaviour::new(2 * SIZE).rule(When::Always, Deed::StallAfter(each));
    let mut stand = Stand::with(Loopback::start([("/a", stalling)]), downloader());
    let mut told = Told::start(&stand, "/a", 4);
    told.until(landed(4 * each)).await;
    drop(std::mem::replace(&mut stand.downloader, downloader()));
    told.assert_cancelled().await;
    stand.origin.swap("/a", Behaviour::new(2 * SIZE));
    let mut again = Told::start(&stand, "/a", 1);
    let done = again.end().await.expect("it goes on");
    assert!(done.resumed_bytes >= 4 * each, "{done:?}");
    assert_sent(&stand, ("/a", 0), 2 * SIZE);
    assert_content(&done.path, 0, 2 * SIZE);
}

/// A download of `/a` with the digest of its `size` bytes.
fn with_digest(stand: &Stand, size: u64) -> Told {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(content(0, ByteRange::new(0, size)));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let checksum: Checksum = format!("sha256:{hex}").parse().expect("a checksum");
    let download = stand.downloader.download(&stand.origin.url("/a"));
    let download = download.dir(stand.dir.path()).file("a").lanes(1);
    Told::of("/a", download.checksum(checksum).start())
}

/// F2, while a digest is computed of what is there: its reader does not keep the part from who begins again at once.
#[tokio::test]
async fn f2_a_shutdown_while_a_digest_follows_lets_the_part_go() {
    let gate = Deed::Hold(Gate::at(2 * SIZE));
    let held = Behaviour::new(3 * SIZE).rule(When::Always, gate);
    let mut stand = Stand::with(Loopback::start([("/a", held)]), downloader());
    let mut told = with_digest(&stand, 3 * SIZE);
    told.until(landed(2 * SIZE)).await;
    drop(std::mem::replace(&mut stand.downloader, downloader()));
    told.assert_cancelled().await;
    stand.origin.swap("/a", Behaviour::new(3 * SIZE));
    let mut again = with_digest(&stand, 3 * SIZE);
    let done = again.end().await.expect("it goes on");
    assert_eq!(done.resumed_bytes, 2 * SIZE);
    assert_sent(&stand, ("/a", 0), 3 * SIZE);
    assert_content(&done.path, 0, 3 * SIZE);
}

/// F2, between the last byte and the name: the file is there, or all of it is kept.
#[tokio::test]
async fn f2_a_shutdown_while_verifying_loses_nothing() {
    let origin = Loopback::start([("/a", Behaviour::new(SIZE))]);
    let mut stand = Stand::with(origin, downloader());
    let mut told = with_digest(&stand, SIZE);
    told.until(|what| matches!(what, What::Verifying)).await;
    drop(std::mem::replace(&mut stand.downloader, downloader()));
    match told.end().await {
        Ok(done) => {
            assert_eq!(stand.names(), ["a"]);
            assert_content(&done.path, 0, SIZE);
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Signal, "{error}");
            assert_eq!(stand.names(), ["a.part", "a.tur"]);
        }
    }
    let done = with_digest(&stand, SIZE).end().await.expect("it is there");
    assert_eq!(stand.names(), ["a"]);
    assert_content(&done.path, 0, SIZE);
    // What was all there needs no more than a byte to show that it is the same file.
    assert!(sent(&stand, "/a", 0) <= SIZE + 1);
}
