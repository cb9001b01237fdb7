//! [`Disk`] of this machine with a choice of how bytes come into a file: [`FileDisk`].
//!
//! [`StorageKind::Auto`] writes and reads by system calls. They tell a full disk, a bad sector and a file that somebody cut
//! as an error, where a mapping may kill; and they are cheaper (CPU seconds per GiB received and written on one thread:
//! 0.46 by `pwrite` on ext4, 0.74 through populated windows, 2.44 through faults).

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;

use tur_core::{ByteRange, Wall};

use crate::windows::Windows;
use crate::{Disk, Onto, Open, PosixDisk, Stat};

/// How bytes come into a file and out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageKind {
    /// What is best on this system: [`Pwrite`](Self::Pwrite), everywhere so far.
    #[default]
    Auto,
    /// System calls at an offset.
    Pwrite,
    /// Mapped windows, where the file system keeps room that it has promised (ext4, XFS, tmpfs, on Linux 5.14 and
    /// later); system calls elsewhere, and where a file cannot be mapped. Somebody who cuts the file at the wrong
    /// moment can kill the process by SIGBUS.
    Mmap,
}

/// The real file system, used as a [`StorageKind`] says.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk {
    kind: StorageKind,
}

/// An open file of a [`FileDisk`].
#[derive(Debug)]
pub struct NativeFile {
    fd: OwnedFd,
    windows: Option<Windows>,
}

impl FileDisk {
    /// The real file system.
    #[must_use]
    pub fn new(kind: StorageKind) -> Self {
        Self { kind }
    }
}

impl Disk for FileDisk {
    type Dir = OwnedFd;
    type File = NativeFile;

    fn open_dir(&self, path: &Path, create: bool) -> io::Result<OwnedFd> {
        PosixDisk.open_dir(path, create)
    }

    fn stat_at(&self, dir: &OwnedFd, name: &str) -> io::Result<Stat> {
        PosixDisk.stat_at(dir, name)
    }

    fn open(&self, dir: &OwnedFd, name: &str, how: Open) -> io::Result<NativeFile> {
        let fd = PosixDisk.open(dir, name, how)?;
        let windows = match self.kind {
            StorageKind::Auto | StorageKind::Pwrite => None,
            StorageKind::Mmap => Windows::of(&fd),
        };
        Ok(NativeFile { fd, windows })
    }

    fn open_unnamed(&self, dir: &OwnedFd, mode: u32) -> io::Result<NativeFile> {
        // It is written once, from front to end: windows would gain nothing.
        let fd = PosixDisk.open_unnamed(dir, mode)?;
        Ok(NativeFile { fd, windows: None })
    }

    fn link(&self, file: &NativeFile, dir: &OwnedFd, name: &str) -> io::Result<()> {
        PosixDisk.link(&file.fd, dir, name)
    }

    fn stat(&self, file: &NativeFile) -> io::Result<Stat> {
        PosixDisk.stat(&file.fd)
    }

    fn try_lock(&self, file: &NativeFile) -> io::Result<bool> {
        PosixDisk.try_lock(&file.fd)
    }

    fn read_at(&self, file: &NativeFile, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let windows = file.windows.as_ref();
        match windows.and_then(|windows| windows.read(&file.fd, at, into)) {
            Some(came) => Ok(came),
            None => PosixDisk.read_at(&file.fd, at, into),
        }
    }

    fn write_at(&self, file: &NativeFile, at: u64, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let windows = file.windows.as_ref();
        match windows.and_then(|windows| windows.write(&file.fd, at, from)) {
            Some(taken) => Ok(taken),
            None => PosixDisk.write_at(&file.fd, at, from),
        }
    }

    fn allocate(&self, file: &NativeFile, at: u64, len: u64) -> io::Result<()> {
        PosixDisk.allocate(&file.fd, at, len)?;
        if let Some(windows) = &file.windows {
            windows.reserved(ByteRange::new(at, at.saturating_add(len)));
        }
        Ok(())
    }

    fn set_len(&self, file: &NativeFile, len: u64) -> io::Result<()> {
        match &file.windows {
            Some(windows) => windows.set_len(&file.fd, len),
            None => PosixDisk.set_len(&file.fd, len),
        }
    }

    /// Saves what came through windows too: on Linux `msync` is nothing but this call on the mapped file
    /// (mm/msync.c: `vfs_fsync_range`), and pages count as dirty from the first write through a mapping on.
    fn sync(&self, file: &NativeFile) -> io::Result<()> {
        PosixDisk.sync(&file.fd)
    }

    fn set_modified(&self, file: &NativeFile, to: Wall) -> io::Result<()> {
        PosixDisk.set_modified(&file.fd, to)
    }

    fn set_mode(&self, file: &NativeFile, mode: u32) -> io::Result<()> {
        PosixDisk.set_mode(&file.fd, mode)
    }

    fn rename(&self, dir: &OwnedFd, from: &str, to: &str, onto: Onto) -> io::Result<()> {
        PosixDisk.rename(dir, from, to, onto)
    }

    fn unlink(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        PosixDisk.unlink(dir, name)
    }

    fn sync_dir(&self, dir: &OwnedFd) -> io::Result<()> {
        PosixDisk.sync_dir(dir)
    }

    fn available(&self, dir: &OwnedFd) -> io::Result<u64> {
        PosixDisk.available(dir)
    }

    fn file_size_limit(&self) -> Option<u64> {
        PosixDisk.file_size_limit()
    }

    fn largest_file(&self, dir: &OwnedFd) -> Option<u64> {
        PosixDisk.largest_file(dir)
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        PosixDisk.boot_id()
    }

    fn umask(&self) -> u32 {
        PosixDisk.umask()
    }
}
