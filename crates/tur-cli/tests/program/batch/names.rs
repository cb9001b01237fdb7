//! Items whose files have one name: one after the other, never mixed.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::collections::BTreeSet;
use std::fs;

use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use super::{SIZE, alike, file};
use crate::harness::Place;

/// Two files of one name, the first of which is slower.
fn twins() -> Loopback {
    let slow = file(1).rule(
        When::Always,
        Deed::FirstByte(std::time::Duration::from_millis(200)),
    );
    Loopback::start([("/a/f", slow), ("/b/f", file(2)), ("/b/g", file(3))])
}

#[test]
fn a_name_that_is_derived_twice_is_taken_by_the_first_of_the_list() {
    for (exists, code, first, second) in [
        ("rename", 0, 1, Some(2)),
        ("refuse", 3, 1, None),
        ("skip", 0, 1, None),
        ("overwrite", 0, 2, None),
    ] {
        let origin = twins();
        let place = Place::new();
        let urls = ["/a/f", "/b/f", "/b/g"].map(|path| origin.url(path));
        let [a, b, g] = &urls;
        let ran = place
            .tur(&["-j8", "--exists", exists, a, b, g])
            .ends_with(code);
        place.check("f", first, SIZE);
        place.check("g", 3, SIZE);
        match second {
            Some(version) => place.check("f.1", version, SIZE),
            None => assert_eq!(place.names(), ["f", "g"], "{ran:?}"),
        }
    }
}

#[test]
fn one_url_twice_is_fetched_once() {
    let origin = twins();
    let place = Place::new();
    let url = origin.url("/a/f");
    let ran = place.tur(&["-j8", "--json", &url, &url]).ends_with(0);
    place.check("f", 1, SIZE);
    assert_eq!(place.names(), ["f"]);
    assert_eq!(
        (&ran.last()["done"], &ran.last()["already"]),
        (&2.into(), &1.into())
    );
    assert!(origin.bytes_sent() <= SIZE + 1, "{:?}", origin.seen());
}

#[test]
fn a_name_that_is_given_twice_is_refused_to_the_second() {
    let origin = twins();
    let place = Place::new();
    let list = format!(
        "{}\n  out=x\n{}\n  out=x\n",
        origin.url("/a/f"),
        origin.url("/b/f")
    );
    place.tur_fed(&list, &["-j8"]).ends_with(3);
    place.check("x", 1, SIZE);
    assert_eq!(place.names(), ["x"]);
}

/// That two files have one name turns out when both answers are there: one of them meets the other's lock.
#[test]
fn names_that_meet_later_are_not_mixed_either() {
    let gate = Gate::at(SIZE / 2);
    let named = |version| file(version).disposition(b"attachment; filename=\"r.bin\"");
    let first = named(1).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/a", first), ("/b", named(2))]);
    // It is under way, and has the name, before the other one asks.
    let second_waits = Gate::at(0);
    origin.swap(
        "/b",
        named(2).rule(When::Always, Deed::HoldHead(second_waits.clone())),
    );
    let place = Place::new();
    let mut running = place.start(&["-j2", "-x1", &origin.url("/a"), &origin.url("/b")]);
    running.wait_for(|event| event["event"] == "opened" && event["id"] == 1);
    second_waits.open();
    running.wait_for(|event| event["event"] == "retry" && event["id"] == 2);
    gate.open();
    let ran = running.end().ends_with(0);
    place.check("r.bin", 1, SIZE);
    place.check("r.bin.1", 2, SIZE);
    assert_eq!(place.names(), ["r.bin", "r.bin.1"], "{ran:?}");
    assert!(
        ran.stderr.contains("this is tried again at the end"),
        "{ran:?}"
    );
}

#[test]
fn a_target_that_another_tur_has_is_busy_and_the_others_go_on() {
    let gate = Gate::at(SIZE / 2);
    let held = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/f", held), ("/g", file(3))]);
    let place = Place::new();
    let (f, g) = (origin.url("/f"), origin.url("/g"));
    let mut first = place.start(&["-x1", &f]);
    first.wait_for(|event| event["event"] == "opened");
    let ran = place.tur(&["--json", &f, &g]).ends_with(15);
    place.check("g", 3, SIZE);
    assert_eq!(
        (&ran.last()["done"], &ran.last()["failed"]),
        (&1.into(), &1.into())
    );
    gate.open();
    first.end().ends_with(0);
    place.check("f", 0, SIZE);
    assert_eq!(place.names(), ["f", "g"]);
}

/// Each of them looks at the name while others are putting their file there.
#[test]
fn files_that_the_answers_name_alike_all_come() {
    const FILES: u8 = 40;
    let named = |n| alike(n).disposition(b"attachment; filename=\"r.bin\"");
    let origin = Loopback::start((0..FILES).map(|n| (format!("/{n}"), named(n))));
    for _ in 0..3 {
        let place = Place::new();
        let list: String = (0..FILES)
            .map(|n| origin.url(&format!("/{n}")) + "\n")
            .collect();
        place.tur_fed(&list, &["-j16"]).ends_with(0);
        let names = place.names();
        let files: BTreeSet<_> = names
            .iter()
            .map(|name| fs::read(place.file(name)).expect("it is there"))
            .collect();
        assert_eq!(
            (names.len(), files.len()),
            (FILES.into(), FILES.into()),
            "{names:?}"
        );
    }
}

#[test]
fn a_directory_that_is_spelled_in_two_ways_is_one() {
    let origin = Loopback::start([("/a/f", alike(1)), ("/b/f", alike(2))]);
    let place = Place::new();
    let list = format!(
        "{}\n  dir=o\n{}\n  dir={}\n",
        origin.url("/a/f"),
        origin.url("/b/f"),
        place.file("o").display()
    );
    // The second time both are found.
    for already in [0, 2] {
        let ran = place.tur_fed(&list, &["-j1", "--json"]).ends_with(0);
        place.check("o/f", 1, SIZE);
        place.check("o/f.1", 2, SIZE);
        assert_eq!(
            ran.last()["already"],
            serde_json::Value::from(already),
            "{ran:?}"
        );
    }
}
