//! Files: content, names, what stood there before, and how many connections and requests it takes.

use tur_core::Rate;
use tur_testkit::{Behaviour, Deed, Framing, Gate, Loopback, TODAY, When};
#[cfg(feature = "http3")]
use tur_testkit::{Setup, Speaks, Tls};

use crate::harness::Place;

const MIB: u64 = 1 << 20;

#[test]
fn a_file_arrives_over_several_connections() {
    let origin = Loopback::start([(
        "/file.bin",
        Behaviour::new(8 * MIB).pace(Rate::per_second(4 * MIB)),
    )]);
    let place = Place::new();
    let ran = place
        .tur(&[
            "-s4",
            "-x",
            "4",
            "-k256K",
            "--json",
            &origin.url("/file.bin"),
        ])
        .ends_with(0);
    place.check("file.bin", 0, 8 * MIB);
    assert_eq!(place.names(), ["file.bin"]);
    assert_eq!(ran.last()["lanes_max"], 4);
    assert!(origin.connections() >= 4, "{:?}", origin.seen());
    let ranged = origin
        .seen()
        .iter()
        .filter(|seen| seen.range.is_some_and(|range| range.start > 0))
        .count();
    assert!(ranged >= 3, "{:?}", origin.seen());
}

#[test]
fn one_connection_is_one_connection() {
    let origin = Loopback::start([("/file.bin", Behaviour::new(8 * MIB))]);
    let place = Place::new();
    place.tur(&["-x1", &origin.url("/file.bin")]).ends_with(0);
    place.check("file.bin", 0, 8 * MIB);
    assert_eq!(
        (origin.connections(), origin.requests(), origin.bytes_sent()),
        (1, 1, 8 * MIB)
    );
}

#[test]
fn limits_of_connections_hold_whatever_the_lanes() {
    for (flag, n) in [("--max-per-origin", 2), ("--max-connections", 3)] {
        let slow = Behaviour::new(4 * MIB).pace(Rate::per_second(MIB));
        let origin = Loopback::start([("/file.bin", slow)]);
        let place = Place::new();
        let number = n.to_string();
        let args = [flag, &number, "-x40", "--json", &origin.url("/file.bin")];
        let ran = place.tur(&args).ends_with(0);
        place.check("file.bin", 0, 4 * MIB);
        assert_eq!(ran.last()["lanes_max"], n, "{flag}");
        // The first one is cut once, and opened again.
        assert!(origin.connections() <= n + 1, "{flag}");
        assert_eq!(ran.stderr, "", "a limit that was asked for is no shortage");
    }
}

#[test]
fn a_small_file_takes_one_request() {
    let origin = Loopback::start([
        ("/small", Behaviour::new(1_024)),
        ("/empty", Behaviour::new(0)),
    ]);
    let place = Place::new();
    place.tur(&[&origin.url("/small")]).ends_with(0);
    place.check("small", 0, 1_024);
    assert_eq!(origin.requests(), 1);
    place.tur(&[&origin.url("/empty")]).ends_with(0);
    place.check("empty", 0, 0);
    assert_eq!(place.names(), ["empty", "small"]);
}

#[test]
fn what_is_said_goes_to_standard_error() {
    let origin = Loopback::start([("/file.bin", Behaviour::new(64 << 10))]);
    let place = Place::new();
    let ran = place.tur(&[&origin.url("/file.bin")]).ends_with(0);
    assert_eq!(ran.stdout, "");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("file.bin: 64.0 KiB in "), "{ran:?}");
    let ran = place
        .tur(&["-q", "-o", "quiet.bin", &origin.url("/file.bin")])
        .ends_with(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let ran = place
        .tur(&[
            "-vv",
            "--progress",
            "bar",
            "-o",
            "loud.bin",
            &origin.url("/file.bin"),
        ])
        .ends_with(0);
    assert!(ran.stderr.contains("validator \"v0\""), "{ran:?}");
    for name in ["file.bin", "quiet.bin", "loud.bin"] {
        place.check(name, 0, 64 << 10);
    }
}

#[test]
fn the_server_may_name_the_file_and_not_the_place() {
    let named = |raw: &[u8]| Behaviour::new(5_000).disposition(raw);
    let origin = Loopback::start([
        ("/a?id=1", named(b"attachment; filename=\"report.pdf\"")),
        (
            "/b",
            named(b"attachment; filename*=UTF-8''na%C3%AFve.txt; filename=plain.txt"),
        ),
        ("/c", named(b"attachment; filename=\"../../up.bin\"")),
    ]);
    let place = Place::new();
    for path in ["/a?id=1", "/b", "/c"] {
        place
            .tur(&["-d", "in/side", &origin.url(path)])
            .ends_with(0);
    }
    assert_eq!(place.names(), ["in"]);
    for name in ["report.pdf", "naïve.txt", "up.bin"] {
        place.check(&format!("in/side/{name}"), 0, 5_000);
    }
}

#[test]
fn a_given_name_stands_under_the_directory() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
    let place = Place::new();
    let url = origin.url("/f");
    place.tur(&["-d", "d", "-o", "e/x.bin", &url]).ends_with(3);
    assert_eq!(origin.requests(), 0);
    place
        .tur(&["-d", "d", "-o", "e/x.bin", "--create-dirs", &url])
        .ends_with(0);
    place.check("d/e/x.bin", 0, 5_000);
    place.tur(&["-d", "d", "-oy.bin", &url]).ends_with(0);
    place.check("d/y.bin", 0, 5_000);
}

#[test]
fn another_file_of_that_name_is_treated_as_asked() {
    for (args, code, there, new) in [
        (&[][..], 0, true, Some("f.1")),
        (&["-o", "f"], 3, true, None),
        (&["--exists", "refuse"], 3, true, None),
        (&["--exists", "rename", "-o", "f"], 0, true, Some("f.1")),
        (&["--exists", "overwrite"], 0, false, Some("f")),
        (&["--exists", "skip"], 0, true, None),
    ] {
        let origin = Loopback::start([("/f", Behaviour::new(5_000))]);
        let place = Place::new();
        place.put("f", b"mine");
        let url = origin.url("/f");
        let ran = place.tur(&[args, &[url.as_str()]].concat()).ends_with(code);
        if there {
            place.check_bytes("f", b"mine");
        }
        if let Some(name) = new {
            place.check(name, 0, 5_000);
        }
        let expected = 1 + usize::from(there && new.is_some());
        assert_eq!(
            place.names().len(),
            expected,
            "{args:?}: {:?} {ran:?}",
            place.names()
        );
    }
}

#[test]
fn a_complete_file_is_not_fetched_again() {
    let origin = Loopback::start([("/f", Behaviour::new(MIB).last_modified(Some(TODAY)))]);
    let place = Place::new();
    let url = origin.url("/f");
    place.tur(&[&url]).ends_with(0);
    place.check("f", 0, MIB);
    let sent = origin.bytes_sent();
    let ran = place.tur(&["-c", "-L", &url]).ends_with(0);
    assert!(ran.stderr.contains("already"), "{ran:?}");
    assert!(origin.bytes_sent() - sent < 64 << 10, "{:?}", origin.seen());
    assert_eq!(place.names(), ["f"]);

    let requests = origin.requests();
    let sum = format!("sha256={}", crate::harness::sha256(0, MIB));
    place
        .tur(&["--checksum", &sum, "-o", "f", &url])
        .ends_with(0);
    assert_eq!(origin.requests(), requests);
    place.check("f", 0, MIB);
}

#[test]
fn the_time_of_the_server_is_kept_unless_not_wanted() {
    let origin = Loopback::start([("/f", Behaviour::new(5_000).last_modified(Some(TODAY)))]);
    let place = Place::new();
    let modified = |name: &str| {
        let file = std::fs::File::open(place.file(name)).expect("it is there");
        let time = file
            .metadata()
            .and_then(|meta| meta.modified())
            .expect("files have times");
        time.duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    };
    place.tur(&["-o", "kept", &origin.url("/f")]).ends_with(0);
    place
        .tur(&["-o", "own", "--no-remote-time", &origin.url("/f")])
        .ends_with(0);
    assert_eq!(modified("kept"), 1_800_000_000);
    assert_ne!(modified("own"), 1_800_000_000);
    place.check("kept", 0, 5_000);
    place.check("own", 0, 5_000);
}

#[test]
fn a_digest_that_matches_is_told() {
    let origin = Loopback::start([("/f", Behaviour::new(MIB))]);
    let place = Place::new();
    let hex = crate::harness::sha256(0, MIB);
    let ran = place
        .tur(&[
            "--json",
            "--checksum",
            &format!("sha256:{hex}"),
            &origin.url("/f"),
        ])
        .ends_with(0);
    place.check("f", 0, MIB);
    assert_eq!(ran.last()["sha256"], hex);
}

#[test]
fn a_file_that_changes_on_the_way_is_fetched_again_and_never_mixed() {
    let held = Gate::at(MIB);
    let behaviour = Behaviour::new(8 * MIB)
        .rule(When::Only(1), Deed::Hold(held))
        .changes_after(1, 1);
    let origin = Loopback::start([("/f", behaviour)]);
    let place = Place::new();
    let ran = place
        .tur(&["-s4", "-x4", "-k64K", &origin.url("/f")])
        .ends_with(0);
    place.check("f", 1, 8 * MIB);
    assert!(ran.stderr.contains("starting again from zero"), "{ran:?}");
}

#[test]
fn breaks_and_errors_on_the_way_are_gone_over() {
    let flaky = Behaviour::new(4 * MIB)
        .framing(Framing::Chunked)
        .rule(When::First(2), Deed::CutAfter(MIB))
        .rule(
            When::Only(3),
            Deed::Status {
                status: 503,
                retry_after: None,
            },
        );
    let origin = Loopback::start([("/f", flaky)]);
    let place = Place::new();
    place.tur(&["-x1", &origin.url("/f")]).ends_with(0);
    place.check("f", 0, 4 * MIB);
}

#[cfg(feature = "http3")]
#[test]
fn http3_is_spoken_where_it_is_asked_for() {
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks: Speaks::H3,
        ..Setup::default()
    };
    let flaky = Behaviour::new(8 * MIB).rule(When::First(1), Deed::CutAfter(MIB));
    let origin = Loopback::start_with(setup, [("/f", flaky)]);
    let place = Place::new();
    place.put("ca.pem", origin.ca_pem().expect("over TLS").as_bytes());
    let url = origin.url("/f");
    let asked = ["--http3", "--ca-file", "ca.pem", "--json", &url];
    let ran = place.tur(&asked).ends_with(0);
    place.check("f", 0, 8 * MIB);
    assert_eq!(ran.last()["protocol"], "h3");
    assert!(origin.seen().iter().all(|seen| seen.protocol == "h3"));

    let clear = Loopback::start([("/g", Behaviour::new(MIB))]);
    let ran = place.tur(&["--http3", &clear.url("/g")]).ends_with(7);
    assert!(ran.stderr.contains("https://"), "{}", ran.stderr);
    assert_eq!(clear.connections(), 0);
}

#[test]
fn tls_is_trusted_with_the_authority_that_was_given() {
    let origin = Loopback::start_tls([("/f", Behaviour::new(MIB))]);
    let place = Place::new();
    place.put("ca.pem", origin.ca_pem().expect("over TLS").as_bytes());
    let url = origin.url("/f");
    place.tur(&["--ca-file", "ca.pem", &url]).ends_with(0);
    place
        .tur(&["--cacert", "ca.pem", "-o", "g", &url])
        .ends_with(0);
    place.check("f", 0, MIB);
    place.check("g", 0, MIB);
}

#[test]
fn help_and_version_are_no_errors() {
    for (flag, part) in [
        ("--help", "Exit codes:"),
        ("-h", "Exit codes:"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let ran = Place::new().tur(&[flag]).ends_with(0);
        assert!(ran.stdout.contains(part), "{ran:?}");
        assert_eq!(ran.stderr, "");
    }
    // Nobody reads: no panic, no error.
    let place = Place::new();
    let mut command = place.run("sh");
    command.args(["-c", "\"$0\" --help | true", env!("CARGO_BIN_EXE_tur")]);
    let output = command.output().expect("there is a shell");
    assert!(output.stderr.is_empty(), "{output:?}");
}
