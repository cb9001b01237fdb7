//! `cargo xtask scoreboard`: the table of worlds in which time is compared with the ideal, as `docs/scoreboard.md` and
//! pictures beside it.
//!
//! Everything in it comes from seeds, so that a change of a decision shows as a change of a committed file.
#![expect(
    clippy::disallowed_methods,
    reason = "it writes files of the tree; nothing here is part of tur"
)]

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use tur_sim::table::{Scene, scoreboard};
use tur_sim::{DownloadReport, OriginMemory, Outcome, Report, Trace};
use xtask::tree;

use crate::plot::{Panel, picture};
use crate::program::again_in_release;
use crate::sim::caught;

/// Seeds of each row.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=9;
/// A curve has at most so many points.
const POINTS: usize = 240;

const HEAD: &str = "# Scoreboard

Written by `cargo xtask scoreboard`; do not edit. The production machines run in worlds with virtual time, so these are
not measurements of a network but of decisions. Each number is the median of nine seeds, and where they differ by more
than the last digit, the least and the most.

- **ideal**: set-up, one round trip, and then all bytes at what link and lanes carry together from the first instant on:
  no slow start, no search, no loss. What limits each world stands below the table. Sizes are such that it takes about
  half a minute, as a large download does.
- **time / ideal**: 1 is perfect. The **second visit** remembers what the first one learned of the origin.
- **one lane**: what one lane would have taken, in units of the time. Below 1, lanes did harm.
- **lanes**: receiving at most, and when nine tenths had landed.
- **waste**: bytes received and not used, of the size.

| world | ideal | time / ideal, first visit | second visit | one lane | lanes | requests | connections | waste |
|---|---|---|---|---|---|---|---|---|
";

/// Runs every row and rewrites the table and the pictures.
pub(crate) fn run() -> Result<()> {
    if again_in_release()? {
        return Ok(());
    }
    let pictures = tree::root().join("docs/scoreboard");
    std::fs::create_dir_all(&pictures)?;
    let (mut table, mut worlds) = (HEAD.to_owned(), String::from("\n## The worlds\n"));
    for scene in scoreboard() {
        let (row, first) = measure(&scene)?;
        print!("{row}");
        table.push_str(&row);
        let name = &scene.scenario.name;
        let file = format!("{}.svg", file_name(name));
        write!(
            worlds,
            "\n### {name}\n\n{}. Ideal: {}.\n\n![{name}](scoreboard/{file})\n",
            scene.about, scene.because
        )?;
        std::fs::write(pictures.join(file), draw(&scene, &first))?;
    }
    let path = tree::root().join("docs/scoreboard.md");
    std::fs::write(&path, table + &worlds).with_context(|| path.display().to_string())
}

/// The row of a scene, and the run of its first seed.
fn measure(scene: &Scene) -> Result<(String, Report)> {
    let mut single = scene.clone();
    for job in &mut single.scenario.jobs {
        (job.lanes_max, job.lanes_start) = (1, None);
    }
    let mut runs = Vec::new();
    let mut columns: [Vec<f64>; 9] = Default::default();
    for seed in SEEDS {
        let mut memory = OriginMemory::new();
        let report = complete(scene, seed, &mut memory)?;
        let again = complete(scene, seed, &mut memory)?;
        let alone = complete(&single, seed, &mut OriginMemory::new())?;
        let ideal = scene.ideal(seed).as_secs_f64();
        let (time, alone) = (time(&report), time(&alone));
        let sum =
            |value: fn(&DownloadReport) -> f64| report.downloads.iter().map(value).sum::<f64>();
        let values = [
            ideal,
            time / ideal,
            again.time.as_secs_f64() / ideal,
            alone / time,
            sum(|one| one.lanes_max as f64),
            sum(|one| one.lanes_end as f64),
            sum(|one| f64::from(one.requests)),
            sum(|one| f64::from(one.connections)),
            100.0 * sum(|one| one.wasted as f64) / sum(|one| one.bytes as f64),
        ];
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
        runs.push(report);
    }
    let [
        ideal,
        first,
        second,
        alone,
        most,
        end,
        requests,
        connections,
        waste,
    ] = columns;
    let row = format!(
        "| {} | {} s | {} | {} | {} | {}, {} | {} | {} | {} % |\n",
        scene.scenario.name,
        spread(&ideal, 2),
        spread(&first, 3),
        spread(&second, 3),
        spread(&alone, 3),
        spread(&most, 0),
        spread(&end, 0),
        spread(&requests, 0),
        spread(&connections, 0),
        spread(&waste, 2)
    );
    Ok((row, runs.swap_remove(0)))
}

/// Runs a scene in which every download has to become complete.
pub(crate) fn complete(scene: &Scene, seed: u64, memory: &mut OriginMemory) -> Result<Report> {
    let name = &scene.scenario.name;
    let visit = || tur_sim::visit(&scene.scenario, seed, memory, &mut Trace::off());
    let report = match caught(visit) {
        Ok(report) => report,
        Err(why) => bail!("{name}, seed {seed}: {why}"),
    };
    if let Some(open) = report
        .downloads
        .iter()
        .find(|one| one.outcome != Outcome::Complete)
    {
        bail!("{name}, seed {seed}: {:?}", open.outcome);
    }
    Ok(report)
}

/// Until the last download of a world is complete.
fn time(report: &Report) -> f64 {
    report.time.as_secs_f64()
}

/// Median, and least and most where they differ from it.
fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let text = |value: f64| format!("{value:.digits$}");
    let (least, most) = (text(sorted[0]), text(sorted[sorted.len() - 1]));
    let median = text(sorted[sorted.len() / 2]);
    if least == most {
        median
    } else {
        format!("{median} ({least}–{most})")
    }
}

fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.to_lowercase().chars().map(plain).collect();
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// Goodput and lanes of all downloads of a world over time.
fn draw(scene: &Scene, report: &Report) -> String {
    let end = time(report);
    let width = (end / POINTS as f64).max(0.05);
    let (mut goodput, mut lanes) = (Vec::new(), Vec::new());
    let mut before = 0.0;
    for n in 0..=POINTS {
        let at = n as f64 * width;
        if at > end + width {
            break;
        }
        let landed: f64 = report.downloads.iter().map(|one| landed_at(one, at)).sum();
        if n > 0 {
            goodput.push((at - width / 2.0, (landed - before).max(0.0) / width / 1e6));
        }
        before = landed;
        let working: usize = report.downloads.iter().map(|one| lanes_at(one, at)).sum();
        lanes.push((at, working as f64));
    }
    let panels = [
        Panel {
            title: "goodput, MB/s".into(),
            points: goodput,
            steps: false,
        },
        Panel {
            title: "lanes that are receiving".into(),
            points: lanes,
            steps: true,
        },
    ];
    let ideal = scene.ideal(*SEEDS.start()).as_secs_f64();
    picture(
        &scene.scenario.name,
        &panels,
        ideal,
        "complete in the ideal case",
    )
}

/// Bytes that had landed at a time; between two samples, as if they came evenly.
fn landed_at(one: &DownloadReport, at: f64) -> f64 {
    let mut last = (0.0, 0.0);
    let end = (one.time.as_secs_f64(), one.bytes as f64);
    let samples = one
        .series
        .iter()
        .map(|sample| (sample.at.as_secs_f64(), sample.landed as f64));
    for (time, landed) in samples.chain([end]) {
        if time > at {
            let share = (at - last.0) / (time - last.0).max(1e-9);
            return last.1 + (landed - last.1) * share;
        }
        last = (time, landed);
    }
    end.1
}

fn lanes_at(one: &DownloadReport, at: f64) -> usize {
    if at >= one.time.as_secs_f64() {
        return 0;
    }
    let before = one
        .series
        .iter()
        .take_while(|sample| sample.at.as_secs_f64() <= at);
    before.last().map_or(0, |sample| sample.lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_shown_only_where_there_is_one() {
        assert_eq!(spread(&[1.001, 1.002, 1.003], 2), "1.00");
        assert_eq!(spread(&[3.0, 1.0, 2.0], 0), "2 (1–3)");
    }

    #[test]
    fn names_become_file_names() {
        assert_eq!(file_name("0.1 % loss"), "0-1-loss");
        assert_eq!(file_name("Clean fat link"), "clean-fat-link");
    }
}
