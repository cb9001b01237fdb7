//! What stands in the places of a cache and is of no use: it goes, with nothing else, and comes again.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tempfile::TempDir;
use tur_engine::Kind;
use tur_stream::{CacheError, Options};
use tur_testkit::{Deed, Gate, When};

use crate::cache::{Shelf, dated, lose, put, room_for};
use crate::stand::{HALF, SIZE, assert_next, range};

#[expect(clippy::disallowed_methods, reason = "a user looks at it")]
fn bytes_of(path: &Path) -> Vec<u8> {
    fs::read(path).expect("it is there")
}

/// CRC-32 as the journal has it (that of IEEE 802.3).
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(!0, byte)
}

/// A good journal of a format that this version does not know.
fn journal_of_later(path: &Path) {
    let mut journal = bytes_of(path);
    assert_eq!(crc(&journal[..60]).to_le_bytes(), journal[60..64]);
    journal[8..10].copy_from_slice(&999_u16.to_le_bytes());
    let sum = crc(&journal[..60]);
    journal[60..64].copy_from_slice(&sum.to_le_bytes());
    put(path.to_owned(), &journal);
}

type Spoil = fn(&Path, &Path);

/// What is done to the sub-directory of an asset that is there by half, beside what is somebody's elsewhere.
const SPOILS: [(&str, Spoil); 9] = [
    ("no journal", |sub, _| lose(sub.join("asset.tur"))),
    ("garbage", |sub, _| {
        put(sub.join("asset.tur"), &[0xa7; 9_000])
    }),
    ("a later format", |sub, _| {
        journal_of_later(&sub.join("asset.tur"));
    }),
    ("a part that leads elsewhere", |sub, others| {
        lose(sub.join("asset.part"));
        symlink(others.join("film"), sub.join("asset.part")).expect("it is made");
    }),
    ("a journal that leads to a directory", |sub, others| {
        lose(sub.join("asset.tur"));
        symlink(others, sub.join("asset.tur")).expect("it is made");
    }),
    ("a part with two names", |sub, others| {
        lose(sub.join("asset.part"));
        fs::hard_link(others.join("film"), sub.join("asset.part")).expect("it is made");
    }),
    ("a directory", |sub, _| {
        lose(sub.join("asset.part"));
        fs::create_dir(sub.join("asset.part")).expect("it is made");
    }),
    ("a socket", |sub, _| {
        lose(sub.join("asset.tur"));
        drop(UnixListener::bind(sub.join("asset.tur")).expect("it is made"));
    }),
    ("a file that leads elsewhere", |sub, others| {
        symlink(others.join("film"), sub.join("asset")).expect("it is made");
    }),
];

#[test]
fn what_no_download_could_begin_with_is_thrown_away_and_comes_again() {
    let others = TempDir::new().expect("a directory");
    put(others.path().join("film"), b"mine");
    for (what, spoil) in SPOILS {
        let shelf = Shelf::new();
        let cache = shelf.cache(room_for(5));
        shelf.leave_half(&cache, "/a");
        shelf.leave_half(&cache, "/b");
        // What was not made by a download stays whatever happens beside it.
        put(shelf.sub("/a").join("assets"), b"mine");
        spoil(&shelf.sub("/a"), others.path());
        let cost = shelf.read(&cache, "/a", 0, 1);
        assert!(cost >= SIZE, "{what}: {cost}");
        assert!(shelf.read(&cache, "/a", 0, 2) <= 1, "{what}");
        let entries = fs::read_dir(shelf.sub("/a")).expect("it is there");
        let mut names: Vec<_> = entries
            .map(|it| it.expect("an entry").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["asset", "assets", "pin"], "{what}");
        assert_eq!(bytes_of(&shelf.sub("/a").join("assets")), b"mine");
        let names = fs::read_dir(others.path()).expect("it is there");
        assert_eq!(names.count(), 1, "{what}");
        assert_eq!(bytes_of(&others.path().join("film")), b"mine", "{what}");
        let cost = shelf.read(&cache, "/b", 0, 3);
        assert!(cost < SIZE, "another asset is gone on with: {cost}");
    }
}

/// Directories are never emptied.
#[test]
fn what_somebody_fills_is_an_error_and_stays() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(5));
    shelf.leave_half(&cache, "/a");
    let part = shelf.sub("/a").join("asset.part");
    lose(part.clone());
    fs::create_dir(&part).expect("it is made");
    put(part.join("film"), b"mine");
    let error = cache.of(shelf.download("/a"), Options::new());
    assert!(matches!(error, Err(CacheError::Foreign { path }) if path == part));
    assert_eq!(bytes_of(&part.join("film")), b"mine");
}

#[test]
fn what_somebody_has_open_is_not_thrown_away() {
    let shelf = Shelf::new();
    let cache = shelf.cache(room_for(5));
    let gate = Gate::at(HALF);
    let held = dated().rule(When::Always, Deed::Hold(gate.clone()));
    shelf.origin.swap("/a", held);
    let media = shelf.open(&cache, "/a");
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, HALF));
    lose(shelf.sub("/a").join("asset.tur"));
    let other = shelf.open(&cache, "/a");
    let busy = other.wait_committed().expect_err("it is busy");
    assert_eq!(busy.kind(), Kind::Busy, "{busy}");
    assert!(shelf.sub("/a").join("asset.part").exists());
    gate.open();
    assert_next(&mut reader, 0, range(HALF, SIZE));
    media.wait_committed().expect("it is complete");
}
