//! Which file this downloader has put under which name, and from where: another URL's file is not taken for it only because
//! length and date agree. Which parts are read although their download has failed: the next one takes them over. And who works
//! on which file now.
//!
//! Read [`Filed`]. Files that are made together often have one date, and often one length; and items of a list often have one
//! name.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tur_storage::Stay;

use crate::handle::Wish;
use crate::reading::Core;
use crate::tenants::{Tenants, Tenure};

/// Files that are remembered; the oldest make room. 4 MiB.
const FILES_MAX: usize = 65_536;

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

    /// The file of this URL is at `path` now.
    pub(crate) fn put(&self, path: &Path, url: &str) {
        let (path, url) = (self.0.state.hash_one(path), self.0.state.hash_one(url));
        let mut files = self.lock();
        if files.sources.insert(path, url).is_some() {
            return;
        }
        files.order.push_back(path);
        if files.order.len() > FILES_MAX
            && let Some(oldest) = files.order.pop_front()
        {
            files.sources.remove(&oldest);
        }
    }

    /// True if what was put there is the file of another URL.
    pub(crate) fn is_of_another(&self, path: &Path, url: &str) -> bool {
        let path = self.0.state.hash_one(path);
        let source = self.lock().sources.get(&path).copied();
        source.is_some_and(|source| source != self.0.state.hash_one(url))
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

    fn left(&self) -> MutexGuard<'_, Vec<(PathBuf, Weak<Core>)>> {
        // Each step leaves it whole.
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // A file that is in one of the two and not in the other costs its room.
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn the_oldest_make_room() {
        let filed = Filed::default();
        let path = |n: usize| std::path::PathBuf::from(n.to_string());
        for n in 0..=FILES_MAX {
            filed.put(&path(n), "a");
            filed.put(&path(n), "b");
        }
        assert!(!filed.is_of_another(&path(0), "c"), "nothing is known");
        assert!(filed.is_of_another(&path(1), "a"), "the latest counts");
        assert!(!filed.is_of_another(&path(FILES_MAX), "b"));
        assert_eq!(filed.lock().order.len(), FILES_MAX);
        assert_eq!(filed.lock().sources.len(), FILES_MAX);
    }
}
