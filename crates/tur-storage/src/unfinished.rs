//! What stands unfinished in a directory: [`unfinished`], and [`unfinished_file`] of one name. And what keeps a download from
//! beginning there: [`obstacle`].
//!
//! Looks at journals and changes nothing; it takes no lock, so that nobody who works on one of them notices.

use std::io;
use std::path::{Path, PathBuf};

use tur_core::{ByteRange, RangeSet};

use crate::journal::{Here, Replayed, replay};
use crate::open::{JOURNAL_BYTES_MAX, Place, look, require_beginning};
use crate::shared::{path_error, read_full, retry};
use crate::{Disk, FileKind, Open, PosixDisk, Stat, StorageError};

/// Names of a directory that are looked at.
const NAMES_MAX: usize = 100_000;

/// A file that was begun and is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where it will stand when it is complete.
    pub path: PathBuf,
    /// Where it came from, without userinfo. Its query may be secret: it is needed to go on, and nobody else's business.
    pub url: String,
    /// Bytes that the journal says are there. Whoever goes on looks closer, and may find fewer.
    pub landed: u64,
    /// Its length in bytes, if the origin has told it.
    pub total: Option<u64>,
}

/// What stands unfinished in `dir`, in the order of the names, `most` of them at most. A journal that cannot be read, is of
/// another version or has no part beside it is none of these.
///
/// # Errors
/// `Io` if the directory cannot be read.
pub fn unfinished(dir: &Path, most: usize) -> Result<Vec<Unfinished>, StorageError> {
    let failed = |doing| path_error(doing, dir.to_owned());
    let names = targets(dir).map_err(failed("list"))?;
    let open = retry(|| PosixDisk.open_dir(dir, false)).map_err(failed("open"))?;
    let found = names.into_iter().filter_map(|name| {
        let found = read(&open, dir, &name);
        found
            .map_err(|error| tracing::debug!(%error, name, "nothing to go on with"))
            .ok()
    });
    Ok(found.take(most).collect())
}

/// What stands unfinished in `dir` (empty: the current one) under the name of its target, or why that is nothing to go on
/// with.
///
/// # Errors
/// `NotBegun` if no part and journal stand there that tell what is to come; `Version` and `Damaged` for a journal that
/// cannot be read; `Io`.
pub fn unfinished_file(dir: &Path, target: &str) -> Result<Unfinished, StorageError> {
    let open = retry(|| PosixDisk.open_dir(dir, false));
    let open = open.map_err(path_error("open", dir.to_owned()))?;
    read(&open, dir, target)
}

/// What keeps every download from beginning in a place: a name of a file, its part or its journal that leads to no plain file, a
/// part or a journal that is somebody else's, a journal of a format that this version does not know. `None` if nothing does.
///
/// # Errors
/// `Io`: it cannot be seen.
pub fn obstacle(place: &Place) -> Result<Option<StorageError>, StorageError> {
    let names = place.names();
    let dir = match retry(|| PosixDisk.open_dir(&place.dir, false)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(names.dir_error("open"))?,
    };
    match require_beginning(&PosixDisk, &dir, &names) {
        Ok(()) => Ok(None),
        Err(
            why @ (StorageError::Foreign { .. }
            | StorageError::NotRegular { .. }
            | StorageError::Version { .. }),
        ) => Ok(Some(why)),
        Err(error) => Err(error),
    }
}

/// The names that journals in a directory are for, in order.
fn targets(dir: &Path) -> io::Result<Vec<String>> {
    let entries = std::fs::read_dir(dir)?;
    let mut names = Vec::new();
    for entry in entries.take(NAMES_MAX) {
        let name = entry?.file_name();
        let target = name.to_str().and_then(|name| name.strip_suffix(".tur"));
        names.extend(target.map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

/// The plain file of a name.
fn plain<D: Disk>(disk: &D, dir: &D::Dir, name: &str) -> io::Result<Option<Stat>> {
    let found = look(disk, dir, name)?;
    Ok(found.filter(|stat| stat.kind == FileKind::Regular))
}

fn read(
    dir: &<PosixDisk as Disk>::Dir,
    path: &Path,
    target: &str,
) -> Result<Unfinished, StorageError> {
    let (disk, name) = (PosixDisk, format!("{target}.tur"));
    let failed = |doing| path_error(doing, path.join(&name));
    let none = || StorageError::NotBegun {
        path: path.join(target),
    };
    let part = plain(&disk, dir, &format!("{target}.part")).map_err(failed("look beside"))?;
    let part = part.ok_or_else(none)?;
    // Looked at before it is opened: opening a device can do things.
    let journal = plain(&disk, dir, &name).map_err(failed("look at"))?;
    let journal = journal.ok_or_else(none)?;
    let file = disk.open(dir, &name, Open::Existing);
    let file = file.map_err(failed("open"))?;
    let len = usize::try_from(journal.len.min(JOURNAL_BYTES_MAX)).unwrap_or(0);
    let mut bytes = vec![0; len];
    let came = read_full(&disk, &file, 0, &mut bytes).map_err(failed("read"))?;
    let here = Here {
        boot: disk.boot_id(),
        part: part.id,
    };
    let journal = match replay(&bytes[..came], &here) {
        Replayed::Journal(journal) => journal,
        Replayed::Version(version) => {
            let path = path.join(&name);
            return Err(StorageError::Version { path, version });
        }
        Replayed::Damaged => {
            let path = path.join(&name);
            return Err(StorageError::Damaged { path });
        }
    };
    let source = journal.source.ok_or_else(none)?;
    let runs = journal.runs.iter().chain(&journal.written);
    let mut there: RangeSet = runs.map(|run| run.range).collect();
    there.extend(journal.claimed.iter());
    let total = source.identity.total;
    let end = total.map_or(part.len, |total| total.min(part.len));
    Ok(Unfinished {
        path: path.join(target),
        url: source.url,
        landed: there.intersect(ByteRange::new(0, end)).len(),
        total,
    })
}
