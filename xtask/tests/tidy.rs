//! Every source file of the repository keeps the rules of `xtask::tidy`.

use xtask::{tidy, tree};

#[test]
fn every_file_is_tidy() {
    let wrong: Vec<String> = tree::sources()
        .unwrap()
        .iter()
        .flat_map(tidy::check)
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_files_are_found() {
    let sources = tree::sources().unwrap();
    for path in ["crates/tur-core/src/lib.rs", "xtask/tests/tidy.rs"] {
        assert!(sources.iter().any(|source| source.path == path), "{path}");
    }
}
