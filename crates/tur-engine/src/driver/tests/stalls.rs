//! What is told when nothing moves: once it has lasted a minute, at each doubling, and never of what goes on.

use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use tur_core::{Rate, RetryAfter};
use tur_sched::WaitsFor;
use tur_testkit::{Behaviour, Deed, Gate, When};

use super::super::stalls::OnDisk;
use super::fetches::{Cup, Mouth, fetch_job};
use super::stand::{KIB, MIB, NAME, Stand, Want, check, job, job_of, origin};
use crate::desk::Desk;
use crate::fetch::FetchJob;
use crate::job::Job;
use crate::sessions::{Caps, PerOrigin};
use crate::{Event, Events, What, driver};

const SIZE: u64 = MIB;
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
/// Room for the events of hours: none is missed.
const ROOM: usize = 1 << 20;
/// A look comes five times a second.
const LOOK: Duration = Duration::from_millis(200);

/// A download that waits for long.
fn patient() -> Job {
    Job {
        lanes_max: 1,
        read_timeout: 1_000 * SECOND,
        ..job()
    }
}

/// What the watchdog told, and when, to the second.
fn told(events: &[Event]) -> Vec<(u64, WaitsFor)> {
    let stall = |event: &Event| match event.what {
        What::Stalled {
            lane: None,
            waits_for,
            lasted,
        } => {
            assert!(lasted <= event.t, "{lasted:?} at {:?}", event.t);
            Some((lasted.as_secs(), waits_for.expect("it is known")))
        }
        _ => None,
    };
    events.iter().filter_map(stall).collect()
}

/// Lets a download run for so long, and ends it.
async fn run_for(mut stand: Stand, job: Job, secs: u32) -> Vec<Event> {
    stand.room = ROOM;
    let handle = stand.start(job);
    stand.pass(secs * SECOND).await;
    handle.cancel();
    stand.end(handle).await.events
}

/// While another download keeps the only connection there may be.
async fn kept_out(mut stand: Stand) -> Vec<(u64, WaitsFor)> {
    stand.room = ROOM;
    let first = stand.start(patient_at("http://origin.test/held"));
    stand.pass(SECOND).await;
    let second = stand.start(patient());
    stand.pass(200 * SECOND).await;
    first.cancel();
    second.cancel();
    let (first, second) = (stand.end(first).await, stand.end(second).await);
    let want = [(60, WaitsFor::Answer), (120, WaitsFor::Answer)];
    assert_eq!(told(&first.events), want);
    told(&second.events)
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_permit_is_told_to_wait_for_it_and_who_gets_no_connection_for_that() {
    let held = Behaviour::new(SIZE).rule(When::Always, Deed::HoldHead(Gate::at(0)));
    let stand = || Stand::with([("/held", held.clone()), ("/file.bin", origin(SIZE))]);
    let caps = Caps {
        process: 1,
        per_origin: PerOrigin::Given(1),
    };
    let told = kept_out(stand().caps(caps)).await;
    assert_eq!(told, [(60, WaitsFor::Permit), (120, WaitsFor::Permit)]);
    let stand = stand();
    stand.transport.set_sockets_max(1);
    let told = kept_out(stand).await;
    assert_eq!(told, [(60, WaitsFor::Session), (120, WaitsFor::Session)]);
}

fn patient_at(url: &str) -> Job {
    let mut job = Job {
        target: job_of(url).target,
        ..patient()
    };
    let crate::job::Destination::File { name, .. } = &mut job.destination else {
        panic!("a job of a test has a name");
    };
    *name = tur_storage::FileName::new("other").expect("a name");
    job
}

#[tokio::test(start_paused = true)]
async fn each_silence_has_its_name() {
    for (deed, waits_for) in [
        (Deed::BlackHole, WaitsFor::Answer),
        (Deed::BodyAfter(500 * SECOND), WaitsFor::Body),
        (Deed::StallAfter(64 * KIB), WaitsFor::Body),
    ] {
        let stand = Stand::new(origin(SIZE).rule(When::Always, deed));
        let events = run_for(stand, patient(), 250).await;
        let want = [(60, waits_for), (120, waits_for), (240, waits_for)];
        assert_eq!(told(&events), want);
        let when = events.iter().find(|event| is_stall(&event.what));
        let when = when.expect("it was told").t;
        assert!(when >= 60 * SECOND && when < 61 * SECOND, "{when:?}");
    }
}

fn is_stall(what: &What) -> bool {
    matches!(what, What::Stalled { lane: None, .. })
}

#[tokio::test(start_paused = true)]
async fn how_long_that_is_can_be_set() {
    let mut stand = Stand::new(Behaviour::new(SIZE).first_byte(12 * SECOND));
    stand.hang = 5 * SECOND;
    let ran = stand.check(patient(), Want::File(0, SIZE)).await;
    let want = [(5, WaitsFor::Answer), (10, WaitsFor::Answer)];
    assert_eq!(told(&ran.events), want, "what comes then is no stall");
    let busy = Deed::Status {
        status: 503,
        retry_after: Some(RetryAfter::Delay(50 * SECOND)),
    };
    let mut stand = Stand::new(origin(SIZE).rule(When::Always, busy));
    stand.hang = 5 * SECOND;
    let want = [5, 10, 20, 40].map(|secs| (secs, WaitsFor::Backoff));
    assert_eq!(told(&run_for(stand, patient(), 45).await), want);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_is_named_and_so_is_a_limit() {
    let mut stand = Stand::new(Behaviour::new(SIZE));
    let events = fetch_for(&mut stand, Cup::of(100_000), 200).await;
    let want = [(60, WaitsFor::Reader), (120, WaitsFor::Reader)];
    assert_eq!(told(&events), want);
    let mut stand = Stand::new(Behaviour::new(SIZE));
    stand.limit.set(Some(Rate::per_second(1)));
    stand.hang = 10 * SECOND;
    let events = fetch_for(&mut stand, Cup::new(), 50).await;
    let want = [10, 20, 40].map(|secs| (secs, WaitsFor::Limiter));
    assert_eq!(told(&events), want);
}

/// Lets a fetch run for so long, and ends it.
async fn fetch_for(stand: &mut Stand, cup: Cup, secs: u32) -> Vec<Event> {
    let job = FetchJob {
        read_timeout: 5 * SECOND,
        ..fetch_job(None)
    };
    stand.room = ROOM;
    let (outside, caller) = stand.outside();
    let world = stand.world(None);
    stand.spawn(async move {
        let ended = driver::fetch(world, job, Box::new(Mouth(cup)), outside).await;
        assert!(ended.is_err(), "it was cancelled");
    });
    stand.pass(secs * SECOND).await;
    caller
        .commands
        .send_modify(|wishes| wishes.cancelled = true);
    stand.settle().await;
    drop(caller.bus);
    let mut stream = Events::new(caller.first);
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    events
}

/// Neither a slow origin nor one that is retried, nor one with a limit, is a stall; and a pause is none.
#[tokio::test(start_paused = true)]
async fn what_goes_on_is_no_stall() {
    let slow = Behaviour::new(SIZE).pace(Rate::per_second(2 * KIB));
    let silent = origin(SIZE).rule(When::First(3), Deed::BlackHole);
    let late = origin(SIZE).rule(When::Always, Deed::BodyAfter(29 * SECOND));
    let cut = origin(SIZE).rule(When::First(5), Deed::StallAfter(64 * KIB));
    for behaviour in [slow, silent, late, cut] {
        let mut stand = Stand::new(behaviour);
        stand.room = ROOM;
        let handle = stand.start(Job {
            lanes_max: 1,
            ..job()
        });
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, SIZE));
        assert!(ran.elapsed() > 25 * SECOND, "{:?}", ran.elapsed());
        assert_eq!(told(&ran.events), []);
    }
    let mut stand = Stand::new(origin(SIZE).rule(When::Always, Deed::BodyAfter(29 * SECOND)));
    stand.room = ROOM;
    let handle = stand.start(job());
    stand.pass(SECOND).await;
    handle.pause();
    stand.pass(1_000 * SECOND).await;
    handle.cancel();
    let ran = stand.end(handle).await;
    assert_eq!(told(&ran.events), []);
}

/// Lanes that are silent at first, all of them, do not take each other's work for ever.
#[tokio::test(start_paused = true)]
async fn bodies_that_come_late_are_waited_for() {
    let late = origin(SIZE).rule(When::Always, Deed::BodyAfter(29 * SECOND));
    let mut stand = Stand::new(late);
    stand.room = ROOM;
    let handle = stand.start(job());
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    assert!(ran.elapsed() < 1_800 * SECOND, "{:?}", ran.elapsed());
    let requests = ran.result.expect("it came").requests;
    assert!(requests < 200, "{requests} requests");
}

/// The stall of one lane is the machine's, and told besides.
#[tokio::test(start_paused = true)]
async fn a_silent_lane_says_for_how_long() {
    let behaviour = origin(SIZE).rule(When::Only(1), Deed::StallAfter(64 * KIB));
    let one = Job {
        lanes_max: 1,
        ..job()
    };
    let (_, ran) = check(behaviour, one, Want::File(0, SIZE)).await;
    let stall = ran.events.iter().find_map(|event| match event.what {
        What::Stalled {
            lane,
            waits_for,
            lasted,
        } => Some((lane, waits_for, lasted)),
        _ => None,
    });
    let (lane, waits_for, lasted) = stall.expect("it was told");
    assert_eq!((lane, waits_for), (Some(0), Some(WaitsFor::Body)));
    let silent = 30 * SECOND;
    assert!(lasted > silent - 2 * LOOK && lasted <= silent, "{lasted:?}");
}

/// An open, a sync or a commit that does not come back: other threads do it, and the driver waits.
#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_named() {
    let mut stand = Stand::new(origin(SIZE));
    let (outside, caller) = stand.outside();
    for (hang, want) in [
        (60 * SECOND, vec![60, 120, 240]),
        (400 * SECOND, vec![]),
        (Duration::ZERO, vec![]),
    ] {
        let on_disk = OnDisk {
            board: outside.board.clone(),
            clock: stand.clock,
            began: stand.clock.now(),
            hang,
            desk: Desk::default(),
        };
        let listener = outside.board.subscribe(ROOM);
        let answer = async {
            stand.pass(300 * SECOND).await;
            7
        };
        assert_eq!(on_disk.wait(answer).await, 7);
        let cx = Context::from_waker(Waker::noop());
        let mut events = Vec::new();
        while let Poll::Ready(Some(event)) = listener.poll_take(&cx) {
            events.push(event);
        }
        if hang.is_zero() {
            assert!((10..30).contains(&events.len()), "{}", events.len());
        } else {
            let disk = |secs: u64| (secs, WaitsFor::Disk);
            assert_eq!(
                told(&events),
                want.into_iter().map(disk).collect::<Vec<_>>()
            );
        }
    }
    drop(caller);
}

/// A write that does not come back holds up the thread that all drivers are on. It is told all the same, and nothing
/// after the end.
#[test]
fn a_write_that_hangs_is_named_while_it_hangs() {
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().expect("nobody has it");
    let (hung, told) = (Arc::clone(&gate), mpsc::channel());
    let data = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut stand = Stand::new(origin(SIZE));
            stand.hang = 40 * MILLISECOND;
            stand.room = ROOM;
            let mut handle = stand.start(job());
            told.0.send(handle.events_with_room(ROOM)).expect("wanted");
            stand.transport.bytes_reach(SIZE / 2).await;
            stand.disk.hang_writes(hung);
            handle.wait().await.expect("it comes");
            stand.settle().await;
            stand.assert_file(NAME, 0, SIZE);
        });
    });
    let mut events = told.1.recv().expect("it began");
    // In real time: the thread that it hangs with has no other.
    let here = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let stalls = here.block_on(async {
        let mut stalls = Vec::new();
        while stalls.len() < 2 {
            let event = timeout(60 * SECOND, events.next()).await;
            let event = event.expect("it is told").expect("it goes on");
            if let What::Stalled {
                waits_for: Some(WaitsFor::Disk),
                lasted,
                ..
            } = event.what
            {
                stalls.push(lasted);
            }
        }
        stalls
    });
    assert!(stalls[0] >= 40 * MILLISECOND && stalls[1] >= 80 * MILLISECOND);
    assert!(!data.is_finished(), "it hangs still");
    drop(held);
    data.join().expect("the file is whole");
    let last = here.block_on(events.collect::<Vec<_>>()).pop();
    let last = last.expect("its end was told");
    assert!(matches!(last.what, What::Completed(_)), "{last:?}");
}
