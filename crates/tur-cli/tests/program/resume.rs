//! `tur resume`: what a run has left is listed, and gone on with by its path.

use rustix::process::Signal;
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::harness::{Place, Running};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 4 * MIB;
const SECRET: &str = "/f?key=hunter2";

/// An origin that serves the first MiB, and the rest when the gate is opened.
fn origin() -> (Loopback, Gate) {
    let gate = Gate::at(MIB);
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    (Loopback::start([(SECRET, behaviour)]), gate)
}

/// A download that has a MiB and waits for more.
fn begun(place: &Place, origin: &Loopback, args: &[&str]) -> Running {
    let mut running = place.start(&[&["-x1", &origin.url(SECRET)], args].concat());
    running.wait_for_landed(MIB - (64 << 10));
    running
}

fn killed(place: &Place, origin: &Loopback, args: &[&str]) {
    let running = begun(place, origin, args);
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
}

#[test]
fn what_is_unfinished_is_listed_without_secrets() {
    let (origin, _gate) = origin();
    let place = Place::new();
    let none = place.tur_plain(&["resume"]).ends_with(0);
    assert_eq!(none.stdout, "");
    assert!(none.stderr.contains("nothing is unfinished"), "{none:?}");
    killed(&place, &origin, &["-d", "films", "-o", "a.bin"]);
    let none = place.tur_plain(&["resume"]).ends_with(0);
    assert_eq!(none.stdout, "", "it is elsewhere");

    let listed = place.tur_plain(&["resume", "-d", "films"]).ends_with(0);
    let [line] = &listed.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{listed:?}");
    };
    for part in [" % ", " of 4.0 MiB  films/a.bin  http://", "/f?…"] {
        assert!(line.contains(part), "{part:?}: {line}");
    }
    assert!(!line.contains("hunter2"), "{line}");
    let object = place
        .tur_plain(&["resume", "--json", "-d", "films"])
        .ends_with(0)
        .last();
    assert_eq!(
        (&object["path"], &object["total"]),
        (&"films/a.bin".into(), &SIZE.into())
    );
    assert!(object["landed"].as_u64() >= Some(MIB / 2), "{object}");
    assert!(!object.to_string().contains("hunter2"), "{object}");
    place.tur_plain(&["resume", "-d", "nowhere"]).ends_with(3);
}

/// By the name of the file, of its part or of its journal, from the directory or with it.
#[test]
fn a_path_is_gone_on_with() {
    for args in [
        &["films/a.bin"][..],
        &["films/a.bin.part"],
        &["./films/a.bin.tur"],
        &["-d", "films", "a.bin"],
        &["--", "films/a.bin"],
    ] {
        let (origin, gate) = origin();
        let place = Place::new();
        killed(&place, &origin, &["-d", "films", "-o", "a.bin"]);
        gate.open();
        let words = [&["resume", "--json", "--max-time", "120"], args].concat();
        let done = place.tur_plain(&words).ends_with(0).last();
        assert!(done["resumed_bytes"].as_u64() >= Some(MIB / 2), "{done}");
        place.check("films/a.bin", 0, SIZE);
        assert_eq!(place.names(), ["films"]);
        // What was there did not come again.
        assert!(origin.bytes_sent() <= SIZE + MIB / 2, "{:?}", origin.seen());
        let again = place.tur_plain(&["resume", "films/a.bin"]).ends_with(3);
        assert!(again.stderr.contains("nothing of films/a.bin"), "{again:?}");
    }
}

#[test]
fn a_file_whose_name_ends_like_a_part_is_meant_itself() {
    let (origin, gate) = origin();
    let place = Place::new();
    killed(&place, &origin, &["-o", "a.part"]);
    gate.open();
    place
        .tur_plain(&["resume", "--max-time", "120", "a.part"])
        .ends_with(0);
    place.check("a.part", 0, SIZE);
}

#[test]
fn identity_decides_what_is_gone_on_with() {
    for (args, code) in [(&["-q"][..], 0), (&["--on-change", "fail"], 11)] {
        let (origin, _gate) = origin();
        let place = Place::new();
        killed(&place, &origin, &["-o", "a"]);
        origin.swap(SECRET, Behaviour::new(SIZE).version(1));
        let words = [&["resume", "--max-time", "120", "a"], args].concat();
        let ran = place.tur_plain(&words);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        if code == 0 {
            place.check("a", 1, SIZE);
        } else {
            assert_eq!(place.names(), ["a.part", "a.tur"], "nothing is given up");
        }
    }
}

#[test]
fn what_cannot_be_gone_on_with_is_said_in_a_line() {
    let (origin, _gate) = origin();
    let place = Place::new();
    place.put("whole", b"complete");
    place.put("alone.part", b"of somebody");
    place.put("bad.part", b"x");
    place.put("bad.tur", b"no journal");
    let url = origin.url(SECRET);
    for (args, code, part) in [
        (&["nowhere"][..], 3, "nothing of nowhere"),
        (&["whole"], 3, "nothing of whole"),
        (&["alone"], 3, "nothing of alone"),
        (&["alone.part"], 3, "nothing of alone"),
        (&["bad"], 3, "bad.tur is damaged"),
        (&["no/dir"], 3, "cannot open no"),
        (&["/"], 3, "names no file"),
        (&["a", "b"], 2, "more than one PATH"),
        (&["-o", "b", "a"], 2, "-o"),
        (&["--from", "5", "a"], 2, "--from"),
        (&["-i", "l"], 2, "-i"),
        (&[""], 2, "empty"),
        (&[&url], 2, "without 'resume'"),
        (&["--nope"], 2, "--nope"),
    ] {
        let ran = place
            .tur_plain(&[&["resume"], args].concat())
            .ends_with(code);
        assert!(ran.stderr.contains(part), "{part:?}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
    assert_eq!(origin.requests(), 0);
    place.check_bytes("whole", b"complete");
    assert_eq!(
        place.names(),
        ["alone.part", "bad.part", "bad.tur", "whole"]
    );
}

#[test]
fn one_that_another_process_works_on_is_busy() {
    let (origin, gate) = origin();
    let place = Place::new();
    let running = begun(&place, &origin, &["-o", "a"]);
    let ran = place.tur_plain(&["resume", "a"]).ends_with(15);
    assert!(ran.stderr.contains("already being downloaded"), "{ran:?}");
    gate.open();
    running.end().ends_with(0);
    place.check("a", 0, SIZE);
}

/// The journal has no credentials: they are given again, or the server says what is missing.
#[test]
fn credentials_are_given_again() {
    let (origin, gate) = origin();
    let place = Place::new();
    killed(&place, &origin, &["-u", "me:hunter2", "-o", "a"]);
    gate.open();
    let sent = When::Says("authorization".to_owned(), "Basic".to_owned());
    origin.swap(
        SECRET,
        Behaviour::new(SIZE).rule(sent.negate(), Deed::Challenge),
    );
    let resume = ["resume", "--max-time", "120", "a"];
    place.tur_plain(&resume).ends_with(6);
    assert_eq!(place.names(), ["a.part", "a.tur"]);
    let again = [&resume[..], &["-u", "me:hunter2"]].concat();
    place.tur_plain(&again).ends_with(0);
    place.check("a", 0, SIZE);
}
