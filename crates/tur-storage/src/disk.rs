//! The port to a file system: the few operations that the part and its journal are made of.
//!
//! [`Disk`] works under a directory handle, so that a directory that is replaced on the way moves nothing elsewhere.
//! Implementations are thin: short writes and interruptions are the business of the layer above.

use std::io::{self, IoSlice};
use std::path::Path;

use tur_core::{ByteRange, Wall};

/// Which file it is, for as long as it exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// Device.
    pub dev: u64,
    /// Inode on it.
    pub ino: u64,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A plain file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link: never followed.
    Symlink,
    /// FIFO, socket or device.
    Special,
}

/// What is known about a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which file.
    pub id: FileId,
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub len: u64,
    /// Bytes that take room on the disk.
    pub allocated: u64,
    /// Names it has; 0 once it was removed.
    pub links: u64,
    /// Permission bits.
    pub mode: u32,
    /// Time of its last change.
    pub modified: Wall,
    /// In nanoseconds, when the file or what is known about it changed last: to tell which of two files was touched
    /// later. Unlike `modified`, nobody can set it back where the system keeps a time of its own.
    pub modified_ns: i128,
}

/// How a file is opened; always for reading and writing, never through a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist.
    Existing,
    /// It must not exist; made with these permission bits, less the process's mask.
    New(u32),
}

/// What a rename may meet at the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// Nothing: otherwise [`io::ErrorKind::AlreadyExists`].
    Free,
    /// A file, which is replaced in one step.
    Any,
}

/// File operations. Every call may fail with an [`io::Error`] that carries the system's code.
///
/// Rules for implementers: no call waits for a lock; `write_at` and `read_at` may be short and may be interrupted;
/// `allocate` answers [`io::ErrorKind::Unsupported`] wherever the file system cannot promise room.
#[expect(
    clippy::missing_errors_doc,
    reason = "said once above, for all of them"
)]
pub trait Disk: Send + Sync + 'static {
    /// An open directory.
    type Dir: Send + Sync + 'static;
    /// An open file.
    type File: Send + Sync + 'static;

    /// Opens the directory; with `create`, it and its parents are made first, and their names put on stable storage.
    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Self::Dir>;
    /// Looks at a name, never through a symbolic link.
    fn stat_at(&self, dir: &Self::Dir, name: &str) -> io::Result<Stat>;
    /// Opens or makes a file.
    fn open(&self, dir: &Self::Dir, name: &str, how: Open) -> io::Result<Self::File>;
    /// Makes a file without a name on the file system of `dir`, with these permission bits, less the process's mask. It is
    /// gone when it is closed, unless [`link`](Self::link) has named it. [`io::ErrorKind::Unsupported`] where there is no
    /// such thing.
    fn open_unnamed(&self, _dir: &Self::Dir, _mode: u32) -> io::Result<Self::File> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Gives a file without a name its first one, if that is free: otherwise [`io::ErrorKind::AlreadyExists`].
    /// [`io::ErrorKind::Unsupported`] where that cannot be done.
    fn link(&self, _file: &Self::File, _dir: &Self::Dir, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Looks at an open file.
    fn stat(&self, file: &Self::File) -> io::Result<Stat>;
    /// Takes the exclusive lock if it is free; false if somebody else holds it. Closing the file gives it back.
    fn try_lock(&self, file: &Self::File) -> io::Result<bool>;
    /// Reads at an offset; 0 at the end.
    fn read_at(&self, file: &Self::File, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes at an offset and says how many bytes were taken.
    fn write_at(&self, file: &Self::File, at: u64, from: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Reserves room for `len` bytes from `at` on, without changing the file's length.
    fn allocate(&self, file: &Self::File, at: u64, len: u64) -> io::Result<()>;
    /// Gives the room of `range` back, whose bytes nobody will read again; the length stays. [`io::ErrorKind::Unsupported`]
    /// where that cannot be done.
    fn give_back(&self, _file: &Self::File, _range: ByteRange) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Sets the length.
    fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()>;
    /// Puts the file's bytes and length on stable storage.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Sets the time of the last change.
    fn set_modified(&self, file: &Self::File, to: Wall) -> io::Result<()>;
    /// Sets the permission bits.
    fn set_mode(&self, file: &Self::File, mode: u32) -> io::Result<()>;
    /// Renames within the directory.
    fn rename(&self, dir: &Self::Dir, from: &str, to: &str, onto: Onto) -> io::Result<()>;
    /// Removes a name.
    fn unlink(&self, dir: &Self::Dir, name: &str) -> io::Result<()>;
    /// Puts the directory's entries on stable storage.
    fn sync_dir(&self, dir: &Self::Dir) -> io::Result<()>;
    /// Bytes that this user may still write on the file system; [`u64::MAX`] if it keeps no account of them.
    fn available(&self, dir: &Self::Dir) -> io::Result<u64>;
    /// How far ahead of a writer room is reserved.
    fn reserves_ahead(&self) -> u64 {
        crate::room::WINDOW
    }
    /// The largest file this process may write.
    fn file_size_limit(&self) -> Option<u64>;
    /// The largest file that the file system can hold, where it is small enough to be met: 4 GiB on FAT.
    fn largest_file(&self, _dir: &Self::Dir) -> Option<u64> {
        None
    }
    /// Names the time since the machine was started; `None` where it cannot be told: nothing unsynced is trusted then.
    fn boot_id(&self) -> Option<[u8; 16]>;
    /// The permission bits that new files do not get.
    fn umask(&self) -> u32;
}
