//! `cargo xtask bench lanes`: how well connections are chosen, over real sockets, beside other programs.
//!
//! Each [`Case`] is an origin on the loopback interface that gives its connections shares: what a perfect choice of
//! connections would need is known, and times are divided by it. Read [`cases`] for what is measured, [`entry`] for
//! how each program is told. Runs of all programs are interleaved, each file is read back outside of the measured
//! time, and what the origin saw of each run stands beside its time.

mod bare;
mod cases;
mod entry;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tur_testkit::{Loopback, Setup};

use self::cases::Case;
use self::entry::{Entry, How, Programs, Visit};
use crate::program::{Cpu, End, Expected, again_in_release, build_tur, is_present, timed_at_most};

/// What is measured, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; in each, every program runs once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Smaller files: start and end weigh more than they should.
    #[arg(long)]
    quick: bool,
    /// Only these cases; may be given several times.
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// Without programs whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Another build of tur that takes part.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
}

/// What one run came to.
struct Measured {
    /// Seconds; the limit, if it was killed there.
    seconds: f64,
    late: bool,
    connections: u64,
    requests: u64,
    sent: u64,
    cpu: Option<Cpu>,
}

/// Everything that one program did in one case.
struct Course {
    entry: Entry,
    runs: Vec<Measured>,
    /// Why it was given up.
    failed: Option<String>,
}

/// Runs every case and prints tables in Markdown.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The origin runs in this process: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    ensure!(options.rounds > 0, "no rounds, no figures");
    let programs = Programs {
        tur: build_tur(true)?,
        beside: options.beside.clone(),
        absent: ["aria2c", "curl"]
            .into_iter()
            .filter(|name| !is_present(Path::new(name)))
            .collect(),
    };
    for name in &programs.absent {
        println!("{name} is absent and not compared.");
    }
    let cases = cases::all(options.quick);
    for name in &options.only {
        ensure!(
            cases.iter().any(|case| case.name == name),
            "there is no case {name}"
        );
    }
    for case in cases {
        if options.only.is_empty() || options.only.iter().any(|name| name == case.name) {
            measure(&case, &programs, options)?;
        }
    }
    Ok(())
}

/// Measures one case and prints its table.
fn measure(case: &Case, programs: &Programs, options: &Options) -> Result<()> {
    let setup = Setup {
        link: case.link.clone(),
        ..Setup::default()
    };
    let stand = Stand {
        case,
        origin: Loopback::start_with(setup, [(PATH, case.behaviour.clone())]),
        expected: Expected::of(case.behaviour.size),
    };
    let wanted = |entry: &Entry| !options.without.iter().any(|word| entry.name.contains(word));
    let mut courses: Vec<Course> = programs
        .entries(case)
        .into_iter()
        .filter(wanted)
        .map(|entry| Course {
            entry,
            runs: Vec::with_capacity(options.rounds),
            failed: None,
        })
        .collect();
    let mut memories = Vec::with_capacity(courses.len());
    for course in &mut courses {
        memories.push(stand.memory(course)?);
    }
    for _ in 0..options.rounds {
        for (course, memory) in courses.iter_mut().zip(&memories) {
            if course.failed.is_none() {
                stand.run(course, memory.as_ref())?;
            }
        }
    }
    table::print(case, &courses, options.rounds);
    Ok(())
}

/// An origin that every program meets at the same address, and what it serves.
struct Stand<'a> {
    case: &'a Case,
    origin: Loopback,
    expected: Expected,
}

impl Stand<'_> {
    /// What an earlier download left behind, for those that come again; it is not measured.
    fn memory(&self, course: &mut Course) -> Result<Option<TempDir>> {
        if course.entry.visit() != Some(Visit::Second) {
            return Ok(None);
        }
        let mut first = Course {
            entry: course.entry.clone(),
            runs: Vec::new(),
            failed: None,
        };
        let state = tempfile::tempdir()?;
        self.run_with(&mut first, state.path())?;
        course.failed = first.failed;
        if first.runs.iter().any(|run| run.late) {
            course.failed = Some("the first visit did not end".to_owned());
        }
        Ok(Some(state))
    }

    /// One measured run, from a copy of the memory: the second visit is not the third.
    fn run(&self, course: &mut Course, memory: Option<&TempDir>) -> Result<()> {
        let state = tempfile::tempdir()?;
        if let Some(memory) = memory {
            copy(memory.path(), state.path()).context("cannot copy the state of tur")?;
        }
        self.run_with(course, state.path())
    }

    fn run_with(&self, course: &mut Course, state: &Path) -> Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("file.bin");
        // Connections are numbered anew.
        self.origin.swap(PATH, self.case.behaviour.clone());
        let before = self.counts();
        let timed = match &course.entry.how {
            How::Bare(lanes) => bare::read(&self.origin.url(PATH), *lanes, &self.expected)?,
            how => {
                let mut command = how.command(&self.origin.url(PATH), &file);
                command.env("XDG_STATE_HOME", state);
                // Nobody's own settings are measured.
                command.env("XDG_CONFIG_HOME", directory.path());
                timed_at_most(&mut command, self.case.limit, &file, &self.expected)?
            }
        };
        // Read after the file was: what the origin still counted for this run is counted by now.
        let after = self.counts();
        let (took, late) = match timed.end {
            End::Right(took) => (took, false),
            End::Late(limit) => (limit, true),
            End::Failed(words) => {
                course.failed = Some(words);
                return Ok(());
            }
        };
        course.runs.push(Measured {
            seconds: took.as_secs_f64(),
            late,
            connections: after[0] - before[0],
            requests: after[1] - before[1],
            sent: after[2] - before[2],
            cpu: timed.cpu,
        });
        Ok(())
    }

    fn counts(&self) -> [u64; 3] {
        let origin = &self.origin;
        [origin.connections(), origin.requests(), origin.bytes_sent()]
    }
}

/// Copies what is in a directory, with its directories.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Where the origin has the file.
const PATH: &str = "/file.bin";
