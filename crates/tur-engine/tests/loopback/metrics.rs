//! What a download counts, exactly, at an origin that follows a script.

use std::time::Duration;

use tur_engine::{Kind, Metrics};
use tur_testkit::{Behaviour, Deed, When};

use crate::stand::{KIB, MIB, Stand, outcome};

fn status(status: u16) -> Deed {
    Deed::Status {
        status,
        retry_after: None,
    }
}

fn retries(metrics: &Metrics) -> Vec<(&str, u64)> {
    let retries = metrics.retries.iter();
    retries.map(|(name, n)| (name.as_ref(), *n)).collect()
}

#[tokio::test]
async fn one_refusal_is_one_retry_on_the_same_connection() {
    let size = 64 * KIB;
    let stand = Stand::new(Behaviour::new(size).rule(When::Only(1), status(503)));
    let mut handle = stand.download().lanes(1).start();
    let done = outcome(&mut handle).await.expect("it succeeds");
    stand.assert_file(0, size);
    let metrics = handle.metrics();
    assert_eq!(metrics, done.metrics);
    assert_eq!(retries(&metrics), [("status 503", 1)]);
    let counts = metrics.protocols["h1"];
    assert_eq!((counts.connections, counts.fresh, counts.reused), (1, 1, 1));
    assert_eq!((metrics.requests(), stand.origin.requests()), (2, 2));
    assert_eq!((metrics.memory_hits, metrics.memory_misses), (0, 1));
    assert!(metrics.rtt > Some(Duration::ZERO) && metrics.handshake > Some(Duration::ZERO));
    assert!(metrics.write.is_some());
    assert_eq!((metrics.lanes_added, metrics.steals.bytes), (0, 0));
}

#[tokio::test]
async fn the_sums_of_a_downloader_are_those_of_its_downloads() {
    let size = 64 * KIB;
    let cut = Behaviour::new(size).rule(When::Only(1), Deed::CutAfter(KIB));
    let stand = Stand::new(cut);
    let mut first = stand.download().file("a").lanes(1).start();
    outcome(&mut first).await.expect("it succeeds");
    assert_eq!(retries(&first.metrics()), [("truncated", 1)]);
    // The second one uses the connection of the first, and the origin is known by now.
    let mut second = stand.download().file("b").lanes(1).start();
    outcome(&mut second).await.expect("it succeeds");
    let counts = second.metrics().protocols["h1"];
    assert_eq!((counts.connections, counts.fresh, counts.reused), (0, 0, 1));
    assert_eq!(
        (second.metrics().memory_hits, second.metrics().memory_misses),
        (1, 0)
    );
    // One that fails counts too, and one that never began does not.
    let mut gone = stand.downloader.download(&stand.origin.url("/gone"));
    gone = gone.dir(stand.dir.path());
    let error = outcome(&mut gone.start()).await.expect_err("there is none");
    assert_eq!(error.kind(), Kind::Server);
    let refused = stand.downloader.download("nonsense").start();
    assert!(refused.await.is_err());

    let sums = stand.downloader.metrics();
    assert_eq!((sums.ended, sums.running), (3, 0));
    assert_eq!(sums.all.requests(), stand.origin.requests());
    assert_eq!(retries(&sums.all), [("truncated", 1)]);
    assert_eq!((sums.all.memory_hits, sums.all.memory_misses), (2, 1));
    assert_eq!(
        sums.all.protocols["h1"].connections,
        stand.origin.connections()
    );
    assert_eq!(
        (sums.connections_configured, sums.connections_allowed),
        (128, 128)
    );
    assert!(sums.connections_held <= 1);
}

/// The metrics that run are seen too.
#[tokio::test]
async fn what_runs_is_counted_while_it_runs() {
    let gate = tur_testkit::Gate::at(MIB);
    let held = Behaviour::new(2 * MIB).rule(When::Always, Deed::Hold(gate.clone()));
    let stand = Stand::new(held);
    let mut handle = stand.download().lanes(1).start();
    let mut events = handle.events();
    while handle.progress().landed < MIB {
        let event = tokio::time::timeout(crate::stand::LIMIT, events.next()).await;
        event.expect("in time").expect("it goes on");
    }
    let sums = stand.downloader.metrics();
    assert_eq!((sums.ended, sums.running), (0, 1));
    assert_eq!((sums.all.requests(), sums.connections_held), (1, 1));
    assert_eq!(handle.metrics().requests(), 1);
    gate.open();
    outcome(&mut handle).await.expect("it succeeds");
    let sums = stand.downloader.metrics();
    assert_eq!((sums.ended, sums.running), (1, 0));
    assert_eq!(sums.all.requests(), 1);
}
