//! From a complete part to the target: [`Part::commit`].
//!
//! Order: everything covered, size as it must be, times and mode, sync, rename, sync of the directory, journal away.
//! The target's name shows either what it showed before or the whole file.

use std::io;
use std::path::PathBuf;

use tur_core::{ByteRange, Wall};

use crate::open::{look, require_regular};
use crate::shared::{Shared, path_error, retry};
use crate::{Disk, FileId, Onto, Part, StorageError};

/// The highest number that is put behind a name.
pub(crate) const SUFFIX_MAX: u32 = 10_000;

/// What to do if something has the target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exists {
    /// Fail with [`StorageError::Exists`]; part and journal stay.
    Refuse,
    /// Take the first free one of `NAME.1`, `NAME.2`, …
    Rename,
    /// Replace it in one step, if it is a plain file; its permission bits are kept.
    Overwrite,
}

impl<D: Disk> Part<D> {
    /// Puts the complete file in place and returns its path. When this returns, it survives a loss of power, and the
    /// journal is gone. `modified` becomes its time.
    ///
    /// # Errors
    /// `Incomplete` unless exactly `0..total` is covered and still there, `Rule` while writers are at work, `Exists`,
    /// `NotRegular`, `Replaced`, `Lost`, `Io`. Part and journal stay for another try (open them again), unless the
    /// rename itself was done: then the target is whole, and only its survival of a loss of power is not certain.
    pub fn commit(
        self,
        total: u64,
        exists: Exists,
        modified: Option<Wall>,
    ) -> Result<PathBuf, StorageError> {
        self.commit_announced(total, exists, modified, |_| {})
    }

    /// As [`commit`](Self::commit), and says which file it is before anybody can see it under its name: once, or not at all
    /// if it does not come so far.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_announced(
        self,
        total: u64,
        exists: Exists,
        modified: Option<Wall>,
        mut announce: impl FnMut(FileId),
    ) -> Result<PathBuf, StorageError> {
        let lost = self.check()?;
        let shared = &*self.shared;
        shared.require_complete(total, lost)?;
        if let Some(path) = shared.commit_held(exists, modified, &mut announce)? {
            return Ok(path);
        }
        shared.dress(total, exists, modified)?;
        if let Err(source) = retry(|| shared.disk.sync(&shared.part)) {
            return Err(shared.lose_volatile(source));
        }
        // The sync may have taken long: who cut or replaced the part meanwhile is found now, and right after the rename.
        if !shared.is_ours(&shared.names.part, total)? {
            let path = shared.names.part_path();
            return Err(StorageError::Replaced { path });
        }
        announce(shared.part_id);
        let name = shared.rename_to_target(exists)?;
        match shared.is_ours(&name, total) {
            Ok(true) => {}
            Ok(false) => {
                shared.take_back(&name);
                let path = shared.names.part_path();
                return Err(StorageError::Replaced { path });
            }
            // It was ours a moment ago, and nothing says that it is not.
            Err(error) => tracing::warn!(%error, "the new file cannot be looked at"),
        }
        let path = shared.names.dir.join(name);
        retry(|| shared.disk.sync_dir(&shared.dir)).map_err(shared.names.dir_error("sync"))?;
        // The file is in place and safe. A journal that stays behind claims nothing.
        let journal = &shared.names.journal;
        let gone = shared
            .remove_journal()
            .and_then(|()| retry(|| shared.disk.sync_dir(&shared.dir)));
        if let Err(error) = gone {
            tracing::warn!(%error, journal, "the journal of a complete file could not be removed");
        }
        Ok(path)
    }
}

impl<D: Disk> Shared<D> {
    fn require_complete(&self, total: u64, lost: tur_core::RangeSet) -> Result<(), StorageError> {
        let book = self.lock();
        if !book.begun || !book.active.is_empty() {
            return Err(self.names.rule("a commit waits for its writers to end"));
        }
        if book.high() > total {
            return Err(self.names.rule("there are bytes past the end of the file"));
        }
        let mut missing = book.seen().covered.gaps(ByteRange::new(0, total));
        missing.extend(lost.iter());
        if missing.is_empty() {
            Ok(())
        } else {
            Err(StorageError::Incomplete {
                path: self.names.part_path(),
                missing,
            })
        }
    }

    /// Gives the part the length, mode and time of the complete file.
    fn dress(
        &self,
        total: u64,
        exists: Exists,
        modified: Option<Wall>,
    ) -> Result<(), StorageError> {
        let part = |doing| self.names.part_error(doing);
        let stat = retry(|| self.disk.stat(&self.part)).map_err(part("look at"))?;
        if stat.len < total {
            // Cut since the check: the next opening finds out which bytes.
            return Err(StorageError::Incomplete {
                path: self.names.part_path(),
                missing: [ByteRange::new(stat.len, total)].into_iter().collect(),
            });
        }
        if stat.len > total {
            retry(|| self.disk.set_len(&self.part, total)).map_err(part("shorten"))?;
        }
        let mode = match exists {
            Exists::Overwrite => self.mode_of_target()?,
            Exists::Refuse | Exists::Rename => None,
        };
        let mode = mode.unwrap_or(0o666 & !self.disk.umask());
        retry(|| self.disk.set_mode(&self.part, mode)).map_err(part("set the mode of"))?;
        if let Some(modified) = modified {
            retry(|| self.disk.set_modified(&self.part, modified))
                .map_err(part("set the time of"))?;
        }
        Ok(())
    }

    /// True if a name leads to the part, and that has its length.
    fn is_ours(&self, name: &str, total: u64) -> Result<bool, StorageError> {
        let error = path_error("look at", self.names.dir.join(name));
        let there = look(&self.disk, &self.dir, name).map_err(error)?;
        Ok(there.is_some_and(|stat| stat.id == self.part_id && stat.len == total))
    }

    /// What got the target's name is not the file: it has the part's name again, as far as that is free.
    fn take_back(&self, name: &str) {
        let back = retry(|| {
            self.disk
                .rename(&self.dir, name, &self.names.part, Onto::Free)
        });
        if let Err(error) = back {
            tracing::warn!(%error, name, "a file that is not ours has the name of the target");
        }
    }

    /// Permission bits of the plain file that is to be replaced; `None` if the name is free.
    fn mode_of_target(&self) -> Result<Option<u32>, StorageError> {
        let path = self.names.dir.join(&self.names.target);
        let there = look(&self.disk, &self.dir, &self.names.target)
            .map_err(path_error("look at", path.clone()))?;
        let Some(stat) = there else {
            return Ok(None);
        };
        require_regular(stat.kind, path)?;
        Ok(Some(stat.mode & 0o777))
    }

    /// Renames the part and returns the name it got.
    fn rename_to_target(&self, exists: Exists) -> Result<String, StorageError> {
        let target = &self.names.target;
        let error = path_error("rename to", self.names.dir.join(target));
        let rename = |to: &str, onto: Onto| {
            retry(|| self.disk.rename(&self.dir, &self.names.part, to, onto))
        };
        if exists == Exists::Overwrite {
            rename(target, Onto::Any).map_err(error)?;
            return Ok(target.clone());
        }
        self.take_free(exists, |name| rename(name, Onto::Free))?
            .map_err(error)
    }

    /// Tries the target's name, and with [`Exists::Rename`] those behind it, until `take` finds one free. Says which, or
    /// what else `take` has failed with.
    pub(crate) fn take_free(
        &self,
        exists: Exists,
        take: impl Fn(&str) -> io::Result<()>,
    ) -> Result<io::Result<String>, StorageError> {
        let target = &self.names.target;
        let tries = match exists {
            Exists::Rename => SUFFIX_MAX,
            Exists::Refuse | Exists::Overwrite => 0,
        };
        for number in 0..=tries {
            let name = match number {
                0 => target.clone(),
                _ => format!("{target}.{number}"),
            };
            match take(&name) {
                Ok(()) => return Ok(Ok(name)),
                Err(other) if other.kind() == io::ErrorKind::AlreadyExists => {}
                Err(other) => return Ok(Err(other)),
            }
        }
        Err(StorageError::Exists {
            path: self.names.dir.join(target),
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::{FileName, Place, PosixDisk};
    use tur_core::{Chunks, Identity};

    /// The sync of a large file takes long enough for somebody to come between.
    #[test]
    fn a_part_that_was_cut_or_replaced_is_not_taken_for_the_file() {
        for replaced in [false, true] {
            let dir = tempfile::tempdir().expect("a directory");
            let place = Place {
                dir: dir.path().to_owned(),
                name: FileName::new("file").expect("a name"),
                create_dirs: false,
            };
            let part = Part::open(PosixDisk, &place, "").expect("opened").part;
            part.begin("", &Identity::default(), false).expect("begun");
            let mut chunks = Chunks::new();
            chunks.push(bytes::Bytes::from_static(b"four"));
            let mut writer = part.writer(0, 1, ByteRange::from(0));
            writer.write(&mut chunks, 4).expect("written");
            drop(writer);
            let shared = &*part.shared;
            assert!(shared.is_ours("file.part", 4).expect("looked"));
            if replaced {
                let other = shared
                    .disk
                    .open(&shared.dir, "other", crate::Open::New(0o600));
                drop(other.expect("made"));
                let onto = shared
                    .disk
                    .rename(&shared.dir, "other", "file.part", Onto::Any);
                onto.expect("renamed");
            } else {
                shared.disk.set_len(&shared.part, 3).expect("cut");
            }
            assert!(!shared.is_ours("file.part", 4).expect("looked"));
            // And after a rename that came too early.
            shared.rename_to_target(Exists::Refuse).expect("renamed");
            shared.take_back("file");
            let there = look(&shared.disk, &shared.dir, "file").expect("looked");
            assert!(there.is_none(), "nothing has the name");
        }
    }
}
