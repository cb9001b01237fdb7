//! What stands unfinished in a directory is listed, and nothing of it is touched.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use common::{URL, fill, identity, open, place, range};
use tempfile::TempDir;
use tur_storage::{
    FileName, Part, Place, PosixDisk, StorageError, Unfinished, unfinished, unfinished_file,
};

fn begun(dir: &TempDir, name: &str, total: u64, written: u64) -> Part<PosixDisk> {
    let place = Place {
        name: FileName::new(name).unwrap(),
        ..place(dir.path())
    };
    let part = open(PosixDisk, &place).part;
    part.begin(URL, &identity(1, total), false).unwrap();
    fill(&part, 0, 1, range(0, written)).unwrap();
    part
}

#[expect(clippy::disallowed_methods, reason = "others put things there too")]
fn litter(dir: &std::path::Path) {
    std::fs::write(dir.join("noise.tur"), b"no journal").unwrap();
    std::fs::write(dir.join("noise.part"), b"no part").unwrap();
    std::fs::write(dir.join("alone.tur"), b"").unwrap();
    std::fs::create_dir(dir.join("folder.tur")).unwrap();
}

#[test]
fn what_is_begun_is_listed_and_what_is_complete_or_foreign_is_not() {
    let dir = TempDir::new().unwrap();
    begun(&dir, "b", 9_000, 4_000).stop().unwrap();
    begun(&dir, "a", 5_000, 0).stop().unwrap();
    let done = begun(&dir, "done", 1_000, 1_000);
    done.commit(1_000, tur_storage::Exists::Refuse, None)
        .unwrap();
    // Somebody works on this one, and goes on to.
    let held = begun(&dir, "held", 7_000, 6_000);
    litter(dir.path());
    let meant = |name: &str, landed, total| Unfinished {
        path: dir.path().join(name),
        url: URL.to_owned(),
        landed,
        total: Some(total),
    };
    let listed = unfinished(dir.path(), 10).unwrap();
    let all = [
        meant("a", 0, 5_000),
        meant("b", 4_000, 9_000),
        meant("held", 6_000, 7_000),
    ];
    assert_eq!(listed, all);
    assert_eq!(unfinished(dir.path(), 2).unwrap(), all[..2]);
    fill(&held, 1, 1, range(6_000, 7_000)).unwrap();
    held.commit(7_000, tur_storage::Exists::Refuse, None)
        .unwrap();
    assert!(unfinished(&dir.path().join("nowhere"), 10).is_err());
}

#[test]
fn one_name_is_looked_at_and_why_it_is_nothing_is_told() {
    let dir = TempDir::new().unwrap();
    begun(&dir, "b", 9_000, 4_000).stop().unwrap();
    litter(dir.path());
    let found = unfinished_file(dir.path(), "b").unwrap();
    assert_eq!((found.landed, found.total), (4_000, Some(9_000)));
    assert_eq!(found.path, dir.path().join("b"));
    let why = |name| unfinished_file(dir.path(), name).unwrap_err();
    for name in ["nothing", "alone", "folder", "b.part", ""] {
        assert!(matches!(why(name), StorageError::NotBegun { .. }), "{name}");
    }
    assert!(matches!(why("noise"), StorageError::Damaged { .. }));
    let nowhere = unfinished_file(&dir.path().join("nowhere"), "b");
    assert!(matches!(nowhere, Err(StorageError::Io { .. })));
}
