//! What is measured: origins, and what a perfect choice of connections would need with each.

use std::time::Duration;

use tur_core::Rate;
use tur_testkit::{Behaviour, Beyond, Crowd, Deed, Link, When};

/// One origin and what programs are told.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) words: String,
    pub(super) link: Link,
    pub(super) behaviour: Behaviour,
    pub(super) reference: Reference,
    pub(super) told: Told,
    /// A run that takes longer is killed and counted as so long.
    pub(super) limit: Duration,
}

/// What times are divided by.
pub(super) enum Reference {
    /// So many seconds.
    Ideal(f64),
    /// The time of this program in the same round.
    Program(&'static str),
}

/// Options of each program for one case.
pub(super) struct Told {
    pub(super) tur: Vec<&'static str>,
    /// True if tur is measured with the memory of an earlier download too.
    pub(super) again: bool,
    /// True if `tur -x 1` is measured beside it.
    pub(super) single: bool,
    pub(super) aria2c: Vec<&'static str>,
    pub(super) curl: Vec<&'static str>,
    /// Connections of the bare reader: what the origin gives a client that costs nothing.
    pub(super) bare: Option<u64>,
}

/// All cases; smaller if `quick`.
pub(super) fn all(quick: bool) -> Vec<Case> {
    let sized = |full: u64, small: u64| if quick { small << 20 } else { full << 20 };
    vec![
        shares(sized(256, 64)),
        one_slow(sized(64, 32)),
        one_stalls(sized(64, 32)),
        one_saturates(sized(256, 64)),
        limited(sized(100, 25)),
        tiny(),
    ]
}

/// Each connection has a share, and sixteen are taken.
fn shares(size: u64) -> Case {
    let status = Deed::Status {
        status: 503,
        retry_after: None,
    };
    Case {
        name: "shares",
        words: format!(
            "{} MiB, 4 MiB/s on each connection, at most 16 connections at a time (503 beyond); ideal: 16 shares",
            size >> 20
        ),
        link: Link {
            crowd: Some(Crowd {
                limit: 16,
                beyond: Beyond::Meet(status),
            }),
            ..Link::default()
        },
        behaviour: Behaviour::new(size).pace(SHARE),
        reference: Reference::Ideal(seconds(size, 16.0)),
        told: Told {
            tur: vec![],
            again: true,
            single: false,
            aria2c: vec!["-x16", "-s16", "-k1M"],
            curl: vec![],
            bare: Some(16),
        },
        limit: Duration::from_secs(120),
    }
}

/// Each fourth connection is twenty times slower than the others.
fn one_slow(size: u64) -> Case {
    let slow = Rate::per_second(SHARE.bytes_per_second() / 20);
    Case {
        name: "slow",
        words: format!(
            "{} MiB, 4 MiB/s on each connection, but a twentieth on each fourth one; told to use 4; ideal: 3.05 shares \
             (4 shares, 0.76 of it, for who replaces the slow one at once)",
            size >> 20
        ),
        link: Link::default(),
        behaviour: Behaviour::new(size)
            .pace(SHARE)
            .rule(When::OnEveryConnection(4), Deed::Pace(slow)),
        reference: Reference::Ideal(seconds(size, 3.05)),
        told: Told::four(),
        limit: Duration::from_secs(30),
    }
}

/// The third connection stalls for ever.
fn one_stalls(size: u64) -> Case {
    let before = 2 << 20;
    Case {
        name: "stall",
        words: format!(
            "{} MiB, 4 MiB/s on each connection, the third one sends 2 MiB and then nothing more; told to use 4; ideal: \
             those 2 MiB, and 3 shares (4 shares for who replaces the silent one at once)",
            size >> 20
        ),
        link: Link::default(),
        behaviour: Behaviour::new(size)
            .pace(SHARE)
            .rule(When::OnConnection(3), Deed::StallAfter(before)),
        reference: Reference::Ideal(seconds(size - before, 3.0)),
        told: Told::four(),
        limit: Duration::from_secs(30),
    }
}

/// One connection has all that there is.
fn one_saturates(size: u64) -> Case {
    Case {
        name: "fast",
        words: format!(
            "{} MiB, 64 MiB/s for all connections together; divided by tur -x 1",
            size >> 20
        ),
        link: Link {
            bottleneck: Some(Rate::per_second(64 << 20)),
            ..Link::default()
        },
        behaviour: Behaviour::new(size),
        reference: Reference::Program(SINGLE),
        told: Told {
            tur: vec![],
            again: true,
            single: true,
            aria2c: vec!["-x16", "-s16", "-k1M"],
            curl: vec![],
            bare: Some(1),
        },
        limit: Duration::from_secs(60),
    }
}

/// The client limits itself.
fn limited(size: u64) -> Case {
    Case {
        name: "limit",
        words: format!(
            "{} MiB from an origin without a limit, the client told to stay at 5 MiB/s; ideal: that rate",
            size >> 20
        ),
        link: Link::default(),
        behaviour: Behaviour::new(size),
        reference: Reference::Ideal(Rate::per_second(5 << 20).time_for(size).as_secs_f64()),
        told: Told {
            tur: vec!["-x", "8", "-s", "8", "--limit-rate", "5M"],
            again: false,
            single: false,
            aria2c: vec!["-x8", "-s8", "-k1M", "--max-overall-download-limit=5M"],
            curl: vec!["--limit-rate", "5M"],
            bare: None,
        },
        limit: Duration::from_secs(60),
    }
}

/// Nothing to choose.
fn tiny() -> Case {
    Case {
        name: "tiny",
        words: "1 KiB; divided by curl".to_owned(),
        link: Link::default(),
        behaviour: Behaviour::new(1 << 10),
        reference: Reference::Program("curl"),
        told: Told {
            tur: vec![],
            again: true,
            single: false,
            aria2c: vec!["-x16", "-s16", "-k1M"],
            curl: vec![],
            bare: Some(1),
        },
        limit: Duration::from_secs(60),
    }
}

impl Told {
    /// To use four connections, no more and no less.
    fn four() -> Self {
        Self {
            tur: vec!["-x", "4", "-s", "4"],
            again: true,
            single: false,
            aria2c: vec!["-x4", "-s4", "-k1M"],
            curl: vec![],
            bare: None,
        }
    }
}

/// Seconds for `size` bytes with so many shares.
fn seconds(size: u64, shares: f64) -> f64 {
    size as f64 / (SHARE.bytes_per_second() as f64 * shares)
}

/// What a connection is given.
const SHARE: Rate = Rate::per_second(4 << 20);

/// The entry that has one connection only.
pub(super) const SINGLE: &str = "tur -x 1";
