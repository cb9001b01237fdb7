//! A part from opening to commit, on the disk in memory and on the real one.

mod common;

use common::*;
use tur_core::{RangeSet, Wall};
use tur_storage::{Disk, Exists, Found, MemDisk, Place, PosixDisk, survey};

const TOTAL: u64 = 20_000;

fn a_download_is_written_kept_and_committed<D: Disk>(disk: impl Fn() -> D, place: &Place) {
    let opened = open(disk(), place);
    assert!(opened.saved.is_none());
    let part = opened.part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, 5_000)).unwrap();
    let mut lane = part.writer(1, 7, range(10_000, TOTAL));
    write(&mut lane, 1, 3_000).unwrap();
    assert_eq!(lane.cursor(), 13_000);
    assert_eq!(part.covered(), set(&[(0, 5_000), (10_000, 13_000)]));
    assert_eq!(part.frontier(), 5_000);
    let durable = part.checkpoint().unwrap().run().unwrap();
    assert_eq!(durable.ranges(), &part.covered());
    write(&mut lane, 1, 500).unwrap();
    part.stop().unwrap();
    drop((lane, part));

    let opened = open(disk(), place);
    let saved = opened.saved.unwrap();
    assert_eq!(saved.claimed, set(&[(0, 5_000), (10_000, 13_500)]));
    assert_eq!((saved.url.as_str(), tag_of(&saved.identity)), (URL, 1));
    assert_eq!(saved.notes, Vec::<String>::new());
    let part = opened.part;
    part.begin(URL, &saved.identity, true).unwrap();
    for (slot, gap) in part.covered().gaps(range(0, TOTAL)).iter().enumerate() {
        fill(&part, slot as u16, 1, gap).unwrap();
    }
    assert_eq!(part.check().unwrap(), RangeSet::new());
    let at = Wall::from_unix_secs(1_700_000_000);
    let path = part.commit(TOTAL, Exists::Refuse, Some(at)).unwrap();
    assert_eq!(path, place.dir.join("file"));
    let found = survey(&disk(), place).unwrap();
    let (len, modified) = (TOTAL, at);
    assert_eq!(found, Found::File { len, modified });
    assert_eq!(
        content(&disk(), place, "file").unwrap(),
        body(1, range(0, TOTAL))
    );
    assert_eq!(content(&disk(), place, "file.part"), None);
    assert_eq!(content(&disk(), place, "file.tur"), None);
}

#[test]
fn written_kept_and_committed() {
    let mem = MemDisk::new();
    a_download_is_written_kept_and_committed(|| mem.clone(), &place("/d"));
    let dir = tempfile::tempdir().unwrap();
    a_download_is_written_kept_and_committed(|| PosixDisk, &place(dir.path().join("a/b")));
}
