//! Which file is which URL's: one that this downloader has made or found complete is not taken for another URL's only because
//! length and date agree. Which parts are read although their download has failed: the next one takes them over. And who works
//! on which file now.
//!
//! Read [`Filed`]. Files that are made together often have one date, and often one length; and items of a list often have one
//! name. A file is known by what it is, however its directory is spelled, and by its path besides: some file systems number
//! their files anew when they have not been looked at for a while.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tur_storage::{FileId, Stay};

use crate::handle::Wish;
use crate::reading::Core;
use crate::tenants::{Tenants, Tenure};

/// Files and paths that are remembered; the oldest make room. 8 MiB.
const KEYS_MAX: usize = 131_072;

/// The files of a downloader, by their paths. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Paths and URLs are kept as numbers that nobody outside can aim at.
    state: RandomState,
    files: Mutex<Files>,
    /// Readers of downloads that have ended without their file, by its path, as long as there are any.
    left: Mutex<Vec<(PathBuf, Weak<Core>)>>,
    tenants: Tenants,
}

#[derive(Debug, Default)]
struct Files {
    sources: BTreeMap<u64, u64>,
    order: VecDeque<u64>,
}

impl Filed {
    /// The same for files that stay; others have no path, and nothing is remembered of them.
    pub(crate) fn of(&self, stay: Stay) -> Self {
        match stay {
            Stay::Kept => self.clone(),
            Stay::Temporary | Stay::Passing => Self::default(),
        }
    }

    /// This file is of this URL, whatever will be its name.
    pub(crate) fn note(&self, id: FileId, url: &str) {
        let (key, source) = (self.of_file(id), self.of_url(url));
        self.lock().put(key, source);
    }

    /// The file of this URL is at `path` now.
    pub(crate) fn put(&self, path: &Path, url: &str) {
        let (key, source) = (self.of_path(path), self.of_url(url));
        self.lock().put(key, source);
    }

    /// The file at `path` seems to be that of this URL: it is from here on, unless it is known to be that of another. False
    /// then.
    pub(crate) fn claim(&self, path: &Path, id: FileId, url: &str) -> bool {
        let (keys, source) = ([self.of_path(path), self.of_file(id)], self.of_url(url));
        let mut files = self.lock();
        let free = keys.iter().all(|key| files.is_free(*key, source));
        if free {
            keys.into_iter().for_each(|key| files.put(key, source));
        }
        free
    }

    /// True if the file at `path` is known to be that of another URL.
    pub(crate) fn is_of_another(&self, path: &Path, id: FileId, url: &str) -> bool {
        let (keys, source) = ([self.of_path(path), self.of_file(id)], self.of_url(url));
        let files = self.lock();
        !keys.into_iter().all(|key| files.is_free(key, source))
    }

    /// A download begins that works on the file at `path`.
    pub(crate) fn enter(&self, path: PathBuf, wishes: watch::Receiver<Wish>) -> Tenure {
        self.0.tenants.enter(path, wishes)
    }

    /// The part of the file at `path` is left as it is, and may be read on.
    pub(crate) fn leave(&self, path: PathBuf, readers: &Arc<Core>) {
        let mut left = self.left();
        left.retain(|(_, readers)| readers.strong_count() > 0);
        left.push((path, Arc::downgrade(readers)));
    }

    /// True if somebody reads the part of the file at `path` still, of a download that failed.
    pub(crate) fn is_read(&self, path: &Path) -> bool {
        let of_path =
            |(left, readers): &(PathBuf, Weak<Core>)| left == path && readers.strong_count() > 0;
        self.left().iter().any(of_path)
    }

    /// The part of the file at `path` is wanted: whoever reads it still reads it no more. Returns who may be about to.
    pub(crate) fn take_over(&self, path: &Path) -> Vec<Arc<Core>> {
        let of_path = |(left, readers): &(PathBuf, Weak<Core>)| {
            let readers = readers.upgrade().filter(|_| left == path)?;
            readers.give_up();
            Some(readers)
        };
        self.left().iter().filter_map(of_path).collect()
    }

    fn of_path(&self, path: &Path) -> u64 {
        self.0.state.hash_one(path)
    }

    fn of_file(&self, id: FileId) -> u64 {
        self.0.state.hash_one((id.dev, id.ino))
    }

    fn of_url(&self, url: &str) -> u64 {
        self.0.state.hash_one(url)
    }

    fn left(&self) -> MutexGuard<'_, Vec<(PathBuf, Weak<Core>)>> {
        // Each step leaves it whole.
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // A file that is in one of the two and not in the other costs its room.
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn put(&mut self, key: u64, source: u64) {
        if self.sources.insert(key, source).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.sources.remove(&oldest);
        }
    }

    /// True if nothing is known of it, or that it is of this source.
    fn is_free(&self, key: u64, source: u64) -> bool {
        self.sources.get(&key).is_none_or(|known| *known == source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_taken_over_from_its_readers_as_long_as_there_are_any() {
        let filed = Filed::default();
        let (a, b) = (Path::new("a"), Path::new("b"));
        let (one, other) = (Core::new(), Core::new());
        filed.leave(a.to_owned(), &one);
        assert!(filed.is_read(a) && !filed.is_read(b));
        filed.leave(b.to_owned(), &other);
        assert!(matches!(&*filed.take_over(a), [readers] if Arc::ptr_eq(readers, &one)));
        drop(one);
        assert!(!filed.is_read(a));
        assert!(filed.take_over(a).is_empty());
        filed.leave(b.to_owned(), &other);
        assert_eq!(filed.left().len(), 2, "whoever is gone is forgotten");
    }

    #[test]
    fn a_file_is_one_urls_by_whatever_name_it_is_found() {
        let filed = Filed::default();
        let id = |ino| FileId { dev: 1, ino };
        let [here, there, third] = ["o/f", "/x/o/f", "g"].map(Path::new);
        assert!(filed.claim(here, id(1), "a"));
        assert!(filed.claim(there, id(1), "a"), "its own");
        for (path, id, free) in [
            (there, id(1), false),
            (third, id(1), false),
            // The number may be another one by now.
            (here, id(2), false),
            (third, id(2), true),
        ] {
            assert_eq!(filed.is_of_another(path, id, "b"), !free);
            assert_eq!(filed.claim(path, id, "b"), free);
        }
        // Before it has a name, and when it is replaced.
        filed.note(id(3), "c");
        assert!(!filed.claim(Path::new("h"), id(3), "a"));
        filed.note(id(3), "a");
        assert!(filed.claim(Path::new("h"), id(3), "a"));
    }

    #[test]
    fn the_oldest_make_room() {
        let filed = Filed::default();
        let (path, id) = (Path::new("f"), |ino| FileId { dev: 0, ino });
        for n in 0..=KEYS_MAX as u64 {
            filed.note(id(n), "a");
            filed.note(id(n), "b");
        }
        assert!(!filed.is_of_another(path, id(0), "c"), "nothing is known");
        assert!(filed.is_of_another(path, id(1), "a"), "the latest counts");
        assert!(!filed.is_of_another(path, id(KEYS_MAX as u64), "b"));
        assert_eq!(filed.lock().order.len(), KEYS_MAX);
        assert_eq!(filed.lock().sources.len(), KEYS_MAX);
    }
}
