//! Signals and `kill -9`: what landed is kept, and the same command goes on from there.

use std::time::Duration;

use rustix::process::Signal;
use tur_core::Rate;
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::harness::{Place, Running, hangup_is_ignored};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 4 * MIB;

/// An origin that serves the first MiB of `/f`, and the rest when the gate is opened.
fn origin() -> (Loopback, Gate) {
    let gate = Gate::at(MIB);
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::Hold(gate.clone()));
    (Loopback::start([("/f", behaviour)]), gate)
}

/// Runs the same command again, and looks how much of the file came twice.
#[track_caller]
fn goes_on(place: &Place, origin: &Loopback, gate: &Gate) {
    gate.open();
    let ran = place
        .tur(&["--json", "-x1", &origin.url("/f")])
        .ends_with(0);
    place.check("f", 0, SIZE);
    assert_eq!(place.names(), ["f"]);
    assert!(origin.bytes_sent() <= SIZE + MIB / 2, "{:?}", origin.seen());
    let done = ran.last();
    assert!(done["resumed_bytes"].as_u64() >= Some(MIB / 2), "{done}");
}

#[test]
fn signals_keep_what_landed() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 130)] {
        if signal == Signal::HUP && hangup_is_ignored() {
            // These tests were started by `nohup` or its like: then tur is right not to hear it.
            continue;
        }
        let (origin, gate) = origin();
        let place = Place::new();
        let mut running = place.start(&["-x1", &origin.url("/f")]);
        running.wait_for_landed(MIB - (64 << 10));
        running.signal(signal);
        let ran = running.end().ends_with(code);
        let last = ran.last();
        assert_eq!(
            (&last["event"], &last["kind"]),
            (&"error".into(), &"signal".into())
        );
        assert_eq!(place.names(), ["f.part", "f.tur"], "{ran:?}");
        goes_on(&place, &origin, &gate);
    }
}

#[test]
fn what_landed_survives_a_kill() {
    let (origin, gate) = origin();
    let place = Place::new();
    let mut running = place.start(&["-x1", &origin.url("/f")]);
    running.wait_for_landed(MIB - (64 << 10));
    running.signal(Signal::KILL);
    assert_eq!(running.end().code, None);
    assert_eq!(place.names(), ["f.part", "f.tur"]);
    goes_on(&place, &origin, &gate);
}

/// Without a strong validator samples of what landed are compared first; those come twice.
#[test]
fn what_landed_is_gone_on_with_if_an_overlap_is_equal() {
    for (version, same) in [(0, true), (1, false)] {
        let gate = Gate::at(MIB);
        let first = Behaviour::new(SIZE)
            .no_validators()
            .rule(When::Always, Deed::Hold(gate.clone()));
        let origin = Loopback::start([("/f", first)]);
        let place = Place::new();
        let mut running = place.start(&["-x1", &origin.url("/f")]);
        running.wait_for_landed(MIB - (64 << 10));
        running.signal(Signal::KILL);
        assert_eq!(running.end().code, None);
        let silent = Behaviour {
            version,
            ..Behaviour::new(SIZE).no_validators()
        };
        origin.swap("/f", silent);
        let ran = place
            .tur(&["--json", "-v", "-x1", &origin.url("/f")])
            .ends_with(0);
        place.check("f", version, SIZE);
        assert_eq!(place.names(), ["f"]);
        let resumed = ran.last()["resumed_bytes"].as_u64();
        assert_eq!(resumed > Some(MIB / 2), same, "{ran:?}");
    }
}

/// Two files, over one connection and over eight, killed five times each. `cargo xtask kill` does more of it.
#[test]
fn ten_kills_spoil_nothing_and_cost_little() {
    const LARGE: u64 = 24 * MIB;
    const KILLS: u64 = 5;
    // So slow that a program that gets little of the machine keeps up: what is sent and not read is lost with it.
    for (lanes, pace) in [(1, 8 * MIB), (8, MIB)] {
        let behaviour = Behaviour::new(LARGE).pace(Rate::per_second(pace));
        let origin = Loopback::start([("/f", behaviour)]);
        let (place, url, count) = (Place::new(), origin.url("/f"), lanes.to_string());
        let words = ["--no-origin-memory", "-x", &count, "-s", &count, &url];
        for _ in 0..KILLS {
            let enough = origin.bytes_sent() + LARGE / (KILLS + 1);
            let running = place.start(&words);
            assert!(origin.wait_for_bytes(enough, Duration::from_secs(60)));
            running.signal(Signal::KILL);
            assert_eq!(running.end().code, None);
        }
        place.tur(&words).ends_with(0);
        place.check("f", 0, LARGE);
        assert_eq!(place.names(), ["f"]);
        // What was received and not written, and 64 KiB of each connection.
        let twice = origin.bytes_sent() - LARGE;
        let bound = KILLS * (MIB + lanes * (64 << 10));
        assert!(twice <= bound, "{twice} of {bound}: {:?}", origin.seen());
    }
}

#[test]
fn a_signal_before_anything_landed_leaves_nothing() {
    let behaviour = Behaviour::new(SIZE).rule(When::Always, Deed::BlackHole);
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let running = place.start(&[&origin.url("/f")]);
    assert!(origin.wait_for_requests(1, Duration::from_secs(60)));
    running.signal(Signal::INT);
    running.end().ends_with(130);
    assert_eq!(place.names(), [""; 0]);
}

#[test]
fn a_hangup_that_the_parent_ignores_stays_ignored() {
    let (origin, gate) = origin();
    let place = Place::new();
    let mut command = place.run("sh");
    command
        .args([
            "-c",
            "trap '' HUP; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_tur"),
        ])
        .args(["--json", "--max-time", "120", "-x1", &origin.url("/f")]);
    let mut running = Running::start(&mut command);
    running.wait_for_landed(1);
    running.signal(Signal::HUP);
    gate.open();
    running.end().ends_with(0);
    place.check("f", 0, SIZE);
}

#[test]
fn a_second_signal_ends_even_what_is_stuck() {
    let (origin, _gate) = origin();
    let place = Place::new();
    let mut command = place.run("sh");
    // The pipe is full before the first event is written, and nobody reads it.
    command
        .args(["-c", "head -c 65536 /dev/zero; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_tur"), "--json", &origin.url("/f")]);
    let running = Running::start(&mut command);
    assert!(origin.wait_for_requests(1, Duration::from_secs(60)));
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let code = running.end_unread();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}
