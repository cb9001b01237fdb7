//! Room for commands is bounded, and what is urgent never waits for it behind what is not.

use std::future::Future as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tur_engine::{Abr, Command, Downloader, Kind, Peer, PeerHandle, Priority};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::stand::{Ends, Quiet, SMALL, narrow, origin, soon};

/// One permit, which a fetch has until the gate opens, and room for two commands.
struct Stand {
    origin: Loopback,
    gate: Gate,
    downloader: Downloader,
    _holder: PeerHandle,
}

async fn stand() -> Stand {
    let gate = Gate::at(0);
    let behaviour = Behaviour::new(SMALL).rule(When::Always, Deed::HoldHead(gate.clone()));
    let origin = origin(1, &behaviour);
    let downloader = narrow(1).peer_queue(2).build().expect("a downloader");
    let holder = downloader.register(Arc::new(Quiet::active()));
    let held = Command::new(origin.url("/0"));
    soon(holder.submit(held)).await.expect("it is accepted");
    assert!(origin.wait_for_requests(1, Duration::from_secs(60)));
    Stand {
        origin,
        gate,
        downloader,
        _holder: holder,
    }
}

impl Stand {
    fn command(&self, priority: Priority) -> Command {
        Command::new(self.origin.url("/0")).priority(priority)
    }
}

#[tokio::test]
async fn an_urgent_command_does_not_wait_for_room_behind_others() {
    let stand = stand().await;
    let peer = stand.downloader.register(Arc::new(Quiet::active()));
    let mut ends = Ends::new();
    for name in 0..2 {
        let low = ends.of(stand.command(Priority::Low), name);
        soon(peer.submit(low)).await.expect("there is room");
    }
    let third = ends.of(stand.command(Priority::Low), 2);
    let mut third = pin!(peer.submit(third));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(third.as_mut().poll(&mut cx).is_pending(), "it is bounded");
    let urgent = ends.of(stand.command(Priority::High), 3);
    soon(peer.submit(urgent)).await.expect("there is room");
    // One that somebody comes to wait for.
    let waits = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&waits);
    let command = stand.command(Priority::Low);
    let command = command.demand(move || asked.load(Ordering::SeqCst));
    let mut live = pin!(peer.submit(ends.of(command, 4)));
    assert!(live.as_mut().poll(&mut cx).is_pending());
    waits.store(true, Ordering::SeqCst);
    peer.wake();
    soon(live).await.expect("there is room");
    // Urgent ones have their bound too.
    let mut late = pin!(peer.submit(ends.of(stand.command(Priority::High), 5)));
    assert!(late.as_mut().poll(&mut cx).is_pending(), "it is bounded");
    stand.gate.open();
    let (sent, also) = soon(async { tokio::join!(third, late) }).await;
    sent.and(also).expect("room came");
    let mut names: Vec<_> = ends
        .next(6)
        .await
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(names.iter().position(|n| *n == 3) < names.iter().position(|n| *n == 0));
    names.sort_unstable();
    assert_eq!(names, [0, 1, 2, 3, 4, 5]);
}

/// Always has something that nobody waits for, and an urgent command once.
struct Seeker {
    url: String,
    active: AtomicBool,
    asked: AtomicUsize,
    urgent: Mutex<Option<Command>>,
}

impl Abr for Seeker {}

impl Peer for Seeker {
    fn poll_next(&self, _cx: &mut Context<'_>) -> Poll<Option<Vec<Command>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let urgent = self.urgent.lock().expect("no panic").take();
        let next = urgent.unwrap_or_else(|| Command::new(&self.url).priority(Priority::Low));
        Poll::Ready(Some(vec![next]))
    }

    fn priority(&self) -> Priority {
        if self.active.load(Ordering::SeqCst) {
            Priority::High
        } else {
            Priority::Low
        }
    }
}

#[tokio::test]
async fn a_peer_that_becomes_active_is_asked_although_its_room_is_taken() {
    let stand = stand().await;
    let seeker = Arc::new(Seeker {
        url: stand.origin.url("/0"),
        active: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        urgent: Mutex::new(None),
    });
    let handle = stand.downloader.register(Arc::clone(&seeker));
    // After as many questions as are to come, commands that end at once show that there are no more.
    let settled = async |asked: usize| {
        while seeker.asked.load(Ordering::SeqCst) < asked {
            tokio::task::yield_now().await;
        }
        for _ in 0..10 {
            let wrong = handle.execute(Command::new("nonsense"));
            let error = wrong.await.expect_err("it is no URL");
            assert_eq!(error.kind(), Kind::Usage);
        }
        assert_eq!(seeker.asked.load(Ordering::SeqCst), asked, "it is bounded");
    };
    soon(settled(2)).await;
    let mut ends = Ends::new();
    let urgent = ends.of(stand.command(Priority::High), "urgent");
    *seeker.urgent.lock().expect("no panic") = Some(urgent);
    seeker.active.store(true, Ordering::SeqCst);
    handle.wake();
    soon(settled(3)).await;
    assert!(seeker.urgent.lock().expect("no panic").is_none(), "asked");
    stand.gate.open();
    let (_, end) = ends.next(1).await.remove(0);
    assert_eq!(end.expect("it came").bytes, SMALL);
}
