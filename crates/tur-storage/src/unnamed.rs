//! Files that only this process knows, and that go with it: [`Unnamed`].
//!
//! A directory whose names stand in memory, and whose files have none in the directory beneath (`O_TMPFILE`): nobody else
//! finds them, and the system frees them when the process ends, however it does. It has no crash to survive, so nothing
//! of it is ever synced.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::open::PRIVATE;
use crate::{Disk as _, Onto, Open, PosixDisk, Stat};

/// Names that are tried for a file that has to have one at first.
const NAMES_MAX: u32 = 1_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Unnamed {
    dir: OwnedFd,
    files: Mutex<BTreeMap<String, OwnedFd>>,
}

impl Unnamed {
    /// Files on the file system of `dir`.
    pub(crate) fn new(dir: OwnedFd) -> Self {
        Self {
            dir,
            files: Mutex::default(),
        }
    }

    /// The directory beneath.
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    pub(crate) fn stat(&self, name: &str) -> io::Result<Stat> {
        let files = self.files();
        let file = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        // Here it has a name, so that those above find it in order.
        let stat = PosixDisk.stat(file)?;
        Ok(Stat { links: 1, ..stat })
    }

    pub(crate) fn open(&self, name: &str, how: Open) -> io::Result<OwnedFd> {
        let mut files = self.files();
        match (files.entry(name.to_owned()), how) {
            (Entry::Occupied(file), Open::Existing) => file.get().try_clone(),
            (Entry::Occupied(_), Open::New(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            (Entry::Vacant(_), Open::Existing) => Err(io::ErrorKind::NotFound.into()),
            (Entry::Vacant(free), Open::New(_)) => free.insert(make(&self.dir)?).try_clone(),
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str, onto: Onto) -> io::Result<()> {
        let mut files = self.files();
        if onto == Onto::Free && files.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        let file = self.files().remove(name);
        file.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, OwnedFd>> {
        // Each step leaves the names whole.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a file without a name.
fn make(dir: &OwnedFd) -> io::Result<OwnedFd> {
    match PosixDisk.open_unnamed(dir, PRIVATE) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => make_and_unname(dir),
        made => made,
    }
}

/// The fall-back: it has a name for a moment.
fn make_and_unname(dir: &OwnedFd) -> io::Result<OwnedFd> {
    for n in 0..NAMES_MAX {
        let name = format!(".tur-{}-{n}", std::process::id());
        match PosixDisk.open(dir, &name, Open::New(PRIVATE)) {
            Ok(file) => {
                PosixDisk.unlink(dir, &name)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    fn names(dir: &tempfile::TempDir) -> usize {
        dir.path().read_dir().expect("a directory").count()
    }

    #[test]
    fn the_fall_back_leaves_no_name_either() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = PosixDisk.open_dir(dir.path(), false).expect("opened");
        for file in [make(&open), make_and_unname(&open)] {
            let file = file.expect("made");
            let taken = PosixDisk.write_at(&file, 0, &[IoSlice::new(b"x")]);
            assert_eq!(taken.expect("written"), 1);
            assert_eq!(PosixDisk.stat(&file).expect("seen").links, 0);
            assert_eq!(names(&dir), 0);
        }
    }
}
