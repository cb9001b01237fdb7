//! Short files that wait in memory: no journal, nothing of them under any name before they are whole, and nothing lost
//! that would not be lost otherwise.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::io::ErrorKind;

use common::{URL, body, content, fill, identity, open, place, range, tag_of};
use tur_core::{ByteRange, Identity, Wall};
use tur_storage::{Disk, Exists, FileDisk, MemDisk, Open, Part, StorageError};

const TOTAL: u64 = 9_000;
/// The longest that waits in memory.
const LONGEST: u64 = 128 << 10;

fn lazily(disk: &MemDisk) -> Part<MemDisk> {
    let opened = Part::open_lazily(disk.clone(), &place("/d"), URL).unwrap();
    assert_eq!(opened.saved, None);
    opened.part
}

fn names(disk: &MemDisk) -> Vec<String> {
    disk.names("/d".as_ref())
}

#[test]
fn a_short_file_has_no_journal_and_appears_whole() {
    let disk = MemDisk::new();
    let part = lazily(&disk);
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    assert_eq!(names(&disk), ["file.part"]);
    assert_eq!(content(&disk, &place("/d"), "file.part").unwrap(), b"");
    assert_eq!(part.check().unwrap().len(), 0, "nothing was cut");
    let day = Wall::from_unix_secs(86_400);
    part.commit(TOTAL, Exists::Refuse, Some(day)).unwrap();
    assert_eq!(names(&disk), ["file"]);
    let whole = content(&disk, &place("/d"), "file").unwrap();
    assert!(whole == body(1, range(0, TOTAL)));
    let dir = disk.open_dir("/d".as_ref(), false).unwrap();
    let stat = disk.stat_at(&dir, "file").unwrap();
    assert_eq!((stat.mode, stat.modified), (0o644, day));
}

#[test]
fn only_short_files_whose_length_is_known_wait() {
    for (total, waits) in [
        (Some(0), true),
        (Some(LONGEST), true),
        (Some(LONGEST + 1), false),
        (None, false),
    ] {
        let disk = MemDisk::new();
        let part = lazily(&disk);
        let identity = Identity {
            total,
            ..identity(1, 0)
        };
        part.begin(URL, &identity, false).unwrap();
        assert_eq!(names(&disk).len(), if waits { 1 } else { 2 }, "{total:?}");
        fill(&part, 0, 1, range(0, total.unwrap_or(5))).unwrap();
        part.commit(total.unwrap_or(5), Exists::Refuse, None)
            .unwrap();
        assert_eq!(names(&disk), ["file"], "{total:?}");
    }
}

#[test]
fn what_is_held_is_read_forgotten_and_written_again() {
    let disk = MemDisk::new();
    let part = lazily(&disk);
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 9, range(0, TOTAL)).unwrap();
    let mut into = vec![0; 100];
    assert_eq!(part.read_at(TOTAL - 40, &mut into).unwrap(), 40);
    assert!(into[..40] == body(9, range(TOTAL - 40, TOTAL)));
    part.forget(ByteRange::from(0)).unwrap();
    assert!(part.covered().is_empty());
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    part.commit(TOTAL, Exists::Refuse, None).unwrap();
    let whole = content(&disk, &place("/d"), "file").unwrap();
    assert!(whole == body(1, range(0, TOTAL)));
}

#[test]
fn a_stop_and_a_checkpoint_leave_what_any_part_leaves() {
    for stops in [true, false] {
        let disk = MemDisk::new();
        let part = lazily(&disk);
        part.begin(URL, &identity(1, TOTAL), false).unwrap();
        let mut writer = part.writer(0, 1, range(0, TOTAL));
        common::write(&mut writer, 1, 3_000).unwrap();
        if stops {
            part.stop().unwrap();
        } else {
            let durable = part.checkpoint().unwrap().run().unwrap();
            assert_eq!(durable.ranges().len(), 3_000);
        }
        // The writer goes on, in the part by now, and its slot vouches for it.
        common::write(&mut writer, 1, 1_000).unwrap();
        let left = disk.crash(disk.changes(), tur_storage::Loss::Nothing);
        let saved = open(left, &place("/d")).saved.unwrap();
        assert_eq!((saved.claimed.len(), tag_of(&saved.identity)), (4_000, 1));
        common::write(&mut writer, 1, 5_000).unwrap();
        drop(writer);
        part.commit(TOTAL, Exists::Refuse, None).unwrap();
        assert_eq!(names(&disk), ["file"]);
        let whole = content(&disk, &place("/d"), "file").unwrap();
        assert!(whole == body(1, range(0, TOTAL)));
    }
}

#[test]
fn who_comes_second_is_told_and_a_kill_leaves_nothing_in_the_way() {
    let disk = MemDisk::new();
    let part = lazily(&disk);
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    for second in [
        Part::open(disk.clone(), &place("/d"), URL),
        Part::open_lazily(disk.clone(), &place("/d"), URL),
    ] {
        let error = second.err().unwrap();
        assert!(matches!(error, StorageError::Busy { .. }), "{error}");
    }
    drop(part);
    // The process is gone, its empty part is not.
    assert_eq!(names(&disk), ["file.part"]);
    let part = lazily(&disk);
    part.discard().unwrap();
    assert!(names(&disk).is_empty());
}

#[test]
fn an_empty_part_that_a_complete_file_has_left_is_swept_away() {
    let disk = MemDisk::new();
    drop(lazily(&disk));
    Part::sweep(disk.clone(), &place("/d")).unwrap();
    assert!(names(&disk).is_empty());
}

/// Each call of a commit fails once. Either the file is whole, or the next process finds all of it and says so.
#[test]
fn a_commit_that_fails_keeps_what_was_fetched() {
    for overwrites in [false, true] {
        for k in 1.. {
            let disk = MemDisk::new();
            let part = lazily(&disk);
            part.begin(URL, &identity(1, TOTAL), false).unwrap();
            fill(&part, 0, 1, range(0, TOTAL)).unwrap();
            let exists = if overwrites {
                let dir = disk.open_dir("/d".as_ref(), false).unwrap();
                drop(disk.open(&dir, "file", Open::New(0o600)).unwrap());
                Exists::Overwrite
            } else {
                Exists::Refuse
            };
            let before = disk.calls();
            disk.fail_call(k, ErrorKind::Other);
            let committed = part.commit(TOTAL, exists, None);
            let calls = disk.calls() - before;
            disk.fail_call(u64::MAX, ErrorKind::Other);
            if committed.is_err()
                && content(&disk, &place("/d"), "file").is_none_or(|f| f.is_empty())
            {
                let gone = !names(&disk).contains(&"file.part".into());
                let opened = open(disk.clone(), &place("/d"));
                let saved = opened.saved.map_or(0, |saved| saved.claimed.len());
                // A look that fails at first changes nothing. Where only part and journal are a way, they must be made, and a
                // sync of the part that fails is the end of what it was to save.
                let lost = matches!(committed, Err(StorageError::Lost { .. }));
                let excused = k == 1 || (overwrites && (gone || lost));
                assert!(saved == TOTAL || excused, "call {k}: {saved} bytes");
            } else {
                let whole = content(&disk, &place("/d"), "file").unwrap();
                assert!(whole == body(1, range(0, TOTAL)), "call {k}");
            }
            if calls < k {
                assert!(committed.is_ok() && k > 8, "{k} calls were tried");
                break;
            }
        }
    }
}

#[test]
fn on_the_real_disk_too() {
    for (kind, root) in common::kinds_and_roots() {
        let dir = tempfile::tempdir_in(root).unwrap();
        let place = place(dir.path());
        let disk = FileDisk::new(kind);
        for (tag, exists, name) in [
            (1, Exists::Refuse, "file"),
            (2, Exists::Rename, "file.1"),
            (3, Exists::Overwrite, "file"),
        ] {
            let part = Part::open_lazily(disk, &place, URL).unwrap().part;
            part.begin(URL, &identity(tag, TOTAL), false).unwrap();
            fill(&part, 0, tag, range(0, TOTAL)).unwrap();
            let path = part.commit(TOTAL, exists, None).unwrap();
            assert_eq!(path, dir.path().join(name), "{kind:?}");
            let whole = content(&disk, &place, name).unwrap();
            assert!(whole == body(tag, range(0, TOTAL)), "{kind:?}");
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 2, "{kind:?}");
    }
}
