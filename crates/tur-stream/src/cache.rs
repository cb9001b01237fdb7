//! What was read is kept for the next time, within bounds: [`Cache`].
//!
//! Read [`Cache`], then `asset.rs`: one sub-directory, the lock that keeps it, and how it is removed. There is no index: what
//! stands in the directory is the truth, so that a crash leaves nothing that contradicts it.

mod asset;
mod error;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tur_engine::{Download, Downloader, OnExists};

use self::asset::{Asset, Pin};
pub use self::error::CacheError;
use crate::{Media, Options, Place};

/// How much a [`Cache`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Most assets: files, complete or not.
    pub assets: u64,
    /// Most bytes on the disk: what the file system has allocated, of parts and journals too, and for a complete file its length
    /// at least.
    pub bytes: u64,
}

/// How much a [`Cache`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Assets: files, complete or not.
    pub assets: u64,
    /// Bytes on the disk, as [`Quota::bytes`] counts them.
    pub bytes: u64,
}

/// A directory that keeps what was read, and removes what was opened least recently when there is more than its [`Quota`]. Cheap
/// to clone; any number of them, in any number of processes, may be of one directory.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Read;
/// use tur_engine::Downloader;
/// use tur_stream::{Cache, Options, Quota};
///
/// let downloader = Downloader::builder().build()?;
/// let quota = Quota { assets: 200, bytes: 4 << 30 };
/// let cache = Cache::at("/var/cache/player", quota)?;
/// let song = cache.open(&downloader, "https://example.org/song.flac", Options::new())?;
/// let mut bytes = Vec::new();
/// song.reader().read_to_end(&mut bytes)?; // The next time this costs a byte.
/// # Ok(())
/// # }
/// ```
///
/// **What is kept.** Each URL, without userinfo and fragment, has a sub-directory called by its SHA-256, readable by its owner
/// alone, with the file or with its part and journal. A part is gone on with; what cannot be, such as one without its journal, is
/// thrown away when it is opened, and comes again. A complete file is asked for at each opening, at the cost of one byte at most:
/// if its length and its `Last-Modified` are the same it is read from here, else it is fetched anew, and bytes of the two are
/// never joined. One for which the origin tells no `Last-Modified` is fetched anew each time: an entity tag is not kept with a
/// complete file. What differs by credentials or request fields alone is one asset, so a cache should be of one user. Without the
/// origin nothing of it is read.
///
/// **What goes.** The quota is looked at when an asset is opened, before its length is known, and when it is closed. Assets that are
/// open in any process are never removed, so that the quota may be exceeded while they are: by what arrives, and by
/// their number. What crashed processes left goes in its turn. Of one that is closed before it is complete the part is
/// in use for some moments more, and stays until the quota is looked at again. Other files and directories in there are
/// not touched, and not counted.
///
/// **Twice at once.** Two openings of one URL behave as two downloads of one file do: while its part is written, the second fails
/// with kind [`Busy`](tur_engine::Kind::Busy). Clone the [`Media`] instead. One that is closed before that keeps the part for some
/// moments: the next one of the same [`Downloader`] waits for it. A complete file is open any number of times.
#[derive(Clone, Debug)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    quota: Quota,
}

/// Entries of the directory that are looked at in one go; what stands behind them is neither counted nor removed then.
const ENTRIES_MAX: usize = 65_536;

impl Cache {
    /// The cache in `dir`, which is made if it is missing, with its parents.
    ///
    /// # Errors
    /// [`CacheError::Disk`] if the directory cannot be made.
    pub fn at(dir: impl AsRef<Path>, quota: Quota) -> Result<Self, CacheError> {
        let dir = dir.as_ref();
        // So that it stays where it is when the process goes elsewhere.
        let dir = std::path::absolute(dir).map_err(CacheError::disk("find", dir))?;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(CacheError::disk("make", &dir))?;
        Ok(Self {
            shared: Arc::new(Shared { dir, quota }),
        })
    }

    /// As [`Media::open`], from here as far as it is here. Of `options`, place, directory and file are the cache's. It looks at
    /// the directory on this thread, and so does whoever lets go of the last clone or reader.
    ///
    /// # Errors
    /// Why the asset has no place here. What comes later is told by the media.
    pub fn open(
        &self,
        downloader: &Downloader,
        url: &str,
        options: Options,
    ) -> Result<Media, CacheError> {
        self.of(downloader.download(url), options)
    }

    /// As [`open`](Self::open), of a download with settings of its own. What it says about its place, about a file that exists
    /// and about the file's time is the cache's.
    ///
    /// # Errors
    /// As `open`.
    pub fn of(&self, download: Download, options: Options) -> Result<Media, CacheError> {
        let name = download.url_digest().map_err(CacheError::Url)?;
        let pin = Pin::take(self.shared.dir.join(name))?;
        let options = options
            .place(Place::File)
            .dir(pin.dir())
            .file(asset::FILE_NAME);
        // The time is what a complete file is known by.
        let download = download
            .on_exists(OnExists::Overwrite)
            .keep_remote_time(true);
        let pinned = Pinned {
            pin: Some(pin),
            cache: self.clone(),
        };
        pinned.tidy();
        Ok(Media::pinned(download, &options, pinned))
    }

    /// Removes what the quota has no room for, least recently opened first, and says what is left. It happens by itself when
    /// assets are opened and closed; this is for who wants to know, or wants it now.
    ///
    /// # Errors
    /// [`CacheError::Disk`] with the first thing that could not be looked at or removed; the others were all the same.
    pub fn trim(&self) -> Result<Usage, CacheError> {
        let (mut assets, mut failed) = self.assets()?;
        assets.sort_by(|a, b| a.age().cmp(&b.age()));
        let mut usage = Usage {
            assets: assets.len() as u64,
            bytes: assets.iter().map(Asset::bytes).sum(),
        };
        let quota = self.shared.quota;
        for asset in &assets {
            if usage.assets <= quota.assets && usage.bytes <= quota.bytes {
                break;
            }
            match asset.remove() {
                Ok(true) => {
                    usage.assets -= 1;
                    usage.bytes -= asset.bytes();
                }
                Ok(false) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(usage), Err)
    }

    /// All that stands here and is ours, and the first thing that could not be looked at.
    fn assets(&self) -> Result<(Vec<Asset>, Option<CacheError>), CacheError> {
        let dir = &self.shared.dir;
        let entries = fs::read_dir(dir).map_err(CacheError::disk("look at", dir))?;
        let (mut assets, mut failed) = (Vec::new(), None);
        for entry in entries.take(ENTRIES_MAX) {
            let path = entry.map_err(CacheError::disk("look at", dir))?.path();
            if !asset::is_of_our_form(&path) {
                continue;
            }
            match Asset::look(path) {
                Ok(found) => assets.extend(found),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        Ok((assets, failed))
    }
}

/// What a media of a cache holds: while it is there, the asset is not removed.
#[derive(Debug)]
pub(crate) struct Pinned {
    pin: Option<Pin>,
    cache: Cache,
}

impl Pinned {
    /// Keeps the quota as far as it can be kept now.
    fn tidy(&self) {
        // What cannot be removed is as what is pinned: it is no reason not to read, and `trim` tells it to who asks.
        self.cache.trim().ok();
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.pin = None;
        self.tidy();
    }
}
