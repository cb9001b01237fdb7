//! What earlier runs have left unfinished: [`Downloader::unfinished`].

use std::path::Path;

use tur_storage::Unfinished;

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
}
