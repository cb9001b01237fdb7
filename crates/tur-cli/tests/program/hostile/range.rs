//! Rows 001 to 016: what origins do with `Range`.

use tur_testkit::{Behaviour, Deed, Framing, Ranges, When};

use super::{KIB, Row, SIZE, paced};

/// Requests for a range that does not begin at 0.
fn beyond_zero(row: &Row) -> usize {
    let seen = row.origin.seen();
    let later = |range: tur_core::ByteRange| range.start > 0;
    seen.iter().filter(|s| s.range.is_some_and(later)).count()
}

#[test]
fn r001_baseline() {
    let (row, _) = Row::new(paced(SIZE)).succeeds();
    assert!(beyond_zero(&row) >= 3, "{:?}", row.origin.seen());
}

#[test]
fn r002_no_range() {
    let origin = paced(SIZE).ranges(Ranges::Ignored).accept_ranges(false);
    let (row, ran) = Row::new(origin).succeeds();
    ran.says("does not serve ranges");
    // The first body goes on to its end; whoever else asked is turned away before long.
    assert_eq!(row.origin.seen()[0].sent, SIZE);
}

#[test]
fn r003_accept_ranges_lie() {
    let (row, _) = Row::new(paced(SIZE).ranges(Ranges::Ignored)).succeeds();
    assert_eq!(row.origin.seen()[0].sent, SIZE);
}

#[test]
fn r006_206_zero_start() {
    Row::new(paced(SIZE).ranges(Ranges::FromZero)).succeeds();
}

#[test]
fn r007_206_total_mismatch() {
    let larger = Deed::Serve {
        version: 1,
        etag: None,
        size: SIZE + 64 * KIB,
    };
    let origin = paced(SIZE).no_validators().rule(When::From(1), larger);
    let row = Row::new(origin);
    let ran = row.tur(&[], 11);
    ran.says(&SIZE.to_string());
    ran.says(&(SIZE + 64 * KIB).to_string());
    row.nothing();
}

#[test]
fn r008_206_short() {
    let (row, _) = Row::new(paced(SIZE).ranges(Ranges::ShortAtMost(256 * KIB))).succeeds();
    assert!(row.origin.seen().iter().all(|seen| seen.sent <= 256 * KIB));
}

#[test]
fn r009_206_long() {
    let (row, _) = Row::new(paced(SIZE).ranges(Ranges::LongToEnd)).succeeds();
    assert!(beyond_zero(&row) >= 3, "{:?}", row.origin.seen());
}

#[test]
fn r010_206_no_content_range() {
    Row::new(paced(SIZE).ranges(Ranges::NoContentRange)).succeeds();
}

#[test]
fn r012_206_star_total() {
    Row::new(paced(SIZE).ranges(Ranges::StarTotal)).succeeds();
}

#[test]
fn r014_range_total_overflow() {
    let label = "bytes 0-18446744073709551615/18446744073709551616";
    let too_long = Framing::Lengths(vec!["18446744073709551616".to_owned()]);
    let origin = Behaviour::new(1_000)
        .ranges(Ranges::Label(label.to_owned()))
        .rule(When::Plain, Deed::Framing(too_long));
    Row::new(origin).refused(7, "Content-Range");
}

#[test]
fn r016_416_always() {
    let (row, _) = Row::new(paced(SIZE).ranges(Ranges::Refused)).succeeds();
    let plain = row.origin.seen().iter().any(|seen| seen.range.is_none());
    assert!(plain, "{:?}", row.origin.seen());
}
