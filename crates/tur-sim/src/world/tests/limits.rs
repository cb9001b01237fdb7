//! Rate limits in worlds: they hold, and nothing fails by waiting for them.

use tur_sched::SpeedFloor;

use super::*;

const KB: u64 = 1_000;
/// The largest draw at a rate: what 20 ms and the credit of 100 ms are worth, from 2 KiB to 256 KiB.
fn draw_max(rate: u64) -> f64 {
    (rate as f64 * 0.12).clamp(2_048.0, 262_144.0)
}

/// A download of `seconds` at `rate` with exactly `lanes` lanes, over a link that is much faster. A lane that waits for
/// the limit is silent for longer than an origin may be.
fn limited(rate: u64, lanes: u16, seconds: u64) -> Scenario {
    let link = Link::new(Rate::per_second(4_000_000 * KB));
    let mut scenario = Scenario::new("limited", link, Server::new(rate * seconds));
    scenario.limit = Some(Rate::per_second(rate));
    scenario.jobs[0].lanes_max = lanes;
    scenario.jobs[0].lanes_start = Some(lanes);
    scenario.jobs[0].read_wait = Duration::from_millis(250);
    scenario
}

/// The least and the most lanes that a limit is tried with.
const LANES: [u16; 2] = [1, 8];

#[test]
fn limits_hold_from_50_kb_to_1_gb() {
    for rate in [50, 500, 5_000, 50_000, 500_000, 1_000_000].map(|kb| kb * KB) {
        for lanes in LANES {
            let report = good(&limited(rate, lanes, 25), 1);
            let one = &report.downloads[0];
            let what = format!("{rate} B/s with {lanes} lanes");
            assert_eq!((&one.outcome, one.runs), (&Outcome::Complete, 1), "{what}");
            assert_eq!(one.lanes_max, usize::from(lanes), "{what}");
            let seconds = one.time.as_secs_f64();
            let error = one.bytes as f64 / seconds / rate as f64 - 1.0;
            println!(
                "{what}: {:+.3} %, {seconds:.2} s, {} steps, {} requests, {} wasted",
                100.0 * error,
                report.steps,
                one.requests,
                one.wasted
            );
            assert!(error.abs() <= 0.03 && seconds >= 20.0, "{what}: {error}");
            for sample in &one.series {
                let most = rate as f64 * (sample.at.as_secs_f64() + 0.1);
                let most = most + f64::from(lanes) * draw_max(rate);
                assert!(sample.landed as f64 <= most, "{what}: {sample:?}");
            }
        }
    }
}

#[test]
fn waiting_for_a_limit_is_no_fault_of_the_origin() {
    // Eight lanes at 20 KB/s: each is let through every 0.8 s, and an origin may be silent for 0.25 s.
    let scenario = limited(20 * KB, 8, 30);
    let mut trace = Trace::on();
    let report = run(&scenario, 1, &mut trace).expect("a good run");
    let one = &report.downloads[0];
    assert_eq!((one.outcome.clone(), one.runs), (Outcome::Complete, 1));
    let lines = |word: &str| {
        let lines = trace.lines().iter();
        lines.filter(|line| line.contains(word)).count()
    };
    assert!(lines(" held ") >= 8, "{} times held", lines(" held "));
    let timed_out = trace.lines().iter().find(|line| line.contains("timed out"));
    assert_eq!(timed_out, None);
    assert!(one.requests <= 40, "{} requests", one.requests);
}

#[test]
fn a_speed_floor_below_the_limit_holds() {
    let mut scenario = limited(50 * KB, 8, 20);
    scenario.jobs[0].speed_floor = Some(SpeedFloor {
        rate: Rate::per_second(45 * KB),
        over: Duration::from_secs(2),
    });
    assert_eq!(good(&scenario, 1).downloads[0].outcome, Outcome::Complete);
}

#[test]
fn limits_of_a_download_and_of_the_process_hold_together() {
    let mut scenario = limited(6_000 * KB, 4, 10);
    let mut slow = scenario.jobs[0].clone();
    slow.limit = Some(Rate::per_second(1_000 * KB));
    scenario.jobs.push(slow);
    let report = good(&scenario, 1);
    // One takes 1 MB/s for a minute, which leaves 5 MB/s for the other.
    let [fast, slow] = [0, 1].map(|n| report.downloads[n].time.as_secs_f64());
    assert!((11.6..12.5).contains(&fast), "{fast} s");
    assert!((58.0..62.0).contains(&slow), "{slow} s");
}

#[test]
fn a_limit_changes_while_lanes_wait_for_it() {
    let mut scenario = limited(100 * KB, 8, 50);
    let after = Duration::from_secs;
    scenario.relimits = vec![
        (after(10), Some(Rate::per_second(400 * KB))),
        (after(15), None),
    ];
    // 1 MB until 10 s, 2 MB until 15 s, and the rest at once.
    let time = good(&scenario, 1).downloads[0].time.as_secs_f64();
    assert!((15.0..15.6).contains(&time), "{time}");
    scenario.relimits.clear();
    scenario.jobs[0].wishes = vec![(after(5), Wish::Limit(Some(Rate::per_second(50 * KB))))];
    // 0.5 MB until 5 s, then 4.5 MB at half the rate.
    let time = good(&scenario, 1).downloads[0].time.as_secs_f64();
    assert!((94.0..97.0).contains(&time), "{time}");
}
