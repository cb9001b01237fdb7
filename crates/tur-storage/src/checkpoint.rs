//! Making bytes durable while others are written: [`Checkpoint`].
//!
//! The order is the whole point: snapshot of runs and CRCs, sync of the part, record, sync of the journal. A record
//! never names data that is not on the disk.

use std::sync::Arc;

use tur_core::{ByteRange, RangeSet};

use crate::frame::Record;
use crate::journal::Run;
use crate::shared::{Shared, crc_of, retry};
use crate::{Disk, StorageError};

/// Bytes of earlier processes that one checkpoint reads for their CRCs: a bounded delay, and the next one goes on.
const REREAD_MAX: u64 = 1 << 30;
/// The longest run that is made of them.
const REREAD_RUN: u64 = 16 << 20;

/// Bytes that survive a loss of power from here on: synced, and recorded with their CRCs. Made by [`Checkpoint::run`]
/// alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    ranges: RangeSet,
}

impl Durable {
    /// What became durable by this checkpoint.
    #[must_use]
    pub fn ranges(&self) -> &RangeSet {
        &self.ranges
    }
}

/// One checkpoint, to be run on any thread. Dropping it unrun changes nothing.
#[must_use = "nothing is durable before it has run"]
pub struct Checkpoint<D: Disk> {
    shared: Arc<Shared<D>>,
    runs: Vec<Run>,
    unread: RangeSet,
    settled: bool,
}

impl<D: Disk> Checkpoint<D> {
    pub(crate) fn begin(shared: Arc<Shared<D>>) -> Result<Self, StorageError> {
        let (runs, unread) = {
            let mut book = shared.lock();
            if book.voided.is_some() {
                return Err(shared.names.rule("one checkpoint at a time"));
            }
            book.snapshot()
        };
        Ok(Self {
            shared,
            runs,
            unread,
            settled: false,
        })
    }

    /// Syncs the part, records its runs, syncs the journal. Waits for the disk.
    ///
    /// # Errors
    /// `Lost` if the part could not be synced: everything not durable before is void and must be fetched again.
    /// `Io`, `JournalFull` or `JournalBroken` for the journal: nothing is lost, and the next checkpoint tries again.
    pub fn run(self) -> Result<Durable, StorageError> {
        let shared = Arc::clone(&self.shared);
        let done = self.record();
        // Whether it went well or not: a full journal is one more reason.
        shared.renew_if_long(&mut shared.lock());
        done
    }

    fn record(mut self) -> Result<Durable, StorageError> {
        self.shared.spill(&mut self.shared.lock())?;
        self.reread()?;
        if self.runs.is_empty() {
            self.settle(false);
            return Ok(Durable {
                ranges: RangeSet::new(),
            });
        }
        if let Err(source) = retry(|| self.shared.disk.sync(&self.shared.part)) {
            self.settle(false);
            return Err(self.shared.lose_volatile(source));
        }
        let tail = {
            let mut book = self.shared.lock();
            let standing = book.standing(&self.runs);
            self.shared
                .append(&mut book, Record::durable(standing.into_iter()))?;
            book.tail
        };
        self.shared.save_records(tail)?;
        Ok(Durable {
            ranges: self.settle(true),
        })
    }

    /// Computes the CRCs of bytes that an earlier process claimed.
    fn reread(&mut self) -> Result<(), StorageError> {
        let mut read = 0;
        while read < REREAD_MAX {
            let Some(first) = self.unread.iter().next() else {
                break;
            };
            let range = ByteRange::new(first.start, first.end.min(first.start + REREAD_RUN));
            let crc = crc_of(&self.shared.disk, &self.shared.part, range)
                .map_err(self.shared.names.part_error("read"))?;
            // The file was cut: the next check says so, and this stays unread.
            let Some(crc) = crc else {
                break;
            };
            self.unread.remove(range);
            self.runs.push(Run { range, crc });
            read += range.len();
        }
        Ok(())
    }

    /// Gives back to the book what did not become durable; says what did.
    fn settle(&mut self, synced: bool) -> RangeSet {
        self.settled = true;
        let runs = std::mem::take(&mut self.runs);
        let unread = std::mem::take(&mut self.unread);
        self.shared.lock().settle(runs, unread, synced)
    }
}

impl<D: Disk> Drop for Checkpoint<D> {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(false);
        }
    }
}
