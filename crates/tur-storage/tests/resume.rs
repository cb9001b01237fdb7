//! What opening finds of a killed process, and what it costs to find it.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use common::{URL, fill, identity, open, place, range};
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
