//! A part from opening to commit, on the disk in memory and on the real one.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::io::ErrorKind;
use std::path::Path;

use common::{URL, body, content, fill, identity, open, place, range, set, tag_of, write};
use tur_core::{Chunks, Kind, RangeSet, Wall};
use tur_storage::{
    Disk, Exists, FileDisk, FileKind, Found, Loss, MemDisk, Open, Opened, Part, Place, PosixDisk,
    StorageError, survey,
};

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
    // The bytes of the earlier process become durable too.
    let durable = part.checkpoint().unwrap().run().unwrap();
    assert_eq!(durable.ranges(), &set(&[(13_000, 13_500)]));
    for (slot, gap) in part.covered().gaps(range(0, TOTAL)).iter().enumerate() {
        fill(&part, slot as u16, 1, gap).unwrap();
    }
    assert_eq!(part.check().unwrap(), RangeSet::new());
    let mut last = [0; 10];
    assert_eq!(part.read_at(TOTAL - 5, &mut last).unwrap(), 5);
    assert_eq!(&last[..5], body(1, range(TOTAL - 5, TOTAL)));
    let at = Wall::from_unix_secs(1_700_000_000);
    let path = part.commit(TOTAL, Exists::Refuse, Some(at)).unwrap();
    assert_eq!(path, place.dir.join("file"));
    let found = survey(&disk(), place).unwrap();
    let Found::File { len, modified, .. } = found else {
        panic!("{found:?}");
    };
    assert_eq!((len, modified), (TOTAL, at));
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
    let short = MemDisk::new();
    short.write_short(5);
    a_download_is_written_kept_and_committed(|| short.clone(), &place("/d"));
    let dir = tempfile::tempdir().unwrap();
    a_download_is_written_kept_and_committed(|| PosixDisk, &place(dir.path().join("a/b")));
    for (kind, root) in common::kinds_and_roots() {
        let dir = tempfile::tempdir_in(&root).unwrap();
        let disk = FileDisk::new(kind);
        a_download_is_written_kept_and_committed(|| disk, &place(dir.path().join("a/b")));
    }
}

/// An open part in memory that has begun representation 1.
fn begun() -> (MemDisk, Part<MemDisk>) {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    (disk, part)
}

/// A part in memory with every byte.
fn complete() -> (MemDisk, Part<MemDisk>) {
    let (disk, part) = begun();
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    (disk, part)
}

/// Puts a file with these bytes under a name, as somebody else would.
fn put<D: Disk>(disk: &D, name: &str, dir: &Path, bytes: &[u8]) {
    let dir = disk.open_dir(dir, true).unwrap();
    let file = disk.open(&dir, name, Open::New(0o600)).unwrap();
    disk.write_at(&file, 0, &[std::io::IoSlice::new(bytes)])
        .unwrap();
}

fn refused<D: Disk>(disk: D, place: &Place) -> StorageError {
    match Part::open(disk, place, URL) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[test]
fn a_second_process_is_told_who_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let first = open(PosixDisk, &place);
    let error = refused(PosixDisk, &place);
    assert_eq!(error.kind(), Kind::Busy);
    let pid = std::process::id();
    assert!(
        error.to_string().contains(&format!("by process {pid}:")),
        "{error}"
    );
    drop(first);
    open(PosixDisk, &place);
}

#[test]
fn a_part_without_a_journal_is_somebody_elses() {
    let disk = MemDisk::new();
    put(&disk, "file.part", Path::new("/d"), b"precious");
    let error = refused(disk.clone(), &place("/d"));
    assert_eq!(error.kind(), Kind::Local);
    assert!(
        error.to_string().contains("exists and is not ours"),
        "{error}"
    );
    assert_eq!(
        content(&disk, &place("/d"), "file.part").unwrap(),
        b"precious"
    );
    assert_eq!(content(&disk, &place("/d"), "file.tur"), None);
}

#[test]
fn a_file_that_only_has_the_journals_name_is_not_overwritten() {
    let disk = MemDisk::new();
    put(&disk, "file.tur", Path::new("/d"), b"precious");
    assert!(matches!(
        refused(disk.clone(), &place("/d")),
        StorageError::Foreign { .. }
    ));
    assert_eq!(
        content(&disk, &place("/d"), "file.tur").unwrap(),
        b"precious"
    );
    assert_eq!(content(&disk, &place("/d"), "file.part"), None);
}

#[test]
fn a_damaged_journal_claims_nothing_and_the_part_is_begun_again() {
    for zeros in [0, 10, 5_000] {
        let disk = MemDisk::new();
        put(
            &disk,
            "file.part",
            Path::new("/d"),
            &body(1, range(0, 9_000)),
        );
        put(&disk, "file.tur", Path::new("/d"), &vec![0; zeros]);
        let Opened { part, saved } = open(disk.clone(), &place("/d"));
        assert_eq!(saved, None);
        // Opening alone cut nothing.
        assert_eq!(
            content(&disk, &place("/d"), "file.part").unwrap().len(),
            9_000
        );
        part.begin(URL, &identity(1, 10), false).unwrap();
        assert_eq!(content(&disk, &place("/d"), "file.part").unwrap(), b"");
        fill(&part, 0, 1, range(0, 10)).unwrap();
        part.commit(10, Exists::Refuse, None).unwrap();
        assert_eq!(
            content(&disk, &place("/d"), "file").unwrap(),
            body(1, range(0, 10))
        );
    }
}

#[test]
fn a_part_that_vanished_or_was_cut_is_fetched_again() {
    let (disk, part) = begun();
    fill(&part, 0, 1, range(0, 9_000)).unwrap();
    drop(part);
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    let file = disk.open(&dir, "file.part", Open::Existing).unwrap();
    disk.set_len(&file, 3_000).unwrap();
    drop(file);
    let saved = open(disk.clone(), &place("/d")).saved.unwrap();
    assert_eq!(saved.claimed, set(&[(0, 3_000)]));
    assert_eq!(saved.notes.len(), 1);
    disk.unlink(&dir, "file.part").unwrap();
    let saved = open(disk, &place("/d")).saved.unwrap();
    assert_eq!(saved.claimed, RangeSet::new());
}

#[test]
fn after_a_loss_of_power_only_bytes_with_their_crc_are_kept() {
    let (disk, part) = begun();
    for (slot, at) in [range(0, 1_000), range(5_000, 6_000)]
        .into_iter()
        .enumerate()
    {
        fill(&part, slot as u16, 1, at).unwrap();
    }
    part.checkpoint().unwrap().run().unwrap();
    fill(&part, 2, 1, range(8_000, 9_000)).unwrap();
    let crashed = disk.crash(disk.changes(), Loss::Unsynced);
    let dir = crashed.open_dir(Path::new("/d"), false).unwrap();
    let file = crashed.open(&dir, "file.part", Open::Existing).unwrap();
    let rot = [std::io::IoSlice::new(b"rot")];
    crashed.write_at(&file, 5_500, &rot).unwrap();
    drop(file);
    let Opened { part, saved } = open(crashed.clone(), &place("/d"));
    let saved = saved.unwrap();
    assert_eq!(saved.claimed, set(&[(0, 1_000)]));
    assert_eq!(saved.notes.len(), 1);
    // The proven bytes are on record in this boot, the others never come back.
    part.begin(URL, &saved.identity, true).unwrap();
    drop(part);
    let again = open(crashed, &place("/d")).saved.unwrap();
    assert_eq!((again.claimed, again.notes), (set(&[(0, 1_000)]), vec![]));
}

#[test]
fn what_is_not_a_plain_file_is_refused() {
    for kind in [FileKind::Directory, FileKind::Symlink, FileKind::Special] {
        for name in ["file.part", "file.tur"] {
            let disk = MemDisk::new();
            disk.open_dir(Path::new("/d"), true).unwrap();
            disk.place(Path::new("/d"), name, kind);
            let error = refused(disk.clone(), &place("/d"));
            assert!(matches!(error, StorageError::NotRegular { .. }), "{error}");
            let dir = disk.open_dir(Path::new("/d"), false).unwrap();
            assert_eq!(disk.stat_at(&dir, name).unwrap().kind, kind);
        }
        let disk = MemDisk::new();
        disk.open_dir(Path::new("/d"), true).unwrap();
        disk.place(Path::new("/d"), "file", kind);
        let found = survey(&disk, &place("/d")).unwrap();
        let expected = [Found::Directory, Found::Symlink, Found::Special];
        assert!(expected.contains(&found), "{found:?}");
    }
}

#[test]
fn real_links_and_fifos_are_refused_and_their_goals_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let here = place(dir.path());
    put(&PosixDisk, "victim", dir.path(), b"");
    std::os::unix::fs::symlink("victim", dir.path().join("file.part")).unwrap();
    assert!(matches!(
        refused(PosixDisk, &here),
        StorageError::NotRegular { .. }
    ));
    let handle = PosixDisk.open_dir(dir.path(), false).unwrap();
    PosixDisk.unlink(&handle, "file.part").unwrap();
    let kind = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(&handle, "file.part", kind, mode, 0).unwrap();
    assert!(matches!(
        refused(PosixDisk, &here),
        StorageError::NotRegular { .. }
    ));
    std::os::unix::fs::symlink("victim", dir.path().join("file")).unwrap();
    assert_eq!(survey(&PosixDisk, &here).unwrap(), Found::Symlink);
    assert_eq!(content(&PosixDisk, &here, "victim").unwrap(), b"");
}

#[test]
fn a_directory_is_made_only_if_asked() {
    let missing = Place {
        create_dirs: false,
        ..place("/d")
    };
    let error = refused(MemDisk::new(), &missing);
    assert_eq!(error.kind(), Kind::Local);
    assert_eq!(
        survey(&MemDisk::new(), &place("/d")).unwrap(),
        Found::Nothing
    );
    assert!(survey(&MemDisk::new(), &missing).is_err());
}

#[test]
fn a_commit_needs_every_byte() {
    let (disk, part) = begun();
    fill(&part, 0, 1, range(0, TOTAL - 1)).unwrap();
    let error = part.commit(TOTAL, Exists::Refuse, None).unwrap_err();
    let StorageError::Incomplete { missing, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(missing, set(&[(TOTAL - 1, TOTAL)]));
    assert_eq!(content(&disk, &place("/d"), "file"), None);
    // More than the file is no better, nor is a writer that may still write.
    let (_, part) = complete();
    assert!(part.commit(TOTAL - 1, Exists::Refuse, None).is_err());
    let (disk, part) = complete();
    let lane = part.writer(0, 1, range(0, 0));
    assert!(part.commit(TOTAL, Exists::Refuse, None).is_err());
    drop(lane);
    assert_eq!(content(&disk, &place("/d"), "file"), None);
}

#[test]
fn an_existing_target_is_kept_unless_it_may_go() {
    let (disk, part) = complete();
    put(&disk, "file", Path::new("/d"), b"old");
    put(&disk, "file.1", Path::new("/d"), b"older");
    let error = part.commit(TOTAL, Exists::Refuse, None).unwrap_err();
    assert!(matches!(error, StorageError::Exists { .. }));
    assert_eq!(content(&disk, &place("/d"), "file").unwrap(), b"old");
    let Opened { part, saved } = open(disk.clone(), &place("/d"));
    part.begin(URL, &saved.unwrap().identity, true).unwrap();
    let path = part.commit(TOTAL, Exists::Rename, None).unwrap();
    assert_eq!(path, Path::new("/d/file.2"));
    assert_eq!(content(&disk, &place("/d"), "file.1").unwrap(), b"older");
    assert_eq!(
        content(&disk, &place("/d"), "file.2").unwrap(),
        body(1, range(0, TOTAL))
    );
}

#[test]
fn overwriting_keeps_the_mode_and_takes_plain_files_only() {
    let (disk, part) = complete();
    put(&disk, "file", Path::new("/d"), b"old");
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    let old = disk.open(&dir, "file", Open::Existing).unwrap();
    disk.set_mode(&old, 0o640).unwrap();
    part.commit(TOTAL, Exists::Overwrite, None).unwrap();
    assert_eq!(disk.stat_at(&dir, "file").unwrap().mode, 0o640);
    assert_eq!(
        content(&disk, &place("/d"), "file").unwrap(),
        body(1, range(0, TOTAL))
    );
    for kind in [FileKind::Symlink, FileKind::Directory, FileKind::Special] {
        let (disk, part) = complete();
        disk.place(Path::new("/d"), "file", kind);
        let error = part.commit(TOTAL, Exists::Overwrite, None).unwrap_err();
        assert!(matches!(error, StorageError::NotRegular { .. }), "{error}");
    }
}

#[test]
fn files_are_private_until_the_commit() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let part = open(PosixDisk, &place).part;
    part.begin(URL, &identity(1, 10), false).unwrap();
    let handle = PosixDisk.open_dir(dir.path(), false).unwrap();
    for name in ["file.part", "file.tur"] {
        assert_eq!(PosixDisk.stat_at(&handle, name).unwrap().mode & 0o077, 0);
    }
    fill(&part, 0, 1, range(0, 10)).unwrap();
    part.commit(10, Exists::Refuse, None).unwrap();
    let mode = PosixDisk.stat_at(&handle, "file").unwrap().mode;
    assert_eq!(mode, 0o666 & !PosixDisk.umask());
}

#[test]
fn bytes_cut_off_by_somebody_are_found() {
    let (disk, part) = complete();
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    let file = disk.open(&dir, "file.part", Open::Existing).unwrap();
    disk.set_len(&file, 12_000).unwrap();
    assert_eq!(part.check().unwrap(), set(&[(12_000, TOTAL)]));
    assert_eq!(part.covered(), set(&[(0, 12_000)]));
    // A write behind the cut would hide it: it is found before.
    disk.set_len(&file, 5_000).unwrap();
    fill(&part, 1, 1, range(15_000, 16_000)).unwrap();
    assert_eq!(part.check().unwrap(), set(&[(5_000, 12_000)]));
    assert_eq!(part.covered(), set(&[(0, 5_000), (15_000, 16_000)]));
    let saved = open(disk.crash(disk.changes(), Loss::Nothing), &place("/d")).saved;
    assert_eq!(saved.unwrap().claimed, part.covered());
    for gap in part.covered().gaps(range(0, TOTAL)).iter() {
        fill(&part, 0, 1, gap).unwrap();
    }
    part.commit(TOTAL, Exists::Refuse, None).unwrap();
    assert_eq!(
        content(&disk, &place("/d"), "file").unwrap(),
        body(1, range(0, TOTAL))
    );
}

#[test]
fn a_part_that_was_replaced_is_not_renamed() {
    let (disk, part) = complete();
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    disk.unlink(&dir, "file.part").unwrap();
    assert!(matches!(part.check(), Err(StorageError::Replaced { .. })));
    put(&disk, "file.part", Path::new("/d"), b"other");
    let error = part.commit(TOTAL, Exists::Refuse, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Local);
    assert_eq!(content(&disk, &place("/d"), "file"), None);
    let (disk, part) = complete();
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    disk.rename(&dir, "file.part", "elsewhere", tur_storage::Onto::Free)
        .unwrap();
    put(&disk, "file.part", Path::new("/d"), b"other");
    part.discard().unwrap();
    assert_eq!(content(&disk, &place("/d"), "file.part").unwrap(), b"other");
    assert_eq!(content(&disk, &place("/d"), "file.tur"), None);
}

#[test]
fn the_rules_of_writing_are_kept() {
    let part = open(MemDisk::new(), &place("/d")).part;
    let rule = |result: Result<(), StorageError>| {
        let error = result.expect_err("it breaks a rule");
        assert!(matches!(error, StorageError::Rule { .. }), "{error}");
    };
    rule(fill(&part, 0, 1, range(0, 10)));
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    let mut lane = part.writer(0, 1, range(100, 200));
    rule(write(&mut lane, 1, 101));
    rule(lane.write(&mut Chunks::new(), 1));
    write(&mut lane, 1, 100).unwrap();
    rule(fill(&part, 1, 1, range(150, 160)));
    rule(fill(&part, 1, 1, range(TOTAL - 1, TOTAL + 1)));
    rule(part.begin(URL, &identity(2, TOTAL), false).map(drop));
    rule(part.begin(URL, &identity(1, 150), true).map(drop));
    let job = part.checkpoint().unwrap();
    rule(part.checkpoint().map(drop));
    drop(job);
    part.checkpoint().unwrap().run().unwrap();
    assert_eq!(part.covered(), set(&[(100, 200)]));
}

#[test]
fn a_failed_sync_takes_back_all_that_it_might_have_dropped() {
    let (disk, part) = begun();
    fill(&part, 0, 1, range(0, 1_000)).unwrap();
    part.checkpoint().unwrap().run().unwrap();
    fill(&part, 1, 1, range(2_000, 3_000)).unwrap();
    let job = part.checkpoint().unwrap();
    let mut lane = part.writer(2, 9, range(5_000, 6_000));
    write(&mut lane, 1, 400).unwrap();
    disk.fail_call(1, ErrorKind::Other);
    let error = job.run().unwrap_err();
    let StorageError::Lost { lost, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(lost, set(&[(2_000, 3_000), (5_000, 5_400)]));
    assert_eq!(part.covered(), set(&[(0, 1_000)]));
    // The lane goes on behind what it lost.
    write(&mut lane, 1, 100).unwrap();
    let saved = open(disk.crash(disk.changes(), Loss::Nothing), &place("/d")).saved;
    assert_eq!(saved.unwrap().claimed, set(&[(0, 1_000), (5_400, 5_500)]));
    drop(lane);
    for gap in part.covered().gaps(range(0, TOTAL)).iter() {
        fill(&part, 0, 1, gap).unwrap();
    }
    part.commit(TOTAL, Exists::Refuse, None).unwrap();
    assert_eq!(
        content(&disk, &place("/d"), "file").unwrap(),
        body(1, range(0, TOTAL))
    );
}

#[test]
fn lanes_without_a_slot_are_claimed_when_they_end() {
    let (disk, part) = begun();
    let mut far = part.writer(u16::MAX, 1, range(0, 500));
    let first = part.writer(3, 2, range(600, 700));
    let mut second = part.writer(3, 3, range(1_000, 2_000));
    write(&mut far, 1, 500).unwrap();
    write(&mut second, 1, 500).unwrap();
    let claimed = |disk: &MemDisk| {
        let crashed = disk.crash(disk.changes(), Loss::Nothing);
        open(crashed, &place("/d")).saved.unwrap().claimed
    };
    assert_eq!(claimed(&disk), RangeSet::new());
    drop((far, first, second));
    assert_eq!(claimed(&disk), set(&[(0, 500), (1_000, 1_500)]));
}

#[test]
fn writers_and_checkpoints_run_on_many_threads() {
    for (kind, root) in common::kinds_and_roots() {
        let dir = tempfile::tempdir_in(&root).unwrap();
        many_threads(FileDisk::new(kind), &place(dir.path()));
    }
}

fn many_threads(disk: FileDisk, place: &Place) {
    const LEN: u64 = 1 << 20;
    let part = open(disk, place).part;
    part.begin(URL, &identity(1, 8 * LEN), false).unwrap();
    let durable = std::thread::scope(|scope| {
        for lane in 0..8_u16 {
            let start = u64::from(lane) * LEN;
            let mut writer = part.writer(lane, u32::from(lane), range(start, start + LEN));
            scope.spawn(move || {
                while writer.cursor() < writer.range().end {
                    write(&mut writer, 1, 1 << 16).unwrap();
                }
                writer.finish().unwrap();
            });
        }
        let mut durable = RangeSet::new();
        while durable.len() < 8 * LEN {
            let job = part.checkpoint().unwrap();
            durable.extend(job.run().unwrap().ranges().iter());
        }
        durable
    });
    assert_eq!(durable, part.covered());
    part.commit(8 * LEN, Exists::Refuse, None).unwrap();
    assert!(content(&PosixDisk, place, "file").unwrap() == body(1, range(0, 8 * LEN)));
}
