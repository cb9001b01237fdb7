//! Where several downloads stand, and how they went: sentences for people, and a line for programs.

use std::fmt;
use std::time::Duration;

use serde_json::json;
use tur_engine::{Progress, Rate};

use super::{json, words};
use crate::batch::Tally;
use crate::human;

/// Several downloads together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) items: usize,
    /// Well or not.
    pub(crate) ended: usize,
    failed: usize,
    running: usize,
    /// Of files that are done, and what is there of those that run.
    bytes: u64,
    rate: Rate,
}

impl Standing {
    /// From what has ended, and where those stand that run.
    pub(crate) fn new(tally: &Tally, running: &[(String, Progress)]) -> Self {
        let landed = running.iter().map(|(_, progress)| progress.landed);
        let rates = running
            .iter()
            .map(|(_, progress)| progress.rate.bytes_per_second());
        Self {
            items: tally.items(),
            ended: tally.ended(),
            failed: tally.failed,
            running: running.len(),
            bytes: landed.fold(tally.bytes, u64::saturating_add),
            rate: Rate::per_second(rates.fold(0, u64::saturating_add)),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, rate) = (human::bytes(self.bytes), human::rate(self.rate));
        write!(f, "{} of {}, ", self.ended, files(self.items))?;
        write!(f, "{bytes}, {rate}, {} running", self.running)?;
        match self.failed {
            0 => Ok(()),
            n => write!(f, ", {n} failed"),
        }
    }
}

/// How several downloads went: a line, and one for each of the first failures.
pub(super) fn summary(tally: &Tally, elapsed: Duration) -> Vec<String> {
    let mut line = format!(
        "{}, {} in {}",
        files(tally.done),
        human::bytes(tally.bytes),
        human::time(elapsed)
    );
    if tally.already > 0 {
        line += &format!(" ({} here already)", tally.already);
    }
    if tally.failed > 0 {
        line += &format!("; {} failed", tally.failed);
    }
    if tally.unfinished() > 0 {
        line += &format!("; {} not finished", tally.unfinished());
    }
    let failures = tally.failures.iter().map(words::failed_of_many);
    let mut lines = vec![line];
    lines.extend(failures.map(|why| format!("failed: {why}")));
    match tally.failed - tally.failures.len() {
        0 => {}
        n => lines.push(format!("failed: {n} more")),
    }
    lines
}

/// What is said of an interruption, whatever else is.
pub(super) fn interrupted(tally: &Tally) -> String {
    let left = files(tally.unfinished());
    format!("interrupted; {left} not finished, and the same command goes on from there")
}

/// The last line of `--json`. Its `id` is 0: it is no file's.
pub(super) fn summary_line(tally: &Tally, elapsed: Duration) -> String {
    let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    json::object([
        ("event", json!("summary")),
        ("id", json!(0)),
        ("t_ms", json!(elapsed)),
        ("files", json!(tally.items())),
        ("done", json!(tally.done)),
        ("already", json!(tally.already)),
        ("failed", json!(tally.failed)),
        ("unfinished", json!(tally.unfinished())),
        ("bytes", json!(tally.bytes)),
        ("elapsed_ms", json!(elapsed)),
    ])
}

fn files(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    }
}

#[cfg(test)]
mod tests {
    use tur_engine::Completed;

    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally::new(4);
        let done = |already| {
            Ok(Completed {
                bytes: 1 << 20,
                already,
                ..Completed::default()
            })
        };
        tally.count(0, &done(false));
        tally.count(1, &done(true));
        tally
    }

    #[test]
    fn several_stand_in_one_line() {
        let progress = Progress {
            landed: 1 << 20,
            rate: Rate::per_second(1 << 10),
            ..Progress::default()
        };
        let running = [
            ("a".to_owned(), progress.clone()),
            ("b".to_owned(), progress),
        ];
        let all = Standing::new(&tally(), &running);
        assert_eq!(
            all.to_string(),
            "2 of 4 files, 3.0 MiB, 2.0 KiB/s, 2 running"
        );
    }

    #[test]
    fn the_summary_counts_and_is_for_programs_too() {
        let elapsed = Duration::from_millis(1_500);
        assert_eq!(
            summary(&tally(), elapsed),
            ["2 files, 1.0 MiB in 1.50 s (1 here already); 2 not finished"]
        );
        assert_eq!(
            summary_line(&tally(), elapsed),
            r#"{"event":"summary","id":0,"t_ms":1500,"files":4,"done":2,"already":1,"failed":0,"unfinished":2,"bytes":1048576,"elapsed_ms":1500}"#
        );
    }
}
