//! `cargo xtask bench stream`: reading a file while it arrives, beside other ways to the same bytes.
//!
//! Read [`run`]: [`seeks`] times the first byte behind a seek, [`pipe`] a file on its way through a pipe and the memory that
//! takes, [`kills`] what the death of a reading program costs. Runs are interleaved, and every byte is compared.
#![expect(
    clippy::disallowed_methods,
    reason = "it times other programs and reads their files; nothing here is part of tur"
)]

mod asked;
mod kills;
mod pipe;
mod seeks;

use std::path::Path;

use anyhow::{Result, ensure};

use crate::program::{again_in_release, build_tur, is_present};
use crate::spread::Spread;

/// What is measured, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds of the pipe and the kills; seeks take ten times as many.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only this; may be given several times.
    #[arg(long, value_parser = ["seeks", "pipe", "memory", "kills"])]
    only: Vec<String>,
    /// MiB of the file that goes through a pipe.
    #[arg(long, default_value_t = 128)]
    mib: u64,
}

/// Measures all of it and prints tables in Markdown.
pub(crate) fn run(options: &Options) -> Result<()> {
    // The origin runs in this process: without optimisation it would be what is measured.
    if again_in_release()? {
        return Ok(());
    }
    ensure!(options.rounds > 0, "no rounds, no figures");
    ensure!(
        is_present(Path::new("curl")) && is_present(Path::new("sha256sum")),
        "curl and sha256sum are needed"
    );
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    if wanted("seeks") || wanted("kills") {
        let asked = asked::build()?;
        if wanted("seeks") {
            for rtt in [0, 20] {
                seeks::measure(&asked, rtt, 10 * options.rounds)?;
            }
        }
        if wanted("kills") {
            kills::measure(&asked, options.rounds)?;
        }
    }
    if wanted("pipe") || wanted("memory") {
        let tur = build_tur(true)?;
        if wanted("pipe") {
            pipe::measure(&tur, options.mib << 20, options.rounds)?;
        }
        if wanted("memory") {
            pipe::memory(&tur)?;
        }
    }
    Ok(())
}

/// A cell of a table: the median, and the ends.
fn cell(numbers: &[f64], digits: usize) -> String {
    let Spread { min, median, max } = Spread::of(numbers);
    format!("{median:.digits$} | {min:.digits$}–{max:.digits$}")
}
