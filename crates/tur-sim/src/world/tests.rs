//! Whole worlds: kept seeds, random ones, chosen ones, and worlds that are broken on purpose.

use core::time::Duration;

use tur_core::Rate;
use tur_sched::Schedule;

use super::*;
use crate::link::{Change, LaneSpeed, Link};
use crate::origin::{Deed, Server, When};
use crate::report::Outcome;
use crate::scenario::Wish;
use crate::{KEPT, kept, random};

mod limits;

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

/// The lines of a plain world whose work is divided like this.
fn divided(schedule: Schedule, ratio: f64) -> Vec<String> {
    let (mut scenario, mut trace) = (plain(), Trace::on());
    for job in &mut scenario.jobs {
        (job.schedule, job.ratio) = (schedule, Some(ratio));
    }
    run(&scenario, 1, &mut trace).expect("no promise is broken");
    trace.lines().to_vec()
}

#[test]
fn work_is_divided_as_the_job_says() {
    let equal = divided(Schedule::Equal, 2.5);
    assert_eq!(divided(Schedule::Adaptive, 1.0), equal);
    assert_ne!(divided(Schedule::Adaptive, 2.5), equal);
    assert_ne!(divided(Schedule::Fibonacci, 2.5), equal);
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

#[test]
fn a_download_takes_as_long_as_the_link_does() {
    let report = good(&plain(), 1);
    let one = &report.downloads[0];
    assert_eq!((one.bytes, one.runs), (16 * MIB, 1));
    assert!(one.wasted <= one.bytes / 50, "{} bytes", one.wasted);
    assert!(one.lanes_max >= 4, "{} lanes", one.lanes_max);
    // 16 MiB at 4 MiB/s, set-up and the search for lanes beside.
    let time = one.time.as_secs_f64();
    assert!((4.0..6.0).contains(&time), "{time}");
}

#[test]
fn a_second_visit_remembers_the_first() {
    let mut memory = OriginMemory::new();
    let mut visit_once = || {
        let report = visit(&plain(), 1, &mut memory, &mut Trace::off());
        report.expect("a good run").downloads[0].time
    };
    let (first, second) = (visit_once(), visit_once());
    assert!(second < first, "{second:?} after {first:?}");
}

#[test]
fn a_crash_costs_no_byte_that_was_written() {
    let mut scenario = plain();
    scenario.crash = Some(Duration::from_secs(2));
    let report = good(&scenario, 1);
    let one = &report.downloads[0];
    assert_eq!((one.outcome.clone(), one.runs), (Outcome::Complete, 2));
    assert_eq!(one.bytes, 16 * MIB);
    // What was under way when it died is all that came twice.
    assert!(one.wasted < MIB / 2, "{} bytes", one.wasted);
}

#[test]
fn a_full_disk_ends_a_run_and_room_lets_it_go_on() {
    let mut scenario = plain();
    scenario.disk.space = Some(3 * MIB);
    let report = good(&scenario, 1);
    assert_eq!(report.downloads[0].outcome, Outcome::DiskFull);
    assert_eq!(report.downloads[0].bytes, 3 * MIB);
    scenario.jobs[0].again = 1;
    let report = good(&scenario, 1);
    assert_eq!(report.downloads[0].outcome, Outcome::Complete);
    assert_eq!(report.downloads[0].runs, 2);
}

#[test]
fn a_slow_disk_makes_lanes_busy() {
    let mut scenario = plain();
    scenario.disk.rate = Some(Rate::per_second(2 * MIB));
    let time = good(&scenario, 1).downloads[0].time.as_secs_f64();
    assert!((8.0..9.5).contains(&time), "{time}");
}

#[test]
fn users_pause_and_cancel() {
    let mut scenario = plain();
    let after = Duration::from_secs;
    scenario.jobs[0].wishes = vec![(after(1), Wish::Pause), (after(61), Wish::Unpause)];
    let report = good(&scenario, 1);
    assert_eq!(report.downloads[0].outcome, Outcome::Complete);
    assert!(report.time > after(63));
    scenario.jobs[0].wishes = vec![(after(1), Wish::Cancel)];
    assert_eq!(good(&scenario, 1).downloads[0].outcome, Outcome::Cancelled);
}

#[test]
fn a_change_midway_restarts_and_wastes_what_was_there() {
    let mut scenario = plain();
    let change = Deed::Version(1, 8 * MIB);
    scenario.server = scenario.server.rule(When::After(3), change);
    let report = good(&scenario, 1);
    let one = &report.downloads[0];
    assert_eq!(
        (one.outcome.clone(), one.bytes),
        (Outcome::Complete, 8 * MIB)
    );
    assert!(one.wasted > 0);
}

/// What a world that breaks a promise is told of.
fn violation(scenario: &Scenario) -> Violation {
    run(scenario, 1, &mut Trace::off()).expect_err("a promise is broken")
}

#[test]
fn wrong_bytes_under_a_right_name_are_seen() {
    let mut scenario = plain();
    let rules = scenario.server.clone();
    scenario.server = rules.clone().rule(When::Only(3), Deed::WrongBytes);
    assert!(matches!(violation(&scenario), Violation::Mixed(_)));
    scenario.server = rules.rule(When::Always, Deed::WrongBytes);
    assert!(matches!(violation(&scenario), Violation::WrongVersion(_)));
}

#[test]
fn a_machine_that_waits_for_nothing_is_seen() {
    // Nobody ever unpauses: the machine waits, and rightly so, but the world has nothing left to do.
    let mut scenario = plain();
    scenario.jobs[0].wishes = vec![(Duration::from_secs(1), Wish::Pause)];
    assert!(matches!(violation(&scenario), Violation::Hang(_)));
}

#[test]
fn giving_up_where_nothing_is_in_the_way_is_seen() {
    let mut scenario = plain();
    scenario.server = scenario.server.rule(When::Always, Deed::Status(404, None));
    assert!(matches!(violation(&scenario), Violation::GaveUp(_)));
    scenario.gentle = false;
    let report = good(&scenario, 1);
    assert!(matches!(
        report.downloads[0].outcome,
        Outcome::Failed { .. }
    ));
}

#[test]
fn runs_that_go_on_for_ever_are_seen() {
    let mut scenario = plain();
    scenario.bounds.requests = 3;
    assert_eq!(violation(&scenario), Violation::TooManyRequests(4));
    scenario = plain();
    scenario.bounds.steps = 50;
    assert_eq!(violation(&scenario), Violation::TooManySteps(51));
    scenario = plain();
    scenario.bounds.time = Duration::from_secs(1);
    assert!(matches!(violation(&scenario), Violation::TooLong(_)));
}

#[test]
fn a_silent_lane_is_replaced_and_an_outage_waited_for() {
    let mut scenario = plain();
    let silence = Change::Silence(Duration::from_secs(3_000));
    scenario.link.changes = vec![(Duration::from_secs(1), silence)];
    assert!(good(&scenario, 1).time < Duration::from_secs(60));
    let outage = Change::Outage(Duration::from_secs(10));
    scenario.link.changes = vec![(Duration::from_secs(1), outage)];
    assert_eq!(good(&scenario, 1).downloads[0].outcome, Outcome::Complete);
}
