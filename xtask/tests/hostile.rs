//! The table of docs/reliability.md has each hostile row once, with tests that are in the tree or what it waits for.

use std::collections::BTreeSet;

use anyhow::Result;
use xtask::{hostile, tree};

#[test]
fn every_row_has_its_tests() -> Result<()> {
    let sources = tree::sources()?;
    let tests: BTreeSet<String> = sources.iter().flat_map(|file| file.tests()).collect();
    let rows = hostile::rows(&tree::read("docs/reliability.md")?);
    let wrong = hostile::wrong(&rows, &tests);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    Ok(())
}

#[test]
fn tests_of_all_kinds_are_found() -> Result<()> {
    let sources = tree::sources()?;
    let tests: BTreeSet<String> = sources.iter().flat_map(|file| file.tests()).collect();
    for path in [
        "xtask::hostile::tests_of_all_kinds_are_found",
        "tur_cli::program::exits::challenges_are_6",
        "tur_engine::driver::tests::disks::any_call_may_fail",
        "tur_storage::crash::cuts::every_call_may_fail",
    ] {
        assert!(tests.contains(path), "{path}");
    }
    Ok(())
}
