//! `cargo xtask bench protocols`: one large file over each protocol, from servers that others wrote and from the testkit's.
//!
//! Read [`run`]; [`origin`] is the testkit's server, a process of its own, so that its processor time is not taken for the
//! program's. It says over QUIC what it can in one system call (GSO), which Caddy's stack does not everywhere. Runs are
//! interleaved, every file is compared outside of the measured time, and ratios are taken within one round.

pub(crate) mod origin;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tur_core::ByteRange;
use tur_testkit::content;

use self::origin::Origin;
use super::certificates::Certificates;
use super::field::{FILE, NAME};
use super::process::{Daemon, processor_time};
use super::programs::Programs;
use super::servers::{Ahead, Caddy, Grounds, Nginx, started};
use crate::program::{Cpu, Expected, again_in_release, build_tur};
use crate::spread::Spread;

/// What is measured, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; in each, every way is gone once. One more comes first and is thrown away.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// MiB of the file.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=4096))]
    mib: u64,
    /// Lanes.
    #[arg(long, default_value_t = 8)]
    lanes: u16,
    /// Only ways whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// This build of tur, instead of one of this tree.
    #[arg(long, value_name = "PATH")]
    tur: Option<PathBuf>,
    /// Another build of tur that goes every way too.
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
}

/// A server, a protocol, and who asks. Each is compared with the last one before it that is over HTTP/1.1.
struct Way<'a> {
    name: String,
    /// Whose processor time is counted.
    server: &'a Daemon,
    url: String,
    authority: &'a Path,
    flag: &'static str,
    tur: &'a Path,
}

/// One run.
struct Measured {
    seconds: f64,
    /// Processor time of the program and of the server.
    cpu: f64,
    served: f64,
    done: Value,
}

/// Measures and prints a table in Markdown.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The testkit's server is this program: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    ensure!(options.rounds > 0, "no rounds, no figures");
    let programs = Programs::find()?;
    let tur = match &options.tur {
        Some(tur) => tur.clone(),
        None => build_tur(true)?,
    };
    let scratch = super::Scratch::new()?;
    let directory = scratch.directory.path();
    let documents = directory.join("documents");
    std::fs::create_dir(&documents)?;
    let size = options.mib << 20;
    write_file(&documents.join(NAME), size)?;
    let certificates = Certificates::make(directory)?;
    let grounds = Grounds {
        programs: &programs,
        certificates: &certificates,
        documents: &documents,
        directory,
        ahead: Ahead::Usual,
    };
    let nginx = started(|| Nginx::start(&grounds))?;
    let caddy = started(|| Caddy::start(&grounds))?;
    let ours = Origin::start(&grounds, size, false)?;
    let ours_by_quic = Origin::start(&grounds, size, true)?;
    let authority = certificates.authority.as_path();
    let mut ways = Vec::new();
    let turs = [("", tur.as_path())];
    let others = options
        .beside
        .iter()
        .map(|other| (" (other)", other.as_path()));
    for (suffix, tur) in turs.into_iter().chain(others) {
        let mut way = |what: &str, server, url: String, authority, flag| {
            let name = format!("{what}{suffix}");
            let only = options.only.as_deref().unwrap_or_default();
            if name.contains(only) {
                ways.push(Way {
                    name,
                    server,
                    url,
                    authority,
                    flag,
                    tur,
                });
            }
        };
        way("nginx h1", nginx.daemon(), nginx.tls(FILE), authority, H1);
        way("nginx h2", nginx.daemon(), nginx.tls(FILE), authority, H2);
        way("caddy h1", caddy.daemon(), caddy.tls(FILE), authority, H1);
        way("caddy h2", caddy.daemon(), caddy.tls(FILE), authority, H2);
        way("caddy h3", caddy.daemon(), caddy.tls(FILE), authority, H3);
        let (url, its) = (ours.url(FILE), ours.authority());
        way("testkit h1", ours.daemon(), url.clone(), its, H1);
        way("testkit h2", ours.daemon(), url, its, H2);
        let (url, its) = (ours_by_quic.url(FILE), ours_by_quic.authority());
        way("testkit h3", ours_by_quic.daemon(), url, its, H3);
    }
    let runs = measure(options, &ways, directory)?;
    println!(
        "### {} MiB over {} lanes, over TLS on the loopback interface; {} rounds\n",
        options.mib, options.lanes, options.rounds
    );
    print_table(&ways, &runs, options.mib);
    Ok(())
}

/// Goes every way in each round.
fn measure(options: &Options, ways: &[Way<'_>], directory: &Path) -> Result<Vec<Vec<Measured>>> {
    let expected = Expected::of(options.mib << 20);
    let mut runs: Vec<Vec<Measured>> = ways.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        for (way, runs) in ways.iter().zip(&mut runs) {
            let folder = tempfile::tempdir_in(directory)?;
            let measured = way
                .go(options.lanes, folder.path(), &expected)
                .with_context(|| format!("{} in round {round}", way.name))?;
            if round > 0 {
                runs.push(measured);
            }
        }
    }
    Ok(runs)
}

impl Way<'_> {
    /// Downloads once, and compares.
    fn go(&self, lanes: u16, folder: &Path, expected: &Expected) -> Result<Measured> {
        let mut command = Command::new(self.tur);
        let lanes = lanes.to_string();
        command.args(["--json", "--no-origin-memory", "-s", &lanes, "-x", &lanes]);
        command.args([self.flag, "-o", NAME, "--ca-file"]);
        command.arg(self.authority).arg(&self.url);
        command.env_clear().env("HOME", folder).current_dir(folder);
        let (cpu, served) = (Cpu::now(), processor_time(self.server));
        let start = Instant::now();
        let output = command.output().context("tur cannot be started")?;
        let seconds = start.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("it ended with {}: {words}", output.status);
        }
        let cpu = Cpu::since(cpu).map_or(Duration::ZERO, |cpu| cpu.program);
        let served = processor_time(self.server).saturating_sub(served);
        expected.check(&folder.join(NAME))?;
        let mut events = said
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let done = events.find(|event| event["event"] == "done");
        Ok(Measured {
            seconds,
            cpu: cpu.as_secs_f64(),
            served: served.as_secs_f64(),
            done: done.context("it said nothing at its end")?,
        })
    }
}

fn print_table(ways: &[Way<'_>], runs: &[Vec<Measured>], mib: u64) {
    println!(
        "| way | protocol | connections | requests | wasted KiB | median s | min–max s | MiB/s | goodput / h1 (median, min–max) | CPU of tur s | CPU of the server s |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut first: &[Measured] = &[];
    for (way, runs) in ways.iter().zip(runs) {
        if way.flag == H1 {
            first = runs;
        }
        let of =
            |what: fn(&Measured) -> f64| Spread::of(&runs.iter().map(what).collect::<Vec<_>>());
        let number = |key: &str| {
            let all = runs.iter().filter_map(|run| run.done[key].as_f64());
            Spread::of(&all.collect::<Vec<_>>())
        };
        let time = of(|run| run.seconds);
        let ratios: Vec<f64> = runs
            .iter()
            .zip(first)
            .map(|(own, h1)| h1.seconds / own.seconds)
            .collect();
        let ratio = match ratios[..] {
            [] => "–".to_owned(),
            _ => {
                let ratio = Spread::of(&ratios);
                format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
            }
        };
        println!(
            "| {} | {} | {} | {} | {:.0} | {:.2} | {:.2}–{:.2} | {:.0} | {ratio} | {:.2} | {:.2} |",
            way.name,
            runs.first()
                .and_then(|run| run.done["protocol"].as_str())
                .unwrap_or("?"),
            number("connections").median,
            number("requests").median,
            number("wasted_bytes").median / 1024.0,
            time.median,
            time.min,
            time.max,
            mib as f64 / time.median,
            of(|run| run.cpu).median,
            of(|run| run.served).median,
        );
    }
}

/// What the testkit's origin serves too.
fn write_file(file: &Path, size: u64) -> Result<()> {
    std::fs::write(file, content(0, ByteRange::new(0, size)))
        .with_context(|| format!("cannot write {}", file.display()))
}

const H1: &str = "--http1.1";
const H2: &str = "--http2";
const H3: &str = "--http3";
