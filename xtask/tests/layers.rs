//! The map in ARCHITECTURE.md is the territory: crates, edges and pure crates are as the table says.

use std::path::Path;

use anyhow::Result;
use xtask::layers::{self, Package, Row};
use xtask::{source::Source, tidy, tree};

fn rows() -> Result<Vec<Row>> {
    layers::parse_table(&tree::read("ARCHITECTURE.md")?)
}

fn workspace() -> Result<Vec<Package>> {
    layers::packages(&tree::metadata("Cargo.toml")?)
}

/// The crates of the workspace, and the fuzz targets beside it.
fn packages() -> Result<Vec<Package>> {
    let mut packages = workspace()?;
    packages.extend(layers::packages(&tree::metadata("fuzz/Cargo.toml")?)?);
    Ok(packages)
}

fn source(path: &str) -> Result<Source> {
    Ok(Source::new(path, &tree::read(path)?))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_crate_is_in_the_table_and_the_table_has_no_other() -> Result<()> {
    assert_none(&layers::check_presence(&rows()?, &packages()?));
    Ok(())
}

#[test]
fn every_edge_is_allowed_and_runs_down() -> Result<()> {
    assert_none(&layers::check_edges(&rows()?, &packages()?));
    Ok(())
}

#[test]
fn every_dependency_has_a_reason() -> Result<()> {
    assert_none(&layers::check_reasons(
        &tree::read("ARCHITECTURE.md")?,
        &packages()?,
    ));
    Ok(())
}

#[test]
fn pure_crates_do_not_know_std() -> Result<()> {
    let sources = tree::sources()?;
    for name in layers::PURE {
        let inside = format!("crates/{name}/src/");
        assert_none(&layers::check_pure_root(&source(&format!(
            "{inside}lib.rs"
        ))?));
        for source in &sources {
            if source.path.starts_with(&inside) && !source.is_test_only(&sources) {
                assert_none(&layers::check_pure_file(source));
            }
        }
    }
    Ok(())
}

#[test]
fn every_root_forbids_unsafe_code_except_where_one_file_may_have_it() -> Result<()> {
    let may_have = |package: &Package| {
        let inside = format!("crates/{}/", package.name);
        tidy::UNSAFE_FILES
            .iter()
            .any(|file| file.starts_with(&inside) && tree::root().join(file).exists())
    };
    for package in workspace()?.iter().filter(|package| !may_have(package)) {
        for root in &package.roots {
            let root = tree::relative(Path::new(root))?;
            assert_none(&layers::check_forbids_unsafe(&source(&root)?));
        }
    }
    Ok(())
}
