//! `cargo xtask demo`: the real program against an origin that is slow on each connection.
//!
//! Everything runs on the loopback interface. The times are those of this run; nothing is remembered.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tur_core::Rate;
use tur_testkit::{Behaviour, Loopback};

use crate::program::{Expected, build_tur, timed};

/// Bytes of the file.
const SIZE: u64 = 64 << 20;

/// What one connection is given.
const PACE: Rate = Rate::per_second(4 << 20);

/// Runs both downloads and says how they compare.
pub(crate) fn run() -> Result<()> {
    let tur = build_tur(false)?;
    let expected = Expected::of(SIZE);
    let directory = tempfile::tempdir()?;
    println!(
        "A file of {} MiB; the origin gives each connection 4 MiB/s.\n",
        SIZE >> 20
    );
    let one = download(
        &tur,
        &["-x", "1"],
        &directory.path().join("one.bin"),
        &expected,
    )?;
    let many = download(&tur, &[], &directory.path().join("many.bin"), &expected)?;
    println!(
        "\nBoth files were read back and their SHA-256 is right.\n{:.2} s with one connection, {:.2} s without -x: {:.1} times as fast.",
        one.as_secs_f64(),
        many.as_secs_f64(),
        one.as_secs_f64() / many.as_secs_f64(),
    );
    Ok(())
}

/// Downloads from an origin of its own, so that what it saw belongs to this run.
fn download(tur: &Path, flags: &[&str], file: &Path, expected: &Expected) -> Result<Duration> {
    let origin = Loopback::start([("/file.bin", Behaviour::new(SIZE).pace(PACE))]);
    println!(
        "$ tur {}-o {} {}",
        flags
            .iter()
            .map(|flag| format!("{flag} "))
            .collect::<String>(),
        name(file),
        origin.url("/file.bin")
    );
    let mut command = Command::new(tur);
    // Each run begins as a stranger, and leaves nothing with the user who runs it.
    command
        .arg("--no-origin-memory")
        .args(flags)
        .arg("-o")
        .arg(file)
        .arg(origin.url("/file.bin"));
    let took = timed(&mut command, file, expected)?;
    println!(
        "  {:.2} s; the origin saw {} connections, {} requests, and sent {:.1} MiB.",
        took.as_secs_f64(),
        origin.connections(),
        origin.requests(),
        origin.bytes_sent() as f64 / f64::from(1 << 20),
    );
    Ok(took)
}

fn name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}
