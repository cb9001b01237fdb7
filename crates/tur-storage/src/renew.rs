//! A journal that has grown long is written anew, with nothing in it but what is true now: `Shared::renew`.
//!
//! The new one is complete and synced under a name of its own (`NAME.tur.new`) before a rename gives it the journal's. So a
//! crash finds either the old one or the new one, and both tell of every byte that was claimed by then.

use crate::book::Book;
use crate::frame::{HEADER, PAGE, Record, may_be_ours};
use crate::open::{PRIVATE, look, require_regular, unlink_if};
use crate::shared::{JournalFile, Names, Shared, read_full, retry, write_all};
use crate::{Disk, Onto, Open, StorageError};

impl Names {
    /// Where a journal is written before it is the journal.
    fn renewed(&self) -> String {
        format!("{}.new", self.journal)
    }
}

impl<D: Disk> Shared<D> {
    /// Bytes that records take.
    fn taken(book: &Book) -> u64 {
        book.tail.saturating_sub(PAGE as u64)
    }

    /// Bytes that records may take.
    pub(crate) fn room(&self) -> u64 {
        self.journal_max.saturating_sub(PAGE as u64)
    }

    /// Puts a source and what is claimed of it on record. A long journal is renewed by it. When this returns, no later
    /// reader can miss it.
    pub(crate) fn put_source(
        &self,
        book: &mut Book,
        records: Vec<Record>,
    ) -> Result<(), StorageError> {
        // A checkpoint under way has records in the journal that the book does not know of yet.
        if book.voided.is_none() && Self::taken(book) > self.room() / 4 {
            match self.renew(book, &records) {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "the journal stays long"),
            }
        }
        self.append_sealed(book, records.into_iter())
    }

    /// Renews a journal that takes half of its room, unless that would not make it much shorter. Where this fails, the old
    /// one goes on.
    pub(crate) fn renew_if_long(&self, book: &mut Book) {
        let taken = Self::taken(book);
        let is_long = taken > self.room() / 2 && taken / 2 > book.renewed;
        if !is_long || !book.begun || book.voided.is_some() {
            return;
        }
        let Some(source) = book.source.clone() else {
            return;
        };
        book.rotate_all();
        let records: Vec<Record> = std::iter::once(Record::Source(source))
            .chain(book.everything())
            .collect();
        match self.renew(book, &records) {
            Ok(()) => {
                // What the slots vouched for is on record with the rest.
                book.take_claims();
                book.recorded();
            }
            Err(error) => tracing::warn!(%error, "the journal stays long"),
        }
    }

    /// Replaces the journal by one with these records.
    fn renew(&self, book: &mut Book, records: &[Record]) -> Result<(), StorageError> {
        if book.broken {
            return Err(self.broken());
        }
        let (tail, generation, bytes) = self.new_journal(records)?;
        let name = self.names.renewed();
        let error = |doing| self.names.journal_error(doing);
        clear(&self.disk, &self.dir, &self.names)?;
        let file = retry(|| self.disk.open(&self.dir, &name, Open::New(PRIVATE)));
        let file = file.map_err(error("create anew"))?;
        let id = retry(|| self.disk.stat(&file))
            .map_err(error("look at"))?
            .id;
        let fresh = JournalFile { file, id };
        let old = self.recorder()?;
        let in_place = write_all(&self.disk, &fresh.file, 0, &bytes)
            .map_err(error("write anew"))
            .and_then(|()| retry(|| self.disk.sync(&fresh.file)).map_err(error("sync")))
            .and_then(|()| self.take_name(&name, &old, &fresh));
        if in_place.is_err() {
            // It is in nobody's way: the next opening removes it too.
            unlink_if(&self.disk, &self.dir, &name, fresh.id).ok();
            return in_place;
        }
        self.put_journal(fresh);
        book.tail = tail;
        book.synced = tail;
        book.renewed = Self::taken(book);
        book.generation = generation;
        retry(|| self.disk.sync_dir(&self.dir)).map_err(|source| {
            // A loss of power may bring the old one back, which will not hear of what is forgotten from here on.
            book.broken = true;
            self.disown(&old);
            self.names.dir_error("sync")(source)
        })
    }

    /// The bytes of a journal, with where they end and which generation that is.
    fn new_journal(&self, records: &[Record]) -> Result<(u64, u32, Vec<u8>), StorageError> {
        let mut bytes = vec![0; PAGE];
        let generation = self.encode(&mut bytes, 0, 0, records.iter())?;
        let tail = bytes.len() as u64;
        if tail > self.journal_max {
            return Err(self.full());
        }
        bytes[..HEADER].copy_from_slice(&self.header(generation).encode());
        Ok((tail, generation, bytes))
    }

    /// Gives the new journal the name, if that still leads to the old one or nowhere.
    fn take_name(
        &self,
        name: &str,
        old: &JournalFile<D::File>,
        fresh: &JournalFile<D::File>,
    ) -> Result<(), StorageError> {
        let error = |doing| self.names.journal_error(doing);
        let journal = &self.names.journal;
        let there = look(&self.disk, &self.dir, journal).map_err(error("look at"))?;
        if there.is_some_and(|there| there.id != old.id) {
            return Err(StorageError::Foreign {
                path: self.names.journal_path(),
            });
        }
        let renamed = retry(|| self.disk.rename(&self.dir, name, journal, Onto::Any));
        renamed.or_else(|other| {
            // Some network file systems fail after it was done.
            let now = look(&self.disk, &self.dir, journal).map_err(error("look at"))?;
            if now.is_some_and(|now| now.id == fresh.id) {
                return Ok(());
            }
            Err(error("replace")(other))
        })
    }
}

/// Removes what a process left that was killed while it wrote a journal anew.
pub(crate) fn clear<D: Disk>(disk: &D, dir: &D::Dir, names: &Names) -> Result<(), StorageError> {
    let name = names.renewed();
    let path = names.dir.join(&name);
    let error = |doing| crate::shared::path_error(doing, path.clone());
    let Some(stat) = look(disk, dir, &name).map_err(error("look at"))? else {
        return Ok(());
    };
    require_regular(stat.kind, path.clone())?;
    let file = retry(|| disk.open(dir, &name, Open::Existing)).map_err(error("open"))?;
    let mut head = [0; HEADER];
    let came = read_full(disk, &file, 0, &mut head).map_err(error("read"))?;
    if !may_be_ours(&head[..came]) {
        return Err(StorageError::Foreign { path });
    }
    unlink_if(disk, dir, &name, stat.id).map_err(error("remove"))
}

#[cfg(test)]
mod tests;
