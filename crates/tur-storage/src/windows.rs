//! Which parts of a file are mapped, and when: [`Windows`].
//!
//! Everything here may answer "not by mapping": then the caller uses `pwrite` or `pread`, which say why something does not
//! work. Pages are written only where room was reserved, and few windows are open at a time, whatever the number of lanes.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustix::io::Errno;
use tur_core::{ByteRange, RangeSet};

use crate::map::Window;

/// Length of a window: a multiple of every page size, and long enough that mapping is rare.
const WINDOW: u64 = 16 << 20;
/// Windows that are open at once. Address space only: pages are dropped as soon as they were copied.
const WINDOWS_MAX: usize = 8;

/// How a file system bears being mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// Reserved room stays, and reading a hole takes none.
    Firm,
    /// Reserved room stays. Reading a hole takes room, so only what was reserved is read.
    Memory,
}

/// The mapped windows of one open file.
#[derive(Debug)]
pub(crate) struct Windows {
    ground: Ground,
    state: Mutex<State>,
    /// Shared while pages are populated and copied, exclusive while the file is made shorter: a page that goes in between
    /// would kill the process. Taken before `state`.
    copying: RwLock<()>,
    /// Set once the system refused to map: it is not asked again.
    off: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Where `fallocate` has promised room.
    reserved: RangeSet,
    /// The one used last stands last.
    open: Vec<Arc<Window>>,
}

impl Windows {
    /// Windows for a file on a file system where reserving room makes later writes succeed; `None` elsewhere.
    pub(crate) fn of(file: &OwnedFd) -> Option<Self> {
        Some(Self {
            ground: ground(file)?,
            state: Mutex::default(),
            copying: RwLock::default(),
            off: AtomicBool::new(false),
        })
    }

    /// `range` has room from now on.
    pub(crate) fn reserved(&self, range: ByteRange) {
        self.lock().reserved.insert(range);
    }

    /// Sets the length, which takes the room behind it away. Waits for copies that are under way.
    pub(crate) fn set_len(&self, file: &OwnedFd, len: u64) -> io::Result<()> {
        let _alone = self.copying.write().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        state.open.clear();
        state.reserved.remove(ByteRange::from(len));
        Ok(rustix::fs::ftruncate(file, len)?)
    }

    /// Writes through a window and says how many bytes were taken; `None` if it must be done otherwise.
    pub(crate) fn write(&self, file: &OwnedFd, at: u64, from: &[IoSlice<'_>]) -> Option<usize> {
        let len = from.iter().map(|slice| slice.len() as u64).sum::<u64>();
        let range = ByteRange::new(at, at.checked_add(len)?);
        let _whole = self.copying.read().unwrap_or_else(PoisonError::into_inner);
        let window = {
            let mut state = self.lock();
            if range.is_empty() || !state.reserved.covers(range) {
                return None;
            }
            lengthen(file, range).ok()?;
            self.window(&mut state, file, at)?
        };
        self.done(window.write(at, from))
    }

    /// Reads through a window and says how many bytes came; `None` if it must be done otherwise.
    pub(crate) fn read(&self, file: &OwnedFd, at: u64, into: &mut [u8]) -> Option<usize> {
        let _whole = self.copying.read().unwrap_or_else(PoisonError::into_inner);
        // Looked at each time: somebody may have cut the file.
        let end = u64::try_from(rustix::fs::fstat(file).ok()?.st_size).ok()?;
        let len = end.saturating_sub(at).min(into.len() as u64);
        if len == 0 {
            return Some(0);
        }
        let window = {
            let mut state = self.lock();
            let range = ByteRange::new(at, at + len);
            if self.ground == Ground::Memory && !state.reserved.covers(range) {
                return None;
            }
            self.window(&mut state, file, at)?
        };
        let len = usize::try_from(len).ok()?;
        self.done(window.read(at, &mut into[..len]))
    }

    /// The window that `at` is in.
    fn window(&self, state: &mut State, file: &OwnedFd, at: u64) -> Option<Arc<Window>> {
        if self.off.load(Ordering::Relaxed) {
            state.open.clear();
            return None;
        }
        let start = at - at % WINDOW;
        let found = state.open.iter().position(|w| w.range().start == start);
        let window = match found {
            Some(index) => state.open.remove(index),
            None => {
                if state.open.len() == WINDOWS_MAX {
                    // Who copies through it right now keeps it until that is done.
                    state.open.remove(0);
                }
                let range = ByteRange::new(start, start.checked_add(WINDOW)?);
                Arc::new(self.done(Window::new(file, range))?)
            }
        };
        state.open.push(Arc::clone(&window));
        Some(window)
    }

    /// A failure to map is no failure of the file: the other way tells. Some of them will always be so.
    fn done<T>(&self, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                // EFAULT: a page has nothing behind it, because the file was cut, or a sector cannot be read.
                if error.raw_os_error() != Some(Errno::FAULT.raw_os_error()) {
                    tracing::debug!(%error, "the file is not mapped any more");
                    self.off.store(true, Ordering::Relaxed);
                }
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Both fields are true after any step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the file at least as long as `range` needs. Unlike a new length this can never cut what another writer has
/// written behind it meanwhile.
#[cfg(target_os = "linux")]
fn lengthen(file: &OwnedFd, range: ByteRange) -> io::Result<()> {
    let len = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
    if len < range.end {
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(file, flags, range.start, range.len())?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn lengthen(_: &OwnedFd, _: ByteRange) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Only file systems that overwrite in place and keep what `fallocate` promised: not those that copy on write or compress
/// (btrfs, ZFS, bcachefs, f2fs), nor overlays, networks, FUSE and FAT.
#[cfg(target_os = "linux")]
fn ground(file: &OwnedFd) -> Option<Ground> {
    /// ext2, ext3 and ext4 (statfs(2)).
    const EXT: u64 = 0xef53;
    /// XFS.
    const XFS: u64 = 0x5846_5342;
    /// tmpfs.
    const TMPFS: u64 = 0x0102_1994;
    match crate::posix::magic(file)? {
        EXT | XFS => Some(Ground::Firm),
        TMPFS => Some(Ground::Memory),
        magic => {
            tracing::debug!(magic, "a file system on which nothing is mapped");
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn ground(_: &OwnedFd) -> Option<Ground> {
    None
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
