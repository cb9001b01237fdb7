//! One scripted download, and what holds after each of its steps.
//!
//! Two representations in turn (a restart lies between), wrong bytes that are forgotten and written again, checkpoints
//! with writes going on. Every byte tells where it belongs, so a claim can be checked. Read [`Script`] first.

use std::sync::OnceLock;

use tur_core::{ByteRange, RangeSet};
use tur_storage::{Exists, MemDisk, Opened, Part, Saved, StorageError};

use crate::common::{URL, body, byte, content, fill, identity, open, place, range, tag_of, write};

pub(crate) const TOTAL: u64 = 24_000;
/// Written with wrong bytes first, then forgotten.
pub(crate) const BAD: ByteRange = ByteRange {
    start: 20_000,
    end: 22_000,
};
/// The wrong bytes.
pub(crate) const WRONG: u8 = 9;

/// What holds from a point of the script on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    /// Changes of the disk so far.
    pub(crate) changes: usize,
    /// What a killed process must leave claimed.
    pub(crate) covered: RangeSet,
    /// What a loss of power must leave claimed.
    pub(crate) durable: RangeSet,
    /// True once the wrong bytes were forgotten.
    pub(crate) mended: bool,
}

/// Runs the script and notes what holds after each step.
pub(crate) struct Script<'a> {
    pub(crate) disk: &'a MemDisk,
    pub(crate) marks: Vec<Mark>,
}

impl Script<'_> {
    pub(crate) fn now(&self) -> Mark {
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

    pub(crate) fn run(&mut self) -> Result<(), StorageError> {
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
        let forgotten = part.forget(BAD);
        let mut mark = Mark {
            changes: self.disk.changes(),
            mended: true,
            ..before
        };
        mark.covered.remove(BAD);
        mark.durable.remove(BAD);
        self.marks.push(mark);
        // If it could not be written down, nobody must believe those bytes all the same.
        forgotten?;
        write(&mut lane, 2, 100)?;
        fill(part, 2, 2, range(BAD.start, BAD.start + 700))?;
        self.mark(part);
        job.run()?;
        self.mark(part);
        lane.finish()?;
        self.checkpoint(part)
    }
}

pub(crate) fn last_mark(marks: &[Mark], changes: usize) -> Mark {
    let before = marks.iter().rev().find(|mark| mark.changes <= changes);
    before.cloned().unwrap_or_default()
}

/// All bytes of a representation, made once.
pub(crate) fn whole(tag: u8) -> &'static [u8] {
    static BODIES: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    BODIES[usize::from(tag)].get_or_init(|| body(tag, range(0, TOTAL)))
}

/// Every claimed byte must be the byte of the representation that the journal names.
pub(crate) fn claims_are_true(claimed: &RangeSet, tag: u8, part: &[u8], mended: bool, what: &str) {
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
pub(crate) fn recover(disk: &MemDisk, mended: bool, what: &str) -> Option<Saved> {
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

pub(crate) fn scripted(short: u64) -> (MemDisk, Vec<Mark>) {
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
