//! `cargo xtask bench batch`: many small files in one run, beside other programs and a loop that does next to nothing.
//!
//! Read [`run`] for the order of things and [`Peer`] for how each program is told. Runs of all are interleaved, every file
//! of every run is compared outside of the measured time, and ratios are taken within one round.
#![expect(
    clippy::disallowed_methods,
    reason = "it times other programs and reads their files; nothing here is part of tur"
)]

pub(crate) mod bare;
mod origin;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use self::origin::{Origin, name};
use crate::program::{Cpu, again_in_release, build_tur, is_present};
use crate::spread::Spread;

/// What is measured, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many files; up to 100 000.
    #[arg(long, default_value_t = 2_000)]
    count: usize,
    /// Bytes of each.
    #[arg(long, default_value_t = 64 << 10)]
    size: u64,
    /// Files at once.
    #[arg(short, default_value_t = 16)]
    jobs: usize,
    /// Rounds; in each, every program runs once. One more comes first and is thrown away.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where files are written: what a sync costs is the disk's business. Default: where temporary files are.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Another build of tur that takes part.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
}

/// Who takes part, and how it is told.
struct Peer {
    name: &'static str,
    program: PathBuf,
    tell: Tell,
}

/// Puts the options of a program on its command line.
type Tell = fn(&mut Command, &Task);

/// What every program is to do.
struct Task {
    /// A URL on each line.
    list: PathBuf,
    /// The same as settings of curl.
    settings: PathBuf,
    dir: PathBuf,
    jobs: String,
}

/// What one run came to.
struct Measured {
    seconds: f64,
    cpu: Option<f64>,
    connections: u64,
    peak_mib: f64,
}

/// Runs all programs and prints a table in Markdown.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The origin runs in this process: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    ensure!(options.rounds > 0, "no rounds, no figures");
    ensure!((1..=100_000).contains(&options.count), "1 to 100000 files");
    ensure!(options.size > 0 && options.jobs > 0, "nothing to do");
    let peers = peers(options)?;
    let origin = Origin::start(options.size)?;
    let mut runs: Vec<Vec<Measured>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        for (peer, runs) in peers.iter().zip(&mut runs) {
            let measured = measure(peer, &origin, options)
                .with_context(|| format!("{} in round {round}", peer.name))?;
            if round > 0 {
                runs.push(measured);
            }
        }
    }
    print_table(options, &peers, &runs);
    Ok(())
}

/// The bare loops first, then tur, then the others that are present; those that are not are named.
fn peers(options: &Options) -> Result<Vec<Peer>> {
    let this = std::env::current_exe()?;
    let mut peers = vec![
        Peer {
            name: "bare loop",
            program: this.clone(),
            tell: |command, task| {
                command.args(["bench", "bare-batch"]).arg(&task.list);
                command.arg(&task.dir).arg(&task.jobs);
            },
        },
        Peer {
            name: "bare loop, each file synced",
            program: this,
            tell: |command, task| {
                command.args(["bench", "bare-batch", "--synced"]);
                command.arg(&task.list).arg(&task.dir).arg(&task.jobs);
            },
        },
        tur("tur", build_tur(true)?),
    ];
    peers.extend(
        options
            .beside
            .clone()
            .map(|program| tur("other tur", program)),
    );
    let others: [(&'static str, Tell); 3] = [
        ("aria2c", |command, task| {
            command.args([
                "--quiet",
                "--no-conf",
                "--no-proxy=*",
                "--file-allocation=none",
            ]);
            command.arg("-j").arg(&task.jobs).arg("-i").arg(&task.list);
            command.arg("-d").arg(&task.dir);
        }),
        ("curl", |command, task| {
            command.args([
                "-q",
                "--no-progress-meter",
                "--show-error",
                "--fail",
                "--noproxy",
                "*",
            ]);
            command
                .args(["--parallel", "--parallel-max"])
                .arg(&task.jobs);
            command.arg("--config").arg(&task.settings);
        }),
        ("wget2", |command, task| {
            command.args(["--no-config", "--quiet", "--no-proxy"]);
            command.arg(format!("--max-threads={}", task.jobs));
            command.arg("-i").arg(&task.list).arg("-P").arg(&task.dir);
        }),
    ];
    for (name, tell) in others {
        let program = PathBuf::from(name);
        match is_present(&program) {
            true => peers.push(Peer {
                name,
                program,
                tell,
            }),
            false => println!("{name} is not installed and not compared."),
        }
    }
    Ok(peers)
}

fn tur(name: &'static str, program: PathBuf) -> Peer {
    Peer {
        name,
        program,
        tell: |command, task| {
            // Each run begins as a stranger, as those of the others do.
            command
                .args(["-q", "--no-origin-memory", "-j"])
                .arg(&task.jobs);
            command.arg("-d").arg(&task.dir).arg("-i").arg(&task.list);
        },
    }
}

/// Runs one program in an empty directory and compares all that it has left there.
fn measure(peer: &Peer, origin: &Origin, options: &Options) -> Result<Measured> {
    let own = match &options.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let files = own.path().join("files");
    std::fs::create_dir(&files)?;
    let task = Task {
        list: own.path().join("list"),
        settings: own.path().join("settings"),
        dir: files.clone(),
        jobs: options.jobs.to_string(),
    };
    let (mut list, mut settings) = (String::new(), String::new());
    for number in 0..options.count {
        let (url, file) = (origin.url(number), files.join(name(number)));
        list += &format!("{url}\n");
        settings += &format!("url = \"{url}\"\noutput = \"{}\"\n", file.display());
    }
    std::fs::write(&task.list, list)?;
    std::fs::write(&task.settings, settings)?;
    let mut command = Command::new(&peer.program);
    (peer.tell)(&mut command, &task);
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    // Nobody's own settings are measured.
    command
        .env("XDG_STATE_HOME", own.path())
        .env("XDG_CONFIG_HOME", own.path());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let before = origin.connections();
    let mut measured = timed(&mut command)?;
    measured.connections = origin.connections() - before;
    compare(&files, origin, options.count)?;
    Ok(measured)
}

fn timed(command: &mut Command) -> Result<Measured> {
    let before = Cpu::now();
    let start = Instant::now();
    let mut child = command.spawn().context("it cannot be started")?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let watch = std::thread::spawn(move || {
        let mut peak = 0.0_f64;
        while let Some(now) = peak_of(&status) {
            peak = peak.max(now);
            std::thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let ended = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = Cpu::since(before).map(|cpu| cpu.program.as_secs_f64());
    let peak_mib = watch.join().expect("the watch does not panic");
    ensure!(ended.success(), "it ended with {ended}");
    Ok(Measured {
        seconds,
        cpu,
        connections: 0,
        peak_mib,
    })
}

/// The most memory that a process has had so far, in MiB; `None` once it is gone, or where the system does not say.
fn peak_of(status: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Every file is there, has every byte, and nothing else is there.
fn compare(files: &Path, origin: &Origin, count: usize) -> Result<()> {
    for number in 0..count {
        let file = files.join(name(number));
        let found =
            std::fs::read(&file).with_context(|| format!("{} is missing", file.display()))?;
        ensure!(
            found == origin.body(number),
            "{} has wrong bytes",
            file.display()
        );
    }
    let left = std::fs::read_dir(files)?.count();
    ensure!(left == count, "{left} files where {count} should be");
    Ok(())
}

fn print_table(options: &Options, peers: &[Peer], runs: &[Vec<Measured>]) {
    let Options {
        count,
        size,
        jobs,
        rounds,
        ..
    } = options;
    println!(
        "\n### {count} files of {size} bytes, {jobs} at once; {rounds} rounds, an origin of bench's own on loopback\n"
    );
    println!(
        "| program | median s | min–max s | times the bare loop (median, min–max) | CPU s | connections | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    let [bare, ..] = runs else {
        return;
    };
    for (peer, runs) in peers.iter().zip(runs) {
        let of =
            |what: fn(&Measured) -> f64| Spread::of(&runs.iter().map(what).collect::<Vec<_>>());
        let time = of(|run| run.seconds);
        let ratios: Vec<f64> = runs
            .iter()
            .zip(bare)
            .map(|(own, bare)| own.seconds / bare.seconds)
            .collect();
        let ratio = Spread::of(&ratios);
        let cpu: Option<Vec<f64>> = runs.iter().map(|run| run.cpu).collect();
        let cpu = cpu.map_or("–".to_owned(), |cpu| {
            format!("{:.2}", Spread::of(&cpu).median)
        });
        println!(
            "| {} | {:.3} | {:.3}–{:.3} | {:.2} ({:.2}–{:.2}) | {cpu} | {:.0} | {:.1} |",
            peer.name,
            time.median,
            time.min,
            time.max,
            ratio.median,
            ratio.min,
            ratio.max,
            of(|run| run.connections as f64).median,
            of(|run| run.peak_mib).max,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bare loop in this process, against the origin; and what must not be taken for right.
    #[test]
    fn files_are_fetched_over_few_connections_and_compared() {
        let origin = Origin::start(70_001).unwrap();
        for synced in [false, true] {
            let own = tempfile::tempdir().unwrap();
            let (list, dir) = (own.path().join("list"), own.path().join("files"));
            std::fs::create_dir(&dir).unwrap();
            let urls: Vec<String> = (0..40).map(|number| origin.url(number)).collect();
            std::fs::write(&list, urls.join("\n")).unwrap();
            let before = origin.connections();
            let options = bare::Options {
                list,
                dir: dir.clone(),
                threads: 3,
                synced,
            };
            bare::run(&options).unwrap();
            assert_eq!(origin.connections() - before, 3);
            compare(&dir, &origin, 40).unwrap();
            assert!(compare(&dir, &origin, 39).is_err(), "one too many");
            assert!(compare(&dir, &origin, 41).is_err(), "one is missing");
            std::fs::copy(dir.join(name(7)), dir.join(name(8))).unwrap();
            assert!(compare(&dir, &origin, 40).is_err(), "another's bytes");
        }
    }

    #[test]
    fn memory_is_that_of_the_process() {
        let peak = peak_of(Path::new("/proc/self/status"));
        assert!(peak.is_none_or(|mib| mib > 1.0), "{peak:?}");
        assert_eq!(peak_of(Path::new("/proc/self/no-such")), None);
    }
}
