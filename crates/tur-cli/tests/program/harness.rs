//! Running `tur` in a directory of its own, and looking at what it leaves there.
#![expect(
    clippy::disallowed_methods,
    reason = "tests look at files from outside; nothing here is part of tur"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tur_core::ByteRange;
use tur_testkit::content;

/// A directory in which `tur` runs.
pub(crate) struct Place {
    dir: TempDir,
    /// Home and state of the user who runs it: nobody's real ones.
    home: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = || tempfile::tempdir().expect("a test machine has room");
        Self {
            dir: dir(),
            home: dir(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The program, to be told more.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.run(env!("CARGO_BIN_EXE_tur"));
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Any program, in this directory and with a home of its own.
    pub(crate) fn run(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env("HOME", self.home.path())
            .env("XDG_STATE_HOME", self.state());
        // Origins are on this machine: what its user has set must not lead elsewhere.
        for name in [
            "http_proxy",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        for name in ["no_proxy", "NO_PROXY", "SSLKEYLOGFILE"] {
            command.env_remove(name);
        }
        command
    }

    /// Where the state of users is kept.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Runs the program to its end. A test that would hang fails instead.
    pub(crate) fn tur(&self, args: &[&str]) -> Ran {
        let mut command = self.command(&["--max-time", "120"]);
        Ran::of(command.args(args).output().expect("the program starts"))
    }

    /// Runs the program with these arguments and no other.
    pub(crate) fn tur_plain(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the program starts"))
    }

    /// Downloads a list that comes in at standard input.
    pub(crate) fn tur_fed(&self, list: &str, args: &[&str]) -> Ran {
        let mut command = self.command(&["--max-time", "120", "-i", "-"]);
        let mut child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(list.as_bytes()).expect("it reads its list");
        drop(stdin);
        Ran::of(child.wait_with_output().expect("a child can be waited for"))
    }

    /// The text of a file.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Starts the program with `--json`.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(&["--json", "--max-time", "120"]).args(args))
    }

    /// Names in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path())
            .expect("the directory is there")
            .map(|entry| {
                entry
                    .expect("it can be read")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).expect("the directory can be written to");
    }

    /// Reads a file back and compares its SHA-256 with that of a version of the origin's content.
    #[track_caller]
    pub(crate) fn check(&self, name: &str, version: u8, size: u64) {
        let bytes = fs::read(self.file(name))
            .unwrap_or_else(|error| panic!("{name}: {error}; {:?}", self.names()));
        assert_eq!(bytes.len() as u64, size, "{name}");
        let expected = content(version, ByteRange::new(0, size));
        assert_eq!(Sha256::digest(&bytes), Sha256::digest(&expected), "{name}");
    }

    /// A file that nobody was to touch.
    #[track_caller]
    pub(crate) fn check_bytes(&self, name: &str, bytes: &[u8]) {
        assert_eq!(
            fs::read(self.file(name)).expect("it is there"),
            bytes,
            "{name}"
        );
    }
}

/// SHA-256 of a version of the origin's content, in hexadecimal.
pub(crate) fn sha256(version: u8, size: u64) -> String {
    let digest = Sha256::digest(content(version, ByteRange::new(0, size)));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// True if this process, and so what it starts, ignores SIGHUP. Where that cannot be read, it does not.
pub(crate) fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// The program after its end.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Exit code; `None` for death by a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
        }
    }

    /// Asserts the exit code, and that an error is said in lines that are tur's.
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for line in self.stderr.lines() {
            assert!(line.starts_with("tur: "), "{self:?}");
        }
        assert!(code == 0 || !self.stderr.is_empty(), "{self:?}");
        self
    }

    /// The lines of `--json`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The last line of `--json`.
    #[track_caller]
    pub(crate) fn last(&self) -> Value {
        self.events()
            .pop()
            .unwrap_or_else(|| panic!("no events: {self:?}"))
    }
}

/// Waits for the end of a program that nobody reads, and returns its exit code. One that is stuck is killed, and fails the test.
pub(crate) fn end_within(child: &mut Child, limit: Duration) -> Option<i32> {
    let period = Duration::from_millis(50);
    for _ in 0..limit.as_millis() / period.as_millis() {
        if let Some(status) = child.try_wait().expect("it can be asked") {
            return status.code();
        }
        std::thread::sleep(period);
    }
    child.kill().expect("it runs");
    panic!("it does not end");
}

/// The program with `--json` while it runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    read: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("it is piped");
        Self {
            child,
            stdout: BufReader::new(stdout),
            read: String::new(),
        }
    }

    /// Reads events until so many bytes have landed.
    #[track_caller]
    pub(crate) fn wait_for_landed(&mut self, bytes: u64) {
        self.wait_for(|event| {
            event["event"] == "progress" && event["landed"].as_u64() >= Some(bytes)
        });
    }

    /// Reads events until one of them is this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, mut is_it: impl FnMut(&Value) -> bool) {
        loop {
            let mut line = String::new();
            let count = self
                .stdout
                .read_line(&mut line)
                .expect("output can be read");
            assert_ne!(count, 0, "it ended early: {}", self.read);
            self.read.push_str(&line);
            let event: Value = serde_json::from_str(&line).expect("a line is an object");
            if is_it(&event) {
                return;
            }
        }
    }

    /// Which process it is.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most that was ever resident, in KiB, as seen last before its end; `None` where the system does not say.
    /// After the first look it `may_end`.
    pub(crate) fn peak_kib(&mut self, may_end: impl Fn()) -> Option<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let mut peak = None;
        while self.child.try_wait().expect("it can be asked").is_none() {
            let status = fs::read_to_string(&path).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            peak = number.and_then(|text| text.parse().ok()).or(peak);
            may_end();
            std::thread::yield_now();
        }
        peak
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a child has a pid");
        kill_process(pid, signal).expect("the child is not reaped yet");
    }

    /// Stops reading what it says.
    pub(crate) fn close_stdout(self) -> Child {
        let Self { child, stdout, .. } = self;
        drop(stdout);
        child
    }

    /// Waits for its end without reading what it says. One that is stuck is killed, and fails the test.
    pub(crate) fn end_unread(mut self) -> Option<i32> {
        end_within(&mut self.child, Duration::from_secs(60))
    }

    /// Reads on to the end.
    pub(crate) fn end(mut self) -> Ran {
        self.stdout
            .read_to_string(&mut self.read)
            .expect("output is UTF-8");
        let mut output = self
            .child
            .wait_with_output()
            .expect("a child can be waited for");
        output.stdout = self.read.into_bytes();
        Ran::of(output)
    }
}
