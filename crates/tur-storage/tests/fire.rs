//! Claims under fire: what somebody, a crash or a bad disk did to part and journal between two runs is found, fetched
//! again, and the file is right. No case relies on the times of files: the disk in memory has none, and on the real one
//! the damage is done in the moment after the last write.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;

use common::{URL, body, content, fill, identity, open, place, range, set, write};
use tur_core::{ByteRange, RangeSet};
use tur_storage::journal::{Here, Replayed, replay};
use tur_storage::{Disk, Exists, FileDisk, FileId, Loss, MemDisk, Open, Opened, StorageError};

const TOTAL: u64 = 40_000;
/// Synced, in two runs.
const DURABLE: [(u64, u64); 2] = [(0, 4_000), (6_000, 9_000)];
/// By a lane that has ended, and by one that was at work: not synced.
const ENDED: (u64, u64) = (12_000, 15_000);
const AT_WORK: (u64, u64) = (20_000, 26_000);

/// Writes what the constants say, and stops as a killed process does.
fn killed(disk: &MemDisk) -> MemDisk {
    let part = open(disk.clone(), &place("/d")).part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    for (slot, (start, end)) in DURABLE.into_iter().enumerate() {
        fill(&part, slot as u16, 1, range(start, end)).unwrap();
    }
    // The slot of this lane tells more than a checkpoint has synced, and later less again.
    let mut lane = part.writer(5, 1, range(AT_WORK.0, TOTAL));
    write(&mut lane, 1, 1_000).unwrap();
    part.checkpoint().unwrap().run().unwrap();
    write(&mut lane, 1, 2_500).unwrap();
    write(&mut lane, 1, 2_500).unwrap();
    fill(&part, 2, 1, range(ENDED.0, ENDED.1)).unwrap();
    disk.crash(disk.changes(), Loss::Nothing)
}

fn all() -> RangeSet {
    set(&[DURABLE[0], DURABLE[1], ENDED, AT_WORK])
}

fn put<D: Disk>(disk: &D, dir: &Path, name: &str, at: u64, bytes: &[u8]) {
    let dir = disk.open_dir(dir, false).unwrap();
    let file = disk.open(&dir, name, Open::Existing).unwrap();
    let taken = disk.write_at(&file, at, &[IoSlice::new(bytes)]).unwrap();
    assert_eq!(taken, bytes.len());
}

/// Goes on, and says what was kept. Whatever it was, it is right, and so is the file in the end.
fn goes_on<D: Disk + Clone>(disk: &D, place: &tur_storage::Place, what: &str) -> RangeSet {
    let Opened { part, saved } = open(disk.clone(), place);
    let claimed = saved.as_ref().map(|saved| saved.claimed.clone());
    let claimed = claimed.unwrap_or_default();
    for kept in claimed.iter() {
        let mut bytes = vec![0; kept.len() as usize];
        assert_eq!(part.read_at(kept.start, &mut bytes).unwrap(), bytes.len());
        assert!(bytes == body(1, kept), "{what}: {kept:?} was believed");
    }
    let keep = !claimed.is_empty();
    part.begin(URL, &identity(1, TOTAL), keep).unwrap();
    for gap in part.covered().gaps(range(0, TOTAL)).iter() {
        fill(&part, 0, 1, gap).unwrap();
    }
    part.commit(TOTAL, Exists::Refuse, None).unwrap();
    let file = content(disk, place, "file").unwrap();
    assert!(file == body(1, range(0, TOTAL)), "{what}: the file");
    claimed
}

/// Sets the length of the part, as somebody else would.
fn cut(disk: &MemDisk, len: u64) {
    let dir = disk.open_dir(Path::new("/d"), false).unwrap();
    let file = disk.open(&dir, "file.part", Open::Existing).unwrap();
    disk.set_len(&file, len).unwrap();
}

fn minus(mut from: RangeSet, lost: &[(u64, u64)]) -> RangeSet {
    lost.iter().for_each(|(start, end)| {
        from.remove(range(*start, *end));
    });
    from
}

#[test]
fn without_damage_everything_is_kept() {
    let disk = killed(&MemDisk::new());
    assert_eq!(goes_on(&disk, &place("/d"), "nothing"), all());
}

#[test]
fn zeros_and_torn_data_under_good_records_are_fetched_again() {
    let lost: [(u64, &[(u64, u64)]); 6] = [
        (100, &[DURABLE[0]]),
        (3_999, &[DURABLE[0]]),
        (7_500, &[DURABLE[1]]),
        (14_000, &[ENDED]),
        // The lane's first thousand bytes were synced, the rest is told by its slot.
        (20_500, &[(20_000, 21_000)]),
        (25_000, &[(21_000, 26_000)]),
    ];
    for (at, lost) in lost {
        // Zeros, as after a loss of power; a byte, as on a bad disk; the rest of a run as it was before, as after a torn
        // write.
        let end = lost[0].1;
        let old = body(9, range(at, end));
        for bytes in [&vec![0; 100.min(old.len())], &old[..1].to_vec(), &old] {
            let disk = killed(&MemDisk::new());
            put(&disk, Path::new("/d"), "file.part", at, bytes);
            let what = format!("{} bytes at {at}", bytes.len());
            assert_eq!(
                goes_on(&disk, &place("/d"), &what),
                minus(all(), lost),
                "{what}"
            );
        }
    }
}

#[test]
fn a_part_that_was_cut_is_believed_up_to_there() {
    for (len, kept) in [
        (0, set(&[])),
        (3_000, set(&[(0, 3_000)])),
        (8_000, set(&[DURABLE[0], (6_000, 8_000)])),
        (
            24_000,
            set(&[DURABLE[0], DURABLE[1], ENDED, (20_000, 24_000)]),
        ),
    ] {
        let disk = killed(&MemDisk::new());
        cut(&disk, len);
        assert_eq!(goes_on(&disk, &place("/d"), "cut"), kept);
        // Made long again by somebody: the rest is zeros now, and nothing tells how long it was in between.
        let disk = killed(&MemDisk::new());
        cut(&disk, len);
        cut(&disk, TOTAL);
        goes_on(&disk, &place("/d"), "cut and made long");
    }
}

#[test]
fn after_a_loss_of_power_what_its_checksums_prove_is_kept() {
    let disk = MemDisk::new();
    drop(killed(&disk));
    let synced = set(&[DURABLE[0], DURABLE[1], (20_000, 21_000)]);
    let lost = disk.crash(disk.changes(), Loss::Unsynced);
    assert_eq!(goes_on(&lost, &place("/d"), "unsynced"), synced);
    for seed in 0..200 {
        let torn = disk.crash(disk.changes(), Loss::Torn(seed));
        let kept = goes_on(&torn, &place("/d"), &format!("torn {seed}"));
        assert!(
            minus(synced.clone(), &[])
                .iter()
                .all(|run| kept.covers(run))
        );
        let torn = disk.crash(disk.changes(), Loss::Torn(seed));
        put(&torn, Path::new("/d"), "file.part", 8_000, &[0; 512]);
        let kept = goes_on(&torn, &place("/d"), &format!("torn {seed} and zeros"));
        assert!(kept.covers(range(0, 4_000)) && !kept.overlaps(range(6_000, 9_000)));
    }
}

#[test]
fn a_copy_of_the_part_is_another_file_and_believed_where_it_proves_itself() {
    for damage in [None, Some(13_000_u64)] {
        let disk = killed(&MemDisk::new());
        let mut bytes = content(&disk, &place("/d"), "file.part").unwrap();
        if let Some(at) = damage {
            bytes[at as usize] ^= 1;
        }
        let dir = disk.open_dir(Path::new("/d"), false).unwrap();
        disk.unlink(&dir, "file.part").unwrap();
        drop(disk.open(&dir, "file.part", Open::New(0o600)).unwrap());
        put(&disk, Path::new("/d"), "file.part", 0, &bytes);
        let lost: &[_] = if damage.is_some() { &[ENDED] } else { &[] };
        assert_eq!(goes_on(&disk, &place("/d"), "a copy"), minus(all(), lost));
    }
}

/// Every part of the journal: header, slots, each record's length, CRC and payload, and what is behind them.
#[test]
fn a_damaged_journal_makes_no_wrong_file() {
    let whole = content(&killed(&MemDisk::new()), &place("/d"), "file.tur").unwrap();
    let mut kept: BTreeMap<&str, u64> = BTreeMap::new();
    let sector = |at: usize| at..(at + 512).min(whole.len());
    let damages = (0..whole.len())
        .step_by(11)
        .map(|at| (at..at + 1, 0x20))
        .chain((0..whole.len()).step_by(512).map(|at| (sector(at), 0)))
        .chain([(0..whole.len(), 0), (0..4_096, 0), (4_096..whole.len(), 0)]);
    for (at, flip) in damages {
        let region = match at.start {
            0..64 => "header",
            64..4_096 => "slots",
            _ => "records",
        };
        let what = format!("{at:?} of {region} ^ {flip}");
        let disk = killed(&MemDisk::new());
        let changed: Vec<u8> = whole[at.clone()]
            .iter()
            .map(|b| (b ^ flip) * u8::from(flip != 0))
            .collect();
        put(
            &disk,
            Path::new("/d"),
            "file.tur",
            at.start as u64,
            &changed,
        );
        // A header that is nobody's, or of another version, is refused: nothing is overwritten then.
        match tur_storage::Part::open(disk.clone(), &place("/d"), URL) {
            Err(StorageError::Foreign { .. } | StorageError::Version { .. }) => {
                assert_eq!(region, "header", "{what}");
                assert!(content(&disk, &place("/d"), "file.tur").unwrap().len() == whole.len());
                continue;
            }
            Err(error) => panic!("{what}: {error}"),
            Ok(opened) => drop(opened),
        }
        *kept.entry(region).or_default() += goes_on(&disk, &place("/d"), &what).len();
    }
    // Damage to one place is not the end of everything.
    assert!(kept["slots"] > 0 && kept["records"] > 0, "{kept:?}");
}

/// The real disk, at once after the last write: nothing can be told by the times of the files.
#[test]
fn damage_in_the_moment_after_the_last_write_is_found_on_every_disk() {
    for (kind, root) in common::kinds_and_roots() {
        for at in [100_u64, 7_000, 13_000] {
            let dir = tempfile::tempdir_in(&root).unwrap();
            let (disk, place) = (FileDisk::new(kind), place(dir.path()));
            let part = open(disk, &place).part;
            part.begin(URL, &identity(1, TOTAL), false).unwrap();
            fill(&part, 0, 1, range(0, 4_000)).unwrap();
            part.checkpoint().unwrap().run().unwrap();
            fill(&part, 1, 1, range(6_000, 9_000)).unwrap();
            let mut lane = part.writer(2, 1, range(ENDED.0, ENDED.1));
            write(&mut lane, 1, 3_000).unwrap();
            part.stop().unwrap();
            drop((lane, part));
            put(&disk, dir.path(), "file.part", at, &[0; 64]);
            let runs = [
                range(0, 4_000),
                range(6_000, 9_000),
                range(ENDED.0, ENDED.1),
            ];
            let kept: RangeSet = runs.into_iter().filter(|run| !holds(*run, at)).collect();
            assert_eq!(goes_on(&disk, &place, "at once"), kept, "{kind:?} {at}");
        }
    }
}

fn holds(run: ByteRange, at: u64) -> bool {
    (run.start..run.end).contains(&at)
}

/// What was read again at an opening and found right is on record with its CRC: the next opening can do so too.
#[test]
fn what_was_kept_once_can_be_proven_again() {
    let disk = killed(&MemDisk::new());
    let Opened { part, saved } = open(disk.clone(), &place("/d"));
    part.begin(URL, &saved.unwrap().identity, true).unwrap();
    let again = disk.crash(disk.changes(), Loss::Nothing);
    put(&again, Path::new("/d"), "file.part", 13_000, &[0; 9]);
    let kept = goes_on(&again, &place("/d"), "the second time");
    assert_eq!(kept, minus(all(), &[ENDED]));
    // A checkpoint makes it durable without another read of it.
    let durable = part.checkpoint().unwrap().run().unwrap();
    assert_eq!(durable.ranges(), &set(&[ENDED, (21_000, 26_000)]));
    let lost = disk.crash(disk.changes(), Loss::Unsynced);
    assert_eq!(goes_on(&lost, &place("/d"), "durable"), all());
}

/// Bytes that somebody changed under a good journal, as a power loss or a careless tool does, are not believed.
#[test]
fn a_part_changed_after_its_journal_is_only_believed_where_its_checksums_prove_it() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let part = open(FileDisk::default(), &place).part;
    part.begin(URL, &identity(1, TOTAL), false).unwrap();
    fill(&part, 0, 1, range(0, 4_000)).unwrap();
    part.checkpoint().unwrap().run().unwrap();
    fill(&part, 1, 1, range(8_000, 12_000)).unwrap();
    drop(part);
    let file = std::fs::File::options()
        .write(true)
        .open(dir.path().join("file.part"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 100], 9_000).unwrap();
    // The file's own times say it: no waiting is needed for the change to be later.
    let later = file.metadata().unwrap().modified().unwrap() + std::time::Duration::from_secs(1);
    file.set_modified(later).unwrap();
    drop(file);
    let saved = open(FileDisk::default(), &place).saved.unwrap();
    assert_eq!(saved.claimed, set(&[(0, 4_000)]));
    assert!(!saved.notes.is_empty());
}

/// A lane goes on where an earlier one stopped, and ends: its slot then says again what its record says. That takes nothing
/// from what the earlier one wrote.
#[test]
fn a_slot_that_repeats_a_record_takes_no_checksum_away() {
    let disk = MemDisk::new();
    let there = place("/d");
    let part = open(disk.clone(), &there).part;
    part.begin(URL, &identity(1, 300_000), false).unwrap();
    fill(&part, 0, 1, range(0, 100_000)).unwrap();
    fill(&part, 0, 1, range(100_000, 200_000)).unwrap();
    let bytes = content(&disk, &there, "file.tur").unwrap();
    assert_eq!(proven_anywhere(&bytes), set(&[(0, 200_000)]));
}

/// What a journal proves where nothing is trusted: on another machine, with another file.
fn proven_anywhere(journal: &[u8]) -> RangeSet {
    let here = Here {
        boot: None,
        part: FileId::default(),
    };
    let Replayed::Journal(journal) = replay(journal, &here) else {
        panic!("it can be read");
    };
    let runs = journal.runs.iter().chain(&journal.written);
    runs.map(|run| run.range).collect()
}

/// A lane is killed with more behind it than its last checkpoint saw; the next process goes on and is killed too. What
/// the first one wrote must still have a checksum: without one it would not outlive a part that is newer than its journal.
#[test]
fn no_claim_loses_its_checksum_by_being_gone_on_with() {
    let disk = MemDisk::new();
    let there = place("/d");
    let part = open(disk.clone(), &there).part;
    part.begin(URL, &identity(1, 300_000), false).unwrap();
    let mut writer = part.writer(0, 1, range(0, 300_000));
    write(&mut writer, 1, 100_000).unwrap();
    part.checkpoint().unwrap().run().unwrap();
    write(&mut writer, 1, 100_000).unwrap();
    let mut disk = disk.crash(disk.changes(), Loss::Nothing);
    for _ in 0..3 {
        let Opened { part, saved } = open(disk.clone(), &there);
        assert_eq!(saved.unwrap().claimed, set(&[(0, 200_000)]));
        part.begin(URL, &identity(1, 300_000), true).unwrap();
        disk = disk.crash(disk.changes(), Loss::Nothing);
        let bytes = content(&disk, &there, "file.tur").unwrap();
        assert_eq!(proven_anywhere(&bytes), set(&[(0, 200_000)]));
    }
}
