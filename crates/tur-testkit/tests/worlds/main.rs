//! Each deed of the language, seen through a raw socket and through the simulated transport: both worlds must show
//! the same.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cases;
mod memory;
mod wire;

use tur_core::ByteRange;
use tur_testkit::{Behaviour, content};

/// What a client may ask for.
#[derive(Clone, Debug, Default)]
struct Want {
    range: Option<ByteRange>,
    if_range: Option<&'static str>,
}

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sight {
    /// 0 if there was no answer.
    status: u16,
    /// `Content-Range` with a total, as far as it can be read.
    range: Option<(ByteRange, Option<u64>)>,
    /// N of `bytes */N`.
    unsatisfied: Option<u64>,
    etag: Option<String>,
    /// `Location` or `Retry-After`, where the status goes with one.
    detail: String,
    body: Vec<u8>,
    end: End,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Clean,
    Early,
    Reset,
    Silent,
    NotHttp,
    HeadTooLarge,
}

/// One row: the last of `requests` equal requests is looked at.
#[derive(Clone, Debug)]
struct Case {
    name: &'static str,
    behaviour: Behaviour,
    requests: u64,
    want: Want,
    sight: Sight,
}

/// Shows the case in both worlds.
fn check(case: &Case) {
    let wire = wire::look(case);
    assert_eq!(wire, case.sight, "{} over a socket", case.name);
    let memory = memory::look(case);
    assert_eq!(memory, case.sight, "{} in memory", case.name);
}

/// The sight of an answer with `status` and the bytes of a version.
fn sight(status: u16, version: u8, range: ByteRange) -> Sight {
    Sight {
        status,
        range: None,
        unsatisfied: None,
        etag: Some(format!("\"v{version}\"")),
        detail: String::new(),
        body: content(version, range),
        end: End::Clean,
    }
}
