//! Bytes that come, compared with those that an earlier run left: [`Overlap`].

use tur_core::Chunks;
use tur_storage::{Disk, Reader, StorageError};

/// Compares a body with what the part holds, from a place on.
pub(crate) struct Overlap<D: Disk> {
    reader: Reader<D>,
    cursor: u64,
    buffer: Vec<u8>,
}

impl<D: Disk> Overlap<D> {
    pub(crate) fn new(reader: Reader<D>, cursor: u64) -> Self {
        Self {
            reader,
            cursor,
            buffer: Vec::new(),
        }
    }

    /// The first byte that was not compared yet.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Compares the first `len` bytes of `chunks` and drops them. False if they differ, or the part holds fewer: the
    /// cursor then stays where it was.
    ///
    /// # Errors
    /// If the part cannot be read.
    pub(crate) fn agrees(&mut self, chunks: &mut Chunks, len: usize) -> Result<bool, StorageError> {
        self.buffer.resize(len, 0);
        let came = self.reader.read_at(self.cursor, &mut self.buffer)?;
        let mut ours = &self.buffer[..];
        for chunk in chunks.iter() {
            let theirs = &chunk[..chunk.len().min(ours.len())];
            let (here, rest) = ours.split_at(theirs.len());
            if here != theirs {
                return Ok(false);
            }
            ours = rest;
        }
        if came < len || !ours.is_empty() {
            return Ok(false);
        }
        chunks.advance(len);
        self.cursor += len as u64;
        Ok(true)
    }
}
