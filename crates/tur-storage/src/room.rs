//! Room on the disk: asked for before anything is fetched, and reserved in windows ahead of the writers.
//!
//! A full disk is then an error before a byte was paid for, or at a write, and never a surprise later.

use std::io;

use tur_core::ByteRange;

use crate::shared::{Shared, retry};
use crate::{Disk, Part, StorageError};

/// How far ahead of a writer room is reserved: few calls, and little reserved in vain where a lane ends early.
pub(crate) const WINDOW: u64 = 64 << 20;
/// The same of a file that passes: what is reserved there and not written takes room that it is to do without.
pub(crate) const PASSING_WINDOW: u64 = 1 << 20;

/// Room for a file: what it still needs, and what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes of the file that no room was taken or reserved for.
    pub missing: u64,
    /// Bytes free on its file system.
    pub available: u64,
}

/// Room is given back in steps of so many bytes: seldom, and aligned to every file system's unit.
const GIVE_BACK: u64 = 4 << 20;

impl<D: Disk> Part<D> {
    /// What stands before `before` will not be read again: as far as it is covered without a gap up to there, its room is given
    /// back where the file system can, some MiB at a time. All before that is [`StorageError::GivenBack`] to who reads from then
    /// on, and stays covered. For parts that nobody goes on with: nothing of it can be proven later. True if that is more than
    /// before.
    ///
    /// # Errors
    /// `Io`: what was to be given back cannot be read all the same.
    pub fn give_back(&self, before: u64) -> Result<bool, StorageError> {
        let shared = &*self.shared;
        let range = {
            let book = shared.lock();
            let mut seen = book.seen();
            let last = before.checked_sub(1);
            let run = last.and_then(|last| seen.covered.range_at(last));
            // What was given back and lost comes again from there on.
            let Some(run) = run.or_else(|| seen.covered.range_at(seen.gone)) else {
                return Ok(false);
            };
            let end = before.min(run.end) / GIVE_BACK * GIVE_BACK;
            let start = seen.gone.max(run.start);
            if start >= end {
                return Ok(false);
            }
            seen.gone = end;
            ByteRange::new(start, end)
        };
        match retry(|| shared.disk.give_back(&shared.part, range)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
            done => done
                .map(|()| true)
                .map_err(shared.names.part_error("give back room of")),
        }
    }
}

impl<D: Disk> Shared<D> {
    /// Refuses to read what was given back.
    pub(crate) fn require_there(&self, at: u64) -> Result<(), StorageError> {
        let before = self.view.look().gone;
        if at < before {
            let path = self.names.part_path();
            return Err(StorageError::GivenBack { path, before });
        }
        Ok(())
    }

    /// Refuses a file that can not fit: `total` less what the part takes already, and 1 % for the file system's own. Says
    /// what it has seen.
    pub(crate) fn check_room(&self, total: Option<u64>) -> Result<Option<Room>, StorageError> {
        let Some(total) = total else {
            return Ok(None);
        };
        self.check_limit(total)?;
        let room = self.room_for(total)?;
        let Room { missing, available } = room;
        let need = missing.saturating_add(missing / 100);
        if need > available {
            return Err(StorageError::NoSpace {
                path: self.names.dir.clone(),
                need,
                available,
            });
        }
        Ok(Some(room))
    }

    /// What of `total` the part does not take yet, and what is free.
    pub(crate) fn room_for(&self, total: u64) -> Result<Room, StorageError> {
        let part =
            retry(|| self.disk.stat(&self.part)).map_err(self.names.part_error("look at"))?;
        let available = retry(|| self.disk.available(&self.dir))
            .map_err(self.names.dir_error("see the free space of"))?;
        Ok(Room {
            missing: total.saturating_sub(part.allocated),
            available,
        })
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

    /// Reserves room for `range` and for what follows it, up to a window and never past the total. Where the file system
    /// cannot promise room, it is at least asked how much there is.
    pub(crate) fn reserve(&self, range: ByteRange) -> Result<(), StorageError> {
        self.check_limit(range.end)?;
        let (gaps, allocates) = {
            let mut book = self.lock();
            let Some(total) = book.total else {
                return Ok(());
            };
            if book.allocated.covers(range) {
                return Ok(());
            }
            let ahead = self.disk.reserves_ahead();
            let end = range.start.saturating_add(ahead).min(total);
            let window = ByteRange::new(range.start, end.max(range.end));
            let gaps = book.allocated.gaps(window);
            // Entered first, so that no other writer asks for the same; taken out again if it fails.
            book.allocated.insert(window);
            (gaps, book.allocates)
        };
        let mut done = Ok(());
        if allocates {
            done = gaps
                .iter()
                .try_for_each(|gap| retry(|| self.disk.allocate(&self.part, gap.start, gap.len())));
        }
        let cannot = |error: &io::Error| error.kind() == io::ErrorKind::Unsupported;
        let result = match done {
            Ok(()) if allocates => Ok(()),
            Err(error) if !cannot(&error) => Err(self.no_room("reserve space for", error)),
            Ok(()) | Err(_) => {
                self.lock().allocates = false;
                self.check_free(gaps.len())
            }
        };
        if result.is_err() {
            let mut book = self.lock();
            for gap in gaps.iter() {
                book.allocated.remove(gap);
            }
        }
        result
    }

    /// Refuses what the file system says it has no room for. It may be wrong in both directions: a write tells.
    fn check_free(&self, need: u64) -> Result<(), StorageError> {
        let available = retry(|| self.disk.available(&self.dir))
            .map_err(self.names.dir_error("see the free space of"))?;
        if need <= available {
            return Ok(());
        }
        Err(StorageError::NoSpace {
            path: self.names.dir.clone(),
            need,
            available,
        })
    }

    /// What a call on the part has failed with. A full disk is told with what is missing, where that can be known.
    pub(crate) fn no_room(&self, doing: &'static str, error: io::Error) -> StorageError {
        let missing = {
            let book = self.lock();
            book.total
                .map(|total| total.saturating_sub(book.seen().covered.len()))
        };
        // A quota is not a matter of free space: its own words say more.
        match (error.kind(), missing, self.disk.available(&self.dir)) {
            (io::ErrorKind::StorageFull, Some(need), Ok(available)) if need > available => {
                StorageError::NoSpace {
                    path: self.names.dir.clone(),
                    need,
                    available,
                }
            }
            _ => self.names.part_error(doing)(error),
        }
    }
}
