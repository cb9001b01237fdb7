//! What is downloaded, by whom, and how it is judged.
//!
//! Read [`Field::fetch`]: it runs the program once and compares every byte. [`Ask`] is what it is told.
#![expect(
    clippy::disallowed_methods,
    reason = "it runs the program and reads what it leaves; nothing here is part of tur"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tur_sim::Dice;

use super::certificates::Certificates;
use super::process::{bound_to_us, finish, read, wait_until};
use super::programs::Programs;
use super::servers::{Ahead, Grounds, Servers};

/// The file that every origin serves.
pub(super) const FILE: &str = "/file.bin";

/// How long one run of a program may take, on a machine that is busy.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Servers, and the program that asks them.
pub(super) struct Field {
    pub(super) servers: Servers,
    pub(super) certificates: Certificates,
    pub(super) file: Known,
    pub(super) tur: PathBuf,
    pub(super) programs: Programs,
    /// What origins serve.
    pub(super) documents: PathBuf,
    /// Where configurations and logs of servers are.
    pub(super) directory: PathBuf,
    /// Where files are saved.
    pub(super) downloads: PathBuf,
    /// How large a film is made.
    pub(super) film_mib: u64,
    /// What the program says of itself.
    pub(super) help: String,
}

/// What the right file is.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) size: u64,
    sha256: String,
}

/// One run of the program.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    url: String,
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
    folder: Option<PathBuf>,
}

/// What it said at its end, when that was well and the file is right.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    pub(super) protocol: String,
    pub(super) connections: u64,
    pub(super) requests: u64,
    pub(super) wasted: u64,
    pub(super) resumed: u64,
}

/// A run that goes on.
pub(super) struct Running {
    child: Child,
    folder: PathBuf,
}

impl Ask {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ..Self::default()
        }
    }

    /// Adds arguments.
    pub(super) fn words<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.words.extend(words);
        self
    }

    /// Adds a variable of the environment.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Saves there, instead of in a folder that is empty.
    pub(super) fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }
}

impl Field {
    /// True if the program's help has that word.
    pub(super) fn speaks_of(&self, wanted: &str) -> bool {
        self.help.split_whitespace().any(|word| word == wanted)
    }

    /// For a server that is started later.
    pub(super) fn grounds(&self) -> Grounds<'_> {
        Grounds {
            programs: &self.programs,
            certificates: &self.certificates,
            documents: &self.documents,
            directory: &self.directory,
            ahead: Ahead::Little,
        }
    }

    /// An empty folder that stays until the end.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        Ok(tempfile::tempdir_in(&self.downloads)?.keep())
    }

    /// Downloads, and compares every byte.
    ///
    /// # Errors
    /// It did not end well, or the file is wrong.
    pub(super) fn fetch(&self, ask: &Ask) -> Result<Done> {
        let mut running = self.start(ask)?;
        let code = running.end()?;
        if code != Some(0) {
            bail!("it ended with {code:?}: {}", running.words());
        }
        self.file.check(&running.folder.join(NAME))?;
        running.done()
    }

    /// Asks for what must not be had, and says what the program said.
    ///
    /// # Errors
    /// It ended with another code, or left something under the file's name.
    pub(super) fn refused(&self, ask: &Ask, code: i32) -> Result<String> {
        let mut running = self.start(ask)?;
        let ended = running.end()?;
        ensure!(
            ended == Some(code),
            "it ended with {ended:?} instead of {code}: {}",
            running.words()
        );
        ensure!(!running.folder.join(NAME).exists(), "it left a file");
        Ok(running.words())
    }

    /// Starts the program, with the settings of nobody.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(&self, ask: &Ask) -> Result<Running> {
        let folder = match &ask.folder {
            Some(folder) => folder.clone(),
            None => self.folder()?,
        };
        let mut command = bound_to_us(&self.programs.setpriv, "KILL", &self.tur);
        command.args(["--json", "-o", NAME, "--ca-file"]);
        command
            .arg(&self.certificates.authority)
            .args(&ask.words)
            .arg(&ask.url);
        let known = ask
            .environment
            .iter()
            .any(|(name, _)| *name == "XDG_STATE_HOME");
        if !known {
            command.arg("--no-origin-memory");
        }
        command.env_clear().env("HOME", &folder);
        command.envs(ask.environment.iter().map(|(name, value)| (name, value)));
        command
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join(EVENTS))?)
            .stderr(File::create(folder.join(WORDS))?);
        let child = command.spawn().context("cannot start tur")?;
        Ok(Running { child, folder })
    }

    /// What curl makes of the same URL.
    ///
    /// # Errors
    /// It fails, or the file is wrong.
    pub(super) fn curl(&self, url: &str, words: &[&str]) -> Result<()> {
        let folder = self.folder()?;
        let mut command = bound_to_us(&self.programs.setpriv, "KILL", &self.programs.curl);
        command.args([
            "-q",
            "--silent",
            "--show-error",
            "--fail",
            "-o",
            NAME,
            "--cacert",
        ]);
        command
            .arg(&self.certificates.authority)
            .args(words)
            .arg(url);
        command
            .env_clear()
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stderr(File::create(folder.join(WORDS))?);
        let mut child = command.spawn().context("cannot start curl")?;
        let status = finish(&mut child, RUN_MAX)?;
        ensure!(status.success(), "curl: {}", read(&folder.join(WORDS)));
        self.file.check(&folder.join(NAME))
    }
}

impl Running {
    /// Waits for its end; its exit code.
    ///
    /// # Errors
    /// It takes too long.
    pub(super) fn end(&mut self) -> Result<Option<i32>> {
        let status = finish(&mut self.child, RUN_MAX).with_context(|| self.words())?;
        Ok(status.code())
    }

    /// Waits until so many bytes have landed, as it says, and ends it by `kill -9`.
    ///
    /// # Errors
    /// It ended before.
    pub(super) fn kill_at(&mut self, landed: u64) -> Result<()> {
        let mut ended = false;
        let is_there = || {
            ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            let events = events(&self.folder);
            let reached = events.iter().filter_map(|event| event["landed"].as_u64());
            ended || reached.max() >= Some(landed)
        };
        let reached = wait_until(RUN_MAX, is_there);
        self.child.kill()?;
        self.child.wait()?;
        ensure!(reached && !ended, "it was over too early: {}", self.words());
        Ok(())
    }

    /// What it said to a user.
    pub(super) fn words(&self) -> String {
        read(&self.folder.join(WORDS)).trim().to_owned()
    }

    fn done(&self) -> Result<Done> {
        let events = events(&self.folder);
        let done = events.iter().rfind(|event| event["event"] == "done");
        let done = done.context("it said nothing at its end")?;
        let number = |key| done[key].as_u64().unwrap_or(0);
        Ok(Done {
            protocol: done["protocol"].as_str().unwrap_or("?").to_owned(),
            connections: number("connections"),
            requests: number("requests"),
            wasted: number("wasted_bytes"),
            resumed: number("resumed_bytes"),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is as good.
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

impl Known {
    /// Writes random bytes of a seed to a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(file: &Path, size: u64) -> Result<Self> {
        let mut dice = Dice::new(size);
        let words = (0..size.div_ceil(8)).map(|_| dice.draw().to_le_bytes());
        let mut bytes = words.flatten().collect::<Vec<u8>>();
        bytes.truncate(usize::try_from(size)?);
        std::fs::write(file, &bytes)?;
        Ok(Self {
            size,
            sha256: digest(&bytes),
        })
    }

    /// Reads a file back.
    ///
    /// # Errors
    /// It is missing, or has a wrong byte.
    pub(super) fn check(&self, file: &Path) -> Result<()> {
        let bytes =
            std::fs::read(file).with_context(|| format!("{} is missing", file.display()))?;
        let found = (bytes.len() as u64, digest(&bytes));
        ensure!(
            found == (self.size, self.sha256.clone()),
            "WRONG BYTES: {} of them with SHA-256 {} instead of {} with {}",
            found.0,
            found.1,
            self.size,
            self.sha256
        );
        Ok(())
    }
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Events so far; one that is being written is not yet there.
fn events(folder: &Path) -> Vec<Value> {
    let text = read(&folder.join(EVENTS));
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Where a download goes, in its folder.
pub(super) const NAME: &str = "file.bin";
/// Its events.
const EVENTS: &str = "events";
/// What it says to a user.
const WORDS: &str = "words";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_right_only_if_every_byte_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file.bin");
        let known = Known::write(&file, 100_003).unwrap();
        known.check(&file).unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[77_777] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert!(known.check(&file).is_err(), "a wrong byte");
        bytes[77_777] ^= 1;
        bytes.pop();
        std::fs::write(&file, &bytes).unwrap();
        assert!(known.check(&file).is_err(), "a byte is missing");
    }

    #[test]
    fn an_event_that_is_being_written_is_not_yet_there() {
        let directory = tempfile::tempdir().unwrap();
        let text = "{\"event\":\"progress\",\"landed\":7}\n{\"event\":\"progr";
        std::fs::write(directory.path().join(EVENTS), text).unwrap();
        let all = events(directory.path());
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["landed"], 7);
    }
}
