//! `cargo xtask soak`: a thousand downloads through one downloader, and a thousand at once with few descriptors.
//!
//! The downloads, and what is compared, are those of the test `soak` of tur-engine; here there are more of them, in a
//! release build, and their figures are shown.

use anyhow::{Result, ensure};

use crate::program::cargo;

/// Runs both, one after the other.
pub(crate) fn run(downloads: u32) -> Result<()> {
    ensure!(
        (100..=DOWNLOADS_MAX).contains(&downloads),
        "between 100 and {DOWNLOADS_MAX} downloads"
    );
    let mut command = cargo();
    command
        .args(["test", "--release", "--package=tur-engine", "--test=soak"])
        .args(["--", "--nocapture", "--test-threads=1"])
        .env("SOAK", downloads.to_string());
    let ended = command.status()?;
    ensure!(ended.success(), "something grew, or a file was wrong");
    Ok(())
}

/// The origin of the test has so many files of each kind.
pub(crate) const DOWNLOADS_MAX: u32 = 1_000;
