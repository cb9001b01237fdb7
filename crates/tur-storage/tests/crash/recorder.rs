//! Short downloads that tell what they have promised: [`Recorder`].

use std::sync::OnceLock;

use tur_core::{ByteRange, RangeSet};
use tur_storage::{Exists, MemDisk, Opened, Part, Place, StorageError, Writer};

use crate::common::{URL, body, identity, range, tag_of, write};

/// Length of the file in all scenes.
pub(crate) const SIZE: u64 = 9_000;
/// The file that has the target's name before, where one has.
pub(crate) const OLD: &[u8] = b"what the user had before";
/// Bytes that are written wrong at first, where some are.
pub(crate) const BAD: ByteRange = ByteRange {
    start: 4_000,
    end: 5_500,
};
/// The wrong bytes.
pub(crate) const WRONG: u8 = 77;

/// What a crash from a point of the record on must leave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promise {
    /// Changes of the disk so far.
    pub(crate) changes: usize,
    /// The representation that is downloaded; 0 before the first.
    pub(crate) tag: u8,
    /// Bytes of it that outlive a loss of power.
    pub(crate) durable: RangeSet,
    /// Bytes that may be claimed and be wrong, because nobody has taken them back yet.
    pub(crate) wrong: RangeSet,
    /// True once the target is in place for good.
    pub(crate) committed: bool,
}

/// A disk, and what was promised as it changed.
pub(crate) struct Recorder {
    pub(crate) disk: MemDisk,
    pub(crate) place: Place,
    pub(crate) promises: Vec<Promise>,
}

impl Recorder {
    pub(crate) fn new(disk: MemDisk) -> Self {
        Self {
            disk,
            place: crate::common::place("/d"),
            promises: vec![Promise::default()],
        }
    }

    /// What was promised when the disk had changed so often.
    pub(crate) fn promise(&self, changes: usize) -> Promise {
        let before = |promise: &&Promise| promise.changes <= changes;
        let last = self.promises.iter().rev().find(before);
        last.cloned().unwrap_or_default()
    }

    /// From here on something else holds.
    pub(crate) fn now(&mut self, edit: impl FnOnce(&mut Promise)) {
        let mut promise = self.promises.last().cloned().unwrap_or_default();
        promise.changes = self.disk.changes();
        edit(&mut promise);
        self.promises.push(promise);
    }

    pub(crate) fn open(&self) -> Result<Part<MemDisk>, StorageError> {
        let Opened { part, .. } = Part::open(self.disk.clone(), &self.place, URL)?;
        Ok(part)
    }

    pub(crate) fn open_lazily(&self) -> Result<Part<MemDisk>, StorageError> {
        let Opened { part, .. } = Part::open_lazily(self.disk.clone(), &self.place, URL)?;
        Ok(part)
    }

    /// Begins a representation. What was promised of the one before is void as soon as this is on its way.
    pub(crate) fn begin(
        &mut self,
        part: &Part<MemDisk>,
        tag: u8,
        keep: bool,
    ) -> Result<(), StorageError> {
        if !keep {
            self.now(|promise| promise.durable = RangeSet::new());
        }
        part.begin(URL, &identity(tag, SIZE), keep)?;
        self.now(|promise| promise.tag = tag);
        Ok(())
    }

    /// Fetches all that is missing over two lanes, with a checkpoint after every third write, as a driver does: what a
    /// sync has lost is fetched again, and a checkpoint whose record failed is followed by another one.
    pub(crate) fn fetch(&mut self, part: &Part<MemDisk>, tag: u8) -> Result<(), StorageError> {
        for slot in 0.. {
            let gaps: Vec<ByteRange> = part.covered().gaps(range(0, SIZE)).iter().collect();
            let Some(gap) = gaps.first() else {
                return Ok(());
            };
            let middle = gap.start + gap.len() / 2;
            let mut lanes = vec![
                part.writer(2 * slot, 1, range(gap.start, middle)),
                part.writer(2 * slot + 1, 2, range(middle, gap.end)),
            ];
            self.lanes(part, tag, &mut lanes)?;
            for lane in lanes {
                lane.finish()?;
            }
        }
        Ok(())
    }

    fn lanes(
        &mut self,
        part: &Part<MemDisk>,
        tag: u8,
        lanes: &mut [Writer<MemDisk>],
    ) -> Result<(), StorageError> {
        let mut writes = 0;
        while lanes.iter().any(|lane| lane.cursor() < lane.range().end) {
            for lane in &mut *lanes {
                let left = lane.range().end - lane.cursor();
                if left == 0 {
                    continue;
                }
                write(lane, tag, left.min(900 + 100 * (writes % 5)) as usize)?;
                writes += 1;
                if writes % 3 == 0 && !self.checkpoint(part)? {
                    // The driver closes its lanes where bytes were lost under them.
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// False if bytes were lost.
    pub(crate) fn checkpoint(&mut self, part: &Part<MemDisk>) -> Result<bool, StorageError> {
        match part.checkpoint()?.run() {
            Ok(durable) => {
                self.now(|promise| promise.durable.extend(durable.ranges().iter()));
                Ok(true)
            }
            Err(StorageError::Lost { lost, .. }) => {
                self.now(|promise| {
                    for range in lost.iter() {
                        promise.durable.remove(range);
                    }
                });
                Ok(false)
            }
            Err(_) => Ok(true),
        }
    }

    /// Another process, in the same boot, goes on with what a failed one has left.
    pub(crate) fn go_on(&mut self, exists: Exists) -> Result<(), StorageError> {
        let Opened { part, saved } = Part::open(self.disk.clone(), &self.place, URL)?;
        let tag = self.promise(usize::MAX).tag.max(1);
        let keep = saved.is_some_and(|saved| tag_of(&saved.identity) == tag);
        self.begin(&part, tag, keep)?;
        self.fetch(&part, tag)?;
        self.commit(part, exists)
    }

    pub(crate) fn commit(
        &mut self,
        part: Part<MemDisk>,
        exists: Exists,
    ) -> Result<(), StorageError> {
        part.commit(SIZE, exists, None)?;
        self.now(|promise| promise.committed = true);
        Ok(())
    }
}

/// The whole of a representation, as an origin would serve it; made once.
pub(crate) fn whole(tag: u8) -> &'static [u8] {
    static BODIES: [OnceLock<Vec<u8>>; 3] = [const { OnceLock::new() }; 3];
    BODIES[usize::from(tag)].get_or_init(|| body(tag, range(0, SIZE)))
}
