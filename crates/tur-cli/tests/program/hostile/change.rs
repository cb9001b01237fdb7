//! Rows 042 to 051: representations that change while they are fetched, and what tells.

use tur_core::Wall;
use tur_testkit::{Deed, IfRange, Loopback, TODAY, When};

use super::{KIB, NAME, Row, SIZE, other, paced, redirect};
use crate::harness::sha256;

const YESTERDAY: Wall = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);

#[test]
fn r042_etag_flip() {
    let row = Row::new(paced(SIZE).changes_after(2, 1));
    let ran = row.tur(&[], 0);
    row.file(1, SIZE);
    ran.says("starting again from zero");

    let row = Row::new(paced(SIZE).changes_after(2, 1));
    let ran = row.tur(&["--on-change", "fail"], 11);
    row.nothing();
    ran.says("\"v0\"");
    ran.says("\"v1\"");
}

#[test]
fn r044_lm_flip() {
    let origin = paced(SIZE).etag(None).last_modified(Some(YESTERDAY));
    let later = Wall::from_unix_secs(YESTERDAY.unix_secs() + 3_600);
    let origin = origin
        .rule(When::After(2), other(1, None))
        .rule(When::After(2), Deed::Modified(Some(later)));
    let row = Row::new(origin);
    row.tur(&[], 0);
    row.file(1, SIZE);
}

#[test]
fn r046_size_flip() {
    let grown = Deed::Serve {
        version: 1,
        etag: None,
        size: SIZE + 64 * KIB,
    };
    let row = Row::new(paced(SIZE).no_validators().rule(When::After(2), grown));
    row.tur(&[], 0);
    row.file(1, SIZE + 64 * KIB);
}

#[test]
fn r047_silent_flip_sha() {
    let origin = paced(SIZE).no_validators();
    let row = Row::new(origin.rule(When::After(2), other(1, None)));
    let sum = format!("sha256:{}", sha256(0, SIZE));
    let ran = row.tur(&["--checksum", &sum], 10);
    row.nothing();
    ran.says("sha256 differs");
}

#[test]
fn r048_wrong_sha() {
    let row = Row::new(paced(SIZE).version(1));
    let sum = format!("sha256:{}", sha256(0, SIZE));
    let ran = row.tur(&["--checksum", &sum], 10);
    row.nothing();
    ran.says(&sha256(1, SIZE));
}

#[test]
fn r049_mirrors_differ() {
    let nodes = [0, 1].map(|version| Loopback::start([("/n", paced(SIZE).version(version))]));
    let to = |node: &Loopback| Deed::Redirect {
        status: 302,
        location: node.url("/n"),
    };
    let alternating = redirect(nodes[0].url("/n")).rule(When::Every(2), to(&nodes[1]));
    let row = Row::new(alternating);
    row.tur(&[], 0);
    row.file(0, SIZE);
    assert_eq!(nodes[1].requests(), 0, "one node serves all lanes");
    assert!(nodes[0].requests() >= 4, "{NAME} came over several lanes");
}

#[test]
fn r051_if_range_etag_200() {
    let (row, _) = Row::new(paced(SIZE).if_range(IfRange::Never)).succeeds();
    let seen = row.origin.seen();
    let without = seen.iter().filter(|s| s.if_range.is_none());
    let served = without.filter(|s| s.status == 206 && s.range.is_some_and(|r| r.start > 0));
    assert!(served.count() > 0, "asked without the tag: {seen:?}");
}
