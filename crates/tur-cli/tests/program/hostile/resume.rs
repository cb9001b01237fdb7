//! Rows 094 to 110: what a second run makes of what the first one left.
#![expect(
    clippy::disallowed_methods,
    reason = "a test does to files what accidents do; nothing here is part of tur"
)]

use std::fs;

use tur_core::Wall;
use tur_testkit::{Behaviour, Ranges, TODAY, When};

use super::{MIB, NAME, Row, SIZE, paced, slow, status};

const YESTERDAY: Wall = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);

/// Body bytes that came more than once.
fn twice(row: &Row) -> u64 {
    row.origin.bytes_sent() - SIZE
}

#[test]
fn r094_kill9_resume() {
    let row = Row::new(slow()).killed();
    let ran = row.tur(&["--json"], 0);
    row.file(0, SIZE);
    assert!(twice(&row) <= MIB / 2, "{} bytes twice", twice(&row));
    let resumed = ran.last()["resumed_bytes"].as_u64();
    assert!(resumed >= Some(SIZE / 4), "{ran:?}");
}

#[test]
fn r096_resume_etag_changed() {
    let row = Row::new(slow()).killed().then(paced(SIZE).version(1));
    let ran = row.tur(&[], 0);
    row.file(1, SIZE);
    ran.says("starting again from zero");
}

#[test]
fn r098_resume_lm_changed() {
    let dated = |origin: Behaviour, at| origin.etag(None).last_modified(Some(at));
    let row = Row::new(dated(slow(), YESTERDAY)).killed();
    let later = Wall::from_unix_secs(YESTERDAY.unix_secs() + 3_600);
    let row = row.then(dated(paced(SIZE).version(1), later));
    row.tur(&[], 0);
    row.file(1, SIZE);
}

#[test]
fn r101_resume_range_lost() {
    let deaf = paced(SIZE).ranges(Ranges::Ignored).accept_ranges(false);
    let row = Row::new(slow()).killed().then(deaf);
    row.tur(&[], 0);
    row.file(0, SIZE);
}

#[test]
fn r102_resume_gone() {
    let gone = Behaviour::new(0).rule(When::Always, status(404, None));
    let row = Row::new(slow()).killed().then(gone);
    let part = fs::read(row.place.file("file.bin.part")).expect("it is kept");
    let ran = row.tur(&[], 8);
    row.part();
    row.place.check_bytes("file.bin.part", &part);
    ran.says("404");
    // What is kept is worth something.
    let row = row.then(paced(SIZE));
    let ran = row.tur(&["--json"], 0);
    row.file(0, SIZE);
    assert!(ran.last()["resumed_bytes"].as_u64() >= Some(SIZE / 4));
}

#[test]
fn r103_resume_complete() {
    let row = Row::new(paced(SIZE).last_modified(Some(YESTERDAY)));
    row.tur(&["-o", NAME], 0);
    row.file(0, SIZE);
    let (requests, sent) = (row.origin.requests(), row.origin.bytes_sent());
    row.tur(&["-o", NAME], 0);
    row.file(0, SIZE);
    assert!(row.origin.requests() <= requests + 1);
    assert!(row.origin.bytes_sent() <= sent + 1);
}

#[test]
fn r104_resume_journal_zeroed() {
    let row = Row::new(slow()).killed().then(paced(SIZE));
    let journal = row.place.file("file.bin.tur");
    let len = fs::metadata(&journal).expect("it is kept").len();
    fs::write(&journal, vec![0; usize::try_from(len).expect("small")]).expect("written");
    row.tur(&[], 0);
    row.file(0, SIZE);
}

#[test]
fn r107_resume_data_cut() {
    let row = Row::new(slow()).killed().then(paced(SIZE));
    let part = row.open_part();
    let len = part.metadata().expect("a file").len();
    part.set_len(len / 3).expect("cut");
    row.tur(&[], 0);
    row.file(0, SIZE);
}

#[test]
fn r108_resume_data_gone() {
    let row = Row::new(slow()).killed().then(paced(SIZE));
    fs::remove_file(row.place.file("file.bin.part")).expect("it is kept");
    row.tur(&[], 0);
    row.file(0, SIZE);
}

#[test]
fn r110_resume_foreign() {
    let row = Row::new(paced(SIZE));
    let foreign = vec![b'F'; usize::try_from(SIZE / 2).expect("small")];
    row.place.put(NAME, &foreign);
    let ran = row.tur(&["-c", "-o", NAME], 3);
    ran.says(NAME);
    row.place.check_bytes(NAME, &foreign);
    assert_eq!(row.place.names(), [NAME]);
}
