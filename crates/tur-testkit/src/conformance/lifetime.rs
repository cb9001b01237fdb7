//! How long sessions live, and what dropping does.

use std::time::Duration;

use tokio::task::JoinSet;
use tur_core::port::{Body as _, Fill, Session as _, Transport};
use tur_core::{ByteRange, Chunks, Fault, Rate};

use super::{
    BIG, BUDGET, BUFFER_MAX, Rig, SIZE, assert_body, drain, fetch, flat, give_up_after, limited,
    open, ranged, request,
};
use crate::behaviour::{Behaviour, Framing};
use crate::content::content;

/// `open` connects, tells its facts, and says `Connect` where nobody listens.
///
/// # Panics
/// If it does not.
pub async fn opens_and_refuses<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(SIZE));
    let session = open(transport, &target).await;
    let facts = session.facts();
    assert!(
        ["h1", "h2", "h3"].contains(&facts.protocol),
        "open: {facts:?}"
    );
    assert!(session.is_open(), "open: a fresh session is open");
    let refused = limited("refused", transport.open(&rig.dead_origin())).await;
    match refused.map(|_session| ()) {
        Err(Fault::Connect { .. }) => {}
        other => panic!("open: where nobody listens it says {other:?}"),
    }
}

/// Opening may be given up at any of its awaits, and the next one opens all the same.
///
/// # Panics
/// If it does not.
pub async fn survives_a_cancelled_open<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(SIZE));
    for polls in 1.. {
        assert!(polls < 1_000, "cancelled open: it never ends");
        let opening = give_up_after(transport.open(&target.origin), polls);
        if limited("cancelled open", opening).await.is_some() {
            break;
        }
        let session = open(transport, &target).await;
        let reply = fetch("after a cancelled open", &session, request(&target)).await;
        assert_body("after a cancelled open", reply, ByteRange::new(0, SIZE)).await;
    }
}

/// Ten thousand requests, one connection. Not one of [`CASES`](super::CASES): it takes seconds.
///
/// # Panics
/// If there were more connections, or a byte is wrong.
pub async fn serves_ten_thousand_requests<T: Transport>(transport: &T, rig: &impl Rig) {
    let before = rig.connections();
    let target = rig.serve(Behaviour::new(10_000));
    let session = open(transport, &target).await;
    for nth in 0..10_000 {
        let range = ByteRange::new(nth, nth + 1);
        let reply = fetch("ten thousand", &session, ranged(&target, range)).await;
        assert_body("ten thousand", reply, range).await;
    }
    assert!(session.is_open(), "ten thousand: it could take more");
    assert_eq!(rig.connections() - before, 1, "ten thousand: connections");
}

/// A hundred requests, one connection.
///
/// # Panics
/// If there were more.
pub async fn reuses_one_connection<T: Transport>(transport: &T, rig: &impl Rig) {
    let before = rig.connections();
    let target = rig.serve(Behaviour::new(SIZE));
    let chunked = rig.serve(Behaviour::new(SIZE).framing(Framing::Chunked));
    let session = open(transport, &target).await;
    for i in 0..50 {
        let range = ByteRange::new(i * 100, i * 100 + 1 + i);
        let reply = fetch("reuse", &session, ranged(&target, range)).await;
        assert_body("reuse", reply, range).await;
        let reply = fetch("reuse", &session, ranged(&chunked, range)).await;
        assert_body("reuse", reply, range).await;
        assert!(session.is_open(), "reuse: open after request {i}");
    }
    assert_eq!(rig.connections() - before, 1, "reuse: one connection");
}

/// A session runs as many requests at once as it says, and what one of them meets is not the others' concern.
///
/// # Panics
/// If it does not.
pub async fn runs_as_many_as_it_says<T: Transport>(transport: &T, rig: &impl Rig) {
    let before = rig.connections();
    let target = rig.serve(Behaviour::new(BIG));
    let session = open(transport, &target).await;
    let many = session.capacity().min(8);
    assert!(many >= 1, "at once: it runs at least one");
    let mut running = JoinSet::new();
    for nth in 0..many as u64 {
        let range = ByteRange::new(nth * 1_000, BIG - nth);
        let mut reply = fetch("at once", &session, ranged(&target, range)).await;
        // They share the connection's windows: each is read while the others are. Every third is given up.
        running.spawn(async move {
            if nth % 3 == 1 {
                let mut chunks = Chunks::new();
                let filled = limited("at once", reply.body.fill(&mut chunks, 1)).await;
                assert_eq!(filled, Ok(Fill::More), "at once: {range}");
            } else {
                assert_body("at once", reply, range).await;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            panic!("at once: {error}");
        }
    }
    assert!(session.is_open(), "at once: the connection stands");
    assert_eq!(rig.connections() - before, 1, "at once: one connection");
}

/// A body dropped before its end closes its connection; a session dropped ends its body.
///
/// # Panics
/// If it does not.
pub async fn closes_what_is_dropped<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(BIG));
    let session = open(transport, &target).await;
    let mut reply = fetch("dropped body", &session, request(&target)).await;
    let mut chunks = Chunks::new();
    let filled = limited("dropped body", reply.body.fill(&mut chunks, 1)).await;
    assert_eq!(filled, Ok(Fill::More), "dropped body");
    drop(reply);
    // A protocol with streams keeps its connection; then it must work.
    if session.is_open() {
        let reply = fetch("after a dropped body", &session, request(&target)).await;
        assert_body("after a dropped body", reply, ByteRange::new(0, BIG)).await;
    }
    let session = open(transport, &target).await;
    let mut reply = fetch("dropped session", &session, request(&target)).await;
    drop(session);
    let (bytes, outcome) = drain("dropped session", &mut reply.body).await;
    assert_eq!(
        bytes,
        content(0, ByteRange::new(0, bytes.len() as u64)),
        "dropped session"
    );
    assert!(
        outcome.is_err(),
        "dropped session: its body cannot end well"
    );
}

/// A fetch may be dropped at any of its awaits: the session is then closed, or works.
///
/// # Panics
/// If it does not.
pub async fn survives_a_cancelled_fetch<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(SIZE).first_byte(Duration::from_millis(2)));
    for polls in 1.. {
        assert!(polls < 1_000, "cancelled fetch: it never ends");
        let session = open(transport, &target).await;
        let fetched = limited(
            "cancelled",
            give_up_after(session.fetch(request(&target)), polls),
        )
        .await;
        if let Some(reply) = fetched {
            let reply = reply.unwrap_or_else(|fault| panic!("cancelled fetch: {fault}"));
            assert_body("not cancelled", reply, ByteRange::new(0, SIZE)).await;
            return;
        }
        if session.is_open() {
            let reply = fetch("after a cancelled fetch", &session, request(&target)).await;
            assert_body("after a cancelled fetch", reply, ByteRange::new(0, SIZE)).await;
        }
    }
}

/// A fill may be dropped at any of its awaits and loses nothing.
///
/// # Panics
/// If it does.
pub async fn survives_cancelled_fills<T: Transport>(transport: &T, rig: &impl Rig) {
    let pace = Rate::per_second(2 * 1024 * 1024);
    let target = rig.serve(Behaviour::new(SIZE).pace(pace));
    let session = open(transport, &target).await;
    let mut reply = fetch("cancelled fills", &session, request(&target)).await;
    let mut chunks = Chunks::new();
    let all = async {
        let mut turn = 0;
        loop {
            turn += 1;
            let before = chunks.len();
            match give_up_after(reply.body.fill(&mut chunks, 1_000), 1 + turn % 3).await {
                None | Some(Ok(Fill::More)) => {}
                Some(Ok(Fill::End)) => break,
                Some(Err(fault)) => panic!("cancelled fills: {fault}"),
            }
            if chunks.len() == before {
                tokio::task::yield_now().await;
            }
        }
    };
    limited("cancelled fills", all).await;
    assert_eq!(
        flat(&chunks),
        content(0, ByteRange::new(0, SIZE)),
        "cancelled fills"
    );
    assert!(session.is_open(), "cancelled fills: the connection stands");
}

/// A fill appends something, and not much more than its budget.
///
/// # Panics
/// If it does not.
pub async fn keeps_to_the_budget<T: Transport>(transport: &T, rig: &impl Rig) {
    let target = rig.serve(Behaviour::new(BIG));
    let session = open(transport, &target).await;
    let mut reply = fetch("budget", &session, request(&target)).await;
    let mut all = Vec::new();
    loop {
        let mut chunks = Chunks::new();
        let fill = limited("budget", reply.body.fill(&mut chunks, BUDGET)).await;
        assert!(
            chunks.len() < BUDGET + BUFFER_MAX,
            "budget: {} bytes",
            chunks.len()
        );
        all.extend(flat(&chunks));
        match fill {
            Ok(Fill::More) => assert!(!chunks.is_empty(), "budget: More says that something came"),
            Ok(Fill::End) => break,
            Err(fault) => panic!("budget: {fault}"),
        }
    }
    assert!(
        all == content(0, ByteRange::new(0, BIG)),
        "budget: every byte"
    );
    let mut chunks = Chunks::new();
    let again = limited("budget", reply.body.fill(&mut chunks, BUDGET)).await;
    assert_eq!(
        (again, chunks.len()),
        (Ok(Fill::End), 0),
        "budget: an end stays the end"
    );
}
