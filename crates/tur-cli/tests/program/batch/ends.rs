//! How a run of several ends: exit codes, what is said, events and the summary.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

use tur_testkit::{Behaviour, Deed, Loopback, Refusing, When};

use super::{SIZE, file};
use crate::harness::Place;

fn instead(deed: Deed) -> Behaviour {
    Behaviour::new(SIZE).rule(When::Always, deed)
}

/// An origin with a path for each way to fail, and a list entry for each of them.
struct Ways {
    origin: Loopback,
    _nobody: Refusing,
    entries: BTreeMap<i32, String>,
}

impl Ways {
    fn new() -> Self {
        let not_found = Deed::Status {
            status: 404,
            retry_after: None,
        };
        let page = Behaviour::new(SIZE).ranges(tur_testkit::Ranges::Ignored);
        let origin = Loopback::start([
            ("/good", file(1)),
            ("/gone", instead(not_found)),
            ("/closed", instead(Deed::Challenge)),
            ("/noise", instead(Deed::NotHttp)),
            ("/loop", instead(to("/loop"))),
            ("/file", instead(to("file:///etc/passwd"))),
            ("/stream", page),
        ]);
        let nobody = Refusing::start();
        let entry = |path: &str| format!("{}\n", origin.url(path));
        let entries = BTreeMap::from([
            (0, entry("/good")),
            (3, format!("{}  out=taken\n", entry("/good"))),
            (4, format!("http://127.0.0.1:{}/f\n", nobody.port())),
            (6, entry("/closed")),
            (7, entry("/noise")),
            (8, entry("/gone")),
            (
                10,
                format!(
                    "{}  out=bad\n  checksum=md5:{}\n",
                    entry("/good"),
                    "0".repeat(32)
                ),
            ),
            (13, entry("/file")),
            (14, entry("/loop")),
        ]);
        Self {
            origin,
            _nobody: nobody,
            entries,
        }
    }
}

fn to(location: &str) -> Deed {
    Deed::Redirect {
        status: 302,
        location: location.to_owned(),
    }
}

#[test]
fn the_exit_code_is_the_first_that_occurred_in_the_promised_order() {
    let ways = Ways::new();
    let order = [3, 10, 6, 8, 4, 7, 13, 14];
    for (i, worse) in order.into_iter().enumerate() {
        // With success, with each that comes later, and the other way round.
        for better in order[i..].iter().copied().chain([0]) {
            for codes in [[worse, better], [better, worse]] {
                let place = Place::new();
                place.put("taken", b"somebody's");
                let mut list: String = codes
                    .iter()
                    .map(|code| ways.entries[code].as_str())
                    .collect();
                list += &ways.entries[&0].replace('\n', "\n  out=last\n");
                let ran = place.tur_fed(&list, &["--retry", "0", "--json"]);
                assert_eq!(ran.code, Some(worse), "{codes:?}: {ran:?}");
                // One failure stops nobody else.
                place.check("last", 1, SIZE);
                place.check_bytes("taken", b"somebody's");
                let failed = codes.iter().filter(|code| **code != 0).count();
                assert_eq!(ran.last()["failed"], failed);
            }
        }
    }
    assert!(ways.origin.requests() > 0);
}

#[test]
fn each_failure_is_said_with_its_url_and_again_in_the_end() {
    let ways = Ways::new();
    let place = Place::new();
    let list = ways.entries[&8].replace("/gone", "/gone?sig=hunter2") + &ways.entries[&0];
    let ran = place.tur_fed(&list, &["--retry", "0"]).ends_with(8);
    place.check("good", 1, SIZE);
    let said = format!("{}?…: 404 Not Found", ways.origin.url("/gone"));
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(lines.contains(&format!("tur: {said}").as_str()), "{ran:?}");
    let [.., sum, last] = lines[..] else {
        panic!("{ran:?}")
    };
    assert!(
        sum.starts_with("tur: 1 file, 40.0 KiB in ") && sum.ends_with("; 1 failed"),
        "{ran:?}"
    );
    assert_eq!(last, format!("tur: failed: {said}"));
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");

    let ran = place.tur_fed(&list, &["--retry", "0", "-q"]).ends_with(8);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    let ran = place.tur_fed(&ways.entries[&0], &["-q"]).ends_with(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn only_the_first_failures_are_listed_again() {
    let ways = Ways::new();
    let place = Place::new();
    let list = ways.entries[&8].repeat(50);
    let ran = place.tur_fed(&list, &["--retry", "0"]).ends_with(8);
    let again: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("tur: failed: "))
        .collect();
    assert_eq!(again.len(), 21, "{ran:?}");
    assert_eq!(again[20], "tur: failed: 30 more");
    assert!(ran.stderr.contains("tur: 0 files, 0 B in "), "{ran:?}");
}

#[test]
fn every_line_of_a_file_has_its_number_and_a_summary_comes_last() {
    let ways = Ways::new();
    let place = Place::new();
    let list: String = [0, 8, 13].map(|code| ways.entries[&code].clone()).concat();
    let ran = place
        .tur_fed(&list, &["--retry", "0", "--json"])
        .ends_with(8);
    let events = ran.events();
    for (id, path, end) in [
        (1, "/good", "done"),
        (2, "/gone", "error"),
        (3, "/file", "error"),
    ] {
        let own: Vec<_> = events.iter().filter(|event| event["id"] == id).collect();
        assert_eq!(own[0]["event"], "start", "{ran:?}");
        assert_eq!(own[0]["url"], ways.origin.url(path), "{ran:?}");
        let ends =
            |event: &&&serde_json::Value| event["event"] == "done" || event["event"] == "error";
        assert_eq!(own.iter().filter(ends).count(), 1, "{ran:?}");
        assert_eq!(own[own.len() - 1]["event"], end, "{ran:?}");
    }
    assert!(events.iter().all(|event| event["t_ms"].is_u64()), "{ran:?}");
    let last = ran.last();
    for (key, value) in [
        ("id", 0),
        ("files", 3),
        ("done", 1),
        ("already", 0),
        ("failed", 2),
        ("unfinished", 0),
        ("bytes", SIZE),
    ] {
        assert_eq!(last[key], value, "{key}: {last}");
    }
    assert_eq!(last["event"], "summary");
    // A single URL has none.
    let ran = place
        .tur(&["--json", &ways.origin.url("/good")])
        .ends_with(0);
    assert_eq!(ran.last()["event"], "done");
}

#[test]
fn pictures_of_several_are_lines_that_can_be_read() {
    let gate = tur_testkit::Gate::at(SIZE / 2);
    let held = file(2).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/good", file(1)), ("/held", held)]);
    let place = Place::new();
    let mut command = place.command(&["-v", "--progress", "line", "--max-time", "120"]);
    command
        .args([origin.url("/good"), origin.url("/held")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    // What is held is let go once both lines were said; without them the program ends by itself, and not well.
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines = String::new();
    while said.read_line(&mut lines).expect("it is text") > 0 {
        if lines.contains(", 1 running\n") && lines.contains(": lanes: ") {
            gate.open();
        }
    }
    let mut output = child.wait_with_output().expect("a child can be waited for");
    output.stderr = lines.into_bytes();
    let ran = crate::harness::Ran::of(output).ends_with(0);
    assert!(ran.stderr.contains("tur: 1 of 2 files, "), "{ran:?}");
    assert!(ran.stderr.contains("/s, 1 running\n"), "{ran:?}");
    assert!(ran.stderr.contains("tur: held: lanes: "), "{ran:?}");
    place.check("good", 1, SIZE);
    place.check("held", 2, SIZE);
}
