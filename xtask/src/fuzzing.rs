//! `cargo xtask fuzz`: every fuzz target for so many seconds, some at once, on a stable compiler, with its seeds and its
//! dictionary.
//!
//! cargo-fuzz builds and starts the targets; without a sanitizer it needs no nightly compiler. What is found goes to
//! `fuzz/artifacts`, inputs that reach new code to `fuzz/corpus`; neither is committed. What is worth keeping is moved
//! to `fuzz/seeds` by hand, and is run first each time from then on.
#![expect(
    clippy::disallowed_methods,
    reason = "it runs fuzz targets and keeps what they find; nothing here is part of tur"
)]

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use xtask::tree;

use crate::program::cargo;

/// What is fuzzed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets; may be given several times.
    #[arg(long, value_name = "T")]
    target: Vec<String>,
}

/// What a target came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    executions: u64,
    /// Inputs that reached something new.
    new: u64,
    /// Edges that were reached, seeds included.
    edges: u64,
    /// MiB at most.
    memory: u64,
}

/// Fuzzes and prints a table in Markdown.
///
/// # Errors
/// Something was found, or cannot be run.
pub(crate) fn run(options: &Options) -> Result<()> {
    require_cargo_fuzz()?;
    let all = xtask::fuzz::targets(&tree::metadata("fuzz/Cargo.toml")?)?;
    for target in &options.target {
        ensure!(
            all.contains(target),
            "there is no target {target}; there are {}",
            all.join(", ")
        );
    }
    let chosen = |target: &&String| options.target.is_empty() || options.target.contains(target);
    let chosen: Vec<&String> = all.iter().filter(chosen).collect();
    let mut build = fuzz("build");
    let built = build.args(["--sanitizer", "none"]).status()?;
    ensure!(built.success(), "the fuzz targets do not build");
    println!(
        "| target | executions | each s | edges | new inputs | peak MiB | |\n|---|---|---|---|---|---|---|"
    );
    let (mut executions, mut findings) = (0, Vec::new());
    for (target, (tally, finding)) in each(&chosen, options.seconds) {
        let verdict = if finding.is_some() { "FOUND" } else { "ok" };
        println!(
            "| {target} | {} | {} | {} | {} | {} | {verdict} |",
            tally.executions,
            tally.executions / options.seconds.max(1),
            tally.edges,
            tally.new,
            tally.memory
        );
        executions += tally.executions;
        findings.extend(finding);
    }
    println!(
        "\n{} targets, {executions} executions, {} findings",
        chosen.len(),
        findings.len()
    );
    for finding in &findings {
        println!("\n{finding}");
    }
    ensure!(
        findings.is_empty(),
        "{} targets found something",
        findings.len()
    );
    Ok(())
}

/// What a target came to, and what it found, in words.
type Ended = (Tally, Option<String>);

/// Runs the targets, as many at once as there are processors, and tells what each came to. One that could not be run has
/// found that.
fn each<'a>(targets: &'a [&'a String], seconds: u64) -> BTreeMap<&'a str, Ended> {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    let left = Mutex::new(targets.iter());
    let take = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = |target: &'a str| {
        let failed = |error| (Tally::default(), Some(format!("{target}: {error:#}")));
        (target, one(target, seconds).unwrap_or_else(failed))
    };
    let work = || std::iter::from_fn(take).map(|target| run(target)).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        ended
            .flat_map(|ended: std::thread::Result<Vec<_>>| ended.expect("nothing panics here"))
            .collect()
    })
}

/// cargo-fuzz is no part of this workspace: that it is missing is said, not passed over.
fn require_cargo_fuzz() -> Result<()> {
    let mut version = fuzz("--version");
    let present = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if present.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    bail!(
        "cargo-fuzz is not installed; get it with: cargo install --locked --version {VERSION} cargo-fuzz"
    );
}

fn fuzz(word: &str) -> Command {
    let mut command = cargo();
    command.args(["fuzz", word]);
    command
}

/// Runs one target; what it came to, and what it found, in words.
fn one(target: &str, seconds: u64) -> Result<Ended> {
    let corpus = tree::root().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    let (seeds, dictionary) = (xtask::fuzz::seeds(target), xtask::fuzz::dictionary(target));
    for path in [&seeds, &dictionary] {
        ensure!(tree::root().join(path).exists(), "{target} has no {path}");
    }
    let said = attempt(target, seconds, None)?;
    let tally = Tally::read(&said.1);
    if said.0.success() {
        ensure!(
            tally.executions > 0,
            "{target} ran nothing:\n{}",
            tail(&said.1)
        );
        return Ok((tally, None));
    }
    let is_saved = |said: &str| {
        said.lines()
            .find(|line| line.contains("Test unit written to"))
            .map(str::to_owned)
    };
    let (said, saved) = match is_saved(&said.1) {
        Some(saved) => (said, saved),
        None => {
            // A stack that overflows leaves no time to write its input down: once more, and before each run.
            let last = tree::root()
                .join("fuzz/artifacts")
                .join(target)
                .join("last");
            let again = attempt(target, seconds, Some(&last))?;
            let died = !again.0.success();
            let saved = is_saved(&again.1).unwrap_or_else(|| match died {
                true => format!("the input is in {}", last.display()),
                false => "no input was saved, and it did not happen again".to_owned(),
            });
            (if died { again } else { said }, saved)
        }
    };
    let finding = format!("{target}: {}; {}\n{}", said.0, saved.trim(), tail(&said.1));
    Ok((tally, Some(finding)))
}

/// Runs a target for so long; how it ended and what it said. With `last`, each input is written there before it is run.
fn attempt(target: &str, seconds: u64, last: Option<&Path>) -> Result<(ExitStatus, String)> {
    let mut command = fuzz("run");
    command
        .args(["--sanitizer", "none", target])
        .arg(tree::root().join("fuzz/corpus").join(target))
        .args([&xtask::fuzz::seeds(target), "--"])
        .args([
            format!("-max_total_time={seconds}"),
            format!("-dict={}", xtask::fuzz::dictionary(target)),
            format!("-timeout={INPUT_SECONDS_MAX}"),
            format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
            "-print_final_stats=1".to_owned(),
        ]);
    if let Some(last) = last {
        std::fs::create_dir_all(last.parent().unwrap_or(last))?;
        command.env("TUR_FUZZ_LAST", last);
    }
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot start cargo fuzz")?;
    Ok((
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

impl Tally {
    /// Reads what libFuzzer says at its end, and the last line of progress before that.
    fn read(said: &str) -> Self {
        let stat = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok())
                .unwrap_or(0)
        };
        let progress = said
            .lines()
            .rev()
            .find_map(|line| line.split_once(" cov: "));
        let edges = progress.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Self {
            executions: stat("stat::number_of_executed_units:"),
            new: stat("stat::new_units_added:"),
            memory: stat("stat::peak_rss_mb:"),
            edges: edges.unwrap_or(0),
        }
    }
}

/// The last words.
fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

/// The version that `.ci/run` installs.
const VERSION: &str = "0.13.2";

/// One input may take so long, and so much memory: more is a finding.
const INPUT_SECONDS_MAX: u64 = 10;
const MEMORY_MIB_MAX: u64 = 1_024;

/// Lines of a finding that are shown.
const LINES_SHOWN: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_came_to_is_read_from_its_last_words() {
        let said = "#2\tINITED cov: 5 ft: 6 corp: 1/1b exec/s: 0 rss: 30Mb\n\
             #9\tDONE   cov: 17 ft: 20 corp: 3/9b lim: 4 exec/s: 9 rss: 31Mb\n\
             stat::number_of_executed_units: 9\nstat::new_units_added:          2\nstat::peak_rss_mb:              31\n";
        let read = Tally {
            executions: 9,
            new: 2,
            edges: 17,
            memory: 31,
        };
        assert_eq!(Tally::read(said), read);
        assert_eq!(Tally::read(""), Tally::default());
    }

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        let script = tree::read(".ci/run").unwrap();
        assert!(script.contains(&format!("CARGO_FUZZ_VERSION={VERSION}\n")));
    }
}
