//! State files: whole or not there, whatever happens to them, and nothing that was merged in is lost.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::thread;

use tur_core::Kind;
use tur_storage::{
    Disk, FileKind, Loss, MemDisk, Open, PosixDisk, State, StateFile, StateFormat, StorageError,
};

const PATH: &str = "/state/tur/things";
const DIR: &str = "/state/tur";

fn format(version: u16) -> StateFormat {
    StateFormat {
        magic: *b"tur.test",
        version,
    }
}

fn file<D: Disk>(disk: D) -> StateFile<D> {
    StateFile::new(disk, Path::new(PATH), format(1)).unwrap()
}

/// Nobody waits here.
fn never() -> bool {
    false
}

fn put<D: Disk>(file: &StateFile<D>, bytes: &[u8]) -> Result<(), StorageError> {
    file.update(&mut never, |_| Some(bytes.to_vec()))
}

fn bytes_of<D: Disk>(file: &StateFile<D>) -> Option<Vec<u8>> {
    file.load().unwrap().map(|state| state.bytes)
}

/// The whole of a file, read past the state file.
fn raw(disk: &MemDisk, name: &str) -> Vec<u8> {
    let dir = disk.open_dir(Path::new(DIR), false).unwrap();
    let file = disk.open(&dir, name, Open::Existing).unwrap();
    let mut bytes = vec![0; usize::try_from(disk.stat(&file).unwrap().len).unwrap()];
    assert_eq!(disk.read_at(&file, 0, &mut bytes).unwrap(), bytes.len());
    bytes
}

/// A disk whose state file has these bytes.
fn with_raw(name: &str, bytes: &[u8]) -> MemDisk {
    let disk = MemDisk::new();
    let dir = disk.open_dir(Path::new(DIR), true).unwrap();
    let file = disk.open(&dir, name, Open::New(0o600)).unwrap();
    if !bytes.is_empty() {
        let wrote = disk.write_at(&file, 0, &[IoSlice::new(bytes)]).unwrap();
        assert_eq!(wrote, bytes.len());
    }
    disk
}

fn round_trip<D: Disk + Clone>(disk: D, path: &Path) {
    let file = StateFile::new(disk.clone(), path, format(3)).unwrap();
    assert_eq!(file.load().unwrap(), None);
    file.update(&mut never, |old| {
        assert_eq!(old, None);
        None
    })
    .unwrap();
    assert_eq!(file.load().unwrap(), None, "nothing is written unasked");
    put(&file, b"").unwrap();
    assert_eq!(bytes_of(&file).unwrap(), b"");
    file.update(&mut never, |old| {
        let old = old.unwrap();
        assert_eq!((old.version, old.bytes.as_slice()), (3, &b""[..]));
        Some(b"more".to_vec())
    })
    .unwrap();
    assert_eq!(bytes_of(&file).unwrap(), b"more");
    let dir = disk.open_dir(path.parent().unwrap(), false).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(disk.stat_at(&dir, name).unwrap().mode & 0o077, 0);
    let temporary = disk.stat_at(&dir, &format!("{name}.new"));
    assert_eq!(temporary.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_was_put_in_comes_out_on_both_disks() {
    round_trip(MemDisk::new(), Path::new(PATH));
    let dir = tempfile::tempdir().unwrap();
    round_trip(PosixDisk, &dir.path().join("a/b/things"));
    let short = MemDisk::new();
    short.write_short(7);
    round_trip(short, Path::new(PATH));
}

#[test]
fn a_path_without_a_name_is_refused() {
    for path in ["", "/", "a/.."] {
        let made = StateFile::new(MemDisk::new(), Path::new(path), format(1));
        assert!(matches!(made, Err(StorageError::BadName { .. })), "{path}");
    }
}

#[test]
fn a_file_that_was_cut_or_changed_anywhere_is_damaged_and_can_be_begun_anew() {
    let disk = MemDisk::new();
    put(&file(disk.clone()), b"some bytes of state").unwrap();
    let good = raw(&disk, "things");
    let mut bad: Vec<Vec<u8>> = (0..good.len()).map(|len| good[..len].to_vec()).collect();
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        bad.push(flipped);
    }
    bad.push([good.as_slice(), b"x"].concat());
    bad.push(vec![0; 4096]);
    for bytes in bad {
        let file = file(with_raw("things", &bytes));
        let error = file.load().unwrap_err();
        assert!(
            matches!(error, StorageError::Damaged { .. }),
            "{bytes:?}: {error}"
        );
        assert_eq!(error.kind(), Kind::Local);
        file.update(&mut never, |old| {
            assert_eq!(old, None);
            Some(b"anew".to_vec())
        })
        .unwrap();
        assert_eq!(bytes_of(&file).unwrap(), b"anew");
    }
}

#[test]
fn an_older_version_is_told_and_a_newer_one_is_left_alone() {
    let disk = MemDisk::new();
    let path = Path::new(PATH);
    let old = StateFile::new(disk.clone(), path, format(1)).unwrap();
    let new = StateFile::new(disk.clone(), path, format(2)).unwrap();
    put(&old, b"one").unwrap();
    let read = |version, bytes: &[u8]| {
        Some(State {
            version,
            bytes: bytes.to_vec(),
        })
    };
    assert_eq!(old.load().unwrap(), read(1, b"one"));
    assert_eq!(new.load().unwrap(), read(1, b"one"));
    put(&new, b"two").unwrap();
    assert_eq!(new.load().unwrap(), read(2, b"two"));
    let before = raw(&disk, "things");
    for error in [old.load().unwrap_err(), put(&old, b"three").unwrap_err()] {
        assert!(
            matches!(error, StorageError::Version { version: 2, .. }),
            "{error}"
        );
    }
    assert_eq!(raw(&disk, "things"), before);
    // Another kind of state under this name is damage.
    let other = StateFormat {
        magic: *b"tur.else",
        version: 2,
    };
    let other = StateFile::new(disk, path, other).unwrap();
    assert!(matches!(other.load(), Err(StorageError::Damaged { .. })));
}

#[test]
fn a_state_that_is_too_long_is_neither_written_nor_read() {
    let disk = MemDisk::new();
    let file = file(disk);
    put(&file, b"short").unwrap();
    let error = put(&file, &vec![1; (4 << 20) + 1]).unwrap_err();
    assert!(matches!(error, StorageError::Rule { .. }), "{error}");
    assert_eq!(bytes_of(&file).unwrap(), b"short");
    put(&file, &vec![1; 4 << 20]).unwrap();
    assert_eq!(bytes_of(&file).unwrap().len(), 4 << 20);
    let long = self::file(with_raw("things", &vec![1; (4 << 20) + 100]));
    assert!(matches!(long.load(), Err(StorageError::Damaged { .. })));
}

#[test]
fn nothing_but_a_plain_file_is_read_or_replaced() {
    for kind in [FileKind::Symlink, FileKind::Directory, FileKind::Special] {
        for name in ["things", "things.lock"] {
            let disk = MemDisk::new();
            disk.open_dir(Path::new(DIR), true).unwrap();
            disk.place(Path::new(DIR), name, kind);
            let file = file(disk.clone());
            let error = put(&file, b"x").unwrap_err();
            assert!(matches!(error, StorageError::NotRegular { .. }), "{error}");
            let dir = disk.open_dir(Path::new(DIR), false).unwrap();
            assert_eq!(disk.stat_at(&dir, name).unwrap().kind, kind);
            if name == "things" {
                assert!(matches!(file.load(), Err(StorageError::NotRegular { .. })));
            }
        }
    }
}

#[test]
fn a_link_in_place_of_the_temporary_file_is_removed_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    let disk = PosixDisk;
    let at = disk.open_dir(dir.path(), false).unwrap();
    let bait = disk.open(&at, "victim", Open::New(0o600)).unwrap();
    assert_eq!(
        disk.write_at(&bait, 0, &[IoSlice::new(b"precious")])
            .unwrap(),
        8
    );
    std::os::unix::fs::symlink(&victim, dir.path().join("things.new")).unwrap();
    let file = StateFile::new(PosixDisk, &dir.path().join("things"), format(1)).unwrap();
    put(&file, b"state").unwrap();
    assert_eq!(bytes_of(&file).unwrap(), b"state");
    let mut left = [0; 16];
    assert_eq!(disk.read_at(&bait, 0, &mut left).unwrap(), 8);
    assert_eq!(&left[..8], b"precious");
    assert_eq!(disk.stat_at(&at, "victim").unwrap().len, 8);
}

#[test]
fn who_holds_the_lock_is_waited_for_and_not_for_ever() {
    let disk = MemDisk::new();
    let file = file(disk.clone());
    put(&file, b"one").unwrap();
    let dir = disk.open_dir(Path::new(DIR), false).unwrap();
    let held = disk.open(&dir, "things.lock", Open::Existing).unwrap();
    assert!(disk.try_lock(&held).unwrap());
    let mut tries = 0;
    let mut patience = || {
        tries += 1;
        tries < 5
    };
    let error = file
        .update(&mut patience, |_| panic!("not without the lock"))
        .unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    assert_eq!((tries, error.kind()), (5, Kind::Busy));
    // A reader needs no lock.
    assert_eq!(bytes_of(&file).unwrap(), b"one");
    let mut held = Some(held);
    let mut give_back = || {
        drop(held.take());
        true
    };
    file.update(&mut give_back, |_| Some(b"two".to_vec()))
        .unwrap();
    assert_eq!(bytes_of(&file).unwrap(), b"two");
}

#[test]
fn a_lock_file_that_was_removed_while_it_was_waited_for_is_taken_anew() {
    let disk = MemDisk::new();
    let file = file(disk.clone());
    put(&file, b"one").unwrap();
    let dir = disk.open_dir(Path::new(DIR), false).unwrap();
    let held = disk.open(&dir, "things.lock", Open::Existing).unwrap();
    assert!(disk.try_lock(&held).unwrap());
    let mut held = Some(held);
    let mut tidy = || {
        disk.unlink(&dir, "things.lock").unwrap();
        drop(held.take());
        true
    };
    file.update(&mut tidy, |_| {
        let lock = disk.open(&dir, "things.lock", Open::Existing).unwrap();
        assert!(
            !disk.try_lock(&lock).unwrap(),
            "the file that has the name is locked"
        );
        Some(b"two".to_vec())
    })
    .unwrap();
    assert_eq!(bytes_of(&file).unwrap(), b"two");
}

/// Threads stand for processes: each update opens the lock file anew, and such locks are between openings.
#[test]
fn nothing_is_lost_when_many_update_at_once() {
    const EACH: usize = 25;
    const MANY: u8 = 6;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("things");
    thread::scope(|scope| {
        for tag in 0..MANY {
            let path = &path;
            scope.spawn(move || {
                let file = StateFile::new(PosixDisk, path, format(1)).unwrap();
                for _ in 0..EACH {
                    let mut wait = || {
                        thread::yield_now();
                        true
                    };
                    file.update(&mut wait, |old| {
                        let mut bytes = old.map(|state| state.bytes).unwrap_or_default();
                        bytes.push(tag);
                        Some(bytes)
                    })
                    .unwrap();
                }
            });
        }
    });
    let file = StateFile::new(PosixDisk, &path, format(1)).unwrap();
    let bytes = bytes_of(&file).unwrap();
    for tag in 0..MANY {
        assert_eq!(bytes.iter().filter(|byte| **byte == tag).count(), EACH);
    }
    assert_eq!(bytes.len(), EACH * usize::from(MANY));
}

/// Long enough to span sectors, so that a torn write shows.
fn long(tag: u8) -> Vec<u8> {
    vec![tag; 2_000]
}

#[test]
fn after_a_crash_at_any_point_the_old_state_or_the_new_one_is_there() {
    let disk = MemDisk::new();
    let file = file(disk.clone());
    let mut marks = vec![disk.changes()];
    for tag in 1..4 {
        put(&file, &long(tag)).unwrap();
        marks.push(disk.changes());
    }
    let losses = [Loss::Nothing, Loss::Unsynced]
        .into_iter()
        .chain((1..40).map(Loss::Torn));
    for loss in losses {
        for at in 0..=disk.changes() {
            let found = self::file(disk.crash(at, loss));
            let state = found.load().unwrap().map(|state| state.bytes);
            let done = marks.iter().rposition(|mark| *mark <= at).unwrap_or(0);
            let was = (done > 0).then(|| long(u8::try_from(done).unwrap()));
            let next = Some(long(u8::try_from(done + 1).unwrap()));
            assert!(state == was || state == next, "{loss:?} after {at} changes");
            // And it can be gone on with.
            put(&found, b"on").unwrap();
            assert_eq!(bytes_of(&found).unwrap(), b"on");
        }
    }
}

#[test]
fn whatever_call_fails_the_old_state_or_the_new_one_is_there() {
    let calls = {
        let disk = MemDisk::new();
        put(&file(disk.clone()), &long(1)).unwrap();
        let before = disk.calls();
        put(&file(disk.clone()), &long(2)).unwrap();
        disk.calls() - before
    };
    let mut failed = 0;
    for call in 1..=calls {
        for how in [ErrorKind::StorageFull, ErrorKind::Interrupted] {
            let disk = MemDisk::new();
            let file = file(disk.clone());
            put(&file, &long(1)).unwrap();
            disk.fail_call(call, how);
            let result = put(&file, &long(2));
            assert_eq!(
                result.is_err(),
                how == ErrorKind::StorageFull,
                "call {call}"
            );
            failed += u32::from(result.is_err());
            let have = bytes_of(&file).unwrap();
            assert!(have == long(2) || (result.is_err() && have == long(1)));
            put(&file, &long(3)).unwrap();
            assert_eq!(bytes_of(&file).unwrap(), long(3));
        }
    }
    assert!(failed > 5);
}

#[test]
fn a_reader_sees_whole_states_while_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("things");
    let file = StateFile::new(PosixDisk, &path, format(1)).unwrap();
    put(&file, &long(0)).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for tag in 1..=50 {
                put(&file, &long(tag)).unwrap();
            }
        });
        while !writer.is_finished() {
            let bytes = bytes_of(&file).unwrap();
            assert_eq!(bytes, long(bytes[0]));
        }
    });
    assert_eq!(bytes_of(&file).unwrap(), long(50));
}
