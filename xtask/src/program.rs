//! Programs that are run and timed: building `tur`, starting a command, and proving that the file it left is right.
//!
//! [`timed`] is the one way to run a download here: it never reports a time for a file that it has not compared.
#![expect(
    clippy::disallowed_methods,
    reason = "it times other programs and reads their files; nothing here is part of tur"
)]

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tur_core::ByteRange;
use tur_testkit::content;

/// Cargo, as it was started by the user.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(xtask::tree::root());
    command
}

/// Runs this very command again, optimised. True if that was done: there is nothing left to do then.
pub(crate) fn again_in_release() -> Result<bool> {
    if cfg!(not(debug_assertions)) {
        return Ok(false);
    }
    let mut again = cargo();
    again.args(["run", "--quiet", "--release", "--package=xtask", "--"]);
    let status = again.args(std::env::args_os().skip(1)).status()?;
    ensure!(status.success(), "{again:?} ended with {status}");
    Ok(true)
}

/// Builds `tur` and says where it is. What is measured is built as users do, by itself; without optimisation it shares its
/// libraries with the tests.
pub(crate) fn build_tur(release: bool) -> Result<PathBuf> {
    if release {
        build(&["--package=tur-cli", "--bin=tur"], "release")
    } else {
        build(&["--bin=tur"], "dev")
    }
}

/// Builds a program and says where it is.
pub(crate) fn build(which: &[&str], profile: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .arg("build")
        .args(which)
        .args(["--profile", profile]);
    command.arg("--message-format=json-render-diagnostics");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "{which:?} does not build");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo names no executable")
}

/// True if a program can be started here.
pub(crate) fn is_present(program: &Path) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// How a download ended that was given a time.
#[derive(Debug)]
pub(crate) enum End {
    /// By itself, with a file that is right.
    Right(Duration),
    /// It was killed when its time was up.
    Late(Duration),
    /// It failed; its last words.
    Failed(String),
}

/// A download that was run.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) end: End,
    pub(crate) cpu: Option<Cpu>,
}

/// Processor time that a download took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Of the program.
    pub(crate) program: Duration,
    /// Of this process, where the origin runs.
    pub(crate) origin: Duration,
}

impl Cpu {
    /// So far, since this process began; `None` where the system does not say.
    pub(crate) fn now() -> Option<Self> {
        // proc(5): after the name in brackets, utime is the 12th field; in ticks, a hundred a second on every Linux.
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let time = |user, system| Some(Duration::from_millis(10 * (ticks(user)? + ticks(system)?)));
        Some(Self {
            origin: time(11, 12)?,
            program: time(13, 14)?,
        })
    }

    /// What was taken since an earlier look; nothing if the system does not say.
    pub(crate) fn since(before: Option<Self>) -> Option<Self> {
        let (before, now) = before.zip(Self::now())?;
        Some(Self {
            program: now.program.saturating_sub(before.program),
            origin: now.origin.saturating_sub(before.origin),
        })
    }
}

/// Runs a download that may fail, and kills it after `limit`. The file is compared after the time was taken.
///
/// # Errors
/// The command cannot be started, or it ended well and `file` is not what the origin serves.
pub(crate) fn timed_at_most(
    command: &mut Command,
    limit: Duration,
    file: &Path,
    expected: &Expected,
) -> Result<Timed> {
    let mut words = tempfile::tempfile()?;
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command.stdout(Stdio::null()).stderr(words.try_clone()?);
    let before = Cpu::now();
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let pid = child.id().to_string();
    let (ended, end) = channel::<()>();
    let guard = std::thread::spawn(move || {
        let late = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        // If it ended just now there is nothing to kill, and that is as good.
        late && Command::new("kill").args(["-KILL", &pid]).status().is_ok()
    });
    let status = child.wait()?;
    let took = start.elapsed();
    drop(ended);
    let cpu = Cpu::since(before);
    let late = guard.join().expect("the guard does not panic");
    let end = match status.success() {
        _ if late => End::Late(limit),
        true => {
            expected.check(file)?;
            End::Right(took)
        }
        false => {
            words.seek(SeekFrom::Start(0))?;
            let mut said = String::new();
            words.read_to_string(&mut said)?;
            let first = said.lines().next().unwrap_or_default();
            End::Failed(format!("{status}: {first}"))
        }
    };
    Ok(Timed { end, cpu })
}

/// Runs a download and says how long it took, from start to exit.
///
/// # Errors
/// The command fails, or `file` is not what the origin serves.
pub(crate) fn timed(command: &mut Command, file: &Path, expected: &Expected) -> Result<Duration> {
    // The origin is on this machine; no proxy can reach it, and none is to be measured.
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let took = start.elapsed();
    ensure!(
        status.success(),
        "{} ended with {status}",
        command.get_program().display()
    );
    expected.check(file)?;
    Ok(took)
}

/// What a right file is.
pub(crate) struct Expected {
    size: u64,
    digest: Vec<u8>,
}

impl Expected {
    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Its SHA-256.
    pub(crate) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The first `size` bytes of version 0 of the origin's content.
    pub(crate) fn of(size: u64) -> Self {
        // The content repeats every 251 bytes, so that one stretch of whole periods can be hashed again and again.
        let stretch = content(0, ByteRange::new(0, 251 * 1024));
        let mut hash = Sha256::new();
        let mut left = usize::try_from(size).expect("a file of a bench fits in memory");
        while left > 0 {
            let part = left.min(stretch.len());
            hash.update(&stretch[..part]);
            left -= part;
        }
        Self {
            size,
            digest: hash.finalize().to_vec(),
        }
    }

    /// Reads the file back.
    ///
    /// # Errors
    /// It is missing, of another length, or has a wrong byte.
    pub(crate) fn check(&self, file: &Path) -> Result<()> {
        let open = File::open(file).with_context(|| format!("{} is missing", file.display()))?;
        let mut reader = BufReader::with_capacity(1 << 20, open);
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 20]);
        loop {
            let n = reader.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            size += n as u64;
            hash.update(&buffer[..n]);
        }
        ensure!(
            size == self.size,
            "{} has {size} bytes, not {}",
            file.display(),
            self.size
        );
        ensure!(
            hash.finalize()[..] == self.digest[..],
            "{} has wrong bytes",
            file.display()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_right_only_if_every_byte_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.bin");
        let right = content(0, ByteRange::new(0, 700_001));
        let expected = Expected::of(700_001);
        assert!(expected.check(&file).is_err(), "a missing file");
        std::fs::write(&file, &right).unwrap();
        expected.check(&file).unwrap();
        std::fs::write(&file, &right[..700_000]).unwrap();
        assert!(expected.check(&file).is_err(), "a short file");
        let mut wrong = right;
        wrong[350_000] ^= 1;
        std::fs::write(&file, &wrong).unwrap();
        assert!(expected.check(&file).is_err(), "a wrong byte");
    }

    #[test]
    fn a_program_is_right_or_late_or_failed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.bin");
        let (expected, hour) = (Expected::of(0), Duration::from_secs(3_600));
        let run = |program: &str, words: &[&str], limit| {
            timed_at_most(Command::new(program).args(words), limit, &file, &expected)
        };
        assert!(run("true", &[], hour).is_err(), "a missing file");
        let failed = run("sh", &["-c", "echo no >&2; exit 3"], hour).unwrap().end;
        assert!(matches!(failed, End::Failed(words) if words.ends_with(": no")));
        let late = run("sleep", &["3600"], Duration::from_millis(20))
            .unwrap()
            .end;
        assert!(matches!(late, End::Late(_)));
        std::fs::write(&file, []).unwrap();
        let right = timed_at_most(&mut Command::new("true"), hour, &file, &expected).unwrap();
        assert!(matches!(right.end, End::Right(_)));
    }

    #[test]
    fn a_program_that_fails_is_not_timed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.bin");
        let mut command = cargo();
        command.args(["--no-such-flag"]).stderr(Stdio::null());
        let error = timed(&mut command, &file, &Expected::of(0)).unwrap_err();
        assert!(error.to_string().contains("ended with"), "{error}");
    }
}
