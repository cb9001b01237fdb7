//! What the simulated transport does beyond its answers: time, sessions, cancellation, sharing.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tur_core::port::{Body, Fill, Reply, Request, Session, Transport};
use tur_core::{Ask, ByteRange, Chunks, Fault, Origin, Rate, Scheme, Target};
use tur_testkit::conformance::{self, Rig};
use tur_testkit::sim::{SimBody, SimSession, SimTransport};
use tur_testkit::{Behaviour, Beyond, Crowd, Deed, Gate, Link, When, content};

fn origin() -> Origin {
    Origin {
        scheme: Scheme::Https,
        host: "origin.test".to_owned(),
        port: 443,
    }
}

fn request(path: &str, ask: Ask) -> Request {
    Request {
        target: Target {
            origin: origin(),
            path: path.to_owned(),
        },
        ask,
        if_range: None,
        no_cache: false,
        fields: Vec::new(),
    }
}

fn whole(path: &str) -> Request {
    request(path, Ask::Whole)
}

#[expect(clippy::disallowed_methods, reason = "virtual time is what is tested")]
fn now() -> Instant {
    Instant::now()
}

/// Draws a body to its end.
async fn draw(reply: &mut Reply<SimBody>) -> Result<Vec<u8>, Fault> {
    let mut chunks = Chunks::new();
    while reply.body.fill(&mut chunks, 64 * 1024).await? == Fill::More {}
    Ok(chunks.iter().flatten().copied().collect())
}

fn is_send<F: Future + Send>(future: F) -> F {
    future
}

/// True if `took` is within 2 % of `expected`, and 2 ms for the granularity of timers.
fn about(took: Duration, expected: Duration) -> bool {
    took.abs_diff(expected) <= expected / 50 + Duration::from_millis(2)
}

#[tokio::test(start_paused = true)]
async fn round_trips_delays_and_pace_take_their_time() {
    let link = Link {
        rtt: Duration::from_millis(80),
        ..Link::default()
    };
    let behaviour = Behaviour::new(1_000_000)
        .pace(Rate::per_second(250_000))
        .first_byte(Duration::from_millis(300));
    let world = SimTransport::with_link(link, [("/a", behaviour)]);
    let start = now();
    let session = is_send(world.open(&origin())).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(80));
    assert_eq!(session.facts().handshake, Duration::from_millis(80));
    let mut reply = is_send(session.fetch(whole("/a"))).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(460));
    let body = is_send(draw(&mut reply)).await.unwrap();
    assert!(body == content(0, ByteRange::new(0, 1_000_000)));
    let took = start.elapsed() - Duration::from_millis(460);
    assert!(about(took, Duration::from_secs(4)), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn high_and_low_rates_are_kept() {
    for (rate, size) in [(50, 100), (3_000, 9_000), (20_000_000, 4_000_000)] {
        let behaviour = Behaviour::new(size).pace(Rate::per_second(rate));
        let world = SimTransport::new([("/a", behaviour)]);
        let session = world.open(&origin()).await.unwrap();
        let mut reply = session.fetch(whole("/a")).await.unwrap();
        let start = now();
        assert_eq!(draw(&mut reply).await.unwrap().len() as u64, size);
        let expected = Rate::per_second(rate).time_for(size);
        assert!(
            about(start.elapsed(), expected),
            "{rate}: {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_bottleneck_is_shared_fairly() {
    let link = Link {
        bottleneck: Some(Rate::per_second(1_000_000)),
        ..Link::default()
    };
    let world = SimTransport::with_link(link, [("/a", Behaviour::new(1_000_000))]);
    let one = world.open(&origin()).await.unwrap();
    let two = world.open(&origin()).await.unwrap();
    let mut one = one.fetch(whole("/a")).await.map(|r| (one, r)).unwrap();
    let mut two = two.fetch(whole("/a")).await.map(|r| (two, r)).unwrap();
    let start = now();
    let timed = async |reply| {
        draw(reply).await.unwrap();
        start.elapsed()
    };
    let (first, second) = tokio::join!(timed(&mut one.1), timed(&mut two.1));
    assert!(
        about(first.max(second), Duration::from_secs(2)),
        "{first:?} {second:?}"
    );
    assert!(
        first.abs_diff(second) < Duration::from_millis(100),
        "{first:?} {second:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_fill_loses_nothing() {
    let behaviour = Behaviour::new(10_000).pace(Rate::per_second(10_000));
    let world = SimTransport::new([("/a", behaviour)]);
    let session = world.open(&origin()).await.unwrap();
    let mut reply = session.fetch(whole("/a")).await.unwrap();
    let mut chunks = Chunks::new();
    let mut dropped = 0;
    loop {
        let limit = Duration::from_millis(3);
        match tokio::time::timeout(limit, reply.body.fill(&mut chunks, 100)).await {
            Err(_) => dropped += 1,
            Ok(fill) => {
                if fill.unwrap() == Fill::End {
                    break;
                }
            }
        }
    }
    assert!(dropped > 10);
    let got: Vec<u8> = chunks.iter().flatten().copied().collect();
    assert_eq!(got, content(0, ByteRange::new(0, 10_000)));
}

#[tokio::test(start_paused = true)]
async fn gates_and_delays_hold_the_body_back() {
    let gate = Gate::at(1_000);
    let behaviour = Behaviour::new(5_000)
        .rule(When::Always, Deed::Hold(gate.clone()))
        .rule(When::Always, Deed::BodyAfter(Duration::from_secs(3)));
    let world = SimTransport::new([("/a", behaviour)]);
    let session = world.open(&origin()).await.unwrap();
    let start = now();
    let mut reply = session.fetch(whole("/a")).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let (body, ()) = tokio::join!(draw(&mut reply), async {
        for limit in [1_000, 1_500, 3_000] {
            gate.open_to(limit);
            world.bytes_reach(limit).await;
            assert_eq!(world.bytes_sent(), limit);
        }
        assert_eq!(start.elapsed(), Duration::from_secs(3));
        gate.open();
    });
    assert_eq!(body.unwrap(), content(0, ByteRange::new(0, 5_000)));
}

#[tokio::test(start_paused = true)]
async fn fill_keeps_to_its_budget() {
    let world = SimTransport::new([("/a", Behaviour::new(1_000_000))]);
    let session = world.open(&origin()).await.unwrap();
    let mut reply = session.fetch(whole("/a")).await.unwrap();
    let mut chunks = Chunks::new();
    assert_eq!(reply.body.fill(&mut chunks, 20_000).await, Ok(Fill::More));
    assert_eq!(chunks.len(), 32_768);
    assert_eq!(world.bytes_sent(), 32_768);
}

#[tokio::test(start_paused = true)]
async fn a_session_takes_one_request_after_the_other() {
    let world = SimTransport::new([("/a", Behaviour::new(10)), ("/b", Behaviour::new(20))]);
    let session = world.open(&origin()).await.unwrap();
    let mut reply = session.fetch(whole("/a")).await.unwrap();
    assert!(matches!(
        session.fetch(whole("/b")).await,
        Err(Fault::Lost(_))
    ));
    draw(&mut reply).await.unwrap();
    assert_eq!(reply.body.fill(&mut Chunks::new(), 1).await, Ok(Fill::End));
    let mut reply = session.fetch(whole("/b")).await.unwrap();
    assert_eq!(draw(&mut reply).await.unwrap().len(), 20);
    assert!(session.is_open());
    let reply = session.fetch(whole("/b")).await.unwrap();
    drop(reply);
    assert!(!session.is_open());
    assert_eq!((world.connections(), world.requests()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_connection_closes_the_session() {
    let deeds = [
        Deed::CutAfter(5),
        Deed::ResetAfter(5),
        Deed::Close,
        Deed::Extra(1),
        Deed::Hangup,
        Deed::NotHttp,
    ];
    for deed in deeds {
        let behaviour = Behaviour::new(10).rule(When::Always, deed.clone());
        let world = SimTransport::new([("/a", behaviour)]);
        let session = world.open(&origin()).await.unwrap();
        if let Ok(mut reply) = session.fetch(whole("/a")).await {
            let drawn = draw(&mut reply).await;
            let fine = matches!(deed, Deed::Close | Deed::Extra(_));
            assert_eq!(drawn.is_ok(), fine, "{deed:?}");
        }
        assert!(!session.is_open(), "{deed:?}");
        assert!(session.fetch(whole("/a")).await.is_err(), "{deed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_ends_its_body() {
    let stalls = Behaviour::new(100).rule(When::Always, Deed::StallAfter(10));
    let world = SimTransport::new([("/a", stalls)]);
    let session = world.open(&origin()).await.unwrap();
    let mut reply = session.fetch(whole("/a")).await.unwrap();
    let (drawn, ()) = tokio::join!(draw(&mut reply), async {
        world.bytes_reach(10).await;
        drop(session);
    });
    assert!(matches!(drawn, Err(Fault::Lost(_))), "{drawn:?}");
}

/// The world of the conformance suite: each behaviour under a path of its own.
struct World(SimTransport, AtomicU64);

impl Rig for World {
    fn serve(&self, behaviour: Behaviour) -> Target {
        let path = format!("/{}", self.1.fetch_add(1, Ordering::Relaxed));
        self.0.swap(&path, behaviour);
        whole(&path).target
    }

    fn connections(&self) -> u64 {
        self.0.connections()
    }

    fn dead_origin(&self) -> Origin {
        Origin {
            host: "dead.test".to_owned(),
            ..origin()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_the_rules_of_the_port() {
    let link = Link {
        rtt: Duration::from_millis(10),
        dead: vec!["dead.test".to_owned()],
        ..Link::default()
    };
    let world = SimTransport::with_link(link, [] as [(&str, Behaviour); 0]);
    let rig = World(world.clone(), AtomicU64::new(0));
    conformance::run(&world, &rig).await;
    conformance::lifetime::serves_ten_thousand_requests(&world, &rig).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_refuses_first_and_later() {
    let link = Link {
        refuse_first: 2,
        refuse_after: Some(3),
        ..Link::default()
    };
    let world = SimTransport::with_link(link, [("/a", Behaviour::new(1))]);
    let mut opened = Vec::new();
    for _ in 0..4 {
        opened.push(world.open(&origin()).await.is_ok());
    }
    assert_eq!(opened, [false, false, true, false]);
    let refused = world.open(&origin()).await.unwrap_err();
    assert!(matches!(refused, Fault::Connect { host, .. } if host == "origin.test"));
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_swallows_requests() {
    let link = Link {
        black_hole: true,
        ..Link::default()
    };
    let world = SimTransport::with_link(link, [("/a", Behaviour::new(1))]);
    let session = world.open(&origin()).await.unwrap();
    let day = Duration::from_secs(86_400);
    assert!(
        tokio::time::timeout(day, session.fetch(whole("/a")))
            .await
            .is_err()
    );
    assert!(!session.is_open());
    assert_eq!(world.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn busy_counts_those_being_answered() {
    let busy = Deed::Busy {
        limit: 2,
        retry_after: None,
    };
    let world = SimTransport::new([("/a", Behaviour::new(9).rule(When::Always, busy))]);
    let mut replies = Vec::new();
    for _ in 0..3 {
        let session = world.open(&origin()).await.unwrap();
        replies.push((session.fetch(whole("/a")).await.unwrap(), session));
    }
    let statuses = |world: &SimTransport| world.seen().iter().map(|s| s.status).collect::<Vec<_>>();
    assert_eq!(statuses(&world), [200, 200, 429]);
    replies.clear();
    let session = world.open(&origin()).await.unwrap();
    session.fetch(whole("/a")).await.unwrap();
    assert_eq!(statuses(&world).last(), Some(&200));
}

#[tokio::test(start_paused = true)]
async fn behaviours_can_be_chosen_and_swapped() {
    let world = SimTransport::from_fn(Link::default(), |key| Behaviour::new(key.len() as u64));
    let session = world.open(&origin()).await.unwrap();
    for expected in ["origin.test/ab".len(), 7] {
        let mut reply = session.fetch(whole("/ab")).await.unwrap();
        assert_eq!(draw(&mut reply).await.unwrap().len(), expected);
        world.swap("origin.test/ab", Behaviour::new(7));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_is_written_down() {
    let world = SimTransport::new([("/a", Behaviour::new(1_000))]);
    let session = world.open(&origin()).await.unwrap();
    let mut ask = request("/a?q", Ask::Range(ByteRange::new(10, 20)));
    ask.if_range = Some(b"\"v0\"".to_vec());
    ask.no_cache = true;
    let mut reply = session.fetch(ask).await.unwrap();
    draw(&mut reply).await.unwrap();
    let seen = world.seen().remove(0);
    assert_eq!(
        (seen.path.as_str(), seen.host.as_str()),
        ("/a?q", "origin.test")
    );
    assert_eq!(seen.range, Some(ByteRange::new(10, 20)));
    assert_eq!(seen.if_range.as_deref(), Some(&b"\"v0\""[..]));
    assert_eq!(seen.field("cache-control"), Some(&b"no-cache"[..]));
    assert_eq!((seen.connection, seen.status, seen.sent), (1, 206, 10));
}

/// A world that takes two connections at a time.
fn crowded(beyond: Beyond) -> SimTransport {
    let link = Link {
        crowd: Some(Crowd { limit: 2, beyond }),
        ..Link::default()
    };
    SimTransport::with_link(link, [("/a", Behaviour::new(9))])
}

#[tokio::test(start_paused = true)]
async fn a_connection_too_many_is_turned_away_until_a_place_is_free() {
    let status = Deed::Status {
        status: 503,
        retry_after: None,
    };
    let world = crowded(Beyond::Meet(status));
    let standing = [
        world.open(&origin()).await.unwrap(),
        world.open(&origin()).await.unwrap(),
    ];
    let third = world.open(&origin()).await.unwrap();
    let mut refused = third.fetch(whole("/a")).await.unwrap();
    draw(&mut refused).await.unwrap();
    assert!(!third.is_open(), "it is closed after its answer");
    for session in &standing {
        let mut reply = session.fetch(whole("/a")).await.unwrap();
        assert_eq!(draw(&mut reply).await.unwrap().len(), 9);
    }
    drop(standing);
    // The third is still there, but it never had a place.
    let both = [
        world.open(&origin()).await.unwrap(),
        world.open(&origin()).await.unwrap(),
    ];
    for session in &both {
        session.fetch(whole("/a")).await.unwrap();
    }
    let statuses: Vec<_> = world.seen().iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [503, 200, 200, 200, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_too_many_can_be_refused_or_closed() {
    let world = crowded(Beyond::Refuse);
    let standing = (world.open(&origin()).await, world.open(&origin()).await);
    let refused = world.open(&origin()).await.map(drop);
    assert!(matches!(refused, Err(Fault::Connect { .. })), "{refused:?}");
    drop(standing);
    world.open(&origin()).await.unwrap();

    let world = crowded(Beyond::Meet(Deed::Hangup));
    let standing = (world.open(&origin()).await, world.open(&origin()).await);
    let third = world.open(&origin()).await.unwrap();
    let closed = third.fetch(whole("/a")).await.map(drop);
    assert!(matches!(closed, Err(Fault::Lost(_))), "{closed:?}");
    drop(standing);
}

#[tokio::test(start_paused = true)]
async fn a_rule_can_name_connections() {
    let slow_third = || {
        Behaviour::new(100_000)
            .pace(Rate::per_second(100_000))
            .rule(
                When::OnEveryConnection(3),
                Deed::Pace(Rate::per_second(5_000)),
            )
            .rule(When::OnConnection(2), Deed::StallAfter(10_000))
    };
    let world = SimTransport::new([("/a", slow_third())]);
    let seconds = async |session: &_| {
        let start = now();
        let mut reply = SimSession::fetch(session, whole("/a")).await.unwrap();
        let drawn = tokio::time::timeout(Duration::from_secs(3_600), draw(&mut reply)).await;
        drawn.map_or(3_600, |_| start.elapsed().as_secs_f64().round() as u64)
    };
    let mut sessions = Vec::new();
    for expected in [1, 3_600, 20, 1, 1, 20] {
        let session = world.open(&origin()).await.unwrap();
        assert_eq!(seconds(&session).await, expected);
        sessions.push(session);
    }
    assert_eq!(world.seen()[1].sent, 10_000);
    // A request more on the slow connection is slow too; a swap numbers connections anew.
    assert_eq!(seconds(&sessions[2]).await, 20);
    world.swap("/a", slow_third());
    assert_eq!(seconds(&sessions[2]).await, 1);
    let first = world.open(&origin()).await.unwrap();
    assert_eq!(seconds(&first).await, 1);
    let second = world.open(&origin()).await.unwrap();
    assert_eq!(seconds(&second).await, 3_600);
}
