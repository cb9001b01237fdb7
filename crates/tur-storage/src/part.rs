//! The part file of one download: [`Part`].

use std::sync::{Arc, Mutex};

use tur_core::{ByteRange, Identity, RangeSet};

use crate::book::Book;
use crate::frame::{Record, SourceV1};
use crate::held::copy_from;
use crate::journal::{Here, Journal, Run};
use crate::open::{self, Found, JOURNAL_BYTES_MAX, Place};
use crate::renew;
use crate::shared::{JournalFile, Shared, crc_of, read_full, retry};
use crate::{Checkpoint, Disk, Room, StorageError, Writer};

/// An open part and what an earlier process left in it.
pub struct Opened<D: Disk> {
    /// The part, locked.
    pub part: Part<D>,
    /// What can be gone on with; `None` if nothing can.
    pub saved: Option<Saved>,
}

/// What an earlier process left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where the bytes came from.
    pub url: String,
    /// Which representation they belong to.
    pub identity: Identity,
    /// Which bytes are there.
    pub claimed: RangeSet,
    /// What a user might want to know about it.
    pub notes: Vec<String>,
}

/// `NAME.part` with its journal `NAME.tur`, both open and locked against other processes.
///
/// Cheap calls take the part's one lock for a moment; [`begin`](Part::begin), [`forget`](Part::forget) and
/// [`commit`](Part::commit) wait for the disk. Dropping the part keeps both files.
pub struct Part<D: Disk> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D: Disk> Part<D> {
    /// Opens or makes part and journal under `place`. Never truncates: what an earlier process left is told as
    /// [`Saved`], and kept or given up by [`begin`](Part::begin). `url` is the one the user gives now; a note says if
    /// it differs from the saved one. Reads what must be verified, so it may take a while after a loss of power.
    ///
    /// # Errors
    /// `Busy` if another process has it; `Foreign`, `NotRegular`, `Version`, `Replaced`; `Io`.
    pub fn open(disk: D, place: &Place, url: &str) -> Result<Opened<D>, StorageError> {
        let dir = Self::open_dir(&disk, place)?;
        let (opened, fresh) = Self::open_pair(disk, dir, place, url)?;
        let shared = &*opened.part.shared;
        let made = match shared.journal() {
            Some(_) => Ok(()),
            None => shared.make_journal(&mut shared.lock()),
        };
        if let Err(error) = made {
            if fresh {
                // Made by us a moment ago, and of no use.
                opened.part.discard_quietly();
            }
            return Err(error);
        }
        Ok(opened)
    }

    /// As [`open`](Self::open), but makes no journal before there is something to record. A short file that a
    /// [`begin`](Self::begin) without `keep` begins then waits in memory until it is whole, and only a checkpoint, a
    /// [`stop`](Self::stop) or a commit that knows no other way puts it into part and journal. Until then `NAME.part` is
    /// empty, and says no more than that somebody works on it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_lazily(disk: D, place: &Place, url: &str) -> Result<Opened<D>, StorageError> {
        let dir = Self::open_dir(&disk, place)?;
        Self::open_pair(disk, dir, place, url).map(|(opened, _)| opened)
    }

    /// As [`open_lazily`](Self::open_lazily), but only where the target's name is free: what has it is told otherwise, as
    /// [`survey`](crate::survey) would, and nothing is made.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_if_free(
        disk: D,
        place: &Place,
        url: &str,
    ) -> Result<Result<Opened<D>, Found>, StorageError> {
        let dir = Self::open_dir(&disk, place)?;
        match open::survey_in(&disk, &dir, &place.names())? {
            Found::Nothing => Self::open_pair(disk, dir, place, url).map(|(opened, _)| Ok(opened)),
            found => Ok(Err(found)),
        }
    }

    fn open_dir(disk: &D, place: &Place) -> Result<D::Dir, StorageError> {
        retry(|| disk.open_dir(&place.dir, place.create_dirs))
            .map_err(place.names().dir_error("open"))
    }

    /// Opens the part, with its journal if there is one. True if the part was made just now.
    fn open_pair(
        disk: D,
        dir: D::Dir,
        place: &Place,
        url: &str,
    ) -> Result<(Opened<D>, bool), StorageError> {
        let names = place.names();
        let boot = disk.boot_id();
        let part = open::open_part(&disk, &dir, &names, boot)?;
        let here = Here {
            boot,
            part: part.stat.id,
        };
        let found = open::find_journal(&disk, &dir, &names, &part.stat).and_then(|found| {
            let Some((file, bytes)) = found else {
                return Ok((None, None));
            };
            Ok((Some(file), open::read_journal(&bytes, &here, &names)?))
        });
        let (journal_file, mut journal) = match found {
            Ok(found) => found,
            Err(error) => {
                if part.fresh {
                    // Made by us a moment ago, and of no use.
                    drop_quietly(&disk, &dir, &names.part, part.stat.id);
                }
                return Err(error);
            }
        };
        if let Err(error) = renew::clear(&disk, &dir, &names) {
            tracing::warn!(%error, "what may have been left of a journal stays");
        }
        let notes = match (&mut journal, &journal_file) {
            (Some(journal), Some(journal_file)) => {
                if open::is_touched(&part.stat, &journal_file.stat) {
                    journal.trusted = false;
                }
                open::confirm(&disk, &part, journal)
            }
            _ => Vec::new(),
        };
        let book = Book::new();
        let shared = Shared {
            size_limit: [disk.file_size_limit(), disk.largest_file(&dir)]
                .into_iter()
                .flatten()
                .min(),
            disk,
            dir,
            part_id: part.stat.id,
            part: part.file,
            journal: Mutex::new(journal_file.map(|found| {
                Arc::new(JournalFile {
                    file: found.file,
                    id: found.stat.id,
                })
            })),
            journal_max: JOURNAL_BYTES_MAX,
            names,
            boot,
            view: book.view.clone(),
            book: Mutex::new(book),
        };
        shared.take_up(journal.as_ref())?;
        let opened = Opened {
            part: Part {
                shared: Arc::new(shared),
            },
            saved: journal.and_then(|journal| saved(journal, notes, url)),
        };
        Ok((opened, part.fresh))
    }

    /// Removes what a complete file may have left behind: a journal without its part, or an empty part without its
    /// journal. Does nothing where there are both, or none.
    ///
    /// # Errors
    /// As [`open`](Part::open), and nothing was removed then.
    pub fn sweep(disk: D, place: &Place) -> Result<(), StorageError> {
        let names = place.names();
        let dir = retry(|| disk.open_dir(&place.dir, false)).map_err(names.dir_error("open"))?;
        let is_there = |name: &str| {
            let seen = open::look(&disk, &dir, name).map_err(names.journal_error("look at"));
            seen.map(|stat| stat.is_some())
        };
        if is_there(&names.journal)? == is_there(&names.part)? {
            return Ok(());
        }
        // Opened as a pair, so that nobody else begins with it while it is removed.
        Self::open_lazily(disk, place, "")?.part.discard()
    }

    /// Says which representation is written from here on, and puts it on record before it returns. With `keep` the
    /// covered bytes stay and belong to it; without, all are void and the part is emptied. May be called again, for
    /// instance after the representation changed. Says how much room it has found; `None` while the length is not known.
    ///
    /// # Errors
    /// `NoSpace` or `FileLimit` if the whole cannot fit: nothing was changed. `Rule` if `keep` is false while writers
    /// are at work, or true with bytes past the total. `Io`: the part can not be written before another call succeeds.
    pub fn begin(
        &self,
        url: &str,
        identity: &Identity,
        keep: bool,
    ) -> Result<Option<Room>, StorageError> {
        let shared = &*self.shared;
        let room = shared.check_room(identity.total)?;
        let mut book = shared.lock();
        if !keep && !book.active.is_empty() {
            return Err(shared.names.rule("a restart waits for its writers to end"));
        }
        if keep && book.high() > identity.extent().end {
            let rule = "the kept bytes go past the end of the file";
            return Err(shared.names.rule(rule));
        }
        let source = SourceV1::new(url, identity);
        if shared.hold(&mut book, &source, keep)? {
            return Ok(room);
        }
        shared.make_journal(&mut book)?;
        let mut records = vec![Record::Source(source.clone())];
        if keep {
            book.take_claims();
            records.extend(book.everything());
        }
        shared.put_source(&mut book, records)?;
        book.source = Some(source);
        if keep {
            book.recorded();
            book.begun = true;
            book.total = identity.total;
        } else {
            book.restart(identity.total);
            let emptied = retry(|| shared.disk.set_len(&shared.part, 0));
            book.begun = emptied.is_ok();
            emptied.map_err(shared.names.part_error("empty"))?;
        }
        // The names must outlive a loss of power, or the part would be found without its journal.
        retry(|| shared.disk.sync_dir(&shared.dir)).map_err(shared.names.dir_error("sync"))?;
        Ok(room)
    }

    /// A writer for one lease. Its slot is free again when the writer has ended; a writer beyond
    /// [`SLOTS`](crate::journal::SLOTS), or for a slot in use, is claimed by records alone, one for each MiB.
    #[must_use]
    pub fn writer(&self, slot: u16, lease: u32, range: ByteRange) -> Writer<D> {
        Writer::new(Arc::clone(&self.shared), slot, lease, range)
    }

    /// The bytes that were written and not lost since.
    #[must_use]
    pub fn covered(&self) -> RangeSet {
        self.shared.view.look().covered.clone()
    }

    /// How far the bytes reach from 0 without a gap.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.shared.view.look().covered.frontier()
    }

    /// Reads until `into` is full or the file ends. Only covered bytes mean anything.
    ///
    /// # Errors
    /// `Io`.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        self.reader().read_at(at, into)
    }

    /// A way to read that can live on another thread.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        Reader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// These bytes will be written again: they are not covered any more, and the journal says so before this returns.
    /// No writer may be writing in `range`.
    ///
    /// # Errors
    /// `Io` or `JournalBroken`: nothing may be written any more.
    pub fn forget(&self, range: ByteRange) -> Result<(), StorageError> {
        let mut book = self.shared.lock();
        let lost = book.seen().covered.intersect(range);
        self.shared.void(&mut book, &lost)
    }

    /// How much room there is for what the file still needs; `None` while its length is not known. Two calls of the
    /// system.
    ///
    /// # Errors
    /// `Io`: it cannot be seen, and nothing has changed.
    pub fn room(&self) -> Result<Option<Room>, StorageError> {
        let total = self.shared.lock().total;
        total.map(|total| self.shared.room_for(total)).transpose()
    }

    /// Begins a checkpoint. It covers what is written now; its job runs on another thread while writes go on.
    ///
    /// # Errors
    /// `Rule` while another one runs.
    pub fn checkpoint(&self) -> Result<Checkpoint<D>, StorageError> {
        Checkpoint::begin(Arc::clone(&self.shared))
    }

    /// Looks whether somebody else touched the part. Bytes that were cut off are not covered any more and are returned:
    /// they must be fetched again. Cheap; to be called at each checkpoint and before a commit.
    ///
    /// # Errors
    /// `Replaced` if the name leads elsewhere; `Io`; `JournalBroken`.
    pub fn check(&self) -> Result<RangeSet, StorageError> {
        let shared = &*self.shared;
        let there = open::look(&shared.disk, &shared.dir, &shared.names.part)
            .map_err(shared.names.part_error("look at"))?;
        if there.is_none_or(|stat| stat.id != shared.part_id) {
            return Err(StorageError::Replaced {
                path: shared.names.part_path(),
            });
        }
        let high = shared.lock().high();
        shared.notice_cut(high)?;
        Ok(std::mem::take(&mut shared.lock().cut))
    }

    /// True if the part takes less room than it has bytes. Then somebody may have cut it between the look before a write and
    /// the write, which made it long again: what was cut off reads as zeros, and [`check`](Self::check) does not see it. On a
    /// file system that compresses it is true of a part that is whole.
    ///
    /// # Errors
    /// `Io`.
    pub fn is_thin(&self) -> Result<bool, StorageError> {
        let shared = &*self.shared;
        let bytes = {
            let seen = shared.view.look();
            if seen.memory.is_some() || seen.gone > 0 {
                return Ok(false);
            }
            seen.covered.len()
        };
        let stat =
            retry(|| shared.disk.stat(&shared.part)).map_err(shared.names.part_error("look at"))?;
        Ok(stat.allocated < bytes)
    }

    /// Work that reads what this process has written, while no writer is at work. Runs that are not what was written are not
    /// covered any more and are returned: they must be fetched again.
    pub fn proving(&self) -> impl FnOnce() -> Result<RangeSet, StorageError> + Send + use<D> {
        let shared = Arc::clone(&self.shared);
        move || {
            let runs: Vec<Run> = {
                let book = shared.lock();
                let told = book.durable.iter().chain(book.pending.iter().copied());
                told.chain(book.unrecorded.iter().copied()).collect()
            };
            let mut lost = RangeSet::new();
            for run in runs {
                let crc = crc_of(&shared.disk, &shared.part, run.range);
                if crc.map_err(shared.names.part_error("read"))? != Some(run.crc) {
                    lost.insert(run.range);
                }
            }
            shared.void(&mut shared.lock(), &lost)?;
            Ok(lost)
        }
    }

    /// Records all claims. Needs no sync: the claims of a stopped process survive like those of a killed one.
    ///
    /// # Errors
    /// `Io`, `JournalFull` or `JournalBroken`; the slots of writers at work still vouch.
    pub fn stop(&self) -> Result<(), StorageError> {
        let mut book = self.shared.lock();
        self.shared.save(&mut book)?;
        self.shared.renew_if_long(&mut book);
        book.take_claims();
        self.shared.record_claims(&mut book)
    }

    /// Removes part and journal, as far as the names still lead to ours.
    ///
    /// # Errors
    /// `Io`.
    pub fn discard(self) -> Result<(), StorageError> {
        self.shared.remove_pair()
    }

    fn discard_quietly(self) {
        let path = self.shared.names.part_path();
        if let Err(error) = self.discard() {
            tracing::warn!(%error, ?path, "a part that was made in vain could not be removed");
        }
    }
}

/// Reads a part while it is written; see [`Part::reader`]. It waits for nobody who waits for the disk.
pub struct Reader<D: Disk> {
    shared: Arc<Shared<D>>,
}

impl<D: Disk> Reader<D> {
    /// See [`Part::read_at`].
    ///
    /// # Errors
    /// `Io`.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        if let Some(held) = &self.shared.view.look().memory {
            return Ok(copy_from(held, at, into));
        }
        self.read_file(at, into)
    }

    /// Reads covered bytes from `at` on, as many as stand there without a gap, and says how many came: 0 if the one at
    /// `at` is not covered. What became void while it was read is not told, and neither is what somebody has cut off: that
    /// is not covered from then on. After a commit the file is read that the target's name was given.
    ///
    /// # Errors
    /// `Io`; `JournalBroken`.
    pub fn read_covered(&self, at: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        let len = {
            let seen = self.shared.view.look();
            let len = seen.covered_from(at, into.len());
            if let Some(memory) = &seen.memory {
                return Ok(copy_from(memory, at, &mut into[..len]));
            }
            len
        };
        let came = self.read_file(at, &mut into[..len])?;
        if came < len {
            self.shared.notice_cut(at + len as u64)?;
        }
        Ok(self.shared.view.look().covered_from(at, came))
    }

    /// See [`Part::covered`]; without what was given back, which is not read again.
    #[must_use]
    pub fn covered(&self) -> RangeSet {
        self.shared.view.look().readable()
    }

    /// The first byte of `range` that is not covered; `None` if all of them are.
    ///
    /// # Errors
    /// `GivenBack` if it begins in what was given back, as a read there.
    pub fn first_missing(&self, range: ByteRange) -> Result<Option<u64>, StorageError> {
        let missing = self.shared.view.look().first_missing(range);
        if !range.is_empty() {
            self.shared.require_there(range.start)?;
        }
        Ok(missing)
    }

    fn read_file(&self, at: u64, into: &mut [u8]) -> Result<usize, StorageError> {
        let came = read_full(&self.shared.disk, &self.shared.part, at, into)
            .map_err(self.shared.names.part_error("read"))?;
        // Looked at after the read: what is given back is announced before it goes.
        self.shared.require_there(at)?;
        Ok(came)
    }

    /// See [`Part::frontier`].
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.shared.view.look().covered.frontier()
    }
}

impl<D: Disk> Shared<D> {
    /// Takes over what the journal claims.
    fn take_up(&self, journal: Option<&Journal>) -> Result<(), StorageError> {
        let Some(journal) = journal else {
            // None, or damaged: it stays as it is until a source begins.
            return Ok(());
        };
        let mut book = self.lock();
        book.headed = true;
        book.tail = journal.tail;
        book.synced = journal.tail;
        book.generation = journal.generation;
        if journal.source.is_some() {
            book.seen().covered = journal.claimed.clone();
            book.unhashed = journal.claimed.clone();
            for run in &journal.runs {
                book.durable.insert(*run);
                book.unhashed.remove(run.range);
            }
            for run in &journal.written {
                if book.unhashed.covers(run.range) {
                    book.pending.push(*run);
                    book.unhashed.remove(run.range);
                } else {
                    self.hash_rest(&mut book, run.range);
                }
            }
        }
        if journal.trusted {
            // So that a second process can name us. Where the journal is of another boot, its header must say so until
            // the proven claims are on record.
            self.write_header(journal.generation)?;
        }
        Ok(())
    }

    /// A run of which a part is durable: the rest gets a CRC of its own. The run itself was proven a moment ago, so what
    /// is read is what was written; a claim without a CRC would not outlive the next kill.
    fn hash_rest(&self, book: &mut Book, range: ByteRange) {
        let rest = book.unhashed.intersect(range);
        for range in rest.iter() {
            match crc_of(&self.disk, &self.part, range) {
                Ok(Some(crc)) => {
                    book.pending.push(Run { range, crc });
                    book.unhashed.remove(range);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, %range, "a run cannot be read"),
            }
        }
    }

    /// Finds bytes below `high` that were cut off the file, voids them, and keeps them to be told by `check`.
    pub(crate) fn notice_cut(&self, high: u64) -> Result<(), StorageError> {
        if self.view.look().memory.is_some() {
            return Ok(());
        }
        let stat =
            retry(|| self.disk.stat(&self.part)).map_err(self.names.part_error("look at"))?;
        if stat.len >= high {
            return Ok(());
        }
        let mut book = self.lock();
        let lost = book.seen().covered.intersect(ByteRange::from(stat.len));
        self.void(&mut book, &lost)?;
        book.cut.extend(lost.iter());
        Ok(())
    }
}

fn saved(journal: Journal, mut notes: Vec<String>, url: &str) -> Option<Saved> {
    let source = journal.source?;
    if source.url != url {
        notes.push("the part was begun from another URL".into());
    }
    Some(Saved {
        url: source.url,
        identity: source.identity,
        claimed: journal.claimed,
        notes,
    })
}

fn drop_quietly<D: Disk>(disk: &D, dir: &D::Dir, name: &str, id: crate::FileId) {
    if let Err(error) = open::unlink_if(disk, dir, name, id) {
        tracing::warn!(%error, name, "a file that was made in vain could not be removed");
    }
}
