//! What every `Disk` must keep: one suite, run on the disk in memory and on the real one.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use tur_core::Wall;
use tur_storage::{Disk, FileDisk, FileKind, MemDisk, Onto, Open, PosixDisk};

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("it must fail").kind()
}

fn suite<D: Disk>(disk: &D, root: &Path) {
    let path = root.join("a/b");
    assert_eq!(kind(disk.open_dir(&path, false)), ErrorKind::NotFound);
    let dir = disk.open_dir(&path, true).unwrap();
    disk.open_dir(&path, true).unwrap();
    opening(disk, &dir);
    reading_and_writing(disk, &dir);
    locking(disk, &dir);
    unnamed(disk, &dir);
    names(disk, &dir);
    assert!(disk.available(&dir).unwrap() > 0);
    assert_eq!(disk.boot_id(), disk.boot_id());
    assert!(disk.umask() <= 0o777);
}

/// A file without a name gets one, if that is free; or there are no such files here.
fn unnamed<D: Disk>(disk: &D, dir: &D::Dir) {
    let file = match disk.open_unnamed(dir, 0o600) {
        Ok(file) => file,
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Unsupported),
    };
    assert_eq!(disk.stat(&file).unwrap().links, 0);
    let taken = disk.write_at(&file, 0, &[IoSlice::new(b"x")]);
    assert_eq!(taken.unwrap(), 1);
    disk.sync(&file).unwrap();
    assert_eq!(kind(disk.link(&file, dir, "f")), ErrorKind::AlreadyExists);
    disk.link(&file, dir, "linked").unwrap();
    let linked = disk.stat_at(dir, "linked").unwrap();
    assert_eq!((linked.len, linked.links, linked.mode), (1, 1, 0o600));
    assert_eq!(linked.id, disk.stat(&file).unwrap().id);
    disk.unlink(dir, "linked").unwrap();
}

fn opening<D: Disk>(disk: &D, dir: &D::Dir) {
    assert_eq!(kind(disk.stat_at(dir, "f")), ErrorKind::NotFound);
    assert_eq!(
        kind(disk.open(dir, "f", Open::Existing)),
        ErrorKind::NotFound
    );
    let file = disk.open(dir, "f", Open::New(0o600)).unwrap();
    assert_eq!(
        kind(disk.open(dir, "f", Open::New(0o600))),
        ErrorKind::AlreadyExists
    );
    let stat = disk.stat(&file).unwrap();
    assert_eq!((stat.kind, stat.len, stat.links), (FileKind::Regular, 0, 1));
    assert_eq!(stat.mode, 0o600);
    assert_eq!(disk.stat_at(dir, "f").unwrap().id, stat.id);
    let again = disk.open(dir, "f", Open::Existing).unwrap();
    assert_eq!(disk.stat(&again).unwrap().id, stat.id);
}

fn reading_and_writing<D: Disk>(disk: &D, dir: &D::Dir) {
    let file = disk.open(dir, "f", Open::Existing).unwrap();
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
    let taken = disk.write_at(&file, 5, &slices).unwrap();
    assert!((1..=4).contains(&taken));
    if taken < 4 {
        let rest = &b"abcd"[taken..];
        disk.write_at(&file, 5 + taken as u64, &[IoSlice::new(rest)])
            .unwrap();
    }
    let mut into = [1; 16];
    assert_eq!(disk.read_at(&file, 0, &mut into).unwrap(), 9);
    assert_eq!(&into[..9], b"\0\0\0\0\0abcd");
    assert_eq!(disk.read_at(&file, 9, &mut into).unwrap(), 0);
    assert_eq!(disk.read_at(&file, 1 << 40, &mut into).unwrap(), 0);
    // Room is reserved without a change of length, or not at all.
    match disk.allocate(&file, 0, 1 << 20) {
        Ok(()) => assert!(disk.stat(&file).unwrap().allocated >= 1 << 20),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
    }
    assert_eq!(disk.stat(&file).unwrap().len, 9);
    in_reserved_room(disk, &file);
    disk.set_len(&file, 6).unwrap();
    disk.set_len(&file, 8).unwrap();
    assert_eq!(disk.read_at(&file, 4, &mut into).unwrap(), 4);
    assert_eq!(&into[..4], b"\0a\0\0");
    disk.sync(&file).unwrap();
    disk.set_modified(&file, Wall::from_unix_secs(1_000_000))
        .unwrap();
    disk.set_mode(&file, 0o640).unwrap();
    let stat = disk.stat_at(dir, "f").unwrap();
    assert_eq!(stat.modified, Wall::from_unix_secs(1_000_000));
    assert_eq!((stat.mode, stat.len), (0o640, 8));
}

/// What a write into reserved room changes is what it was given, and the length up to there.
fn in_reserved_room<D: Disk>(disk: &D, file: &D::File) {
    let mut at = 300_000;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    while at < 370_000 {
        let from = &bytes[at - 300_000..];
        let taken = disk.write_at(file, at as u64, &[IoSlice::new(from)]);
        at += taken.unwrap();
        assert_eq!(disk.stat(file).unwrap().len, at as u64);
    }
    disk.write_at(file, 100_000, &[IoSlice::new(b"x")]).unwrap();
    assert_eq!(disk.stat(file).unwrap().len, 370_000);
    disk.sync(file).unwrap();
    let mut into = vec![1; 80_000];
    let mut came = 0;
    while came < 70_000 {
        let n = disk.read_at(file, 300_000 + came as u64, &mut into[came..]);
        let n = n.unwrap();
        assert!(n > 0);
        came += n;
    }
    assert_eq!((came, &into[..came]), (70_000, &bytes[..]));
    assert_eq!(disk.read_at(file, 99_999, &mut into[..3]).unwrap(), 3);
    assert_eq!(&into[..3], b"\0x\0");
    // Nobody but us may shorten it; if somebody does, reading says so.
    disk.set_len(file, 100_001).unwrap();
    assert_eq!(disk.read_at(file, 99_999, &mut into[..3]).unwrap(), 2);
    disk.set_len(file, 9).unwrap();
}

fn locking<D: Disk>(disk: &D, dir: &D::Dir) {
    let first = disk.open(dir, "f", Open::Existing).unwrap();
    let second = disk.open(dir, "f", Open::Existing).unwrap();
    assert!(disk.try_lock(&first).unwrap());
    assert!(!disk.try_lock(&second).unwrap());
    assert!(disk.try_lock(&first).unwrap(), "it may be taken twice");
    drop(first);
    assert!(disk.try_lock(&second).unwrap());
}

fn names<D: Disk>(disk: &D, dir: &D::Dir) {
    let first = disk.open(dir, "f", Open::Existing).unwrap();
    disk.open(dir, "g", Open::New(0o600)).unwrap();
    assert_eq!(
        kind(disk.rename(dir, "f", "g", Onto::Free)),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(disk.rename(dir, "x", "y", Onto::Free)),
        ErrorKind::NotFound
    );
    assert_eq!(disk.stat_at(dir, "g").unwrap().len, 0);
    disk.rename(dir, "f", "g", Onto::Any).unwrap();
    assert_eq!(
        disk.stat_at(dir, "g").unwrap().id,
        disk.stat(&first).unwrap().id
    );
    assert_eq!(kind(disk.stat_at(dir, "f")), ErrorKind::NotFound);
    disk.rename(dir, "g", "h", Onto::Free).unwrap();
    disk.unlink(dir, "h").unwrap();
    assert_eq!(kind(disk.unlink(dir, "h")), ErrorKind::NotFound);
    assert_eq!(disk.stat(&first).unwrap().links, 0);
    disk.sync_dir(dir).unwrap();
}

#[test]
fn the_disk_in_memory_conforms() {
    suite(&MemDisk::new(), Path::new("/d"));
    let short = MemDisk::new();
    short.write_short(3);
    let dir = short.open_dir(Path::new("/d"), true).unwrap();
    let file = short.open(&dir, "f", Open::New(0o600)).unwrap();
    let mut lens: Vec<_> = (0..50)
        .map(|_| short.write_at(&file, 0, &[IoSlice::new(&[7; 4])]).ok())
        .collect();
    lens.sort_unstable();
    lens.dedup();
    assert_eq!(lens, [None, Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn the_real_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    suite(&PosixDisk, dir.path());
    for (kind, root) in common::kinds_and_roots() {
        let dir = tempfile::tempdir_in(&root).unwrap();
        suite(&FileDisk::new(kind), dir.path());
    }
}

#[test]
fn a_crash_leaves_what_was_synced() {
    let disk = MemDisk::new();
    let dir = disk.open_dir(Path::new("/d"), true).unwrap();
    let file = disk.open(&dir, "file", Open::New(0o600)).unwrap();
    disk.write_at(&file, 0, &[IoSlice::new(b"old")]).unwrap();
    disk.sync(&file).unwrap();
    disk.sync_dir(&dir).unwrap();
    disk.write_at(&file, 0, &[IoSlice::new(b"new")]).unwrap();
    let place = common::place("/d");
    let after = |loss| common::content(&disk.crash(disk.changes(), loss), &place, "file");
    assert_eq!(after(tur_storage::Loss::Nothing).unwrap(), b"new");
    assert_eq!(after(tur_storage::Loss::Unsynced).unwrap(), b"old");
    let torn: std::collections::BTreeSet<_> = (0..64)
        .map(|seed| after(tur_storage::Loss::Torn(seed)))
        .collect();
    assert_eq!(torn.len(), 2, "{torn:?}");
    disk.fail_call(1, ErrorKind::Other);
    disk.sync(&file).unwrap_err();
    assert_eq!(common::content(&disk, &place, "file").unwrap(), b"old");
}
