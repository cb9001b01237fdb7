//! One file: downloaded, killed, downloaded again, and at last read back.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tur_sim::Dice;
use tur_testkit::Loopback;

use super::queues::queued;
use super::{Case, bound, spread};
use crate::program::Expected;

/// What all files have in common.
pub(crate) struct Grounds<'a> {
    /// The program.
    pub(crate) tur: &'a Path,
}

/// What became of one file.
pub(crate) struct Course {
    pub(crate) case: Case,
    pub(crate) kills: usize,
    /// Downloads that were completed.
    pub(crate) rounds: usize,
    /// What each kill cost.
    pub(crate) losses: Vec<Loss>,
    /// What must not be, one sentence each.
    pub(crate) wrong: Vec<String>,
}

/// What a kill cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// Bytes that the origin had sent and the next run asked for again. Less than none if a run was killed before it
    /// could say what it had found: the next kill then has what this one lacks.
    pub(crate) twice: i64,
    /// Bytes in the buffers of sockets just before the kill.
    pub(crate) queued: Option<i64>,
}

/// One run of the program, to its end or to its death.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Bytes of bodies that the origin had sent to it when it was gone.
    sent: u64,
    /// What it found kept, if it came to say so.
    kept: Option<u64>,
    queued: Option<u64>,
    /// True if it was killed.
    killed: bool,
}

/// When a run is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// So long after its start.
    Early(Duration),
    /// So long after the origin has sent so many bytes.
    Sent(u64, Duration),
    /// It is not.
    Never,
}

/// A file that is being downloaded.
struct Field<'a> {
    tur: &'a Path,
    case: &'a Case,
    origin: Loopback,
    directory: TempDir,
    dice: Dice,
}

impl Grounds<'_> {
    /// Downloads a file until it was killed so many times, and then to its end.
    ///
    /// # Errors
    /// The program cannot be started, or what it leaves cannot be looked at.
    pub(crate) fn run(&self, case: Case, kills: usize, dice: Dice) -> Result<Course> {
        let mut field = Field {
            tur: self.tur,
            origin: Loopback::start([(PATH, case.behaviour())]),
            directory: tempfile::tempdir()?,
            case: &case,
            dice,
        };
        let (mut done, mut rounds, mut losses, mut wrong) = (0, 0, Vec::new(), Vec::new());
        while rounds == 0 || done < kills {
            let (runs, complaint) = field.round(kills - done)?;
            done += runs.iter().filter(|run| run.killed).count();
            rounds += 1;
            losses.extend(costs(&runs, field.case.size));
            wrong.extend(complaint.map(|text| format!("{case:?}: {text}")));
        }
        drop(field);
        Ok(Course {
            case,
            kills: done,
            rounds,
            losses,
            wrong,
        })
    }
}

impl Field<'_> {
    /// One download: killed at most so many times, then left alone. Says what was wrong with it.
    fn round(&mut self, kills: usize) -> Result<(Vec<Run>, Option<String>)> {
        let target = self.directory.path().join(NAME);
        if target.exists() {
            std::fs::remove_file(&target)?;
        }
        let (mut runs, mut sent) = (Vec::new(), 0);
        for left in (0..=kills).rev() {
            let point = match left {
                0 => Point::Never,
                _ => self.point(sent, left),
            };
            let (run, code) = self.attempt(point)?;
            sent += run.sent;
            runs.push(run);
            match code {
                None if !target.exists() => {}
                // A kill after the file got its name comes too late to cost anything.
                None | Some(0) => {
                    let check = Expected::of(self.case.size).check(&target);
                    return Ok((runs, check.err().map(|error| format!("{error:#}"))));
                }
                Some(code) => {
                    let said = std::fs::read_to_string(self.directory.path().join(WORDS))?;
                    return Ok((runs, Some(format!("it ended with {code}: {}", said.trim()))));
                }
            }
        }
        Ok((runs, Some("it was never complete".to_owned())))
    }

    /// A random point for one of `left` kills, where about `sent` bytes have come so far.
    fn point(&mut self, sent: u64, left: usize) -> Point {
        let rest = match self.case.is_strong {
            true => self.case.size.saturating_sub(sent),
            false => self.case.size,
        };
        let micros = |dice: &mut Dice, most| Duration::from_micros(dice.below(most));
        match self.dice.below(100) {
            0..15 => Point::Early(micros(&mut self.dice, 40_000)),
            // About when the last bytes land, are synced, and the file gets its name.
            15..25 => Point::Sent(rest, micros(&mut self.dice, 10_000)),
            // So that the kills are spread over the file.
            _ => {
                let step = 2 * rest / (left as u64 + 1);
                Point::Sent(
                    self.dice.below(step.max(1)) + 1,
                    micros(&mut self.dice, 5_000),
                )
            }
        }
    }

    /// Runs the program once; its exit code, or `None` if it was killed.
    fn attempt(&self, point: Point) -> Result<(Run, Option<i32>)> {
        let events = self.directory.path().join(EVENTS);
        let before = self.origin.bytes_sent();
        let mut child = self.command(&events)?.spawn().context("cannot start tur")?;
        let ended = self.reach(point, before, &mut child)?;
        let mut waits = None;
        if !ended {
            waits = queued(self.origin.port());
            child.kill()?;
        }
        let status = child.wait()?;
        let sent = self.origin.bytes_sent() - before;
        self.settle();
        // A process that ended just before it was to be killed was not killed.
        let code = status.code();
        let run = Run {
            sent,
            kept: kept(&std::fs::read_to_string(&events)?),
            queued: waits,
            killed: code.is_none(),
        };
        ensure!(
            code.is_some() || !ended,
            "tur was killed by somebody else: {status}"
        );
        Ok((run, code))
    }

    fn command(&self, events: &Path) -> Result<Command> {
        let lanes = self.case.lanes.to_string();
        let mut command = Command::new(self.tur);
        command
            .args(["--json", "--no-origin-memory", "--max-time", "120"])
            .args(["-x", &lanes, "-s", &lanes, "-k", "64K", "-o", NAME])
            .args(
                self.case
                    .storage
                    .iter()
                    .flat_map(|name| ["--storage", name]),
            )
            .arg(self.origin.url(PATH))
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .stdout(File::create(events)?)
            .stderr(File::create(self.directory.path().join(WORDS))?);
        Ok(command)
    }

    /// Waits until the run is to be killed; true if it ended before.
    fn reach(&self, point: Point, before: u64, child: &mut Child) -> Result<bool> {
        let (bytes, pause) = match point {
            Point::Early(pause) => (0, pause),
            Point::Sent(bytes, pause) => (bytes, pause),
            Point::Never => (u64::MAX, Duration::ZERO),
        };
        let goal = before.saturating_add(bytes);
        while !self.origin.wait_for_bytes(goal, Duration::from_millis(1)) {
            if child.try_wait()?.is_some() {
                return Ok(true);
            }
        }
        let start = Instant::now();
        while start.elapsed() < pause {
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(child.try_wait()?.is_some())
    }

    /// Waits until the origin has noticed that its client is gone: what it still wrote went to nobody, and is not to
    /// count as sent to the next run.
    fn settle(&self) {
        let mut sent = self.origin.bytes_sent();
        loop {
            std::thread::sleep(Duration::from_millis(40));
            let now = self.origin.bytes_sent();
            if now == sent {
                return;
            }
            sent = now;
        }
    }
}

/// What each kill of one download cost. What a run that said nothing found is what the next one finds.
/// After the last one the file is `complete`, in bytes.
fn costs(runs: &[Run], complete: u64) -> Vec<Loss> {
    let found = |from: usize| runs.iter().skip(from).find_map(|run| run.kept);
    let signed = |bytes: u64| i64::try_from(bytes).expect("a file of some MiB");
    let killed = runs.iter().enumerate().filter(|(_, run)| run.killed);
    killed
        .map(|(n, run)| {
            let before = run.kept.or(found(n + 1)).unwrap_or(0);
            let after = match n + 1 == runs.len() {
                true => complete,
                false => found(n + 1).unwrap_or(before),
            };
            Loss {
                twice: signed(run.sent) + signed(before) - signed(after),
                queued: run.queued.map(signed),
            }
        })
        .collect()
}

/// What a run found kept, from its events. The last line may be cut.
fn kept(events: &str) -> Option<u64> {
    events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["event"] == "opened")
        .and_then(|event| event["resumed_bytes"].as_u64())
}

impl Course {
    /// Above all rows.
    pub(crate) const HEADER: &'static str = "| KiB | lanes | KiB/s each | validator | storage | kills | rounds | twice per kill | bound, KiB | wrong |\n|---|---|---|---|---|---|---|---|---|---|";
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let twice: Vec<i64> = self.losses.iter().map(|loss| loss.twice).collect();
        let case = &self.case;
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            case.size >> 10,
            case.lanes,
            case.pace.bytes_per_second() >> 10,
            if case.is_strong { "strong" } else { "weak" },
            case.storage.unwrap_or("-"),
            self.kills,
            self.rounds,
            spread(&twice),
            if case.is_strong {
                (bound(case.lanes) >> 10).to_string()
            } else {
                "-".to_owned()
            },
            self.wrong.len(),
        )
    }
}

/// The file, at the origin and here.
const PATH: &str = "/file.bin";
const NAME: &str = "file.bin";

/// What a run says, beside the file.
const EVENTS: &str = "events";
const WORDS: &str = "words";

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sent: u64, kept: Option<u64>) -> Run {
        Run {
            sent,
            kept,
            queued: None,
            killed: true,
        }
    }

    fn twice(runs: &[Run]) -> Vec<i64> {
        costs(runs, 300)
            .into_iter()
            .map(|loss| loss.twice)
            .collect()
    }

    #[test]
    fn a_kill_costs_what_was_sent_and_is_not_found() {
        let last = Run {
            killed: false,
            ..run(50, Some(250))
        };
        let runs = [run(100, Some(0)), run(160, Some(90)), last];
        assert_eq!(twice(&runs), [10, 0]);
        // The second run was killed before it could say anything: it found what the third one finds.
        let runs = [run(100, Some(0)), run(7, None), run(170, Some(90)), last];
        assert_eq!(twice(&runs), [10, 7, 10]);
        // Killed after the file had got its name.
        assert_eq!(twice(&[run(100, Some(0)), run(215, Some(90))]), [10, 5]);
    }

    #[test]
    fn what_was_kept_is_in_the_first_opened_event() {
        let events =
            "{\"event\":\"start\"}\n{\"event\":\"opened\",\"resumed_bytes\":5}\n{\"event\":\"op";
        assert_eq!(kept(events), Some(5));
        assert_eq!(kept("{\"event\":\"start\"}\n{"), None);
    }
}
