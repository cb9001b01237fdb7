//! A cache: what comes once only, what goes when there is too much, and what no crash and no other process may spoil.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tur_core::Wall;
use tur_engine::{Download, Downloader, Kind, RetryPolicy};
use tur_stream::{Cache, CacheError, Media, Options, Quota, Status, Usage};
use tur_testkit::{Behaviour, Deed, Gate, Loopback, TODAY, When};

use crate::stand::{HALF, KIB, SIZE, assert_next, range, wait_for_word};

const PATHS: [&str; 4] = ["/a", "/b", "/c", "/d"];
/// For the process that holds an asset.
const URL: &str = "TUR_TEST_CACHE_URL";
const DIR: &str = "TUR_TEST_CACHE_DIR";

pub(crate) fn dated() -> Behaviour {
    Behaviour::new(SIZE).last_modified(Some(TODAY))
}

pub(crate) fn room_for(assets: u64) -> Quota {
    Quota {
        assets,
        bytes: u64::MAX,
    }
}

pub(crate) struct Shelf {
    pub(crate) origin: Loopback,
    downloader: Downloader,
    dir: TempDir,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self {
            origin: Loopback::start(PATHS.map(|path| (path, dated()))),
            downloader: Downloader::builder().build().expect("a downloader"),
            dir: TempDir::new().expect("a directory"),
        }
    }

    pub(crate) fn cache(&self, quota: Quota) -> Cache {
        Cache::at(self.dir.path(), quota).expect("a cache")
    }

    pub(crate) fn download(&self, path: &str) -> Download {
        let quick = RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        let download = self.downloader.download(&self.origin.url(path));
        download.retry(quick).lanes(4)
    }

    pub(crate) fn open(&self, cache: &Cache, path: &str) -> Media {
        let media = cache.of(self.download(path), Options::new());
        media.expect("it has a place")
    }

    /// Opens it, reads all of it, and says what that cost the origin, in bytes of bodies. It counts as opened so many seconds
    /// after the beginning of time.
    pub(crate) fn read(&self, cache: &Cache, path: &str, version: u8, second: u64) -> u64 {
        let before = self.origin.bytes_sent();
        let media = self.open(cache, path);
        self.opened_at(path, second);
        assert_next(&mut media.reader(), version, range(0, SIZE));
        media.wait_committed().expect("it is complete");
        drop(media);
        self.origin.bytes_sent() - before
    }

    pub(crate) fn sub(&self, path: &str) -> PathBuf {
        let name = self.download(path).url_digest().expect("a URL");
        self.dir.path().join(name)
    }

    fn opened_at(&self, path: &str, second: u64) {
        let pin = File::options().write(true).open(self.sub(path).join("pin"));
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let set = pin.expect("a pin").set_modified(then);
        set.expect("its time is set");
    }

    /// Which are there.
    fn kept(&self) -> Vec<&'static str> {
        let mut kept = PATHS.to_vec();
        kept.retain(|path| self.sub(path).exists());
        kept
    }

    fn usage(&self) -> Usage {
        self.cache(room_for(u64::MAX))
            .trim()
            .expect("it is looked at")
    }

    /// One that has come by half and was let go of.
    pub(crate) fn leave_half(&self, cache: &Cache, path: &str) {
        self.origin
            .swap(path, dated().rule(When::Always, Deed::Hold(Gate::at(HALF))));
        let media = self.open(cache, path);
        assert_next(&mut media.reader(), 0, range(0, HALF));
        media.cancel();
        media.wait_committed().expect_err("it is cancelled");
        self.origin.swap(path, dated());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a crash, or a user, leaves it so"
)]
pub(crate) fn put(path: PathBuf, bytes: &[u8]) {
    fs::write(path, bytes).expect("it is written");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a crash, or a user, leaves it so"
)]
pub(crate) fn lose(path: PathBuf) {
    fs::remove_file(path).expect("it is there");
}

#[test]
fn what_was_read_once_costs_a_byte() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(2));
    assert_eq!(shelf.read(&cache, "/a", 0, 1), SIZE);
    // So does another one of the directory, and another program.
    let other = Downloader::builder().build().expect("a downloader");
    for cache in [cache, shelf.cache(room_for(2))] {
        assert!(shelf.read(&cache, "/a", 0, 2) <= 1);
        let before = shelf.origin.bytes_sent();
        let media = cache.open(&other, &shelf.origin.url("/a"), Options::new());
        let media = media.expect("it has a place");
        assert_next(&mut media.reader(), 0, range(0, SIZE));
        assert!(shelf.origin.bytes_sent() <= before + 1);
    }
    assert_eq!(shelf.usage().assets, 1);
}

#[test]
fn too_many_are_removed_from_the_least_recently_opened_on() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(2));
    shelf.read(&cache, "/a", 0, 1);
    shelf.read(&cache, "/b", 0, 2);
    assert!(shelf.read(&cache, "/a", 0, 3) <= 1, "it is opened again");
    assert_eq!(shelf.kept(), ["/a", "/b"]);
    shelf.read(&cache, "/c", 0, 4);
    assert_eq!(shelf.kept(), ["/a", "/c"]);
    assert!(shelf.read(&cache, "/a", 0, 5) <= 1);
    assert_eq!(shelf.read(&cache, "/b", 0, 6), SIZE);
    assert_eq!(shelf.kept(), ["/a", "/b"]);
}

#[test]
fn too_many_bytes_are_removed_from_the_least_recently_opened_on() {
    let shelf = Shelf::new();
    let all = shelf.cache(room_for(u64::MAX));
    for (path, second) in PATHS.into_iter().zip(1..) {
        shelf.read(&all, path, 0, second);
    }
    let Usage { assets: 4, bytes } = shelf.usage() else {
        panic!("there are four");
    };
    assert!((4 * SIZE..5 * SIZE).contains(&bytes), "{bytes}");
    let less = Quota {
        assets: u64::MAX,
        bytes: bytes * 2 / 3,
    };
    let left = shelf.cache(less).trim().expect("it is trimmed");
    assert!(left.assets == 2 && left.bytes <= less.bytes, "{left:?}");
    assert_eq!(left, shelf.usage());
    assert_eq!(shelf.kept(), ["/c", "/d"]);
    // What is too large for the whole cache goes when it is closed, and not while it is read.
    let nothing = shelf.cache(Quota {
        assets: u64::MAX,
        bytes: 0,
    });
    assert_eq!(shelf.read(&nothing, "/a", 0, 5), SIZE);
    assert_eq!(shelf.usage(), Usage::default());
}

#[test]
fn what_is_open_stays() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(1));
    let media = shelf.open(&cache, "/a");
    let mut reader = media.reader();
    shelf.opened_at("/a", 1);
    media.wait_committed().expect("it is complete");
    // The reader alone keeps it.
    drop(media);
    assert_eq!(shelf.read(&cache, "/b", 0, 2), SIZE);
    assert_eq!(shelf.kept(), ["/a"], "what could go has gone");
    assert_next(&mut reader, 0, range(0, SIZE));
    // Two are open: both stay, and the older goes when both are closed.
    let other = shelf.open(&cache, "/b");
    other.wait_committed().expect("it is complete");
    assert_eq!(cache.trim().expect("it is trimmed").assets, 2);
    drop((reader, other));
    assert_eq!(shelf.kept(), ["/b"]);
}

/// Not a test: the other process of [`what_another_process_has_open_stays`].
#[test]
fn holds_an_asset() {
    let (Ok(url), Ok(dir)) = (std::env::var(URL), std::env::var(DIR)) else {
        return;
    };
    let downloader = Downloader::builder().build().expect("a downloader");
    let cache = Cache::at(dir, room_for(1)).expect("a cache");
    let media = cache.open(&downloader, &url, Options::new());
    let media = media.expect("it has a place");
    assert_next(&mut media.reader(), 0, range(0, SIZE));
    media.wait_committed().expect("it is complete");
    println!("it is held");
    io::stdin().read_to_end(&mut Vec::new()).expect("it waits");
}

fn holder(shelf: &Shelf, path: &str) -> Child {
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this)
        .args(["holds_an_asset", "--nocapture"])
        .env(URL, shelf.origin.url(path))
        .env(DIR, shelf.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let out = child.stdout.as_mut().expect("a pipe");
    wait_for_word(out, "it is held");
    child
}

#[test]
fn what_another_process_has_open_stays() {
    let shelf = Shelf::new();
    let mut child = holder(&shelf, "/a");
    shelf.opened_at("/a", 1);
    let cache = shelf.cache(room_for(1));
    assert_eq!(shelf.read(&cache, "/b", 0, 2), SIZE);
    assert_eq!(shelf.kept(), ["/a"]);
    assert!(shelf.read(&cache, "/a", 0, 3) <= 1, "it is read by both");
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    assert_eq!(shelf.read(&cache, "/b", 0, 4), SIZE);
    assert_eq!(shelf.kept(), ["/b"], "what a killed process held goes too");
}

#[test]
fn a_part_is_gone_on_with() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(2));
    shelf.leave_half(&cache, "/a");
    assert!(shelf.sub("/a").join("asset.part").exists());
    assert!(!shelf.sub("/a").join("asset").exists());
    let cost = shelf.read(&cache, "/a", 0, 1);
    assert!(cost <= SIZE - HALF + 128 * KIB, "{cost}");
    assert!(shelf.read(&cache, "/a", 0, 2) <= 1);
}

#[test]
fn what_has_changed_is_fetched_anew() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(2));
    let later = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);
    let changed = || Behaviour::new(SIZE).version(1).last_modified(Some(later));
    shelf.read(&cache, "/a", 0, 1);
    shelf.leave_half(&cache, "/b");
    for path in ["/a", "/b"] {
        shelf.origin.swap(path, changed());
        assert!(shelf.read(&cache, path, 1, 2) >= SIZE);
        assert!(shelf.read(&cache, path, 1, 3) <= 1);
    }
    // Without a date nothing says that it is the same.
    let tagged = Behaviour::new(SIZE).version(1).last_modified(None);
    shelf.origin.swap("/a", tagged);
    assert!(shelf.read(&cache, "/a", 1, 4) >= SIZE);
}

/// A second opening, while the part is written, is a second download of one file.
#[test]
fn a_part_that_is_written_is_busy_and_stays() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(0));
    let gate = Gate::at(HALF);
    shelf
        .origin
        .swap("/a", dated().rule(When::Always, Deed::Hold(gate.clone())));
    let media = shelf.open(&cache, "/a");
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, HALF));
    let other = shelf.open(&cache, "/a");
    let busy = other.wait_committed().expect_err("it is busy");
    assert_eq!(busy.kind(), Kind::Busy, "{busy}");
    drop(other);
    assert_eq!(shelf.kept(), ["/a"]);
    gate.open();
    assert_next(&mut reader, 0, range(HALF, SIZE));
    assert!(media.wait_committed().is_ok());
    assert!(matches!(media.status(), Status::Committed { len: SIZE }));
    drop((media, reader));
    assert_eq!(shelf.kept(), [""; 0]);
}

/// What is closed as soon as it was read is put in place, or left in order, before it is read again.
#[test]
fn what_is_closed_and_opened_again_at_once_is_never_busy() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(u64::MAX));
    for (n, size) in [10_000, SIZE].into_iter().cycle().take(40).enumerate() {
        let path = format!("/a?{n}");
        let behaviour = Behaviour::new(size).last_modified(Some(TODAY));
        shelf.origin.swap(&path, behaviour);
        for _ in 0..3 {
            let media = shelf.open(&cache, &path);
            let mut reader = media.reader();
            drop(media);
            assert_next(&mut reader, 0, range(0, size));
        }
        shelf
            .open(&cache, &path)
            .wait_committed()
            .expect("it is there");
    }
}

/// Every state that a process leaves which is killed while it makes or removes an asset.
#[test]
fn what_was_half_removed_is_never_taken_for_whole() {
    let shelf = Shelf::new();
    let all = shelf.cache(room_for(u64::MAX));
    let kept = |shelf: &Shelf| -> Vec<_> {
        let entries = fs::read_dir(shelf.sub("/a")).expect("it is there");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.collect()
    };
    for lost in [
        &["asset.part"][..],
        &["asset.part", "asset.tur"],
        &["asset.part", "asset.tur", "pin"],
        &["pin"],
    ] {
        shelf.leave_half(&all, "/a");
        for name in lost {
            lose(shelf.sub("/a").join(name));
        }
        let cost = shelf.read(&all, "/a", 0, 1);
        assert!(cost >= SIZE - HALF, "{cost}");
        let mut names = kept(&shelf);
        names.sort();
        assert_eq!(names, ["asset", "pin"]);
        let none = shelf.cache(room_for(0));
        assert_eq!(none.trim().expect("it is trimmed"), Usage::default());
        assert!(!shelf.sub("/a").exists());
    }
    // The file is gone, and what is locked is there.
    shelf.read(&all, "/a", 0, 1);
    lose(shelf.sub("/a").join("asset"));
    assert_eq!(shelf.read(&all, "/a", 0, 2), SIZE);
    // What nobody comes back to goes before all others.
    shelf.leave_half(&all, "/b");
    lose(shelf.sub("/b").join("pin"));
    fs::create_dir(shelf.sub("/c")).expect("it is made");
    shelf.read(&shelf.cache(room_for(1)), "/a", 0, 3);
    assert_eq!(shelf.kept(), ["/a"]);
}

#[test]
fn what_is_not_the_caches_is_not_touched() {
    let shelf = Shelf::new();
    let root = shelf.dir.path();
    let hex = "ab".repeat(32);
    put(root.join("notes.txt"), b"mine");
    put(root.join("cd".repeat(32)), b"mine");
    for dir in ["films", &hex, &"AB".repeat(32), &format!("{hex}.old")] {
        fs::create_dir(root.join(dir)).expect("it is made");
        put(root.join(dir).join("film"), b"mine");
    }
    let others = TempDir::new().expect("a directory");
    put(others.path().join("asset"), b"mine");
    let link = root.join("ef".repeat(32));
    std::os::unix::fs::symlink(others.path(), &link).expect("it is made");
    // A file that somebody put beside an asset stays, and the asset goes.
    let cache = shelf.cache(room_for(0));
    let media = shelf.open(&cache, "/a");
    media.wait_committed().expect("it is complete");
    put(shelf.sub("/a").join("assets"), b"mine");
    drop(media);
    assert_eq!(cache.trim().expect("it is trimmed"), Usage::default());
    for path in [
        "notes.txt".to_owned(),
        "cd".repeat(32),
        "films/film".to_owned(),
        format!("{hex}/film"),
        format!("{}/film", "AB".repeat(32)),
        format!("{hex}.old/film"),
        format!("{}/asset", "ef".repeat(32)),
    ] {
        #[expect(clippy::disallowed_methods, reason = "a user looks at it")]
        let have = fs::read(root.join(&path)).expect("it is there");
        assert_eq!(have, b"mine", "{path}");
    }
    let beside = fs::read_dir(shelf.sub("/a")).expect("it is there");
    assert_eq!(beside.count(), 1);
    assert_eq!(shelf.usage(), Usage::default(), "nor is it counted");
    // What stands in the way of an asset is an error that says so.
    put(shelf.sub("/b"), b"mine");
    let error = cache.of(shelf.download("/b"), Options::new());
    assert!(matches!(error, Err(CacheError::Foreign { .. })));
}

/// A pin that is none makes one asset unusable, and the rest of the cache goes on.
#[test]
fn what_cannot_be_removed_is_told_and_keeps_nothing_else() {
    let shelf = Shelf::new();
    let wrong = shelf.dir.path().join("00".repeat(32));
    for dir in [&wrong, &wrong.join("pin")] {
        fs::create_dir(dir).expect("it is made");
    }
    put(wrong.join("asset"), b"half");
    let cache = shelf.cache(room_for(1));
    shelf.read(&cache, "/a", 0, 1);
    shelf.read(&cache, "/b", 0, 2);
    assert_eq!(shelf.kept(), [""; 0], "there is no room beside it");
    assert_eq!(cache.trim().expect("it fits").assets, 1);
    let error = shelf.cache(room_for(0)).trim();
    assert!(matches!(error, Err(CacheError::Foreign { .. })));
}

#[test]
fn names_show_nothing_of_a_url_and_secrets_make_no_other_asset() {
    use std::os::unix::fs::PermissionsExt as _;
    let shelf = Shelf::new();
    shelf.origin.swap("/a?token=s3cret", dated());
    let cache = shelf.cache(room_for(5));
    let signed = shelf.origin.url("/a?token=s3cret");
    let known = signed.replace("http://", "http://user:passw0rd@") + "#part";
    for url in [&signed, &known] {
        let media = cache.open(&shelf.downloader, url, Options::new());
        let media = media.expect("it has a place");
        assert_next(&mut media.reader(), 0, range(0, SIZE));
        media.wait_committed().expect("it is complete");
    }
    assert_eq!(shelf.usage().assets, 1, "they are one URL");
    let names = |dir: PathBuf| {
        let entries = fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry"))
    };
    for entry in names(shelf.dir.path().to_owned()) {
        let name = entry.file_name().into_string().expect("plain");
        assert!(name.len() == 64 && name.chars().all(|c| c.is_ascii_hexdigit()));
        let mode = entry.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else looks inside");
        for inside in names(entry.path()) {
            let name = inside.file_name();
            assert!(name == "asset" || name == "pin", "{name:?}");
        }
    }
    let wrong = cache.open(&shelf.downloader, "ftp://x/s3cret", Options::new());
    assert!(matches!(wrong, Err(CacheError::Url(_))));
}

/// Opened, read, closed and removed at once, by several who know nothing of each other.
#[test]
fn those_who_open_and_those_who_remove_do_not_harm_each_other() {
    const SHORT: u64 = 10_000;
    let shelf = Shelf::new();
    for path in PATHS {
        let behaviour = Behaviour::new(SHORT).last_modified(Some(TODAY));
        shelf.origin.swap(path, behaviour);
    }
    let read_many = |first: usize| {
        let cache = shelf.cache(room_for(1));
        let downloader = Downloader::builder().build().expect("a downloader");
        let mut came = 0;
        for n in first..first + 40 {
            let url = shelf.origin.url(PATHS[n % 3]);
            let media = cache.open(&downloader, &url, Options::new());
            let media = media.expect("it has a place");
            match media.wait_committed() {
                Ok(()) => {
                    assert_next(&mut media.reader(), 0, range(0, SHORT));
                    came += 1;
                }
                Err(error) => assert_eq!(error.kind(), Kind::Busy, "{error}"),
            }
        }
        came
    };
    std::thread::scope(|scope| {
        let read_many = &read_many;
        let readers = [0, 1, 2].map(|first| scope.spawn(move || read_many(first)));
        let came: Vec<u32> = readers.map(|it| it.join().expect("it ends")).into();
        assert!(came.iter().sum::<u32>() > 0, "{came:?}");
    });
    let left = shelf.cache(room_for(0)).trim().expect("it is trimmed");
    assert_eq!(left, Usage::default());
}
