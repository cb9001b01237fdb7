//! The only file with `unsafe`: a [`Window`], a mapped piece of a file that bytes are copied into and out of.
//!
//! A [`Window`] is safe to use, whatever happens to its file. What that rests on:
//! * It owns its mapping, and a place is held against its length before each copy.
//! * No reference to mapped memory is made. Another process may write there at any time, so bytes are copied through
//!   pointers, and any byte that comes is a valid one.
//! * Who touches a page that has nothing behind it (past the end of the file, a full disk, a bad sector) is killed by
//!   SIGBUS. `MADV_POPULATE_READ` and `MADV_POPULATE_WRITE` report that as an error (madvise(2), Linux 5.14): pages are
//!   populated before each copy, and where that cannot be had nothing is copied. What is left is a file that somebody
//!   cuts between the two, some microseconds: which is why nobody gets mappings who did not ask for them. This process
//!   itself does so only through `Windows::set_len`, which waits for copies that are under way.
//! * Threads of this process may copy to and from the same bytes at once, which Rust calls a race whatever it does to
//!   bytes. Nothing here prevents it: it rests on `Part`, where each byte has one writer and is read only once covered.
#![expect(
    unsafe_code,
    reason = "copies into and out of mapped memory; the one file that tidy allows it in"
)]

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::ptr;

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};
use tur_core::ByteRange;

/// Which way bytes go.
#[derive(Clone, Copy, Debug)]
enum Way {
    In,
    Out,
}

/// A shared, writable mapping of a range of a file. It may reach past the file's end: pages there cannot be populated.
#[derive(Debug)]
pub(crate) struct Window {
    map: MmapRaw,
    range: ByteRange,
}

impl Window {
    /// Maps `range`, which begins at a multiple of the page size.
    ///
    /// # Errors
    /// `ENOMEM`, `ENODEV` and so on: the file cannot be mapped, now or ever.
    pub(crate) fn new(file: &OwnedFd, range: ByteRange) -> io::Result<Self> {
        let len = usize::try_from(range.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let map = MmapOptions::new()
            .offset(range.start)
            .len(len)
            .map_raw(file)?;
        Ok(Self { map, range })
    }

    pub(crate) fn range(&self) -> ByteRange {
        self.range
    }

    /// Copies bytes to `at`, up to the window's end, and says how many.
    ///
    /// # Errors
    /// A page cannot be populated: nothing was written.
    pub(crate) fn write(&self, at: u64, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let start = self.place(at)?;
        let wanted = from.iter().map(|slice| slice.len()).sum::<usize>();
        let end = start + wanted.min(self.map.len() - start);
        self.populate(start, end - start, Way::In)?;
        let mut place = start;
        for slice in from {
            let len = slice.len().min(end - place);
            // SAFETY: `place + len <= end <= self.map.len()`, so the goal is inside the mapping, which `self` keeps. The
            // source is a slice of `len` bytes at least. They do not overlap, because nobody has a slice of mapped memory:
            // this module gives none away. The pages were populated for writing just now.
            unsafe {
                ptr::copy_nonoverlapping(slice.as_ptr(), self.map.as_mut_ptr().add(place), len);
            }
            place += len;
        }
        self.drop_behind(start, end - start);
        Ok(end - start)
    }

    /// Copies bytes from `at` on, up to the window's end, and says how many.
    ///
    /// # Errors
    /// A page cannot be populated: what is in `into` means nothing.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let start = self.place(at)?;
        let len = into.len().min(self.map.len() - start);
        self.populate(start, len, Way::Out)?;
        // SAFETY: `start + len <= self.map.len()`, so the source is inside the mapping, which `self` keeps; the goal has
        // `len` bytes at least and is exclusively borrowed, hence not mapped by us. The pages were populated just now.
        unsafe {
            ptr::copy_nonoverlapping(self.map.as_ptr().add(start), into.as_mut_ptr(), len);
        }
        self.drop_behind(start, len);
        Ok(len)
    }

    /// Where `at` is in the mapping.
    fn place(&self, at: u64) -> io::Result<usize> {
        let place = at.checked_sub(self.range.start);
        place
            .and_then(|place| usize::try_from(place).ok())
            .filter(|place| *place < self.map.len())
            .ok_or(io::ErrorKind::InvalidInput.into())
    }

    /// Makes the pages of a range present, or tells that they cannot be.
    #[cfg(target_os = "linux")]
    fn populate(&self, start: usize, len: usize, way: Way) -> io::Result<()> {
        let advice = match way {
            Way::In => memmap2::Advice::PopulateWrite,
            Way::Out => memmap2::Advice::PopulateRead,
        };
        self.map.advise_range(advice, start, len)
    }

    #[cfg(not(target_os = "linux"))]
    fn populate(&self, _: usize, _: usize, _: Way) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes the pages out of this process, so that it never holds more than what it copies. Their bytes stay in the
    /// page cache, dirty ones until they are written back.
    fn drop_behind(&self, start: usize, len: usize) {
        // SAFETY: the range is inside the mapping, as in the copy before. The mapping is shared and of a file, so a
        // page that is touched again comes back from the page cache with what was written (madvise(2), MADV_DONTNEED).
        let dropped = unsafe {
            self.map
                .unchecked_advise_range(UncheckedAdvice::DontNeed, start, len)
        };
        if let Err(error) = dropped {
            tracing::debug!(%error, "pages were not dropped");
        }
    }
}
