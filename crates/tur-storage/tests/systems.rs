//! File systems that are not as they should be: what they answer is told by its cause, and what cannot be had is done
//! without.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::io::{self, ErrorKind};
use std::path::Path;

use common::{URL, body, content, fill, identity, open, place, range, set, write};
use rustix::io::Errno;
use tur_core::{ByteRange, Identity, Kind, RangeSet};
use tur_storage::{
    Disk, Exists, FileDisk, Loss, MemDisk, Onto, Open, Part, PosixDisk, StorageError,
};

const TOTAL: u64 = 200 << 20;

#[test]
fn every_answer_of_the_system_has_its_exit_code() {
    let kind = |errno: Errno| {
        let io = StorageError::Io {
            doing: "write",
            path: "f.part".into(),
            source: errno.into(),
        };
        let lost = StorageError::Lost {
            path: "f.part".into(),
            lost: RangeSet::new(),
            source: errno.into(),
        };
        assert_eq!(io.kind(), lost.kind(), "{errno:?}");
        io.kind()
    };
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        assert_eq!(kind(errno), Kind::DiskFull, "{errno:?}");
    }
    for errno in [
        Errno::IO,
        Errno::STALE,
        Errno::ROFS,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NAMETOOLONG,
        Errno::LOOP,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::SPIPE,
        Errno::NOLCK,
    ] {
        assert_eq!(kind(errno), Kind::Local, "{errno:?}");
    }
}

/// NFS before 4.2, FAT, ZFS and others cannot reserve room: the download goes on without.
#[test]
fn where_room_cannot_be_reserved_it_is_asked_for_and_written_anyway() {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    let mut lane = part.writer(0, 1, range(0, TOTAL));
    // The second call of a write is the one that reserves, after the look at the length.
    disk.fail_call(2, ErrorKind::Unsupported);
    write(&mut lane, 1, 10_000).unwrap();
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    let taken = disk.stat_at(&dir, "file.part").unwrap().allocated;
    assert_eq!(taken, 10_000, "nothing was reserved");
    // It is not asked for again; but whether there is room is, once for each window.
    disk.set_capacity(60 << 20);
    write(&mut lane, 1, 10_000).unwrap();
    let far = 100 << 20;
    let error = fill(&part, 1, 1, range(far, far + 10)).unwrap_err();
    assert!(matches!(error, StorageError::NoSpace { .. }), "{error}");
    assert_eq!(part.covered(), set(&[(0, 20_000)]));
    disk.set_capacity(u64::MAX);
    fill(&part, 1, 1, range(far, far + 10)).unwrap();
    drop((lane, part));
    let saved = open(disk, &place("/d")).saved.unwrap();
    assert_eq!(saved.claimed, set(&[(0, 20_000), (far, far + 10)]));
}

#[test]
fn a_file_with_another_name_is_not_written_to() {
    for name in ["file.part", "file.tur"] {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        drop(open(PosixDisk, &place));
        let linked = dir.path().join("elsewhere");
        std::fs::hard_link(dir.path().join(name), &linked).unwrap();
        let before = linked.metadata().unwrap().len();
        let error = Part::open(PosixDisk, &place, URL).map(drop).unwrap_err();
        assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
        assert_eq!(linked.metadata().unwrap().len(), before);
    }
}

/// All that follows the opening goes to the directory that was opened, whatever its name leads to by then.
#[test]
fn a_directory_that_changes_its_name_is_still_the_one() {
    for kind in common::KINDS {
        let root = tempfile::tempdir().unwrap();
        let (here, moved) = (root.path().join("here"), root.path().join("moved"));
        let disk = FileDisk::new(kind);
        let victim = root.path().join("victim");
        disk.open_dir(&victim, true).unwrap();
        let part = open(disk, &place(&here)).part;
        part.begin(URL, &identity(1, 9_000), false).unwrap();
        fill(&part, 0, 1, range(0, 5_000)).unwrap();
        let top = disk.open_dir(root.path(), false).unwrap();
        disk.rename(&top, "here", "moved", Onto::Free).unwrap();
        std::os::unix::fs::symlink("victim", &here).unwrap();
        fill(&part, 0, 1, range(5_000, 9_000)).unwrap();
        assert_eq!(part.check().unwrap(), RangeSet::new());
        part.commit(9_000, Exists::Overwrite, None).unwrap();
        assert_eq!(
            content(&disk, &place(&moved), "file").unwrap(),
            body(1, range(0, 9_000))
        );
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(&moved).unwrap().count(), 1);
    }
}

/// A part that was taken away between the opening and the lock is another one's: the name is looked at again.
#[test]
fn a_lock_on_a_file_that_lost_its_name_is_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    for _ in 0..200 {
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| Part::open(PosixDisk, &place, URL).map(|opened| opened.part))
                })
                .collect();
            let mut open: Vec<Part<PosixDisk>> = Vec::new();
            for run in runs {
                match run.join().unwrap() {
                    Ok(part) => open.push(part),
                    Err(StorageError::Busy { .. } | StorageError::Replaced { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(open.len(), 1, "one of them has it");
            open.pop().unwrap().discard().unwrap();
        });
    }
}

/// Somebody cuts the part, and a write makes it as long as before: its length tells nothing, the room that it takes does.
#[test]
fn what_a_write_hides_is_found_before_the_commit() {
    let half = 1 << 20;
    for (kind, root) in common::kinds_and_roots() {
        let root = tempfile::tempdir_in(root).unwrap();
        let (disk, place) = (FileDisk::new(kind), place(root.path()));
        let part = open(disk, &place).part;
        part.begin(URL, &identity(1, 2 * half), false).unwrap();
        fill(&part, 0, 1, range(0, half)).unwrap();
        let name = root.path().join("file.part");
        let file = std::fs::File::options().write(true).open(name).unwrap();
        file.set_len(0).unwrap();
        file.set_len(half).unwrap();
        fill(&part, 1, 1, range(half, 2 * half)).unwrap();
        assert!(
            part.check().unwrap().is_empty(),
            "{kind:?}: it is as long as it should be"
        );
        assert!(part.is_thin().unwrap(), "{kind:?}");
        let lost = part.proving()().unwrap();
        assert_eq!(lost, set(&[(0, half)]), "{kind:?}");
        fill(&part, 2, 1, range(0, half)).unwrap();
        assert!(!part.is_thin().unwrap(), "{kind:?}");
        assert!(
            part.proving()().unwrap().is_empty(),
            "{kind:?}: it is what was written"
        );
        part.commit(2 * half, Exists::Refuse, None).unwrap();
        let whole = body(1, range(0, 2 * half));
        assert!(content(&disk, &place, "file") == Some(whole), "{kind:?}");
    }
}

/// Reading a part again at its opening may fail: that is no reason to give up the resume.
#[test]
fn a_read_that_fails_once_costs_nothing() {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    part.begin(URL, &identity(1, 9_000), false).unwrap();
    fill(&part, 0, 1, range(0, 4_000)).unwrap();
    fill(&part, 1, 1, range(5_000, 9_000)).unwrap();
    drop(part);
    let before = disk.calls();
    drop(open(disk.clone(), &place("/d")));
    let calls = disk.calls() - before;
    let mut survived = 0;
    for call in 1..=calls {
        disk.fail_call(call, ErrorKind::Other);
        if let Ok(opened) = Part::open(disk.clone(), &place("/d"), URL) {
            let claimed = opened.saved.unwrap().claimed;
            assert_eq!(claimed, set(&[(0, 4_000), (5_000, 9_000)]), "call {call}");
            survived += 1;
        }
        disk.fail_call(u64::MAX, ErrorKind::Other);
    }
    // A run is read by one call each, and one looks for what was left of a journal that was written anew; what else fails
    // (opening, locking, the journal) is told.
    assert_eq!(survived, 3, "of {calls} calls");
}

/// The first look tells, and a FIFO keeps nobody waiting.
#[test]
fn a_name_that_changes_into_something_else_is_refused_at_the_opening() {
    let dir = tempfile::tempdir().unwrap();
    let handle = PosixDisk.open_dir(dir.path(), false).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(&handle, "fifo", rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let opened = |name: &str, how| PosixDisk.open(&handle, name, how);
    let errno = |result: io::Result<_>| {
        Errno::from_io_error(&Result::<std::os::fd::OwnedFd, _>::unwrap_err(result))
    };
    assert_eq!(errno(opened("link", Open::Existing)), Some(Errno::LOOP));
    assert_eq!(errno(opened("link", Open::New(0o600))), Some(Errno::EXIST));
    let fifo = opened("fifo", Open::Existing).unwrap();
    let kind = PosixDisk.stat(&fifo).unwrap().kind;
    assert_eq!(kind, tur_storage::FileKind::Special);
}

#[test]
fn a_disk_too_small_is_known_before_the_first_byte() {
    let disk = MemDisk::new();
    disk.set_capacity(15_000);
    let part = open(disk.clone(), &place("/d")).part;
    let error = part.begin(URL, &identity(1, 20_000), false).unwrap_err();
    assert_eq!(error.kind(), Kind::DiskFull);
    assert!(
        error
            .to_string()
            .contains("more on /d, where 20200 are wanted"),
        "{error}"
    );
    // Without a known total it is known at the write, and what was written before stays.
    part.begin(URL, &Identity::default(), false).unwrap();
    let mut lane = part.writer(0, 1, ByteRange::from(0));
    let mut failed = None;
    while failed.is_none() {
        failed = write(&mut lane, 1, 2_000).err();
    }
    assert_eq!(failed.unwrap().kind(), Kind::DiskFull);
    assert_eq!(part.covered().frontier(), lane.cursor());
    assert!(lane.cursor() >= 8_000);
    // Whether or not there is room for a record: the slot vouches.
    let saved = open(disk.crash(disk.changes(), Loss::Nothing), &place("/d")).saved;
    assert_eq!(saved.unwrap().claimed, part.covered());
}

/// What is missing is said as soon as the disk is found full, with the part kept.
#[test]
fn a_disk_that_fills_meanwhile_says_what_is_missing() {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    part.begin(URL, &identity(1, 200 << 20), false).unwrap();
    fill(&part, 0, 1, range(0, 1_000)).unwrap();
    disk.set_capacity(70 << 20);
    // The next window of room does not fit.
    let far = 100 << 20;
    let error = fill(&part, 1, 1, range(far, far + 1_000)).unwrap_err();
    assert_eq!(error.kind(), Kind::DiskFull);
    let StorageError::NoSpace {
        need, available, ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(need, (200 << 20) - 1_000);
    let more = need - available;
    let said = format!(
        "no space: need {more} bytes more on /d, where {need} are wanted and {available} are free"
    );
    assert_eq!(error.to_string(), said);
    assert_eq!(part.covered(), set(&[(0, 1_000)]));
    drop(part);
    assert_eq!(
        open(disk, &place("/d")).saved.unwrap().claimed,
        set(&[(0, 1_000)])
    );
}

#[test]
fn a_file_size_limit_is_an_error_before_the_system_says_so() {
    let disk = MemDisk::new();
    disk.set_file_size_limit(3_000);
    let part = open(disk, &place("/d")).part;
    let error = part.begin(URL, &identity(1, 3_001), false).unwrap_err();
    assert_eq!(error.kind(), Kind::DiskFull);
    assert!(error.to_string().starts_with("file size limit"), "{error}");
    part.begin(URL, &Identity::default(), false).unwrap();
    let mut lane = part.writer(0, 1, ByteRange::from(0));
    write(&mut lane, 1, 3_000).unwrap();
    let error = write(&mut lane, 1, 1).unwrap_err();
    assert!(matches!(error, StorageError::FileLimit { .. }), "{error}");
    assert_eq!(part.frontier(), 3_000);
}
