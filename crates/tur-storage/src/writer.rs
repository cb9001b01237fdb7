//! The way bytes come in: [`Writer`], one per lease.

use std::io::IoSlice;
use std::sync::Arc;

use tur_core::{ByteRange, Chunks};

use crate::frame::Slot;
use crate::shared::{Shared, retry, write_all};
use crate::{Disk, StorageError};

/// Bytes after which a writer without a slot records its claim: the most that a kill takes from it, beside the write that
/// reaches it.
const SLOTLESS_CLAIM: u64 = 1 << 20;
/// Buffers handed to the system in one call.
const GATHER_MAX: usize = 64;

/// Writes one lease from its start on, without gaps. Ending it in any way keeps its claim.
pub struct Writer<D: Disk> {
    shared: Arc<Shared<D>>,
    key: u64,
    range: ByteRange,
    cursor: u64,
    ended: bool,
}

impl<D: Disk> Writer<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>, slot: u16, lease: u32, range: ByteRange) -> Self {
        let key = shared.lock().enter(slot, lease, range.start);
        Self {
            shared,
            key,
            range,
            cursor: range.start,
            ended: false,
        }
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The bytes this writer may write.
    #[must_use]
    pub fn range(&self) -> ByteRange {
        self.range
    }

    /// Writes the first `len` bytes of `chunks` at the cursor and drops them from `chunks`. When it returns they are
    /// covered, and claimed by the lane's slot; a lane without one claims after each MiB.
    ///
    /// # Errors
    /// `Io` with the system's cause, `FileLimit`, or `Lost` if a sync failed meanwhile. What was written before the
    /// error is covered and dropped from `chunks`, so the call may be repeated. `Rule` if `len` is more than there is,
    /// leaves the lease, or would write covered bytes again: [`forget`](crate::Part::forget) them first.
    /// `JournalBroken` if the journal could not take back a claim before.
    pub fn write(&mut self, chunks: &mut Chunks, len: usize) -> Result<(), StorageError> {
        if len == 0 {
            return Ok(());
        }
        if len > chunks.len() {
            return Err(self.shared.names.rule("fewer bytes received than to write"));
        }
        let losses = self.admit(len as u64)?;
        if self.hold(chunks, len) {
            return Ok(());
        }
        self.shared
            .reserve(ByteRange::new(self.cursor, self.cursor + len as u64))?;
        let before = self.cursor;
        let written = self.write_chunks(chunks, len, losses);
        let marked = if self.cursor > before {
            self.mark()
        } else {
            Ok(())
        };
        written.and(marked)
    }

    /// Ends the lease and records its claim, so that the slot may be used again.
    ///
    /// # Errors
    /// `Io`, `JournalFull` or `JournalBroken` if the record could not be written: it is tried again with the next one.
    pub fn finish(mut self) -> Result<(), StorageError> {
        self.end()
    }

    /// Checks the rules on this side of the boundary, and that nobody has cut the file: the write would make it long
    /// again and hide it. Returns the count of failed syncs, to be compared after the write.
    fn admit(&self, len: u64) -> Result<u32, StorageError> {
        let names = &self.shared.names;
        let (losses, high) = {
            let book = self.shared.lock();
            if book.broken {
                return Err(self.shared.broken());
            }
            if !book.begun {
                return Err(names.rule("nothing is written before the source is known"));
            }
            if len > self.range.end - self.cursor {
                return Err(names.rule("a write leaves its lease"));
            }
            if book
                .total
                .is_some_and(|total| len > total.saturating_sub(self.cursor))
            {
                return Err(names.rule("a write goes past the end of the file"));
            }
            if book
                .seen()
                .covered
                .overlaps(ByteRange::new(self.cursor, self.cursor + len))
            {
                return Err(names.rule("bytes are written twice"));
            }
            (book.losses, book.high())
        };
        self.shared.notice_cut(high)?;
        Ok(losses)
    }

    /// Takes the bytes into memory, if that is where the file waits to be whole.
    fn hold(&mut self, chunks: &mut Chunks, len: usize) -> bool {
        let mut book = self.shared.lock();
        let mut seen = self.shared.view.look();
        let Some(held) = seen.memory.as_mut().filter(|_| book.held) else {
            return false;
        };
        // Nobody else has it while it is held.
        let held = Arc::make_mut(held);
        let at = usize::try_from(self.cursor).expect("a file that is held is short");
        let mut crc = crc32fast::Hasher::new();
        let mut left = len;
        let parts = chunks.iter().map(|chunk| {
            let part = &chunk[..chunk.len().min(left)];
            left -= part.len();
            part
        });
        if at == held.len() {
            // As nearly always: no zeros first, to be written over.
            for part in parts {
                held.extend_from_slice(part);
                crc.update(part);
            }
        } else {
            let end = held.len().max(at + len);
            held.resize(end, 0);
            let mut into = &mut held[at..at + len];
            for part in parts {
                let (front, rest) = into.split_at_mut(part.len());
                front.copy_from_slice(part);
                crc.update(front);
                into = rest;
            }
        }
        drop(seen);
        book.publish(self.key, len as u64, &crc);
        chunks.advance(len);
        self.cursor += len as u64;
        true
    }

    fn write_chunks(
        &mut self,
        chunks: &mut Chunks,
        len: usize,
        losses: u32,
    ) -> Result<(), StorageError> {
        let mut left = len;
        while left > 0 {
            let (taken, crc) = self.write_some(chunks, left)?;
            {
                let mut book = self.shared.lock();
                if book.losses != losses {
                    return Err(self.overtaken(taken));
                }
                book.publish(self.key, taken as u64, &crc);
            }
            chunks.advance(taken);
            self.cursor += taken as u64;
            left -= taken;
        }
        Ok(())
    }

    /// One call to the system: at most `len` bytes from the front of `chunks`. Says how many went, with their CRC.
    fn write_some(
        &self,
        chunks: &Chunks,
        len: usize,
    ) -> Result<(usize, crc32fast::Hasher), StorageError> {
        let shared = &*self.shared;
        let mut gathered = 0;
        let slices: Vec<IoSlice<'_>> = chunks
            .iter()
            .map_while(|chunk| {
                let part = &chunk[..chunk.len().min(len - gathered)];
                gathered += part.len();
                (!part.is_empty()).then(|| IoSlice::new(part))
            })
            .take(GATHER_MAX)
            .collect();
        let taken = retry(
            || match shared.disk.write_at(&shared.part, self.cursor, &slices) {
                Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
                done => done,
            },
        )
        .map_err(|error| shared.no_room("write", error))?;
        let mut crc = crc32fast::Hasher::new();
        let mut left = taken;
        for slice in &slices {
            let part = &slice[..slice.len().min(left)];
            crc.update(part);
            left -= part.len();
        }
        Ok((taken, crc))
    }

    /// Says in the lane's slot how far it came: this is what a killed process leaves behind.
    fn mark(&self) -> Result<(), StorageError> {
        let shared = &*self.shared;
        let place = {
            let mut book = shared.lock();
            if book.take_slotless(self.key, SLOTLESS_CLAIM) {
                return match shared.record_claims(&mut book) {
                    // The next record tries again.
                    Err(StorageError::JournalFull { .. }) => Ok(()),
                    other => other,
                };
            }
            book.active.get(&self.key).and_then(|active| {
                let claim = active.claim();
                let slot = Slot {
                    generation: book.generation,
                    lease: active.lease,
                    start: claim.range.start,
                    cursor: claim.range.end,
                    data_crc: claim.crc,
                };
                let at = active.slot.and_then(Slot::offset)?;
                Some((shared.journal()?, at, slot.encode()))
            })
        };
        let Some((journal, at, bytes)) = place else {
            return Ok(());
        };
        write_all(&shared.disk, &journal.file, at, &bytes)
            .map_err(shared.names.journal_error("write"))
    }

    /// A sync failed while these bytes were written: it may have dropped them.
    fn overtaken(&self, taken: usize) -> StorageError {
        let mut lost = tur_core::RangeSet::new();
        lost.insert(ByteRange::new(self.cursor, self.cursor + taken as u64));
        StorageError::Lost {
            path: self.shared.names.part_path(),
            lost,
            source: std::io::Error::other("a sync failed while they were written"),
        }
    }

    fn end(&mut self) -> Result<(), StorageError> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        let mut book = self.shared.lock();
        book.leave(self.key);
        self.shared.record_claims(&mut book)
    }
}

impl<D: Disk> Drop for Writer<D> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            // The slot still vouches until it is used again, and the next record tries once more.
            tracing::warn!(%error, "a claim could not be recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileName, MemDisk, Part, Place};
    use tur_core::{Identity, RangeSet};

    #[test]
    fn bytes_that_a_failed_sync_overtook_are_not_covered() {
        let place = Place {
            dir: "/d".into(),
            name: FileName::new("file").unwrap(),
            create_dirs: true,
        };
        let part = Part::open(MemDisk::new(), &place, "").unwrap().part;
        part.begin("", &Identity::default(), false).unwrap();
        let mut writer = part.writer(0, 1, ByteRange::from(0));
        let mut chunks = Chunks::new();
        chunks.push(bytes::Bytes::from_static(b"four"));
        let losses = writer.admit(4).unwrap();
        part.shared.lose_volatile(std::io::Error::other("a test"));
        let error = writer.write_chunks(&mut chunks, 4, losses).unwrap_err();
        assert!(matches!(error, StorageError::Lost { .. }), "{error}");
        assert_eq!((writer.cursor(), chunks.len()), (0, 4));
        assert_eq!(part.covered(), RangeSet::new());
        // They are still in hand, and may be written again.
        writer.write(&mut chunks, 4).unwrap();
        assert_eq!((writer.cursor(), part.frontier()), (4, 4));
    }
}
