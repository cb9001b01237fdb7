//! `--json`: the lines that scripts rely on.

use serde_json::Value;
use tur_core::Rate;
use tur_testkit::{Behaviour, Deed, Gate, Loopback, When};

use crate::harness::{Place, Ran, Running};

const MIB: u64 = 1 << 20;

/// Every line has these.
#[track_caller]
fn check_all(ran: &Ran) {
    let mut last = 0;
    for event in ran.events() {
        assert!(event["event"].is_string() && event["id"] == 1, "{event}");
        let t = event["t_ms"]
            .as_u64()
            .unwrap_or_else(|| panic!("no time: {event}"));
        assert!(t >= last, "time goes back: {ran:?}");
        last = t;
        let fraction = |value: &Value| value.is_f64();
        assert!(
            !event.as_object().expect("an object").values().any(fraction),
            "{event}"
        );
    }
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

#[test]
fn a_download_tells_its_story() {
    let origin = Loopback::start([(
        "/f.bin",
        Behaviour::new(4 * MIB).pace(Rate::per_second(2 * MIB)),
    )]);
    let place = Place::new();
    let url = origin.url("/f.bin");
    let ran = place.tur(&["--json", "-x2", &url]).ends_with(0);
    place.check("f.bin", 0, 4 * MIB);
    assert_eq!(ran.stderr, "");
    check_all(&ran);
    let events = ran.events();
    assert_eq!(
        (&events[0]["event"], &events[0]["url"]),
        (&"start".into(), &Value::from(url.as_str()))
    );
    let [opened] = named(&events, "opened")[..] else {
        panic!("{ran:?}");
    };
    let keys = ["len", "name", "validator", "protocol", "resumed_bytes"].map(|key| &opened[key]);
    let expected: [Value; 5] = [
        (4 * MIB).into(),
        "f.bin".into(),
        "\"v0\"".into(),
        "h1".into(),
        0.into(),
    ];
    assert_eq!(keys, expected.each_ref());
    let progress = named(&events, "progress");
    assert!(!progress.is_empty(), "{ran:?}");
    for event in progress {
        assert!(
            event["landed"].as_u64() <= Some(4 * MIB) && event["total"] == 4 * MIB,
            "{event}"
        );
        assert!(event["rate"].is_u64() && event["lanes"].is_u64(), "{event}");
    }
    assert_eq!(named(&events, "verifying").len(), 1);
    for detail in [
        "lanes",
        "decision",
        "enqueued",
        "first_byte",
        "origin_learned",
    ] {
        assert!(named(&events, detail).is_empty(), "{detail}: {ran:?}");
    }
    check_done(&ran, &url, &origin);
}

/// The last line of a download of 4 MiB.
fn check_done(ran: &Ran, url: &str, origin: &Loopback) {
    let done = ran.last();
    assert_eq!(
        (&done["event"], &done["url"]),
        (&"done".into(), &Value::from(url))
    );
    assert_eq!(
        (&done["bytes"], &done["resumed_bytes"]),
        (&Value::from(4 * MIB), &0.into())
    );
    assert!(
        done["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("f.bin")),
        "{done}"
    );
    assert_eq!(done["protocol"], "h1");
    for key in [
        "elapsed_ms",
        "verify_ms",
        "connections",
        "lanes_max",
        "requests",
        "wasted_bytes",
        "reused",
        "retries",
        "steals",
        "stolen_bytes",
    ] {
        assert!(done[key].is_u64(), "{key}: {done}");
    }
    assert_eq!(done.get("sha256"), None);
    assert_eq!(done["requests"], origin.requests());
    assert_eq!(done["connections"], origin.connections());
}

#[test]
fn details_come_with_v() {
    let gate = Gate::at(MIB);
    let behaviour = Behaviour::new(2 * MIB).rule(When::Always, Deed::Hold(gate.clone()));
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let receives = |lane: &Value| lane["state"] == "receiving" && lane["at"].is_u64();
    let args = ["--progress", "json", "-vv", "-x2", "--max-time", "120"];
    let mut running = Running::start(place.command(&args).arg(origin.url("/f")));
    running.wait_for(|event| {
        let lanes = event["lanes"].as_array();
        event["event"] == "lanes" && lanes.is_some_and(|lanes| lanes.iter().any(receives))
    });
    gate.open();
    let ran = running.end().ends_with(0);
    place.check("f", 0, 2 * MIB);
    check_all(&ran);
    let events = ran.events();
    let maps = named(&events, "lanes");
    let lane = maps
        .iter()
        .find_map(|event| event["lanes"].as_array()?.first())
        .unwrap_or_else(|| panic!("no lane was told: {ran:?}"));
    assert!(
        lane["lane"].is_u64() && lane["rate"].is_u64() && lane["address"].is_string(),
        "{lane}"
    );
    assert_eq!(events[0]["event"], "enqueued");
    assert_eq!(named(&events, "first_byte")[0]["at"], 0);
    assert_eq!(named(&events, "origin_learned")[0]["ranges"], true);
    let decisions = named(&events, "decision");
    assert!(
        decisions.iter().all(|event| event["text"].is_string()),
        "{ran:?}"
    );
    assert!(!decisions.is_empty(), "{ran:?}");
}

#[test]
fn retries_are_told() {
    let behaviour = Behaviour::new(MIB).rule(When::Only(1), Deed::Hangup);
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let ran = place.tur(&["--json", &origin.url("/f")]).ends_with(0);
    place.check("f", 0, MIB);
    check_all(&ran);
    let events = ran.events();
    let retries = named(&events, "retry");
    assert!(!retries.is_empty(), "{ran:?}");
    assert_eq!(ran.last()["retries"], retries.len());
    for retry in retries {
        assert!(
            retry["why"].is_string() && retry["after_ms"].is_u64() && retry["attempt"].is_u64(),
            "{retry}"
        );
    }
}

#[test]
fn a_failure_is_the_last_line() {
    let origin = Loopback::start([("/f", Behaviour::new(MIB))]);
    let place = Place::new();
    let ran = place.tur(&["--json", &origin.url("/absent")]).ends_with(8);
    check_all(&ran);
    let error = ran.last();
    assert_eq!(
        (&error["event"], &error["kind"]),
        (&"error".into(), &"server".into())
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("404")),
        "{error}"
    );
    assert_eq!(
        ran.events()
            .iter()
            .filter(|event| event["event"] == "error")
            .count(),
        1
    );
}

#[test]
fn a_reader_who_goes_away_stops_nothing() {
    let behaviour = Behaviour::new(2 * MIB).pace(Rate::per_second(2 * MIB));
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let mut running = place.start(&["-x1", &origin.url("/f")]);
    running.wait_for_landed(1);
    let output = running
        .close_stdout()
        .wait_with_output()
        .expect("a child can be waited for");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    place.check("f", 0, 2 * MIB);
}
