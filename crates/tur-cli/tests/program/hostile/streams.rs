//! Rows 139 to 143: origins that speak HTTP/2, and what goes wrong with a stream.

use tur_testkit::{Behaviour, Deed, Framing, Loopback, Ranges, Setup, Speaks, Tls, When};

use super::{NAME, Row, SIZE, paced, status};
use crate::harness::Ran;

/// An origin over TLS that speaks these, and its authority in `ca.pem`.
fn over_tls(speaks: Speaks, behaviour: Behaviour) -> Row {
    let setup = Setup {
        tls: Some(Tls::default()),
        speaks,
        ..Setup::default()
    };
    let row = Row::of(Loopback::start_with(setup, [("/file.bin", behaviour)]));
    let ca = row.origin.ca_pem().expect("over TLS");
    row.place.put("ca.pem", ca.as_bytes());
    row
}

/// Downloads over HTTP/2 alone.
#[track_caller]
fn run(row: &Row, code: i32) -> Ran {
    let ran = row.tur(&["--http2", "--ca-file", "ca.pem"], code);
    let protocols: Vec<_> = row.origin.seen().iter().map(|seen| seen.protocol).collect();
    assert!(
        protocols.iter().all(|protocol| *protocol == "h2"),
        "{protocols:?}"
    );
    let left = if code == 0 {
        row.place.check(NAME, 0, SIZE);
        vec!["ca.pem", NAME]
    } else {
        vec!["ca.pem"]
    };
    assert_eq!(row.place.names(), left);
    ran
}

#[test]
fn r139_h2_ok() {
    let row = over_tls(Speaks::Both, paced(SIZE));
    run(&row, 0);
    assert!(row.origin.requests() > 1, "over several lanes");
    // What is preferred where both are spoken, and what is asked for.
    for (flag, protocol) in [("-q", "h2"), ("--http1.1", "h1")] {
        let row = over_tls(Speaks::Both, paced(SIZE));
        row.tur(&[flag, "--ca-file", "ca.pem"], 0);
        row.place.check(NAME, 0, SIZE);
        assert!(
            row.origin
                .seen()
                .iter()
                .all(|seen| seen.protocol == protocol)
        );
    }
    // In clear text, to an origin that speaks nothing else.
    let setup = Setup {
        speaks: Speaks::H2,
        ..Setup::default()
    };
    let row = Row::of(Loopback::start_with(setup, [("/file.bin", paced(SIZE))]));
    row.tur(&["--http2"], 0);
    row.file(0, SIZE);
    // And none to one that does not.
    let row = Row::new(paced(SIZE));
    let ran = row.tur(&["--http2"], 7);
    row.nothing();
    ran.says("HTTP/2 was asked for");
    let row = over_tls(Speaks::H1, paced(SIZE));
    let ran = row.tur(&["--http2", "--ca-file", "ca.pem"], 7);
    ran.says("leave the choice of the protocol open");
    assert_eq!(row.origin.requests(), 0);
}

#[test]
fn r140_h2_refused_once() {
    let refused = Deed::ResetStream(7);
    let row = over_tls(Speaks::H2, paced(SIZE).rule(When::Only(1), refused));
    run(&row, 0);
    let seen = row.origin.seen();
    let wait = seen[1].at.saturating_sub(seen[0].at);
    assert!(wait.as_secs() < 5, "at once: {wait:?}");
}

/// The connection stays open, so that each request goes over the same one: that is no accident of a connection that others
/// had left.
#[test]
fn r140_h2_refused_always() {
    for (code, says) in [(7, "REFUSED_STREAM"), (2, "stream reset (INTERNAL_ERROR)")] {
        let row = over_tls(
            Speaks::H2,
            paced(SIZE).rule(When::Always, Deed::ResetStream(code)),
        );
        let ran = row.tur(&["--http2", "--ca-file", "ca.pem", "--retry", "2"], 4);
        ran.says(says);
        assert_eq!(row.place.names(), ["ca.pem"]);
        assert!(row.origin.requests() <= 6, "{}", row.origin.requests());
        assert!(row.origin.connections() > 1, "another one is tried");
    }
    // In the middle too, when the connection has served others: what landed is kept.
    let late = paced(SIZE).rule(When::After(4), Deed::ResetStream(7));
    let row = over_tls(Speaks::H2, late);
    row.tur(
        &["--http2", "--ca-file", "ca.pem", "--retry", "2", "-x", "4"],
        4,
    );
    assert!(row.origin.requests() < 40, "{}", row.origin.requests());
    assert!(row.place.names().contains(&format!("{NAME}.part")));
}

/// Three in a row, and HTTP/1.1 is spoken; where HTTP/2 alone was asked for, it is not.
#[test]
fn where_streams_never_end_well_http_1_is_spoken() {
    for deed in [
        Deed::ResetStream(2),
        Deed::ResetStream(11),
        Deed::GoAway(11),
        Deed::ResetAfter(1_000),
    ] {
        let behaviour = || (1..=3).fold(paced(SIZE), |to, n| to.rule(When::Only(n), deed.clone()));
        let row = over_tls(Speaks::Both, behaviour());
        row.tur(&["--ca-file", "ca.pem", "-x", "1", "-s", "1"], 0);
        row.place.check(NAME, 0, SIZE);
        let protocols: Vec<_> = row.origin.seen().iter().map(|seen| seen.protocol).collect();
        assert_eq!(protocols[..3], ["h2"; 3], "{deed:?}");
        let rest = &protocols[3..];
        assert!(
            rest.iter().all(|protocol| *protocol == "h1"),
            "{deed:?}: {rest:?}"
        );
        let row = over_tls(Speaks::Both, behaviour());
        run(&row, 0);
    }
}

/// A path that has died says nothing; TCP would find out after many minutes.
#[test]
fn a_connection_that_falls_silent_is_replaced() {
    for deed in [Deed::BlackHole, Deed::StallAfter(100)] {
        let silent = paced(SIZE).rule(When::OnConnection(1), deed);
        let row = over_tls(Speaks::H2, silent);
        let flags = ["--http2", "--ca-file", "ca.pem", "--read-timeout", "2"];
        row.tur(&flags, 0);
        row.place.check(NAME, 0, SIZE);
        let seen = row.origin.seen();
        let first = seen.iter().filter(|seen| seen.connection == 1).count();
        assert_eq!(first, 1, "{seen:?}");
    }
}

#[test]
fn r141_h2_goaway_once() {
    let row = over_tls(Speaks::H2, paced(SIZE).rule(When::Only(1), Deed::GoAway(0)));
    run(&row, 0);
    assert!(row.origin.connections() > 1, "another connection");
}

#[test]
fn r142_h2_rst_mid() {
    // No new byte comes after the first half, so that retries end.
    let half = paced(SIZE)
        .framing(Framing::Chunked)
        .ranges(Ranges::Ignored);
    let row = over_tls(
        Speaks::H2,
        half.rule(When::Always, Deed::ResetAfter(SIZE / 2)),
    );
    let ran = run(&row, 4);
    ran.says("stream reset (INTERNAL_ERROR)");
}

#[test]
fn r143_h2_cl_mismatch() {
    let short = paced(SIZE).framing(Framing::LyingLength(SIZE + 1_000));
    let row = over_tls(Speaks::H2, short.ranges(Ranges::Ignored));
    let ran = run(&row, 7);
    ran.says("not as long as was told");
}

/// Whatever shuts its window: one stream brings nothing more, and the others do.
#[test]
fn x08_a_stream_that_gets_no_further_is_taken_over() {
    let shut = paced(SIZE).rule(When::Only(2), Deed::StallAfter(1_000));
    let row = over_tls(Speaks::H2, shut.pace(tur_core::Rate::per_second(128 << 10)));
    let ran = run(&row, 0);
    ran.says("2.0 MiB");
    let seen = row.origin.seen();
    let took = seen[seen.len() - 1].at.saturating_sub(seen[0].at);
    assert!(took.as_secs() < 25, "before the read time-out: {took:?}");
}

/// What is said of a connection is not asked of it again.
#[test]
fn x11_a_connection_that_is_misdirected_is_left() {
    for speaks in [Speaks::H2, Speaks::H1] {
        let misdirected = paced(SIZE).rule(When::OnConnection(1), status(421, None));
        let row = over_tls(speaks, misdirected);
        row.tur(&["--ca-file", "ca.pem"], 0);
        row.place.check(NAME, 0, SIZE);
        let seen = row.origin.seen();
        let first = seen.iter().filter(|seen| seen.connection == 1).count();
        assert_eq!(first, 1, "{seen:?}");
    }
}
