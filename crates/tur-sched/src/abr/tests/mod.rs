//! Tests of the controller and of what it is told: a world of four variants, and small verbs for it.

mod estimates;
mod properties;
mod table;
mod tickets;

use std::vec::Vec;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// What the variants 0 to 3 need, in kilobytes per second.
const NEEDS: [u64; 4] = [100, 200, 400, 800];

fn at(seconds: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(seconds)
}

fn kilo(n: u64) -> Rate {
    Rate::per_second(n * 1_000)
}

fn id(n: u32) -> VariantId {
    VariantId(n)
}

fn ladder(current: u32) -> Variants {
    let list: Vec<Variant> = NEEDS
        .iter()
        .zip(0..)
        .map(|(need, n)| Variant {
            id: id(n),
            bandwidth: kilo(*need),
        })
        .collect();
    Variants::new(&list, id(current)).expect("four variants")
}

fn ahead(seconds: u64) -> AbrEvent {
    AbrEvent::Progress {
        ahead: Some(Duration::from_secs(seconds)),
    }
}

fn estimate(kilobytes: u64) -> AbrEvent {
    AbrEvent::Estimate(Some(kilo(kilobytes)))
}

fn undelivered(n: u32) -> AbrEvent {
    AbrEvent::Undelivered { variant: id(n) }
}

/// A controller that plays variant `current` since the second 0.
fn playing(current: u32) -> Abr {
    let mut abr = Abr::new(AbrConfig::default(), 7, at(0));
    drain(&mut abr, at(0), AbrEvent::Variants(ladder(current)));
    abr
}

/// Tells an event and takes the actions.
fn drain(abr: &mut Abr, now: Timestamp, event: AbrEvent) -> Vec<AbrAction> {
    abr.handle(now, event);
    std::iter::from_fn(|| abr.poll_action()).collect()
}

/// What is pending, for whoever does not care how it came about.
fn intent(abr: &Abr) -> Result<(u32, Why), Skip> {
    match (abr.pending, abr.skipped) {
        (Some(pending), None) => Ok((pending.to.0, pending.why)),
        (None, Some(skip)) => Err(skip),
        both => panic!("{both:?}"),
    }
}

fn commit_pending(abr: &mut Abr, now: Timestamp) {
    let ticket = abr.pending().expect("a switch is pending");
    assert!(matches!(abr.commit(now, ticket), Commit::Committed { .. }));
    while abr.poll_action().is_some() {}
}
