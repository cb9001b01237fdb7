//! `cargo xtask bench`: the benches of the pieces, then the program beside other programs on the loopback interface.
//!
//! Runs of all programs are interleaved, so that what else the machine does falls on each of them. A ratio is taken
//! within one round, and its spread is shown: only ratios can be compared between machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tur_core::Rate;
use tur_testkit::{Behaviour, Loopback};

use crate::program::{Expected, again_in_release, build_tur, cargo, is_present, timed};
use crate::spread::Spread;

/// A file and an origin.
struct Case {
    name: &'static str,
    words: String,
    size: u64,
    pace: Option<Rate>,
}

/// A program and how it is told to download a URL to a file.
struct Peer {
    name: &'static str,
    program: PathBuf,
    tell: fn(&mut Command, &str, &Path),
}

impl Peer {
    fn command(&self, url: &str, file: &Path) -> Command {
        let mut command = Command::new(&self.program);
        (self.tell)(&mut command, url, file);
        command
    }
}

/// Runs everything and prints tables in Markdown.
pub(crate) fn run(quick: bool) -> Result<()> {
    // The origin runs in this process: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    let mut pieces = cargo();
    pieces.args(["bench", "--package=benches"]);
    if quick {
        pieces.args(["--", "--quick"]);
    }
    let status = pieces.status()?;
    ensure!(status.success(), "{pieces:?} ended with {status}");
    let peers = peers(build_tur(true)?);
    let rounds = if quick { 3 } else { 7 };
    for case in cases(quick) {
        measure(&case, &peers, rounds)?;
    }
    Ok(())
}

fn cases(quick: bool) -> Vec<Case> {
    let mib = |full: u64, small: u64| if quick { small << 20 } else { full << 20 };
    let (whole, paced) = (mib(256, 64), mib(64, 16));
    vec![
        Case {
            name: "s1",
            words: format!("{} MiB, as fast as loopback goes", whole >> 20),
            size: whole,
            pace: None,
        },
        Case {
            name: "s2",
            words: format!("{} MiB, 8 MiB/s on each connection", paced >> 20),
            size: paced,
            pace: Some(Rate::per_second(8 << 20)),
        },
        Case {
            name: "s9",
            words: "1 KiB".to_owned(),
            size: 1 << 10,
            pace: None,
        },
    ]
}

/// `tur`, then the others that are present; those that are not are named.
fn peers(tur: PathBuf) -> Vec<Peer> {
    let mut peers = vec![Peer {
        name: "tur",
        program: tur,
        tell: |command, url, file| {
            // Each run begins as a stranger, as those of the others do.
            command.args(["-q", "--no-origin-memory"]);
            command.arg("-o").arg(file).arg(url);
        },
    }];
    let others = [
        Peer {
            name: "curl",
            program: "curl".into(),
            tell: |command, url, file| {
                command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]);
                command.arg("-o").arg(file).arg(url);
            },
        },
        Peer {
            name: "aria2c",
            program: "aria2c".into(),
            tell: |command, url, file| {
                command.args(["--quiet", "--no-conf", "--no-proxy=*", "-x8", "-s8", "-k1M"]);
                command.arg("-d").args(file.parent());
                command.arg("-o").args(file.file_name()).arg(url);
            },
        },
    ];
    for peer in others {
        match is_present(&peer.program) {
            true => peers.push(peer),
            false => println!("{} is absent and not compared.", peer.name),
        }
    }
    peers
}

/// Times one case and prints its table.
fn measure(case: &Case, peers: &[Peer], rounds: usize) -> Result<()> {
    let mut behaviour = Behaviour::new(case.size);
    behaviour.pace = case.pace;
    let origin = Loopback::start([("/file.bin", behaviour)]);
    let url = origin.url("/file.bin");
    let expected = Expected::of(case.size);
    let mut times = vec![Vec::with_capacity(rounds); peers.len()];
    // The first round warms caches and is thrown away.
    for round in 0..=rounds {
        for (peer, times) in peers.iter().zip(&mut times) {
            let directory = tempfile::tempdir()?;
            let file = directory.path().join("file.bin");
            let took = timed(&mut peer.command(&url, &file), &file, &expected)?;
            if round > 0 {
                times.push(took.as_secs_f64());
            }
        }
    }
    println!("\n### {}: {}; {rounds} rounds\n", case.name, case.words);
    print_table(peers, &times);
    Ok(())
}

fn print_table(peers: &[Peer], times: &[Vec<f64>]) {
    println!("| program | median s | min–max s | times tur's time (median, min–max) |");
    println!("|---|---|---|---|");
    let [tur, ..] = times else {
        return;
    };
    for (peer, times) in peers.iter().zip(times) {
        let ratios: Vec<f64> = times.iter().zip(tur).map(|(own, tur)| own / tur).collect();
        let (time, ratio) = (Spread::of(times), Spread::of(&ratios));
        println!(
            "| {} | {:.3} | {:.3}–{:.3} | {:.2} ({:.2}–{:.2}) |",
            peer.name, time.median, time.min, time.max, ratio.median, ratio.min, ratio.max
        );
    }
}
