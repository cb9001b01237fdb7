//! `cargo xtask sim`: random worlds, judged; and one world with its trace.
//!
//! Kept seeds come first. A seed that breaks a promise is appended to the kept ones, so that it is run for ever.
#![expect(
    clippy::disallowed_methods,
    reason = "it says how long worlds take; the worlds themselves have no clock"
)]

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tur_sim::{Header, Report, Scenario, Trace, kept, recording};

use xtask::tree;

/// Where kept seeds stand, from the root.
const SEEDS: &str = "crates/tur-sim/seeds.txt";

/// Runs kept seeds and then `seeds` random worlds, from the one numbered `from` on.
pub(crate) fn run(seeds: u64, from: u64) -> Result<()> {
    let old = kept(&tree::read(SEEDS)?).map_err(|error| anyhow!(error))?;
    let (mut tally, start) = (Tally::default(), Instant::now());
    for seed in old.iter().copied().chain(from..from + seeds) {
        tally.add(
            seed,
            &judged(&tur_sim::random(seed), seed, &mut Trace::off()),
        );
    }
    tally.print(start.elapsed());
    let start = Instant::now();
    let (started, preempted) = permits(from..from + seeds)?;
    println!(
        "{seeds} worlds of peers in {:.1} s: {started} permits given, {preempted} taken for urgent work",
        start.elapsed().as_secs_f64()
    );
    for (seed, why) in tally
        .broken
        .iter()
        .filter(|(seed, _)| !old.contains(seed))
        .take(KEEP_MAX)
    {
        keep(*seed, why)?;
    }
    ensure!(
        tally.broken.is_empty(),
        "{} of {} worlds broke a promise; run `cargo xtask sim --seed {}` for the trace of the first",
        tally.broken.len(),
        tally.runs,
        tally.broken[0].0
    );
    Ok(())
}

/// Runs worlds of peers that want permits: how many were given, and how many taken.
fn permits(seeds: std::ops::Range<u64>) -> Result<(u64, u64)> {
    let (mut started, mut preempted) = (0, 0);
    for seed in seeds {
        let report =
            tur_sim::permits(seed).map_err(|why| anyhow!("permits of seed {seed}: {why}"))?;
        started += report.started;
        preempted += report.preempted;
    }
    Ok((started, preempted))
}

/// New seeds that one run keeps: a hundred failures of one cause teach no more than a few.
const KEEP_MAX: usize = 3;

/// Runs one world and prints its recording.
pub(crate) fn one(seed: u64) -> Result<()> {
    let mut trace = Trace::on();
    let scenario = tur_sim::random(seed);
    let verdict = judged(&scenario, seed, &mut trace);
    let violation = verdict.as_ref().err().map(String::as_str);
    print!("{}", recording(&Header::Random(seed), &trace, violation));
    match verdict {
        Ok(report) => {
            for (n, download) in report.downloads.iter().enumerate() {
                println!(
                    "# d{n}: {:?} after {:.3} s, {} requests, {} connections, {} bytes wasted",
                    download.outcome,
                    download.time.as_secs_f64(),
                    download.requests,
                    download.connections,
                    download.wasted
                );
            }
            Ok(())
        }
        Err(violation) => bail!("seed {seed}: {violation}\n{scenario:#?}"),
    }
}

/// Runs a world. A machine that finds its own invariant broken panics; that is a verdict here.
pub(crate) fn judged(scenario: &Scenario, seed: u64, trace: &mut Trace) -> Result<Report, String> {
    caught(|| tur_sim::run(scenario, seed, trace))
}

/// A verdict, panics included.
pub(crate) fn caught(
    run: impl FnOnce() -> Result<Report, tur_sim::Violation>,
) -> Result<Report, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(run));
    std::panic::set_hook(hook);
    match result {
        Ok(verdict) => verdict.map_err(|violation| violation.to_string()),
        Err(panic) => Err(format!("an invariant is broken: {}", words(panic.as_ref()))),
    }
}

/// The first line of a panic's message.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let line = text.unwrap_or("no message").lines().next().unwrap_or("");
    line.chars().take(200).collect()
}

#[derive(Default)]
struct Tally {
    runs: u64,
    complete: u64,
    failed: u64,
    other: u64,
    steps: u64,
    virtual_time: Duration,
    slowest: (u64, u64),
    broken: Vec<(u64, String)>,
}

impl Tally {
    fn add(&mut self, seed: u64, verdict: &Result<Report, String>) {
        self.runs += 1;
        match verdict {
            Ok(report) => {
                for download in &report.downloads {
                    match download.outcome {
                        tur_sim::Outcome::Complete => self.complete += 1,
                        tur_sim::Outcome::Failed { .. } => self.failed += 1,
                        _ => self.other += 1,
                    }
                }
                self.steps += report.steps;
                self.virtual_time += report.time;
                self.slowest = self.slowest.max((report.steps, seed));
            }
            Err(why) => {
                println!("seed {seed}: {why}");
                self.broken.push((seed, why.clone()));
            }
        }
    }

    fn print(&self, took: Duration) {
        println!(
            "{} worlds in {:.1} s ({:.2} ms each), {:.1} h of virtual time in {} steps; longest: seed {} with {} steps",
            self.runs,
            took.as_secs_f64(),
            took.as_secs_f64() * 1e3 / self.runs.max(1) as f64,
            self.virtual_time.as_secs_f64() / 3600.0,
            self.steps,
            self.slowest.1,
            self.slowest.0
        );
        println!(
            "{} downloads complete, {} given up for a reason, {} stopped; {} broken promises",
            self.complete,
            self.failed,
            self.other,
            self.broken.len()
        );
    }
}

/// Appends a seed to the kept ones.
fn keep(seed: u64, why: &str) -> Result<()> {
    let path: PathBuf = tree::root().join(SEEDS);
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .with_context(|| path.display().to_string())?;
    writeln!(file, "{seed} # {}", why.replace(['\n', '\r'], " "))?;
    println!("seed {seed} is kept in {}", path.display());
    Ok(())
}
