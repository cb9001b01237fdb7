//! [`Disk`] in memory: records every change, fails on demand, and crashes at any point of its record.
//!
//! [`MemDisk::crash`] gives the disk as it would be found after the first so many changes: with everything written
//! (the process was killed), or without what was not synced (power was lost). [`MemDisk::crashes`] gives every state that
//! a loss of power may leave; [`crash`] says which those are.

mod crash;
mod tree;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tur_core::Wall;

use self::crash::Dice;
pub use self::crash::{Crash, Crashes, Fate, Loss, Sampling};
use self::tree::{Change, SyncEnd, Tree};
use crate::{Disk, FileId, FileKind, Onto, Open, Stat};

/// A file system in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct MemDisk {
    world: Arc<Mutex<World>>,
}

/// An open directory of a [`MemDisk`].
#[derive(Debug)]
pub struct MemDir {
    path: PathBuf,
}

/// An open file of a [`MemDisk`]. Dropping it gives its lock back.
#[derive(Debug)]
pub struct MemFile {
    ino: u64,
    handle: u64,
    world: Arc<Mutex<World>>,
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let mut world = enter(&self.world);
        if world.locks.get(&self.ino) == Some(&self.handle) {
            world.locks.remove(&self.ino);
        }
    }
}

#[derive(Debug, Default)]
struct World {
    /// What was on the disk at first.
    base: Tree,
    /// What is on the disk now.
    now: Tree,
    /// Every change, in order.
    log: Vec<Arc<Change>>,
    locks: BTreeMap<u64, u64>,
    handles: u64,
    boot: u8,
    capacity: Option<u64>,
    file_size_limit: Option<u64>,
    /// True if room cannot be reserved.
    unreserved: bool,
    /// True if every file has a name from the beginning.
    all_named: bool,
    /// Calls until the one that fails, and how.
    fault: Option<(u64, io::ErrorKind)>,
    calls: u64,
    /// Syncs of files until the one that fails; and how often the disk had changed when one did.
    sync_fault: Option<u64>,
    failed_sync: Option<usize>,
    /// True if what a failed sync has dropped can be read all the same.
    stale_cache: bool,
    /// State of the generator behind short writes; 0 for whole ones.
    short: u64,
    /// What writes wait for.
    gate: Option<Arc<Mutex<()>>>,
}

impl Default for MemDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl MemDisk {
    /// An empty disk without bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::with(World {
            boot: 1,
            ..World::default()
        })
    }

    fn with(world: World) -> Self {
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    /// How many changes were made so far.
    #[must_use]
    pub fn changes(&self) -> usize {
        enter(&self.world).log.len()
    }

    /// How many calls were made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        enter(&self.world).calls
    }

    /// The disk as it is found after the first `changes` changes and a crash. This one goes on as if nothing was.
    #[must_use]
    pub fn crash(&self, changes: usize, loss: Loss) -> MemDisk {
        let left = self.tree_at(changes).lose(loss);
        self.found(left, loss != Loss::Nothing)
    }

    /// The disk as this loss of power leaves it.
    #[must_use]
    pub fn cut(&self, crash: &Crash) -> MemDisk {
        let left = self.tree_at(crash.changes).after(&crash.fates, crash.seed);
        self.found(left, true)
    }

    /// Every state that a loss of power may leave, as far as `sampling` goes; the record as it is now.
    #[must_use]
    pub fn crashes(&self, sampling: Sampling) -> Crashes {
        Crashes::new(self.clone(), sampling)
    }

    /// The names in a directory, in order.
    #[must_use]
    pub fn names(&self, dir: &Path) -> Vec<String> {
        let world = enter(&self.world);
        let names = world.now.names.keys().filter(|(at, _)| at == dir);
        names.map(|(_, name)| name.clone()).collect()
    }

    fn tree_at(&self, changes: usize) -> Tree {
        let world = enter(&self.world);
        let mut tree = world.base.clone();
        for change in world.log.iter().take(changes) {
            tree.apply(change);
        }
        tree
    }

    /// A disk that is found with this on it, after a restart of the machine or of the process alone.
    fn found(&self, tree: Tree, rebooted: bool) -> MemDisk {
        let world = enter(&self.world);
        MemDisk::with(World {
            base: tree.clone(),
            now: tree,
            boot: world.boot + u8::from(rebooted),
            capacity: world.capacity,
            handles: world.handles,
            ..World::default()
        })
    }

    /// Makes the `calls`-th call from now on fail (1 is the next one). A failing sync drops what was not synced.
    pub fn fail_call(&self, calls: u64, how: io::ErrorKind) {
        enter(&self.world).fault = Some((calls, how));
    }

    /// Makes the `syncs`-th sync of a file from now on fail (1 is the next one).
    pub fn fail_sync(&self, syncs: u64) {
        enter(&self.world).sync_fault = Some(syncs);
    }

    /// How often the disk had changed when a sync of a file last failed, that one included.
    #[must_use]
    pub fn failed_sync(&self) -> Option<usize> {
        enter(&self.world).failed_sync
    }

    /// After a sync that fails, what it was to save can still be read, but no later sync saves it: so do ext4 and XFS.
    /// Otherwise what is read is what the disk has.
    pub fn keep_what_a_failed_sync_drops(&self) {
        enter(&self.world).stale_cache = true;
    }

    /// From now on writes are short and interrupted at random; 0 makes them whole again.
    pub fn write_short(&self, seed: u64) {
        enter(&self.world).short = seed;
    }

    /// From now on each write waits until it can have this lock: as on a device that does not answer.
    pub fn hang_writes(&self, gate: Arc<Mutex<()>>) {
        enter(&self.world).gate = Some(gate);
    }

    /// Bounds the bytes that all files may take.
    pub fn set_capacity(&self, bytes: u64) {
        enter(&self.world).capacity = Some(bytes);
    }

    /// Bounds the length of a file that is opened from now on.
    pub fn set_file_size_limit(&self, bytes: u64) {
        enter(&self.world).file_size_limit = Some(bytes);
    }

    /// From now on room cannot be reserved, as on FAT or an older NFS.
    pub fn reserve_nothing(&self) {
        enter(&self.world).unreserved = true;
    }

    /// From now on no file can be made without a name, as on NFS.
    pub fn name_everything(&self) {
        enter(&self.world).all_named = true;
    }

    /// Puts something under a name that a [`Disk`] cannot make.
    pub fn place(&self, dir: &Path, name: &str, kind: FileKind) {
        let mut world = enter(&self.world);
        let ino = world.now.free_ino();
        world.change(Change::Create {
            at: (dir.to_owned(), name.to_owned()),
            ino,
            kind,
            mode: 0o644,
        });
    }

    /// Counts the call, and fails it if its turn has come.
    fn call(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = enter(&self.world);
        world.calls += 1;
        match &mut world.fault {
            Some((1, how)) => {
                let how = *how;
                world.fault = None;
                Err(how.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(world)
            }
            None => Ok(world),
        }
    }
}

fn enter(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    fn change(&mut self, change: Change) {
        let change = Arc::new(change);
        self.now.apply(&change);
        self.log.push(change);
    }

    fn used(&self) -> u64 {
        self.now.nodes.values().map(tree::Node::used).sum()
    }

    /// True if a file that takes `before` bytes may take `after`.
    fn has_room(&self, before: u64, after: u64) -> bool {
        self.capacity
            .is_none_or(|capacity| self.used() + after.saturating_sub(before) <= capacity)
    }

    /// Fails a sync if its turn has come.
    fn sync_fails(&mut self) -> io::Result<()> {
        match &mut self.sync_fault {
            Some(1) => {
                self.sync_fault = None;
                Err(io::Error::other("this sync was to fail"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn node(&self, ino: u64) -> io::Result<&tree::Node> {
        self.now
            .nodes
            .get(&ino)
            .ok_or(io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, ino: u64, disk: &MemDisk) -> MemFile {
        self.handles += 1;
        MemFile {
            ino,
            handle: self.handles,
            world: Arc::clone(&disk.world),
        }
    }
}

impl Disk for MemDisk {
    type Dir = MemDir;
    type File = MemFile;

    fn open_dir(&self, path: &Path, create: bool) -> io::Result<MemDir> {
        let mut world = self.call()?;
        if !world.now.dirs.iter().any(|dir| dir == path) {
            if !create {
                return Err(io::ErrorKind::NotFound.into());
            }
            world.change(Change::MakeDir(path.to_owned()));
        }
        Ok(MemDir {
            path: path.to_owned(),
        })
    }

    fn stat_at(&self, dir: &MemDir, name: &str) -> io::Result<Stat> {
        let world = self.call()?;
        let ino = world.ino(dir, name).ok_or(io::ErrorKind::NotFound)?;
        world.stat(ino)
    }

    fn open(&self, dir: &MemDir, name: &str, how: Open) -> io::Result<MemFile> {
        let mut world = self.call()?;
        let ino = match (world.ino(dir, name), how) {
            (None, Open::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (Some(_), Open::New(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(ino), Open::Existing) => match world.node(ino)?.kind {
                FileKind::Regular => ino,
                FileKind::Directory => return Err(io::ErrorKind::IsADirectory.into()),
                FileKind::Symlink | FileKind::Special => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            },
            (None, Open::New(mode)) => {
                let ino = world.now.free_ino();
                world.change(Change::Create {
                    at: (dir.path.clone(), name.to_owned()),
                    ino,
                    kind: FileKind::Regular,
                    mode: mode & !0o022,
                });
                ino
            }
        };
        Ok(world.file(ino, self))
    }

    fn open_unnamed(&self, _dir: &MemDir, mode: u32) -> io::Result<MemFile> {
        let mut world = self.call()?;
        if world.all_named {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let ino = world.now.free_ino();
        world.change(Change::Unnamed {
            ino,
            mode: mode & !0o022,
        });
        Ok(world.file(ino, self))
    }

    fn link(&self, file: &MemFile, dir: &MemDir, name: &str) -> io::Result<()> {
        let mut world = self.call()?;
        if world.ino(dir, name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.change(Change::Link {
            at: (dir.path.clone(), name.to_owned()),
            ino: file.ino,
        });
        Ok(())
    }

    fn stat(&self, file: &MemFile) -> io::Result<Stat> {
        self.call()?.stat(file.ino)
    }

    fn try_lock(&self, file: &MemFile) -> io::Result<bool> {
        let mut world = self.call()?;
        let holder = *world.locks.entry(file.ino).or_insert(file.handle);
        Ok(holder == file.handle)
    }

    fn read_at(&self, file: &MemFile, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let world = self.call()?;
        let data = &world.node(file.ino)?.data;
        let rest = usize::try_from(at)
            .ok()
            .and_then(|at| data.get(at..))
            .unwrap_or_default();
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, file: &MemFile, at: u64, from: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut world = self.call()?;
        if let Some(gate) = world.gate.clone() {
            drop(world);
            drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
            world = enter(&self.world);
        }
        let mut bytes = Vec::new();
        from.iter().for_each(|slice| bytes.extend_from_slice(slice));
        if world.short != 0 && !bytes.is_empty() {
            let mut dice = Dice(world.short);
            let len = dice.below(bytes.len() as u64 + 1);
            world.short = dice.0;
            if len == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            bytes.truncate(usize::try_from(len).expect("no more than there were"));
        }
        let before = world.node(file.ino)?.used();
        if !world.has_room(before, before.max(at + bytes.len() as u64)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = bytes.len();
        world.change(Change::Write {
            ino: file.ino,
            at,
            bytes,
        });
        Ok(len)
    }

    fn allocate(&self, file: &MemFile, at: u64, len: u64) -> io::Result<()> {
        let mut world = self.call()?;
        if world.unreserved {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let before = world.node(file.ino)?.used();
        let end = at + len;
        if !world.has_room(before, before.max(end)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.change(Change::Reserve { ino: file.ino, end });
        Ok(())
    }

    fn set_len(&self, file: &MemFile, len: u64) -> io::Result<()> {
        self.call()?.change(Change::SetLen { ino: file.ino, len });
        Ok(())
    }

    fn sync(&self, file: &MemFile) -> io::Result<()> {
        let called = self.call().map(drop);
        let mut world = enter(&self.world);
        let called = called.and_then(|()| world.sync_fails());
        let again = |error: &io::Error| error.kind() == io::ErrorKind::Interrupted;
        if !called.as_ref().is_err_and(again) {
            let end = match (&called, world.stale_cache) {
                (Ok(()), _) => SyncEnd::Done,
                (Err(_), false) => SyncEnd::Reverted,
                (Err(_), true) => SyncEnd::Forgotten,
            };
            world.change(Change::Sync { ino: file.ino, end });
            if called.is_err() {
                world.failed_sync = Some(world.log.len());
            }
        }
        called
    }

    fn set_modified(&self, file: &MemFile, to: Wall) -> io::Result<()> {
        self.call()?
            .change(Change::SetModified { ino: file.ino, to });
        Ok(())
    }

    fn set_mode(&self, file: &MemFile, mode: u32) -> io::Result<()> {
        self.call()?.change(Change::SetMode {
            ino: file.ino,
            mode,
        });
        Ok(())
    }

    fn rename(&self, dir: &MemDir, from: &str, to: &str, onto: Onto) -> io::Result<()> {
        let mut world = self.call()?;
        let ino = world.ino(dir, from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(there) = world.ino(dir, to) {
            match (onto, world.node(there)?.kind) {
                (Onto::Free, _) => return Err(io::ErrorKind::AlreadyExists.into()),
                (Onto::Any, FileKind::Directory) => {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                (Onto::Any, _) => {}
            }
        }
        world.change(Change::Rename {
            from: (dir.path.clone(), from.to_owned()),
            to: (dir.path.clone(), to.to_owned()),
            ino,
        });
        Ok(())
    }

    fn unlink(&self, dir: &MemDir, name: &str) -> io::Result<()> {
        let mut world = self.call()?;
        let ino = world.ino(dir, name).ok_or(io::ErrorKind::NotFound)?;
        world.change(Change::Unlink {
            at: (dir.path.clone(), name.to_owned()),
            ino,
        });
        Ok(())
    }

    fn sync_dir(&self, dir: &MemDir) -> io::Result<()> {
        self.call()?.change(Change::SyncDir(dir.path.clone()));
        Ok(())
    }

    fn available(&self, _dir: &MemDir) -> io::Result<u64> {
        let world = self.call()?;
        Ok(world
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(world.used())))
    }

    fn file_size_limit(&self) -> Option<u64> {
        enter(&self.world).file_size_limit
    }

    fn boot_id(&self) -> Option<[u8; 16]> {
        Some([enter(&self.world).boot; 16])
    }

    fn umask(&self) -> u32 {
        0o022
    }
}

impl World {
    fn ino(&self, dir: &MemDir, name: &str) -> Option<u64> {
        let at = (dir.path.clone(), name.to_owned());
        self.now.names.get(&at).copied()
    }

    fn stat(&self, ino: u64) -> io::Result<Stat> {
        let node = self.node(ino)?;
        let links = self.now.names.values().filter(|there| **there == ino);
        Ok(Stat {
            id: FileId { dev: 1, ino },
            kind: node.kind,
            len: node.data.len() as u64,
            allocated: node.used(),
            links: links.count() as u64,
            mode: node.attributes.mode,
            modified: node.attributes.modified,
            // No time passes in memory: all files are of one age.
            modified_ns: 0,
        })
    }
}
