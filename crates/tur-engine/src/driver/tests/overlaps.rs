//! Going on with what an earlier run left where no strong validator says that it is the same file.

use tur_core::{Kind, Wall};
use tur_sched::OnChange;
use tur_storage::Loss;
use tur_testkit::{Behaviour, Deed, Ranges, When, weak};

use super::stand::{KIB, MIB, PATH, Ran, Stand, Want, job, job_of, origin};
use crate::What;
use crate::job::Job;

const SIZE: u64 = 16 * MIB;
/// First, last and six between.
const SAMPLES: u64 = 8 * 64 * KIB;

/// Origins whose answers carry no strong validator.
fn unproven() -> [(&'static str, Behaviour); 3] {
    let at = Wall::from_unix_secs(1_700_000_000);
    [
        ("none", origin(SIZE).no_validators()),
        ("weak tag", origin(SIZE).etag(Some(weak("w")))),
        (
            "weak date",
            origin(SIZE)
                .no_validators()
                .last_modified(Some(at))
                .date(Some(at)),
        ),
    ]
}

/// Downloads about half of the file and stops.
async fn half(behaviour: Behaviour) -> Stand {
    let mut stand = Stand::new(behaviour);
    let handle = stand.start(job());
    stand.transport.bytes_reach(SIZE / 2).await;
    handle.cancel();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::Signal));
    stand
}

fn says(ran: &Ran, text: &str) -> bool {
    ran.count(|what| matches!(what, What::Note(note) if note.contains(text))) > 0
}

#[tokio::test(start_paused = true)]
async fn an_equal_overlap_is_gone_on_with() {
    for (name, behaviour) in unproven() {
        println!("{name}");
        let mut stand = half(behaviour).await;
        let sent = stand.transport.bytes_sent();
        let ran = stand.check(job(), Want::File(0, SIZE)).await;
        assert!(says(&ran, "no strong validator"), "{ran:?}");
        let twice = stand.transport.bytes_sent() - SIZE;
        assert!(twice <= SAMPLES + 5 * 64 * KIB, "{twice} bytes twice");
        let resumed = ran.done().resumed_bytes;
        assert!(
            resumed + MIB >= sent && resumed <= sent,
            "{resumed} of {sent}"
        );
        assert!(
            ran.done().wasted_bytes >= 64 * KIB,
            "what was compared is waste"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn another_content_begins_anew_though_nothing_tells() {
    for (name, behaviour) in unproven() {
        println!("{name}");
        let mut stand = half(behaviour.clone()).await;
        let silent = Behaviour {
            version: 1,
            ..behaviour
        };
        stand.transport.swap(PATH, silent.clone());
        let fails = Job {
            on_change: OnChange::Fail,
            ..job()
        };
        stand.check(fails, Want::Part(Kind::Changed)).await;
        let ran = stand.check(job(), Want::File(1, SIZE)).await;
        assert_eq!(ran.done().resumed_bytes, 0);
        assert_eq!(ran.count(|what| matches!(what, What::Restarted { .. })), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_lost_its_ranges_sends_the_whole() {
    for (_, behaviour) in unproven() {
        let mut stand = half(behaviour.clone()).await;
        stand
            .transport
            .swap(PATH, behaviour.ranges(Ranges::Ignored));
        stand.check(job(), Want::File(0, SIZE)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_while_comparing_loses_nothing() {
    let behaviour = origin(SIZE).no_validators();
    let mut stand = half(behaviour.clone()).await;
    let gone = Deed::Status {
        status: 404,
        retry_after: None,
    };
    stand
        .transport
        .swap(PATH, behaviour.clone().rule(When::Always, gone));
    stand.check(job(), Want::Part(Kind::Server)).await;
    stand.transport.swap(PATH, behaviour);
    let before = stand.transport.bytes_sent();
    stand.check(job(), Want::File(0, SIZE)).await;
    let sent = stand.transport.bytes_sent() - before;
    assert!(sent < SIZE * 3 / 4, "{sent} bytes");
}

/// Equal tags of two URLs say nothing; equal bytes do.
#[tokio::test(start_paused = true)]
async fn another_url_is_gone_on_with_if_it_serves_the_same() {
    let second = "http://second.test/file.bin";
    for (version, same) in [(0, true), (1, false)] {
        let tag = |behaviour: Behaviour| behaviour.etag(Some(tur_testkit::strong("same")));
        let there = Behaviour {
            version,
            ..tag(origin(SIZE))
        };
        let mut stand = Stand::with([
            (PATH.to_owned(), tag(origin(SIZE))),
            ("second.test/file.bin".to_owned(), there),
        ]);
        let handle = stand.start(job());
        stand.transport.bytes_reach(SIZE / 2).await;
        handle.cancel();
        assert!(stand.end(handle).await.result.is_err());
        let job = Job {
            // Another file at another URL is no change.
            on_change: OnChange::Fail,
            ..job_of(second)
        };
        let ran = stand.check(job, Want::File(version, SIZE)).await;
        assert_eq!(ran.done().resumed_bytes > 0, same);
    }
}

/// A process that dies while it compares another URL leaves no claim that this one serves what is there.
#[tokio::test(start_paused = true)]
async fn a_kill_while_comparing_makes_nobody_believe() {
    let second = "http://second.test/file.bin";
    let tag = |behaviour: Behaviour| behaviour.etag(Some(tur_testkit::strong("same")));
    let there = Behaviour {
        version: 1,
        ..tag(origin(MIB))
    };
    let mut stand = Stand::with([
        (PATH.to_owned(), tag(origin(MIB))),
        ("second.test/file.bin".to_owned(), there),
    ]);
    let handle = stand.start(job());
    stand.transport.bytes_reach(MIB / 2).await;
    handle.cancel();
    assert!(stand.end(handle).await.result.is_err());
    let from = stand.disk.changes();
    stand.check(job_of(second), Want::File(1, MIB)).await;
    let changes = stand.disk.changes();
    for at in (from..changes).step_by(1 + (changes - from) / 25) {
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(at as u64)] {
            let mut next = Stand::with([(
                PATH,
                Behaviour {
                    version: 1,
                    ..tag(origin(MIB))
                },
            )]);
            next.disk = stand.disk.crash(at, loss);
            let job = Job {
                on_exists: crate::OnExists::Overwrite,
                ..job_of(second)
            };
            next.check(job, Want::File(1, MIB)).await;
        }
    }
}
