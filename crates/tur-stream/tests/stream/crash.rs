//! Crash and persistence: scenarios B, as readers see them.

use std::io::Read as _;
use std::process::{Command, Stdio};

use tur_core::Wall;
use tur_engine::Downloader;
use tur_stream::{Media, Options, Status};
use tur_testkit::{Behaviour, Deed, Gate, TODAY, When};

use crate::stand::{HALF, KIB, NAME, PATH, SIZE, Stand, assert_at, assert_next, range};

/// Where the process that is killed finds what it reads.
const URL: &str = "TUR_TEST_URL";
const DIR: &str = "TUR_TEST_DIR";

/// Not a test: what [`b1_what_was_read_before_a_kill_is_not_fetched_again`] kills.
#[test]
fn reads_until_it_is_killed() {
    let (Ok(url), Ok(dir)) = (std::env::var(URL), std::env::var(DIR)) else {
        return;
    };
    let downloader = Downloader::builder().build().expect("a downloader");
    let media = Media::open(&downloader, &url, Options::new().dir(dir).file(NAME));
    let mut reader = media.reader();
    assert_next(&mut reader, 0, range(0, HALF));
    println!("it is read");
    reader.read_exact(&mut [0]).expect("the kill comes before");
}

#[test]
fn b1_what_was_read_before_a_kill_is_not_fetched_again() {
    let hold = Deed::Hold(Gate::at(HALF));
    let stand = Stand::new(Behaviour::new(SIZE).rule(When::Always, hold));
    let this = std::env::current_exe().expect("this program");
    let mut child = Command::new(this)
        .args(["reads_until_it_is_killed", "--nocapture"])
        .env(URL, stand.origin.url(PATH))
        .env(DIR, stand.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut out = child.stdout.take().expect("a pipe");
    let mut said = String::new();
    while !said.contains("it is read") {
        let mut piece = [0; 256];
        let came = out.read(&mut piece).expect("it says something");
        assert!(came > 0, "it ended: {said}");
        said += &String::from_utf8_lossy(&piece[..came]);
    }
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    assert!(!stand.path().exists(), "a part is no file");
    stand.origin.swap(PATH, Behaviour::new(SIZE));
    let before = stand.origin.seen().len();
    let media = stand.media();
    let mut reader = media.reader();
    assert_at(&mut reader, 0, range(700 * KIB, 710 * KIB));
    assert_at(&mut reader, 0, range(0, SIZE));
    media.wait_committed().expect("it is complete");
    stand.assert_file(0, SIZE);
    let seen = stand.origin.seen();
    let sent: u64 = seen[before..].iter().map(|seen| seen.sent).sum();
    assert_eq!(sent, SIZE - HALF, "nothing that was claimed comes again");
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
