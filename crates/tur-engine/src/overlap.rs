//! Bytes that come, compared with those that an earlier run left: [`Overlap`].

use tur_core::Chunks;
use tur_storage::{Disk, Reader};

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

    /// Compares the first `len` bytes of `chunks` and drops them. False if they differ, or the part holds fewer or cannot
    /// be read there: the cursor then stays where it was.
    pub(crate) fn agrees(&mut self, chunks: &mut Chunks, len: usize) -> bool {
        self.buffer.resize(len, 0);
        let came = match self.reader.read_at(self.cursor, &mut self.buffer) {
            Ok(came) => came,
            Err(error) => {
                // What cannot be read is fetched again: a failure here would end each further run too.
                tracing::warn!(%error, at = self.cursor, "the part cannot be compared");
                return false;
            }
        };
        let mut ours = &self.buffer[..];
        for chunk in chunks.iter() {
            let theirs = &chunk[..chunk.len().min(ours.len())];
            let (here, rest) = ours.split_at(theirs.len());
            if here != theirs {
                return false;
            }
            ours = rest;
        }
        if came < len || !ours.is_empty() {
            return false;
        }
        chunks.advance(len);
        self.cursor += len as u64;
        true
    }
}
