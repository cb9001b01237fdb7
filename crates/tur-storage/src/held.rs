//! Short files, which wait in memory until they are whole: `Shared::hold`.
//!
//! A part that was opened lazily and begins with a short representation takes its bytes into the
//! [`Book`](crate::book::Book). A commit writes them to a file without a name, syncs that, and links it to the target's:
//! no crash finds a part of it under any name, so nothing has to vouch for one, and a journal is never made. Until then
//! `NAME.part` is there, empty and locked: the sign that somebody works on it, and the first word of a directory that
//! cannot be written to.
//!
//! Whatever takes longer goes the way of all parts: a checkpoint, a stop, or a file system without such files makes a
//! journal first and then puts the bytes into the part ([`Shared::spill`]).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tur_core::Wall;

use crate::book::Book;
use crate::buffer::Buffer;
use crate::frame::{Record, SourceV1};
use crate::open::{look, open_journal, unlink_if};
use crate::shared::{JournalFile, Shared, path_error, retry, write_all};
use crate::{Disk, Exists, FileId, StorageError};

/// The longest file that waits in memory, in bytes. A kill takes no more from it than what any download may have received
/// and not yet written.
pub(crate) const HELD_MAX: u64 = 128 << 10;

impl<D: Disk> Shared<D> {
    /// Begins with a representation in memory, if it may wait there; otherwise what was held is in the part by now, or
    /// void without `keep`.
    pub(crate) fn hold(
        &self,
        book: &mut Book,
        source: &SourceV1,
        keep: bool,
    ) -> Result<bool, StorageError> {
        if keep {
            self.spill(book)?;
            return Ok(false);
        }
        book.held = false;
        book.seen().memory = None;
        let total = source.total().filter(|total| *total <= HELD_MAX);
        let (Some(total), None) = (total, self.journal()) else {
            return Ok(false);
        };
        book.source = Some(source.clone());
        book.restart(Some(total));
        let room = usize::try_from(total).expect("a file that is held is short");
        book.seen().memory = Some(Arc::new(Buffer::with_room_for(room)));
        book.held = true;
        Ok(true)
    }

    /// Puts what is held into part and journal, and claims it there. Does nothing if nothing is held.
    ///
    /// # Errors
    /// As those of a [`begin`](crate::Part::begin) and a write: everything is held still, and may be tried again.
    pub(crate) fn spill(&self, book: &mut Book) -> Result<(), StorageError> {
        let Some(held) = book.take_held() else {
            return Ok(());
        };
        let done = self.put_down(book, &held);
        match done {
            Ok(()) => book.seen().memory = None,
            Err(_) => book.held = true,
        }
        done
    }

    /// As [`spill`](Self::spill), for the last time: nobody else has these bytes, so it is tried twice, and leaves nothing
    /// behind if there is no way.
    pub(crate) fn save(&self, book: &mut Book) -> Result<(), StorageError> {
        let saved = self.spill(book).or_else(|error| {
            tracing::warn!(%error, "bytes in memory could not be put down; once more");
            self.spill(book)
        });
        if saved.is_err()
            && let Err(error) = self.remove_pair()
        {
            tracing::warn!(%error, "a part that holds nothing could not be removed");
        }
        saved
    }

    fn put_down(&self, book: &mut Book, held: &[u8]) -> Result<(), StorageError> {
        let part = |doing| self.names.part_error(doing);
        self.make_journal(book)?;
        let source = book.source.clone().map(Record::Source);
        self.put_source(book, source.into_iter().collect())?;
        retry(|| self.disk.set_len(&self.part, 0)).map_err(part("empty"))?;
        // The names must outlive a loss of power, or the part would be found without its journal.
        retry(|| self.disk.sync_dir(&self.dir)).map_err(self.names.dir_error("sync"))?;
        let covered = book.seen().covered.clone();
        for range in covered.iter() {
            let at = usize::try_from(range.start).expect("a file that is held is short");
            let end = usize::try_from(range.end).expect("a file that is held is short");
            write_all(&self.disk, &self.part, range.start, &held[at..end])
                .map_err(part("write"))?;
        }
        book.take_claims();
        self.record_claims(book)
    }

    /// Makes the journal, unless a good one is there.
    pub(crate) fn make_journal(&self, book: &mut Book) -> Result<(), StorageError> {
        if book.headed {
            return Ok(());
        }
        if self.journal().is_some() {
            return self.write_first_page(book, false);
        }
        let part =
            retry(|| self.disk.stat(&self.part)).map_err(self.names.part_error("look at"))?;
        // One that is there by now may be ours, made by a call that failed all the same.
        let (journal, _) = open_journal(&self.disk, &self.dir, &self.names, &part)?;
        self.put_journal(JournalFile {
            file: journal.file,
            id: journal.stat.id,
        });
        self.write_first_page(book, journal.fresh)
    }

    /// Puts a file that is held in place and returns its path. `None` if nothing is held, by now: only the ordinary way
    /// leads to the target.
    ///
    /// # Errors
    /// As those of [`commit`](crate::Part::commit). What was held is in part and journal then, as far as they can take
    /// it; unless the target is whole.
    pub(crate) fn commit_held(
        &self,
        exists: Exists,
        modified: Option<Wall>,
        announce: &mut impl FnMut(FileId),
    ) -> Result<Option<PathBuf>, StorageError> {
        // Who reads goes on reading in memory: the part stays empty.
        let Some(held) = self.lock().take_held() else {
            return Ok(None);
        };
        let named = self.name_held(&held, exists, modified, announce);
        let name = match named {
            Ok(Some(name)) => name,
            other => {
                let spilled = {
                    let mut book = self.lock();
                    book.held = true;
                    self.save(&mut book)
                };
                other?;
                return spilled.map(|()| None);
            }
        };
        let gone = unlink_if(&self.disk, &self.dir, &self.names.part, self.part_id);
        if let Err(error) = gone {
            tracing::warn!(%error, "the empty part of a complete file could not be removed");
        }
        retry(|| self.disk.sync_dir(&self.dir)).map_err(self.names.dir_error("sync"))?;
        Ok(Some(self.names.dir.join(name)))
    }

    /// Writes a whole file without a name, syncs it, and gives it the target's. `None` where that cannot be done.
    fn name_held(
        &self,
        held: &[u8],
        exists: Exists,
        modified: Option<Wall>,
        announce: &mut impl FnMut(FileId),
    ) -> Result<Option<String>, StorageError> {
        let part = |doing| self.names.part_error(doing);
        let target = self.names.dir.join(&self.names.target);
        if exists == Exists::Overwrite {
            // A link replaces nothing.
            let there = look(&self.disk, &self.dir, &self.names.target);
            if there
                .map_err(path_error("look at", target.clone()))?
                .is_some()
            {
                return Ok(None);
            }
        }
        let file = match retry(|| self.disk.open_unnamed(&self.dir, 0o666)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
            Err(error) => return Err(part("create")(error)),
        };
        write_all(&self.disk, &file, 0, held).map_err(part("write"))?;
        if let Some(modified) = modified {
            retry(|| self.disk.set_modified(&file, modified)).map_err(part("set the time of"))?;
        }
        retry(|| self.disk.sync(&file)).map_err(part("sync"))?;
        announce(retry(|| self.disk.stat(&file)).map_err(part("look at"))?.id);
        let linked = self.take_free(exists, |name| {
            retry(|| self.disk.link(&file, &self.dir, name))
        });
        match linked {
            Ok(Ok(name)) => Ok(Some(name)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            Ok(Err(error)) => Err(path_error("link to", target)(error)),
            // Somebody took the name since it was looked at.
            Err(StorageError::Exists { .. }) if exists == Exists::Overwrite => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads from memory as from a file.
pub(crate) fn copy_from(held: &[u8], at: u64, into: &mut [u8]) -> usize {
    let rest = usize::try_from(at).ok().and_then(|at| held.get(at..));
    let rest = rest.unwrap_or_default();
    let len = rest.len().min(into.len());
    into[..len].copy_from_slice(&rest[..len]);
    len
}
