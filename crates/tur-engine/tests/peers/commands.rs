//! One command at a time: what it brings, what it tells, and how it ends. Rows D13 to D19.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tur_core::RetryAfter;
use tur_engine::{
    CancelToken, Command, Downloader, Event, Kind, Netrc, PeerHandle, RetryPolicy, TypeGlob, What,
};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, Ranges, When};

use crate::stand::{Ends, Quiet, SMALL, bytes, downloader, moment, origin, soon};

struct Stand {
    origin: Loopback,
    downloader: Downloader,
    peer: PeerHandle,
}

fn stand(behaviour: Behaviour) -> Stand {
    let origin = Loopback::start([("/0", behaviour)]);
    let downloader = Downloader::builder().build().expect("a downloader");
    let peer = downloader.register(Arc::new(Quiet::active()));
    Stand {
        origin,
        downloader,
        peer,
    }
}

impl Stand {
    fn command(&self) -> Command {
        Command::new(self.origin.url("/0"))
    }
}

#[tokio::test]
async fn a_whole_file_and_parts_of_it_come_into_memory() {
    let stand = stand(Behaviour::new(SMALL));
    for (command, want) in [
        (stand.command(), 0..SMALL),
        (stand.command().range(..), 0..SMALL),
        (stand.command().range(100..200), 100..200),
        (stand.command().range(100..=200), 100..201),
        (stand.command().range(4_000..), 4_000..SMALL),
        (stand.command().range(4_000..9_000), 4_000..SMALL),
        (stand.command().range(7..7), 7..7),
    ] {
        let response = soon(stand.peer.execute(command)).await.expect("it came");
        assert_eq!(response.body, bytes(want.clone()));
        if !want.is_empty() {
            let head = response.head.expect("somebody was asked");
            assert_eq!(head.total, Some(SMALL));
            assert_eq!(head.range.start, want.start);
        }
    }
    let beyond = stand.command().range(SMALL + 1..);
    let beyond = soon(stand.peer.execute(beyond)).await;
    assert_eq!(beyond.expect_err("nothing is there").kind(), Kind::Server);
    // The range is meant to be wrong: it ends before it begins.
    let (start, end) = (9u64, 3u64);
    let turned = stand.command().range(start..end);
    let turned = soon(stand.peer.execute(turned)).await;
    assert_eq!(turned.expect_err("no range").kind(), Kind::Usage);
    assert_eq!(stand.origin.connections(), 1, "one connection did it all");
}

#[tokio::test]
async fn a_batch_comes_in_its_order_and_each_fails_alone() {
    let origin = origin(4, &Behaviour::new(SMALL));
    let downloader = downloader(4);
    let peer = downloader.register(Arc::new(Quiet::active()));
    let urls = ["/0", "/none", "/2", "nonsense:", "/3"];
    let commands = urls.map(|path| {
        let url = if path.starts_with('/') {
            origin.url(path)
        } else {
            path.to_owned()
        };
        Command::new(url)
    });
    let results = soon(peer.batch(commands.into())).await;
    let kinds: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().map(|r| r.body.len()).map_err(|e| e.kind()))
        .collect();
    let came = Ok(4_096);
    let (server, usage) = (Err(Kind::Server), Err(Kind::Usage));
    assert_eq!(kinds, [came, server, came, usage, came]);
}

#[tokio::test]
async fn a_stream_waits_for_its_reader_and_ends_only_with_all() {
    const SIZE: u64 = 3_000_000;
    let stand = stand(Behaviour::new(SIZE));
    let (head, mut body) = soon(stand.peer.stream(stand.command()))
        .await
        .expect("an answer");
    assert_eq!(head.expect("an answer").total, Some(SIZE));
    let mut have = Vec::new();
    while let Some(chunk) = soon(body.next()).await {
        have.extend_from_slice(&chunk.expect("no fault"));
    }
    assert!(have == bytes(0..SIZE), "every byte in its place");
    // What is cut for good is an error in the stream, and never an end.
    let cut = Behaviour::new(SIZE).rule(When::Always, Deed::CutAfter(1_000));
    stand.origin.swap("/0", cut);
    let none = RetryPolicy {
        retries: 0,
        ..RetryPolicy::default()
    };
    let (_, mut body) = soon(stand.peer.stream(stand.command().retry(none)))
        .await
        .expect("an answer");
    let mut ends = Vec::new();
    while let Some(chunk) = soon(body.next()).await {
        ends.extend(chunk.err());
    }
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].kind(), Kind::Network);
}

#[tokio::test]
async fn what_nobody_reads_any_more_is_cancelled() {
    let gate = Gate::at(1_000);
    let behaviour = Behaviour::new(SMALL).rule(When::First(2), Deed::Hold(gate));
    let stand = stand(behaviour);
    let mut ends = Ends::new();
    let (_, body) = soon(stand.peer.stream(ends.of(stand.command(), "stream")))
        .await
        .expect("an answer");
    drop(body);
    let waiting = stand.peer.execute(ends.of(stand.command(), "execute"));
    tokio::select! {
        biased;
        _ = waiting => panic!("it is held"),
        () = async { while !stand.origin.wait_for_requests(2, Duration::from_secs(60)) {} } => {}
    }
    for (_, end) in ends.next(2).await {
        assert_eq!(end.expect_err("it was cancelled").kind(), Kind::Signal);
    }
    // The connections are free again.
    let response = soon(stand.peer.execute(stand.command())).await;
    assert_eq!(response.expect("it came").body, bytes(0..SMALL));
}

#[tokio::test]
async fn cancel_ends_what_was_accepted_and_nothing_else() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::First(1), Deed::HoldHead(gate));
    let stand = stand(behaviour);
    let mut ends = Ends::new();
    let other = stand.downloader.register(Arc::new(Quiet::active()));
    stand
        .peer
        .submit(ends.of(stand.command(), "held"))
        .await
        .expect("a downloader");
    assert!(stand.origin.wait_for_requests(1, Duration::from_secs(60)));
    stand.peer.cancel();
    let (name, end) = ends.next(1).await.remove(0);
    assert_eq!(
        (name, end.expect_err("cancelled").kind()),
        ("held", Kind::Signal)
    );
    for peer in [&stand.peer, &other] {
        let response = soon(peer.execute(stand.command())).await;
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
}

/// An answer that is not what was asked for is refused before any byte, with one request.
#[tokio::test]
async fn a14_a_page_instead_of_a_segment_is_refused() {
    let stand = stand(Behaviour::new(SMALL).media_type("text/html"));
    let glob: TypeGlob = "audio/*".parse().expect("a glob");
    let taken = Arc::new(AtomicUsize::new(0));
    for how in 0..2 {
        let count = Arc::clone(&taken);
        let command = stand.command().on_data(move |bytes| {
            count.fetch_add(bytes.len(), Ordering::SeqCst);
        });
        let command = match how {
            0 => command.accept_type(glob.clone()),
            _ => command.accept(|head| match head.media_type.as_deref() {
                Some("text/html") => Err("a page".to_owned()),
                _ => Ok(()),
            }),
        };
        let refused = soon(stand.peer.execute(command)).await;
        assert_eq!(refused.expect_err("refused").kind(), Kind::Server);
    }
    assert_eq!(taken.load(Ordering::SeqCst), 0);
    assert_eq!(stand.origin.requests(), 2);
}

#[tokio::test]
async fn more_than_the_bound_is_an_error_and_not_a_cut() {
    let stand = stand(Behaviour::new(SMALL));
    let most = |n| stand.peer.execute(stand.command().bytes_max(n));
    assert_eq!(soon(most(SMALL)).await.expect("it fits").body.len(), 4_096);
    let over = soon(most(SMALL - 1)).await;
    assert_eq!(over.expect_err("it does not").kind(), Kind::Limit);
}

/// 200 for a range: what lies before it is not handed over, and nothing of it is.
#[tokio::test]
async fn a_range_of_an_origin_without_ranges_is_the_right_one() {
    let stand = stand(Behaviour::new(SMALL).ranges(Ranges::Ignored));
    let response = soon(stand.peer.execute(stand.command().range(1_000..2_000))).await;
    assert_eq!(response.expect("it came").body, bytes(1_000..2_000));
}

/// Each callback in turn panics. The fetch fails; others, and the engine, go on.
#[tokio::test]
async fn a_callback_that_panics_costs_its_own_fetch() {
    let stand = stand(Behaviour::new(SMALL));
    let commands = [
        stand.command().accept(|_| panic!("on purpose")),
        stand.command().on_response(|_| panic!("on purpose")),
        stand.command().on_data(|_| panic!("on purpose")),
    ];
    for command in commands {
        let failed = soon(stand.peer.execute(command)).await;
        assert_eq!(failed.expect_err("it panicked").kind(), Kind::Other);
        let response = soon(stand.peer.execute(stand.command())).await;
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
    let probe = stand.command().demand(|| panic!("on purpose"));
    let end = stand.command().on_complete(|_| panic!("on purpose"));
    for command in [probe, end] {
        let response = soon(stand.peer.execute(command)).await;
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    }
}

#[tokio::test]
async fn d13_slow_is_told_once_and_the_fetch_goes_on() {
    for late in [Deed::HoldHead, Deed::Hold] {
        let gate = Gate::at(0);
        let stand = stand(Behaviour::new(SMALL).rule(When::Always, late(gate.clone())));
        let mut events = stand.peer.events();
        let (sender, slow) = tokio::sync::oneshot::channel();
        let command = stand
            .command()
            .slow_after(Duration::from_millis(50))
            .on_slow(move || sender.send(()).expect("it is heard"));
        let opens = async {
            slow.await.expect("it is told");
            // Long enough to tell it again, to whoever listens.
            let again = tokio::time::timeout(Duration::from_millis(450), pending::<()>()).await;
            assert!(again.is_err(), "nothing comes of it");
            gate.open();
        };
        let (response, ()) = soon(async { tokio::join!(stand.peer.execute(command), opens) }).await;
        assert_eq!(response.expect("it came").body, bytes(0..SMALL));
        let seen = until_the_end(&mut events).await;
        let slow = seen.iter().filter(|event| matches!(event.what, What::Slow));
        assert_eq!(slow.count(), 1);
    }
}

#[tokio::test]
async fn d14_a_fetch_is_told_in_order_under_one_number() {
    let stand = stand(Behaviour::new(SMALL));
    let mut own = stand.peer.events();
    let mut all = stand.downloader.events();
    soon(stand.peer.execute(stand.command()))
        .await
        .expect("it came");
    for events in [&mut own, &mut all] {
        let seen = until_the_end(events).await;
        let first = seen[0].id;
        let of_it: Vec<_> = seen.iter().filter(|event| event.id == first).collect();
        let place = |is: fn(&What) -> bool| of_it.iter().position(|event| is(&event.what));
        let places = [
            place(|what| matches!(what, What::Enqueued)),
            place(|what| matches!(what, What::Started { .. })),
            place(|what| {
                matches!(
                    what,
                    What::Opened {
                        len: Some(SMALL),
                        ..
                    }
                )
            }),
            place(|what| matches!(what, What::FirstByte { at: 0 })),
            place(|what| matches!(what, What::Completed(done) if done.bytes == SMALL)),
        ];
        assert!(places.iter().all(Option::is_some), "{places:?}: {of_it:?}");
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!(places[4], Some(of_it.len() - 1), "the end is last");
        assert!(
            of_it
                .iter()
                .all(|event| event.peer.map(|peer| peer.0) == Some(stand.peer.id()))
        );
    }
}

#[tokio::test]
async fn d15_a_listener_without_room_is_told_what_it_missed() {
    let stand = stand(Behaviour::new(SMALL));
    let mut few = stand.downloader.events_with_room(2);
    for _ in 0..3 {
        soon(stand.peer.execute(stand.command()))
            .await
            .expect("it came");
    }
    let first = soon(few.next()).await.expect("an event");
    assert!(matches!(first.what, What::Lagged(n) if n > 5), "{first:?}");
    drop(stand);
    let mut rest = 0;
    while soon(few.next()).await.is_some() {
        rest += 1;
    }
    assert!(rest >= 2);
}

#[test]
fn d18_a_peer_can_be_registered_without_a_runtime() {
    let origin = origin(1, &Behaviour::new(SMALL));
    let downloader = downloader(2);
    let mut ends = Ends::new();
    let command = ends.of(Command::new(origin.url("/0")), ());
    // Nothing runs on this thread; the engine has its own.
    let handle = thread::spawn(move || {
        let peer = crate::stand::Asked::new([command]);
        (downloader.register(peer), downloader)
    })
    .join()
    .expect("no panic");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let (_, end) = runtime.block_on(ends.next(1)).remove(0);
    assert_eq!(end.expect("it came").bytes, SMALL);
    drop(handle);
}

#[tokio::test]
async fn d19_a_status_is_retried_as_it_says() {
    let status = |status, retry_after| Deed::Status {
        status,
        retry_after,
    };
    let busy = stand(Behaviour::new(SMALL).rule(When::First(2), status(503, None)));
    let response = soon(busy.peer.execute(busy.command())).await;
    assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    assert_eq!(busy.origin.requests(), 3, "two retries");

    let gone = stand(Behaviour::new(SMALL).rule(When::Always, status(404, None)));
    let failed = soon(gone.peer.execute(gone.command())).await;
    assert_eq!(failed.expect_err("not there").kind(), Kind::Server);
    assert_eq!(gone.origin.requests(), 1, "no retry");

    let wait = Some(RetryAfter::Delay(Duration::from_secs(1)));
    let many = stand(Behaviour::new(SMALL).rule(When::First(1), status(429, wait)));
    let began = moment();
    let response = soon(many.peer.execute(many.command())).await;
    assert_eq!(response.expect("it came").body, bytes(0..SMALL));
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_token_that_was_cancelled_before_ends_at_once() {
    let stand = stand(Behaviour::new(SMALL));
    let token = CancelToken::new();
    token.cancel();
    let ended = soon(stand.peer.execute(stand.command().epoch(&token))).await;
    assert_eq!(ended.expect_err("cancelled").kind(), Kind::Signal);
    assert_eq!(stand.origin.requests(), 0);
}

/// Events up to the first end, that included.
async fn until_the_end(events: &mut tur_engine::Events) -> Vec<Event> {
    let mut seen = Vec::new();
    loop {
        let event = soon(events.next()).await.expect("an end");
        let over = matches!(
            event.what,
            What::Completed(_) | What::Failed(_) | What::Cancelled(_)
        );
        seen.push(event);
        if over {
            return seen;
        }
    }
}

/// Who asks is said for each command, to the origin of its URL and to no other.
#[tokio::test]
async fn a_command_says_who_asks_where_it_begins_and_nowhere_else() {
    let other = Loopback::start([("/file", Behaviour::new(SMALL))]);
    let location = other.url("/file");
    let deed = Deed::Redirect {
        status: 302,
        location,
    };
    let stand = stand(Behaviour::new(SMALL).rule(When::Always, deed));
    let netrc = Netrc::parse("machine 127.0.0.1 login me password s3cret");
    let netrc = netrc.expect("it is one");
    let basic = Some("Basic bWU6czNjcmV0");
    for (command, authorization, cookie) in [
        (stand.command(), None, None),
        (stand.command().basic_auth("me", "s3cret"), basic, None),
        (stand.command().netrc(Arc::new(netrc)), basic, None),
        (stand.command().bearer("t0ken"), Some("Bearer t0ken"), None),
        (
            stand.command().cookies("id=7; k=v"),
            None,
            Some("id=7; k=v"),
        ),
    ] {
        let response = soon(stand.peer.execute(command)).await.expect("it came");
        assert_eq!(response.body, bytes(0..SMALL));
        let said = |origin: &Loopback, name: &str| {
            let seen = origin.seen();
            let last = seen.last().expect("it was asked");
            let value = last.fields.iter().find(|(field, _)| field == name);
            value.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        assert_eq!(
            said(&stand.origin, "authorization").as_deref(),
            authorization
        );
        assert_eq!(said(&stand.origin, "cookie").as_deref(), cookie);
        assert_eq!(said(&other, "authorization"), None);
        assert_eq!(said(&other, "cookie"), None);
    }
    let broken = soon(stand.peer.execute(stand.command().cookies("none"))).await;
    assert_eq!(broken.expect_err("no cookies").kind(), Kind::Usage);
}
