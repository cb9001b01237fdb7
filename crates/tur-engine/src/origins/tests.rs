//! The memory of origins over files in memory: what is noted is told, written, merged and forgotten.

use super::*;
use std::io::IoSlice;
use tur_core::Scheme;
use tur_storage::{Loss, MemDisk, Open, StateFile, StateFormat};

const PATH: &str = "/state/tur/origins";
const LIMIT: Duration = Duration::from_secs(60);

fn origin(host: &str) -> Origin {
    Origin {
        scheme: Scheme::Https,
        host: host.into(),
        port: 443,
    }
}

fn lanes(lanes: u16) -> Facts {
    Facts {
        lanes: Some(lanes),
        ..Facts::default()
    }
}

fn rtt(ms: u64) -> Facts {
    Facts {
        rtt: Some(Duration::from_millis(ms)),
        ..Facts::default()
    }
}

/// A process with a memory in the file, which has been read.
fn process(disk: &MemDisk) -> Origins {
    let origins = Origins::open(disk.clone(), Path::new(PATH)).expect("a path with a name");
    // The thread reads the file before it obeys.
    origins.flush(LIMIT).expect("there is nothing to write");
    origins
}

fn lanes_of(origins: &Origins, host: &str) -> Option<u16> {
    origins.hint(&origin(host)).map(|hint| hint.lanes)
}

fn names(origins: &Origins) -> Vec<String> {
    let list = origins.list().expect("the file is good");
    list.into_iter().map(|record| record.origin).collect()
}

/// Puts bytes under the file's name.
fn put(disk: &MemDisk, bytes: &[u8]) {
    let dir = disk.open_dir(Path::new("/state/tur"), true).expect("made");
    let file = disk.open(&dir, "origins", Open::New(0o600)).expect("new");
    let taken = disk.write_at(&file, 0, &[IoSlice::new(bytes)]);
    assert_eq!(taken.expect("written"), bytes.len());
}

#[test]
fn without_a_path_it_lasts_as_long_as_its_handles() {
    let origins = Origins::in_memory();
    assert_eq!(lanes_of(&origins, "a"), None);
    let other = origins.clone();
    other.note(&origin("a"), lanes(9));
    drop(other);
    assert_eq!(lanes_of(&origins, "a"), Some(9));
    assert_eq!(names(&origins), ["https://a"]);
    origins.flush(Duration::ZERO).expect("nothing to do");
    assert!(origins.remembered.lock().notes.is_empty(), "for no file");
    assert_eq!(origins.forget(Pattern::All).expect("in memory"), 1);
    assert_eq!(lanes_of(&origins, "a"), None);
}

#[test]
fn what_is_noted_is_told_at_once_and_written_when_asked() {
    let disk = MemDisk::new();
    let first = process(&disk);
    let untouched = disk.changes();
    first.note(&origin("a"), lanes(9));
    assert_eq!(lanes_of(&first, "a"), Some(9));
    assert_eq!(disk.changes(), untouched, "nothing is written on the way");
    assert_eq!(
        names(&first),
        ["https://a"],
        "it is listed before it is written"
    );
    first.flush(LIMIT).expect("written");
    let written = disk.changes();
    assert!(written > untouched);
    first.flush(LIMIT).expect("nothing to write");
    assert_eq!(disk.changes(), written);
    assert_eq!(lanes_of(&process(&disk), "a"), Some(9));
    // And it was synced.
    let after = disk.crash(disk.changes(), Loss::Unsynced);
    assert_eq!(lanes_of(&process(&after), "a"), Some(9));
}

#[test]
fn a_visit_that_measured_nothing_writes_nothing() {
    let disk = MemDisk::new();
    let origins = process(&disk);
    origins.note(&origin("a"), Facts::default());
    origins.flush(LIMIT).expect("nothing to write");
    assert_eq!(disk.changes(), 0);
    assert_eq!(names(&origins), [""; 0]);
}

#[test]
fn the_last_handle_writes_as_it_goes() {
    let disk = MemDisk::new();
    let origins = process(&disk);
    let other = origins.clone();
    other.note(&origin("a"), lanes(9));
    drop(origins);
    drop(other);
    let file = StateFile::new(disk.clone(), Path::new(PATH), record::FORMAT).expect("a name");
    let written = (0..10_000_000).any(|_| {
        thread::yield_now();
        file.load().expect("whole or not there").is_some()
    });
    assert!(written);
    assert_eq!(lanes_of(&process(&disk), "a"), Some(9));
}

#[test]
fn processes_add_up() {
    let disk = MemDisk::new();
    let (one, two) = (process(&disk), process(&disk));
    one.note(&origin("a"), lanes(2));
    two.note(&origin("b"), lanes(3));
    one.note(&origin("both"), lanes(5));
    two.note(&origin("both"), rtt(40));
    one.flush(LIMIT).expect("written");
    two.flush(LIMIT).expect("written");
    let three = process(&disk);
    for (host, width) in [("a", 2), ("b", 3), ("both", 5)] {
        assert_eq!(lanes_of(&three, host), Some(width), "{host}");
    }
    let both = three.hint(&origin("both")).expect("known");
    assert_eq!(both.rtt, Some(Duration::from_millis(40)));
    // Who writes reads what the others wrote.
    assert_eq!(lanes_of(&two, "a"), Some(2));
    assert_eq!(lanes_of(&one, "b"), None);
    assert_eq!(names(&one).len(), 3, "a list is read anew");
}

#[test]
fn what_cannot_be_written_waits_and_is_known_meanwhile() {
    let disk = MemDisk::new();
    let origins = process(&disk);
    disk.set_capacity(0);
    origins.note(&origin("a"), rtt(40));
    let error = origins.flush(LIMIT).expect_err("no room");
    assert_eq!(error.kind(), Kind::DiskFull);
    assert_eq!(lanes_of(&origins, "a"), Some(1));
    origins.note(&origin("a"), lanes(4));
    origins.note(&origin("b"), lanes(2));
    disk.set_capacity(u64::MAX);
    origins.flush(LIMIT).expect("there is room again");
    let next = process(&disk);
    let hint = next.hint(&origin("a")).expect("known");
    assert_eq!((hint.lanes, hint.rtt), (4, Some(Duration::from_millis(40))));
    assert_eq!(lanes_of(&next, "b"), Some(2));
}

#[test]
fn no_more_notes_wait_than_can_be_remembered() {
    let mut memory = Memory::default();
    for n in 0..OriginMemory::ORIGINS_MAX + 5 {
        memory.keep(Note {
            origin: origin(&n.to_string()),
            at: Clock::wall(),
            learned: Learned::Visit(lanes(2)),
        });
    }
    assert_eq!(memory.notes.len(), OriginMemory::ORIGINS_MAX);
    assert_eq!(memory.notes[0].origin, origin("5"));
}

#[test]
fn a_damaged_file_is_said_once_and_begun_anew() {
    let whole = {
        let disk = MemDisk::new();
        let origins = process(&disk);
        origins.note(&origin("a"), lanes(9));
        origins.flush(LIMIT).expect("written");
        disk
    };
    let read = |disk: &MemDisk| {
        let dir = disk
            .open_dir(Path::new("/state/tur"), false)
            .expect("there");
        let file = disk.open(&dir, "origins", Open::Existing).expect("there");
        let mut bytes =
            vec![0; usize::try_from(disk.stat(&file).expect("open").len).expect("small")];
        disk.read_at(&file, 0, &mut bytes).expect("read");
        bytes
    };
    let good = read(&whole);
    // A right checksum around a payload that no version wrote is damage as well.
    let nonsense = {
        let disk = MemDisk::new();
        let file = StateFile::new(disk.clone(), Path::new(PATH), record::FORMAT).expect("a name");
        file.update(&mut || false, |_| Some(b"nonsense".to_vec()))
            .expect("written");
        read(&disk)
    };
    for bytes in [&good[..good.len() - 1], b"x", &nonsense] {
        let disk = MemDisk::new();
        put(&disk, bytes);
        let origins = process(&disk);
        assert_eq!(origins.notes().len(), 1, "{:?}", origins.notes());
        assert!(origins.notes()[0].contains("/state/tur/origins is damaged"));
        assert!(origins.list().is_err());
        origins.note(&origin("b"), lanes(2));
        origins.flush(LIMIT).expect("begun anew");
        let next = process(&disk);
        assert_eq!(next.notes(), [""; 0]);
        assert_eq!(names(&next), ["https://b"]);
    }
    // To forget all mends it too.
    let disk = MemDisk::new();
    put(&disk, b"x");
    let origins = process(&disk);
    assert_eq!(origins.forget(Pattern::All).expect("begun anew"), 0);
    assert_eq!(names(&origins), [""; 0]);
}

/// A newer program and this one, each reading what the other wrote. Older than version 1 there is nothing.
#[test]
fn a_newer_version_is_left_alone_and_reads_this_one() {
    let disk = MemDisk::new();
    let this = process(&disk);
    this.note(&origin("a"), lanes(9));
    this.flush(LIMIT).expect("written");
    let newer = StateFormat {
        version: record::FORMAT.version + 1,
        ..record::FORMAT
    };
    let newer = StateFile::new(disk.clone(), Path::new(PATH), newer).expect("a name");
    let state = newer
        .load()
        .expect("an older version is read")
        .expect("there");
    assert_eq!(state.version, record::FORMAT.version);
    assert!(record::decode(&state, Clock::wall()).is_some());
    newer
        .update(&mut || false, |_| Some(b"of tomorrow".to_vec()))
        .expect("written");
    let old = process(&disk);
    assert_eq!(old.notes().len(), 1);
    let theirs = record::FORMAT.version + 1;
    let said = format!("format {theirs}");
    assert!(old.notes()[0].contains(&said), "{:?}", old.notes());
    old.note(&origin("b"), lanes(2));
    assert!(old.flush(LIMIT).is_err());
    assert_eq!(
        lanes_of(&old, "b"),
        Some(2),
        "it is known while this one lives"
    );
    assert!(old.forget(Pattern::All).is_err());
    let state = newer.load().expect("untouched").expect("there");
    assert_eq!(
        (state.version, &state.bytes[..]),
        (theirs, &b"of tomorrow"[..])
    );
}

#[test]
fn a_list_tells_the_latest_first_and_what_a_download_would_be_told() {
    let disk = MemDisk::new();
    let origins = process(&disk);
    let facts = Facts {
        lanes_limit: Some(4),
        ranges: Some(true),
        ..lanes(8)
    };
    origins.note(&origin("a"), facts);
    origins.flush(LIMIT).expect("written");
    origins.note(&origin("b"), rtt(3));
    let list = origins.list().expect("good");
    assert_eq!(list.len(), 2);
    assert_eq!(list[0].origin, "https://b");
    assert_eq!(list[0].rtt, Some(Duration::from_millis(3)));
    let a = &list[1];
    assert_eq!((a.lanes, a.lanes_limit, a.ranges), (4, Some(4), Some(true)));
    assert!(a.age < LIMIT);
}

#[test]
fn what_is_forgotten_is_gone_for_every_process() {
    let disk = MemDisk::new();
    let origins = process(&disk);
    assert_eq!(origins.forget(Pattern::All).expect("no file"), 0);
    assert_eq!(disk.changes(), 0, "to forget nothing writes nothing");
    for host in ["a", "b", "c"] {
        origins.note(&origin(host), lanes(2));
    }
    let other = process(&disk);
    other.note(&origin("d"), lanes(2));
    other.flush(LIMIT).expect("written");
    origins.flush(LIMIT).expect("written");
    origins.note(&origin("a"), lanes(3));
    let b = Pattern::parse("https://b/some/path").expect("an origin");
    assert_eq!(other.forget(b.clone()).expect("written"), 1);
    assert_eq!(other.forget(b).expect("written"), 0);
    // Notes that wait are forgotten too.
    assert_eq!(
        origins
            .forget(Pattern::parse("A").expect("a host"))
            .expect("written"),
        1
    );
    origins.flush(LIMIT).expect("nothing to write");
    assert_eq!(names(&process(&disk)), ["https://c", "https://d"]);
    assert_eq!(other.forget(Pattern::All).expect("written"), 2);
    assert_eq!(names(&process(&disk)), [""; 0]);
}

#[test]
fn an_origin_is_named_by_url_or_host() {
    let there = Origin {
        scheme: Scheme::Http,
        host: "a.example".into(),
        port: 8080,
    };
    let six = Origin {
        scheme: Scheme::Https,
        host: "[::1]".into(),
        port: 443,
    };
    for (text, is, is_six) in [
        ("http://a.example:8080", true, false),
        ("http://A.example:8080/x?y#z", true, false),
        ("http://a.example", false, false),
        ("https://a.example:8080", false, false),
        ("a.example", true, false),
        ("A.EXAMPLE", true, false),
        ("a.example:8080", true, false),
        ("a.example:80", false, false),
        ("example", false, false),
        ("[::1]", false, true),
        ("[::1]:443", false, true),
        ("[::1]:444", false, false),
        ("https://[::1]/", false, true),
    ] {
        let pattern = Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (pattern.is(&there), pattern.is(&six)),
            (is, is_six),
            "{text}"
        );
    }
    for text in [
        "", "a/b", "a#b", "a?b", "u@a", "a b", "ftp://a", "http://", "a:99999",
    ] {
        let error = Pattern::parse(text).expect_err("no origin");
        assert_eq!(error.kind(), Kind::Usage, "{text}");
    }
}

#[tokio::test]
async fn a_download_that_begins_waits_for_the_file_to_be_read() {
    let disk = MemDisk::new();
    let first = process(&disk);
    first.note(&origin("a"), lanes(9));
    first.flush(LIMIT).expect("written");
    for _ in 0..50 {
        let origins = Origins::open(disk.clone(), Path::new(PATH)).expect("a path with a name");
        // Not `READY_MAX`: how soon a thread gets its turn is not what is looked at.
        origins.ready_within(LIMIT).await;
        assert_eq!(lanes_of(&origins, "a"), Some(9));
    }
}

#[test]
fn a_path_without_a_name_is_a_mistake_of_the_caller() {
    let error = Origins::open(MemDisk::new(), Path::new("/"))
        .map(drop)
        .expect_err("no file");
    assert_eq!(error.kind(), Kind::Usage);
}
