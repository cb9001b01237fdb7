//! Rows 112, 114 and 170 on file systems of their own, which only some machines let a test mount.
//!
//! Where nobody may, these tests say so and look at nothing; the simulated disks of tur-engine and tur-storage are full,
//! read-only and without `fallocate` everywhere.

use tur_testkit::{Behaviour, Framing, Ranges};

use super::{MIB, NAME, Row, SIZE, paced};
use crate::harness::Ran;

/// Mounts, runs the program on it, and copies what is left to where it can be looked at.
const SCRIPT: &str = "mount -t \"$1\" -o \"$2\" none mounted || exit 99; shift 2; \
    \"$@\"; code=$?; cp -a mounted/. left/; exit $code";

/// Downloads to a file system of this type and with these options; what it leaves is in `left`.
fn on(kind: &str, options: &str, row: &Row) -> Option<Ran> {
    for dir in ["mounted", "left"] {
        std::fs::create_dir(row.place.file(dir)).expect("made");
    }
    let mut command = row.place.run("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT]);
    command.args(["sh", kind, options, env!("CARGO_BIN_EXE_tur")]);
    command.args(["--max-time", "120", "-x4", "-s4", "-k256K"]);
    command.args(["-d", "mounted", &row.url()]);
    let Ok(output) = command.output() else {
        eprintln!("not looked at: there is no unshare");
        return None;
    };
    // 1 is what unshare says where name spaces are not for everybody, 99 what the script says.
    if !output.stderr.starts_with(b"tur: ") && matches!(output.status.code(), Some(1 | 99)) {
        eprintln!("not looked at: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(Ran::of(output))
}

/// Names of what is left.
fn left(row: &Row) -> Vec<String> {
    let entries = std::fs::read_dir(row.place.file("left")).expect("it was made");
    let name =
        |entry: std::io::Result<std::fs::DirEntry>| entry.expect("it can be read").file_name();
    let mut names: Vec<_> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn r112_enospc_known_at_start() {
    let row = Row::new(Behaviour::new(2 * SIZE));
    if let Some(ran) = on("tmpfs", "size=2m", &row) {
        ran.ends_with(9).says("space");
        assert_eq!(left(&row), [""; 0]);
        assert_eq!(row.origin.requests(), 1);
    }
}

#[test]
fn r112_enospc_on_the_way() {
    let unknown = Behaviour::new(2 * SIZE)
        .framing(Framing::Chunked)
        .ranges(Ranges::Ignored);
    let row = Row::new(unknown);
    if let Some(ran) = on("tmpfs", "size=2m", &row) {
        ran.ends_with(9).says("space");
        assert!(!left(&row).contains(&NAME.to_owned()));
    }
}

#[test]
fn r114_read_only_file_system() {
    let row = Row::new(paced(SIZE));
    if let Some(ran) = on("tmpfs", "ro", &row) {
        ran.ends_with(3);
        assert_eq!(left(&row), [""; 0]);
        assert_eq!(row.origin.requests(), 0);
    }
}

/// `ramfs` has no `fallocate`, and its `statvfs` knows of no room at all.
#[test]
fn r170_no_fallocate() {
    let row = Row::new(paced(4 * MIB));
    if let Some(ran) = on("ramfs", "mode=700", &row) {
        ran.ends_with(0);
        row.place.check("left/file.bin", 0, 4 * MIB);
        assert_eq!(left(&row), [NAME]);
    }
}
