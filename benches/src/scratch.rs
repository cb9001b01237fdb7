//! A part to be measured, in a directory that goes away with it.

use bytes::Bytes;
use tempfile::TempDir;
use tur_core::{ByteRange, Chunks, Identity};
use tur_storage::{Disk, FileName, Part, Place, StorageError};

/// Bytes of one write.
const WRITE: usize = 256 << 10;

/// A part of which nothing is written yet.
pub(crate) struct Scratch<D: Disk> {
    pub(crate) part: Part<D>,
    chunk: Bytes,
    total: u64,
    _directory: TempDir,
}

impl<D: Disk + Clone> Scratch<D> {
    /// One of `total` bytes.
    ///
    /// # Errors
    /// The file system does not take it.
    pub(crate) fn new(disk: D, total: u64) -> Result<Self, StorageError> {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let place = Place {
            dir: directory.path().to_owned(),
            name: FileName::new("file.bin")?,
            create_dirs: false,
        };
        let url = "http://origin/file.bin";
        let part = Part::open(disk, &place, url)?.part;
        let identity = Identity {
            total: Some(total),
            ..Identity::default()
        };
        part.begin(url, &identity, false)?;
        Ok(Self {
            part,
            chunk: Bytes::from(vec![1; WRITE]),
            total,
            _directory: directory,
        })
    }

    /// Writes the whole file as one lease.
    ///
    /// # Errors
    /// The file system does not take it.
    pub(crate) fn write(&self) -> Result<(), StorageError> {
        let mut writer = self.part.writer(0, 0, ByteRange::new(0, self.total));
        let mut chunks = Chunks::new();
        while writer.cursor() < self.total {
            chunks.push(self.chunk.clone());
            writer.write(&mut chunks, WRITE)?;
        }
        writer.finish()
    }
}
