//! Files that stand where this one is to stand: which of them may be it, and what has to be asked to know.

use tur_core::{ByteRange, Representation, Wall};
use tur_storage::{Disk, FileId, FileName, Place, StorageError, is_begun, numbered};

/// A plain file in the directory of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Existing {
    /// The target's name, or one with a number behind it.
    pub(super) name: FileName,
    pub(super) id: FileId,
    pub(super) len: u64,
    pub(super) modified: Wall,
}

/// What an answer says of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It describes this very file: equal length and equal time of modification.
    Same,
    /// It describes another one.
    Other,
    /// It tells too little: no length or no time, and nothing that differs.
    Untold,
}

impl Existing {
    /// Compares it with what an answer says.
    pub(super) fn likeness(&self, total: Option<u64>, representation: &Representation) -> Likeness {
        let modified = representation.last_modified.as_ref();
        let len = total.map(|total| total == self.len);
        let time = modified.map(|modified| modified.at == self.modified);
        match (len, time) {
            (Some(true), Some(true)) => Likeness::Same,
            (Some(false), _) | (_, Some(false)) => Likeness::Other,
            _ => Likeness::Untold,
        }
    }
}

/// The bytes whose answer tells of each of these files whether it is the one: the last byte of the shortest, which one that
/// is the file has. `None` where the answer to an ordinary request has to tell: an empty file has no last byte.
pub(super) fn telling(files: &[Existing]) -> Option<ByteRange> {
    let lengths = files.iter().map(|file| file.len).filter(|len| *len > 0);
    lengths.min().map(|len| ByteRange::new(len - 1, len))
}

/// What stands around a name that is taken.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// True if a part stands there that the same URL has begun: it is none of the files then.
    pub(super) begun: bool,
    /// Files with a number behind the name, in their order.
    pub(super) numbered: Vec<Existing>,
}

impl Around {
    /// Looks; at files with a number only if a commit would pass them by.
    pub(super) fn look<D: Disk>(
        disk: &D,
        place: &Place,
        url: &str,
        passed_by: bool,
    ) -> Result<Self, StorageError> {
        let mut around = Self {
            begun: is_begun(disk, place, url),
            numbered: Vec::new(),
        };
        if passed_by && !around.begun {
            around.numbered = numbered(disk, place)?
                .into_iter()
                .map(|found| Existing {
                    name: found.name,
                    id: found.id,
                    len: found.len,
                    modified: found.modified,
                })
                .collect();
        }
        Ok(around)
    }
}
