//! Crashes and failures at every point of a download: what is claimed afterwards is true, and the target is whole.
//!
//! One scripted download, two representations in turn (a restart lies between), wrong bytes that are forgotten and
//! written again, checkpoints with writes going on. Every byte tells where it belongs, so a claim can be checked.
#![expect(clippy::unwrap_used, reason = "a test fails where it panics")]

mod common;

use std::io::ErrorKind;
use std::sync::OnceLock;

use common::{URL, body, byte, content, fill, identity, open, place, range, tag_of, write};
use tur_core::{ByteRange, RangeSet};
use tur_storage::journal::{Here, Journal, Replayed, replay};
use tur_storage::{Disk, Exists, FileId, Loss, MemDisk, Opened, Part, Saved, StorageError};

const TOTAL: u64 = 24_000;
/// Written with wrong bytes first, then forgotten.
const BAD: ByteRange = ByteRange {
    start: 20_000,
    end: 22_000,
};
/// The wrong bytes.
const WRONG: u8 = 9;

/// What holds from a point of the script on.
#[derive(Clone, Debug, Default)]
struct Mark {
    /// Changes of the disk so far.
    changes: usize,
    /// What a killed process must leave claimed.
    covered: RangeSet,
    /// What a loss of power must leave claimed.
    durable: RangeSet,
    /// True once the wrong bytes were forgotten.
    mended: bool,
}

/// Runs the script and notes what holds after each step.
struct Script<'a> {
    disk: &'a MemDisk,
    marks: Vec<Mark>,
}

impl Script<'_> {
    fn now(&self) -> Mark {
        let last = self.marks.last().cloned().unwrap_or_default();
        Mark {
            changes: self.disk.changes(),
            ..last
        }
    }

    /// After a step that adds.
    fn mark(&mut self, part: &Part<MemDisk>) {
        let covered = part.covered();
        self.marks.push(Mark {
            covered,
            ..self.now()
        });
    }

    /// Before a step that takes away: until the next mark nothing is promised but truth.
    fn promise_nothing(&mut self) {
        self.marks.push(Mark {
            covered: RangeSet::new(),
            durable: RangeSet::new(),
            ..self.now()
        });
    }

    fn checkpoint(&mut self, part: &Part<MemDisk>) -> Result<(), StorageError> {
        let durable = part.checkpoint()?.run()?;
        let mut mark = self.now();
        mark.durable.extend(durable.ranges().iter());
        self.marks.push(mark);
        Ok(())
    }

    fn run(&mut self) -> Result<(), StorageError> {
        let Opened { part, saved } = Part::open(self.disk.clone(), &place("/d"), URL)?;
        assert_eq!(saved, None);
        self.first_representation(&part)?;
        self.promise_nothing();
        part.begin(URL, &identity(2, TOTAL), false)?;
        self.mark(&part);
        self.second_representation(&part)?;
        self.mend(&part)?;
        for gap in part.covered().gaps(range(0, TOTAL)).iter() {
            fill(&part, 3, 2, gap)?;
            self.mark(&part);
        }
        assert_eq!(part.check()?, RangeSet::new());
        part.commit(TOTAL, Exists::Refuse, None)?;
        Ok(())
    }

    fn first_representation(&mut self, part: &Part<MemDisk>) -> Result<(), StorageError> {
        part.begin(URL, &identity(1, TOTAL), false)?;
        self.mark(part);
        let mut low = part.writer(0, 1, range(0, 8_000));
        let mut high = part.writer(1, 2, range(8_000, TOTAL));
        for len in [700, 1_300, 513] {
            write(&mut low, 1, len)?;
            self.mark(part);
            write(&mut high, 1, len + 400)?;
            self.mark(part);
        }
        self.checkpoint(part)?;
        write(&mut high, 1, 2_000)?;
        self.mark(part);
        low.finish()?;
        self.mark(part);
        // The slot is used again by the next lease.
        fill(part, 0, 1, range(6_000, 7_000))?;
        self.mark(part);
        Ok(())
    }

    fn second_representation(&mut self, part: &Part<MemDisk>) -> Result<(), StorageError> {
        let mut low = part.writer(0, 11, range(0, 10_000));
        let mut high = part.writer(1, 12, range(10_000, BAD.start));
        write(&mut low, 2, 3_000)?;
        self.mark(part);
        fill(part, 2, WRONG, range(BAD.start, 21_000))?;
        self.mark(part);
        self.checkpoint(part)?;
        write(&mut high, 2, 2_500)?;
        self.mark(part);
        // Writes go on while a checkpoint waits.
        let job = part.checkpoint()?;
        write(&mut low, 2, 1_000)?;
        write(&mut high, 2, 900)?;
        self.mark(part);
        let durable = job.run()?;
        let mut mark = self.now();
        mark.durable.extend(durable.ranges().iter());
        self.marks.push(mark);
        write(&mut low, 2, 600)?;
        self.mark(part);
        high.finish()?;
        self.mark(part);
        Ok(())
    }

    fn mend(&mut self, part: &Part<MemDisk>) -> Result<(), StorageError> {
        // A checkpoint is on its way when bytes of its runs are forgotten: others of them were durable before.
        fill(part, 2, WRONG, range(21_000, BAD.end))?;
        self.mark(part);
        let mut lane = part.writer(4, 21, range(22_000, 23_000));
        write(&mut lane, 2, 400)?;
        self.mark(part);
        let before = self.now();
        self.promise_nothing();
        let job = part.checkpoint()?;
        part.forget(BAD)?;
        let mut mark = Mark {
            changes: self.disk.changes(),
            mended: true,
            ..before
        };
        mark.covered.remove(BAD);
        mark.durable.remove(BAD);
        self.marks.push(mark);
        write(&mut lane, 2, 100)?;
        fill(part, 2, 2, range(BAD.start, BAD.start + 700))?;
        self.mark(part);
        job.run()?;
        self.mark(part);
        lane.finish()?;
        self.checkpoint(part)
    }
}

fn last_mark(marks: &[Mark], changes: usize) -> Mark {
    let before = marks.iter().rev().find(|mark| mark.changes <= changes);
    before.cloned().unwrap_or_default()
}

/// All bytes of a representation, made once.
fn whole(tag: u8) -> &'static [u8] {
    static BODIES: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    BODIES[usize::from(tag)].get_or_init(|| body(tag, range(0, TOTAL)))
}

/// Every claimed byte must be the byte of the representation that the journal names.
fn claims_are_true(claimed: &RangeSet, tag: u8, part: &[u8], mended: bool, what: &str) {
    for piece in claimed.iter() {
        let bytes = piece.start as usize..piece.end as usize;
        let found = part.get(bytes.clone());
        if found.is_some() && found == whole(tag).get(bytes) {
            continue;
        }
        for at in piece.start..piece.end {
            let found = part.get(at as usize).copied();
            let wrong = !mended && tag == 2 && BAD.contains(at) && found == Some(byte(WRONG, at));
            assert!(
                found == Some(byte(tag, at)) || wrong,
                "{what}: byte {at} of {tag} is {found:?}"
            );
        }
    }
}

/// Opens what a crash left, checks it, and ends the download on it. Returns what was saved.
fn recover(disk: &MemDisk, mended: bool, what: &str) -> Option<Saved> {
    let place = place("/d");
    if let Some(target) = content(disk, &place, "file") {
        assert!(target == whole(2), "{what}: target");
        return None;
    }
    let Opened { part, saved } = open(disk.clone(), &place);
    let kept = saved.as_ref().filter(|saved| tag_of(&saved.identity) == 2);
    if let Some(saved) = &saved {
        let bytes = content(disk, &place, "file.part").unwrap();
        claims_are_true(
            &saved.claimed,
            tag_of(&saved.identity),
            &bytes,
            mended,
            what,
        );
    }
    part.begin(URL, &identity(2, TOTAL), kept.is_some())
        .unwrap();
    if !mended {
        part.forget(BAD).unwrap();
    }
    for gap in part.covered().gaps(range(0, TOTAL)).iter() {
        fill(&part, 0, 2, gap).unwrap();
    }
    part.commit(TOTAL, Exists::Refuse, None).unwrap();
    let target = content(disk, &place, "file").unwrap();
    assert!(target == whole(2), "{what}: after recovery");
    saved
}

fn scripted(short: u64) -> (MemDisk, Vec<Mark>) {
    let disk = MemDisk::new();
    disk.write_short(short);
    let mut script = Script {
        disk: &disk,
        marks: Vec::new(),
    };
    script.run().unwrap();
    let marks = script.marks;
    (disk, marks)
}

#[test]
fn the_script_itself_ends_well() {
    for short in [0, 77] {
        let (disk, marks) = scripted(short);
        let target = content(&disk, &place("/d"), "file").unwrap();
        assert!(target == whole(2));
        assert_eq!(marks.last().unwrap().covered, common::set(&[(0, TOTAL)]));
        assert!(
            marks
                .iter()
                .any(|mark| !mark.durable.is_empty() && !mark.mended)
        );
    }
}

#[test]
fn a_kill_at_every_change_keeps_everything_written() {
    let mut states = 0;
    for short in [0, 1, 2] {
        let (disk, marks) = scripted(short);
        for changes in 0..=disk.changes() {
            let mark = last_mark(&marks, changes);
            let what = format!("kill at {changes}, short {short}");
            let saved = recover(&disk.crash(changes, Loss::Nothing), mark.mended, &what);
            // A slot that is written in two calls vouches for nothing in between: whole writes keep everything.
            if let Some(saved) = saved.filter(|_| short == 0) {
                let missing: Vec<_> = mark
                    .covered
                    .iter()
                    .filter(|r| !saved.claimed.covers(*r))
                    .collect();
                assert!(missing.is_empty(), "{what}: not claimed: {missing:?}");
            }
            states += 1;
        }
    }
    println!("killed in {states} states");
    assert!(states > 300, "{states}");
}

#[test]
fn a_loss_of_power_at_every_change_keeps_what_was_durable() {
    let mut states = 0;
    let (disk, marks) = scripted(0);
    for changes in 0..=disk.changes() {
        let losses = (0..60).map(|seed| Loss::Torn(seed * 7919 + changes as u64));
        for loss in [Loss::Unsynced].into_iter().chain(losses) {
            let mark = last_mark(&marks, changes);
            let what = format!("power lost at {changes}, {loss:?}");
            let saved = recover(&disk.crash(changes, loss), mark.mended, &what);
            if let Some(saved) = saved {
                let missing: Vec<_> = mark
                    .durable
                    .iter()
                    .filter(|r| !saved.claimed.covers(*r))
                    .collect();
                assert!(missing.is_empty(), "{what}: not claimed: {missing:?}");
            }
            states += 1;
        }
    }
    println!("lost power in {states} states");
    assert!(states > 5_000, "{states}");
}

#[test]
fn a_second_crash_during_recovery_changes_nothing() {
    let mut states = 0;
    let (disk, marks) = scripted(0);
    for changes in (0..=disk.changes()).step_by(7) {
        let mended = last_mark(&marks, changes).mended;
        let first = disk.crash(changes, Loss::Torn(changes as u64));
        recover(&first, mended, "first");
        for again in (0..=first.changes()).step_by(2) {
            for loss in [Loss::Nothing, Loss::Unsynced, Loss::Torn(again as u64)] {
                let what = format!("{changes}, then {again} {loss:?}");
                recover(&first.crash(again, loss), mended, &what);
                states += 1;
            }
        }
    }
    println!("crashed twice in {states} states");
    assert!(states > 300, "{states}");
}

#[test]
fn every_call_may_fail() {
    let calls = {
        let (disk, _) = scripted(0);
        disk.calls()
    };
    let (mut runs, mut ended) = (0, 0);
    for call in 1..=calls {
        for how in [
            ErrorKind::StorageFull,
            ErrorKind::Other,
            ErrorKind::Interrupted,
        ] {
            let disk = MemDisk::new();
            disk.fail_call(call, how);
            let mut script = Script {
                disk: &disk,
                marks: Vec::new(),
            };
            let result = script.run();
            let mended = script.now().mended;
            let what = format!("call {call} failed: {how:?}, then {result:?}");
            if result.is_ok() {
                let target = content(&disk, &place("/d"), "file");
                assert!(target.unwrap() == whole(2), "{what}");
                ended += 1;
            }
            // In the same boot, and after a loss of power.
            recover(&disk.crash(disk.changes(), Loss::Nothing), mended, &what);
            recover(&disk.crash(disk.changes(), Loss::Unsynced), mended, &what);
            recover(&disk.crash(disk.changes(), Loss::Torn(call)), mended, &what);
            runs += 1;
        }
    }
    println!("{runs} runs with a failing call, {ended} of them ended well");
    assert!(ended > 0 && ended < runs);
}

/// The journal's bytes and the part's at a crash, and where they were.
fn files(disk: &MemDisk) -> Option<(Vec<u8>, Vec<u8>, Here)> {
    let place = place("/d");
    let journal = content(disk, &place, "file.tur")?;
    let part = content(disk, &place, "file.part")?;
    let dir = disk.open_dir(&place.dir, false).unwrap();
    let id: FileId = disk.stat_at(&dir, "file.part").unwrap().id;
    let boot = disk.boot_id();
    Some((journal, part, Here { boot, part: id }))
}

/// What may be believed of a replayed journal, checked against the part.
fn replay_is_true(bytes: &[u8], part: &[u8], here: &Here, mended: bool, what: &str) -> bool {
    let Replayed::Journal(journal) = replay(bytes, here) else {
        return false;
    };
    let Journal {
        source,
        claimed,
        runs,
        ..
    } = *journal;
    let Some(source) = source else {
        assert!(claimed.is_empty() && runs.is_empty(), "{what}");
        return false;
    };
    let tag = tag_of(&source.identity);
    claims_are_true(&claimed, tag, part, mended, what);
    for run in runs {
        let (start, end) = (run.range.start as usize, run.range.end as usize);
        let proven = part
            .get(start..end)
            .filter(|bytes| crc32fast::hash(bytes) == run.crc);
        if proven.is_some() {
            let range = [run.range].into_iter().collect();
            claims_are_true(&range, tag, part, mended, what);
        }
    }
    !claimed.is_empty()
}

#[test]
fn a_journal_cut_or_flipped_at_every_byte_claims_nothing_false() {
    let (disk, marks) = scripted(0);
    let (mut cuts, mut flips, mut believed) = (0, 0, 0);
    for mark in marks.iter().skip(3).step_by(4) {
        let crashed = disk.crash(mark.changes, Loss::Nothing);
        let Some((journal, part, here)) = files(&crashed) else {
            continue;
        };
        let elsewhere = Here { boot: None, ..here };
        for at in 0..=journal.len() {
            for here in [&here, &elsewhere] {
                let what = format!("{} cut at {at}", mark.changes);
                let cut = replay_is_true(&journal[..at], &part, here, mark.mended, &what);
                believed += usize::from(cut);
                cuts += 1;
            }
        }
        let mut flipped = journal.clone();
        for at in 0..journal.len() {
            flipped[at] ^= 1 << (at % 8);
            let what = format!("{} flipped at {at}", mark.changes);
            replay_is_true(&flipped, &part, &here, mark.mended, &what);
            flipped[at] = journal[at];
            flips += 1;
        }
    }
    println!("{cuts} cuts ({believed} with claims), {flips} flips");
    assert!(believed > 100 && cuts > 50_000);
}
