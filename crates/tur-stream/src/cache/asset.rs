//! One asset of a cache: a sub-directory with a file, and beside it the file whose lock keeps it.
//!
//! [`Pin`] is that lock, shared by all who have the asset open; [`Asset`] is one that was found, and may be removed. To
//! remove takes the lock for itself alone. The lock is on a file and not on its name, so whoever has it looks at the name again.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use tur_engine::Downloader;

use super::CacheError;

/// The asset itself. What stands beside it while it arrives is called so too, with an ending.
pub(super) const FILE_NAME: &str = "asset";
const PART_NAME: &str = "asset.part";
/// What else a download keeps under these names, in the order in which it is thrown away: a part is nobody's without its journal.
const BESIDE: [&str; 3] = [PART_NAME, "asset.tur", "asset.tur.new"];
/// What is locked. Its time of modification is when the asset was opened last.
const PIN_NAME: &str = "pin";

/// How often the lock is asked for, and what lies between: together more than removing a large file takes.
const TRIES_MAX: u32 = 5_000;
const PAUSE: Duration = Duration::from_millis(1);
/// Entries of a sub-directory that are looked at. Ours are five at most; one that has more is somebody else's by now.
const FILES_MAX: usize = 64;
/// What `stat` counts in, whatever the file system does (stat(2)).
const SECTOR: u64 = 512;

/// True if a path is called as a sub-directory of ours is: a SHA-256 in hex.
pub(super) fn is_of_our_form(path: &Path) -> bool {
    let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes);
    name.is_some_and(|name| {
        name.len() == 64 && name.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Keeps an asset for as long as it is there, or the process.
#[derive(Debug)]
pub(super) struct Pin {
    dir: PathBuf,
    #[expect(dead_code, reason = "its lock is held for as long as it is open")]
    file: File,
}

impl Pin {
    /// Makes the asset's sub-directory if it is missing, keeps it, and notes that it was opened now. What no download could
    /// begin with is thrown away before, if nobody else has the asset open.
    pub(super) fn take(dir: PathBuf) -> Result<Self, CacheError> {
        let path = dir.join(PIN_NAME);
        let failed = |doing| CacheError::disk(doing, &path);
        for _ in 0..TRIES_MAX {
            make(&dir)?;
            let Some(file) = open_pin(&dir, Missing::Make)? else {
                continue;
            };
            if try_lock(&file).map_err(failed("lock"))? {
                if is_at(&file, &path).map_err(failed("look at"))? {
                    clear(&dir)?;
                }
                file.unlock().map_err(failed("unlock"))?;
            }
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    thread::park_timeout(PAUSE);
                    continue;
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
            }
            if is_at(&file, &path).map_err(failed("look at"))? {
                // The file system's own clock says when.
                let noted = file.write_all_at(b"\n", 0);
                noted.map_err(failed("write"))?;
                return Ok(Self { dir, file });
            }
        }
        Err(CacheError::Busy { path: dir })
    }

    /// The sub-directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// An asset that was found.
#[derive(Debug)]
pub(super) struct Asset {
    dir: PathBuf,
    /// When it was opened last. `None` if nothing says so: a process ended in the midst of making or removing it.
    opened: Option<SystemTime>,
    bytes: u64,
}

impl Asset {
    /// What stands in a sub-directory. `None` if that is not ours, or has gone.
    pub(super) fn look(dir: PathBuf) -> Result<Option<Self>, CacheError> {
        let failed = |error| CacheError::disk("look at", &dir)(error);
        if !present(fs::symlink_metadata(&dir))
            .map_err(failed)?
            .is_some_and(|found| found.is_dir())
        {
            return Ok(None);
        }
        let Some(files) = present(files(&dir)).map_err(failed)? else {
            return Ok(None);
        };
        if files.ours.is_empty() && files.others {
            return Ok(None);
        }
        let pin = files.ours.iter().find(|file| file.name == PIN_NAME);
        Ok(Some(Self {
            opened: pin.and_then(|pin| pin.found.modified().ok()),
            bytes: files.ours.iter().map(Ours::bytes).sum(),
            dir,
        }))
    }

    /// What is removed first sorts first.
    pub(super) fn age(&self) -> (Option<SystemTime>, &Path) {
        (self.opened, &self.dir)
    }

    /// What it counts for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Removes it, and says whether that was done: not if somebody has it open, or has had it open since it was looked at.
    pub(super) fn remove(&self) -> Result<bool, CacheError> {
        let failed = |error| CacheError::disk("remove", &self.dir)(error);
        // One that was there and is not is being removed by somebody else, in whose way another one would stand.
        let missing = match self.opened {
            Some(_) => Missing::Leave,
            None => Missing::Make,
        };
        let Some(pin) = open_pin(&self.dir, missing)? else {
            return Ok(true);
        };
        let path = self.dir.join(PIN_NAME);
        if !try_lock(&pin).map_err(failed)? || !is_at(&pin, &path).map_err(failed)? {
            return Ok(false);
        }
        let opened = pin.metadata().and_then(|found| found.modified());
        let opened = opened.map_err(failed)?;
        if self.opened.is_some_and(|then| then != opened) {
            return Ok(false);
        }
        let Some(_part) = take_part(&self.dir).map_err(failed)? else {
            return Ok(false);
        };
        self.unlink().map_err(failed)?;
        Ok(true)
    }

    /// In an order of which every beginning leaves what can be gone on with: the file under its name goes first, a part before
    /// the journal without which it would be somebody else's, and last what is locked.
    fn unlink(&self) -> io::Result<()> {
        let mut ours = files(&self.dir)?.ours;
        ours.sort_by_key(|file| rank(&file.name));
        for file in &ours {
            unlink(&self.dir.join(&file.name))?;
        }
        match fs::remove_dir(&self.dir) {
            // Somebody has put something there, or is about to open the asset again.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => present(other).map(|_| ()),
        }
    }
}

fn rank(name: &str) -> u8 {
    match name {
        FILE_NAME => 0,
        PIN_NAME => 3,
        journal if journal.starts_with("asset.tur") => 2,
        _ => 1,
    }
}

/// What a sub-directory holds.
#[derive(Debug, Default)]
struct Files {
    ours: Vec<Ours>,
    /// There is something else.
    others: bool,
}

/// A file that is called as ours are.
#[derive(Debug)]
struct Ours {
    name: String,
    found: Metadata,
}

impl Ours {
    /// What the file system has allocated for it. Some say that late, or compress: but what is written to its end counts by its
    /// length at least. A part may have holes.
    fn bytes(&self) -> u64 {
        let allocated = self.found.blocks().saturating_mul(SECTOR);
        if self.name == PART_NAME {
            allocated
        } else {
            allocated.max(self.found.len())
        }
    }
}

fn files(dir: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for (number, entry) in fs::read_dir(dir)?.enumerate() {
        let entry = entry?;
        if number >= FILES_MAX {
            return Ok(Files {
                ours: Vec::new(),
                others: true,
            });
        }
        // It does not follow links.
        let Some(found) = present(entry.metadata())? else {
            continue;
        };
        match entry.file_name().into_string() {
            Ok(name) if found.is_file() && is_ours(&name) => files.ours.push(Ours { name, found }),
            _ => files.others = true,
        }
    }
    Ok(files)
}

fn is_ours(name: &str) -> bool {
    let of_the_file = |name: &str| name.is_empty() || name.starts_with('.');
    name == PIN_NAME || name.strip_prefix(FILE_NAME).is_some_and(of_the_file)
}

/// Throws away what no download could begin with, such as a part without its journal: all that has these names in a sub-directory
/// of ours is the cache's own, and comes again. Only for who has the pin's lock for himself alone. Links are not followed, and of
/// directories only empty ones go. A file that is whole stays.
fn clear(dir: &Path) -> Result<(), CacheError> {
    let file = dir.join(FILE_NAME);
    // What cannot be looked at is thrown away by nobody: the download says why it cannot begin.
    let Ok(Some(_)) = Downloader::obstacle(&file) else {
        return Ok(());
    };
    let Some(_part) = take_part(dir).map_err(CacheError::disk("lock", &dir.join(PART_NAME)))?
    else {
        return Ok(());
    };
    let found = present(fs::symlink_metadata(&file)).map_err(CacheError::disk("look at", &file))?;
    if found.is_some_and(|found| !found.is_file()) {
        throw_away(file)?;
    }
    BESIDE
        .into_iter()
        .try_for_each(|name| throw_away(dir.join(name)))
}

/// Removes what has a name, if anything has.
fn throw_away(path: PathBuf) -> Result<(), CacheError> {
    let found = present(fs::symlink_metadata(&path)).map_err(CacheError::disk("look at", &path))?;
    let removed = match found {
        Some(found) if found.is_dir() => present(fs::remove_dir(&path)).map(drop),
        Some(_) => unlink(&path),
        None => Ok(()),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Err(CacheError::Foreign { path })
        }
        other => other.map_err(CacheError::disk("remove", &path)),
    }
}

fn unlink(path: &Path) -> io::Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing is downloaded here, and a lock keeps others off"
    )]
    present(fs::remove_file(path)).map(drop)
}

/// Keeps downloads off the part, if there is one, for as long as this is there. `None` if one has it: one that was let go of ends
/// in its own time, and until then the lock of its part is its own.
fn take_part(dir: &Path) -> io::Result<Option<PartLock>> {
    let part = dir.join(PART_NAME);
    let found = present(fs::symlink_metadata(&part))?;
    // To write too, as some file systems want it of who locks.
    let open = |_| OpenOptions::new().read(true).write(true).open(part);
    let part = found.filter(Metadata::is_file).map(open);
    match part.map_or(Ok(None), present)? {
        Some(part) => Ok(try_lock(&part)?.then_some(PartLock(Some(part)))),
        None => Ok(Some(PartLock(None))),
    }
}

/// The lock of a part, if there is one.
#[derive(Debug)]
struct PartLock(
    #[expect(dead_code, reason = "its lock is held for as long as it is open")] Option<File>,
);

/// Makes a sub-directory, unless it is there.
fn make(dir: &Path) -> Result<(), CacheError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.map_err(CacheError::disk("make", dir)),
    }
    let found = present(fs::symlink_metadata(dir)).map_err(CacheError::disk("look at", dir))?;
    match found {
        Some(found) if !found.is_dir() => Err(CacheError::Foreign {
            path: dir.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What to do where nothing is there to be locked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

/// Opens what is locked, or makes it. `None` if the sub-directory has gone, or if it is missing and to be left so.
fn open_pin(dir: &Path, missing: Missing) -> Result<Option<File>, CacheError> {
    let path = dir.join(PIN_NAME);
    let failed = |doing| CacheError::disk(doing, &path);
    let found = present(fs::symlink_metadata(&path)).map_err(failed("look at"))?;
    if found.is_some_and(|found| !found.is_file()) {
        return Err(CacheError::Foreign { path });
    }
    let mut how = OpenOptions::new();
    how.read(true).write(true).truncate(false);
    how.create(missing == Missing::Make);
    present(how.mode(0o600).open(&path)).map_err(failed("open"))
}

/// True if the lock is this process's, and nobody else's.
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// True if an open file is the one that has this name now.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, present(fs::symlink_metadata(path))?);
    Ok(named.is_some_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino())))
}

/// What is not there, or not any more, is no error.
fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part without its journal would be taken for somebody's file, and be in the way for ever.
    #[test]
    fn every_beginning_of_a_removal_can_be_gone_on_with() {
        let mut names = [
            "pin",
            "asset.tur.new",
            "asset.part",
            "asset.tur",
            "asset",
            "asset.bad",
        ];
        assert!(names.into_iter().all(is_ours));
        names.sort_by_key(|name| rank(name));
        assert_eq!(names[0], "asset", "what counts as whole");
        let at = |name| names.iter().position(|other| *other == name);
        assert!(at("asset.part") < at("asset.tur") && at("asset.part") < at("asset.tur.new"));
        assert_eq!(names[5], "pin", "what is locked");
        for other in ["assets", "pin.old", "", "Asset"] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn only_names_of_our_form_are_looked_at() {
        let hex = "0a".repeat(32);
        assert!(is_of_our_form(Path::new(&hex)));
        for other in [&hex[1..], &hex.to_uppercase(), &format!("{hex}0"), ".."] {
            assert!(!is_of_our_form(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_directory_that_somebody_fills_is_theirs() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("0a".repeat(32));
        let pin = Pin::take(path.clone()).expect("it is made");
        drop(pin);
        let found = Asset::look(path.clone()).expect("it is there");
        for n in 0..FILES_MAX {
            File::create_new(path.join(format!("asset.{n}"))).expect("it is made");
        }
        assert!(Asset::look(path.clone()).expect("it is there").is_none());
        assert!(found.expect("ours").remove().is_ok());
        assert_eq!(
            fs::read_dir(path).expect("it is there").count(),
            FILES_MAX + 1
        );
    }

    #[test]
    fn what_was_opened_since_it_was_looked_at_stays() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("0a".repeat(32));
        let pin = Pin::take(path.clone()).expect("it is made");
        let found = Asset::look(path.clone()).expect("it is there");
        let found = found.expect("ours");
        assert!(!found.remove().expect("it is looked at"), "it is open");
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
        drop(pin);
        let pin = open_pin(&path, Missing::Leave).expect("it opens");
        let pin = pin.expect("it is there");
        pin.set_modified(later).expect("its time is set");
        assert!(!found.remove().expect("it is looked at"), "it was opened");
        let found = Asset::look(path.clone()).expect("it is there");
        assert!(found.expect("ours").remove().expect("it is removed"));
        assert!(!path.exists());
    }

    /// Two trim at once: the second one makes no asset of what the first one is about to have removed.
    #[test]
    fn what_somebody_else_removes_is_not_made_anew() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("0a".repeat(32));
        drop(Pin::take(path.clone()).expect("it is made"));
        let found = Asset::look(path.clone()).expect("it is there");
        let found = found.expect("ours");
        let other = Asset::look(path.clone()).expect("it is there");
        other.expect("ours").unlink().expect("it is removed");
        fs::create_dir(&path).expect("as it is before its directory goes");
        assert!(found.remove().expect("it is looked at"), "it is gone");
        assert_eq!(fs::read_dir(path).expect("it is there").count(), 0);
    }

    /// Whoever keeps it while its download still ends.
    #[test]
    fn a_part_that_is_locked_stays() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("0a".repeat(32));
        drop(Pin::take(path.clone()).expect("it is made"));
        let part = File::create_new(path.join(PART_NAME)).expect("it is made");
        part.lock().expect("it is locked");
        let look = || Asset::look(path.clone()).expect("it is there");
        assert!(!look().expect("ours").remove().expect("it is looked at"));
        drop(part);
        assert!(look().expect("ours").remove().expect("it is removed"));
        assert!(look().is_none());
    }

    /// Whoever was let go of may be about to put it in order.
    #[test]
    fn a_part_without_its_journal_goes_once_nobody_has_it() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("0a".repeat(32));
        let open = || drop(Pin::take(path.clone()).expect("it has a place"));
        open();
        let part = File::create_new(path.join(PART_NAME)).expect("it is made");
        part.set_len(9).expect("it is longer");
        part.lock().expect("it is locked");
        open();
        assert!(path.join(PART_NAME).exists());
        drop(part);
        let pin = Pin::take(path.clone()).expect("it has a place");
        assert!(!path.join(PART_NAME).exists());
        // Two have it open: what is there then is theirs.
        File::create_new(path.join(PART_NAME)).expect("it is made");
        put_garbage(&path.join("asset.tur"));
        open();
        assert!(path.join(PART_NAME).exists());
        drop(pin);
        open();
        assert!(!path.join(PART_NAME).exists() && !path.join("asset.tur").exists());
    }

    fn put_garbage(path: &Path) {
        let file = File::create_new(path).expect("it is made");
        file.write_all_at(b"nothing of ours", 0)
            .expect("it is written");
    }

    /// A lock on a file that has lost its name keeps nothing.
    #[test]
    fn who_has_a_pin_keeps_what_has_the_name() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("0a".repeat(32));
        let found = || Asset::look(path.clone()).expect("it is looked at");
        let found = &found;
        thread::scope(|scope| {
            let path = path.clone();
            let pins = scope.spawn(move || {
                for _ in 0..2_000 {
                    let pin = Pin::take(path.clone()).expect("it is made");
                    let found = found().expect("it is there");
                    assert!(!found.remove().expect("it is looked at"));
                    drop(pin);
                }
            });
            while !pins.is_finished() {
                if let Some(found) = found() {
                    found.remove().expect("it is looked at");
                }
            }
        });
    }
}
