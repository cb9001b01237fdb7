//! Contributors' commands: `cargo xtask demo`, `bench`, `sim`, `kill`, `breaks`, `soak`, `fuzz`, `deny`, `interop`,
//! `scoreboard`, `ablation`, `replay`.
//!
//! The walls of the workspace are not commands but tests: `cargo test -p xtask`.
#![forbid(unsafe_code)]

mod ablation;
mod batch;
mod bench;
mod breaks;
mod demo;
mod deny;
mod far;
mod fuzzing;
mod interop;
mod kill;
mod lanes;
mod plot;
mod program;
mod replay;
mod scoreboard;
mod sim;
mod soak;
mod spread;
mod stream;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Contributors' commands of tur.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Downloads from an origin that is slow on each connection, over one connection and then over many.
    Demo,
    /// Runs the benches of the pieces, then the program beside curl and aria2c where they are present.
    Bench {
        /// Smaller files and fewer runs.
        #[arg(long)]
        quick: bool,
        /// What to run instead.
        #[command(subcommand)]
        instead: Option<Bench>,
    },
    /// Runs the machines in random worlds with virtual time and judges them; kept seeds come first.
    Sim {
        /// How many worlds.
        #[arg(long, default_value_t = 2_000)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Runs this one alone and prints every line of it.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Fuzzes everything that reads what a stranger wrote, on a stable compiler (needs cargo-fuzz).
    Fuzz(fuzzing::Options),
    /// Runs cargo-deny as far as it can be run here, and says loudly what could not be checked.
    Deny,
    /// Downloads from nginx, Caddy and ngtcp2, through tinyproxy and microsocks, and compares with curl.
    Interop(interop::Options),
    /// Kills real downloads at random points, again and again, and says what each kill cost.
    Kill(kill::Options),
    /// Downloads from an origin that ends connections and streams at random points, and says what that cost.
    Breaks(breaks::Options),
    /// Compares time with the ideal in chosen worlds and rewrites docs/scoreboard.md and its pictures.
    Scoreboard,
    /// Compares ways to divide the work, with and without memory, in the same worlds and rewrites docs/ablation.md.
    Ablation,
    /// Runs a recorded world again and says where it differs.
    Replay {
        /// What `cargo xtask sim --seed K` printed.
        file: std::path::PathBuf,
    },
    /// Downloads a thousand files through one downloader from an origin with seeded faults, and then a thousand at once
    /// with 256 descriptors: nothing may grow, and no byte be wrong.
    Soak {
        /// How many, each time.
        #[arg(long, default_value_t = soak::DOWNLOADS_MAX)]
        downloads: u32,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// How well connections are chosen, beside curl and aria2c: shares, slow ones, stalled ones.
    Lanes(lanes::Options),
    /// How fast many small files are, beside aria2c, curl and wget2, and a loop that does next to nothing.
    Batch(batch::Options),
    /// One large file and many small ones from an origin that is a long way off, over HTTP/1.1 and HTTP/2.
    Far(far::Options),
    /// One large file over each protocol, from nginx, Caddy and the testkit's origin, with what each costs.
    Protocols(interop::goodput::Options),
    /// The testkit's origin as a process of its own.
    #[command(hide = true)]
    Origin(interop::goodput::origin::Options),
    /// Reading a file while it arrives: seeks, a pipe and its memory, a reader that is killed.
    Stream(stream::Options),
    /// The loop that does next to nothing.
    #[command(hide = true)]
    BareBatch(batch::bare::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Demo => demo::run(),
        Command::Bench {
            instead: Some(instead),
            ..
        } => match instead {
            Bench::Lanes(options) => lanes::run(&options),
            Bench::Batch(options) => batch::run(&options),
            Bench::Far(options) => far::run(&options),
            Bench::Protocols(options) => interop::goodput::run(&options),
            Bench::Origin(options) => interop::goodput::origin::run(&options),
            Bench::Stream(options) => stream::run(&options),
            Bench::BareBatch(options) => batch::bare::run(&options),
        },
        Command::Bench { quick, .. } => bench::run(quick),
        Command::Sim {
            seed: Some(seed), ..
        } => sim::one(seed),
        Command::Sim { seeds, from, .. } => sim::run(seeds, from),
        Command::Fuzz(options) => fuzzing::run(&options),
        Command::Deny => deny::run(),
        Command::Interop(options) => interop::run(&options),
        Command::Kill(options) => kill::run(&options),
        Command::Breaks(options) => breaks::run(&options),
        Command::Scoreboard => scoreboard::run(),
        Command::Ablation => ablation::run(),
        Command::Replay { file } => replay::run(&file),
        Command::Soak { downloads } => soak::run(downloads),
    }
}
