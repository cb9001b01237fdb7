//! A file that is not the right one, kept under a name of its own.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::path::Path;

use common::{URL, body, content, fill, identity, open, place, range};
use tur_storage::{Disk, MemDisk, Open, Part, PosixDisk, Sampling, StorageError};

const TOTAL: u64 = 5_000;

fn complete<D: Disk>(disk: D, dir: &Path) -> Part<D> {
    let part = open(disk, &place(dir)).part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    part
}

/// Set aside three times, each time beside what is there already.
fn each_takes_a_free_name<D: Disk>(disk: impl Fn() -> D, dir: &Path) {
    let place = place(dir);
    for name in ["file.bad", "file.bad.1", "file.bad.2"] {
        let part = complete(disk(), dir);
        assert_eq!(part.set_aside().unwrap(), dir.join(name));
        drop(part);
        for gone in ["file.part", "file.tur", "file"] {
            assert_eq!(content(&disk(), &place, gone), None, "{gone}");
        }
    }
    for name in ["file.bad", "file.bad.1", "file.bad.2"] {
        let kept = content(&disk(), &place, name).unwrap();
        assert_eq!(kept, body(1, range(0, TOTAL)), "{name}");
        let dir = disk().open_dir(dir, false).unwrap();
        let file = disk().open(&dir, name, Open::Existing).unwrap();
        assert_eq!(disk().stat(&file).unwrap().mode & 0o777, 0o600, "{name}");
    }
    assert!(
        open(disk(), &place).saved.is_none(),
        "nothing to go on with"
    );
}

#[test]
fn each_takes_a_free_name_in_memory() {
    let disk = MemDisk::new();
    each_takes_a_free_name(|| disk.clone(), Path::new("/d"));
}

#[test]
fn each_takes_a_free_name_on_the_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    each_takes_a_free_name(|| PosixDisk, dir.path());
}

#[test]
fn what_is_not_ours_is_not_renamed() {
    let disk = MemDisk::new();
    let part = complete(disk.clone(), Path::new("/d"));
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    disk.unlink(&dir, "file.part").unwrap();
    assert!(matches!(
        part.set_aside(),
        Err(StorageError::Replaced { .. })
    ));
    assert_eq!(content(&disk, &place("/d"), "file.bad"), None);
}

#[test]
fn a_loss_of_power_while_it_is_renamed_leaves_nothing_that_is_in_the_way() {
    let disk = MemDisk::new();
    let part = complete(disk.clone(), Path::new("/d"));
    part.checkpoint().unwrap().run().unwrap();
    let before = disk.changes();
    part.set_aside().unwrap();
    let all = Sampling {
        whole: 12,
        samples: 100,
        seed: 1,
    };
    let (mut kept, mut gone) = (0, 0);
    for (crash, found) in disk.crashes(all).from(before) {
        match Part::open(found, &place("/d"), URL) {
            Ok(opened) if opened.saved.is_some() => kept += 1,
            Ok(_) => gone += 1,
            Err(error) => panic!("{crash:?}: {error}"),
        }
    }
    assert!(kept > 0 && gone > 0, "{kept} kept, {gone} gone");
}
