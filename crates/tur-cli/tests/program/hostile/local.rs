//! Rows 113 to 124, 172, 174 and 176: what stands in the way in a directory, who else is there, and signals.
#![expect(
    clippy::disallowed_methods,
    reason = "a test does to files what others do; nothing here is part of tur"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tur_testkit::{Behaviour, Framing, Ranges, When};

use super::{KIB, NAME, Row, SIZE, paced, slow, status};
use crate::harness::{Place, Ran};

/// Runs a script of a shell that ends in the program: `"$@"`.
fn through_shell(place: &Place, script: &str, args: &[&str]) -> Ran {
    let mut command = place.run("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_tur")]);
    command.args(["--max-time", "120"]).args(args);
    Ran::of(command.output().expect("there is a shell"))
}

/// Less than the file in any shell's unit.
const SMALL_FILES: &str = "ulimit -f 1024; exec \"$@\"";

#[test]
fn r113_efbig() {
    // Nothing tells how long it is, so the limit is met on the way.
    let unknown = paced(SIZE)
        .framing(Framing::Chunked)
        .ranges(Ranges::Ignored);
    let row = Row::new(unknown);
    let ran = through_shell(&row.place, SMALL_FILES, &[&row.url()]).ends_with(9);
    assert!(!row.place.names().contains(&NAME.to_owned()));
    ran.says("file size");
}

#[test]
fn r172_file_size_limit_known_at_start() {
    let row = Row::new(paced(SIZE));
    let ran = through_shell(&row.place, SMALL_FILES, &[&row.url()]).ends_with(9);
    row.nothing();
    ran.says("file size");
    assert_eq!(row.origin.requests(), 1, "known from the first answer");
}

#[test]
fn r114_dir_readonly() {
    let row = Row::new(paced(SIZE));
    // Not even the super-user makes files there.
    row.tur(&["-d", "/sys"], 3);
    assert!(!Path::new("/sys/file.bin").exists());
    assert_eq!(row.origin.requests(), 0);
}

#[test]
fn r115_target_is_dir() {
    for args in [&["-o", NAME][..], &[], &["--exists", "overwrite"]] {
        let row = Row::new(paced(SIZE));
        fs::create_dir(row.place.file(NAME)).expect("made");
        let ran = row.tur(args, 3);
        ran.says("directory");
        assert!(row.place.file(NAME).is_dir());
        assert_eq!(row.place.names(), [NAME]);
        assert_eq!(row.origin.requests(), 0);
    }
}

#[test]
fn r117_target_symlink() {
    for args in [&[][..], &["-o", NAME], &["--exists", "overwrite"]] {
        for victim in [true, false] {
            let row = Row::new(paced(SIZE));
            let elsewhere = Place::new();
            if victim {
                elsewhere.put("victim", b"mine");
            }
            let goal = elsewhere.file("victim");
            symlink(&goal, row.place.file(NAME)).expect("linked");
            let ran = row.tur(args, 3);
            ran.says("symbolic link");
            assert_eq!(row.place.names(), [NAME]);
            assert_eq!(fs::read_link(row.place.file(NAME)).expect("a link"), goal);
            match victim {
                true => elsewhere.check_bytes("victim", b"mine"),
                false => assert_eq!(elsewhere.names(), [""; 0]),
            }
        }
    }
}

#[test]
fn r119_exists_404() {
    for args in [&["-o", NAME][..], &[], &["--exists", "overwrite"]] {
        let gone = Behaviour::new(0).rule(When::Always, status(404, None));
        let row = Row::new(gone);
        row.place.put(NAME, b"mine");
        row.tur(args, 8).says("404");
        row.place.check_bytes(NAME, b"mine");
        assert_eq!(row.place.names(), [NAME]);
    }
}

#[test]
fn r121_two_processes() {
    let row = Row::new(slow());
    let mut first = row.start(&["-o", NAME]);
    first.wait_for_landed(1);
    let ran = row.tur(&["-o", NAME], 15);
    ran.says("already being downloaded");
    first.end().ends_with(0);
    row.file(0, SIZE);
}

#[test]
fn r122_shrunk_under_us() {
    for left in [0, 100 * KIB] {
        let row = Row::new(slow());
        let mut running = row.start(&[]);
        running.wait_for_landed(SIZE / 3);
        row.open_part().set_len(left).expect("cut");
        running.end().ends_with(0);
        row.file(0, SIZE);
        assert!(row.origin.bytes_sent() > SIZE, "it came again");
    }
}

/// As long as it was, and zeros where it was cut: so it is after a write that hides the cut.
#[test]
fn r122_cut_and_made_long_again() {
    let row = Row::new(slow());
    let mut running = row.start(&[]);
    running.wait_for_landed(SIZE / 3);
    let part = row.open_part();
    let len = part.metadata().expect("it is there").len();
    part.set_len(0).expect("cut");
    part.set_len(len).expect("made longer");
    running.end().ends_with(0);
    row.file(0, SIZE);
    assert!(row.origin.bytes_sent() > SIZE, "it came again");
}

#[test]
fn r124_sigterm() {
    let row = Row::new(slow());
    let mut running = row.start(&[]);
    running.wait_for_landed(SIZE / 2);
    let at = Instant::now();
    running.signal(Signal::TERM);
    running.end().ends_with(143);
    // Two seconds are promised; a machine that does other things gets ten times as many.
    assert!(at.elapsed() < Duration::from_secs(20));
    row.part();
    let row = row.then(paced(SIZE));
    let ran = row.tur(&["--json"], 0);
    row.file(0, SIZE);
    let connections = row.origin.connections();
    let twice = row.origin.bytes_sent() - SIZE;
    assert!(twice <= connections * 64 * KIB, "{twice} bytes twice");
    assert!(ran.last()["resumed_bytes"].as_u64() >= Some(SIZE / 2 - 256 * KIB));
}

#[test]
fn r174_directory_replaced() {
    let row = Row::new(slow());
    let victim = Place::new();
    let mut running = row.start(&["-d", "there"]);
    running.wait_for_landed(SIZE / 4);
    fs::rename(row.place.file("there"), row.place.file("moved")).expect("moved");
    symlink(victim.path(), row.place.file("there")).expect("linked");
    running.end().ends_with(0);
    row.place.check("moved/file.bin", 0, SIZE);
    assert_eq!(victim.names(), [""; 0]);
    assert_eq!(row.place.names(), ["moved", "there"]);
}

fn mode(path: &Path) -> u32 {
    let meta = fs::symlink_metadata(path).expect("it is there");
    meta.permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn r176_modes() {
    let origin = || Row::new(paced(64 * KIB));
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("027", 0o640)] {
        let row = origin();
        let script = format!("umask {umask}; exec \"$@\"");
        through_shell(&row.place, &script, &[&row.url()]).ends_with(0);
        row.file(0, 64 * KIB);
        assert_eq!(mode(&row.place.file(NAME)), expected, "umask {umask}");
    }
    // A directory that hands on its group hands on no right to read.
    let row = origin();
    fs::create_dir(row.place.file("shared")).expect("made");
    set_mode(&row.place.file("shared"), 0o2770);
    let args = ["-d", "shared", &row.url()];
    through_shell(&row.place, "umask 077; exec \"$@\"", &args).ends_with(0);
    row.place.check("shared/file.bin", 0, 64 * KIB);
    assert_eq!(mode(&row.place.file("shared/file.bin")), 0o600);
    // What replaces a private file is as private.
    let row = origin();
    row.place.put(NAME, b"old");
    set_mode(&row.place.file(NAME), 0o600);
    let args = ["--exists", "overwrite", &row.url()];
    through_shell(&row.place, "umask 022; exec \"$@\"", &args).ends_with(0);
    row.file(0, 64 * KIB);
    assert_eq!(mode(&row.place.file(NAME)), 0o600);
}

/// While it runs, nobody else may read what has come so far.
#[test]
fn a_part_is_private() {
    let row = Row::new(slow());
    let mut running = row.start(&[]);
    running.wait_for_landed(SIZE / 4);
    for side in ["file.bin.part", "file.bin.tur"] {
        assert_eq!(mode(&row.place.file(side)) & 0o177, 0, "{side}");
    }
    running.signal(Signal::KILL);
    running.end();
}
