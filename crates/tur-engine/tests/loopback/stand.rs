//! What every test here needs: a downloader, a directory, and a look at its files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest as _;
use tempfile::TempDir;
use tur_core::ByteRange;
use tur_engine::{Completed, Download, Downloader, Error, Event, Handle};
use tur_testkit::{Behaviour, Loopback, content};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const PATH: &str = "/file.bin";

/// No test comes near it on any machine that works.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// An origin with one file, a downloader and a directory of its own.
pub(crate) struct Stand {
    pub(crate) origin: Loopback,
    pub(crate) downloader: Downloader,
    pub(crate) dir: TempDir,
}

impl Stand {
    pub(crate) fn new(behaviour: Behaviour) -> Self {
        let downloader = Downloader::builder().build().expect("a downloader");
        Self::with(Loopback::start([(PATH, behaviour)]), downloader)
    }

    pub(crate) fn with(origin: Loopback, downloader: Downloader) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self {
            origin,
            downloader,
            dir,
        }
    }

    /// A download of the file to `file.bin`.
    pub(crate) fn download(&self) -> Download {
        self.downloader
            .download(&self.origin.url(PATH))
            .dir(self.dir.path())
            .file("file.bin")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The names in the directory, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.into_string().expect("a plain name"))
            .collect();
        names.sort();
        names
    }

    /// The file has the length and the SHA-256 of what the origin serves, and stands alone.
    pub(crate) fn assert_file(&self, version: u8, size: u64) {
        assert_eq!(self.names(), ["file.bin"]);
        assert_content(&self.path("file.bin"), version, size);
    }
}

pub(crate) fn assert_content(path: &Path, version: u8, size: u64) {
    let have = read(path);
    let meant = content(version, ByteRange::new(0, size));
    assert_eq!(have.len(), meant.len());
    assert_eq!(sha2::Sha256::digest(&have), sha2::Sha256::digest(&meant));
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside, not through the engine's own port"
)]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the file is there")
}

/// The outcome; panics if it does not come.
pub(crate) async fn outcome(handle: &mut Handle) -> Result<Completed, Error> {
    tokio::time::timeout(LIMIT, handle.wait())
        .await
        .expect("a download ends")
}

/// All events from the beginning, once the download is over.
pub(crate) async fn events_of(handle: &mut Handle) -> (Vec<Event>, Result<Completed, Error>) {
    let mut stream = handle.events();
    let result = outcome(handle).await;
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    (events, result)
}
