//! What those who read a part look at: [`View`].
//!
//! The book is kept under a lock that may be held while a disk is waited for; who plays what arrives must not wait for
//! that. So what readers ask for stands behind a lock of its own, which is held for a look or a change in memory and
//! nothing else. Only who has the book changes it. Lock order: the book, then this.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::{ByteRange, RangeSet};

use crate::buffer::Buffer;

/// See the module. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct View(Arc<Mutex<Seen>>);

/// What is seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Written and not void.
    pub(crate) covered: RangeSet,
    /// The bytes themselves, while they are to be read here and not in the part.
    pub(crate) memory: Option<Arc<Buffer>>,
    /// What stands before this was given back, and cannot be read.
    pub(crate) gone: u64,
}

impl View {
    /// A look, or a change. To be let go of before any disk is waited for.
    pub(crate) fn look(&self) -> MutexGuard<'_, Seen> {
        // Who dies in a change has the book too, which is then broken: nothing of this reaches the disk.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is there any more.
    pub(crate) fn clear(&self) {
        *self.look() = Seen::default();
    }
}

impl Seen {
    /// So many bytes are covered from `at` on without a gap, of `len` at most.
    pub(crate) fn covered_from(&self, at: u64, len: usize) -> usize {
        let there = self.covered.range_at(at).map_or(0, |run| run.end - at);
        usize::try_from(there).map_or(len, |there| there.min(len))
    }

    /// The first byte of `range` that is not covered; `None` if all of them are.
    pub(crate) fn first_missing(&self, range: ByteRange) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        let end = self.covered.range_at(range.start).map(|run| run.end);
        let missing = end.unwrap_or(range.start);
        (missing < range.end).then_some(missing)
    }

    /// These bytes are void. If they are all that was given back last, they may come again, and be read.
    pub(crate) fn lose(&mut self, range: ByteRange) {
        self.covered.remove(range);
        if range.start < self.gone && self.gone <= range.end {
            let before = self.covered.intersect(ByteRange::new(0, range.start));
            self.gone = before.iter().next_back().map_or(0, |run| run.end);
        }
    }

    /// What is covered and was not given back.
    pub(crate) fn readable(&self) -> RangeSet {
        match self.gone {
            0 => self.covered.clone(),
            gone => self.covered.intersect(ByteRange::from(gone)),
        }
    }

    /// One past the last covered byte: the file is at least so long.
    pub(crate) fn high(&self) -> u64 {
        self.covered.iter().next_back().map_or(0, |range| range.end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::{FileName, MemDisk, Part, Place};
    use tur_core::{Chunks, Identity};

    /// No machine that works comes near it.
    const LIMIT: Duration = Duration::from_secs(60);

    /// As who waits for a disk may have it: in a file, and while the bytes are in memory alone.
    #[test]
    fn who_reads_waits_for_nobody_who_has_the_book() {
        for lazily in [false, true] {
            let place = Place {
                dir: "/d".into(),
                name: FileName::new("file").unwrap(),
                create_dirs: true,
            };
            let open = if lazily {
                Part::open_lazily
            } else {
                Part::open
            };
            let part = open(MemDisk::new(), &place, "").unwrap().part;
            let identity = Identity {
                total: Some(6),
                ..Identity::default()
            };
            part.begin("", &identity, false).unwrap();
            let mut writer = part.writer(0, 1, ByteRange::from(0));
            let mut chunks = Chunks::new();
            chunks.push(bytes::Bytes::from_static(b"four"));
            writer.write(&mut chunks, 4).unwrap();
            let book = part.shared.lock();
            assert_eq!(book.held, lazily);
            let (reader, (tell, told)) = (part.reader(), mpsc::channel());
            std::thread::spawn(move || {
                let (mut some, mut all) = ([0; 9], [0; 9]);
                let came = reader.read_covered(1, &mut some).unwrap();
                assert_eq!(reader.read_at(0, &mut all).unwrap(), 4);
                let missing = reader.first_missing(ByteRange::new(0, 6)).unwrap();
                let (covered, frontier) = (reader.covered().len(), reader.frontier());
                let seen = (some[..came].to_vec(), all[..4].to_vec());
                tell.send((seen, missing, covered, frontier)).unwrap();
            });
            let seen = told.recv_timeout(LIMIT).expect("nobody is waited for");
            drop(book);
            let meant = (b"our".to_vec(), b"four".to_vec());
            assert_eq!(seen, (meant, Some(4), 4, 4));
        }
    }
}
