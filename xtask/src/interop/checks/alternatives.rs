//! HTTP/3 that an origin offers over TCP: it is used, and nothing is lost where UDP is blocked.
//!
//! Read [`CHECKS`]. nginx makes the offer, Caddy keeps it, behind a [`Relay`] that can be blocked.
#![expect(
    clippy::disallowed_methods,
    reason = "what is lost is a time; nothing here is part of tur"
)]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Check, HTTP3, check, needing};
use crate::interop::field::{Ask, Done, FILE, Field};
use crate::interop::relay::Relay;
use crate::interop::servers::{Hinting, started};
use crate::interop::table::Found;

pub(super) const CHECKS: &[Check] = &[
    needing(
        HTTP3,
        check("nginx, caddy", "Alt-Svc: used when TCP is gone", used),
    ),
    needing(
        HTTP3,
        check(
            "nginx, caddy",
            "Alt-Svc, proven: then UDP is blocked",
            blocked,
        ),
    ),
];

/// An origin whose offer has been heard, and taken up once.
struct Proven {
    relay: Relay,
    hinting: Hinting,
    ask: Ask,
    done: Done,
}

/// The first visit hears of it. Before the second one TCP is gone, so that there is no doubt who wins.
fn proven(field: &Field) -> Result<Proven> {
    let relay = Relay::to(field.servers.caddy.port())?;
    let mut hinting = started(|| Hinting::start(&field.grounds(), relay.port()))?;
    let state = field.folder()?;
    // One connection: others of the same visit would take the offer up at once.
    let ask = Ask::new(hinting.url(FILE)).words(["-x", "1"]);
    let ask = ask.with("XDG_STATE_HOME", state.to_string_lossy());
    let first = field.fetch(&ask)?;
    ensure!(first.protocol == "h2", "{} at first", first.protocol);
    ensure!(relay.heard() == 0, "UDP was used before it was offered");
    hinting.end();
    let done = field.fetch(&ask)?;
    ensure!(done.protocol == "h3", "{} instead of h3", done.protocol);
    Ok(Proven {
        relay,
        hinting,
        ask,
        done,
    })
}

fn used(field: &Field) -> Result<Found> {
    let Proven { done, .. } = proven(field)?;
    Ok(Found::noted(done, "h2 at first, then h3 with TCP gone"))
}

/// It has worked a moment ago, and no datagram passes any more. TCP serves, later by the head start of UDP, which is gone on
/// the next visit. A visit that ends before UDP was given up cannot know that it is blocked, and the next one asks beside TCP;
/// after one that lasts longer nobody asks for a while.
fn blocked(field: &Field) -> Result<Found> {
    let Proven {
        relay,
        mut hinting,
        ask,
        ..
    } = proven(field)?;
    hinting.again(&field.grounds())?;
    relay.block();
    let before = relay.heard();
    let (done, took) = timed(field, &ask)?;
    ensure!(done.protocol == "h2", "{} with UDP blocked", done.protocol);
    ensure!(relay.heard() > before, "UDP was not tried");
    let (next, usual) = timed(field, &ask)?;
    ensure!(next.protocol == "h2", "{} on the next visit", next.protocol);
    let lost = took.saturating_sub(usual);
    // Without the race it would be the limit of connecting, which is 10 s.
    ensure!(lost < LOST_MAX, "{lost:.1?} lost");
    let rate = (field.file.size / LONG.as_secs()).to_string();
    let slow = ask.clone().words(["--limit-rate", &rate]);
    let long = field.fetch(&slow)?;
    ensure!(long.protocol == "h2", "{} on the long visit", long.protocol);
    let before = relay.heard();
    let last = field.fetch(&ask)?;
    ensure!(last.protocol == "h2", "{} on the last visit", last.protocol);
    ensure!(relay.heard() == before, "UDP is tried although it failed");
    let note = format!(
        "{took:.2?}, the next visit {usual:.2?}: UDP has no head start any more, and after {LONG:?} without an answer is let be"
    );
    Ok(Found::noted(done, note))
}

fn timed(field: &Field, ask: &Ask) -> Result<(Done, Duration)> {
    let start = Instant::now();
    let done = field.fetch(ask)?;
    Ok((done, start.elapsed()))
}

/// Longer than a handshake over UDP is waited for, which is 3 s.
const LONG: Duration = Duration::from_secs(5);

/// A second is allowed; the rest is for a machine that is busy.
const LOST_MAX: Duration = Duration::from_secs(4);
