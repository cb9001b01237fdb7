//! Other programs: started so that they end with this process, and never waited for without a limit.
//!
//! [`Daemon`] is a server that runs until it is dropped. [`finish`] waits for a program that ends by itself. Both are
//! started through `setpriv --pdeathsig`, so that the system ends them if this process dies in any way.
#![expect(
    clippy::disallowed_methods,
    reason = "it runs other programs and reads what they said; nothing here is part of tur"
)]

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How long a server has to open its ports, on a machine that is busy.
const START_MAX: Duration = Duration::from_secs(20);

/// How long a server has to end when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(3);

/// A server; dropping it ends it and all that it has started.
#[derive(Debug)]
pub(super) struct Daemon {
    name: &'static str,
    child: Child,
    /// What it wrote to its standard streams.
    log: PathBuf,
}

/// A command that runs `program`, and gets that signal when this thread ends.
pub(super) fn bound_to_us(setpriv: &Path, signal: &str, program: &Path) -> Command {
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

impl Daemon {
    /// Starts a server and waits until `is_ready`. What it writes goes to `name.log` in `directory`.
    ///
    /// # Errors
    /// It ended, or is not ready in time; what it wrote is part of the error.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
        directory: &Path,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log)?;
        // A group of its own, so that those that it starts can be ended with it.
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let mut daemon = Self { name, child, log };
        let start = Instant::now();
        while !is_ready() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{name} ended with {status}:\n{}", daemon.said());
            }
            ensure!(
                start.elapsed() < START_MAX,
                "{name} is not ready after {START_MAX:?}:\n{}",
                daemon.said()
            );
            std::thread::sleep(LOOK);
        }
        // Another process may have had the port first.
        ensure!(
            daemon.child.try_wait()?.is_none(),
            "{name} ended:\n{}",
            daemon.said()
        );
        Ok(daemon)
    }

    /// Its name.
    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// The number of its group, which those that it starts are in.
    pub(super) fn group(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard streams.
    pub(super) fn said(&self) -> String {
        read(&self.log)
    }

    fn signal(&self, signal: &str, whom: &str) -> bool {
        let mut kill = Command::new("kill");
        kill.args([signal, "--", whom]).stderr(Stdio::null());
        kill.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let asked = self.signal("-TERM", &pid);
        let start = Instant::now();
        while asked && start.elapsed() < STOP_MAX && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK);
        }
        // What is left of its group, if anything is; the group's number is not given anew while it has a member.
        if self.signal("-KILL", &format!("-{pid}")) {
            eprintln!("{} did not end when asked to", self.name);
        }
        if let Err(error) = self.child.wait() {
            eprintln!("{} cannot be waited for: {error}", self.name);
        }
    }
}

/// Processor time that a server and those that it has started took so far; nothing where the system does not say.
pub(super) fn processor_time(daemon: &Daemon) -> Duration {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Duration::ZERO;
    };
    let stats = entries
        .flatten()
        .map(|entry| read(&entry.path().join("stat")));
    let ticks = stats.filter_map(|stat| {
        // proc(5): behind the name in brackets the group is the 3rd field, and the times are the 12th and 13th.
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let is_of_it = number(2)? == u64::from(daemon.group());
        is_of_it.then_some(number(11)? + number(12)?)
    });
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Waits for a program that ends by itself, and kills it after `limit`.
///
/// # Errors
/// It took longer.
pub(super) fn finish(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("it was killed after {limit:?}");
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until `holds`; false if it does not in `limit`.
pub(super) fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// The text of a file; nothing if it is not there.
pub(super) fn read(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn is_alive(pid: &str) -> bool {
        let status = read(Path::new(&format!("/proc/{pid}/stat")));
        // proc(5): the state stands behind the name; a zombie waits for whoever inherited it.
        status
            .rsplit(") ")
            .next()
            .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    #[test]
    fn a_server_ends_with_what_it_has_started_also_when_the_check_panics() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own");
        let script = format!(
            "sleep 3600 & echo $! >{0}.new; mv {0}.new {0}; trap '' TERM; wait; wait",
            own.display()
        );
        let ended = std::panic::catch_unwind(|| {
            let daemon = Daemon::start("shell", &mut shell(&script), directory.path(), || {
                own.exists()
            });
            assert!(is_alive(read(&own).trim()));
            assert!(daemon.is_err(), "it has started");
        });
        assert!(ended.is_err());
        let pid = read(&own);
        let gone = wait_until(Duration::from_secs(60), || !is_alive(pid.trim()));
        assert!(gone, "a process was left behind");
    }

    #[test]
    fn a_server_that_does_not_start_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = shell("echo the port is taken >&2; exit 3");
        let error = Daemon::start("shell", &mut command, directory.path(), || false).unwrap_err();
        assert!(
            format!("{error:#}").contains("the port is taken"),
            "{error:#}"
        );
    }

    #[test]
    fn nobody_is_waited_for_without_a_limit() {
        let mut child = Command::new("sleep").arg("3600").spawn().unwrap();
        assert!(finish(&mut child, Duration::from_millis(20)).is_err());
        let mut child = Command::new("true").spawn().unwrap();
        assert!(
            finish(&mut child, Duration::from_secs(600))
                .unwrap()
                .success()
        );
        assert!(!wait_until(Duration::from_millis(20), || false));
    }
}
