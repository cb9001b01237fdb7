//! The files of the repository and what cargo says about them: the only part of the walls that touches the disk.
//!
//! [`root`] is where the repository stands, [`sources`] its Rust files, [`metadata`] the workspace as cargo sees it.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the repository reads the repository, not a download"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::source::Source;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask stands in the root of the repository")
        .to_owned()
}

/// Text of a file, by its path from the root.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}

/// Names in a directory, by its path from the root.
///
/// # Errors
/// The directory cannot be read, or holds a name that is not UTF-8.
pub fn names(path: &str) -> Result<BTreeSet<String>> {
    let entries =
        std::fs::read_dir(root().join(path)).with_context(|| format!("cannot read {path}"))?;
    entries
        .map(|entry| {
            let name = entry?.file_name().into_string();
            name.map_err(|name| anyhow!("{} is not UTF-8", name.display()))
        })
        .collect()
}

/// Every Rust file of the workspace and of the fuzz targets, sorted by path.
///
/// # Errors
/// A directory or file cannot be read.
pub fn sources() -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    for top in ["crates", "xtask", "benches", "fuzz"] {
        let directory = root().join(top);
        if directory.is_dir() {
            collect(&directory, &mut paths)?;
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let path = relative(path)?;
            Ok(Source::new(&path, &read(&path)?))
        })
        .collect()
}

/// What cargo says about a workspace, without its dependencies' own manifests and without the network.
///
/// # Errors
/// Cargo cannot be started, fails, or answers with something else than JSON.
pub fn metadata(manifest: &str) -> Result<Value> {
    ask_cargo(manifest, &["--no-deps"])
}

/// What cargo says about the workspace and all that it uses on this platform, without the network.
///
/// # Errors
/// As [`metadata`]; also if something was not fetched yet.
pub fn metadata_in_full() -> Result<Value> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("-vV")
        .output()
        .context("cannot start rustc")?;
    let said = String::from_utf8(output.stdout)?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name its host")?;
    ask_cargo("Cargo.toml", &["--filter-platform", host])
}

/// All packages that the workspace uses on this platform, for whatever purpose, one a line, without the network.
///
/// # Errors
/// Cargo cannot be started or fails; also if something was not fetched yet.
pub fn linked() -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--workspace",
            "--all-features",
            "--offline",
            "--prefix=none",
        ])
        .current_dir(root())
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn ask_cargo(manifest: &str, flags: &[&str]) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline"])
        .args(flags)
        .arg("--manifest-path")
        .arg(root().join(manifest))
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The path from the root of the repository, with `/` between its parts.
///
/// # Errors
/// The path stands elsewhere or is not UTF-8.
pub fn relative(path: &Path) -> Result<String> {
    let inside = path
        .strip_prefix(root())
        .with_context(|| format!("{} is not in the repository", path.display()))?;
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    Ok(parts.context("a path that is not UTF-8")?.join("/"))
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "corpus", "artifacts"].contains(&name) {
                collect(&path, paths)?;
            }
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
    Ok(())
}
