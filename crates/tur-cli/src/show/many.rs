//! Where several downloads stand, and how they went: sentences for people, and a line for programs.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde_json::json;
use tur_engine::Rate;

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
    /// From what has ended, and what those have that run: bytes that are there, and of these what an earlier run had left.
    /// `pace` is asked for the rate: small files end before they have one of their own.
    pub(crate) fn new(
        tally: &Tally,
        running: impl Iterator<Item = (u64, u64)>,
        pace: &mut Pace,
        now: Duration,
    ) -> Self {
        let (mut count, mut bytes, mut fetched) = (0, tally.bytes, tally.fetched);
        for (landed, resumed) in running {
            count += 1;
            bytes = bytes.saturating_add(landed);
            fetched = fetched.saturating_add(landed.saturating_sub(resumed));
        }
        Self {
            items: tally.items(),
            ended: tally.ended(),
            failed: tally.failed,
            running: count,
            bytes,
            rate: pace.rate(now, fetched),
        }
    }
}

/// The recent speed of all downloads together.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When so many bytes had been fetched: the oldest one first, which is the last from before the window.
    samples: VecDeque<(Duration, u64)>,
}

impl Pace {
    /// The rate over the last seconds, if so many bytes have been fetched by now.
    fn rate(&mut self, now: Duration, fetched: u64) -> Rate {
        if self.samples.is_empty() {
            self.samples.push_back((Duration::ZERO, 0));
        }
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.saturating_sub(*at) >= PACE_WINDOW)
        {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or_default();
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push_back((now, fetched));
        }
        // What a failed download had is not counted any more.
        let came = fetched.saturating_sub(before);
        Rate::of(came, now.saturating_sub(since)).unwrap_or_default()
    }
}

/// Time over which the speed of several is measured.
const PACE_WINDOW: Duration = Duration::from_secs(3);

/// More than ticks of the fastest picture in that time.
const SAMPLES_MAX: usize = 64;

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
        let running = [(1 << 20, 0), (1 << 20, 1 << 20)].into_iter();
        let now = Duration::from_secs(2);
        let all = Standing::new(&tally(), running, &mut Pace::default(), now);
        let text = "2 of 4 files, 3.0 MiB, 1.0 MiB/s, 2 running";
        assert_eq!(all.to_string(), text);
    }

    #[test]
    fn the_pace_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        let mut rate = |ms, fetched| {
            let rate = pace.rate(Duration::from_millis(ms), fetched);
            rate.bytes_per_second()
        };
        assert_eq!(rate(1_000, 1_000), 1_000);
        for tick in 11..=100 {
            rate(tick * 100, 1_000 + (tick - 10) * 500);
        }
        assert_eq!(rate(10_100, 46_500), 5_000);
        // A download failed, and what it had is gone.
        assert_eq!(rate(10_200, 10), 0);
        let mut fast = Pace::default();
        for tick in 0..10_000 {
            fast.rate(Duration::from_millis(tick), tick);
        }
        assert!(fast.samples.len() <= SAMPLES_MAX);
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
