//! Scopes and their listeners: who hears what, in which order, and what a slow one misses.

use std::sync::atomic::AtomicU32;
use std::task::Wake;

use proptest::prelude::*;

use super::*;

fn bus() -> Bus {
    Bus::new(Clock::start())
}

/// An event that is known again by its number.
fn publish(scope: &Scope, n: u64) {
    scope.publish(1, Duration::ZERO, || What::Resumed { at: n });
}

fn take(listener: &Listener) -> Poll<Option<Event>> {
    listener.poll_take(&Context::from_waker(Waker::noop()))
}

/// What is there by now: numbers of events, and `Err` for how many were missed.
fn taken(listener: &Listener) -> Vec<Result<u64, u64>> {
    std::iter::from_fn(|| match take(listener) {
        Poll::Ready(Some(event)) => Some(number(&event)),
        Poll::Ready(None) | Poll::Pending => None,
    })
    .collect()
}

fn number(event: &Event) -> Result<u64, u64> {
    match event.what {
        What::Resumed { at } => Ok(at),
        What::Lagged(missed) => Err(missed),
        _ => panic!("nobody publishes {event:?}"),
    }
}

/// D15: room for 2, 10 events.
#[test]
fn who_has_room_for_two_hears_that_eight_of_ten_were_missed() {
    let bus = bus();
    let listener = bus.scope().subscribe(2);
    (1..=10).for_each(|n| publish(bus.scope(), n));
    assert_eq!(taken(&listener), [Err(8), Ok(9), Ok(10)]);
    publish(bus.scope(), 11);
    assert_eq!(taken(&listener), [Ok(11)]);
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is not wanted takes no room, wakes nobody and is not missed; whose wish panics hears everything.
#[test]
fn who_wants_only_some_events_hears_of_no_other() {
    let bus = bus();
    let (some, all) = (bus.scope().subscribe(2), bus.scope().subscribe(9));
    (1..=2).for_each(|n| publish(bus.scope(), n));
    some.want(Box::new(
        |what| matches!(what, What::Resumed { at } if at % 4 == 2),
    ));
    all.want(Box::new(|_| panic!("on purpose")));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(matches!(take(&some), Poll::Ready(Some(event)) if number(&event) == Ok(2)));
    assert!(some.poll_take(&Context::from_waker(&waker)).is_pending());
    (3..=5).for_each(|n| publish(bus.scope(), n));
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    publish(bus.scope(), 6);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(taken(&some), [Ok(6)]);
    assert_eq!(taken(&all), (1..=6).map(Ok).collect::<Vec<_>>());
}

/// A room of none would tell nothing but gaps.
#[test]
fn there_is_room_for_one_at_least() {
    let bus = bus();
    let listener = bus.scope().subscribe(0);
    (1..=3).for_each(|n| publish(bus.scope(), n));
    assert_eq!(taken(&listener), [Err(2), Ok(3)]);
}

#[test]
fn a_room_made_smaller_misses_the_oldest_and_one_made_larger_none() {
    let bus = bus();
    let listener = bus.scope().subscribe(3);
    (1..=4).for_each(|n| publish(bus.scope(), n));
    listener.set_room(2);
    listener.set_room(9);
    (5..=7).for_each(|n| publish(bus.scope(), n));
    let told = [Err(2), Ok(3), Ok(4), Ok(5), Ok(6), Ok(7)];
    assert_eq!(taken(&listener), told);
}

#[test]
fn siblings_hear_nothing_of_one_another_and_those_above_hear_all() {
    let root = bus();
    let (one, two) = (root.child(Some(PeerNo(1))), root.child(Some(PeerNo(2))));
    let (item, lone) = (one.child(None), root.child(None));
    let scopes = [&root, &one, &two, &item, &lone];
    let listeners = scopes.map(|bus| bus.scope().subscribe(ROOM));
    (0..)
        .zip(scopes)
        .for_each(|(n, bus)| publish(bus.scope(), n));
    let heard: [&[u64]; 5] = [&[0, 1, 2, 3, 4], &[1, 3], &[2], &[3], &[4]];
    for (listener, heard) in listeners.iter().zip(heard) {
        let told: Vec<_> = heard.iter().map(|n| Ok(*n)).collect();
        assert_eq!(taken(listener), told);
    }
}

#[test]
fn an_event_says_whose_it_is_and_when() {
    let root = bus();
    let peer = root.child(Some(PeerNo(7)));
    let listener = root.scope().subscribe(ROOM);
    let t = Duration::from_secs(5);
    let scopes = [root.scope(), peer.child(None).scope()].map(Scope::clone);
    for scope in &scopes {
        scope.publish(3, t, || What::Slow);
    }
    let mut last = Duration::ZERO;
    for (seq, whose) in [(1, None), (2, Some(PeerNo(7)))] {
        let Poll::Ready(Some(event)) = take(&listener) else {
            panic!("it was published");
        };
        assert_eq!(
            (event.peer, event.id, event.seq, event.t),
            (whose, 3, seq, t)
        );
        assert!(event.at >= last, "time goes back");
        last = event.at;
    }
}

#[test]
fn nothing_is_built_for_nobody() {
    let root = bus();
    let child = root.child(None);
    let elsewhere = root.child(None).scope().subscribe(ROOM);
    child
        .scope()
        .publish(1, Duration::ZERO, || panic!("nobody listens"));
    assert!(taken(&elsewhere).is_empty());
    // Who has left is nobody.
    drop(root.scope().subscribe(ROOM));
    drop(child.scope().subscribe(ROOM));
    assert!(!child.scope().is_heard());
    child
        .scope()
        .publish(1, Duration::ZERO, || panic!("nobody listens"));
}

#[test]
fn a_stream_ends_after_its_last_event_with_the_last_life() {
    let root = bus();
    let child = root.child(None);
    let (above, here) = (root.scope().subscribe(4), child.scope().subscribe(4));
    let scope = child.scope().clone();
    drop(root);
    publish(&scope, 1);
    assert_eq!((taken(&above), taken(&here)), (vec![Ok(1)], vec![Ok(1)]));
    // The scope below keeps the one above open.
    assert!(take(&above).is_pending() && take(&here).is_pending());
    publish(&scope, 2);
    drop(child);
    publish(&scope, 3);
    assert_eq!((taken(&above), taken(&here)), (vec![Ok(2)], vec![Ok(2)]));
    for over in [above, here, scope.subscribe(4)] {
        assert!(matches!(take(&over), Poll::Ready(None)));
    }
}

/// Counts how often it is woken, and looks at the bus then: a lock that is held would be found here.
struct Curious {
    scope: Scope,
    woken: AtomicU32,
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::Relaxed);
        let listener = self.scope.subscribe(1);
        publish(&self.scope, 0);
        // Nobody is heard in a scope that is closed.
        assert!(taken(&listener).len() <= 1);
    }
}

#[test]
fn who_is_woken_may_publish_and_listen() {
    let bus = bus();
    let listener = bus.scope().subscribe(8);
    let curious = Arc::new(Curious {
        scope: bus.scope().clone(),
        woken: AtomicU32::new(0),
    });
    let waker = Waker::from(Arc::clone(&curious));
    let cx = Context::from_waker(&waker);
    assert!(listener.poll_take(&cx).is_pending());
    publish(bus.scope(), 1);
    assert_eq!(curious.woken.load(Ordering::Relaxed), 1);
    assert_eq!(taken(&listener), [Ok(1), Ok(0)]);
    // The end wakes too.
    assert!(listener.poll_take(&cx).is_pending());
    drop(bus);
    assert_eq!(curious.woken.load(Ordering::Relaxed), 2);
    assert!(matches!(take(&listener), Poll::Ready(None)));
}

/// Threads publish at once: each listener has everything once, in the order of the numbers.
#[test]
fn the_numbers_go_up_whoever_publishes() {
    const EACH: u64 = 500;
    let root = bus();
    let children = [root.child(None), root.child(None)];
    let listener = root.scope().subscribe(usize::MAX);
    std::thread::scope(|threads| {
        for child in &children {
            threads.spawn(move || (0..EACH).for_each(|n| publish(child.scope(), n)));
        }
    });
    let mut seqs = Vec::new();
    while let Poll::Ready(Some(event)) = take(&listener) {
        seqs.push(event.seq);
    }
    assert_eq!(seqs, (1..=2 * EACH).collect::<Vec<_>>());
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u8),
    Take,
    Room(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u8..12).prop_map(Step::Publish),
        Just(Step::Take),
        Just(Step::Take),
        (0u8..8).prop_map(Step::Room),
    ]
}

proptest! {
    /// However publishing and taking alternate: each event is delivered or counted as missed, in order, and never more
    /// wait than there is room for.
    #[test]
    fn delivered_and_missed_are_all_that_was_published(
        room in 0usize..8,
        steps in proptest::collection::vec(step(), 0..64),
    ) {
        let bus = bus();
        let listener = bus.scope().subscribe(room);
        let (mut room, mut published, mut accounted) = (room.max(1), 0, 0);
        let mut heed = |event: Event, published: u64| {
            match number(&event) {
                Ok(n) => {
                    assert_eq!(n, accounted, "the next one that was not missed");
                    accounted += 1;
                }
                Err(missed) => {
                    assert!(missed > 0);
                    accounted += missed;
                }
            }
            assert!(accounted <= published);
            accounted
        };
        for step in steps {
            match step {
                Step::Publish(n) => for _ in 0..n {
                    publish(bus.scope(), published);
                    published += 1;
                },
                Step::Room(n) => {
                    room = usize::from(n).max(1);
                    listener.set_room(usize::from(n));
                }
                Step::Take => if let Poll::Ready(Some(event)) = take(&listener) {
                    heed(event, published);
                },
            }
            prop_assert!(listener.queue.lock().waiting.len() <= room);
        }
        let mut all = 0;
        publish(bus.scope(), published);
        while let Poll::Ready(Some(event)) = take(&listener) {
            all = heed(event, published + 1);
        }
        prop_assert_eq!(all, published + 1);
    }
}
