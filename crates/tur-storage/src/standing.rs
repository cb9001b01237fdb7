//! What stands around a target whose name is taken: [`numbered`] files behind it, and whether a part beside it
//! [`is_begun`] from the same place.
//!
//! Only looks, and takes no lock: whoever works there does not notice.

use tur_core::Wall;

use crate::commit::SUFFIX_MAX;
use crate::journal::{Here, Replayed, replay};
use crate::open::{JOURNAL_BYTES_MAX, look};
use crate::shared::{path_error, read_full, retry};
use crate::{Disk, FileId, FileKind, FileName, Open, Place, Stat, StorageError};

/// A plain file whose name is the target's with a number behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its name.
    pub name: FileName,
    /// Which one it is.
    pub id: FileId,
    /// Length in bytes.
    pub len: u64,
    /// Time of its last change.
    pub modified: Wall,
}

/// The plain files among `NAME.1`, `NAME.2`, …, up to the first name that is free: those that
/// [`Exists::Rename`](crate::Exists::Rename) passes by.
///
/// # Errors
/// `Io` if the directory cannot be opened or a name not be looked at.
pub fn numbered<D: Disk>(disk: &D, place: &Place) -> Result<Vec<Numbered>, StorageError> {
    let names = place.names();
    let dir = retry(|| disk.open_dir(&place.dir, false)).map_err(names.dir_error("open"))?;
    let mut found = Vec::new();
    for number in 1..=SUFFIX_MAX {
        // One that is too long for a file is nobody's.
        let Ok(name) = FileName::new(&format!("{}.{number}", names.target)) else {
            break;
        };
        let error = path_error("look at", names.dir.join(name.as_str()));
        let Some(stat) = look(disk, &dir, name.as_str()).map_err(error)? else {
            break;
        };
        if stat.kind == FileKind::Regular {
            let Stat {
                id, len, modified, ..
            } = stat;
            found.push(Numbered {
                name,
                id,
                len,
                modified,
            });
        }
    }
    Ok(found)
}

/// True if a part stands beside the target that this URL has begun, says its journal. Such a part is another file than the
/// target, by whatever name it is called in the end. What cannot be read says nothing.
pub fn is_begun<D: Disk>(disk: &D, place: &Place, url: &str) -> bool {
    begun_by(disk, place).is_some_and(|by| by == url)
}

fn begun_by<D: Disk>(disk: &D, place: &Place) -> Option<String> {
    let names = place.names();
    let dir = retry(|| disk.open_dir(&place.dir, false)).ok()?;
    let plain = |name: &str| {
        let stat = look(disk, &dir, name).ok()??;
        (stat.kind == FileKind::Regular).then_some(stat)
    };
    // With two names it may be the target, whose part could not be removed.
    let part = plain(&names.part).filter(|part| part.links == 1)?;
    // Looked at before it is opened: opening a device can do things.
    let journal = plain(&names.journal)?;
    let file = retry(|| disk.open(&dir, &names.journal, Open::Existing)).ok()?;
    let len = usize::try_from(journal.len.min(JOURNAL_BYTES_MAX)).unwrap_or(0);
    let mut bytes = vec![0; len];
    let came = read_full(disk, &file, 0, &mut bytes).ok()?;
    let here = Here {
        boot: disk.boot_id(),
        part: part.id,
    };
    match replay(&bytes[..came], &here) {
        Replayed::Journal(journal) => journal.source.map(|source| source.url),
        Replayed::Damaged | Replayed::Version(_) => None,
    }
}
