//! `cargo xtask bench far`: one large file, and many small ones, from an origin that is a long way off.
//!
//! Read [`run`]; [`stand`] is the origin and the way to it, [`peers`] how programs are told, [`gauge`] what the way itself
//! carries. Runs of all programs are interleaved, every file of every run is compared outside of the measured time, and
//! ratios are taken within one round.
#![expect(
    clippy::disallowed_methods,
    reason = "it times other programs and reads their files; nothing here is part of tur"
)]

mod gauge;
mod peers;
mod stand;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tur_core::Rate;
use tur_testkit::Way;

use self::peers::{Peer, Task};
use self::stand::{Files, Stand};
use crate::program::{again_in_release, build_tur};
use crate::spread::Spread;

/// What is measured, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; in each, every program runs once. One more comes first and is thrown away.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this.
    #[arg(long, value_parser = ["file", "batch"])]
    only: Option<String>,
    /// Without programs whose name contains this; may be given several times.
    #[arg(long, value_name = "NAME")]
    without: Vec<String>,
    /// Another build of tur that takes part.
    #[arg(long, value_name = "PATH")]
    beside: Option<std::path::PathBuf>,
    /// MiB of the large file.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Lanes for the large file.
    #[arg(long, default_value_t = 4)]
    lanes: u16,
    /// Round-trip time for it, in milliseconds.
    #[arg(long, default_value_t = 50)]
    file_rtt: u64,
    /// How many small files.
    #[arg(long, default_value_t = 2_000)]
    count: u64,
    /// Bytes of each.
    #[arg(long, default_value_t = 64 << 10)]
    size: u64,
    /// Small files at once.
    #[arg(short, default_value_t = 64)]
    jobs: usize,
    /// Round-trip time for them, in milliseconds.
    #[arg(long, default_value_t = 30)]
    batch_rtt: u64,
    /// What the link carries, in Mbit/s; 0 for as much as comes.
    #[arg(long, default_value_t = 1_000)]
    mbit: u64,
}

/// What one run came to.
struct Measured {
    seconds: f64,
    cpu: f64,
    connections: u64,
    requests: u64,
}

/// Runs both and prints tables in Markdown.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The origin runs in this process: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    ensure!(options.rounds > 0, "no rounds, no figures");
    ensure!(options.count > 0 && options.size > 0, "nothing to do");
    let tur = build_tur(true)?;
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    if wanted("file") {
        let files = Files {
            count: 1,
            size: options.mib << 20,
        };
        let peers = peers::for_one(&tur, options.beside.as_deref());
        measure(options, (options.file_rtt, 1), (files, peers))?;
    }
    if wanted("batch") {
        let files = Files {
            count: options.count,
            size: options.size,
        };
        let peers = peers::for_many(&tur, options.beside.as_deref());
        measure(options, (options.batch_rtt, options.jobs), (files, peers))?;
    }
    Ok(())
}

/// Measures one table.
fn measure(
    options: &Options,
    (rtt, jobs): (u64, usize),
    (files, mut peers): (Files, Vec<Peer>),
) -> Result<()> {
    let rate = options.mbit.checked_mul(125_000).filter(|rate| *rate > 0);
    let way = Way {
        rtt: Duration::from_millis(rtt),
        rate: rate.map(Rate::per_second),
    };
    peers.retain(|peer| !options.without.iter().any(|word| peer.name.contains(word)));
    println!(
        "\n### {}\n\n{}\n",
        title(&files, way, jobs),
        gauge::of(way.rtt)?
    );
    let stand = Stand::start(files, way)?;
    let mut runs: Vec<Vec<Measured>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        for (peer, runs) in peers.iter().zip(&mut runs) {
            let task = Task::new(&stand, jobs, options.lanes)?;
            let measured = stand
                .run(peer, &task)
                .with_context(|| format!("{} in round {round}", peer.name))?;
            if round > 0 {
                runs.push(measured);
            }
        }
    }
    // Bytes over rate, and two round trips; without a rate, the round trips alone mean nothing.
    let total = (stand.files.count * stand.files.size) as f64;
    let ideal = rate.map(|rate| total / rate as f64 + 2.0 * way.rtt.as_secs_f64());
    print_table(ideal, (&peers, &runs), stand.files.count);
    Ok(())
}

fn title(files: &Files, way: Way, jobs: usize) -> String {
    let rate = way.rate.map_or("no limit".to_owned(), |rate| {
        format!("{} Mbit/s", rate.bytes_per_second() / 125_000)
    });
    let what = match files.count {
        1 => format!("{} MiB", files.size >> 20),
        count => format!("{count} files of {} bytes, {jobs} at once", files.size),
    };
    format!("{what}, {:?} away, {rate}, over TLS", way.rtt)
}

fn print_table(ideal: Option<f64>, (peers, runs): (&[Peer], &[Vec<Measured>]), files: u64) {
    if let Some(ideal) = ideal {
        println!("Ideal: {ideal:.2} s (bytes over rate, and two round trips).\n");
    }
    println!(
        "| program | median s | min–max s | times the ideal | times the first (median, min–max) | requests/s | CPU s | connections |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let [first, ..] = runs else {
        return;
    };
    for (peer, runs) in peers.iter().zip(runs) {
        let of =
            |what: fn(&Measured) -> f64| Spread::of(&runs.iter().map(what).collect::<Vec<_>>());
        let time = of(|run| run.seconds);
        let ratios: Vec<f64> = runs
            .iter()
            .zip(first)
            .map(|(own, first)| own.seconds / first.seconds)
            .collect();
        let ratio = Spread::of(&ratios);
        let requests = of(|run| run.requests as f64).median.max(files as f64);
        println!(
            "| {} | {:.2} | {:.2}–{:.2} | {} | {:.2} ({:.2}–{:.2}) | {:.0} | {:.2} | {:.0} |",
            peer.name,
            time.median,
            time.min,
            time.max,
            ideal.map_or("–".to_owned(), |ideal| format!(
                "{:.2}",
                time.median / ideal
            )),
            ratio.median,
            ratio.min,
            ratio.max,
            requests / time.median,
            of(|run| run.cpu).median,
            of(|run| run.connections as f64).median,
        );
    }
}
