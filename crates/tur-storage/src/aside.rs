//! A complete file that is not the right one, kept for whoever wants to look at it: [`Part::set_aside`].

use std::io;
use std::path::PathBuf;

use crate::commit::SUFFIX_MAX;
use crate::shared::{path_error, retry};
use crate::{Disk, Onto, Part, StorageError};

impl<D: Disk> Part<D> {
    /// Renames the part to the first free one of `NAME.bad`, `NAME.bad.1`, … and removes the journal, so that nothing goes
    /// on from there. Returns its path. Nothing that exists is replaced, and the file keeps the mode of a part: what is in
    /// it is not what was wanted.
    ///
    /// # Errors
    /// `Replaced` if the name of the part leads elsewhere, `Exists` if no name is free, `Io`. Part and journal are as they
    /// were; [`discard`](Part::discard) still removes them.
    pub fn set_aside(&self) -> Result<PathBuf, StorageError> {
        self.check()?;
        let shared = &*self.shared;
        shared.spill(&mut shared.lock())?;
        let bad = format!("{}.bad", shared.names.target);
        let error = path_error("rename to", shared.names.dir.join(&bad));
        for number in 0..=SUFFIX_MAX {
            let name = match number {
                0 => bad.clone(),
                _ => format!("{bad}.{number}"),
            };
            let part = &shared.names.part;
            match retry(|| shared.disk.rename(&shared.dir, part, &name, Onto::Free)) {
                Ok(()) => {
                    self.forget_journal();
                    return Ok(shared.names.dir.join(name));
                }
                Err(other) if other.kind() == io::ErrorKind::AlreadyExists => {}
                Err(other) => return Err(error(other)),
            }
        }
        Err(StorageError::Exists {
            path: shared.names.dir.join(bad),
        })
    }

    /// Without its part a journal claims nothing: one that stays behind is only untidy. It goes once the new name of the
    /// part is safe: names may be saved in any order, and a part without its journal would seem foreign.
    fn forget_journal(&self) {
        let shared = &*self.shared;
        let journal = &shared.names.journal;
        let gone =
            retry(|| shared.disk.sync_dir(&shared.dir)).and_then(|()| shared.remove_journal());
        if let Err(error) = gone {
            tracing::warn!(%error, journal, "the journal of a file that was set aside could not be removed");
        }
    }
}
