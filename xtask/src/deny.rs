//! `cargo xtask deny`: what cargo-deny says of the dependencies, and loudly what could not be checked.
//!
//! Licences, sources and banned crates are also checked by `cargo test -p xtask`, without cargo-deny. Known vulnerabilities are in a
//! database that only the network has: without it nothing is known about them, and that is said instead of passed over.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::program::cargo;

/// Checks all that can be checked here.
///
/// # Errors
/// Something was found.
pub(crate) fn run() -> Result<()> {
    let mut version = deny(&["--version"]);
    let present = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !present.is_ok_and(|status| status.success()) {
        notice(
            "cargo-deny is not installed",
            &[
                "ADVISORIES: whether a dependency has a known vulnerability, or was yanked",
                "BANS: wildcard versions and duplicates",
            ],
            "cargo install --locked --version 0.20.2 cargo-deny",
        );
        return Ok(());
    }
    // Duplicates are warnings, and each would be a tree of lines.
    let found = deny(&[
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ])
    .status()?;
    ensure!(found.success(), "cargo deny: bans, licences or sources");
    if !deny(&["fetch", "db"])
        .stderr(Stdio::null())
        .status()?
        .success()
    {
        notice(
            "the advisory database cannot be fetched",
            &["ADVISORIES: whether a dependency has a known vulnerability, or was yanked"],
            "cargo xtask deny, where the network is",
        );
        return Ok(());
    }
    let found = deny(&["check", "--disable-fetch", "advisories"]).status()?;
    ensure!(found.success(), "cargo deny: advisories");
    Ok(())
}

fn deny(words: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("deny").args(words);
    command
}

/// Says what was not checked, so that nobody takes silence for a pass.
fn notice(why: &str, unchecked: &[&str], remedy: &str) {
    let line = "*".repeat(100);
    eprintln!("{line}\n** NOT CHECKED: {why}.");
    for what in unchecked {
        eprintln!("**   {what}");
    }
    eprintln!(
        "** Checked all the same, by `cargo test -p xtask`: licences and sources of all that is linked."
    );
    eprintln!("** To check it: {remedy}\n{line}");
}
