//! The fuzz targets: which there are, what each must have, and what none may link.
//!
//! A target that links a TLS stack builds for minutes, fuzzes somebody else's C, and hides what is ours. [`linked`] reads
//! the lock file of the fuzz workspace, which names all that any target could link on any system.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// What no fuzz target may link: cryptography, TLS, and the runtime that sockets need.
pub const FORBIDDEN: [&str; 8] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl-sys",
    "ring",
    "rustls",
    "tokio",
    "tokio-rustls",
];

/// Where the seeds of a target are, from the root of the repository.
#[must_use]
pub fn seeds(target: &str) -> String {
    format!("fuzz/seeds/{target}")
}

/// Where its dictionary is.
#[must_use]
pub fn dictionary(target: &str) -> String {
    format!("fuzz/dictionaries/{target}.dict")
}

/// Names of the targets, in what `cargo metadata` says of the fuzz workspace.
///
/// # Errors
/// It has another shape than cargo documents, or there is no target.
pub fn targets(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let all = packages
        .iter()
        .filter_map(|package| package["targets"].as_array());
    let is_program = |target: &&Value| target["kind"][0] == "bin";
    let names: Option<Vec<String>> = all
        .flatten()
        .filter(is_program)
        .map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    names
        .filter(|names| !names.is_empty())
        .context("no fuzz targets")
}

/// All packages that `root` links, by a lock file: on any system, with any feature, those of builds too.
///
/// # Errors
/// The lock file has no such package, or names one that it does not list.
pub fn linked(lock: &str, root: &str) -> Result<BTreeSet<String>> {
    let edges = edges(lock);
    let (mut seen, mut next) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(name) = next.pop() {
        let uses = edges
            .get(&name)
            .with_context(|| format!("{name} is not in the lock file"))?;
        if seen.insert(name) {
            next.extend(uses.iter().cloned());
        }
    }
    Ok(seen)
}

/// What each package uses; several versions of one count as one.
fn edges(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut name, mut inside) = (String::new(), false);
    for line in lock.lines() {
        if let Some(rest) = line.strip_prefix("name = ") {
            name = rest.trim_matches('"').to_owned();
            edges.entry(name.clone()).or_default();
        }
        match line {
            "dependencies = [" => inside = true,
            "]" => inside = false,
            _ if inside => {
                // ` "name",` or ` "name version",`.
                let text = line.trim().trim_matches(['"', ',']);
                let used = text.split(' ').next().unwrap_or_default().to_owned();
                edges.entry(name.clone()).or_default().insert(used);
            }
            _ => {}
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\n \"b\",\n \"c 2.0.0\",\n]\n\n\
        [[package]]\nname = \"b\"\nversion = \"1.0.0\"\n\n\
        [[package]]\nname = \"c\"\nversion = \"1.0.0\"\n\n\
        [[package]]\nname = \"c\"\nversion = \"2.0.0\"\ndependencies = [\n \"rustls\",\n]\n\n\
        [[package]]\nname = \"rustls\"\nversion = \"1.0.0\"\n\n\
        [[package]]\nname = \"z\"\nversion = \"1.0.0\"\n";

    #[test]
    fn what_is_linked_is_found_at_any_depth() {
        let all = |root| linked(LOCK, root).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(all("a"), ["a", "b", "c", "rustls"]);
        assert_eq!(all("b"), ["b"]);
        assert!(linked(LOCK, "x").is_err());
        assert!(linked(&LOCK.replace("name = \"b\"", "name = \"d\""), "a").is_err());
    }

    #[test]
    fn targets_are_programs() {
        let metadata = serde_json::json!({ "packages": [{ "targets": [
            { "name": "lib", "kind": ["lib"] },
            { "name": "one", "kind": ["bin"] },
            { "name": "two", "kind": ["bin"] },
        ]}]});
        assert_eq!(targets(&metadata).unwrap(), ["one", "two"]);
        assert!(targets(&serde_json::json!({ "packages": [] })).is_err());
    }
}
