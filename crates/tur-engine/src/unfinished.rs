//! What earlier runs have left unfinished: [`Downloader::unfinished`], [`Downloader::unfinished_file`]. And what keeps a download
//! from beginning: [`Downloader::obstacle`].

use std::path::Path;

use tur_core::Kind;
use tur_storage::{FileName, Place, StorageError, Unfinished};

use crate::{Downloader, Error};

/// How much is listed of one directory.
const UNFINISHED_MAX: usize = 10_000;

impl Downloader {
    /// What stands unfinished in `dir`, in the order of the names, 10 000 at most: the same download of the same URL to the
    /// same place goes on with it. Nothing is changed, and whether somebody works on one of them is not asked.
    ///
    /// # Errors
    /// `Local`: the directory cannot be read.
    pub fn unfinished(dir: impl AsRef<Path>) -> Result<Vec<Unfinished>, Error> {
        Ok(tur_storage::unfinished(dir.as_ref(), UNFINISHED_MAX)?)
    }

    /// What stands unfinished under the name `path`: that of the file once it is complete, or of its part or journal.
    ///
    /// # Errors
    /// `Local`: there is nothing to go on with, or its journal cannot be read.
    pub fn unfinished_file(path: impl AsRef<Path>) -> Result<Unfinished, Error> {
        let (dir, name) = place_of(path.as_ref())?;
        let found = |target: &str| tur_storage::unfinished_file(dir, target);
        let shorter = name.strip_suffix(".part").or(name.strip_suffix(".tur"));
        match (found(name), shorter) {
            // What is typed may be the name of a file that ends so.
            (Err(StorageError::NotBegun { .. }), Some(target)) => Ok(found(target)?),
            (found, _) => Ok(found?),
        }
    }

    /// What keeps every download from beginning at `path`, the name of the file once it is complete: that name, or that of its
    /// part or journal, leads to no plain file; one of these is somebody else's; or a newer version wrote the journal. `None` if
    /// nothing does. Nothing is changed, and whether somebody works on it is not asked.
    ///
    /// # Errors
    /// `Local`: it cannot be seen.
    pub fn obstacle(path: impl AsRef<Path>) -> Result<Option<Error>, Error> {
        let (dir, name) = place_of(path.as_ref())?;
        let place = Place {
            dir: dir.to_owned(),
            name: FileName::new(name)?,
            create_dirs: false,
        };
        Ok(tur_storage::obstacle(&place)?.map(Error::from))
    }
}

/// Nothing in front of a name is the current directory.
fn place_of(path: &Path) -> Result<(&Path, &str), Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent().zip(name).ok_or_else(|| {
        let message = format!("{} names no file", path.display());
        Error::new(Kind::Local, message)
    })
}
