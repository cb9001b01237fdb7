//! What is remembered of servers: kept where it belongs, shown, forgotten, and never in the way of a download.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::harness::{Place, Ran};

const SIZE: u64 = 300_000;

fn origin() -> Loopback {
    Loopback::start([("/f", Behaviour::new(SIZE))])
}

/// Downloads `/f`, which must succeed whatever becomes of the memory.
#[track_caller]
fn downloads(place: &Place, origin: &Loopback, args: &[&str]) -> Ran {
    let ran = place
        .tur(&[args, &["--exists", "overwrite", &origin.url("/f")]].concat())
        .ends_with(0);
    place.check("f", 0, SIZE);
    ran
}

/// Runs `tur origins`.
#[track_caller]
fn origins(place: &Place, args: &[&str], code: i32) -> Ran {
    let mut command = place.command(&[&["origins"], args].concat());
    Ran::of(command.output().expect("the program starts")).ends_with(code)
}

/// What `tur origins list --json` tells.
#[track_caller]
fn list(place: &Place) -> Vec<Value> {
    let ran = origins(place, &["list", "--json"], 0);
    assert_eq!(ran.stderr.is_empty(), !ran.stdout.is_empty(), "{ran:?}");
    ran.events()
}

fn file(place: &Place) -> PathBuf {
    place.state().join("tur/origins")
}

/// The origin as it is listed.
fn name(origin: &Loopback) -> String {
    origin.url("").trim_end_matches('/').to_owned()
}

#[test]
fn a_download_is_remembered_shown_and_forgotten() {
    let (place, one, two) = (Place::new(), origin(), origin());
    assert_eq!(list(&place), [Value::Null; 0]);
    assert!(!place.state().exists(), "to look writes nothing");
    let ran = downloads(&place, &one, &[]);
    assert_eq!(ran.stderr.lines().count(), 1, "the summary alone: {ran:?}");
    let mode = fs::metadata(file(&place))
        .expect("it is kept")
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    downloads(&place, &two, &["-x1"]);

    let objects = list(&place);
    assert_eq!(objects.len(), 2);
    assert_eq!(
        objects[0]["origin"],
        name(&two).as_str(),
        "the latest first"
    );
    let object = &objects[1];
    assert_eq!(object["origin"], name(&one).as_str());
    assert_eq!(object["ranges"], true);
    for key in ["lanes", "rtt_us", "handshake_us", "ratio_milli", "age_s"] {
        assert!(object[key].is_u64(), "{key}: {object}");
    }
    for key in ["lanes_limit", "lane_rate"] {
        assert!(object[key].is_null(), "{key}: {object}");
    }
    for args in [&[][..], &["list"]] {
        let table = origins(&place, args, 0).stdout;
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].starts_with("ORIGIN ") && lines[0].ends_with(" AGE"));
        assert!(lines[2].starts_with(&name(&one)), "{table}");
        assert!(
            lines.iter().all(|line| line.len() == lines[0].len()),
            "{table}"
        );
    }

    let said = origins(&place, &["forget", &one.url("/f")], 0).stderr;
    assert!(said.contains("1 origin is forgotten"), "{said}");
    assert_eq!(list(&place).len(), 1);
    let said = origins(&place, &["forget", "nowhere.test"], 0).stderr;
    assert!(said.contains("0 origins are forgotten"), "{said}");
    origins(&place, &["forget", "127.0.0.1"], 0);
    assert_eq!(list(&place), [Value::Null; 0]);
    downloads(&place, &one, &[]);
    origins(&place, &["forget", "--all"], 0);
    assert_eq!(list(&place), [Value::Null; 0]);
}

#[test]
fn what_cannot_be_meant_is_2() {
    let place = Place::new();
    for args in [
        &["forget"][..],
        &["forget", "a", "--all"],
        &["forget", "ftp://a"],
        &["forget", "a/b"],
        &["remember"],
        &["list", "--verbose"],
    ] {
        let ran = origins(&place, args, 2);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
    // Where a URL stands it is one, and not a good one.
    let mut command = place.command(&["--", "origins"]);
    Ran::of(command.output().expect("the program starts")).ends_with(2);
    assert!(!place.state().exists());
}

#[test]
fn a_file_may_be_called_origins() {
    let (place, origin) = (Place::new(), origin());
    let mut command = place.command(&["-o", "origins", &origin.url("/f")]);
    Ran::of(command.output().expect("the program starts")).ends_with(0);
    place.check("origins", 0, SIZE);
}

#[test]
fn a_download_that_is_not_to_be_remembered_leaves_nothing() {
    let (place, origin) = (Place::new(), origin());
    downloads(&place, &origin, &["--no-origin-memory"]);
    assert!(!place.state().exists());
    downloads(&place, &origin, &[]);
    let before = fs::read(file(&place)).expect("it is kept");
    downloads(&place, &origin, &["--no-origin-memory"]);
    assert_eq!(fs::read(file(&place)).expect("it is kept"), before);
}

#[test]
fn without_a_state_directory_it_is_in_the_home_directory_or_nowhere() {
    let (place, origin) = (Place::new(), origin());
    let url = origin.url("/f");
    let home = place.state().join("home");
    let mut command = place.command(&[&url]);
    command.env_remove("XDG_STATE_HOME").env("HOME", &home);
    Ran::of(command.output().expect("the program starts")).ends_with(0);
    assert!(home.join(".local/state/tur/origins").exists());
    let mut command = place.command(&["--exists", "overwrite", &url]);
    command.env_remove("XDG_STATE_HOME").env_remove("HOME");
    Ran::of(command.output().expect("the program starts")).ends_with(0);
    place.check("f", 0, SIZE);
    assert_eq!(place.names(), ["f"]);
}

#[test]
fn a_damaged_file_is_said_once_and_fails_no_download() {
    let (place, origin) = (Place::new(), origin());
    downloads(&place, &origin, &[]);
    let good = fs::read(file(&place)).expect("it is kept");
    for bad in [
        &good[..good.len() - 1],
        b"",
        b"not a memory of origins at all",
    ] {
        fs::write(file(&place), bad).expect("written");
        let said = origins(&place, &["list"], 3).stderr;
        assert!(said.contains("origins is damaged"), "{said}");
        let said = downloads(&place, &origin, &[]).stderr;
        assert!(said.contains("origins is damaged"), "{said}");
        let said = downloads(&place, &origin, &[]).stderr;
        assert!(!said.contains("damaged"), "{said}");
        assert_eq!(list(&place).len(), 1);
    }
}

#[test]
fn a_state_that_cannot_be_kept_fails_no_download() {
    let origin = origin();
    let told = |place: &Place| {
        let quiet = downloads(place, &origin, &[]).stderr;
        assert_eq!(quiet.lines().count(), 1, "{quiet}");
        let detailed = downloads(place, &origin, &["-v"]).stderr;
        assert!(detailed.contains("is not kept"), "{detailed}");
    };
    // A file stands where the directory is to be.
    let place = Place::new();
    fs::write(place.state(), b"").expect("written");
    told(&place);
    // A link in place of the file is neither followed nor replaced.
    let place = Place::new();
    fs::create_dir_all(place.state().join("tur")).expect("made");
    place.put("precious", b"precious");
    std::os::unix::fs::symlink(place.file("precious"), file(&place)).expect("linked");
    let said = downloads(&place, &origin, &["-v"]).stderr;
    assert!(said.contains("a symbolic link"), "{said}");
    place.check_bytes("precious", b"precious");
    // Nobody may write there. A superuser may all the same.
    let place = Place::new();
    fs::create_dir_all(place.state()).expect("made");
    let locked = fs::Permissions::from_mode(0o500);
    fs::set_permissions(place.state(), locked).expect("locked");
    if rustix::process::geteuid().is_root() {
        downloads(&place, &origin, &[]);
    } else {
        told(&place);
    }
}

/// All of them are under way at once, so that their ends meet.
#[test]
fn programs_that_end_at_once_lose_nothing() {
    const MANY: usize = 6;
    let place = Place::new();
    let gate = Gate::at(SIZE / 2);
    let servers: Vec<Loopback> = (0..MANY)
        .map(|_| {
            let held = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
            Loopback::start([("/f", held)])
        })
        .collect();
    let running: Vec<_> = servers
        .iter()
        .enumerate()
        .map(|(n, origin)| place.start(&["-x1", "-o", &format!("f{n}"), &origin.url("/f")]))
        .collect();
    for origin in &servers {
        assert!(origin.wait_for_requests(1, std::time::Duration::from_secs(60)));
    }
    gate.open();
    for (n, running) in running.into_iter().enumerate() {
        running.end().ends_with(0);
        place.check(&format!("f{n}"), 0, SIZE);
    }
    let objects = list(&place);
    for origin in &servers {
        let name = name(origin);
        assert!(
            objects
                .iter()
                .any(|object| object["origin"] == name.as_str()),
            "{name}"
        );
    }
    assert_eq!(objects.len(), MANY);
}

/// An interrupted download has learned something too.
#[test]
fn an_interrupted_download_is_remembered() {
    let place = Place::new();
    let gate = Gate::at(SIZE / 2);
    let held = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/f", held)]);
    let mut running = place.start(&["-x1", &origin.url("/f")]);
    running.wait_for_landed(1);
    running.signal(rustix::process::Signal::INT);
    running.end().ends_with(130);
    assert_eq!(list(&place).len(), 1);
    gate.open();
}
