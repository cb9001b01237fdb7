//! What was measured, as Markdown.

use super::cases::{Case, Reference};
use super::{Course, Measured};
use crate::program::Cpu;
use crate::spread::Spread;

/// Prints the table of one case.
pub(super) fn print(case: &Case, courses: &[Course], rounds: usize) {
    println!("\n### {}: {}; {rounds} rounds\n", case.name, case.words);
    println!(
        "| program | median s | min–max s | time / {} (median, min–max) | connections | requests | sent / size | CPU s (origin) |",
        match &case.reference {
            Reference::Ideal(seconds) => format!("{seconds:.3} s"),
            Reference::Program(name) => format!("{name}'s"),
        }
    );
    println!("|---|---|---|---|---|---|---|---|");
    for course in courses {
        println!("{}", row(case, course, courses));
    }
    println!();
    for course in courses {
        println!("- {}: `{}`", course.entry.name, course.entry.how.words());
    }
}

fn row(case: &Case, course: &Course, courses: &[Course]) -> String {
    let name = &course.entry.name;
    if let Some(words) = &course.failed {
        return format!("| {name} | failed: {} |", words.replace('|', "/"));
    }
    let runs = &course.runs;
    let times: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
    let time = Spread::of(&times);
    let late = runs.iter().filter(|run| run.late).count();
    let note = match late {
        0 => String::new(),
        n => format!(" ({n} killed there)"),
    };
    let ratio = match ratios(case, &times, courses) {
        Some(ratios) => {
            let ratio = Spread::of(&ratios);
            format!("{:.3} ({:.3}–{:.3})", ratio.median, ratio.min, ratio.max)
        }
        None => "–".to_owned(),
    };
    let size = case.behaviour.size as f64;
    let sent: Vec<f64> = runs.iter().map(|run| run.sent as f64 / size).collect();
    format!(
        "| {name} | {:.3} | {:.3}–{:.3}{note} | {ratio} | {} | {} | {:.3} | {} |",
        time.median,
        time.min,
        time.max,
        counts(runs, |run| run.connections),
        counts(runs, |run| run.requests),
        Spread::of(&sent).median,
        cpu(runs)
    )
}

/// Each time divided by what it is compared with; `None` if that did not run.
fn ratios(case: &Case, times: &[f64], courses: &[Course]) -> Option<Vec<f64>> {
    match &case.reference {
        Reference::Ideal(ideal) => Some(times.iter().map(|time| time / ideal).collect()),
        Reference::Program(name) => {
            let other = courses
                .iter()
                .find(|course| course.entry.name == *name && course.failed.is_none())?;
            let pairs = times.iter().zip(&other.runs);
            Some(pairs.map(|(own, other)| own / other.seconds).collect())
        }
    }
}

/// The median of a count, and its ends if they differ.
fn counts(runs: &[Measured], of: fn(&Measured) -> u64) -> String {
    let numbers: Vec<f64> = runs.iter().map(|run| of(run) as f64).collect();
    let spread = Spread::of(&numbers);
    if spread.min == spread.max {
        format!("{}", spread.median)
    } else {
        format!("{} ({}–{})", spread.median, spread.min, spread.max)
    }
}

/// Median processor seconds of the program, and of the origin in brackets.
fn cpu(runs: &[Measured]) -> String {
    let seconds = |cpu: Cpu| (cpu.program.as_secs_f64(), cpu.origin.as_secs_f64());
    let known: Option<Vec<(f64, f64)>> = runs.iter().map(|run| run.cpu.map(seconds)).collect();
    let Some(known) = known else {
        return "–".to_owned();
    };
    let (own, origin): (Vec<f64>, Vec<f64>) = known.into_iter().unzip();
    format!(
        "{:.2} ({:.2})",
        Spread::of(&own).median,
        Spread::of(&origin).median
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_shows_its_ends_only_if_they_differ() {
        let runs = |connections: &[u64]| -> Vec<Measured> {
            let run = |&connections: &u64| Measured {
                seconds: 1.0,
                late: false,
                connections,
                requests: 1,
                sent: 1,
                cpu: None,
            };
            connections.iter().map(run).collect()
        };
        assert_eq!(counts(&runs(&[16, 16, 16]), |run| run.connections), "16");
        assert_eq!(
            counts(&runs(&[16, 18, 17]), |run| run.connections),
            "17 (16–18)"
        );
        assert_eq!(cpu(&runs(&[1])), "–");
    }
}
