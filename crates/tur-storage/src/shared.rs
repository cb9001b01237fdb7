//! What a part, its writers and its checkpoints hold together: the open files, and the [`Book`] under its lock.
//!
//! Lock order: the book's, then that of what readers see. Data is written and synced without either; records are
//! appended under the book's, so that the journal tells things in the order in which they became true.

use std::borrow::Borrow;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::{ByteRange, RangeSet};

use crate::book::Book;
use crate::frame::{Header, PAGE, Record};
use crate::open::{JOURNAL_BYTES_MAX, unlink_if};
use crate::view::View;
use crate::{Disk, FileId, StorageError};

/// Interruptions in a row after which a call is given up: no signal comes so often.
const INTERRUPTS_MAX: u32 = 10_000;

/// The names of one download.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) dir: PathBuf,
    pub(crate) target: String,
    pub(crate) part: String,
    pub(crate) journal: String,
}

impl Names {
    pub(crate) fn part_path(&self) -> PathBuf {
        self.dir.join(&self.part)
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.dir.join(&self.journal)
    }

    pub(crate) fn part_error(&self, doing: &'static str) -> impl Fn(io::Error) -> StorageError {
        path_error(doing, self.part_path())
    }

    pub(crate) fn journal_error(&self, doing: &'static str) -> impl Fn(io::Error) -> StorageError {
        path_error(doing, self.journal_path())
    }

    pub(crate) fn dir_error(&self, doing: &'static str) -> impl Fn(io::Error) -> StorageError {
        path_error(doing, self.dir.clone())
    }

    pub(crate) fn rule(&self, rule: &'static str) -> StorageError {
        StorageError::Rule {
            path: self.part_path(),
            rule,
        }
    }
}

pub(crate) fn path_error(doing: &'static str, path: PathBuf) -> impl Fn(io::Error) -> StorageError {
    move |source| StorageError::Io {
        doing,
        path: path.clone(),
        source,
    }
}

/// An open journal.
pub(crate) struct JournalFile<F> {
    pub(crate) file: F,
    pub(crate) id: FileId,
}

/// See the module.
pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: D,
    pub(crate) dir: D::Dir,
    pub(crate) part: D::File,
    pub(crate) part_id: FileId,
    /// Changed under the book's lock, by [`renew`](crate::renew); none before anything was to be recorded.
    pub(crate) journal: Mutex<Option<Arc<JournalFile<D::File>>>>,
    /// The longest that the journal may be.
    pub(crate) journal_max: u64,
    pub(crate) names: Names,
    pub(crate) boot: Option<[u8; 16]>,
    pub(crate) size_limit: Option<u64>,
    pub(crate) book: Mutex<Book>,
    /// That of the book, for those who only read.
    pub(crate) view: View,
}

impl<D: Disk> Shared<D> {
    /// The book. If a thread died while it wrote in it, nothing it says may reach the disk any more.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(|poisoned| {
            let mut book = poisoned.into_inner();
            book.broken = true;
            book
        })
    }

    /// The journal of now. Who writes in it what the book said takes it while the book is locked.
    pub(crate) fn journal(&self) -> Option<Arc<JournalFile<D::File>>> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.clone()
    }

    /// The journal, where there must be one.
    pub(crate) fn recorder(&self) -> Result<Arc<JournalFile<D::File>>, StorageError> {
        let rule = "nothing is recorded before there is a journal";
        self.journal().ok_or_else(|| self.names.rule(rule))
    }

    pub(crate) fn put_journal(&self, journal: JournalFile<D::File>) {
        let mut place = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::new(journal));
    }

    /// Removes part and journal, as far as the names still lead to ours.
    pub(crate) fn remove_pair(&self) -> Result<(), StorageError> {
        // The part goes first: a journal alone claims nothing, a part alone would seem foreign.
        unlink_if(&self.disk, &self.dir, &self.names.part, self.part_id)
            .map_err(self.names.part_error("remove"))?;
        // And stays gone: names may be saved in any order.
        if retry(|| self.disk.stat(&self.part)).is_ok_and(|part| part.len > 0) {
            retry(|| self.disk.sync_dir(&self.dir)).map_err(self.names.dir_error("sync"))?;
        }
        self.remove_journal()
            .map_err(self.names.journal_error("remove"))
    }

    /// Removes the journal, if there is one and its name still leads there.
    pub(crate) fn remove_journal(&self) -> io::Result<()> {
        self.journal().map_or(Ok(()), |journal| {
            unlink_if(&self.disk, &self.dir, &self.names.journal, journal.id)
        })
    }

    /// Appends records in one write.
    ///
    /// # Errors
    /// `JournalFull` if an eighth of the journal's room would not be left, which is for what voids claims.
    pub(crate) fn append(
        &self,
        book: &mut Book,
        records: impl Iterator<Item = Record>,
    ) -> Result<(), StorageError> {
        self.append_below(book, records, self.journal_max - self.room() / 8)
    }

    /// Appends records in one write, if the journal does not become longer than `limit` by that.
    fn append_below(
        &self,
        book: &mut Book,
        records: impl Iterator<Item = Record>,
        limit: u64,
    ) -> Result<(), StorageError> {
        if book.broken {
            return Err(self.broken());
        }
        let mut bytes = Vec::new();
        let generation = self.encode(&mut bytes, book.tail, book.generation, records)?;
        if !bytes.is_empty() && book.tail + bytes.len() as u64 > limit {
            return Err(self.full());
        }
        write_all(&self.disk, &self.recorder()?.file, book.tail, &bytes)
            .map_err(self.names.journal_error("write"))?;
        book.tail += bytes.len() as u64;
        book.generation = generation;
        Ok(())
    }

    /// Appends frames to `out`, which stands at `at`; says which generation they end in.
    pub(crate) fn encode<R: Borrow<Record>>(
        &self,
        out: &mut Vec<u8>,
        at: u64,
        mut generation: u32,
        records: impl Iterator<Item = R>,
    ) -> Result<u32, StorageError> {
        for record in records {
            let record = record.borrow();
            if !record.encode(at + out.len() as u64, generation, out) {
                return Err(self
                    .names
                    .rule("URL and validators are too long to be written down"));
            }
            generation += u32::from(record.opens_generation());
        }
        Ok(generation)
    }

    /// Appends records that void claims. When this returns, no later reader can miss them. If it fails, the journal may
    /// claim more than is true, and nothing is written any more.
    pub(crate) fn append_sealed(
        &self,
        book: &mut Book,
        records: impl Iterator<Item = Record>,
    ) -> Result<(), StorageError> {
        let sealed = self
            .append_below(book, records, self.journal_max)
            .and_then(|()| self.sync_journal())
            .map(|()| book.synced = book.tail)
            .and_then(|()| self.write_header(book.generation));
        // A full one was not touched.
        book.broken |= !matches!(sealed, Ok(()) | Err(StorageError::JournalFull { .. }));
        sealed
    }

    /// Syncs records that were appended up to `tail`, without holding up those who append more. A sync that fails may
    /// have dropped what it could not save, and a later one does not save it: a record behind such a gap is never read.
    /// So all since the last good sync are written again, in the same place.
    pub(crate) fn save_records(&self, tail: u64) -> Result<(), StorageError> {
        let saved = self.sync_journal();
        let mut book = self.lock();
        if saved.is_ok() {
            book.synced = book.synced.max(tail);
            return saved;
        }
        if book.synced >= tail {
            // What another sync vouched for meanwhile, this one may have dropped.
            book.broken = true;
            return saved;
        }
        // None of them opened a generation: those are synced before anything follows. All that is covered is claimed;
        // the runs go back to the checkpoint, which failed.
        book.tail = book.synced;
        book.claim_again();
        if let Err(error) = self.record_claims(&mut book) {
            tracing::warn!(%error, "claims could not be written again");
        }
        saved
    }

    /// Records what is covered and not recorded yet. What is held in memory waits.
    pub(crate) fn record_claims(&self, book: &mut Book) -> Result<(), StorageError> {
        if book.held {
            return Ok(());
        }
        if book.unrecorded.is_empty() && book.bare.is_empty() {
            return Ok(());
        }
        let claims: Vec<Record> = book.claims().collect();
        self.append(book, claims.into_iter())?;
        book.recorded();
        Ok(())
    }

    /// Takes the vouching back for `lost`, here and on disk.
    pub(crate) fn void(&self, book: &mut Book, lost: &RangeSet) -> Result<(), StorageError> {
        if lost.is_empty() {
            return Ok(());
        }
        book.void(lost);
        if !book.begun || book.held {
            return Ok(());
        }
        let claims: Vec<Record> = book.claims().collect();
        let records = claims.into_iter().chain(Record::forgot(lost.iter()));
        let told = match self.append_sealed(book, records) {
            // The claims have to wait, this may not.
            Err(StorageError::JournalFull { .. }) => {
                self.append_sealed(book, Record::forgot(lost.iter()))
            }
            told => {
                if told.is_ok() {
                    book.recorded();
                }
                told
            }
        };
        if told.is_err() {
            book.broken = true;
            if let Some(journal) = self.journal() {
                self.disown(&journal);
            }
        }
        told
    }

    /// A journal vouches for bytes that it should not, and could not be told: it is made to say nothing, as far as that
    /// can be done. A header that is ahead of all records does it in place, without room or a new name.
    pub(crate) fn disown(&self, journal: &JournalFile<D::File>) {
        let header = self.header(u32::MAX).encode();
        let disowned = write_all(&self.disk, &journal.file, 0, &header)
            .and_then(|()| retry(|| self.disk.sync(&journal.file)));
        if let Err(error) = disowned {
            tracing::warn!(%error, "the journal could not be taken back");
        }
    }

    /// Everything that was not durable is lost: a failed sync drops what it could not save, and says so only once.
    pub(crate) fn lose_volatile(&self, source: io::Error) -> StorageError {
        let mut book = self.lock();
        let lost = book.volatile();
        book.losses += 1;
        if let Err(error) = self.void(&mut book, &lost) {
            tracing::warn!(%error, "the journal could not be told of a failed sync");
        }
        StorageError::Lost {
            path: self.names.part_path(),
            lost,
            source,
        }
    }

    pub(crate) fn sync_journal(&self) -> Result<(), StorageError> {
        let journal = self.recorder()?;
        retry(|| self.disk.sync(&journal.file)).map_err(self.names.journal_error("sync"))
    }

    pub(crate) fn header(&self, generation: u32) -> Header {
        Header {
            pid: std::process::id(),
            boot: self.boot,
            part: self.part_id,
            generation,
        }
    }

    pub(crate) fn write_header(&self, generation: u32) -> Result<(), StorageError> {
        let header = self.header(generation).encode();
        write_all(&self.disk, &self.recorder()?.file, 0, &header)
            .map_err(self.names.journal_error("write"))
    }

    /// Begins the journal anew, with nothing in it; `fresh` if it never had anything.
    pub(crate) fn write_first_page(
        &self,
        book: &mut Book,
        fresh: bool,
    ) -> Result<(), StorageError> {
        let error = self.names.journal_error("write");
        if !fresh {
            self.wipe_journal()?;
        }
        let journal = self.recorder()?;
        retry(|| self.disk.set_len(&journal.file, 0)).map_err(&error)?;
        let mut page = [0; PAGE];
        let header = self.header(0).encode();
        page[..header.len()].copy_from_slice(&header);
        write_all(&self.disk, &journal.file, 0, &page).map_err(&error)?;
        book.tail = PAGE as u64;
        book.synced = PAGE as u64;
        book.generation = 0;
        book.headed = true;
        Ok(())
    }

    /// Overwrites a damaged journal, as far as one is ever read. Emptying it is not enough: after a loss of power what it
    /// held may follow the first record of the new one, and would count for that.
    fn wipe_journal(&self) -> Result<(), StorageError> {
        let journal = self.recorder()?;
        let stat =
            retry(|| self.disk.stat(&journal.file)).map_err(self.names.journal_error("look at"))?;
        let zeros = [0; PAGE];
        for at in (0..stat.len.min(JOURNAL_BYTES_MAX)).step_by(PAGE) {
            let len = PAGE.min(usize::try_from(stat.len - at).unwrap_or(PAGE));
            write_all(&self.disk, &journal.file, at, &zeros[..len])
                .map_err(self.names.journal_error("write"))?;
        }
        self.sync_journal()
    }

    pub(crate) fn full(&self) -> StorageError {
        StorageError::JournalFull {
            path: self.names.journal_path(),
        }
    }

    pub(crate) fn broken(&self) -> StorageError {
        StorageError::JournalBroken {
            path: self.names.journal_path(),
        }
    }
}

/// Calls again while a signal interrupts.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut interrupts = 0;
    loop {
        match call() {
            Err(error)
                if error.kind() == io::ErrorKind::Interrupted && interrupts < INTERRUPTS_MAX =>
            {
                interrupts += 1;
            }
            done => return done,
        }
    }
}

/// Writes all of `bytes`.
pub(crate) fn write_all<D: Disk>(
    disk: &D,
    file: &D::File,
    mut at: u64,
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        let taken = retry(|| disk.write_at(file, at, &[IoSlice::new(bytes)]))?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[taken.min(bytes.len())..];
        at += taken as u64;
    }
    Ok(())
}

/// Reads until `into` is full or the file ends; says how many bytes came.
pub(crate) fn read_full<D: Disk>(
    disk: &D,
    file: &D::File,
    at: u64,
    into: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match retry(|| disk.read_at(file, at + done as u64, &mut into[done..]))? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Bytes read at once to compute a CRC.
const READ_LEN: u64 = 1 << 20;

/// The CRC of `range`; `None` if the file ends before it.
pub(crate) fn crc_of<D: Disk>(
    disk: &D,
    file: &D::File,
    range: ByteRange,
) -> io::Result<Option<u32>> {
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; usize::try_from(range.len().min(READ_LEN)).unwrap_or(0)];
    let mut at = range.start;
    while at < range.end {
        let want =
            usize::try_from(range.end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let came = read_full(disk, file, at, &mut buffer[..want])?;
        if came < want {
            return Ok(None);
        }
        crc.update(&buffer[..came]);
        at += came as u64;
    }
    Ok(Some(crc.finalize()))
}
