//! What must not be left behind: files that were made in vain, and a journal without its part.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::io::{ErrorKind, IoSlice};

use common::{URL, fill, identity, open, place, range};
use tur_storage::{Disk as _, Exists, MemDisk, Open, Part, StorageError};

const TOTAL: u64 = 4_000;

fn is_there(disk: &MemDisk, name: &str) -> bool {
    let dir = disk.open_dir(&place("/d").dir, true).unwrap();
    disk.stat_at(&dir, name).is_ok()
}

fn sides(disk: &MemDisk) -> (bool, bool) {
    (is_there(disk, "file.part"), is_there(disk, "file.tur"))
}

#[test]
fn an_opening_that_fails_leaves_nothing() {
    let mut k = 1;
    loop {
        let disk = MemDisk::new();
        disk.fail_call(k, ErrorKind::Other);
        let opened = Part::open(disk.clone(), &place("/d"), URL);
        let calls = disk.calls();
        disk.fail_call(u64::MAX, ErrorKind::Other);
        match opened {
            Ok(_) if calls < k => break,
            // What could not be looked at was not needed.
            Ok(_) => {}
            Err(_) => assert_eq!(sides(&disk), (false, false), "call {k}"),
        }
        k += 1;
    }
    assert!(k > 8, "{k} calls were tried");
}

#[test]
fn an_opening_that_fails_keeps_what_was_there() {
    let mut k = 1;
    loop {
        let disk = MemDisk::new();
        let part = open(disk.clone(), &place("/d")).part;
        part.begin(URL, &identity(1, TOTAL), false).unwrap();
        fill(&part, 0, 1, range(0, 1_000)).unwrap();
        drop(part);
        disk.fail_call(k, ErrorKind::Other);
        let opened = Part::open(disk.clone(), &place("/d"), URL);
        disk.fail_call(u64::MAX, ErrorKind::Other);
        let is_open = opened.is_ok();
        drop(opened);
        assert_eq!(sides(&disk), (true, true), "call {k}");
        let saved = open(disk, &place("/d")).saved.unwrap();
        assert_eq!(saved.claimed.len(), 1_000, "call {k}");
        if is_open {
            break;
        }
        k += 1;
    }
    assert!(k > 8, "{k} calls were tried");
}

/// Fails the call of a commit that removes the journal.
fn committed_with_its_journal_left() -> MemDisk {
    for k in 1.. {
        let disk = MemDisk::new();
        let part = open(disk.clone(), &place("/d")).part;
        part.begin(URL, &identity(1, TOTAL), false).unwrap();
        fill(&part, 0, 1, range(0, TOTAL)).unwrap();
        disk.fail_call(k, ErrorKind::Other);
        let committed = part.commit(TOTAL, Exists::Refuse, None);
        disk.fail_call(u64::MAX, ErrorKind::Other);
        if committed.is_ok() && sides(&disk) == (false, true) {
            return disk;
        }
    }
    unreachable!("a commit removes its journal at some call");
}

#[test]
fn the_journal_of_a_complete_file_is_swept_away() {
    let disk = committed_with_its_journal_left();
    Part::sweep(disk.clone(), &place("/d")).unwrap();
    assert_eq!(sides(&disk), (false, false));
    assert!(is_there(&disk, "file"));
    Part::sweep(disk, &place("/d")).unwrap();
}

#[test]
fn what_belongs_to_somebody_is_not_swept_away() {
    let disk = MemDisk::new();
    let part = open(disk.clone(), &place("/d")).part;
    Part::sweep(disk.clone(), &place("/d")).unwrap();
    assert_eq!(sides(&disk), (true, true));
    drop(part);

    let disk = MemDisk::new();
    let dir = disk.open_dir(&place("/d").dir, true).unwrap();
    let notes = disk.open(&dir, "file.tur", Open::New(0o644)).unwrap();
    let text = IoSlice::new(b"somebody's notes, which never were a journal");
    disk.write_at(&notes, 0, &[text]).unwrap();
    let error = Part::sweep(disk.clone(), &place("/d")).unwrap_err();
    assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
    assert_eq!(sides(&disk), (false, true));
}
