//! What the downloader tells of its queue: how long it is, whose place in it changes, and that nothing leaves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tur_engine::{Command, Event, Events, PeerNo, Priority, WaitsFor, What};
use tur_testkit::{Behaviour, Deed, Gate, When};

use crate::stand::{Asked, Ends, Quiet, SMALL, narrow, origin, soon};

/// It is told so often at most.
const PERIOD: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);

/// The next event that is looked for.
async fn find<T>(events: &mut Events, is: impl Fn(&Event) -> Option<T>) -> T {
    soon(async {
        loop {
            let event = events.next().await.expect("an event");
            if let Some(found) = is(&event) {
                return found;
            }
        }
    })
    .await
}

fn depth(event: &Event) -> Option<(usize, usize)> {
    match event.what {
        What::QueueDepth { waiting, running } => {
            assert_eq!((event.peer, event.id), (None, 0), "it is the downloader's");
            Some((waiting, running))
        }
        _ => None,
    }
}

fn changed(event: &Event) -> Option<(Option<PeerNo>, u64, bool)> {
    match event.what {
        What::PriorityChanged { urgent } => Some((event.peer, event.id, urgent)),
        _ => None,
    }
}

#[tokio::test]
async fn how_many_wait_and_run_is_told_not_too_often_and_is_true_in_the_end() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = narrow(2).build().expect("a downloader");
    let mut events = downloader.events_with_room(1 << 16);
    let mut ends = Ends::new();
    let commands: Vec<_> = (0..30)
        .map(|n| ends.of(Command::new(origin.url("/0")), n))
        .collect();
    let peer = Asked::new(commands);
    peer.activate(true);
    let handle = downloader.register(peer);
    // All are urgent: both permits are theirs.
    let mut told = Vec::new();
    while told.last() != Some(&(28, 2)) {
        told.push(find(&mut events, depth).await);
    }
    gate.open();
    assert_eq!(ends.next(30).await.len(), 30);
    let mut at = Duration::ZERO;
    while told.last() != Some(&(0, 0)) {
        let (now, depth) = find(&mut events, |event| Some((event.at, depth(event)?))).await;
        (at, told) = (now, [told, vec![depth]].concat());
    }
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{told:?}");
    // Each look comes so long after the one before.
    let looks = u32::try_from(told.len()).expect("a few");
    assert!(at >= looks * PERIOD, "{told:?} by {at:?}");
    // From now on nothing changes, so nothing is told.
    let more = tokio::time::timeout(PERIOD * 3, find(&mut events, depth)).await;
    assert!(more.is_err(), "{more:?}");
    drop(handle);
}

#[tokio::test]
async fn another_priority_is_told_of_who_has_it() {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = narrow(1).build().expect("a downloader");
    let mut events = downloader.events_with_room(1 << 16);
    let ends = Ends::new();
    let first = downloader.register(Arc::new(Quiet::active()));
    let busy = Command::new(origin.url("/0"));
    first.submit(busy).await.expect("it is accepted");
    assert!(origin.wait_for_requests(1, LONG));
    // Somebody begins to wait for what was fetched ahead.
    let awaited = Arc::new(AtomicBool::new(false));
    let probe = Arc::clone(&awaited);
    let command = Command::new(origin.url("/0"))
        .priority(Priority::Low)
        .demand(move || probe.load(Ordering::SeqCst));
    let peer = Asked::new([ends.of(command, ())]);
    let handle = downloader.register(Arc::clone(&peer));
    let number = Some(PeerNo(handle.id()));
    let id = find(&mut events, |event| {
        let enqueued = matches!(event.what, What::Enqueued);
        (enqueued && event.peer == number).then_some(event.id)
    })
    .await;
    awaited.store(true, Ordering::SeqCst);
    handle.wake();
    let told = find(&mut events, changed).await;
    assert_eq!(told, (number, id, true));
    peer.activate(true);
    handle.wake();
    let told = find(&mut events, changed).await;
    assert_eq!(told, (number, 0, true));
    peer.activate(false);
    handle.wake();
    let told = find(&mut events, changed).await;
    assert_eq!(told, (number, 0, false));
    gate.open();
}

/// What is held back for longer than `hang_after` while nothing runs is a stall of the whole.
#[tokio::test]
async fn items_that_wait_while_none_runs_are_told() {
    let origin = origin(1, &Behaviour::new(SMALL));
    let downloader = narrow(2)
        .demand_throttle(Duration::from_secs(2))
        .hang_after(Duration::from_millis(20))
        .build()
        .expect("a downloader");
    let mut events = downloader.events();
    let mut ends = Ends::new();
    let command = Command::new(origin.url("/0")).priority(Priority::Low);
    let _handle = downloader.register(Asked::new([ends.of(command, ())]));
    let (id, waits_for, lasted) = find(&mut events, |event| match event.what {
        What::Stalled {
            lane: None,
            waits_for,
            lasted,
        } => Some((event.id, waits_for, lasted)),
        _ => None,
    })
    .await;
    assert_eq!((id, waits_for), (0, Some(WaitsFor::Permit)));
    assert!(lasted >= Duration::from_millis(20), "{lasted:?}");
    let ended = ends.next(1).await.pop().expect("an end");
    assert_eq!(ended.1.expect("it came").bytes, SMALL, "it goes on");
}
