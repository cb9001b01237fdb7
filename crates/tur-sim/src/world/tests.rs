//! Whole worlds: kept seeds, random ones, chosen ones, and worlds that are broken on purpose.

use core::time::Duration;

use tur_core::Rate;

use super::*;
use crate::link::{Change, LaneSpeed, Link};
use crate::origin::{Deed, Server, When};
use crate::report::Outcome;
use crate::{KEPT, kept, random};

const MIB: u64 = 1 << 20;

fn good(scenario: &Scenario, seed: u64) -> Report {
    let mut trace = Trace::on();
    match run(scenario, seed, &mut trace) {
        Ok(report) => report,
        Err(violation) => {
            let tail = trace.lines().iter().rev().take(30).rev();
            let tail: Vec<&str> = tail.map(String::as_str).collect();
            panic!("seed {seed}: {violation}\n{}", tail.join("\n"))
        }
    }
}

/// An honest origin with 16 MiB behind 4 MiB/s, and 1 MiB/s on each connection.
fn plain() -> Scenario {
    let mut link = Link::new(Rate::per_second(4 * MIB));
    link.lane = LaneSpeed::Each(Rate::per_second(MIB));
    Scenario::new("plain", link, Server::new(16 * MIB))
}

#[test]
fn kept_seeds_keep_their_promises() {
    for seed in kept(KEPT).expect("a list of seeds") {
        good(&random(seed), seed);
    }
}

#[test]
fn random_worlds_keep_their_promises() {
    for seed in 0..400 {
        good(&random(seed), seed);
    }
}

#[test]
fn a_seed_determines_every_line() {
    for seed in 0..20 {
        let (mut a, mut b) = (Trace::on(), Trace::on());
        let one = run(&random(seed), seed, &mut a).map(|report| report.steps);
        let two = run(&random(seed), seed, &mut b).map(|report| report.steps);
        assert_eq!((one, a.lines()), (two, b.lines()));
        assert!(a.lines().len() > 2);
        let off = run(&random(seed), seed, &mut Trace::off()).map(|report| report.steps);
        assert_eq!(
            off,
            run(&random(seed), seed, &mut Trace::on()).map(|report| report.steps)
        );
    }
}
