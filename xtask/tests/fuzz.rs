//! The fuzz targets as the repository has them: each has seeds and a dictionary, and none links TLS.

use std::collections::BTreeSet;

use anyhow::Result;
use xtask::{fuzz, layers, tree};

#[test]
fn no_target_links_tls() -> Result<()> {
    let linked = fuzz::linked(&tree::read("fuzz/Cargo.lock")?, "tur-fuzz")?;
    for name in fuzz::FORBIDDEN {
        assert!(!linked.contains(name), "the fuzz targets link {name}");
    }
    // A rule that could not be broken would be none: the program does link TLS.
    let program = fuzz::linked(&tree::read("Cargo.lock")?, "tur-cli")?;
    assert!(program.contains("rustls") && program.contains("tokio"));
    Ok(())
}

#[test]
fn the_lock_file_has_what_the_manifest_names() -> Result<()> {
    let lock = tree::read("fuzz/Cargo.lock")?;
    let linked = fuzz::linked(&lock, "tur-fuzz")?;
    for package in layers::packages(&tree::metadata("fuzz/Cargo.toml")?)? {
        for name in package.all {
            assert!(
                linked.contains(&name),
                "fuzz/Cargo.lock is older than its manifest: {name}"
            );
        }
    }
    Ok(())
}

#[test]
fn each_target_has_seeds_and_a_dictionary_and_nothing_else_has() -> Result<()> {
    let targets: BTreeSet<String> = fuzz::targets(&tree::metadata("fuzz/Cargo.toml")?)?
        .into_iter()
        .collect();
    for target in &targets {
        let seeds = tree::names(&fuzz::seeds(target))?;
        assert!(seeds.len() >= 3, "{target} has {} seeds", seeds.len());
        let words = tree::read(&fuzz::dictionary(target))?;
        let words = words
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        for word in words {
            let quoted = word.len() > 2 && word.starts_with('"') && word.ends_with('"');
            assert!(quoted && word.is_ascii(), "{target}.dict: {word}");
        }
    }
    assert_eq!(tree::names("fuzz/seeds")?, targets);
    let dictionaries = targets
        .iter()
        .map(|target| format!("{target}.dict"))
        .collect();
    assert_eq!(tree::names("fuzz/dictionaries")?, dictionaries);
    Ok(())
}
