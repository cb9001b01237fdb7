//! Room on the disk that is not there: scenario B6, on a file system of 1 MB of its own.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use tur_engine::{Downloader, Kind, RetryPolicy, StorageKind};
use tur_stream::{Media, Options};
use tur_testkit::{Behaviour, Framing, Loopback, Ranges};

use crate::stand::{KIB, MIB, NAME, PATH, assert_next, download_error, range};

/// Where the small file system is.
const SMALL: &str = "TUR_TEST_SMALL";
const SIZE: u64 = 2 * MIB;

/// Not a test by itself: what [`b6_a_disk_that_is_full_is_an_error_and_a_beginning`] runs where it may mount.
#[test]
fn reads_on_a_small_file_system() {
    let Some(dir) = std::env::var_os(SMALL) else {
        return;
    };
    let dir = Path::new(&dir);
    for kind in [StorageKind::Pwrite, StorageKind::Mmap] {
        // With a length it is known before anything is written; without one a write finds out.
        for framing in [Framing::Length, Framing::Chunked] {
            full_then_free(dir, kind, framing);
        }
    }
    println!("all of it was right");
}

#[expect(clippy::disallowed_methods, reason = "somebody else fills the disk")]
fn full_then_free(dir: &Path, kind: StorageKind, framing: Framing) {
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 2 * MIB as usize]).expect("there is room for it");
    let mut behaviour = Behaviour::new(SIZE);
    let unknown = framing == Framing::Chunked;
    if unknown {
        behaviour = behaviour.framing(framing).ranges(Ranges::Ignored);
    }
    let origin = Loopback::start([(PATH, behaviour)]);
    let downloader = Downloader::builder().storage(kind).build();
    let downloader = downloader.expect("a downloader");
    let open = || {
        let once = RetryPolicy {
            retries: 0,
            ..RetryPolicy::default()
        };
        let download = downloader.download(&origin.url(PATH)).retry(once);
        Media::of(download, Options::new().dir(dir).file(NAME))
    };
    let media = open();
    let mut reader = media.reader();
    let mut have = Vec::new();
    let error = reader.read_to_end(&mut have).expect_err("it is full");
    assert_eq!(download_error(&error).kind(), Kind::DiskFull, "{error}");
    let kind = media.wait_committed().expect_err("so it was told").kind();
    assert_eq!(kind, Kind::DiskFull);
    assert!(have == tur_testkit::content(0, range(0, have.len() as u64)));
    drop((media, reader));
    std::fs::remove_file(&ballast).expect("somebody makes room");
    let media = open();
    assert_next(&mut media.reader(), 0, range(0, 100 * KIB));
    assert_next(&mut media.reader(), 0, range(0, SIZE));
    media.wait_committed().expect("there is room");
    let file = dir.join(NAME);
    let have = std::fs::read(&file).expect("the file");
    assert!(have == tur_testkit::content(0, range(0, SIZE)));
    std::fs::remove_file(file).expect("it was looked at");
}

/// The file system has 3 MB, of which 2 are taken. A signal would show as one.
#[test]
fn b6_a_disk_that_is_full_is_an_error_and_a_beginning() {
    const NOT_ALLOWED: i32 = 99;
    let dir = tempfile::TempDir::new().expect("a directory");
    let script =
        format!("mount -t tmpfs -o size=3m none \"${SMALL}\" || exit {NOT_ALLOWED}; exec \"$@\"");
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["reads_on_a_small_file_system", "--nocapture"])
        .env(SMALL, dir.path())
        .output();
    // 1 is what unshare says where name spaces are not for everybody.
    let ran = match ran {
        Ok(ran) if !matches!(ran.status.code(), Some(1 | NOT_ALLOWED)) => ran,
        other => return eprintln!("not looked at, no file system can be mounted: {other:?}"),
    };
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{ran:?}");
    assert!(said.contains("all of it was right"), "{ran:?}");
}
