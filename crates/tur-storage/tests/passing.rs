//! Files that do not stay: nobody finds them, and what was read of one that passes takes no room.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use common::{URL, body, fill, identity, kinds_and_roots, open, place, range};
use tempfile::TempDir;
use tur_core::{ByteRange, RangeSet};
use tur_storage::{Disk as _, Exists, FileDisk, Found, Reader, Stay, StorageError, survey};

const MIB: u64 = 1 << 20;

fn range_set(range: ByteRange) -> RangeSet {
    RangeSet::from_iter([range])
}

#[track_caller]
fn assert_bytes(reader: &Reader<FileDisk>, tag: u8, range: ByteRange) {
    let mut have = vec![0; usize::try_from(range.len()).unwrap()];
    let came = reader.read_covered(range.start, &mut have).unwrap();
    assert_eq!(came, have.len());
    assert!(have == body(tag, range), "wrong bytes in {range}");
}

fn assert_nothing(dir: &TempDir) {
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
}

#[test]
fn a_temporary_file_lives_and_ends_without_a_name() {
    for (kind, root) in kinds_and_roots() {
        for total in [5_000, 3 * MIB] {
            let dir = tempfile::tempdir_in(&root).unwrap();
            let (disk, place) = (
                FileDisk::new(kind).staying(Stay::Temporary),
                place(dir.path()),
            );
            let part = open(disk, &place).part;
            part.begin(URL, &identity(1, total), false).unwrap();
            fill(&part, 0, 1, range(0, total / 2)).unwrap();
            part.checkpoint().unwrap().run().unwrap();
            assert_nothing(&dir);
            // Another one of that name is another file.
            let other = open(disk, &place);
            assert!(other.saved.is_none());
            fill(&part, 0, 1, range(total / 2, total)).unwrap();
            assert!(part.check().unwrap().is_empty());
            let reader = part.reader();
            part.commit(total, Exists::Refuse, None).unwrap();
            assert_nothing(&dir);
            assert_eq!(survey(&disk, &place).unwrap(), Found::Nothing);
            assert_bytes(&reader, 1, range(0, total));
        }
    }
}

#[test]
fn what_has_passed_takes_no_room_and_is_never_read_as_zeros() {
    for (kind, root) in kinds_and_roots() {
        let dir = tempfile::tempdir_in(&root).unwrap();
        let (disk, place) = (
            FileDisk::new(kind).staying(Stay::Passing),
            place(dir.path()),
        );
        assert_eq!(
            disk.available(&disk.open_dir(dir.path(), false).unwrap())
                .unwrap(),
            u64::MAX,
            "whether the whole fits is not asked"
        );
        let total = 20 * MIB;
        let part = open(disk, &place).part;
        part.begin(URL, &identity(1, total), false).unwrap();
        // A gap in front: what lies behind it is given back all the same.
        fill(&part, 0, 1, range(MIB, total)).unwrap();
        let missing = || part.room().unwrap().unwrap().missing;
        let before = missing();
        assert!(!part.give_back(MIB / 2).unwrap());
        assert!(!part.give_back(3 * MIB).unwrap());
        assert_eq!(missing(), before, "too little to be worth a call");
        let reader = part.reader();
        assert!(part.give_back(13 * MIB).unwrap());
        assert!(!part.give_back(13 * MIB).unwrap(), "there is no more");
        // Whoever asks for it again is told, and nobody is told zeros.
        for at in [0, MIB, 12 * MIB - 1] {
            for read in [
                reader.read_at(at, &mut [0; 9]),
                part.read_at(at, &mut [0; 9]),
            ] {
                let gone = matches!(read, Err(StorageError::GivenBack { before, .. }) if before == 12 * MIB);
                assert!(gone, "{read:?}");
            }
        }
        let read = reader.read_covered(5 * MIB, &mut [0; 9]);
        assert!(matches!(read, Err(StorageError::GivenBack { .. })));
        assert_bytes(&reader, 1, range(12 * MIB, total));
        // Who reads sees no more of it, and for the whole file nothing is missing.
        assert_eq!(reader.covered(), range_set(range(12 * MIB, total)));
        assert_eq!(part.covered(), range_set(range(MIB, total)));
        for start in [0, MIB, 12 * MIB - 1] {
            let missing = reader.first_missing(range(start, total));
            assert!(matches!(missing, Err(StorageError::GivenBack { .. })));
        }
        let there = [range(12 * MIB, total), range(5, 5)];
        assert!(
            there
                .iter()
                .all(|range| reader.first_missing(*range).unwrap().is_none())
        );
        assert!(missing() >= before + 10 * MIB, "the room is free");
        // What is void comes again: it can be read, and goes as it came.
        part.forget(ByteRange::from(0)).unwrap();
        fill(&part, 0, 1, range(0, 9 * MIB)).unwrap();
        assert_bytes(&reader, 1, range(0, 9 * MIB));
        let before = missing();
        part.give_back(13 * MIB).unwrap();
        assert!(missing() >= before + 7 * MIB, "as far as it has come");
        let read = reader.read_at(8 * MIB - 1, &mut [0; 9]);
        assert!(matches!(read, Err(StorageError::GivenBack { before, .. }) if before == 8 * MIB));
        assert_bytes(&reader, 1, range(8 * MIB, 9 * MIB));
        // Lost in part, the rest of what was given back is gone still.
        part.forget(range(MIB, 2 * MIB)).unwrap();
        assert!(reader.read_at(3 * MIB, &mut [0; 9]).is_err());
        // Begun anew, all of it can be read.
        part.begin(URL, &identity(2, total), false).unwrap();
        fill(&part, 0, 2, range(0, MIB)).unwrap();
        assert_bytes(&reader, 2, range(0, MIB));
        assert_eq!(reader.covered(), range_set(range(0, MIB)));
    }
}

/// Who begins to read in the middle has passed what comes before, whenever it comes.
#[test]
fn what_comes_after_it_was_passed_takes_no_room_either() {
    for (kind, root) in kinds_and_roots() {
        let dir = tempfile::tempdir_in(&root).unwrap();
        let disk = FileDisk::new(kind).staying(Stay::Passing);
        let total = 20 * MIB;
        let part = open(disk, &place(dir.path())).part;
        part.begin(URL, &identity(1, total), false).unwrap();
        let before = part.room().unwrap().unwrap().missing;
        for n in 0..10 {
            fill(&part, 0, 1, range(n * 2 * MIB, (n + 1) * 2 * MIB)).unwrap();
            part.give_back(17 * MIB).unwrap();
            let taken = before - part.room().unwrap().unwrap().missing;
            assert!(taken <= 8 * MIB, "{taken} after {n}");
        }
        assert_bytes(&part.reader(), 1, range(17 * MIB, total));
    }
}

/// It is to do with little more than a window: of a large file too, no more is reserved than is written soon.
#[test]
fn a_passing_file_reserves_little() {
    for (kind, root) in kinds_and_roots() {
        let taken = |stay: Stay| {
            let dir = tempfile::tempdir_in(&root).unwrap();
            let part = open(FileDisk::new(kind).staying(stay), &place(dir.path())).part;
            let total = 200 * MIB;
            part.begin(URL, &identity(1, total), false).unwrap();
            fill(&part, 0, 1, range(0, MIB / 2)).unwrap();
            total - part.room().unwrap().unwrap().missing
        };
        assert!(taken(Stay::Passing) <= 2 * MIB);
        assert!(taken(Stay::Kept) >= MIB / 2);
    }
}
