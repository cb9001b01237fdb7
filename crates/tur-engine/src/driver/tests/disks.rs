//! Disks that are full, fail, lose bytes or write short: no hang, no panic, no false success, and the next run is right.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tur_core::{Kind, Rate};
use tur_storage::{Disk as _, Open};
use tur_testkit::{Behaviour, Framing, Ranges};

use super::stand::{DIR, KIB, MIB, NAME, Stand, Want, job, origin};
use crate::job::Job;
use crate::{OnExists, What};

const SIZE: u64 = 2 * MIB;

/// A job that must succeed whatever an earlier one has left.
fn again() -> Job {
    Job {
        on_exists: OnExists::Overwrite,
        ..job()
    }
}

/// Known before the first byte is written.
#[tokio::test(start_paused = true)]
async fn a_disk_without_room_is_told_at_once() {
    let mut stand = Stand::new(origin(SIZE));
    stand.disk.set_capacity(MIB);
    stand.check(job(), Want::Nothing(Kind::DiskFull)).await;
    assert_eq!(stand.transport.requests(), 1);
    let mut stand = Stand::new(origin(SIZE));
    stand.disk.set_file_size_limit(MIB);
    stand.check(job(), Want::Nothing(Kind::DiskFull)).await;
    assert_eq!(stand.transport.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_keeps_what_it_has_and_goes_on_later() {
    let mut stand = Stand::new(origin(SIZE));
    let handle = stand.start(job());
    stand.transport.bytes_reach(MIB).await;
    stand.disk.set_capacity(0);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::DiskFull));
    stand.disk.set_capacity(u64::MAX);
    let ran = stand.check(job(), Want::File(0, SIZE)).await;
    assert!(
        ran.done().resumed_bytes >= MIB / 2,
        "{}",
        ran.done().resumed_bytes
    );
    let twice = stand.transport.bytes_sent() - SIZE;
    assert!(twice <= 512 * KIB, "{twice} bytes twice");
}

/// Told once, and no reason to stop.
#[tokio::test(start_paused = true)]
async fn a_disk_that_is_nearly_full_is_told_once() {
    let told = |ran: &super::stand::Ran| -> Vec<(u64, u64)> {
        let low = ran.events.iter().filter_map(|event| match event.what {
            What::DiskLow { available, missing } => Some((available, missing)),
            _ => None,
        });
        low.collect()
    };
    let slow = || origin(SIZE).pace(Rate::per_second(64 * KIB));
    let mut stand = Stand::new(slow());
    let ran = stand.check(job(), Want::File(0, SIZE)).await;
    assert_eq!(told(&ran), []);

    let mut stand = Stand::new(slow());
    stand.disk.set_capacity(8 * MIB);
    let ran = stand.check(job(), Want::File(0, SIZE)).await;
    let [(available, SIZE)] = told(&ran)[..] else {
        panic!("{:?}", told(&ran));
    };
    assert!(available > 7 * MIB && available <= 8 * MIB);

    let mut stand = Stand::new(slow());
    let handle = stand.start(job());
    stand.transport.bytes_reach(KIB).await;
    stand.disk.set_capacity(32 * MIB);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    assert_eq!(told(&ran), [], "room was reserved, so nobody else takes it");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_unforeseen_is_told() {
    let chunked = || {
        origin(SIZE)
            .framing(Framing::Chunked)
            .ranges(Ranges::Ignored)
    };
    let mut stand = Stand::new(chunked());
    stand.disk.set_capacity(MIB);
    let ran = stand.run(job()).await;
    assert_eq!(ran.result.expect_err("it is full").kind(), Kind::DiskFull);
    assert!(!stand.exists(NAME));
    stand.disk.set_capacity(u64::MAX);
    stand.check(job(), Want::File(0, SIZE)).await;
}

#[tokio::test(start_paused = true)]
async fn short_and_interrupted_writes_lose_nothing() {
    for seed in 1..=6 {
        let mut stand = Stand::new(origin(SIZE));
        stand.disk.write_short(seed);
        stand.check(job(), Want::File(0, SIZE)).await;
    }
}

/// Fails the first, second, … call until a download makes fewer. Says how many that were.
async fn fail_each_call(behaviour: Behaviour, how: ErrorKind) -> u64 {
    let size = behaviour.size;
    let mut k = 1;
    loop {
        let mut stand = Stand::new(behaviour.clone());
        stand.disk.fail_call(k, how);
        let ran = stand.run(again()).await;
        let made = stand.disk.calls();
        stand.disk.fail_call(u64::MAX, how);
        if let Err(error) = &ran.result {
            assert_ne!(error.kind(), Kind::Other, "call {k}: {error}");
            assert_ne!(how, ErrorKind::Interrupted, "call {k}: {error}");
        }
        // After a rename that could not be synced the file is there: whole, like every file under its name.
        if ran.result.is_ok() || stand.exists(NAME) {
            stand.assert_file(NAME, 0, size);
            assert!(!stand.exists("file.bin.part"), "call {k}");
        }
        let next = stand.run(again()).await;
        assert!(
            next.result.is_ok(),
            "after call {k}: {:?}, before: {:?}",
            next.result,
            ran.result
        );
        stand.assert_left(&next, Want::File(0, size));
        if made < k {
            return made;
        }
        k += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn any_call_may_fail() {
    let small = origin(192 * KIB);
    for how in [
        ErrorKind::Other,
        ErrorKind::StorageFull,
        ErrorKind::PermissionDenied,
    ] {
        let calls = fail_each_call(small.clone(), how).await;
        assert!(calls > 20, "{calls} calls were tried");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_call_is_made_again() {
    fail_each_call(origin(192 * KIB), ErrorKind::Interrupted).await;
}

/// So slow that checkpoints run while bytes arrive, each time a few.
#[tokio::test(start_paused = true)]
async fn any_call_may_fail_while_checkpoints_run() {
    let slow = Behaviour::new(256 * KIB)
        .ranges(Ranges::ShortAtMost(64 * KIB))
        .first_byte(Duration::from_secs(3));
    let calls = fail_each_call(slow, ErrorKind::Other).await;
    assert!(calls > 30, "{calls} calls were tried");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_somebody_cuts_off_are_fetched_again() {
    for left in [0, 100_000, MIB] {
        let mut stand = Stand::new(Behaviour::new(SIZE).pace(Rate::per_second(256 * KIB)));
        let handle = stand.start(job());
        stand.transport.bytes_reach(SIZE * 3 / 4).await;
        let dir = stand.disk.open_dir(Path::new(DIR), false).expect("there");
        let part = stand
            .disk
            .open(&dir, "file.bin.part", Open::Existing)
            .expect("there");
        stand.disk.set_len(&part, left).expect("cut");
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, SIZE));
        assert!(stand.transport.bytes_sent() > SIZE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_somebody_removes_is_told() {
    let mut stand = Stand::new(Behaviour::new(SIZE).pace(Rate::per_second(256 * KIB)));
    let handle = stand.start(job());
    stand.transport.bytes_reach(SIZE / 2).await;
    let dir = stand.disk.open_dir(Path::new(DIR), false).expect("there");
    stand.disk.unlink(&dir, "file.bin.part").expect("removed");
    let ran = stand.end(handle).await;
    assert_eq!(ran.result.expect_err("it is gone").kind(), Kind::Local);
    assert!(!stand.exists(NAME));
    stand.check(job(), Want::File(0, SIZE)).await;
}

/// The bytes are written where they belong all the same, and a disk that fills is told by the write that does not fit.
#[tokio::test(start_paused = true)]
async fn r170_a_disk_that_reserves_nothing() {
    let mut stand = Stand::new(origin(SIZE));
    stand.disk.reserve_nothing();
    stand.check(job(), Want::File(0, SIZE)).await;

    let mut stand = Stand::new(origin(SIZE));
    stand.disk.reserve_nothing();
    let handle = stand.start(job());
    stand.transport.bytes_reach(MIB).await;
    stand.disk.set_capacity(0);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::Part(Kind::DiskFull));
    stand.disk.set_capacity(u64::MAX);
    stand.check(job(), Want::File(0, SIZE)).await;
}
