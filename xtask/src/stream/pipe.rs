//! `tur stream URL | sha256sum` from an origin that is slow on each connection, beside one stream of curl and a plain
//! download; and the memory that streaming takes.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use tur_core::Rate;
use tur_testkit::{Behaviour, Loopback};

use super::cell;
use crate::program::Expected;

/// Of each connection.
const PACE: u64 = 8 << 20;
const PATH: &str = "/film.bin";

/// What a shell is told: `$1` is the program, `$2` the URL, `$3` a directory.
const WAYS: [(&str, &str); 3] = [
    (
        "`tur stream -x 8 URL \\| sha256sum`",
        "\"$1\" stream -q --no-origin-memory -x 8 -s 8 \"$2\" -d \"$3\" | sha256sum",
    ),
    (
        "`tur -x 8 URL; sha256sum FILE`",
        "\"$1\" -q --no-origin-memory -x 8 -s 8 -o \"$3/file\" \"$2\" && sha256sum < \"$3/file\"",
    ),
    (
        "`curl URL \\| sha256sum`",
        "curl --silent --fail --noproxy '*' \"$2\" | sha256sum",
    ),
];

/// Measures and prints one table.
pub(super) fn measure(tur: &Path, size: u64, rounds: usize) -> Result<()> {
    let behaviour = Behaviour::new(size).pace(Rate::per_second(PACE));
    let origin = Loopback::start([(PATH, behaviour)]);
    let meant = hex(Expected::of(size).digest());
    let mut times = [const { Vec::new() }; WAYS.len()];
    for _ in 0..rounds {
        for ((name, script), times) in WAYS.iter().zip(&mut times) {
            let directory = tempfile::tempdir()?;
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(tur);
            command.arg(origin.url(PATH)).arg(directory.path());
            let start = Instant::now();
            let output = command.env("NO_PROXY", "*").output()?;
            let took = start.elapsed().as_secs_f64();
            let said = String::from_utf8(output.stdout)?;
            ensure!(said.starts_with(&meant), "{name} came to {said:?}");
            times.push(took);
        }
    }
    let mib = size >> 20;
    println!("\n### {mib} MiB through a pipe, 8 MiB/s on each connection; {rounds} rounds\n");
    println!("| way | median s | min–max s | times the first (median) | min–max |");
    println!("|---|---|---|---|---|");
    for ((name, _), own) in WAYS.iter().zip(&times) {
        let ratios: Vec<f64> = own.iter().zip(&times[0]).map(|(a, b)| a / b).collect();
        println!("| {name} | {} | {} |", cell(own, 2), cell(&ratios, 2));
    }
    Ok(())
}

/// What a process holds, in MiB.
#[derive(Clone, Copy, Default)]
struct Held {
    rss: f64,
    anon: f64,
    file: f64,
}

/// Streams files of two lengths as fast as it goes, to a reader that takes everything and to one that takes 128 MiB/s.
pub(super) fn memory(tur: &Path) -> Result<()> {
    println!("\n### Memory of `tur stream -x 8`, MiB\n");
    println!(
        "RssAnon is looked at every 20 ms; its medians in the four quarters of the run stand in a row.\n"
    );
    println!(
        "| file | storage | reader | peak RSS | peak RssAnon | peak RssFile | RssAnon by quarter |"
    );
    println!("|---|---|---|---|---|---|---|");
    for mib in [256, 1024] {
        for storage in ["pwrite", "mmap"] {
            for pace in [None, Some(128 << 20)] {
                watch(tur, mib << 20, (storage, pace))?;
            }
        }
    }
    Ok(())
}

/// Streams once and prints a row.
fn watch(tur: &Path, size: u64, (storage, pace): (&str, Option<u64>)) -> Result<()> {
    let origin = Loopback::start([(PATH, Behaviour::new(size))]);
    let directory = tempfile::tempdir()?;
    let mut child = Command::new(tur)
        .args(["stream", "-q", "--no-origin-memory", "-x", "8", "-s", "8"])
        .args(["--storage", storage])
        .arg(origin.url(PATH))
        .arg("-d")
        .arg(directory.path())
        .env("NO_PROXY", "*")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().context("a pipe")?;
    let status = format!("/proc/{}/status", child.id());
    let reader = std::thread::spawn(move || -> Result<[u8; 32]> {
        let (mut hash, mut piece, mut all) = (Sha256::new(), vec![0; 1 << 20], 0_u64);
        let start = Instant::now();
        loop {
            let came = out.read(&mut piece)?;
            if came == 0 {
                return Ok(hash.finalize().into());
            }
            hash.update(&piece[..came]);
            all += came as u64;
            if let Some(pace) = pace {
                let due = Duration::from_secs_f64(all as f64 / pace as f64);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
    });
    let mut seen = Vec::new();
    while !reader.is_finished() {
        seen.extend(
            std::fs::read_to_string(&status)
                .ok()
                .as_deref()
                .and_then(held),
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let came = reader.join().expect("a reader does not panic")?;
    ensure!(child.wait()?.success(), "it failed");
    ensure!(came[..] == *Expected::of(size).digest(), "wrong bytes");
    ensure!(seen.len() >= 8, "it was over too soon");
    let peak = |of: fn(&Held) -> f64| seen.iter().map(of).fold(0.0, f64::max);
    let quarters = seen.chunks(seen.len().div_ceil(4)).map(|quarter| {
        let mut anon: Vec<f64> = quarter.iter().map(|held| held.anon).collect();
        anon.sort_by(f64::total_cmp);
        format!("{:.1}", anon[anon.len() / 2])
    });
    let quarters: Vec<String> = quarters.collect();
    let reader = pace.map_or("all it can".to_owned(), |pace| {
        format!("{} MiB/s", pace >> 20)
    });
    println!(
        "| {} MiB | {storage} | {reader} | {:.1} | {:.1} | {:.1} | {} |",
        size >> 20,
        peak(|held| held.rss),
        peak(|held| held.anon),
        peak(|held| held.file),
        quarters.join(", ")
    );
    Ok(())
}

/// What proc(5) says; nothing of a process that has ended.
fn held(status: &str) -> Option<Held> {
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some(Held {
        rss: of("VmRSS:")?,
        anon: of("RssAnon:")?,
        file: of("RssFile:")?,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
