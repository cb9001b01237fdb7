//! Programs that are run and timed: building `tur`, starting a command, and proving that the file it left is right.
//!
//! [`timed`] is the one way to run a download here: it never reports a time for a file that it has not compared.
#![expect(
    clippy::disallowed_methods,
    reason = "it times other programs and reads their files; nothing here is part of tur"
)]

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
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

/// Builds `tur` and says where it is.
pub(crate) fn build_tur(release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "build",
        "--package=tur-cli",
        "--bin=tur",
        "--message-format=json-render-diagnostics",
    ]);
    if release {
        command.arg("--release");
    }
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "tur does not build");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo names no executable")
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
    fn check(&self, file: &Path) -> Result<()> {
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
    fn a_program_that_fails_is_not_timed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.bin");
        let mut command = cargo();
        command
            .args(["--no-such-flag"])
            .stderr(std::process::Stdio::null());
        let error = timed(&mut command, &file, &Expected::of(0)).unwrap_err();
        assert!(error.to_string().contains("ended with"), "{error}");
    }
}
