//! Journals with little room: nothing is lost over many records and resumes, nor by a crash while one is written anew.

use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use tur_core::{ByteRange, Chunks, Identity, RangeSet};

use super::*;
use crate::{FileName, Loss, MemDisk, Opened, Part, Place, Sampling, Saved};

const TOTAL: u64 = 3_000;
/// Room for some thirty records.
const ROOM: u64 = 600;
/// Written with wrong bytes first.
const BAD: ByteRange = ByteRange {
    start: 1_000,
    end: 1_040,
};

fn place() -> Place {
    Place {
        dir: "/d".into(),
        name: FileName::new("file").unwrap(),
        create_dirs: true,
    }
}

fn byte(at: u64) -> u8 {
    u8::try_from(at % 251).unwrap()
}

/// Opens the part, and gives its journal little room.
fn open(disk: &MemDisk) -> Result<(Part<MemDisk>, Option<Saved>), StorageError> {
    let Opened { mut part, saved } = Part::open(disk.clone(), &place(), "u")?;
    let shared = Arc::get_mut(&mut part.shared).unwrap();
    shared.journal_max = PAGE as u64 + ROOM;
    Ok((part, saved))
}

fn begin(part: &Part<MemDisk>, keep: bool) -> Result<(), StorageError> {
    let identity = Identity {
        total: Some(TOTAL),
        ..Identity::default()
    };
    part.begin("u", &identity, keep).map(drop)
}

/// Writes a range by one writer; `flip` makes its bytes wrong.
fn fill(part: &Part<MemDisk>, range: ByteRange, flip: u8) -> Result<(), StorageError> {
    let bytes: Vec<u8> = (range.start..range.end).map(|at| byte(at) ^ flip).collect();
    let mut chunks = Chunks::new();
    let len = bytes.len();
    chunks.push(Bytes::from(bytes));
    let mut writer = part.writer(0, 1, range);
    writer.write(&mut chunks, len)?;
    match writer.finish() {
        // The driver drops its writers: a claim is told later.
        Err(StorageError::JournalFull { .. }) => Ok(()),
        done => done,
    }
}

fn content(disk: &MemDisk, name: &str) -> Option<Vec<u8>> {
    let dir = disk.open_dir("/d".as_ref(), true).unwrap();
    let file = disk.open(&dir, name, Open::Existing).ok()?;
    let len = usize::try_from(disk.stat(&file).unwrap().len).unwrap();
    let mut bytes = vec![0; len];
    read_full(disk, &file, 0, &mut bytes).unwrap();
    Some(bytes)
}

fn journal_len(disk: &MemDisk) -> u64 {
    content(disk, "file.tur").unwrap().len() as u64
}

#[test]
fn many_records_and_resumes_lose_nothing() {
    let disk = MemDisk::new();
    let (mut covered, mut shrunk) = (RangeSet::new(), 0);
    for turn in 0..10 {
        let (part, saved) = open(&disk).unwrap();
        let claimed = saved.map(|saved| saved.claimed).unwrap_or_default();
        assert_eq!(claimed, covered, "turn {turn}");
        begin(&part, turn > 0).unwrap();
        let mut before = journal_len(&disk);
        for piece in 0..60 {
            let start = turn * 300 + piece * 5;
            fill(&part, ByteRange::new(start, start + 5), 0).unwrap();
            if piece % 7 == 6 {
                part.checkpoint().unwrap().run().unwrap();
            }
            let len = journal_len(&disk);
            assert!(len <= PAGE as u64 + ROOM);
            shrunk += u32::from(len < before);
            before = len;
            covered = part.covered();
            // Every point is one at which the process may be killed.
            let killed = disk.crash(disk.changes(), Loss::Nothing);
            let (_, saved) = open(&killed).unwrap();
            assert_eq!(saved.unwrap().claimed, covered);
        }
        if turn % 2 == 0 {
            part.stop().unwrap();
        }
    }
    assert_eq!(covered, [ByteRange::new(0, TOTAL)].into_iter().collect());
    assert!(shrunk > 10, "written anew {shrunk} times");
    let (part, _) = open(&disk).unwrap();
    begin(&part, true).unwrap();
    part.commit(TOTAL, crate::Exists::Refuse, None).unwrap();
    assert_eq!(disk.names("/d".as_ref()), ["file"]);
    let whole: Vec<u8> = (0..TOTAL).map(byte).collect();
    assert_eq!(content(&disk, "file").unwrap(), whole);
}

#[test]
fn a_full_journal_takes_no_more_and_loses_nothing() {
    let disk = MemDisk::new();
    let (part, _) = open(&disk).unwrap();
    begin(&part, false).unwrap();
    for at in 0..200 {
        fill(&part, ByteRange::new(at * 2, at * 2 + 1), 0).unwrap();
    }
    let mut slotless = part.writer(u16::MAX, 1, ByteRange::new(2_000, 2_001));
    let mut chunks = Chunks::new();
    chunks.push(Bytes::from_static(&[243]));
    slotless.write(&mut chunks, 1).unwrap();
    let full = slotless.finish().unwrap_err();
    assert!(matches!(full, StorageError::JournalFull { .. }), "{full}");
    // What takes claims back still finds room, while a checkpoint forbids to write the journal anew.
    let checkpoint = part.checkpoint().unwrap();
    part.forget(ByteRange::new(0, 1)).unwrap();
    let killed = disk.crash(disk.changes(), Loss::Nothing);
    let claimed = open(&killed).unwrap().1.unwrap().claimed;
    assert!(!claimed.overlaps(ByteRange::new(0, 1)) && claimed.overlaps(ByteRange::new(2, 3)));
    let full = checkpoint.run().unwrap_err();
    assert!(matches!(full, StorageError::JournalFull { .. }), "{full}");
    assert!(journal_len(&disk) <= PAGE as u64 + ROOM);
    // Nothing was lost: with more room, all of it is told.
    let mut part = part;
    Arc::get_mut(&mut part.shared).unwrap().journal_max = 1 << 20;
    part.stop().unwrap();
    let killed = disk.crash(disk.changes(), Loss::Nothing);
    let claimed = open(&killed).unwrap().1.unwrap().claimed;
    assert_eq!((claimed.len(), &claimed), (200, &part.covered()));
}

/// What holds when the disk had changed so often.
struct Promise {
    changes: usize,
    covered: RangeSet,
    durable: RangeSet,
    mended: bool,
}

/// Wrong bytes, many small pieces, a resume, and the wrong bytes fetched again; the journal is written anew meanwhile.
fn scene(disk: &MemDisk, promises: &mut Vec<Promise>) -> Result<(), StorageError> {
    let mut durable = RangeSet::new();
    let mut mended = false;
    for turn in 0..2 {
        let (part, _) = open(disk)?;
        begin(&part, turn > 0)?;
        let mut tell = |durable: &RangeSet, covered: RangeSet, mended| {
            promises.push(Promise {
                changes: disk.changes(),
                covered,
                durable: durable.clone(),
                mended,
            });
        };
        if turn == 0 {
            fill(&part, BAD, 1)?;
        }
        for piece in 0..21 {
            let start = turn * 200 + piece * 5;
            fill(&part, ByteRange::new(start, start + 5), 0)?;
            tell(&durable, part.covered(), mended);
            if piece % 7 == 6 {
                let done = part.checkpoint()?.run();
                durable.extend(done?.ranges().iter());
                tell(&durable, part.covered(), mended);
            }
        }
        if turn == 1 {
            // Runs that lose a byte are durable no more; which those are is not the scene's business.
            durable = RangeSet::new();
            tell(&durable, RangeSet::new(), false);
            part.forget(BAD)?;
            mended = true;
            tell(&durable, part.covered(), mended);
            fill(&part, BAD, 0)?;
            let done = part.checkpoint()?.run();
            durable.extend(done?.ranges().iter());
            tell(&durable, part.covered(), mended);
        }
    }
    Ok(())
}

/// Looks at what a crash has left: right bytes, or wrong ones that nobody has taken back; and all that was promised.
fn judge(found: &MemDisk, mended: bool, promised: &RangeSet, what: &str) {
    let saved = open(found)
        .unwrap_or_else(|error| panic!("{what}: {error}"))
        .1;
    let claimed = saved.map(|saved| saved.claimed).unwrap_or_default();
    let bytes = content(found, "file.part").unwrap_or_default();
    for range in claimed.iter() {
        for at in range.start..range.end {
            let is = bytes[usize::try_from(at).unwrap()];
            let known = !mended && BAD.contains(at) && is == byte(at) ^ 1;
            assert!(is == byte(at) || known, "{what}: byte {at} is {is}");
        }
    }
    for range in promised.iter() {
        assert!(claimed.covers(range), "{what}: {range} is not claimed");
    }
    let left = found.names("/d".as_ref());
    assert!(!left.contains(&"file.tur.new".into()), "{what}: {left:?}");
}

fn promise(promises: &[Promise], changes: usize) -> Option<&Promise> {
    promises
        .iter()
        .rev()
        .find(|promise| promise.changes <= changes)
}

#[test]
fn a_crash_at_any_point_finds_the_old_journal_or_the_new_one() {
    let disk = MemDisk::new();
    let mut promises = Vec::new();
    scene(&disk, &mut promises).unwrap();
    let nothing = RangeSet::new();
    let mut anew = 0;
    for changes in 0..=disk.changes() {
        let killed = disk.crash(changes, Loss::Nothing);
        anew += u32::from(killed.names("/d".as_ref()).contains(&"file.tur.new".into()));
        let told = promise(&promises, changes);
        let what = format!("killed at {changes}");
        let covered = told.map_or(&nothing, |told| &told.covered);
        let mended = told.is_some_and(|told| told.mended);
        judge(&killed, mended, covered, &what);
    }
    let sampling = Sampling {
        whole: 4,
        samples: 16,
        seed: 3,
    };
    let mut states = 0;
    for (crash, found) in disk.crashes(sampling) {
        let told = promise(&promises, crash.changes);
        let durable = told.map_or(&nothing, |told| &told.durable);
        let mended = told.is_some_and(|told| told.mended);
        judge(&found, mended, durable, &format!("{crash:?}"));
        states += 1;
    }
    // Each new journal is made, written and synced under that name.
    assert!(anew >= 6, "{anew}");
    println!(
        "{} kills, {states} losses of power, 0 wrong",
        disk.changes()
    );
    assert!(states > 1_000, "{states}");
}

#[test]
fn any_call_may_fail_while_the_journal_is_written_anew() {
    let calls = {
        let disk = MemDisk::new();
        scene(&disk, &mut Vec::new()).unwrap();
        disk.calls()
    };
    for call in 1..=calls {
        let disk = MemDisk::new();
        disk.fail_call(call, ErrorKind::Other);
        let mut promises = Vec::new();
        let done = scene(&disk, &mut promises);
        // A failed sync takes back what was promised.
        let nothing = RangeSet::new();
        let mended = promises.last().is_some_and(|last| last.mended);
        for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(call)] {
            let found = disk.crash(disk.changes(), loss);
            judge(
                &found,
                mended,
                &nothing,
                &format!("call {call}: {done:?}, {loss:?}"),
            );
        }
    }
}
