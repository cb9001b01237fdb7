//! Rows 052 to 057: codings that nobody asked for, and pages in place of the file.

use tur_testkit::{Behaviour, Deed, When, strong};

use super::{Row, SIZE, paced, status};

#[test]
fn r052_gzip_offered() {
    let coded = Deed::Serve {
        version: 1,
        etag: Some(strong("gz")),
        size: SIZE / 2,
    };
    let label = Deed::Field("Content-Encoding".to_owned(), b"gzip".to_vec());
    let offered = || When::Says("accept-encoding".to_owned(), "gzip".to_owned());
    let origin = paced(SIZE).rule(offered(), coded).rule(offered(), label);
    let (row, _) = Row::new(origin).succeeds();
    for seen in row.origin.seen() {
        assert_eq!(seen.field("accept-encoding"), Some(&b"identity"[..]));
    }
}

#[test]
fn r053_gzip_forced() {
    let (_, ran) = Row::new(paced(SIZE).encoding("gzip")).succeeds();
    ran.says("gzip");
}

#[test]
fn r055_html_mid_200() {
    let (_, ran) = Row::new(paced(SIZE).rule(When::After(2), Deed::Page)).succeeds();
    ran.says("HTML page");

    // Nobody is left who could bring the rest.
    let page = paced(SIZE)
        .rule(When::First(1), Deed::CutAfter(SIZE / 2))
        .rule(When::After(1), Deed::Page);
    let row = Row::new(page);
    let ran = row.tur(&["--retry", "1"], 8);
    row.part();
    ran.says("HTML page");
}

#[test]
fn r057_html_503_mid() {
    let middle = When::After(1).and(When::First(4)).and(When::Ranged);
    let (row, _) = Row::new(paced(SIZE).rule(middle, status(503, Some(1)))).succeeds();
    // The lane that was served goes on; no other one asks meanwhile.
    let seen = row.origin.seen();
    let refused = seen.iter().filter(|seen| seen.status == 503).count();
    assert!((1..=3).contains(&refused) && seen.len() <= 8, "{seen:?}");
}

/// A page from the first answer on is what was asked for, and no more than noted.
#[test]
fn a_page_from_the_beginning_is_a_file() {
    let row = Row::new(Behaviour::new(SIZE).media_type("text/html"));
    row.tur(&[], 0);
    row.file(0, SIZE);
}
