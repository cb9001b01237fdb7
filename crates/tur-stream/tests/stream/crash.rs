//! Crash and persistence: scenarios B, as readers see them.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};

use tur_core::Wall;
use tur_engine::{Downloader, StorageKind};
use tur_stream::{Media, Options, Status};
use tur_testkit::{Behaviour, Deed, Gate, TODAY, When};

use crate::stand::{
    HALF, KIB, NAME, PATH, SIZE, Stand, assert_at, assert_next, range, wait_for_word,
};

/// Where the process that is killed finds what it reads.
const URL: &str = "TUR_TEST_URL";
const DIR: &str = "TUR_TEST_DIR";
const STORAGE: &str = "TUR_TEST_STORAGE";

/// Not a test: what [`killed`] kills.
#[test]
fn reads_until_it_is_killed() {
    let (Ok(url), Ok(dir)) = (std::env::var(URL), std::env::var(DIR)) else {
        return;
    };
    let mapped = std::env::var_os(STORAGE).is_some_and(|kind| kind == "mmap");
    let kind = if mapped {
        StorageKind::Mmap
    } else {
        StorageKind::Pwrite
    };
    let downloader = Downloader::builder().storage(kind).build();
    let downloader = downloader.expect("a downloader");
    let media = Media::open(&downloader, &url, Options::new().dir(dir).file(NAME));
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, HALF));
    println!("it is read");
    reader.read_exact(&mut [0]).expect("the kill comes before");
}

/// What becomes of a part.
type Loss<'a> = &'a dyn Fn(&File) -> io::Result<()>;

/// A process that has read the first half through a media, and was killed.
fn killed(storage: &str) -> Stand {
    let kind = match storage {
        "mmap" => StorageKind::Mmap,
        _ => StorageKind::Pwrite,
    };
    let hold = Deed::Hold(Gate::at(HALF));
    let stand = Stand::on(kind, Behaviour::new(SIZE).rule(When::Always, hold));
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this)
        .args(["reads_until_it_is_killed", "--nocapture"])
        .env(URL, stand.origin.url(PATH))
        .env(DIR, stand.dir.path())
        .env(STORAGE, storage)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut out = child.stdout.take().expect("a pipe");
    wait_for_word(&mut out, "it is read");
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    assert!(!stand.path().exists(), "a part is no file");
    stand.origin.swap(PATH, Behaviour::new(SIZE));
    stand
}

/// Opens again what a killed process has left, seeks, and reads all of it. Returns what that cost, in bytes.
fn read_again(stand: &Stand) -> u64 {
    let before = stand.origin.seen().len();
    let media = stand.media();
    let mut reader = media.reader();
    assert_at(&mut reader, 0, range(700 * KIB, 710 * KIB));
    assert_at(&mut reader, 0, range(0, SIZE));
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
    let seen = stand.origin.seen();
    seen[before..].iter().map(|seen| seen.sent).sum()
}

#[test]
fn b1_what_was_read_before_a_kill_is_not_fetched_again() {
    for storage in ["pwrite", "mmap"] {
        let sent = read_again(&killed(storage));
        assert_eq!(sent, SIZE - HALF, "nothing that was claimed comes again");
    }
}

/// What a loss of power leaves where the journal came to the disk before the data: the journal speaks of bytes that are not there.
/// Nobody reads them: they come again.
#[test]
fn b3_bytes_that_the_journal_has_and_the_disk_has_not_are_never_read() {
    let zeros = |from: u64, len: usize| move |part: &File| part.write_all_at(&vec![0; len], from);
    let cut = |len: u64| move |part: &File| part.set_len(len);
    let shortened = |part: &File| {
        // A length without its bytes.
        part.set_len(200 * KIB)?;
        part.set_len(SIZE)
    };
    let losses: [Loss<'_>; 5] = [
        &zeros(0, 4 * 1024),
        &zeros(300 * KIB + 512, 512),
        &zeros(0, 512_000),
        &cut(100_001),
        &shortened,
    ];
    for storage in ["pwrite", "mmap"] {
        for lose in losses {
            let stand = killed(storage);
            let part = stand.path().with_extension("bin.part");
            let part = File::options().write(true).open(part).expect("the part");
            lose(&part).expect("it is lost");
            drop(part);
            let sent = read_again(&stand);
            assert!(sent > SIZE - HALF, "what was lost comes again");
        }
    }
}

#[test]
fn b5_the_name_appears_with_the_whole_file_and_not_before() {
    let gate = Gate::at(HALF);
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone())));
    let media = stand.media();
    assert_next(&mut media.reader(), 0, range(0, HALF));
    assert_eq!(stand.names(), ["file.bin.part", "file.bin.tur"]);
    gate.open();
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
}

fn dated() -> Behaviour {
    Behaviour::new(SIZE).last_modified(Some(TODAY))
}

#[test]
fn b7_a_file_that_was_deleted_is_fetched_again() {
    let stand = Stand::new(dated());
    for _ in 0..2 {
        let media = stand.media();
        assert_next(&mut media.reader(), 0, range(0, SIZE));
        media.wait_committed().expect("it is complete");
        drop(media);
        #[expect(clippy::disallowed_methods, reason = "a user deletes it")]
        std::fs::remove_file(stand.path()).expect("it is there");
    }
    assert_eq!(stand.origin.bytes_sent(), 2 * SIZE);
}

#[test]
fn b9_a_complete_file_costs_a_byte_and_a_changed_one_is_not_replaced() {
    let stand = Stand::new(dated());
    stand.media().wait_committed().expect("it is complete");
    let before = stand.origin.bytes_sent();
    let media = stand.media();
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, SIZE));
    media.wait_committed().expect("it is complete");
    assert!(matches!(media.status(), Status::Committed { len: SIZE }));
    assert!(stand.origin.bytes_sent() - before <= 1);
    let later = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);
    let changed = Behaviour::new(SIZE).version(1).last_modified(Some(later));
    stand.origin.swap(PATH, changed);
    let media = stand.media();
    assert!(media.reader().read(&mut [0; 8]).is_err());
    stand.assert_file(0, SIZE);
}
