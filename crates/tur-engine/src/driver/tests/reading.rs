//! Downloads that are read while they arrive: what a seek costs, what a window holds back, and how readers hear of an end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tur_core::{ByteRange, Chunks, Kind, RangeSet, Rate};
use tur_storage::{FileName, Opened, Part, Place, Stay};
use tur_testkit::{Behaviour, Deed, Gate, Ranges, When, content};

use super::stand::{DIR, KIB, MIB, NAME, RTT, Stand, Want, job, origin};
use crate::job::Job;
use crate::reading::Core;
use crate::{Handle, LaneState, OnChange, Reading, Status, What};

const SIZE: u64 = 32 * MIB;

impl Stand {
    /// Begins a download that is read.
    fn read_while(&mut self, job: Job) -> (Handle, Reading) {
        let core = Core::new();
        let reading = Reading::new(Arc::clone(&core));
        let job = Job {
            reading: Some(core),
            ..job
        };
        (self.start(job), reading)
    }
}

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end)
}

fn window(start: u64, end: u64) -> Option<RangeSet> {
    Some(RangeSet::from_iter([range(start, end)]))
}

/// Waits for a range and compares its bytes with the origin's.
async fn assert_read(reading: &Reading, version: u8, range: ByteRange) {
    reading.wait(None, range).await.expect("it comes");
    let mut have = vec![0; usize::try_from(range.len()).expect("short")];
    let came = reading
        .read_at(reading.version(), range.start, &mut have)
        .expect("it reads");
    assert_eq!(came as u64, range.len());
    assert!(have == content(version, range), "{range}");
}

/// A seek far away while lanes are busy: the spare one asks at once, on the connection that it has.
#[tokio::test(start_paused = true)]
async fn a_seek_into_a_hole_answers_within_two_round_trips_and_stops_nobody() {
    for lanes in [2, 3, 8] {
        let mut stand = Stand::new(origin(SIZE).pace(Rate::per_second(MIB)));
        let (handle, reading) = stand.read_while(Job {
            lanes_max: lanes,
            ..job()
        });
        stand.pass(Duration::from_secs(1)).await;
        // Behind all that has been begun.
        let at = reading.covered().iter().next_back().expect("bytes").end + 3 * MIB + 7;
        let before = (stand.clock.now(), stand.transport.connections());
        let _demand = reading.demand(range(at, at + 256 * KIB));
        reading
            .wait(None, range(at, at + 1))
            .await
            .expect("it comes");
        let took = stand.clock.now().since(before.0);
        assert!(took <= 2 * RTT, "{lanes} lanes: {took:?}");
        assert_eq!(stand.transport.connections(), before.1, "it was warm");
        assert_read(&reading, 0, range(at, at + 1000)).await;
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, SIZE));
        let twice = stand.transport.bytes_sent() - SIZE;
        assert!(twice <= SIZE / 50, "{lanes} lanes: {twice} bytes twice");
    }
}

/// One lane is all that is allowed: it goes where it is wanted, and fills the gap afterwards.
#[tokio::test(start_paused = true)]
async fn a_single_lane_goes_where_the_reader_is() {
    let mut stand = Stand::new(origin(SIZE).pace(Rate::per_second(MIB)));
    let (handle, reading) = stand.read_while(Job {
        lanes_max: 1,
        ..job()
    });
    stand.pass(Duration::from_secs(1)).await;
    let before = stand.clock.now();
    let demand = reading.demand(range(20 * MIB, 21 * MIB));
    assert_read(&reading, 0, range(20 * MIB, 20 * MIB + 10)).await;
    let took = stand.clock.now().since(before);
    assert!(took <= 5 * RTT, "{took:?}");
    drop(demand);
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    assert!(stand.transport.bytes_sent() - SIZE <= SIZE / 50);
    assert_eq!(stand.transport.sockets_peak(), 1);
}

/// What lies outside the window is not asked for, however long; that is no stall; and it all comes when it is opened.
#[tokio::test(start_paused = true)]
async fn a_window_stops_the_lanes_without_a_stall() {
    let mut stand = Stand::new(origin(SIZE));
    stand.room = 100_000;
    let (handle, reading) = stand.read_while(job());
    reading.set_window(window(0, 4 * MIB), RangeSet::new());
    reading
        .wait(None, range(0, 4 * MIB))
        .await
        .expect("it comes");
    stand.pass(Duration::from_secs(600)).await;
    let covered = reading.covered();
    assert_eq!(covered.frontier(), 4 * MIB);
    assert_eq!(covered.len(), 4 * MIB, "{covered:?}");
    assert_eq!(handle.progress().lanes, 0);
    // Two readers: what is between them is not wanted.
    let two = [range(4 * MIB, 5 * MIB), range(20 * MIB, 21 * MIB)];
    reading.set_window(Some(two.into_iter().collect()), RangeSet::new());
    for part in two {
        assert_read(&reading, 0, part).await;
    }
    stand.pass(Duration::from_secs(60)).await;
    assert_eq!(reading.covered().len(), 6 * MIB);
    reading.set_window(None, RangeSet::new());
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    assert_eq!(stand.transport.bytes_sent(), SIZE, "no byte twice");
    let stalls = ran.count(|what| matches!(what, What::Stalled { .. }));
    assert_eq!(stalls, 0);
}

/// An origin without ranges has one stream: where what comes is not kept, it comes no faster than it is read, which is no
/// stall either. Where it is kept it comes as it may.
#[tokio::test(start_paused = true)]
async fn a_stream_without_ranges_waits_for_who_reads_it_where_nothing_is_kept() {
    for stay in [Stay::Passing, Stay::Kept] {
        let mut stand = Stand::new(origin(SIZE).ranges(Ranges::Ignored));
        stand.room = 100_000;
        let (handle, reading) = stand.read_while(Job { stay, ..job() });
        reading.set_window(window(0, 4 * MIB), RangeSet::new());
        assert_read(&reading, 0, range(0, 4 * MIB)).await;
        stand.pass(Duration::from_secs(600)).await;
        let covered = reading.covered();
        assert_eq!(covered.len() < 5 * MIB, stay == Stay::Passing);
        if stay == Stay::Passing {
            assert_eq!(handle.progress().lane_map[0].state, LaneState::Held);
        }
        // Who waits for what lies beyond the window is not left alone.
        let demand = reading.demand(range(20 * MIB, 20 * MIB + 1));
        assert_read(&reading, 0, range(20 * MIB, 20 * MIB + 1)).await;
        drop(demand);
        stand.pass(Duration::from_secs(600)).await;
        assert_eq!(reading.covered().len() < 21 * MIB, stay == Stay::Passing);
        reading.set_window(None, RangeSet::new());
        let ran = stand.end(handle).await;
        stand.assert_left(&ran, Want::File(0, SIZE));
        // The first request was for a part, and its answer too much of it.
        let twice = stand.transport.bytes_sent() - SIZE;
        assert!(twice <= 4 * MIB, "{twice} bytes twice");
        let stalls = ran.count(|what| matches!(what, What::Stalled { .. } | What::Retrying { .. }));
        assert_eq!(stalls, 0);
    }
}

/// Leaves what a process leaves that dies before it puts a file in place of which it has every byte.
async fn leave_whole(stand: &mut Stand) {
    let (handle, reading) = stand.read_while(job());
    assert_read(&reading, 0, range(0, MIB)).await;
    handle.cancel();
    stand.end(handle).await.result.expect_err("it is cancelled");
    let place = Place {
        dir: DIR.into(),
        name: FileName::new(NAME).expect("a name"),
        create_dirs: false,
    };
    let url = "http://origin.test/file.bin";
    let opened = Part::open(stand.disk.clone(), &place, url).expect("it opens");
    let Opened { part, saved, .. } = opened;
    let identity = saved.expect("it has begun").identity;
    part.begin(url, &identity, true).expect("it goes on");
    let gaps = part.covered().gaps(range(0, SIZE));
    for (gap, slot) in gaps.iter().zip(0..) {
        let mut writer = part.writer(slot, u32::from(slot), gap);
        let mut chunks = Chunks::new();
        chunks.push(Bytes::from(content(0, gap)));
        let len = usize::try_from(gap.len()).expect("short");
        writer.write(&mut chunks, len).expect("it is written");
        writer.finish().expect("it is claimed");
    }
    part.stop().expect("it is left");
}

/// Its last byte is asked for again, which lies outside of the window.
#[tokio::test(start_paused = true)]
async fn a_window_in_what_was_left_whole_is_read_once_that_is_confirmed() {
    let mut stand = Stand::new(origin(SIZE));
    leave_whole(&mut stand).await;
    let before = stand.transport.bytes_sent();
    let (handle, reading) = stand.read_while(job());
    reading.set_window(window(0, MIB), RangeSet::new());
    let read = assert_read(&reading, 0, range(0, MIB));
    timeout(Duration::from_secs(60), read)
        .await
        .expect("in time");
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    assert_eq!(stand.transport.bytes_sent() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_never_read() {
    let gate = Gate::at(64 * KIB);
    let mut stand = Stand::new(origin(SIZE).rule(When::Always, Deed::Hold(gate.clone())));
    let (handle, reading) = stand.read_while(job());
    assert_read(&reading, 0, range(0, 64 * KIB)).await;
    let mut into = [7; 100];
    let of = reading.version();
    assert_eq!(reading.read_at(of, 64 * KIB, &mut into).ok(), Some(0));
    assert_eq!(reading.read_at(of, 64 * KIB - 10, &mut into).ok(), Some(10));
    assert_eq!(reading.read_at(of, SIZE, &mut into).ok(), Some(0));
    assert_eq!(reading.len(), Some(SIZE));
    gate.open();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, SIZE));
    assert_read(&reading, 0, range(0, MIB)).await;
    assert!(matches!(reading.status(), Status::Committed { len: SIZE }));
}

/// A short file waits in memory until it is whole, and has another inode then: its readers notice neither.
#[tokio::test(start_paused = true)]
async fn a_short_file_is_read_before_and_after_its_commit() {
    let gate = Gate::at(10_000);
    let size = 100_000;
    let mut stand = Stand::new(Behaviour::new(size).rule(When::Always, Deed::Hold(gate.clone())));
    let (handle, reading) = stand.read_while(job());
    assert_read(&reading, 0, range(0, 10_000)).await;
    gate.open();
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(0, size));
    assert_read(&reading, 0, range(0, size)).await;
}

/// The file was there: it is read from the disk, and asked about with one request.
#[tokio::test(start_paused = true)]
async fn a_complete_file_is_read_where_it_is() {
    let dated = Behaviour::new(MIB).last_modified(Some(tur_testkit::TODAY));
    let mut stand = Stand::new(dated);
    stand.check(job(), Want::File(0, MIB)).await;
    let requests = stand.transport.requests();
    let (handle, reading) = stand.read_while(job());
    let ran = stand.end(handle).await;
    assert!(ran.done().already);
    assert_eq!(stand.transport.requests(), requests + 1);
    assert_read(&reading, 0, range(0, MIB)).await;
    assert_eq!(reading.len(), Some(MIB));
}

#[tokio::test(start_paused = true)]
async fn readers_hear_why_it_is_over() {
    for dropped in [false, true] {
        let mut stand = Stand::new(origin(SIZE).pace(Rate::per_second(MIB)));
        let (handle, reading) = stand.read_while(job());
        reading.wait(None, range(0, KIB)).await.expect("it comes");
        let wait = reading.wait(Some(reading.version()), range(SIZE - 1, SIZE));
        if dropped {
            drop(handle);
        } else {
            handle.cancel();
        }
        let error = wait.await.expect_err("it does not come");
        assert_eq!(error.kind(), Kind::Signal);
        stand.settle().await;
        assert!(matches!(reading.status(), Status::Failed { .. }));
        assert!(reading.read_at(reading.version(), 0, &mut [0; 8]).is_err());
        // The part is free for the next one, although somebody still holds a reading.
        let ran = stand.run(job()).await;
        assert!(ran.done().resumed_bytes > 0);
        stand.assert_file(NAME, 0, SIZE);
    }
}

/// The representation changes under a reader: never a splice. Who has read nothing yet reads the new one.
#[tokio::test(start_paused = true)]
async fn a_change_ends_those_who_have_read_and_no_others() {
    let changes = origin(SIZE)
        .rule(When::Only(1), Deed::CutAfter(MIB))
        .changes_after(1, 1);
    let mut stand = Stand::new(changes);
    let (handle, reading) = stand.read_while(Job {
        on_change: OnChange::Restart,
        ..job()
    });
    reading.wait(None, range(0, KIB)).await.expect("it comes");
    let old = reading.version();
    let error = reading
        .wait(Some(old), range(SIZE - 1, SIZE))
        .await
        .expect_err("it changed");
    assert_eq!(error.kind(), Kind::Changed);
    let error = reading
        .read_at(old, 0, &mut [0; 8])
        .expect_err("it changed");
    assert_eq!(error.kind(), Kind::Changed);
    assert_read(&reading, 1, range(SIZE - KIB, SIZE)).await;
    let ran = stand.end(handle).await;
    stand.assert_left(&ran, Want::File(1, SIZE));
}

/// What an earlier run left is not shown before the origin has confirmed that it is the same file.
#[tokio::test(start_paused = true)]
async fn bytes_of_an_earlier_run_are_read_once_they_are_confirmed() {
    let mut stand = Stand::new(origin(SIZE).pace(Rate::per_second(MIB)));
    let (handle, reading) = stand.read_while(job());
    reading.wait(None, range(0, MIB)).await.expect("it comes");
    drop(handle);
    stand.settle().await;
    let gate = Gate::at(0);
    let held = origin(SIZE).rule(When::Always, Deed::HoldHead(gate.clone()));
    stand.transport.swap(super::stand::PATH, held);
    let (handle, reading) = stand.read_while(job());
    stand.pass(Duration::from_secs(5)).await;
    assert!(!reading.is_open() && reading.covered().is_empty());
    gate.open();
    assert_read(&reading, 0, range(0, MIB)).await;
    let ran = stand.end(handle).await;
    assert!(ran.done().resumed_bytes >= MIB);
    stand.assert_left(&ran, Want::File(0, SIZE));
}
