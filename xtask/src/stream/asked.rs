//! The program that reads what it is told to: `crates/tur-stream/examples/asked.rs`, driven line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tur_core::ByteRange;
use tur_testkit::content;

use crate::program;

/// Builds it and says where it is.
pub(super) fn build() -> Result<PathBuf> {
    program::build(&["--package=tur-stream", "--example=asked"], "release")
}

/// A running one. It is killed when it goes.
pub(super) struct Asked {
    child: Child,
    lines: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Asked {
    pub(super) fn start(program: &Path, url: &str, dir: &Path, storage: &str) -> Result<Self> {
        let mut child = Command::new(program)
            .arg(url)
            .arg(dir)
            .arg(storage)
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdin.take();
        let answers = child.stdout.take().context("a pipe")?;
        Ok(Self {
            child,
            lines,
            answers: BufReader::new(answers),
        })
    }

    /// Has it read a range, compares what it read, and says after how many milliseconds the first byte was there, and
    /// whether it had been there before.
    pub(super) fn read(&mut self, range: ByteRange) -> Result<(f64, bool)> {
        let lines = self.lines.as_mut().context("it was told to end")?;
        writeln!(lines, "{} {}", range.start, range.len())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let words: Vec<&str> = answer.split_whitespace().collect();
        let [micros, sum, there] = words[..] else {
            anyhow::bail!("it answers {answer:?}");
        };
        ensure!(
            sum.parse::<u64>()? == sum_of(range),
            "wrong bytes in {range}"
        );
        Ok((micros.parse::<f64>()? / 1e3, there.parse()?))
    }

    /// Kills it, as `kill -9` does.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it wait for the file and end.
    pub(super) fn finish(mut self) -> Result<()> {
        self.lines = None;
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The example's sum of what stands there.
fn sum_of(range: ByteRange) -> u64 {
    let mut sum = 0_u64;
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + (4 << 20));
        for byte in content(0, ByteRange::new(at, end)) {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte) + 1);
        }
        at = end;
    }
    sum
}
