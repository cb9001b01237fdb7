//! Rows 018 to 040: how bodies and heads begin and end.

use std::collections::BTreeSet;

use tur_testkit::{Behaviour, Deed, Framing, Gate, Ranges, When};

use super::{KIB, MIB, Row, SIZE, paced};

/// The whole body under these values of `Content-Length`.
fn lengths(texts: &[&str]) -> Behaviour {
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    Behaviour::new(100_000).rule(When::Always, Deed::Framing(Framing::Lengths(texts)))
}

fn chunked() -> Behaviour {
    paced(SIZE)
        .framing(Framing::Chunked)
        .ranges(Ranges::Ignored)
        .no_validators()
        .accept_ranges(false)
}

#[test]
fn r018_cl_negative() {
    Row::new(lengths(&["-1"])).refused(7, "Content-Length");
}

#[test]
fn r019_cl_overflow() {
    Row::new(lengths(&["99999999999999999999999"])).refused(7, "Content-Length");
}

#[test]
fn r020_cl_two_differ() {
    Row::new(lengths(&["50000", "100000"])).refused(7, "Content-Length");
}

#[test]
fn r022_chunked_ok() {
    Row::new(chunked()).succeeds();
}

#[test]
fn r023_chunked_truncated() {
    let row = Row::new(chunked().rule(When::Always, Deed::CutAfter(SIZE / 2)));
    let ran = row.tur(&["--retry", "2"], 4);
    row.nothing();
    ran.says("last chunk");
    assert!(row.origin.requests() >= 3, "it is tried again");
}

#[test]
fn r026_close_delimited() {
    let origin = paced(SIZE)
        .framing(Framing::UntilClose)
        .ranges(Ranges::Ignored)
        .no_validators();
    let (_, ran) = Row::new(origin).succeeds();
    ran.says("length");
}

#[test]
fn r028_early_close_recover() {
    let cut = Deed::CutAfter(SIZE / 8);
    Row::new(paced(SIZE).rule(When::First(3), cut)).succeeds();
}

#[test]
fn r029_early_close_always() {
    let origin = paced(SIZE)
        .ranges(Ranges::Ignored)
        .accept_ranges(false)
        .rule(When::Always, Deed::CutAfter(SIZE / 2));
    let row = Row::new(origin);
    let ran = row.tur(&["--retry", "2"], 4);
    row.nothing();
    ran.says("1048576 of 2097152 bytes");
    ran.says("3 tries");
}

#[test]
fn r031_extra_bytes() {
    let (row, _) = Row::new(paced(SIZE).rule(When::Always, Deed::Extra(4 * KIB))).succeeds();
    // A connection with bytes that belong to nothing is used no more.
    let seen = row.origin.seen();
    let used: BTreeSet<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(used.len(), seen.len(), "{seen:?}");
}

#[test]
fn r032_zero_length() {
    let row = Row::new(Behaviour::new(0));
    row.tur(&[], 0);
    row.file(0, 0);
}

#[test]
fn r033_one_byte() {
    let row = Row::new(Behaviour::new(1));
    row.tur(&[], 0);
    row.file(0, 1);
}

#[test]
fn r034_headers_endless() {
    let gate = Gate::at(0);
    let endless = Behaviour::new(0).rule(When::Always, Deed::EndlessHead);
    let row = Row::new(endless.rule(When::Always, Deed::HoldHead(gate.clone())));
    let mut running = row.start(&[]);
    let resident = running.peak_kib(|| gate.open());
    running.end().ends_with(14).says("header");
    row.nothing();
    if cfg!(target_os = "linux") {
        assert!(matches!(resident, Some(1..65_536)), "{resident:?} KiB");
    }
    assert_eq!(row.origin.requests(), 1, "it would be no better again");
}

#[test]
fn r036_hints_103() {
    Row::new(paced(SIZE).rule(When::Always, Deed::Interim(4))).succeeds();
}

#[test]
fn r038_garbage_status() {
    let row = Row::new(Behaviour::new(SIZE).rule(When::Always, Deed::NotHttp));
    let (_, ran) = row.refused(7, "HTTP");
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
}

#[test]
fn r039_stall_recover() {
    let stall = Deed::StallAfter(200 * KIB);
    let row = Row::new(paced(SIZE).rule(When::First(2), stall));
    row.tur(&["--read-timeout", "1"], 0);
    row.file(0, SIZE);
}

#[test]
fn r040_stall_headers() {
    let row = Row::new(Behaviour::new(MIB).rule(When::Always, Deed::BlackHole));
    let ran = row.tur(&["--read-timeout", "0.3", "--retry", "2"], 4);
    row.nothing();
    ran.says("3 tries");
}
