//! What every test here needs: an origin, a downloader, a directory, and readers that are held to the truth.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use tur_core::ByteRange;
use tur_engine::{Download, Downloader, Error, RetryPolicy, StorageKind};
use tur_stream::{Media, Options, ReadError, Reader};
use tur_testkit::{Behaviour, Deed, Framing, Gate, Loopback, Ranges, When, content};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const PATH: &str = "/file.bin";
pub(crate) const NAME: &str = "file.bin";
/// Of many scenarios.
pub(crate) const SIZE: u64 = 1_024_000;
pub(crate) const HALF: u64 = 512_000;

/// No test comes near it on any machine that works.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Stand {
    pub(crate) origin: Loopback,
    pub(crate) downloader: Downloader,
    pub(crate) dir: TempDir,
}

impl Stand {
    pub(crate) fn new(behaviour: Behaviour) -> Self {
        Self::on(StorageKind::default(), behaviour)
    }

    pub(crate) fn on(storage: StorageKind, behaviour: Behaviour) -> Self {
        let downloader = Downloader::builder().storage(storage).build();
        Self {
            origin: Loopback::start([(PATH, behaviour)]),
            downloader: downloader.expect("a downloader"),
            dir: TempDir::new().expect("a directory"),
        }
    }

    /// A download that waits for nothing but the origin.
    pub(crate) fn download(&self) -> Download {
        let quick = RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        self.downloader
            .download(&self.origin.url(PATH))
            .retry(quick)
    }

    pub(crate) fn options(&self) -> Options {
        Options::new().dir(self.dir.path()).file(NAME)
    }

    pub(crate) fn media(&self) -> Media {
        Media::of(self.download().lanes(4), self.options())
    }

    /// One lane and no other.
    pub(crate) fn single(&self) -> Media {
        Media::of(self.download().lanes(1), self.options())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("a plain name"))
            .collect();
        names.sort();
        names
    }

    /// Where each request began, in order.
    pub(crate) fn starts(&self) -> Vec<u64> {
        let seen = self.origin.seen();
        seen.iter()
            .map(|seen| seen.range.map_or(0, |range| range.start))
            .collect()
    }

    /// The file stands alone, and every byte of it is right.
    pub(crate) fn assert_file(&self, version: u8, size: u64) {
        assert_eq!(self.names(), [NAME]);
        #[expect(
            clippy::disallowed_methods,
            reason = "tests look at files from outside"
        )]
        let have = std::fs::read(self.path()).expect("the file");
        assert!(
            have == content(version, ByteRange::new(0, size)),
            "wrong bytes"
        );
    }
}

/// As an origin that does not know how long it is sends it: in chunks, and without ranges.
pub(crate) fn lengthless(behaviour: Behaviour) -> Behaviour {
    behaviour.framing(Framing::Chunked).ranges(Ranges::Ignored)
}

/// What lies at and behind the gate waits.
pub(crate) fn held(at: u64) -> (Gate, Stand) {
    held_of(Behaviour::new(SIZE), at)
}

/// As [`held`], of a behaviour of its own.
pub(crate) fn held_of(behaviour: Behaviour, at: u64) -> (Gate, Stand) {
    let gate = Gate::at(at);
    let stand = Stand::new(behaviour.rule(When::Always, Deed::Hold(gate.clone())));
    (gate, stand)
}

/// Waits until a process has said so.
#[track_caller]
pub(crate) fn wait_for_word(out: &mut impl Read, word: &str) {
    let mut said = String::new();
    while !said.contains(word) {
        let mut piece = [0; 256];
        let came = out.read(&mut piece).expect("it says something");
        assert!(came > 0, "it ended: {said}");
        said += &String::from_utf8_lossy(&piece[..came]);
    }
}

pub(crate) fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end)
}

/// Reads exactly what stands at a range, from where the reader is.
#[track_caller]
pub(crate) fn assert_next(reader: &mut Reader, version: u8, range: ByteRange) {
    let mut have = vec![0xee; usize::try_from(range.len()).expect("short")];
    reader.read_exact(&mut have).expect("it reads");
    assert!(have == content(version, range), "wrong bytes in {range}");
}

/// Seeks, and reads exactly what stands there.
#[track_caller]
pub(crate) fn assert_at(reader: &mut Reader, version: u8, range: ByteRange) {
    let at = reader.seek(SeekFrom::Start(range.start)).expect("it seeks");
    assert_eq!(at, range.start);
    assert_next(reader, version, range);
}

/// What is inside of a reader's error.
#[track_caller]
pub(crate) fn cause(error: &std::io::Error) -> &ReadError {
    assert_ne!(
        error.kind(),
        std::io::ErrorKind::Interrupted,
        "callers would call again"
    );
    let inside = error.get_ref().expect("an error inside");
    inside.downcast_ref().expect("a typed one")
}

#[track_caller]
pub(crate) fn download_error(error: &std::io::Error) -> Error {
    match cause(error) {
        ReadError::Download(error) => error.clone(),
        other => panic!("{other}"),
    }
}

/// Runs something that may wait on a thread of its own; panics if it does not end.
pub(crate) fn aside<R: Send + 'static>(what: impl FnOnce() -> R + Send + 'static) -> Aside<R> {
    let (told, heard) = mpsc::channel();
    std::thread::spawn(move || drop(told.send(what())));
    Aside(heard)
}

pub(crate) struct Aside<R>(mpsc::Receiver<R>);

impl<R> Aside<R> {
    #[track_caller]
    pub(crate) fn join(self) -> R {
        self.0.recv_timeout(LIMIT).expect("it ends")
    }

    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.0.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}
