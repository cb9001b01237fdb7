//! Room on the disk: asked for before anything is fetched, and reserved in windows ahead of the writers.
//!
//! A full disk is then an error before a byte was paid for, or at a write, and never a surprise later.

use std::io;

use tur_core::ByteRange;

use crate::shared::{Shared, retry};
use crate::{Disk, StorageError};

/// How far ahead of a writer room is reserved: few calls, and little reserved in vain where a lane ends early.
const WINDOW: u64 = 64 << 20;

impl<D: Disk> Shared<D> {
    /// Refuses a file that can not fit: `total` less what the part takes already, and 1 % for the file system's own.
    pub(crate) fn check_room(&self, total: Option<u64>) -> Result<(), StorageError> {
        let Some(total) = total else {
            return Ok(());
        };
        self.check_limit(total)?;
        let part =
            retry(|| self.disk.stat(&self.part)).map_err(self.names.part_error("look at"))?;
        let available = retry(|| self.disk.available(&self.dir))
            .map_err(self.names.dir_error("see the free space of"))?;
        let missing = total.saturating_sub(part.allocated);
        let need = missing.saturating_add(missing / 100);
        if need > available {
            return Err(StorageError::NoSpace {
                path: self.names.dir.clone(),
                need,
                available,
            });
        }
        Ok(())
    }

    /// Refuses a byte past the process's limit: the system would answer with a signal.
    fn check_limit(&self, end: u64) -> Result<(), StorageError> {
        match self.size_limit {
            Some(limit) if end > limit => Err(StorageError::FileLimit {
                path: self.names.part_path(),
                need: end,
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// Reserves room for `range` and for what follows it, up to a window and never past the total.
    pub(crate) fn reserve(&self, range: ByteRange) -> Result<(), StorageError> {
        self.check_limit(range.end)?;
        let gaps = {
            let mut book = self.lock();
            let Some(total) = book.total.filter(|_| book.allocates) else {
                return Ok(());
            };
            if book.allocated.covers(range) {
                return Ok(());
            }
            let end = range.start.saturating_add(WINDOW).min(total);
            let window = ByteRange::new(range.start, end.max(range.end));
            let gaps = book.allocated.gaps(window);
            // Entered first, so that no other writer asks for the same; taken out again if it fails.
            book.allocated.insert(window);
            gaps
        };
        for gap in gaps.iter() {
            let done = retry(|| self.disk.allocate(&self.part, gap.start, gap.len()));
            match done {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.lock().allocates = false;
                    return Ok(());
                }
                Err(error) => {
                    let mut book = self.lock();
                    for gap in gaps.iter() {
                        book.allocated.remove(gap);
                    }
                    return Err(self.names.part_error("reserve space for")(error));
                }
            }
        }
        Ok(())
    }
}
