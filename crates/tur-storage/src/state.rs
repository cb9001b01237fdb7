//! Small files of state that several processes share: [`StateFile`].
//!
//! A file is read as a whole and replaced as a whole: a temporary sibling is written, synced and renamed over it, so
//! that there is the old state or the new one and never half of either. Who replaces it holds a lock on a third file
//! and reads again what is there by then: nothing that another process wrote is lost. What the bytes mean is the
//! caller's business; this knows their version, their length and their checksum.

use std::path::{Path, PathBuf};

use crate::open::{look, open_regular, require_regular};
use crate::shared::{path_error, read_full, retry, write_all};
use crate::{Disk, Onto, Open, StorageError};

/// Permission bits: which servers somebody visits is nobody else's business.
const PRIVATE: u32 = 0o600;
/// Magic, version, length, checksum. They keep their places in every version of every kind of state.
const HEADER: usize = 18;
/// The most bytes that a state may have.
const STATE_MAX: usize = 4 << 20;
/// How often the lock is taken anew because somebody removed its file meanwhile.
const RACES_MAX: u32 = 8;

/// What kind of state a file holds, and which version of it the caller writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateFormat {
    /// The first bytes of the file.
    pub magic: [u8; 8],
    /// The newest version that the caller knows: it writes this one and reads this one and those before it.
    pub version: u16,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which version the bytes are of, no newer than the format's.
    pub version: u16,
    /// The bytes, as they were written.
    pub bytes: Vec<u8>,
}

/// A state file, by its name. Nothing is open between two calls.
#[derive(Debug)]
pub struct StateFile<D> {
    disk: D,
    dir: PathBuf,
    name: String,
    format: StateFormat,
}

impl<D: Disk> StateFile<D> {
    /// The file at `path`. Nothing is touched yet.
    ///
    /// # Errors
    /// `BadName` if the path does not end in the name of a file.
    pub fn new(disk: D, path: &Path, format: StateFormat) -> Result<Self, StorageError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(dir)) = (name, path.parent()) else {
            return Err(StorageError::BadName {
                name: path.display().to_string(),
            });
        };
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            name: name.to_owned(),
            format,
        })
    }

    /// Reads the state; `None` if there is no file. It waits for nobody: a file is replaced in one step.
    ///
    /// # Errors
    /// `Damaged`, `Version` if a newer version wrote it, `NotRegular` (a symbolic link is never followed), or `Io`.
    /// With any of them the caller can go on as if nothing was there.
    pub fn load(&self) -> Result<Option<State>, StorageError> {
        match retry(|| self.disk.open_dir(&self.dir, false)) {
            Ok(dir) => self.read(&dir),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(path_error("open", self.dir.clone())(error)),
        }
    }

    /// Replaces the state by what `merge` makes of the present one; with `None` from it, all stays as it is. `merge` is
    /// given `None` if there is no file or a damaged one.
    ///
    /// While another process holds the lock, `wait` is called again and again: it lets some time pass and says whether
    /// to go on trying.
    ///
    /// # Errors
    /// `Locked` if `wait` gave up, `Version` if a newer version wrote the file, which is left alone, `Rule` if the new
    /// state is too long; `NotRegular` or `Io`. The file is then as it was, or, if only the last sync failed, the new
    /// one.
    pub fn update(
        &self,
        wait: &mut dyn FnMut() -> bool,
        merge: impl FnOnce(Option<State>) -> Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let dir = retry(|| self.disk.open_dir(&self.dir, true))
            .map_err(path_error("open", self.dir.clone()))?;
        let _lock = self.lock(&dir, wait)?;
        let old = match self.read(&dir) {
            Err(error @ StorageError::Damaged { .. }) => {
                tracing::warn!(%error, "begun anew");
                None
            }
            other => other?,
        };
        let Some(bytes) = merge(old) else {
            return Ok(());
        };
        if bytes.len() > STATE_MAX {
            return Err(StorageError::Rule {
                path: self.path(),
                rule: "the state is too long to be kept",
            });
        }
        self.replace(&dir, &self.encode(&bytes))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// Takes the lock, which is on a file of its own that stays: the state file is another one after each update.
    fn lock(&self, dir: &D::Dir, wait: &mut dyn FnMut() -> bool) -> Result<D::File, StorageError> {
        let name = format!("{}.lock", self.name);
        let path = self.dir.join(&name);
        let error = |doing| path_error(doing, path.clone());
        for _ in 0..RACES_MAX {
            let lock = open_regular(&self.disk, dir, &self.dir, &name)?;
            while !retry(|| self.disk.try_lock(&lock.file)).map_err(error("lock"))? {
                if !wait() {
                    return Err(StorageError::Locked { path });
                }
            }
            // Somebody may have tidied up meanwhile: then the others lock another file.
            let now = look(&self.disk, dir, &name).map_err(error("look at"))?;
            if now.is_some_and(|now| now.id == lock.stat.id) {
                return Ok(lock.file);
            }
        }
        Err(StorageError::Replaced { path })
    }

    fn read(&self, dir: &D::Dir) -> Result<Option<State>, StorageError> {
        let error = |doing| path_error(doing, self.path());
        let Some(seen) = look(&self.disk, dir, &self.name).map_err(error("look at"))? else {
            return Ok(None);
        };
        // Looked at before it is opened: opening a device can do things.
        require_regular(seen.kind, self.path())?;
        let file =
            retry(|| self.disk.open(dir, &self.name, Open::Existing)).map_err(error("open"))?;
        let stat = retry(|| self.disk.stat(&file)).map_err(error("look at"))?;
        require_regular(stat.kind, self.path())?;
        let len = usize::try_from(stat.len)
            .ok()
            .filter(|len| *len <= HEADER + STATE_MAX)
            .ok_or_else(|| self.damaged())?;
        let mut bytes = vec![0; len];
        let came = read_full(&self.disk, &file, 0, &mut bytes).map_err(error("read"))?;
        bytes.truncate(came);
        self.decode(bytes).map(Some)
    }

    /// Writes a sibling, syncs it, and gives it the name.
    fn replace(&self, dir: &D::Dir, bytes: &[u8]) -> Result<(), StorageError> {
        let name = format!("{}.new", self.name);
        let path = self.dir.join(&name);
        let error = |doing| path_error(doing, path.clone());
        if let Some(stat) = look(&self.disk, dir, &self.name).map_err(error("look at"))? {
            require_regular(stat.kind, self.path())?;
        }
        // What another process left when it was killed. Whatever it is, it is removed and not written through.
        if look(&self.disk, dir, &name)
            .map_err(error("look at"))?
            .is_some()
        {
            retry(|| self.disk.unlink(dir, &name)).map_err(error("remove"))?;
        }
        let file =
            retry(|| self.disk.open(dir, &name, Open::New(PRIVATE))).map_err(error("create"))?;
        let written = write_all(&self.disk, &file, 0, bytes)
            .map_err(error("write"))
            .and_then(|()| retry(|| self.disk.sync(&file)).map_err(error("sync")))
            .and_then(|()| {
                retry(|| self.disk.rename(dir, &name, &self.name, Onto::Any))
                    .map_err(path_error("replace", self.path()))
            });
        if written.is_err() {
            // It is in nobody's way: the next update removes it.
            retry(|| self.disk.unlink(dir, &name)).ok();
            return written;
        }
        retry(|| self.disk.sync_dir(dir)).map_err(path_error("sync", self.dir.clone()))
    }

    fn encode(&self, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).expect("a state has at most 4 MiB");
        let mut out = Vec::with_capacity(HEADER + payload.len());
        out.extend_from_slice(&self.format.magic);
        out.extend_from_slice(&self.format.version.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&checksum(&out, payload).to_le_bytes());
        out.extend_from_slice(payload);
        out
    }

    fn decode(&self, mut bytes: Vec<u8>) -> Result<State, StorageError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(self.damaged());
        };
        let [
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            m6,
            m7,
            v0,
            v1,
            l0,
            l1,
            l2,
            l3,
            c0,
            c1,
            c2,
            c3,
        ] = *header;
        let magic = [m0, m1, m2, m3, m4, m5, m6, m7];
        let version = u16::from_le_bytes([v0, v1]);
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let sum = u32::from_le_bytes([c0, c1, c2, c3]);
        let payload = &bytes[HEADER..];
        if magic != self.format.magic
            || usize::try_from(len) != Ok(payload.len())
            || checksum(&header[..HEADER - 4], payload) != sum
        {
            return Err(self.damaged());
        }
        if version > self.format.version {
            return Err(StorageError::Version {
                path: self.path(),
                version,
            });
        }
        bytes.drain(..HEADER);
        Ok(State { version, bytes })
    }

    fn damaged(&self) -> StorageError {
        StorageError::Damaged { path: self.path() }
    }
}

/// CRC-32 of everything but itself.
fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(payload);
    crc.finalize()
}
