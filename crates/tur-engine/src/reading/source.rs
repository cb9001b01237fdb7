//! Where covered bytes are read from: [`Source`], whatever the disk.

use tur_core::{ByteRange, Kind, RangeSet};
use tur_storage::{Disk, FileName, Open, Reader};

use crate::Error;

/// Bytes that are there.
pub(crate) trait Source: Send + Sync {
    /// Which.
    fn covered(&self) -> RangeSet;
    /// How many.
    fn landed(&self) -> u64 {
        self.covered().len()
    }
    /// The first byte of a range that is not; an error if one before it was, and is not read again.
    fn first_missing(&self, range: ByteRange) -> Result<Option<u64>, Error>;
    /// Reads as many as stand at `at` without a gap.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Error>;
}

impl<D: Disk> Source for Reader<D> {
    fn covered(&self) -> RangeSet {
        Reader::covered(self)
    }

    fn first_missing(&self, range: ByteRange) -> Result<Option<u64>, Error> {
        Ok(Reader::first_missing(self, range)?)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Error> {
        Ok(self.read_covered(at, into)?)
    }
}

/// A file that was there before, complete.
pub(crate) struct WholeFile<D: Disk> {
    disk: D,
    file: D::File,
    len: u64,
}

impl<D: Disk> WholeFile<D> {
    /// Opens it.
    pub(crate) fn open(disk: D, dir: &std::path::Path, name: &FileName) -> std::io::Result<Self> {
        let dir = disk.open_dir(dir, false)?;
        let file = disk.open(&dir, name.as_str(), Open::Existing)?;
        let len = disk.stat(&file)?.len;
        Ok(Self { disk, file, len })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

impl<D: Disk> Source for WholeFile<D> {
    fn covered(&self) -> RangeSet {
        RangeSet::from_iter([ByteRange::new(0, self.len)])
    }

    fn first_missing(&self, range: ByteRange) -> Result<Option<u64>, Error> {
        let missing = range.start.max(self.len);
        Ok((missing < range.end).then_some(missing))
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.disk.read_at(&self.file, at, into) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => {
                    let failed = |error| Error::new(Kind::Local, format!("cannot read: {error}"));
                    return read.map_err(failed);
                }
            }
        }
    }
}
