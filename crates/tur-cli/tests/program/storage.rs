//! Files and file systems that are not as they should be, and every way to store: `--storage`.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;
use tur_testkit::{Behaviour, Deed, Framing, Gate, Loopback, Ranges, When};

use crate::harness::{Place, Ran, sha256};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 4 * MIB;
const STORAGES: [&str; 3] = ["auto", "pwrite", "mmap"];

/// An origin that serves the first 2 MiB of `/f`, and the rest when the gate is opened.
fn origin() -> (Loopback, Gate) {
    let gate = Gate::at(2 * MIB);
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    (Loopback::start([("/f", behaviour)]), gate)
}

/// What landed when somebody does something to the files: nearly all that the gate lets pass.
const LANDED: u64 = 2 * MIB - (64 << 10);

#[test]
fn every_way_to_store_brings_the_right_file() {
    for storage in STORAGES {
        let origin = Loopback::start([("/f", Behaviour::new(9 * MIB + 77))]);
        let sum = format!("sha256:{}", sha256(0, 9 * MIB + 77));
        let place = Place::new();
        let url = origin.url("/f");
        let args = ["--storage", storage, "-s", "6", "--checksum", &sum, &url];
        place.tur(&args).ends_with(0);
        place.check("f", 0, 9 * MIB + 77);
        assert_eq!(place.names(), ["f"]);
        // The file that is there is read in the same way.
        let seen = origin.requests();
        place.tur(&args).ends_with(0);
        assert_eq!(origin.requests(), seen, "the digest is proof enough");
    }
}

/// A directory on a file system that mappings are used on: where temporary files are, or in memory.
fn mappable() -> TempDir {
    let kinds = ["ext2/ext3", "xfs", "tmpfs"];
    for root in [std::env::temp_dir(), "/dev/shm".into()] {
        let output = Command::new("stat")
            .args(["-f", "-c", "%T"])
            .arg(&root)
            .output()
            .expect("there is stat");
        let kind = String::from_utf8_lossy(&output.stdout);
        if kinds.contains(&kind.trim())
            && let Ok(dir) = tempfile::tempdir_in(&root)
        {
            return dir;
        }
    }
    panic!("set TMPDIR to ext4, XFS or tmpfs");
}

#[test]
fn only_mmap_maps_and_nothing_stays_mapped_or_resident() {
    for storage in STORAGES {
        let (origin, gate) = origin();
        let place = Place::new();
        let dir = mappable();
        let to = dir.path().to_str().expect("it is UTF-8");
        let url = origin.url("/f");
        let mut running = place.start(&["--storage", storage, "-x1", "-d", to, &url]);
        running.wait_for_landed(LANDED);
        let maps = fs::read_to_string(format!("/proc/{}/smaps", running.id()));
        let maps = maps.expect("it runs");
        assert_eq!(maps.contains("/f.part"), storage == "mmap", "{storage}");
        let resident = maps
            .lines()
            .skip_while(|line| !line.ends_with("/f.part"))
            .find_map(|line| line.strip_prefix("Rss:"));
        if let Some(resident) = resident {
            assert_eq!(resident.trim(), "0 kB", "windows are dropped behind");
        }
        gate.open();
        running.end().ends_with(0);
        let bytes = fs::read(dir.path().join("f")).expect("it is there");
        place.put("f", &bytes);
        place.check("f", 0, SIZE);
    }
}

/// Kills a download, lets somebody at its files, and runs it again.
#[track_caller]
fn killed_and_then(storage: &str, somebody: impl FnOnce(&Path)) -> Ran {
    let (origin, gate) = origin();
    let place = Place::new();
    let args = ["--storage", storage, "--json", "-x1", &origin.url("/f")];
    let mut running = place.start(&args);
    running.wait_for_landed(LANDED);
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    somebody(place.path());
    gate.open();
    let ran = place.tur(&args).ends_with(0);
    place.check("f", 0, SIZE);
    assert_eq!(place.names(), ["f"]);
    ran
}

fn resumed(ran: &Ran) -> u64 {
    ran.last()["resumed_bytes"].as_u64().expect("a number")
}

fn part(dir: &Path) -> File {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .open(dir.join("f.part"))
        .expect("it is there")
}

#[test]
fn what_landed_survives_a_kill_whatever_the_storage() {
    for storage in STORAGES {
        let ran = killed_and_then(storage, |_| {});
        assert!(resumed(&ran) >= LANDED, "{storage}: {}", resumed(&ran));
    }
}

/// At once after the kill, so that the times of the files tell nothing.
#[test]
fn damage_to_the_part_is_found_and_fetched_again() {
    for storage in STORAGES {
        for len in [1, 4_096, 300_000] {
            killed_and_then(storage, |dir| {
                let zeros = vec![0; len];
                part(dir).write_all_at(&zeros, MIB / 2).expect("written");
            });
        }
        killed_and_then(storage, |dir| {
            part(dir).set_len(SIZE / 3).expect("cut");
        });
        killed_and_then(storage, |dir| {
            // Cut and made long again.
            part(dir).set_len(SIZE / 3).expect("cut");
            part(dir).set_len(SIZE).expect("made long");
        });
        let gone = killed_and_then(storage, |dir| {
            fs::remove_file(dir.join("f.part")).expect("removed");
        });
        assert_eq!(resumed(&gone), 0);
    }
}

#[test]
fn a_copy_of_the_part_is_believed_where_it_proves_itself() {
    let copy = |dir: &Path| {
        fs::copy(dir.join("f.part"), dir.join("copy")).expect("copied");
        fs::rename(dir.join("copy"), dir.join("f.part")).expect("renamed");
    };
    assert!(resumed(&killed_and_then("auto", copy)) >= LANDED);
    killed_and_then("auto", |dir| {
        copy(dir);
        part(dir).write_all_at(&[0; 10], MIB).expect("written");
    });
}

#[test]
fn damage_to_the_journal_makes_no_wrong_file() {
    let journal = |dir: &Path| {
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .open(dir.join("f.tur"))
            .expect("it is there")
    };
    let zeros = |dir: &Path, from: u64, to: Option<u64>| {
        let file = journal(dir);
        let len = file.metadata().expect("it is there").len();
        let to = to.unwrap_or(len).min(len);
        let zeros = vec![0; usize::try_from(to - from).expect("short")];
        file.write_all_at(&zeros, from).expect("written");
    };
    killed_and_then("auto", |dir| zeros(dir, 0, None));
    killed_and_then("auto", |dir| zeros(dir, 0, Some(64)));
    killed_and_then("auto", |dir| zeros(dir, 64, Some(4_096)));
    killed_and_then("auto", |dir| zeros(dir, 4_096, None));
    for len in [0, 10, 64, 4_096, 4_100] {
        killed_and_then("auto", |dir| journal(dir).set_len(len).expect("cut"));
    }
    // Both at once, as after a loss of power.
    killed_and_then("auto", |dir| {
        zeros(dir, 0, None);
        part(dir).write_all_at(&[0; 4_096], MIB).expect("written");
    });
}

/// While the download runs.
#[test]
fn a_part_that_is_cut_under_us_is_mended_without_a_signal() {
    for storage in STORAGES {
        for len in [0, 5_000, MIB] {
            let (origin, gate) = origin();
            let place = Place::new();
            let mut running = place.start(&["--storage", storage, "-x1", &origin.url("/f")]);
            running.wait_for_landed(LANDED);
            part(place.path()).set_len(len).expect("cut");
            gate.open();
            running.end().ends_with(0);
            place.check("f", 0, SIZE);
            assert!(origin.bytes_sent() > SIZE + MIB / 2, "it was fetched again");
        }
    }
}

#[test]
fn a_part_that_is_removed_or_replaced_under_us_is_3() {
    for replace in [false, true] {
        let (origin, gate) = origin();
        let place = Place::new();
        let mut running = place.start(&["-x1", &origin.url("/f")]);
        running.wait_for_landed(LANDED);
        fs::remove_file(place.file("f.part")).expect("removed");
        if replace {
            place.put("f.part", b"somebody's");
        }
        gate.open();
        let ran = running.end().ends_with(3);
        assert!(ran.stderr.contains("removed or replaced"), "{ran:?}");
        assert!(!place.names().contains(&"f".to_owned()));
        if replace {
            place.check_bytes("f.part", b"somebody's");
        }
    }
}

/// The file lands in the directory that was opened, wherever its name leads by then.
#[test]
fn a_directory_that_becomes_a_symbolic_link_leads_nowhere_else() {
    let (origin, gate) = origin();
    let place = Place::new();
    fs::create_dir(place.file("victim")).expect("made");
    let mut running = place.start(&["-x1", "-d", "here", &origin.url("/f")]);
    running.wait_for_landed(LANDED);
    fs::rename(place.file("here"), place.file("moved")).expect("moved");
    symlink("victim", place.file("here")).expect("linked");
    gate.open();
    running.end().ends_with(0);
    place.check("moved/f", 0, SIZE);
    let victim = fs::read_dir(place.file("victim")).expect("it is there");
    assert_eq!(victim.count(), 0);
    assert_eq!(fs::read_dir(place.file("moved")).expect("there").count(), 1);
}

#[test]
fn what_is_not_a_plain_file_is_never_written_to() {
    let origin = Loopback::start([("/f", Behaviour::new(MIB))]);
    let url = &origin.url("/f");
    for name in ["f", "f.part", "f.tur"] {
        for args in [&["-o", "f"][..], &[], &["--exists", "overwrite"]] {
            let place = Place::new();
            place.put("victim", b"precious");
            symlink("victim", place.file(name)).expect("linked");
            place.tur(&[args, &[url]].concat()).ends_with(3);
            place.check_bytes("victim", b"precious");
            assert_eq!(place.names(), [name, "victim"]);

            let place = Place::new();
            fs::create_dir(place.file(name)).expect("made");
            place.tur(&[args, &[url]].concat()).ends_with(3);
            assert_eq!(place.names(), [name]);

            let place = Place::new();
            let made = place
                .run("mkfifo")
                .arg(name)
                .status()
                .expect("there is mkfifo");
            assert!(made.success());
            place.tur(&[args, &[url]].concat()).ends_with(3);
            assert_eq!(place.names(), [name]);
        }
    }
    assert_eq!(origin.requests(), 0, "known before anything is asked");
}

/// Runs the program by a shell that says something first.
fn after(place: &Place, first: &str, args: &[&str]) -> Ran {
    let mut command = place.run("sh");
    command
        .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
        .args([env!("CARGO_BIN_EXE_tur"), "--max-time", "120"])
        .args(args);
    Ran::of(command.output().expect("there is a shell"))
}

#[test]
fn permissions_are_those_of_the_mask_or_of_the_file_that_is_replaced() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let url = &origin.url("/f");
    let mode = |place: &Place, name| {
        let found = fs::metadata(place.file(name)).expect("it is there");
        found.mode() & 0o7777
    };
    for (mask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let place = Place::new();
        after(&place, &format!("umask {mask}"), &[url]).ends_with(0);
        assert_eq!(mode(&place, "f"), expected);
        // A directory that hands its group on hands on nothing else.
        let place = Place::new();
        fs::create_dir(place.file("d")).expect("made");
        let set = fs::Permissions::from_mode(0o2755);
        fs::set_permissions(place.file("d"), set).expect("it is ours");
        after(&place, &format!("umask {mask}"), &["-d", "d", url]).ends_with(0);
        assert_eq!(mode(&place, "d/f"), expected);
        let gid = |name| fs::metadata(place.file(name)).expect("there").gid();
        assert_eq!(gid("d/f"), gid("d"));
        // What nobody else could read, nobody else can read afterwards.
        for old in [0o600, 0o400, 0o640] {
            let place = Place::new();
            place.put("f", b"old");
            let set = fs::Permissions::from_mode(old);
            fs::set_permissions(place.file("f"), set).expect("it is ours");
            let args = ["--exists", "overwrite", "-o", "f", url];
            after(&place, &format!("umask {mask}"), &args).ends_with(0);
            assert_eq!(mode(&place, "f"), old);
            place.check("f", 0, 5_000);
        }
    }
}

/// Runs the program in a file system in memory of `size`, and lists afterwards what is there. `None` where this user may
/// not mount one.
fn in_memory(place: &Place, size: &str, before: &str, args: &[&str]) -> Option<(Ran, String)> {
    const NOT_ALLOWED: i32 = 99;
    let script = format!(
        "mount -t tmpfs -o size={size} none . && cd \"$PWD\" || exit {NOT_ALLOWED}; {before}; \
         \"$@\"; code=$?; ls -A; exit $code"
    );
    let mut command = place.run("unshare");
    command
        .args(["-m", "sh", "-c", &script, "sh"])
        .args([env!("CARGO_BIN_EXE_tur"), "-q", "--max-time", "120"])
        .args(args);
    let ran = Ran::of(command.output().ok()?);
    // 1 is what unshare says where name spaces are not for everybody; whatever else is wrong, a signal too, is for the test.
    if let Some(1 | NOT_ALLOWED) = ran.code {
        eprintln!("no file system can be mounted here: {ran:?}");
        return None;
    }
    let names = ran.stdout.clone();
    Some((ran, names))
}

/// Where a small file system cannot be mounted, a limit of file size does the same by another number.
#[test]
fn a_file_system_without_room_is_9_and_leaves_nothing_if_it_was_known() {
    for storage in STORAGES {
        let origin = Loopback::start([("/f", Behaviour::new(SIZE))]);
        let place = Place::new();
        let url = origin.url("/f");
        let args = ["--storage", storage, &url];
        match in_memory(&place, "2m", ":", &args) {
            Some((ran, names)) => {
                let ran = ran.ends_with(9);
                assert!(ran.stderr.contains("no space: need "), "{ran:?}");
                assert_eq!(names, "");
            }
            None => {
                after(&place, "ulimit -f 4096", &args).ends_with(9);
                assert_eq!(place.names(), [""; 0]);
            }
        }
        assert_eq!(origin.requests(), 1, "known by the first answer");
    }
}

/// What passes takes a window of the disk, not its length. (With a digest, what that has not read yet stands there too.)
#[test]
fn a_file_that_is_larger_than_the_disk_passes() {
    const LARGE: u64 = 192 << 20;
    let origin = Loopback::start([("/f", Behaviour::new(LARGE))]);
    let (place, url) = (Place::new(), origin.url("/f"));
    let args = ["-d", ".", "-o", "/dev/null", &url];
    if let Some((ran, names)) = in_memory(&place, "128m", ":", &args) {
        ran.ends_with(0);
        assert_eq!(names, "");
    }
}

/// A length that nobody tells: it is the write that finds out.
#[test]
fn a_file_system_that_fills_is_9_and_no_signal() {
    for storage in STORAGES {
        let behaviour = Behaviour::new(SIZE)
            .framing(Framing::Chunked)
            .ranges(Ranges::Ignored);
        let origin = Loopback::start([("/f", behaviour)]);
        let place = Place::new();
        let url = origin.url("/f");
        let args = ["--storage", storage, &url];
        let names = match in_memory(&place, "2m", ":", &args) {
            Some((ran, names)) => {
                ran.ends_with(9);
                names.lines().map(str::to_owned).collect()
            }
            None => {
                after(&place, "ulimit -f 4096", &args).ends_with(9);
                place.names()
            }
        };
        assert!(!names.contains(&"f".to_owned()), "{names:?}");
    }
}

#[test]
fn a_read_only_file_system_is_3_before_anything_is_asked() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    let url = origin.url("/f");
    let before = "mount -o remount,ro .";
    match in_memory(&place, "2m", before, &[&url]) {
        Some((ran, names)) => {
            ran.ends_with(3);
            assert_eq!(names, "");
        }
        // Nobody can make a file there, whoever it is.
        None => drop(place.tur(&["-d", "/proc/self", &url]).ends_with(3)),
    }
    assert_eq!(origin.requests(), 0);
}
