//! From a place to an open, locked part: [`survey`], and the opening behind [`Part::open`](crate::Part::open).
//!
//! Nothing here truncates or overwrites data. A name that is not a plain file is refused; a part that no journal stands
//! beside belongs to somebody else.

use std::io;
use std::path::{Path, PathBuf};

use tur_core::{ByteRange, RangeSet, Wall};

use crate::frame::{HEADER, Head, Header, may_be_ours};
use crate::journal::{Here, Journal, Replayed, Run, replay};
use crate::shared::{Names, crc_of, path_error, read_full, retry};
use crate::{Disk, FileId, FileKind, FileName, Open, Stat, StorageError};

/// Permission bits of part and journal: nobody else's business until it is complete.
pub(crate) const PRIVATE: u32 = 0o600;
/// How often opening begins anew because the name changed hands in between.
const RACES_MAX: u32 = 8;
/// The most that is read again of synced runs where nothing speaks against them.
const REVIEW_MAX: u64 = 64 << 20;
/// How much later than the journal the part may have been changed: the time between a write and its claim, and the
/// coarseness of file times (10 ms on slow-ticking kernels).
const TOUCHED_NS: i128 = 50_000_000;
/// The most that is read of a journal, in bytes. Nothing is appended behind it; a long journal is written anew before.
pub const JOURNAL_BYTES_MAX: u64 = 16 << 20;

/// Where a download goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Directory.
    pub dir: PathBuf,
    /// Name of the target in it.
    pub name: FileName,
    /// True if a missing directory is made, with its parents.
    pub create_dirs: bool,
}

impl Place {
    /// The names of target, part and journal.
    pub(crate) fn names(&self) -> Names {
        let name = self.name.as_str();
        Names {
            dir: self.dir.clone(),
            target: name.to_owned(),
            part: format!("{name}.part"),
            journal: format!("{name}.tur"),
        }
    }
}

/// What stands under the target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A plain file.
    File {
        /// Which one.
        id: FileId,
        /// Length in bytes.
        len: u64,
        /// Time of its last change.
        modified: Wall,
    },
    /// A directory.
    Directory,
    /// A symbolic link, whatever it leads to.
    Symlink,
    /// A FIFO, socket or device.
    Special,
}

/// Looks at the target's name, never through a symbolic link.
///
/// # Errors
/// `Io` if the directory cannot be opened (a missing one that may be made holds nothing).
pub fn survey<D: Disk>(disk: &D, place: &Place) -> Result<Found, StorageError> {
    let names = place.names();
    let dir = match retry(|| disk.open_dir(&place.dir, false)) {
        Err(error) if place.create_dirs && error.kind() == io::ErrorKind::NotFound => {
            return Ok(Found::Nothing);
        }
        other => other.map_err(names.dir_error("open"))?,
    };
    survey_in(disk, &dir, &names)
}

/// As [`survey`], in a directory that is open.
pub(crate) fn survey_in<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    names: &Names,
) -> Result<Found, StorageError> {
    let error = path_error("look at", names.dir.join(&names.target));
    Ok(match look(disk, dir, &names.target).map_err(error)? {
        None => Found::Nothing,
        Some(stat) => match stat.kind {
            FileKind::Regular => Found::File {
                id: stat.id,
                len: stat.len,
                modified: stat.modified,
            },
            FileKind::Directory => Found::Directory,
            FileKind::Symlink => Found::Symlink,
            FileKind::Special => Found::Special,
        },
    })
}

/// What a name leads to; `None` if it is free.
pub(crate) fn look<D: Disk>(disk: &D, dir: &D::Dir, name: &str) -> io::Result<Option<Stat>> {
    match retry(|| disk.stat_at(dir, name)) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Refuses everything that is not a plain file.
pub(crate) fn require_regular(kind: FileKind, path: PathBuf) -> Result<(), StorageError> {
    let what = match kind {
        FileKind::Regular => return Ok(()),
        FileKind::Directory => "a directory",
        FileKind::Symlink => "a symbolic link",
        FileKind::Special => "a FIFO, socket or device",
    };
    Err(StorageError::NotRegular { path, what })
}

/// Refuses what is not a plain file, and one that has another name: writing here would change somebody's file there.
fn require_own(stat: &Stat, path: PathBuf) -> Result<(), StorageError> {
    require_regular(stat.kind, path.clone())?;
    match stat.links {
        0 | 1 => Ok(()),
        _ => Err(StorageError::Foreign { path }),
    }
}

/// Refuses a part with bytes beside which no journal stands.
fn require_pair(part_len: u64, has_journal: bool, names: &Names) -> Result<(), StorageError> {
    if has_journal || part_len == 0 {
        return Ok(());
    }
    let path = names.part_path();
    Err(StorageError::Foreign { path })
}

/// Refuses a file that never was a journal: it is not ours to overwrite.
fn require_journal(head: &[u8], names: &Names) -> Result<(), StorageError> {
    if may_be_ours(&head[..head.len().min(HEADER)]) {
        return Ok(());
    }
    let path = names.journal_path();
    Err(StorageError::Foreign { path })
}

/// Refuses what no download can begin with, as one that begins would. Takes no lock and changes nothing.
pub(crate) fn require_beginning<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    names: &Names,
) -> Result<(), StorageError> {
    let target = names.dir.join(&names.target);
    let found = look(disk, dir, &names.target).map_err(path_error("look at", target.clone()))?;
    found.map_or(Ok(()), |found| require_regular(found.kind, target))?;
    let part = look(disk, dir, &names.part).map_err(names.part_error("look at"))?;
    if let Some(part) = &part {
        require_own(part, names.part_path())?;
    }
    let journal = look(disk, dir, &names.journal).map_err(names.journal_error("look at"))?;
    require_pair(part.map_or(0, |part| part.len), journal.is_some(), names)?;
    let Some(journal) = journal else {
        return Ok(());
    };
    require_own(&journal, names.journal_path())?;
    let file = retry(|| disk.open(dir, &names.journal, Open::Existing));
    let file = file.map_err(names.journal_error("open"))?;
    let mut head = [0; HEADER];
    let came = read_full(disk, &file, 0, &mut head).map_err(names.journal_error("read"))?;
    require_journal(&head[..came], names)?;
    match Header::decode(&head[..came]) {
        Head::Version(version) => Err(StorageError::Version {
            path: names.journal_path(),
            version,
        }),
        Head::Good(_) | Head::Damaged => Ok(()),
    }
}

/// An open plain file.
pub(crate) struct Opened<F> {
    pub(crate) file: F,
    pub(crate) stat: Stat,
    /// True if it was made just now.
    pub(crate) fresh: bool,
}

/// Opens or makes `name` in `dir`, which is at `dir_path`; it must be a plain file.
pub(crate) fn open_regular<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    dir_path: &Path,
    name: &str,
) -> Result<Opened<D::File>, StorageError> {
    let path = dir_path.join(name);
    let error = path_error("open", path.clone());
    for _ in 0..RACES_MAX {
        let seen = look(disk, dir, name).map_err(&error)?;
        let how = match seen {
            Some(stat) => {
                // Looked at before it is opened: opening a device can do things.
                require_regular(stat.kind, path.clone())?;
                Open::Existing
            }
            None => Open::New(PRIVATE),
        };
        let file = match retry(|| disk.open(dir, name, how)) {
            Ok(file) => file,
            Err(error) if raced(&error) => continue,
            Err(other) => return Err(error(other)),
        };
        let fresh = seen.is_none();
        let stat = match retry(|| disk.stat(&file)) {
            Ok(stat) => stat,
            Err(other) => {
                if fresh {
                    unmake(disk, dir, name);
                }
                return Err(error(other));
            }
        };
        require_own(&stat, path)?;
        return Ok(Opened { file, stat, fresh });
    }
    Err(StorageError::Replaced { path })
}

/// Removes a file that was made a moment ago and is of no use after all, if it is still empty.
fn unmake<D: Disk>(disk: &D, dir: &D::Dir, name: &str) {
    let empty = |stat: &Stat| stat.kind == FileKind::Regular && stat.len == 0;
    let gone = match look(disk, dir, name) {
        Ok(Some(stat)) if empty(&stat) => unlink_if(disk, dir, name, stat.id),
        other => other.map(drop),
    };
    if let Err(error) = gone {
        tracing::warn!(%error, name, "a file that was made in vain could not be removed");
    }
}

/// The name changed hands between the look and the opening.
fn raced(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
    )
}

/// Opens or makes the part and locks it. The lock is on the file, not on its name: so the name is looked at again.
pub(crate) fn open_part<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    names: &Names,
    boot: Option<[u8; 16]>,
) -> Result<Opened<D::File>, StorageError> {
    for _ in 0..RACES_MAX {
        let part = open_regular(disk, dir, &names.dir, &names.part)?;
        let failed = |doing, error| {
            if part.fresh {
                unmake(disk, dir, &names.part);
            }
            names.part_error(doing)(error)
        };
        if !retry(|| disk.try_lock(&part.file)).map_err(|error| failed("lock", error))? {
            return Err(StorageError::Busy {
                path: names.part_path(),
                pid: holder(disk, dir, names, boot),
            });
        }
        let now = look(disk, dir, &names.part).map_err(|error| failed("look at", error))?;
        if now.is_some_and(|now| now.id == part.stat.id && now.links > 0) {
            return Ok(part);
        }
    }
    Err(StorageError::Replaced {
        path: names.part_path(),
    })
}

/// The process that the journal names, if it wrote in this boot. Only for people.
fn holder<D: Disk>(disk: &D, dir: &D::Dir, names: &Names, boot: Option<[u8; 16]>) -> Option<u32> {
    let kind = look(disk, dir, &names.journal).ok()??.kind;
    require_regular(kind, names.journal_path()).ok()?;
    let file = retry(|| disk.open(dir, &names.journal, Open::Existing)).ok()?;
    let mut head = [0; HEADER];
    read_full(disk, &file, 0, &mut head).ok()?;
    match Header::decode(&head) {
        Head::Good(header) if header.boot.is_some() && header.boot == boot => Some(header.pid),
        _ => None,
    }
}

/// An open journal and what stands in it.
pub(crate) type OpenJournal<F> = (Opened<F>, Vec<u8>);

/// As [`open_journal`], but makes none where there is none: the part is empty then.
pub(crate) fn find_journal<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    names: &Names,
    part: &Stat,
) -> Result<Option<OpenJournal<D::File>>, StorageError> {
    let seen = look(disk, dir, &names.journal).map_err(names.journal_error("look at"))?;
    if seen.is_none() && part.len == 0 {
        return Ok(None);
    }
    open_journal(disk, dir, names, part).map(Some)
}

/// Opens or makes the journal beside a locked part, and decides whose the pair is.
pub(crate) fn open_journal<D: Disk>(
    disk: &D,
    dir: &D::Dir,
    names: &Names,
    part: &Stat,
) -> Result<OpenJournal<D::File>, StorageError> {
    let seen = look(disk, dir, &names.journal).map_err(names.journal_error("look at"))?;
    require_pair(part.len, seen.is_some(), names)?;
    let journal = open_regular(disk, dir, &names.dir, &names.journal)?;
    let len = usize::try_from(journal.stat.len.min(JOURNAL_BYTES_MAX)).unwrap_or(0);
    let mut bytes = vec![0; len];
    let came =
        read_full(disk, &journal.file, 0, &mut bytes).map_err(names.journal_error("read"))?;
    bytes.truncate(came);
    require_journal(&bytes, names)?;
    Ok((journal, bytes))
}

/// Reads what the journal claims about this part, as far as it can be believed here. `None` if it claims nothing that
/// can be read.
pub(crate) fn read_journal(
    bytes: &[u8],
    here: &Here,
    names: &Names,
) -> Result<Option<Journal>, StorageError> {
    match replay(bytes, here) {
        Replayed::Journal(journal) => Ok(Some(*journal)),
        Replayed::Damaged => Ok(None),
        Replayed::Version(version) => Err(StorageError::Version {
            path: names.journal_path(),
            version,
        }),
    }
}

/// True if the part was changed well after our last write: each of ours is followed by a word in the journal at once. What
/// came within [`TOUCHED_NS`] may have been us, killed in between: then what was never synced is compared, as always, but
/// not the whole of a large file.
pub(crate) fn is_touched(part: &Stat, journal: &Stat) -> bool {
    part.modified_ns > journal.modified_ns + TOUCHED_NS
}

/// Drops from a journal's claims all that the part itself disproves. What was never synced is read again and compared
/// with its CRC, and so are synced runs from the last one back, until [`REVIEW_MAX`] bytes were read. If something speaks
/// against the part (another boot or inode, a change after the journal's last, or bytes that turn out to be others), only
/// what its CRC proves is kept.
pub(crate) fn confirm<D: Disk>(
    disk: &D,
    part: &Opened<D::File>,
    journal: &mut Journal,
) -> Vec<String> {
    let mut notes = Vec::new();
    let total = journal
        .source
        .as_ref()
        .and_then(|source| source.identity.total);
    // A part made just now holds nothing, even if it was given the number of the one before.
    let end = if part.fresh { 0 } else { part.stat.len };
    let bounds = ByteRange::new(0, total.map_or(end, |total| total.min(end)));
    let said = journal.claimed.len();
    journal.claimed = journal.claimed.intersect(bounds);
    if journal.claimed.len() < said {
        notes.push("the part is shorter than its journal says: the rest is fetched again".into());
    }
    let within = |range: ByteRange| range.start < range.end && range.end <= bounds.end;
    journal.runs.retain(|run| within(run.range));
    journal.written.retain(|run| within(run.range));
    if journal.trusted {
        // What was recorded last, and is therefore most in danger, is mostly what stands last.
        let mut left = REVIEW_MAX;
        let last = journal.runs.iter().rev().take_while(|run| {
            let may = left > 0;
            left = left.saturating_sub(run.range.len());
            may
        });
        let durable: RangeSet = journal.runs.iter().map(|run| run.range).collect();
        // Records of a run that became durable since stay where they are: it is read once, as a synced one.
        let unsynced = |run: &&Run| !durable.covers(run.range);
        for run in journal.written.iter().filter(unsynced).chain(last) {
            if !proves(disk, &part.file, run) {
                journal.trusted = false;
                break;
            }
        }
    }
    if journal.trusted {
        let claimed = &journal.claimed;
        journal.runs.retain(|run| claimed.covers(run.range));
        journal.written.retain(|run| claimed.covers(run.range));
        return notes;
    }
    let before = journal.runs.len() + journal.written.len();
    journal.runs.retain(|run| proves(disk, &part.file, run));
    // What a synced run has proven is not read again; what one did not prove may still hold in pieces.
    let proven: RangeSet = journal.runs.iter().map(|run| run.range).collect();
    journal
        .written
        .retain(|run| proven.covers(run.range) || proves(disk, &part.file, run));
    if journal.runs.len() + journal.written.len() < before {
        notes.push("some bytes did not survive: they are fetched again".into());
    }
    let proven = journal.runs.iter().chain(&journal.written);
    journal.claimed = proven.map(|run| run.range).collect();
    notes
}

/// True if the bytes of a run are those that were written. What cannot be read is fetched again, like what is wrong.
fn proves<D: Disk>(disk: &D, part: &D::File, run: &Run) -> bool {
    match crc_of(disk, part, run.range) {
        Ok(crc) => crc == Some(run.crc),
        Err(error) => {
            tracing::warn!(%error, range = ?run.range, "a run cannot be read");
            false
        }
    }
}

/// Removes a name if it still leads to the file that is meant.
pub(crate) fn unlink_if<D: Disk>(disk: &D, dir: &D::Dir, name: &str, id: FileId) -> io::Result<()> {
    match look(disk, dir, name)? {
        Some(stat) if stat.id == id => retry(|| disk.unlink(dir, name)),
        _ => Ok(()),
    }
}
