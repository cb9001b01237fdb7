//! [`Disk`] of this machine with a choice of how bytes come into a file, and of how long it stays: [`FileDisk`].
//!
//! [`StorageKind::Auto`] writes and reads by system calls. They tell a full disk, a bad sector and a file that somebody cut
//! as an error, where a mapping may kill; and they are cheaper (CPU seconds per GiB received and written on one thread:
//! 0.46 by `pwrite` on ext4, 0.74 through populated windows, 2.44 through faults).

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::Path;

use tur_core::{ByteRange, Wall};

use crate::unnamed::Unnamed;
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

/// How long files stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stay {
    /// Until somebody removes them.
    #[default]
    Kept,
    /// For as long as they are open, under no name: when this process ends, however it does, a kill included, the system has
    /// their room back. (Where a file system has no files without names, they have one for the moment in which they
    /// are made.)
    Temporary,
    /// As `Temporary`, for what is read once, in order: room behind it, and behind the digest that was asked for, is
    /// given back where the file system can, and whether the whole would fit is not asked.
    Passing,
}

/// The real file system, used as a [`StorageKind`] and a [`Stay`] say.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileDisk {
    kind: StorageKind,
    stay: Stay,
}

/// An open file of a [`FileDisk`].
#[derive(Debug)]
pub struct NativeFile {
    fd: OwnedFd,
    windows: Option<Windows>,
    /// False if nothing of it outlives this process: it is never synced.
    kept: bool,
}

/// An open directory of a [`FileDisk`].
#[derive(Debug)]
pub struct NativeDir(Names);

#[derive(Debug)]
enum Names {
    /// Those of the directory.
    There(OwnedFd),
    /// Those of this process.
    Here(Unnamed),
}

impl FileDisk {
    /// The real file system.
    #[must_use]
    pub fn new(kind: StorageKind) -> Self {
        Self {
            kind,
            stay: Stay::Kept,
        }
    }

    /// The same, with files that stay so long.
    #[must_use]
    pub fn staying(self, stay: Stay) -> Self {
        Self { stay, ..self }
    }

    fn file(&self, fd: OwnedFd, kept: bool) -> NativeFile {
        let windows = match self.kind {
            StorageKind::Auto | StorageKind::Pwrite => None,
            StorageKind::Mmap => Windows::of(&fd),
        };
        NativeFile { fd, windows, kept }
    }
}

impl NativeDir {
    fn fd(&self) -> &OwnedFd {
        match &self.0 {
            Names::There(dir) => dir,
            Names::Here(unnamed) => unnamed.dir(),
        }
    }
}

impl Disk for FileDisk {
    type Dir = NativeDir;
    type File = NativeFile;

    fn open_dir(&self, path: &Path, create: bool) -> io::Result<NativeDir> {
        let dir = PosixDisk.open_dir(path, create)?;
        Ok(NativeDir(match self.stay {
            Stay::Kept => Names::There(dir),
            Stay::Temporary | Stay::Passing => Names::Here(Unnamed::new(dir)),
        }))
    }

    fn stat_at(&self, dir: &NativeDir, name: &str) -> io::Result<Stat> {
        match &dir.0 {
            Names::There(dir) => PosixDisk.stat_at(dir, name),
            Names::Here(unnamed) => unnamed.stat(name),
        }
    }

    fn open(&self, dir: &NativeDir, name: &str, how: Open) -> io::Result<NativeFile> {
        match &dir.0 {
            Names::There(dir) => Ok(self.file(PosixDisk.open(dir, name, how)?, true)),
            Names::Here(unnamed) => Ok(self.file(unnamed.open(name, how)?, false)),
        }
    }

    fn open_unnamed(&self, dir: &NativeDir, mode: u32) -> io::Result<NativeFile> {
        let Names::There(dir) = &dir.0 else {
            // There all files are such, and the ordinary way is as good.
            return Err(io::ErrorKind::Unsupported.into());
        };
        // It is written once, from front to end: windows would gain nothing.
        Ok(NativeFile {
            fd: PosixDisk.open_unnamed(dir, mode)?,
            windows: None,
            kept: true,
        })
    }

    fn link(&self, file: &NativeFile, dir: &NativeDir, name: &str) -> io::Result<()> {
        match &dir.0 {
            Names::There(dir) => PosixDisk.link(&file.fd, dir, name),
            Names::Here(_) => Err(io::ErrorKind::Unsupported.into()),
        }
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

    fn give_back(&self, file: &NativeFile, range: ByteRange) -> io::Result<()> {
        PosixDisk.give_back(&file.fd, range)
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
        match file.kept {
            true => PosixDisk.sync(&file.fd),
            false => Ok(()),
        }
    }

    fn set_modified(&self, file: &NativeFile, to: Wall) -> io::Result<()> {
        PosixDisk.set_modified(&file.fd, to)
    }

    fn set_mode(&self, file: &NativeFile, mode: u32) -> io::Result<()> {
        PosixDisk.set_mode(&file.fd, mode)
    }

    fn rename(&self, dir: &NativeDir, from: &str, to: &str, onto: Onto) -> io::Result<()> {
        match &dir.0 {
            Names::There(dir) => PosixDisk.rename(dir, from, to, onto),
            Names::Here(unnamed) => unnamed.rename(from, to, onto),
        }
    }

    fn unlink(&self, dir: &NativeDir, name: &str) -> io::Result<()> {
        match &dir.0 {
            Names::There(dir) => PosixDisk.unlink(dir, name),
            Names::Here(unnamed) => unnamed.unlink(name),
        }
    }

    fn sync_dir(&self, dir: &NativeDir) -> io::Result<()> {
        match &dir.0 {
            Names::There(dir) => PosixDisk.sync_dir(dir),
            Names::Here(_) => Ok(()),
        }
    }

    fn available(&self, dir: &NativeDir) -> io::Result<u64> {
        match self.stay {
            Stay::Kept | Stay::Temporary => PosixDisk.available(dir.fd()),
            // It takes a window of the whole: a disk that is too full for that says so when it is written to.
            Stay::Passing => Ok(u64::MAX),
        }
    }

    fn reserves_ahead(&self) -> u64 {
        match self.stay {
            Stay::Kept | Stay::Temporary => PosixDisk.reserves_ahead(),
            Stay::Passing => crate::room::PASSING_WINDOW,
        }
    }

    fn file_size_limit(&self) -> Option<u64> {
        PosixDisk.file_size_limit()
    }

    fn largest_file(&self, dir: &NativeDir) -> Option<u64> {
        PosixDisk.largest_file(dir.fd())
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        PosixDisk.boot_id()
    }

    fn umask(&self) -> u32 {
        PosixDisk.umask()
    }
}
