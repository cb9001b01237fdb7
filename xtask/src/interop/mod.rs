//! `cargo xtask interop`: the program and servers that others wrote, on the loopback interface.
//!
//! Read [`checks`] for what is asked of whom, [`field`] for how a download is judged, [`servers`] for how each server is
//! told. Everything is of this run: ports that the system gave, a folder for configurations and logs, an authority for
//! certificates. Every server ends with this process, however that ends. A program that is missing fails the run.
#![expect(
    clippy::disallowed_methods,
    reason = "it runs other programs and times them; nothing here is part of tur"
)]

mod certificates;
mod checks;
mod field;
pub(crate) mod goodput;
mod ports;
mod process;
mod programs;
mod relay;
mod servers;
mod table;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use self::certificates::Certificates;
use self::checks::Check;
use self::field::{Field, Known};
use self::programs::Programs;
use self::servers::{Ahead, Grounds, Servers};
use self::table::{HEADER, Row, Verdict};
use crate::program::build_tur;

/// What is checked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names the packages of Debian that would bring what is missing here, one a line, and checks nothing.
    #[arg(long)]
    missing: bool,
    /// Only the checks whose server or name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// MiB of the file.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(8..=512))]
    mib: u64,
    /// MiB of the film, about.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(8..=512))]
    film_mib: u64,
}

/// Starts the servers, makes every check, prints the table, and ends the servers.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.missing {
        print!("{}", programs::missing_packages());
        return Ok(());
    }
    let programs = Programs::find()?;
    let tur = build_tur(false)?;
    let start = Instant::now();
    let scratch = Scratch::new()?;
    let documents = scratch.directory.path().join("documents");
    std::fs::create_dir(&documents)?;
    let file = Known::write(&documents.join("file.bin"), options.mib << 20)?;
    let certificates = Certificates::make(scratch.directory.path())?;
    let servers = Servers::start(&Grounds {
        programs: &programs,
        certificates: &certificates,
        documents: &documents,
        directory: scratch.directory.path(),
        ahead: Ahead::Little,
    })?;
    let downloads = scratch.directory.path().join("downloads");
    std::fs::create_dir(&downloads)?;
    let help = Command::new(&tur).arg("--help").output()?.stdout;
    let field = Field {
        servers,
        certificates,
        file,
        tur,
        programs,
        documents,
        directory: scratch.directory.path().to_owned(),
        downloads,
        film_mib: options.film_mib,
        help: String::from_utf8(help)?,
    };
    println!(
        "A file of {} MiB, read back after each download.\n\n{HEADER}",
        options.mib
    );
    let is_wanted = |check: &&Check| {
        let only = options.only.as_deref().unwrap_or_default();
        check.server.contains(only) || check.what.contains(only)
    };
    let mut failures = Vec::new();
    for check in checks::all().filter(is_wanted) {
        let row = make(check, &field);
        println!("{row}");
        if let Verdict::Failed(why) = row.verdict {
            failures.push(format!("{}, {}: {why}", check.server, check.what));
        }
    }
    println!("\n{:.0} s", start.elapsed().as_secs_f64());
    ensure!(
        failures.is_empty(),
        "{} checks failed\n{}\n{}",
        failures.len(),
        failures.join("\n"),
        field.servers.words()
    );
    Ok(())
}

fn make(check: &Check, field: &Field) -> Row {
    let start = Instant::now();
    let lacking = check.needs.filter(|word| !field.speaks_of(word));
    let verdict = match lacking {
        Some(word) => Verdict::NotRun(format!("this tur has no {word} yet")),
        None => match (check.run)(field) {
            Ok(found) => Verdict::Held(found),
            Err(error) => Verdict::Failed(format!("{error:#}")),
        },
    };
    Row {
        server: check.server,
        what: check.what,
        took: start.elapsed(),
        verdict,
    }
}

/// A folder that goes away when this process ends, however it ends.
struct Scratch {
    directory: TempDir,
    /// Waits for the end of its input, which is ours, and clears up what we left.
    sweeper: Child,
}

impl Scratch {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let sweeper = sweeper(directory.path()).context("cannot start sh")?;
        Ok(Self { directory, sweeper })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.sweeper.stdin.take());
        if let Err(error) = self.sweeper.wait() {
            eprintln!("{} may be left: {error}", self.directory.path().display());
        }
    }
}

fn sweeper(directory: &Path) -> std::io::Result<Child> {
    // A Ctrl-C at the terminal is told to it too. What it waits for may write while it ends.
    let script = r#"trap "" INT TERM HUP; read -r _; sleep 0.2; rm -rf -- "$1""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_away_with_whoever_made_it() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.directory.path().to_owned();
        std::fs::write(path.join("log"), "left").unwrap();
        drop(scratch);
        assert!(!path.exists());

        // As when the process dies: nothing of ours runs, and only the pipe is closed.
        let path = tempfile::tempdir().unwrap().keep();
        std::fs::write(path.join("log"), "left").unwrap();
        let mut child = sweeper(&path).unwrap();
        assert!(path.exists());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!path.exists());
    }
}
