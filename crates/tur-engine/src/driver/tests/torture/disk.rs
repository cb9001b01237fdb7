//! A disk in memory of which each call may be struck, and which counts the files that are open.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use tur_core::Wall;
use tur_storage::{Disk, MemDisk, Onto, Open, Stat};

use super::fates::{Fates, Ill, Op, Way};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Struck {
    pub(super) inner: MemDisk,
    fates: Fates,
    live: Arc<()>,
}

/// An open file that is counted.
pub(super) struct File {
    inner: <MemDisk as Disk>::File,
    is_part: bool,
    _live: Arc<()>,
}

impl Struck {
    pub(super) fn new(inner: MemDisk, fates: Fates) -> Self {
        Self {
            inner,
            fates,
            live: Arc::default(),
        }
    }

    /// Files that are open, by whomever.
    pub(super) fn live_files(&self) -> usize {
        // One for each clone of the disk that is still held as well: a driver that is gone holds none.
        Arc::strong_count(&self.live) - 1
    }

    fn call<T>(&self, op: Op, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.fates.meet(op) {
            Some(Way::Fails(ill)) => Err(ill.error()),
            Some(Way::DoneAndFails(ill)) => {
                drop(call()?);
                Err(ill.error())
            }
            _ => call(),
        }
    }
}

impl Disk for Struck {
    type Dir = <MemDisk as Disk>::Dir;
    type File = File;

    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Self::Dir> {
        self.call(Op::OpenDir, || self.inner.open_dir(path, create))
    }

    fn stat_at(&self, dir: &Self::Dir, name: &str) -> io::Result<Stat> {
        self.call(Op::LookAt, || self.inner.stat_at(dir, name))
    }

    fn open(&self, dir: &Self::Dir, name: &str, how: Open) -> io::Result<File> {
        let op = match how {
            Open::Existing => Op::Open,
            Open::New(_) => Op::Make,
        };
        let inner = self.call(op, || self.inner.open(dir, name, how))?;
        Ok(File {
            inner,
            is_part: name.ends_with(".part"),
            _live: Arc::clone(&self.live),
        })
    }

    fn open_unnamed(&self, dir: &Self::Dir, mode: u32) -> io::Result<File> {
        let inner = self.call(Op::Make, || self.inner.open_unnamed(dir, mode))?;
        Ok(File {
            inner,
            is_part: false,
            _live: Arc::clone(&self.live),
        })
    }

    fn link(&self, file: &File, dir: &Self::Dir, name: &str) -> io::Result<()> {
        self.call(Op::Rename, || self.inner.link(&file.inner, dir, name))
    }

    fn stat(&self, file: &File) -> io::Result<Stat> {
        self.call(Op::Stat, || self.inner.stat(&file.inner))
    }

    fn try_lock(&self, file: &File) -> io::Result<bool> {
        self.call(Op::Lock, || self.inner.try_lock(&file.inner))
    }

    fn read_at(&self, file: &File, at: u64, into: &mut [u8]) -> io::Result<usize> {
        match self.fates.meet(Op::Read) {
            Some(Way::Fails(ill)) => Err(ill.error()),
            Some(Way::Short) => {
                let half = into.len().div_ceil(2);
                self.inner.read_at(&file.inner, at, &mut into[..half])
            }
            _ => self.inner.read_at(&file.inner, at, into),
        }
    }

    fn write_at(&self, file: &File, at: u64, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let way = self.fates.meet(Op::Write);
        if let Some(Way::Fails(ill)) = way {
            return Err(ill.error());
        }
        let whole: usize = from.iter().map(|slice| slice.len()).sum();
        let taken = if way == Some(Way::Short) {
            let bytes: Vec<u8> = from
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            let half = &bytes[..whole.div_ceil(2)];
            self.inner
                .write_at(&file.inner, at, &[IoSlice::new(half)])?
        } else {
            self.inner.write_at(&file.inner, at, from)?
        };
        if let Some(Way::DoneAndFails(ill)) = way {
            return Err(ill.error());
        }
        if file.is_part {
            self.fates.wrote(taken as u64);
        }
        Ok(taken)
    }

    fn allocate(&self, file: &File, at: u64, len: u64) -> io::Result<()> {
        self.call(Op::Allocate, || self.inner.allocate(&file.inner, at, len))
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.call(Op::SetLen, || self.inner.set_len(&file.inner, len))
    }

    /// One that fails drops the pages that it could not save, unless it was only interrupted.
    fn sync(&self, file: &File) -> io::Result<()> {
        match self.fates.meet(Op::Sync) {
            Some(Way::Fails(ill)) => {
                self.inner.fail_call(1, ill.error().kind());
                drop(self.inner.sync(&file.inner));
                Err(ill.error())
            }
            Some(Way::DoneAndFails(ill)) => {
                self.inner.sync(&file.inner)?;
                Err(ill.error())
            }
            _ => self.inner.sync(&file.inner),
        }
    }

    fn set_modified(&self, file: &File, to: Wall) -> io::Result<()> {
        self.call(Op::SetTime, || self.inner.set_modified(&file.inner, to))
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        self.call(Op::SetMode, || self.inner.set_mode(&file.inner, mode))
    }

    fn rename(&self, dir: &Self::Dir, from: &str, to: &str, onto: Onto) -> io::Result<()> {
        self.call(Op::Rename, || self.inner.rename(dir, from, to, onto))
    }

    fn unlink(&self, dir: &Self::Dir, name: &str) -> io::Result<()> {
        self.call(Op::Unlink, || self.inner.unlink(dir, name))
    }

    fn sync_dir(&self, dir: &Self::Dir) -> io::Result<()> {
        self.call(Op::SyncDir, || self.inner.sync_dir(dir))
    }

    fn available(&self, dir: &Self::Dir) -> io::Result<u64> {
        self.call(Op::Room, || self.inner.available(dir))
    }

    fn file_size_limit(&self) -> Option<u64> {
        self.inner.file_size_limit()
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        self.inner.boot_id()
    }

    fn umask(&self) -> u32 {
        self.inner.umask()
    }
}

impl Ill {
    /// True if the disk is full in one way or another.
    pub(super) fn is_full(self) -> bool {
        matches!(self, Ill::NoSpace | Ill::Quota)
    }
}
