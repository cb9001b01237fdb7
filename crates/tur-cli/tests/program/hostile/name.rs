//! Rows 079 to 091: names and phrases that a stranger chose.

use tur_testkit::{Behaviour, Deed, Loopback, When};

use super::{Row, paced};
use crate::harness::{Place, Ran};

const SIZE: u64 = 5_000;

/// Downloads what a server gives this name to, into a directory below; it must come under `expected`.
#[track_caller]
fn named(disposition: &str, expected: &str) {
    let behaviour = Behaviour::new(SIZE).disposition(disposition.as_bytes());
    let origin = Loopback::start([("/file.bin", behaviour)]);
    let place = Place::new();
    let url = origin.url("/file.bin");
    place.tur(&["-d", "a/b", &url]).ends_with(0);
    place.check(&format!("a/b/{expected}"), 0, SIZE);
    // Nothing beside it and nothing above it.
    let names = |dir: &str| {
        let entries = std::fs::read_dir(place.file(dir)).expect("it was made");
        entries.count()
    };
    assert_eq!((names("a/b"), names("a"), names(".")), (1, 1, 1));
}

/// Nothing in what the program says can act on a terminal.
#[track_caller]
fn harmless(ran: &Ran) {
    let acts = |c: char| c.is_control() && c != '\n';
    assert!(!ran.stderr.contains(acts), "{ran:?}");
    assert!(!ran.stdout.contains(acts), "{ran:?}");
}

#[test]
fn r079_cd_traversal() {
    named(
        "attachment; filename=\"../../escape-1.bin\"",
        "escape-1.bin",
    );
}

#[test]
fn r082_cd_absolute() {
    named("attachment; filename=\"/tmp/escape-2.bin\"", "escape-2.bin");
}

#[test]
fn r083_cd_dotfile() {
    named("attachment; filename=\".bashrc\"", "bashrc");
}

#[test]
fn r087_cd_control() {
    let raw = "attachment; filename*=UTF-8''a%1b%5d0%3bPWN%07b.bin";
    named(raw, "a]0;PWNb.bin");
}

#[test]
fn r088_cd_long() {
    let raw = format!("attachment; filename=\"{}.bin\"", "n".repeat(300));
    named(&raw, &format!("{}.bin", "n".repeat(196)));
}

#[test]
fn r089_url_name_escape() {
    let path = "/a%1b%5d0%3bPWN%07b.bin";
    let origin = Loopback::start([(path, Behaviour::new(SIZE))]);
    let place = Place::new();
    let ran = place
        .tur(&["-vv", "--json", &origin.url(path)])
        .ends_with(0);
    harmless(&ran);
    let [name] = &place.names()[..] else {
        panic!("{:?}", place.names());
    };
    assert!(!name.contains(char::is_control), "{name:?}");
    place.check(name, 0, SIZE);
}

#[test]
fn r091_reason_escape() {
    let reason = "Gone\u{1b}]0;PWN\u{7}".to_owned();
    let row = Row::new(paced(SIZE).rule(When::Always, Deed::Reason(404, reason)));
    let (row, ran) = row.refused(8, "404");
    harmless(&ran);
    assert_eq!(row.origin.requests(), 1);
}
