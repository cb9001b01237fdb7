//! What it costs to kill a program that reads: how much the origin sends in total, until all of the file was read.

use std::path::Path;

use anyhow::{Result, ensure};
use tur_core::{ByteRange, Rate};
use tur_testkit::{Behaviour, Loopback};

use super::asked::Asked;
use super::cell;
use crate::program::Expected;

const SIZE: u64 = 256 << 20;
/// Of each connection: the kill comes while all of them are busy.
const PACE: u64 = 1 << 20;
/// Read before the kill.
const READ: u64 = 4 << 20;

/// Measures and prints one table.
pub(super) fn measure(asked: &Path, rounds: usize) -> Result<()> {
    println!("\n### `kill -9` of a program that has read 4 of 256 MiB; {rounds} rounds\n");
    println!("| storage | sent before the kill, MiB | min–max | sent in total, MiB | min–max |");
    println!("|---|---|---|---|---|");
    let expected = Expected::of(SIZE);
    let mut sent = [const { (Vec::new(), Vec::new()) }; 2];
    for _ in 0..rounds {
        for (storage, sent) in STORAGES.into_iter().zip(&mut sent) {
            let (before, total) = round(asked, storage, &expected)?;
            sent.0.push(before);
            sent.1.push(total);
        }
    }
    for (storage, (before, total)) in STORAGES.into_iter().zip(&sent) {
        println!("| {storage} | {} | {} |", cell(before, 2), cell(total, 2));
    }
    Ok(())
}

/// Kills one, and has the next one seek beyond, and then read all. MiB that were sent before the kill, and in total.
fn round(asked: &Path, storage: &str, expected: &Expected) -> Result<(f64, f64)> {
    let behaviour = Behaviour::new(SIZE).pace(Rate::per_second(PACE));
    let origin = Loopback::start([("/film.bin", behaviour)]);
    let (url, directory) = (origin.url("/film.bin"), tempfile::tempdir()?);
    let mut reader = Asked::start(asked, &url, directory.path(), storage)?;
    reader.read(ByteRange::new(0, READ))?;
    reader.kill()?;
    let before = origin.bytes_sent();
    ensure!(before < SIZE, "it was over before the kill");
    let mut reader = Asked::start(asked, &url, directory.path(), storage)?;
    reader.read(ByteRange::new(SIZE - (4 << 20), SIZE - (3 << 20)))?;
    reader.read(ByteRange::new(0, SIZE))?;
    reader.finish()?;
    expected.check(&directory.path().join("film.bin"))?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok((mib(before), mib(origin.bytes_sent())))
}

const STORAGES: [&str; 2] = ["pwrite", "mmap"];
