//! Who goes first, and that everybody goes: rows D1 to D12.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tur_engine::{CancelToken, Command, Kind, Priority};
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::stand::{Asked, Ends, Quiet, SMALL, bytes, downloader, moment, origin, read, soon};

/// Counts how many are between their beginning and their end.
#[derive(Default)]
struct Peak {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Peak {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn d1_a_thousand_fetches_keep_to_the_cap_and_all_come() {
    const FETCHES: usize = 1_000;
    let origin = origin(10, &Behaviour::new(SMALL));
    let downloader = downloader(5);
    let (mut ends, peak) = (Ends::new(), Arc::new(Peak::default()));
    let commands = (0..FETCHES).map(|n| {
        let (entered, left) = (Arc::clone(&peak), Arc::clone(&peak));
        let command = Command::new(origin.url(&format!("/{}", n % 10)))
            .on_response(move |_| entered.enter())
            .on_complete(move |_| left.leave());
        ends.of(command, n)
    });
    let peer = Asked::new(commands.collect::<Vec<_>>());
    let handle = downloader.register(Arc::clone(&peer));
    let mut names: Vec<_> = ends
        .next(FETCHES)
        .await
        .into_iter()
        .map(|(n, end)| {
            assert_eq!(end.expect("it came").bytes, SMALL);
            n
        })
        .collect();
    names.sort_unstable();
    assert_eq!(names, (0..FETCHES).collect::<Vec<_>>());
    assert_eq!(ends.more(), 0, "each ends once");
    let most = peak.most.load(Ordering::SeqCst);
    assert!((1..=5).contains(&most), "{most} at once");
    assert!(
        origin.connections() <= 5,
        "{} connections",
        origin.connections()
    );
    assert_eq!(origin.requests(), FETCHES as u64);
    drop(handle);
}

#[tokio::test]
async fn d2_the_active_peer_goes_first() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let commands = |name: &'static str| -> Vec<_> {
        (0..20)
            .map(|_| ends.of(Command::new(origin.url("/0")), name))
            .collect()
    };
    let (idle, active) = (Asked::new(commands("idle")), Asked::new(commands("active")));
    active.activate(true);
    let first = downloader.register(Arc::clone(&idle));
    let second = downloader.register(Arc::clone(&active));
    // Everything that may begin has begun, and waits: what comes next is the order of what is queued.
    assert!(origin.wait_for_requests(2, Duration::from_secs(60)));
    gate.open();
    let order: Vec<_> = ends.next(40).await.into_iter().map(|(n, _)| n).collect();
    let place = |name| {
        let places = order.iter().enumerate().filter(|(_, n)| **n == name);
        places
            .map(|(place, _)| place)
            .nth(10)
            .expect("twenty of each")
    };
    assert!(place("active") < place("idle"), "{order:?}");
    drop((first, second));
}

#[tokio::test]
async fn d3_a_peer_that_turns_active_overtakes() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::First(2), Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let commands = |name: &'static str| -> Vec<_> {
        (0..20)
            .map(|_| ends.of(Command::new(origin.url("/0")), name))
            .collect()
    };
    let (playing, background) = (
        Asked::new(commands("playing")),
        Asked::new(commands("other")),
    );
    playing.activate(true);
    let first = downloader.register(Arc::clone(&playing));
    let second = downloader.register(Arc::clone(&background));
    assert!(origin.wait_for_requests(2, Duration::from_secs(60)));
    // Everything else waits in the queue by now, as it was enqueued.
    soon(async {
        while playing.left() + background.left() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    playing.activate(false);
    background.activate(true);
    gate.open();
    let order: Vec<_> = ends.next(40).await.into_iter().map(|(n, _)| n).collect();
    let overtaken = order[..22].iter().filter(|name| **name == "other").count();
    assert!(overtaken >= 18, "{order:?}");
    drop((first, second));
}

/// Five prefetches that bring nothing hold all there is; what is urgent begins all the same.
#[tokio::test]
async fn d5_an_urgent_fetch_does_not_wait_for_stalled_prefetches() {
    let stalled = Behaviour::new(SMALL).rule(When::Always, Deed::StallAfter(100));
    let mut files: Vec<_> = (0..6)
        .map(|n| (format!("/stalled/{n}"), stalled.clone()))
        .collect();
    files.push(("/urgent".to_owned(), Behaviour::new(SMALL)));
    let origin = tur_testkit::Loopback::start(files);
    let downloader = downloader(5);
    let ends = Ends::new();
    let prefetches = (0..6).map(|n| {
        let command = Command::new(origin.url(&format!("/stalled/{n}"))).priority(Priority::Low);
        ends.of(command, n)
    });
    let prefetcher = Asked::new(prefetches.collect::<Vec<_>>());
    let _prefetcher = downloader.register(prefetcher);
    let player = downloader.register(Arc::new(Quiet::active()));
    assert!(origin.wait_for_requests(4, Duration::from_secs(60)));
    let began = moment();
    let urgent = || player.execute(Command::new(origin.url("/urgent")));
    let (first, second) = soon(async { tokio::join!(urgent(), urgent()) }).await;
    for response in [first, second] {
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
    // 100 ms are asked for where time is virtual; here a machine under load has to be forgiven.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn d6_one_low_fetch_runs_among_endless_urgent_ones() {
    let origin = origin(1, &Behaviour::new(SMALL));
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let urgent = (0..200).map(|_| ends.of(Command::new(origin.url("/0")), "urgent"));
    let urgent = Asked::new(urgent.collect::<Vec<_>>());
    urgent.activate(true);
    let low = ends.of(
        Command::new(origin.url("/0")).priority(Priority::Low),
        "low",
    );
    let low = Asked::new([low]);
    let first = downloader.register(Arc::clone(&low));
    let second = downloader.register(Arc::clone(&urgent));
    let order: Vec<_> = ends.next(201).await.into_iter().map(|(n, _)| n).collect();
    let place = order
        .iter()
        .position(|name| *name == "low")
        .expect("it came");
    // Among 19 starts in a row is one of each slot; some more are under way when it comes.
    assert!(place < 40, "it was number {place}");
    drop((first, second));
}

#[tokio::test]
async fn d8_the_last_handle_takes_its_fetches_with_it() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate));
    let origin = origin(1, &behaviour);
    let downloader = downloader(3);
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..13)
        .map(|n| ends.of(Command::new(origin.url("/0")), n))
        .collect();
    let peer = Asked::new(commands);
    peer.activate(true);
    let handle = downloader.register(Arc::clone(&peer));
    let clone = handle.clone();
    assert!(origin.wait_for_requests(3, Duration::from_secs(60)));
    drop(handle);
    assert_eq!(ends.more(), 0, "a clone keeps the peer");
    drop(clone);
    assert_cancelled(&mut ends, 13).await;
    // The downloader goes on.
    let other = downloader.register(Arc::new(Quiet::active()));
    let none = soon(other.execute(Command::new(origin.url("/none")))).await;
    assert_eq!(
        none.expect_err("there is no such file").kind(),
        Kind::Server
    );
}

#[tokio::test]
async fn d9_the_end_of_the_downloader_ends_everything_once() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate));
    let origin = origin(1, &behaviour);
    let downloader = downloader(3);
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..40)
        .map(|n| ends.of(Command::new(origin.url("/0")), n))
        .collect();
    let handle = downloader.register(Asked::new(commands));
    assert!(origin.wait_for_requests(2, Duration::from_secs(60)));
    drop(downloader);
    // Those that nobody had asked for were never accepted: they end with their peer.
    assert_cancelled(&mut ends, 40).await;
    let late = soon(handle.execute(Command::new(origin.url("/0")))).await;
    assert_eq!(late.expect_err("nobody is there").kind(), Kind::Signal);
}

/// A token of the caller's ends all, as if the downloader had gone.
#[tokio::test]
async fn d9_a_token_ends_everything_once_too() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate));
    let origin = origin(1, &behaviour);
    let token = CancelToken::new();
    let builder = crate::stand::narrow(3).stop_with(&token);
    let downloader = builder.build().expect("a downloader");
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..13)
        .map(|n| ends.of(Command::new(origin.url("/0")), n))
        .collect();
    let _handle = downloader.register(Asked::new(commands));
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut download = downloader
        .download(&origin.url("/0"))
        .dir(dir.path())
        .start();
    // The third permit is for urgent work, of which there is none.
    assert!(origin.wait_for_requests(2, Duration::from_secs(60)));
    token.cancel();
    assert_cancelled(&mut ends, 13).await;
    let ended = soon(download.wait()).await.expect_err("it was stopped");
    assert_eq!(ended.kind(), Kind::Signal);
    let mut late = downloader.download(&origin.url("/0")).start();
    assert_eq!(
        soon(late.wait()).await.expect_err("stopped").kind(),
        Kind::Signal
    );
}

#[tokio::test]
async fn d10_one_epoch_ends_alone() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = downloader(4);
    let (old, new) = (CancelToken::new(), CancelToken::new());
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..20)
        .map(|n| {
            let token = if n % 2 == 0 { &old } else { &new };
            ends.of(Command::new(origin.url("/0")).epoch(token), n)
        })
        .collect();
    let peer = Asked::new(commands);
    peer.activate(true);
    let handle = downloader.register(peer);
    assert!(origin.wait_for_requests(4, Duration::from_secs(60)));
    old.cancel();
    for (n, end) in ends.next(10).await {
        assert_eq!(n % 2, 0);
        assert_eq!(end.expect_err("it was cancelled").kind(), Kind::Signal);
    }
    gate.open();
    for (n, end) in ends.next(10).await {
        assert_eq!(n % 2, 1);
        assert_eq!(end.expect("it came").bytes, SMALL);
    }
    assert_eq!(ends.more(), 0);
    drop(handle);
}

#[tokio::test]
async fn d12_a_peer_is_accepted_at_once_while_all_is_full() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..50)
        .map(|_| ends.of(Command::new(origin.url("/0")), ()))
        .collect();
    let first = downloader.register(Asked::new(commands));
    assert!(origin.wait_for_requests(1, Duration::from_secs(60)));
    let peer = Asked::new([ends.of(Command::new(origin.url("/0")), ())]);
    let second = downloader.register(Arc::clone(&peer));
    // It is asked although nothing can begin.
    soon(async {
        while peer.left() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.open();
    assert_eq!(ends.next(51).await.len(), 51);
    drop((first, second));
}

/// A whole download is a peer too: what somebody waits for goes before it, and it goes on afterwards.
#[tokio::test]
async fn an_urgent_fetch_goes_before_a_download_that_holds_every_connection() {
    const SIZE: u64 = 3_000_000;
    let gate = Gate::at(64 * 1024);
    let big = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = tur_testkit::Loopback::start([("/big", big), ("/small", Behaviour::new(SMALL))]);
    let downloader = downloader(2);
    let player = downloader.register(Arc::new(Quiet::active()));
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut download = downloader
        .download(&origin.url("/big"))
        .dir(dir.path())
        .start_lanes(2)
        .start();
    assert!(origin.wait_for_bytes(64 * 1024, Duration::from_secs(60)));
    for _ in 0..3 {
        let response = soon(player.execute(Command::new(origin.url("/small")))).await;
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
    gate.open();
    let done = soon(download.wait()).await.expect("it came");
    let have = read(&done.path);
    assert!(have == bytes(0..SIZE), "every byte is right");
}

/// What nobody waits for does not wait for ever behind a download that has every connection and is given nothing.
#[tokio::test]
async fn a_low_fetch_gets_a_place_of_a_download_that_holds_all_of_them() {
    const SIZE: u64 = 6_000_000;
    let gate = Gate::at(64 * 1024);
    let big = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = tur_testkit::Loopback::start([("/big", big), ("/small", Behaviour::new(SMALL))]);
    let downloader = downloader(3);
    let prefetcher = downloader.register(Arc::new(Quiet::default()));
    let dir = tempfile::TempDir::new().expect("a directory");
    let mut download = downloader
        .download(&origin.url("/big"))
        .dir(dir.path())
        .lanes(2)
        .start_lanes(2)
        .start();
    // All but the one that is kept for urgent work.
    assert!(origin.wait_for_requests(2, Duration::from_secs(60)));
    let command = || Command::new(origin.url("/small")).priority(Priority::Low);
    for response in soon(prefetcher.batch((0..3).map(|_| command()).collect())).await {
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
    gate.open();
    let done = soon(download.wait()).await.expect("it came");
    assert!(read(&done.path) == bytes(0..SIZE), "every byte is right");
}

async fn assert_cancelled(ends: &mut Ends<usize>, n: usize) {
    let mut names = Vec::new();
    for (name, end) in ends.next(n).await {
        assert_eq!(end.expect_err("it was cancelled").kind(), Kind::Signal);
        names.push(name);
    }
    names.sort_unstable();
    assert_eq!(names, (0..n).collect::<Vec<_>>());
    assert_eq!(ends.more(), 0, "each ends once");
}

/// Fetches that fail and wait to try again keep their permits: others wait behind them instead of failing beside them.
#[tokio::test]
async fn what_waits_to_try_again_is_counted_as_running() {
    let status = Deed::Status {
        status: 503,
        retry_after: None,
    };
    let origin = origin(1, &Behaviour::new(SMALL).rule(When::First(4), status));
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..40)
        .map(|n| ends.of(Command::new(origin.url("/0")), n))
        .collect();
    let peer = Asked::new(commands);
    peer.activate(true);
    let _handle = downloader.register(peer);
    let mut order = Vec::new();
    for (n, end) in ends.next(40).await {
        assert_eq!(end.expect("it came").bytes, SMALL);
        order.push(n);
    }
    // Nobody else had a place before one of the first two was done.
    assert!(order[0] < 2, "{order:?}");
    assert_eq!(origin.requests(), 44, "four were refused");
}
