//! `cargo xtask breaks`: downloads from an origin that kills and forgets connections, says GOAWAY and resets
//! streams at random points.
//!
//! The downloads, and what is required of them, are those of the test `loopback` (`breaks`) of tur-engine; here there are
//! more and larger ones, in a release build, and their figures are shown: what was met, what was sent twice, how long it
//! took.

use anyhow::{Result, ensure};

use crate::program::cargo;

/// How much is asked for.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seeds.
    #[arg(long, default_value_t = 50)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// MiB of the large file; three others have an eighth of it each.
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Only this protocol: http1, http2, http3.
    #[arg(long)]
    only: Option<String>,
}

/// Runs the seeds over each protocol.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.seeds > 0, "no seeds, no figures");
    let only = options.only.as_deref().unwrap_or_default();
    let mut command = cargo();
    command
        .args([
            "test",
            "--release",
            "--package=tur-engine",
            "--test=loopback",
            "--features=http3",
        ])
        .arg(format!("breaks::{only}"))
        .args(["--", "--nocapture", "--test-threads=1"]);
    let asked = format!("{} {} {}", options.seeds, options.from, options.mib);
    let ended = command.env("BREAKS", asked).status()?;
    ensure!(ended.success(), "a file was wrong, or something was lost");
    Ok(())
}
