//! `cargo xtask ablation`: the worlds of the scoreboard, run with each way to divide the work, with and without memory,
//! as `docs/ablation.md`.
//!
//! [`WAYS`] is what is compared. What is better and what is not is computed from the same numbers that are printed, so
//! that a conclusion cannot outlive them.
#![expect(
    clippy::disallowed_methods,
    reason = "it writes a file of the tree; nothing here is part of tur"
)]

use std::fmt::Write as _;

use anyhow::{Context, Result};
use tur_sim::table::{Scene, scoreboard};
use tur_sim::{OriginMemory, Report, Schedule};
use xtask::tree;

use crate::program::again_in_release;
use crate::scoreboard::complete;
use crate::spread::Spread;

/// Seeds of each world.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=5;
/// Worlds in which time differs by less are called alike.
const ALIKE: f64 = 0.01;
/// A way that saves less than this over the whole table is not worth its rules.
const WORTH: f64 = 0.005;

/// A way to divide the work.
struct Way {
    name: &'static str,
    schedule: Schedule,
    /// The phi ratio, if it is not to be learned.
    ratio: Option<f64>,
}

/// The first is the default, with which the others are compared.
const WAYS: [Way; 4] = [
    Way {
        name: "equal",
        schedule: Schedule::Equal,
        ratio: None,
    },
    Way {
        name: "fibonacci",
        schedule: Schedule::Fibonacci,
        ratio: None,
    },
    Way {
        name: "adaptive, R = 1.5",
        schedule: Schedule::Adaptive,
        ratio: Some(1.5),
    },
    Way {
        name: "adaptive, R learned",
        schedule: Schedule::Adaptive,
        ratio: None,
    },
];

/// The first visit has no memory, the second has that of the first.
const VISITS: [&str; 2] = ["without", "with"];

const HEAD: &str = "# Ablation: how the work is divided at first

Written by `cargo xtask ablation`; do not edit. The worlds are those of the [scoreboard](scoreboard.md), each with five
seeds; a number is the median of them. Every way to divide runs in the same worlds with the same seeds.

- **equal**: every lane starts with the same share. This is the default.
- **fibonacci**: 1, 2, 3, 5, 8, … MiB from the front, none larger than an equal share.
- **adaptive**: shares grow from the front as a geometric ramp whose largest is R times its smallest. R, the phi ratio,
  is `clamp(1 + CV, 1.1, 2.5)`, where CV is the coefficient of variation of the rates of the lanes to the origin. It is
  1.5 as long as nothing is known of an origin, so without memory R learned is the same as R = 1.5.
- **memory**: *without* is the first visit to an origin, *with* the second one, which is told what the first one has
  learned: width, limit, rate of a lane, round trip, set-up, R.

R shapes only the plan. It does not shape the steal: when a lane is free, what the others bring has been measured, and
the split that lets victim and thief finish together follows from the rates of these two (one that has brought nothing
yet is taken for a typical lane). R says how unequal lanes are as a rule, which is less. Where no rate at all is known,
a thief takes the golden section; that lasts until some lane has brought bytes.

";

/// What one way and one visit gave in one world, by seed.
#[derive(Clone, Default)]
struct Cell {
    /// Time / ideal.
    time: Vec<f64>,
    requests: Vec<f64>,
    /// In per cent of the size.
    waste: Vec<f64>,
}

/// All cells of a world, by way and visit.
struct World {
    name: String,
    cells: [[Cell; 2]; WAYS.len()],
    /// R as it was learned by the first visit.
    learned: Vec<f64>,
}

/// Runs everything and rewrites the page.
pub(crate) fn run() -> Result<()> {
    if again_in_release()? {
        return Ok(());
    }
    let mut worlds = Vec::new();
    for scene in scoreboard() {
        let world = measure(&scene)?;
        println!("{}", world.name);
        worlds.push(world);
    }
    let page = format!(
        "{HEAD}{}\n{}\n{}",
        summary(&worlds)?,
        conclusion(&worlds)?,
        table(&worlds)?
    );
    let path = tree::root().join("docs/ablation.md");
    std::fs::write(&path, page).with_context(|| path.display().to_string())
}

fn measure(scene: &Scene) -> Result<World> {
    let mut world = World {
        name: scene.scenario.name.clone(),
        cells: Default::default(),
        learned: Vec::new(),
    };
    for (way, cells) in WAYS.iter().zip(&mut world.cells) {
        let mut scene = scene.clone();
        for job in &mut scene.scenario.jobs {
            (job.schedule, job.ratio) = (way.schedule, way.ratio);
        }
        for seed in SEEDS {
            let mut memory = OriginMemory::new();
            let ideal = scene.ideal(seed).as_secs_f64();
            for (visit, cell) in cells.iter_mut().enumerate() {
                cell.add(&complete(&scene, seed, &mut memory)?, ideal);
                if visit == 0 && way.ratio.is_none() && way.schedule == Schedule::Adaptive {
                    let known = memory.iter().map(|(_, profile)| profile.ratio.value());
                    world.learned.extend(known);
                }
            }
        }
    }
    Ok(world)
}

impl World {
    fn is_divided(&self) -> bool {
        median(&self.cells[0][0].requests) > 1.0
    }
}

impl Cell {
    fn add(&mut self, report: &Report, ideal: f64) {
        let sum = |of: fn(&tur_sim::DownloadReport) -> f64| -> f64 {
            report.downloads.iter().map(of).sum()
        };
        self.time.push(report.time.as_secs_f64() / ideal);
        self.requests.push(sum(|one| f64::from(one.requests)));
        let (wasted, bytes) = (sum(|one| one.wasted as f64), sum(|one| one.bytes as f64));
        self.waste.push(100.0 * wasted / bytes);
    }
}

/// The table over all worlds.
fn summary(worlds: &[World]) -> Result<String> {
    let mut text = String::from(
        "| division | memory | time / ideal, median of the worlds | worst world | requests, all worlds | \
         waste, mean | time beside equal |\n|---|---|---|---|---|---|---|\n",
    );
    for (way, row) in WAYS.iter().enumerate() {
        for (visit, memory) in VISITS.iter().enumerate() {
            let cells = || worlds.iter().map(|world| &world.cells[way][visit]);
            let times: Vec<f64> = cells().map(|cell| median(&cell.time)).collect();
            let divided = worlds
                .iter()
                .zip(&times)
                .filter(|(world, _)| world.is_divided());
            let worst = divided.max_by(|a, b| a.1.total_cmp(b.1));
            let (world, worst) = worst.context("there are worlds that are divided")?;
            let requests = requests(worlds, (way, visit));
            let waste: f64 = cells().map(|cell| median(&cell.waste)).sum();
            writeln!(
                text,
                "| {} | {memory} | {:.3} | {worst:.3}, {} | {requests:.0} | {:.2} % | {:+.2} % |",
                row.name,
                median(&times),
                world.name,
                waste / worlds.len() as f64,
                100.0 * (mean_ratio(worlds, (way, visit), (0, visit)) - 1.0),
            )?;
        }
    }
    text.push_str(
        "\nThe last column is the geometric mean over the worlds of the time beside that of equal shares with the same \
         memory,\nseed by seed: below zero is faster. A file that one request brings is not divided, so it is not called the worst.\n",
    );
    Ok(text)
}

/// What the numbers say, in words.
fn conclusion(worlds: &[World]) -> Result<String> {
    let mut text = String::from("## What is kept\n\n");
    let memory = verdict(worlds, (0, 1), (0, 0));
    writeln!(
        text,
        "- **Memory** beside none, with equal shares: {memory}."
    )?;
    for (way, row) in WAYS.iter().enumerate().skip(1) {
        let [first, second] = [0, 1].map(|visit| verdict(worlds, (way, visit), (0, visit)));
        let name = row.name;
        writeln!(
            text,
            "- **{name}** beside equal, without memory: {first}; with memory: {second}."
        )?;
    }
    let learned = verdict(worlds, (3, 1), (2, 1));
    writeln!(
        text,
        "- **R learned** beside R = 1.5, with memory: {learned}."
    )?;
    let known: Vec<f64> = worlds
        .iter()
        .filter(|world| !world.learned.is_empty())
        .map(|world| median(&world.learned))
        .collect();
    let least = known.iter().filter(|ratio| **ratio < 1.15).count();
    writeln!(
        text,
        "\nR was learned in {} worlds, and in {least} of them it is the least that it can be, or within 0.05: lanes over \
         one\nbottleneck, or under the same cap, are much alike, and those that are far slower are replaced.",
        known.len()
    )?;
    write!(
        text,
        "\nA change *helps* if it saves {} % or more over the table, *harms* if it costs as much, and else *changes \
         nothing*;\nworlds count as faster or slower from {} % on. What helps is kept, what does not is off by default: \
         {}\n{}\n",
        100.0 * WORTH,
        100.0 * ALIKE,
        if mean_ratio(worlds, (0, 1), (0, 0)) < 1.0 {
            "memory is\nused unless `--no-origin-memory` says otherwise."
        } else {
            "memory does\nnot save time here, and the default is to be thought over."
        },
        decision(worlds)
    )?;
    Ok(text)
}

/// Which division is to be the default, by the same rule as the sentences above.
fn decision(worlds: &[World]) -> String {
    let best = (1..WAYS.len())
        .map(|way| (way, saved(worlds, way)))
        .filter(|(_, saved)| *saved >= WORTH)
        .max_by(|a, b| a.1.total_cmp(&b.1));
    match best {
        None => "Work is divided equally, and `Schedule::Fibonacci`, `Schedule::Adaptive` and with it R have to be asked \
                 for\n(`--schedule` of the program, `Download::schedule` of the library). R is learned and stored all \
                 the same: it is one\nnumber, and says how even the lanes to an origin were."
            .to_owned(),
        Some((way, _)) => format!(
            "**{} should be the default**; equal shares are what `Schedule::default()` gives as long as this stands here.",
            WAYS[way].name
        ),
    }
}

/// Share of time that a way saves beside equal shares, at the visit where it saves less.
fn saved(worlds: &[World], way: usize) -> f64 {
    let at = |visit| 1.0 - mean_ratio(worlds, (way, visit), (0, visit));
    f64::min(at(0), at(1))
}

/// One comparison in words.
fn verdict(worlds: &[World], one: (usize, usize), other: (usize, usize)) -> String {
    let mean = mean_ratio(worlds, one, other);
    let ratios = || worlds.iter().map(|world| (world, ratio(world, one, other)));
    let faster = ratios().filter(|(_, ratio)| *ratio < 1.0 - ALIKE).count();
    let slower: Vec<String> = ratios()
        .filter(|(_, ratio)| *ratio > 1.0 + ALIKE)
        .map(|(world, ratio)| format!("{} {:+.1} %", world.name, 100.0 * (ratio - 1.0)))
        .collect();
    let effect = if mean <= 1.0 - WORTH {
        "helps"
    } else if mean >= 1.0 + WORTH {
        "harms"
    } else {
        "changes nothing"
    };
    let slower = if slower.is_empty() {
        "slower in none".to_owned()
    } else {
        format!("slower in {} ({})", slower.len(), slower.join(", "))
    };
    format!(
        "{effect} ({:+.2} % time, {:+.0} % requests; faster in {faster} of {} worlds, {slower})",
        100.0 * (mean - 1.0),
        100.0 * (requests(worlds, one) / requests(worlds, other) - 1.0),
        worlds.len()
    )
}

/// Time of one cell beside another, the median over seeds.
fn ratio(world: &World, one: (usize, usize), other: (usize, usize)) -> f64 {
    let [one, other] = [one, other].map(|(way, visit)| &world.cells[way][visit].time);
    let ratios: Vec<f64> = one.iter().zip(other).map(|(a, b)| a / b).collect();
    median(&ratios)
}

/// The geometric mean of [`ratio`] over all worlds.
fn mean_ratio(worlds: &[World], one: (usize, usize), other: (usize, usize)) -> f64 {
    let logs = worlds.iter().map(|world| ratio(world, one, other).ln());
    (logs.sum::<f64>() / worlds.len() as f64).exp()
}

/// Of all worlds together.
fn requests(worlds: &[World], (way, visit): (usize, usize)) -> f64 {
    let each = worlds
        .iter()
        .map(|world| median(&world.cells[way][visit].requests));
    each.sum()
}

/// Every world by itself.
fn table(worlds: &[World]) -> Result<String> {
    let mut text =
        String::from("## The worlds\n\nTime / ideal, first visit and second visit.\n\n| world |");
    for way in &WAYS {
        write!(text, " {} |", way.name)?;
    }
    text.push_str(" R that was learned |\n|---|---|---|---|---|---|\n");
    for world in worlds {
        write!(text, "| {} |", world.name)?;
        for cells in &world.cells {
            let [first, second] = [0, 1].map(|visit: usize| median(&cells[visit].time));
            write!(text, " {first:.3}, {second:.3} |")?;
        }
        let learned = &world.learned;
        if learned.is_empty() {
            text.push_str(" – |\n");
        } else {
            let Spread { min, median, max } = Spread::of(learned);
            writeln!(text, " {median:.2} ({min:.2}–{max:.2}) |")?;
        }
    }
    Ok(text)
}

fn median(numbers: &[f64]) -> f64 {
    Spread::of(numbers).median
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worlds in which ways took these times at both visits.
    fn worlds(times: [[f64; WAYS.len()]; 2]) -> Vec<World> {
        let cell = |time| Cell {
            time: vec![time],
            requests: vec![1.0],
            waste: vec![0.0],
        };
        times
            .map(|times| World {
                name: "a world".into(),
                cells: times.map(|time| [cell(time), cell(time)]),
                learned: Vec::new(),
            })
            .into()
    }

    #[test]
    fn a_comparison_says_what_the_numbers_say() {
        let worlds = worlds([[1.0, 0.9, 1.0, 1.0], [1.0, 1.05, 1.0, 1.0]]);
        let said = verdict(&worlds, (1, 0), (0, 0));
        assert_eq!(
            said,
            "helps (-2.79 % time, +0 % requests; faster in 1 of 2 worlds, slower in 1 (a world +5.0 %))"
        );
        let same = verdict(&worlds, (2, 1), (0, 1));
        assert!(same.starts_with("changes nothing"), "{same}");
    }

    #[test]
    fn the_default_is_doubted_only_by_a_way_that_saves_enough() {
        let same = worlds([[1.0; WAYS.len()]; 2]);
        assert!(decision(&same).starts_with("Work is divided equally"));
        let better = worlds([[1.0, 1.0, 0.98, 0.97]; 2]);
        assert!(decision(&better).starts_with("**adaptive, R learned"));
    }
}
