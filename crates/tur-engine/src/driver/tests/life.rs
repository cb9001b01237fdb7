//! Pause, cancel, drop, and what a later run makes of what is left.

use std::time::Duration;

use tur_core::{Kind, Rate};
use tur_storage::Loss;
use tur_testkit::{Behaviour, Deed, Ranges, When};

use super::stand::{KIB, MIB, PATH, Stand, Want, job, origin};
use crate::bus::Bus;
use crate::clock::Clock;
use crate::job::Job;
use crate::{Completed, Error, Event, Events, Handle, PhaseWord, What};

const SIZE: u64 = 4 * MIB;

/// What an interruption may cost: what was in flight on each of four lanes.
const TWICE_MAX: u64 = 4 * 64 * KIB;

#[tokio::test(start_paused = true)]
async fn a_pause_stands_still_and_goes_on() {
    let mut stand = Stand::new(origin(SIZE));
    let handle = stand.start(job());
    stand.transport.bytes_reach(MIB).await;
    handle.pause();
    stand.pass(Duration::from_secs(1)).await;
    let (requests, bytes) = (stand.transport.requests(), stand.transport.bytes_sent());
    assert!(bytes < SIZE, "it was paused in time");
    assert_eq!(handle.progress().phase, PhaseWord::Paused);
    stand.pass(Duration::from_secs(60)).await;
    assert_eq!(
        (stand.transport.requests(), stand.transport.bytes_sent()),
        (requests, bytes)
    );
    let at_rest = handle.progress();
    assert_eq!((at_rest.phase, at_rest.lanes), (PhaseWord::Paused, 0));
    handle.resume();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    let twice = stand.transport.bytes_sent() - SIZE;
    assert!(twice <= TWICE_MAX, "{twice} bytes twice");
    for is in [
        |what: &What| matches!(what, What::Paused),
        |what: &What| matches!(what, What::Unpaused),
    ] {
        assert_eq!(ran.count(is), 1);
    }
    assert_eq!(ran.count(|what| matches!(what, What::Retrying { .. })), 0);
}

#[tokio::test(start_paused = true)]
async fn pauses_at_odd_moments_do_no_harm() {
    // Before the first answer, twice, and while waiting for another try.
    let busy = Deed::Status {
        status: 503,
        retry_after: Some(tur_core::RetryAfter::Delay(Duration::from_secs(10))),
    };
    let slow = origin(SIZE)
        .first_byte(Duration::from_secs(3))
        .rule(When::Only(1), busy);
    for at in [0, 1, 5, 16] {
        let mut stand = Stand::new(slow.clone());
        let handle = stand.start(job());
        stand.pass(Duration::from_secs(at)).await;
        handle.pause();
        handle.pause();
        stand.pass(Duration::from_secs(100)).await;
        assert_ne!(handle.progress().phase, PhaseWord::Done, "paused at {at} s");
        handle.resume();
        handle.resume();
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, SIZE));
    }
}

/// Ends a download; gives the handle back if there still is one.
type Ending = fn(&mut Stand, Handle) -> Option<Handle>;

/// The ways to end a download before its time.
fn endings() -> [(&'static str, Ending); 3] {
    [
        ("cancelled", |_, handle| {
            handle.cancel();
            Some(handle)
        }),
        ("dropped", |_, handle| {
            drop(handle);
            None
        }),
        ("the downloader is gone", |stand, handle| {
            stand.end_life();
            Some(handle)
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_interruption_keeps_what_landed_for_the_next_run() {
    for (name, end) in endings() {
        println!("{name}");
        let mut stand = Stand::new(origin(SIZE));
        let handle = stand.start(job());
        stand.transport.bytes_reach(SIZE / 2).await;
        if let Some(handle) = end(&mut stand, handle) {
            let ran = stand.end(handle).await;
            stand.assert_left(&ran, Want::Part(Kind::Signal));
        }
        stand.settle().await;
        stand.assert_sides("file.bin", true);
        let sent = stand.transport.bytes_sent();
        let mut next = Stand::new(origin(SIZE));
        next.disk = stand.disk.clone();
        let ran = next.check(job(), Want::File(0, SIZE)).await;
        let twice = sent + next.transport.bytes_sent() - SIZE;
        assert!(twice <= TWICE_MAX, "{twice} bytes twice");
        assert_eq!(ran.done().resumed_bytes + next.transport.bytes_sent(), SIZE);
        let conditional = next
            .transport
            .seen()
            .iter()
            .all(|seen| seen.if_range.is_some());
        assert!(conditional, "bytes are joined under a validator");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interruption_before_the_first_byte_leaves_nothing() {
    for (name, end) in endings() {
        println!("{name}");
        let mut stand = Stand::new(origin(SIZE).first_byte(Duration::from_secs(5)));
        let handle = stand.start(job());
        stand.pass(Duration::from_secs(1)).await;
        if let Some(handle) = end(&mut stand, handle) {
            let ran = stand.end(handle).await;
            stand.assert_left(&ran, Want::Nothing(Kind::Signal));
        }
        stand.settle().await;
        stand.assert_sides("file.bin", false);
        assert_eq!(stand.transport.bytes_sent(), 0);
    }
}

/// What a kill or a loss of power leaves is gone on with, or fetched again; it is never wrong.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_point_ends_in_the_right_bytes() {
    // In pieces, seconds apart: few changes, and checkpoints between them.
    let slow = Behaviour::new(256 * KIB)
        .ranges(Ranges::ShortAtMost(32 * KIB))
        .first_byte(Duration::from_secs(1));
    let mut stand = Stand::new(slow);
    stand.check(job(), Want::File(0, 256 * KIB)).await;
    let changes = stand.disk.changes();
    let mut resumed = 0;
    for at in 0..=changes {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(at as u64 + 1)] {
            let mut next = Stand::new(Behaviour::new(256 * KIB));
            next.disk = stand.disk.crash(at, loss);
            let job = Job {
                on_exists: crate::OnExists::Overwrite,
                ..job()
            };
            let ran = next.check(job, Want::File(0, 256 * KIB)).await;
            resumed += u64::from(ran.done().resumed_bytes > 0);
        }
    }
    assert!(resumed > 10, "{resumed} runs went on with something");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_meets_another_origin() {
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    let plain = origin(SIZE).ranges(Ranges::Ignored);
    let rows = [
        (
            origin(SIZE).rule(When::Always, gone),
            Want::Part(Kind::Server),
        ),
        (plain.clone(), Want::File(0, SIZE)),
        (plain.version(1), Want::File(1, SIZE)),
        (origin(SIZE / 8).version(1), Want::File(1, SIZE / 8)),
        (origin(SIZE).no_validators(), Want::Part(Kind::Protocol)),
    ];
    for (behaviour, want) in rows {
        let mut stand = Stand::new(origin(SIZE));
        let handle = stand.start(job());
        stand.transport.bytes_reach(SIZE / 2).await;
        handle.cancel();
        assert!(stand.end(handle).await.result.is_err());
        stand.transport.swap(PATH, behaviour);
        stand.check(job(), want).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_what_it_missed_and_holds_nobody_up() {
    // Over four minutes there are more events than are kept.
    let mut stand = Stand::new(Behaviour::new(256 * KIB).pace(Rate::per_second(KIB)));
    let handle = stand.start(Job {
        lanes_max: 1,
        ..job()
    });
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, 256 * KIB));
    let missed = |event: &Event| match event.what {
        What::Lagged(n) => Some(n),
        _ => None,
    };
    assert!(missed(&ran.events[0]).is_some_and(|n| n > 1_000));
    assert_eq!(ran.events.iter().filter_map(missed).count(), 1);
    assert!(matches!(
        ran.events[ran.events.len() - 1].what,
        What::Completed(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn events_may_be_listened_to_late_or_not_at_all() {
    let mut stand = Stand::new(origin(SIZE));
    let mut handle = stand.start(job());
    drop(handle.events());
    stand.transport.bytes_reach(SIZE / 2).await;
    let mut late = handle.events();
    handle.wait().await.expect("it succeeds");
    let mut events = Vec::new();
    while let Some(event) = late.next().await {
        events.push(event.what);
    }
    assert!(
        !events
            .iter()
            .any(|what| matches!(what, What::Started { .. }))
    );
    assert!(matches!(events[events.len() - 1], What::Completed(_)));
    assert!(handle.events().next().await.is_none(), "it is over");
    stand.settle().await;
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_five_times_a_second_at_most() {
    let mut stand = Stand::new(origin(4 * SIZE).pace(Rate::per_second(MIB)));
    let handle = stand.start(job());
    let ran = stand.end(handle).await;
    let times: Vec<_> = ran
        .events
        .iter()
        .filter(|event| matches!(event.what, What::Progress(_)))
        .map(|event| event.t)
        .collect();
    assert!(times.len() >= 15, "{} in {:?}", times.len(), ran.elapsed());
    assert!(
        times
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= Duration::from_millis(200))
    );
    let mut last = 0;
    for event in &ran.events {
        if let What::Progress(progress) = &event.what {
            assert!(progress.landed >= last && progress.landed <= 4 * SIZE);
            assert_eq!(progress.total, Some(4 * SIZE));
            last = progress.landed;
        }
    }
    assert!(last > 3 * SIZE);
}

#[tokio::test(start_paused = true)]
async fn several_downloads_share_an_origin() {
    let paths = ["/a", "/b", "/c", "/d"];
    let mut stand = Stand::with(paths.map(|path| (path, origin(SIZE))));
    let handles: Vec<_> = paths
        .iter()
        .map(|path| {
            let mut job = super::stand::job_of(&format!("http://origin.test{path}"));
            job.destination = crate::job::Destination::Directory(super::stand::DIR.into());
            job.lanes_max = 16;
            job.lanes_start = Some(16);
            stand.start(job)
        })
        .collect();
    for mut handle in handles {
        handle.wait().await.expect("it succeeds");
    }
    stand.settle().await;
    for path in paths {
        stand.assert_file(&path[1..], 0, SIZE);
        stand.assert_sides(&path[1..], false);
    }
    assert!(stand.transport.connections() <= 64);
}

/// What callers move between threads.
#[test]
fn what_callers_hold_is_send_and_sync() {
    fn send_sync<T: Send + Sync>() {}
    fn send<T: Send>(_: &T) {}
    send_sync::<Handle>();
    send_sync::<crate::Downloader>();
    send_sync::<Completed>();
    send_sync::<Error>();
    send_sync::<Event>();
    let bus = Bus::new(Clock::start());
    send(&Events::new(bus.scope().subscribe(1)));
}
