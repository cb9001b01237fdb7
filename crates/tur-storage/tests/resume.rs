//! What opening finds of a killed process, and what it costs to find it.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use common::{URL, fill, identity, open, place, range, write};
use tur_storage::{Loss, MemDisk};

const MIB: u64 = 1 << 20;

#[test]
fn bytes_are_read_once_however_many_records_tell_of_them() {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    part.begin(URL, &identity(1, 24 * MIB), false).unwrap();
    for start in (0..24).step_by(4) {
        fill(&part, 0, 1, range(start * MIB, (start + 4) * MIB)).unwrap();
    }
    part.checkpoint().unwrap().run().unwrap();
    part.stop().unwrap();
    drop(part);
    for loss in [Loss::Nothing, Loss::Unsynced] {
        let found = disk.crash(disk.changes(), loss);
        let before = found.calls();
        let opened = open(found.clone(), &place("/d"));
        // A call reads a MiB; opening makes a dozen of other calls.
        let calls = found.calls() - before;
        assert!((24..40).contains(&calls), "{loss:?}: {calls} calls");
        assert_eq!(opened.saved.unwrap().claimed.len(), 24 * MIB);
    }
}

#[test]
fn a_kill_takes_a_mib_at_most_from_a_lane_without_a_slot() {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    let lease = 2 * MIB;
    part.begin(URL, &identity(1, 130 * lease), false).unwrap();
    let mut lanes: Vec<_> = (0..130_u16)
        .map(|lane| {
            let start = u64::from(lane) * lease;
            part.writer(lane, lane.into(), range(start, start + lease))
        })
        .collect();
    // Lanes with a slot write little, so that the test is quick; those without write 100 KiB at a time.
    for lane in &mut lanes[..120] {
        write(lane, 1, 1_000).unwrap();
    }
    for _ in 0..15 {
        for lane in &mut lanes[120..] {
            write(lane, 1, 100 << 10).unwrap();
        }
    }
    let killed = disk.crash(disk.changes(), Loss::Nothing);
    let claimed = open(killed, &place("/d")).saved.unwrap().claimed;
    for lane in &lanes {
        let start = lane.range().start;
        let kept = claimed.intersect(range(start, lane.cursor())).len();
        let lost = lane.cursor() - start - kept;
        let slot = start / lease < 126;
        assert!(
            if slot { lost == 0 } else { lost < MIB },
            "{start}: {lost} lost"
        );
    }
    // And what a checkpoint saves of them is as good as that of others.
    part.checkpoint().unwrap().run().unwrap();
    let cut = disk.crash(disk.changes(), Loss::Unsynced);
    assert_eq!(
        open(cut, &place("/d")).saved.unwrap().claimed,
        part.covered()
    );
}
