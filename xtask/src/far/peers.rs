//! Who takes part, and how each program is told what to do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use super::stand::{Stand, name};
use crate::program::is_present;

/// A program and how it is told.
pub(super) struct Peer {
    pub(super) name: &'static str,
    program: PathBuf,
    tell: Tell,
}

/// Puts the options of a program on its command line.
type Tell = fn(&mut Command, &Task);

/// What a program is to do once.
pub(super) struct Task {
    /// The URL of the only file, or of the first one.
    url: String,
    /// A URL on each line.
    list: PathBuf,
    /// The same as settings of curl.
    settings: PathBuf,
    /// Where files go: empty.
    pub(super) dir: PathBuf,
    authority: PathBuf,
    jobs: String,
    lanes: String,
    own: TempDir,
}

impl Task {
    /// A task in a directory of its own.
    pub(super) fn new(stand: &Stand, jobs: usize, lanes: u16) -> Result<Self> {
        let own = tempfile::tempdir()?;
        let dir = own.path().join("files");
        std::fs::create_dir(&dir)?;
        let (mut list, mut settings) = (String::new(), String::new());
        for n in 0..stand.files.count {
            let (url, file) = (stand.url(n), dir.join(name(n)));
            list += &format!("{url}\n");
            settings += &format!("url = \"{url}\"\noutput = \"{}\"\n", file.display());
        }
        let task = Self {
            url: stand.url(0),
            list: own.path().join("list"),
            settings: own.path().join("settings"),
            dir,
            authority: stand.authority(),
            jobs: jobs.to_string(),
            lanes: lanes.to_string(),
            own,
        };
        std::fs::write(&task.list, list)?;
        std::fs::write(&task.settings, settings)?;
        Ok(task)
    }
}

impl Peer {
    /// The command for a task.
    pub(super) fn command(&self, task: &Task) -> Command {
        let mut command = Command::new(&self.program);
        (self.tell)(&mut command, task);
        command.env("NO_PROXY", "*").env("no_proxy", "*");
        // Nobody's own settings are measured, and each run begins as a stranger.
        command
            .env("XDG_STATE_HOME", task.own.path())
            .env("XDG_CONFIG_HOME", task.own.path());
        command
    }
}

/// For one large file: tur over each protocol with the same lanes, and as it chooses; and others.
pub(super) fn for_one(tur: &Path, beside: Option<&Path>) -> Vec<Peer> {
    let http1: Tell = |command, task| lanes(command, task, "--http1.1");
    let http2: Tell = |command, task| lanes(command, task, "--http2");
    let mut peers = vec![
        peer("tur --http1.1", tur, http1),
        peer("tur --http2", tur, http2),
        peer("tur", tur, |command, task| one(command, task, &[])),
    ];
    peers.extend(beside.map(|other| peer("other tur --http2", other, http2)));
    let others: [(&'static str, &str, Tell); 3] = [
        ("curl --http1.1", "curl", |command, task| {
            curl(command, task, &["--http1.1"]);
            command.arg("-o").arg(task.dir.join(name(0))).arg(&task.url);
        }),
        ("curl --http2", "curl", |command, task| {
            curl(command, task, &["--http2"]);
            command.arg("-o").arg(task.dir.join(name(0))).arg(&task.url);
        }),
        ("aria2c", "aria2c", |command, task| {
            aria2c(command, task);
            let (x, s) = (format!("-x{}", task.lanes), format!("-s{}", task.lanes));
            command.args([&x, &s, "-k1M"]).arg(&task.url);
        }),
    ];
    present(&mut peers, others);
    peers
}

/// For many small files.
pub(super) fn for_many(tur: &Path, beside: Option<&Path>) -> Vec<Peer> {
    let auto: Tell = |command, task| many(command, task, &[]);
    let http1: Tell = |command, task| many(command, task, &["--http1.1"]);
    let mut peers = vec![peer("tur", tur, auto)];
    peers.extend(beside.map(|other| peer("other tur", other, auto)));
    peers.push(peer("tur --http1.1", tur, http1));
    let others: [(&'static str, &str, Tell); 3] = [
        ("curl --parallel", "curl", |command, task| {
            curl(command, task, &["--parallel", "--parallel-max"]);
            command.arg(&task.jobs).arg("--config").arg(&task.settings);
        }),
        ("curl --parallel --http1.1", "curl", |command, task| {
            curl(
                command,
                task,
                &["--http1.1", "--parallel", "--parallel-max"],
            );
            command.arg(&task.jobs).arg("--config").arg(&task.settings);
        }),
        ("aria2c", "aria2c", |command, task| {
            aria2c(command, task);
            command.arg("-j").arg(&task.jobs).arg("-i").arg(&task.list);
        }),
    ];
    present(&mut peers, others);
    peers
}

fn peer(name: &'static str, program: &Path, tell: Tell) -> Peer {
    Peer {
        name,
        program: program.to_owned(),
        tell,
    }
}

/// Adds those that are there; those that are not are named.
fn present(peers: &mut Vec<Peer>, others: [(&'static str, &str, Tell); 3]) {
    for (name, program, tell) in others {
        let program = PathBuf::from(program);
        match is_present(&program) {
            true => peers.push(peer(name, &program, tell)),
            false => println!("{name} is absent and not compared."),
        }
    }
}

fn lanes(command: &mut Command, task: &Task, protocol: &str) {
    one(
        command,
        task,
        &[protocol, "-x", &task.lanes, "-s", &task.lanes],
    );
}

fn one(command: &mut Command, task: &Task, options: &[&str]) {
    tur(command, task).args(options).arg(&task.url);
}

fn many(command: &mut Command, task: &Task, options: &[&str]) {
    let command = tur(command, task).args(options);
    command.arg("-j").arg(&task.jobs).arg("-i").arg(&task.list);
}

fn tur<'a>(command: &'a mut Command, task: &Task) -> &'a mut Command {
    command
        .args(["-q", "--no-origin-memory", "--cacert"])
        .arg(&task.authority);
    command.arg("-d").arg(&task.dir)
}

fn curl(command: &mut Command, task: &Task, options: &[&str]) {
    command.args(["-q", "--no-progress-meter", "--show-error", "--fail"]);
    command
        .args(["--noproxy", "*", "--cacert"])
        .arg(&task.authority);
    command.args(options);
}

fn aria2c(command: &mut Command, task: &Task) {
    command.args(["--quiet", "--no-conf", "--no-proxy=*"]);
    let authority = task.authority.display();
    command.arg(format!("--ca-certificate={authority}"));
    command
        .arg("--file-allocation=none")
        .arg("-d")
        .arg(&task.dir);
}
