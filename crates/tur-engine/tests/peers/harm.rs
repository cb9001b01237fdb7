//! What users do wrong, or late, costs nobody else anything.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tur_engine::{Abr, CancelToken, Command, Kind, Peer, PeerHandle, Priority};
use tur_testkit::{Behaviour, Deed, Framing, Gate, Loopback, Ranges, When};

use crate::stand::{Asked, Ends, Quiet, SMALL, bytes, downloader, narrow, origin, read, soon};

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose");
        }
    }
}

impl Abr for Bomb {}
impl Peer for Bomb {}

/// A command that never begins, and whose callbacks panic when they are dropped.
fn explosive(url: String) -> Command {
    let (demand, data, slow, response) = (Bomb, Bomb, Bomb, Bomb);
    Command::new(url)
        .demand(move || {
            let _held = &demand;
            false
        })
        .on_data(move |_| {
            let _held = &data;
        })
        .on_slow(move || drop(slow))
        .on_response(move |_| drop(response))
}

#[tokio::test]
async fn what_panics_while_it_is_dropped_costs_nobody_else_anything() {
    let gate = Gate::at(0);
    let held = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = Loopback::start([("/held", held), ("/0", Behaviour::new(SMALL))]);
    let downloader = downloader(1);
    let mut ends = Ends::new();
    let first = ends.of(Command::new(origin.url("/held")), 0);
    let holder = downloader.register(Asked::new([first]));
    assert!(origin.wait_for_requests(1, Duration::from_secs(60)));
    // One waits for its turn, one is asked for wrongly, one was cancelled before.
    let (epoch, late) = (CancelToken::new(), CancelToken::new());
    late.cancel();
    let waiting = ends.of(explosive(origin.url("/0")).epoch(&epoch), 1);
    let wrong = ends.of(explosive("nonsense".to_owned()), 2);
    let late = ends.of(explosive(origin.url("/0")).epoch(&late), 3);
    let peer = downloader.register(Asked::new([waiting, wrong, late]));
    assert_eq!(ends.next(2).await.len(), 2);
    epoch.cancel();
    assert_eq!(ends.next(1).await.len(), 1);
    // A peer that nobody else keeps is dropped by the engine.
    drop(downloader.register(Arc::new(Bomb)));
    drop(peer);
    gate.open();
    assert_eq!(ends.next(1).await.len(), 1);
    let player = downloader.register(Arc::new(Quiet::active()));
    let response = soon(player.execute(Command::new(origin.url("/0")))).await;
    assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    drop(holder);
}

/// Always has more, and none of it is worth anything.
struct Endless {
    epoch: CancelToken,
    url: String,
    asked: AtomicUsize,
}

impl Abr for Endless {}

impl Peer for Endless {
    fn poll_next(&self, _cx: &mut Context<'_>) -> Poll<Option<Vec<Command>>> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst);
        let url = if n.is_multiple_of(2) {
            &self.url
        } else {
            "nonsense"
        };
        Poll::Ready(Some(vec![Command::new(url).epoch(&self.epoch)]))
    }
}

#[tokio::test]
async fn a_peer_with_endless_commands_that_end_at_once_holds_up_nobody() {
    let origin = origin(1, &Behaviour::new(SMALL));
    let downloader = downloader(2);
    let epoch = CancelToken::new();
    epoch.cancel();
    let endless = Arc::new(Endless {
        epoch,
        url: origin.url("/0"),
        asked: AtomicUsize::new(0),
    });
    let _endless = downloader.register(Arc::clone(&endless));
    let player = downloader.register(Arc::new(Quiet::active()));
    let response = soon(player.execute(Command::new(origin.url("/0")))).await;
    assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    assert!(endless.asked.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn a_cancelled_epoch_does_not_wait_for_room() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate));
    let origin = origin(1, &behaviour);
    let downloader = narrow(1).peer_queue(1).build().expect("a downloader");
    let peer = downloader.register(Arc::new(Quiet::default()));
    let command = || Command::new(origin.url("/0"));
    // The first one runs, the second one takes all the room there is.
    for n in 0..2 {
        soon(peer.submit(command())).await.expect("it is accepted");
        if n == 0 {
            assert!(origin.wait_for_requests(1, Duration::from_secs(60)));
        }
    }
    let epoch = CancelToken::new();
    let mut ends = Ends::new();
    let waits = peer.execute(ends.of(command().epoch(&epoch), ()));
    let cancels = async { epoch.cancel() };
    let (ended, ()) = soon(async { tokio::join!(waits, cancels) }).await;
    assert_eq!(ended.expect_err("it was cancelled").kind(), Kind::Signal);
    assert_eq!(ends.next(1).await.len(), 1);
    assert_eq!(ends.more(), 0, "it is told once");
}

/// What cannot go on from the middle does not give way once much of it has come: it might never come to its end.
#[tokio::test]
async fn a_download_without_ranges_is_not_begun_anew_for_others() {
    const SIZE: u64 = 6_000_000;
    let gate = Gate::at(4_000_000);
    let big = Behaviour::new(SIZE)
        .ranges(Ranges::Ignored)
        .rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/big", big), ("/small", Behaviour::new(SMALL))]);
    let downloader = downloader(2);
    let player = downloader.register(Arc::new(Quiet::active()));
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut download = downloader
        .download(&origin.url("/big"))
        .dir(dir.path())
        .start();
    assert!(origin.wait_for_bytes(4_000_000, Duration::from_secs(60)));
    let small = || Command::new(origin.url("/small")).priority(Priority::High);
    let all = player.batch((0..10).map(|_| small()).collect());
    for response in soon(all).await {
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
    gate.open();
    let done = soon(download.wait()).await.expect("it came");
    assert!(read(&done.path) == bytes(0..SIZE), "every byte is right");
    assert_eq!(origin.requests(), 11, "the big one was asked for once");
}

/// What nothing tells to be the same again cannot be cut at all once a byte was handed on: it would fail.
#[tokio::test]
async fn a_prefetch_that_could_not_go_on_is_not_cut() {
    let gate = Gate::at(2_000);
    let nameless = Behaviour::new(SMALL)
        .ranges(Ranges::Ignored)
        .framing(Framing::Chunked)
        .etag(None)
        .last_modified(None)
        .rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/nameless", nameless), ("/small", Behaviour::new(SMALL))]);
    let downloader = downloader(2);
    let prefetcher = downloader.register(Arc::new(Quiet::default()));
    let player = downloader.register(Arc::new(Quiet::active()));
    let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
    let mut ends = Ends::new();
    let command = Command::new(origin.url("/nameless"))
        .on_data(move |_| began.send(()).expect("it is heard"));
    let command = ends.of(command.priority(Priority::Low), ());
    soon(prefetcher.submit(command))
        .await
        .expect("it is accepted");
    soon(begun.recv()).await.expect("bytes");
    let small = || Command::new(origin.url("/small"));
    for response in soon(player.batch((0..10).map(|_| small()).collect())).await {
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
    gate.open();
    let (_, end) = ends.next(1).await.remove(0);
    assert_eq!(end.expect("it came").bytes, SMALL);
}

/// Hands a command over, which never waits while there is room.
fn submitted(peer: &PeerHandle, command: Command) {
    let mut submit = pin!(peer.submit(command));
    let sent = submit
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(sent, Poll::Ready(Ok(()))), "{sent:?}");
}

/// Waits on this very thread until the data thread has heeded all that was sent to it before.
fn heeded(other: &PeerHandle) {
    let (told, end) = std::sync::mpsc::channel();
    let wrong = Command::new("nonsense").on_complete(move |_| told.send(()).expect("heard"));
    submitted(other, wrong);
    end.recv_timeout(Duration::from_secs(60)).expect("an end");
}

#[tokio::test]
async fn a_command_that_is_sent_while_its_peer_is_made_is_carried_out() {
    let origin = origin(1, &Behaviour::new(SMALL));
    let downloader = downloader(2);
    let other = downloader.register(Arc::new(Quiet::default()));
    let mut ends = Ends::new();
    let command = |name| ends.of(Command::new(origin.url("/0")), name);
    let peer = downloader.register_with(|weak| {
        let handle = weak.upgrade().expect("the peer is being made");
        submitted(&handle, command("cancelled"));
        handle.cancel();
        submitted(&handle, command("carried out"));
        heeded(&other);
        Arc::new(Quiet::active())
    });
    let mut told = ends.next(2).await;
    told.sort_by_key(|(name, _)| *name);
    let kinds = told
        .iter()
        .map(|(_, end)| end.as_ref().err().map(tur_engine::Error::kind));
    assert_eq!(kinds.collect::<Vec<_>>(), [Some(Kind::Signal), None]);
    let response = soon(peer.execute(Command::new(origin.url("/0")))).await;
    assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    assert_eq!(ends.more(), 0, "each is told once");
}

#[tokio::test]
async fn what_was_sent_to_a_peer_that_could_not_be_made_is_cancelled() {
    let origin = origin(1, &Behaviour::new(SMALL));
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let mut kept = None;
    let made = catch_unwind(AssertUnwindSafe(|| {
        downloader.register_with(|weak| -> Arc<Quiet> {
            let handle = kept.insert(weak.upgrade().expect("it is being made"));
            submitted(handle, ends.of(Command::new(origin.url("/0")), 0));
            panic!("on purpose");
        })
    }));
    assert!(made.is_err());
    // The handle is kept all the same: what is sent through it is not accepted any more.
    let late = ends.of(Command::new(origin.url("/0")), 1);
    submitted(kept.as_ref().expect("it was kept"), late);
    for (_, end) in ends.next(2).await {
        assert_eq!(end.expect_err("there is no peer").kind(), Kind::Signal);
    }
    drop(kept);
    assert_eq!((ends.more(), origin.requests()), (0, 0));
}
