//! What stands around a name: files with a number behind it, and a part from the same place.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use common::{URL, fill, identity, place, range};
use tur_storage::{
    Disk, Exists, FileKind, MemDisk, Open, Part, PosixDisk, is_begun, numbered, survey,
};

const TOTAL: u64 = 9_000;

fn part(disk: &MemDisk, lazily: bool) -> Part<MemDisk> {
    let open = if lazily {
        Part::open_lazily
    } else {
        Part::open
    };
    let part = open(disk.clone(), &place("/d"), URL).unwrap().part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    part
}

#[test]
fn a_file_is_announced_before_it_can_be_found() {
    for lazily in [false, true] {
        for (exists, name) in [
            (Exists::Refuse, "file"),
            (Exists::Rename, "file.1"),
            (Exists::Rename, "file.2"),
            (Exists::Overwrite, "file"),
        ] {
            let disk = MemDisk::new();
            let dir = disk.open_dir("/d".as_ref(), true).unwrap();
            let taken = ["file", "file.1"].into_iter();
            for taken in taken.filter(|taken| *taken < name) {
                disk.open(&dir, taken, Open::New(0o644)).unwrap();
            }
            let mut told = Vec::new();
            let path = part(&disk, lazily)
                .commit_announced(TOTAL, exists, None, |id| {
                    let seen = disk.stat_at(&dir, name);
                    assert!(seen.is_err(), "{name} is there already");
                    told.push(id);
                })
                .unwrap();
            assert_eq!(path, std::path::Path::new("/d").join(name));
            assert_eq!(told, [disk.stat_at(&dir, name).unwrap().id]);
        }
    }
}

#[test]
fn numbered_files_are_those_up_to_the_first_free_name() {
    let disk = MemDisk::new();
    let dir = disk.open_dir("/d".as_ref(), true).unwrap();
    for name in ["file", "file.1", "file.3", "file.5"] {
        disk.open(&dir, name, Open::New(0o644)).unwrap();
    }
    let names = |disk: &MemDisk| -> Vec<String> {
        let found = numbered(disk, &place("/d")).unwrap();
        found
            .iter()
            .map(|file| file.name.as_str().to_owned())
            .collect()
    };
    assert_eq!(names(&disk), ["file.1"]);
    disk.place("/d".as_ref(), "file.2", FileKind::Directory);
    assert_eq!(names(&disk), ["file.1", "file.3"]);
    assert!(survey(&disk, &place("/d")).is_ok());
}

#[test]
fn a_part_tells_which_url_has_begun_it() {
    let disk = MemDisk::new();
    assert!(!is_begun(&disk, &place("/d"), URL), "there is no directory");
    let part = part(&disk, false);
    part.stop().unwrap();
    assert!(is_begun(&disk, &place("/d"), URL));
    assert!(!is_begun(
        &disk,
        &place("/d"),
        "http://origin.example/other"
    ));
    let dir = disk.open_dir("/d".as_ref(), false).unwrap();
    disk.unlink(&dir, "file.tur").unwrap();
    assert!(!is_begun(&disk, &place("/d"), URL));
}

/// A system that could not rename without replacing has given the file its name, and was stopped before the part was gone.
#[test]
fn a_part_that_has_the_targets_name_too_is_not_another_file() {
    let dir = tempfile::TempDir::new().unwrap();
    let place = place(dir.path());
    let part = Part::open(PosixDisk, &place, URL).unwrap().part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, TOTAL)).unwrap();
    part.stop().unwrap();
    assert!(is_begun(&PosixDisk, &place, URL));
    std::fs::hard_link(dir.path().join("file.part"), dir.path().join("file")).unwrap();
    assert!(!is_begun(&PosixDisk, &place, URL));
}
