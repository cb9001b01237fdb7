//! `cargo xtask kill`: `kill -9` at random points of real downloads, again and again, until every file is complete.
//!
//! Read [`case`] for what is downloaded, [`course`] for how a file is killed and what is counted. Two things are
//! required: no file has a wrong byte, and what a kill costs is at most what one process may hold in its hands
//! ([`bound`]).
//!
//! What is counted: bytes of bodies that the origin had written to its sockets when the killed process was gone, less
//! those that the next run found kept. So bytes that waited in the buffers of sockets count as fetched, although the
//! program never saw them; how many those were is read from the system just before each kill and said beside it. The
//! origin keeps its send buffers small (four slices of ten milliseconds) and paces its bodies, as a network would.
#![expect(
    clippy::disallowed_methods,
    reason = "it kills other programs and looks at what they leave; nothing here is part of tur"
)]

mod case;
mod course;
mod queues;

use std::process::Command;

use anyhow::{Result, ensure};
use tur_sim::Dice;

use self::case::Case;
use self::course::{Course, Grounds, Loss};
use crate::program::{again_in_release, build_tur};

/// What is killed, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kills, over all files.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Files.
    #[arg(long, default_value_t = 20)]
    files: usize,
    /// Seed of sizes, lanes, paces and points.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What a kill may cost: what was received and is not written (1 MiB over all lanes), and 64 KiB for each connection.
pub(crate) const fn bound(lanes: u16) -> u64 {
    (1 << 20) + (lanes as u64) * (64 << 10)
}

/// Kills, verifies and reports.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The origin runs in this process: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    ensure!(options.files > 0, "no files, no figures");
    let tur = build_tur(true)?;
    let help = Command::new(&tur).arg("--help").output()?;
    let has_backends = String::from_utf8_lossy(&help.stdout).contains("--storage");
    let dice = Dice::new(options.seed);
    let cases = case::draw(options.files, has_backends, &dice);
    let grounds = Grounds { tur: &tur };
    println!(
        "{} kills over {} files, seed {}\n\n{}",
        options.kills,
        options.files,
        options.seed,
        Course::HEADER
    );
    let mut courses = Vec::new();
    for (n, case) in cases.into_iter().enumerate() {
        let kills = options.kills / options.files + usize::from(n < options.kills % options.files);
        let course = grounds.run(case, kills, dice.fork(n as u64 + 1))?;
        println!("{course}");
        courses.push(course);
    }
    report(&courses)
}

/// Says what all files together came to.
///
/// # Errors
/// Something is wrong, or a kill cost too much.
fn report(courses: &[Course]) -> Result<()> {
    let kills: usize = courses.iter().map(|course| course.kills).sum();
    let wrong: usize = courses.iter().map(|course| course.wrong.len()).sum();
    for course in courses {
        for text in &course.wrong {
            println!("WRONG: {text}");
        }
    }
    let strong = || courses.iter().filter(|course| course.case.is_strong);
    let losses: Vec<(u16, Loss)> = strong()
        .flat_map(|course| course.losses.iter().map(|loss| (course.case.lanes, *loss)))
        .collect();
    let twice: Vec<i64> = losses.iter().map(|(_, loss)| loss.twice).collect();
    let queued: Vec<i64> = losses.iter().filter_map(|(_, loss)| loss.queued).collect();
    let over =
        |(lanes, loss): &&(u16, Loss)| u64::try_from(loss.twice).unwrap_or(0) > bound(*lanes);
    let over = losses.iter().filter(over).count();
    println!("\n{kills} kills, {wrong} wrong");
    println!(
        "bytes fetched twice per kill, where the validator is strong ({} kills): {}; over 1 MiB + 64 KiB for each lane: {over}",
        twice.len(),
        spread(&twice)
    );
    println!("of those in the buffers of sockets: {}", spread(&queued));
    ensure!(wrong == 0, "{wrong} wrong");
    // The 99th percentile is held to the bound: one kill in a hundred may hit a busy machine.
    ensure!(
        over * 100 <= losses.len(),
        "{over} kills cost more than they may"
    );
    Ok(())
}

/// Median, 99th percentile and maximum in KiB.
fn spread(bytes: &[i64]) -> String {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).map_or_else(
            || "-".to_owned(),
            |bytes| format!("{:.0}", *bytes as f64 / 1024.0),
        )
    };
    format!(
        "p50 {} KiB, p99 {} KiB, max {} KiB",
        at(50),
        at(99),
        at(100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_grows_with_the_lanes() {
        assert_eq!(bound(1), 1_114_112);
        assert_eq!(bound(16), 2 << 20);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let kib = |n: i64| n * 1024;
        let hundred: Vec<i64> = (1..=100).map(kib).collect();
        assert_eq!(spread(&hundred), "p50 50 KiB, p99 99 KiB, max 100 KiB");
        assert_eq!(spread(&[kib(7)]), "p50 7 KiB, p99 7 KiB, max 7 KiB");
        assert_eq!(spread(&[]), "p50 - KiB, p99 - KiB, max - KiB");
    }
}
