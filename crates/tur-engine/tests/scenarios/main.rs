//! Scenarios over real sockets, each test named by its row: what is cut, changed, refused or dropped on the way.
//!
//! Byte i of a file is i mod 251, and every test reads back what it got. Scenarios in which time matters are in
//! `src/driver/tests/scenarios.rs`, under a clock that jumps.

mod changes;
mod cuts;
mod shutdown;
#[path = "../loopback/stand.rs"]
mod stand;

use std::time::Duration;

use tur_engine::{Download, RetryPolicy};

use self::stand::Stand;

/// The default retries, without the wait between them.
fn quick() -> RetryPolicy {
    RetryPolicy {
        base: Duration::from_millis(1),
        ..RetryPolicy::default()
    }
}

/// A download of one lane that waits for nothing but the origin.
fn single(stand: &Stand) -> Download {
    stand.download().lanes(1).retry(quick())
}

/// Where each request began, in order.
fn starts(stand: &Stand) -> Vec<u64> {
    let seen = stand.origin.seen();
    seen.iter()
        .map(|seen| seen.range.map_or(0, |range| range.start))
        .collect()
}

/// Body bytes that were sent for a path, in its requests from number `first` on, counted from 0.
fn sent(stand: &Stand, path: &str, first: usize) -> u64 {
    let seen = stand.origin.seen();
    let of_path = seen.iter().filter(|seen| seen.path == path);
    of_path.skip(first).map(|seen| seen.sent).sum()
}

/// So many bytes were sent, and no more.
#[track_caller]
fn assert_sent(stand: &Stand, (path, first): (&str, usize), bytes: u64) {
    assert_eq!(sent(stand, path, first), bytes, "{path}");
}

/// The statuses of the answers, in order.
fn statuses(stand: &Stand) -> Vec<u16> {
    let seen = stand.origin.seen();
    seen.iter().map(|seen| seen.status).collect()
}
